/** The devices of a made user: calls that do as the worker does, with nobody at the other end. */
import type { Update } from "../../api.ts";
import type { DeviceCalls, DevicesState, Linking, OwnDevice } from "../../devices_api.ts";
import { NOW, writtenId } from "./fake_people.ts";

const LINE = "phantom:link?v=1&relay=wss://relay.example/ws&id=UV6NCz-2PGo5TBsAJsxlLGNigejV-sgf2fiJvtGCsxE&s=1GavyP7mEsnfp3NPi4Z5iA";
const DAY = 86_400_000;

function device(name: string, place: number): OwnDevice {
  const id = writtenId(`Device${name}`);
  return {
    id,
    writtenId: id,
    name,
    addedAt: NOW - (30 - place) * DAY,
    heardAt: place === 0 ? null : NOW - place * 3_600_000,
    isFirst: place === 0,
    isThis: false,
  };
}

/** What `?devices=` asks for: how many there are; `?linking=` how far a link has come. */
export function fakeDevices(query: () => URLSearchParams, tell: (update: Update) => void): DeviceCalls {
  let state: DevicesState | null = null;
  function now(): DevicesState {
    const count = Number(query().get("devices") ?? 0);
    const names = ["", "Firefox on Linux", "Old phone"].slice(0, count);
    state ??= {
      devices: names.map(device).map((one, place) => ({ ...one, isThis: place === (query().has("linked") ? 1 : 0) })),
      isFirst: !query().has("linked"),
      isUnused: count === 0 && query().get("scene") === "empty",
      isRestored: query().has("restored"),
      linking: null,
      history: query().has("history") ? { texts: 1_200, left: 3_400 } : null,
    };
    return state;
  }
  function become(changes: Partial<DevicesState>): DevicesState {
    state = { ...now(), ...changes };
    return state;
  }
  function later(linking: Linking): void {
    setTimeout(() => tell({ kind: "devices", state: become({ linking }) }), 100);
  }
  const shown = { digits: "003469", person: writtenId("Alice") };
  return {
    devices: async () => now(),
    async showLinkCode() {
      if (!query().has("patient")) later({ at: "digits", ...shown });
      return become({ linking: { at: "code", line: LINE, until: NOW + 300_000 } });
    },
    agreeToLink: async () => become({ linking: { at: "agreed", ...shown } }),
    async linkDevice() {
      if (!query().has("patient")) later({ at: "typing", name: "Firefox on Linux" });
      return become({ linking: { at: "reaching" } });
    },
    async typeDigits({ digits }) {
      const isRight = digits.replaceAll(" ", "") === "003469";
      if (isRight) tell({ kind: "devices", state: become({ linking: { at: "linked", name: "Firefox on Linux" } }) });
      return isRight;
    },
    cancelLink: async () => become({ linking: null }),
    removeDevice: async (given) => become({ devices: now().devices.filter(({ id }) => id !== given.device) }),
    keepDevices: async () => become({ isRestored: false }),
  };
}
