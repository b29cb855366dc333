/** The calls about the user's devices on an open profile, and what the page is told of them. */
import type { DeviceCalls, DevicesState, Linking } from "../devices_api.ts";
import { UsageError } from "../core/client/errors.ts";
import { writtenId } from "../core/client/ids.ts";
import * as records from "../core/client/records.ts";
import { oneLine } from "../core/client/sanitize.ts";
import type { Event, LinkingEvent } from "../core/client/status.ts";
import { LINK_MS } from "../core/client/devices/linking.ts";
import type { Devices } from "../core/client/devices/devices.ts";
import type { Core, Loop } from "./loop.ts";

/** For how long a removal waits for what the device has sent, and how often it looks whether that has come. */
const FETCH_MS = 10_000;
const LOOK_AGAIN_MS = 200;

/** What surrounds them. */
export interface DevicePorts {
  readonly loop: Loop;
  readonly wall: () => number;
  /** Throws WrongPassphrase if it is not that of the profile. */
  readonly checkPassphrase: (passphrase: string) => Promise<void>;
  readonly tell: (state: DevicesState) => void;
}

/** The user's devices as the page sees them. */
export class DeviceFront {
  readonly #ports: DevicePorts;
  #linking: Linking | null = null;
  /** The one that is open. */
  #core: Core | null = null;
  #hasChanged = false;
  #history: DevicesState["history"] = null;
  readonly calls: DeviceCalls;

  constructor(ports: DevicePorts) {
    this.#ports = ports;
    const { loop } = ports;
    const doing = (act: (core: Core, devices: Devices) => void): Promise<DevicesState> =>
      loop.call((core) => {
        act(core, devicesOf(core));
        core.messenger.devicesChanged();
        return this.#state(core);
      });
    this.calls = {
      devices: () => doing(() => undefined),
      showLinkCode: ({ name }) =>
        doing((core, devices) => {
          const line = devices.showCode(core.messenger.server, name.trim());
          this.#become({ at: "code", line, until: ports.wall() + LINK_MS });
        }),
      agreeToLink: () =>
        doing((_, devices) => {
          devices.linking.agree();
          const { digits, person } = shownOf(this.#linking);
          this.#become({ at: "agreed", digits, person });
        }),
      linkDevice: async ({ history, line, passphrase }) => {
        await ports.checkPassphrase(passphrase);
        return doing((_, devices) => {
          devices.linking.begin(line, { history });
          this.#become({ at: "reaching" });
        });
      },
      typeDigits: async ({ digits }) => {
        try {
          return await loop.call((core) => this.#type(core, digits));
        } finally {
          await loop.call(() => this.flush()); // while the other device is awaited nothing is stored, after which it is told
        }
      },
      cancelLink: () =>
        doing((_, devices) => {
          devices.linking.cancel();
          this.#become(null);
        }),
      removeDevice: async ({ device }) => {
        await this.#fetch();
        return doing((_, devices) => {
          devices.desk.remove(device);
        });
      },
      keepDevices: () =>
        doing((_, devices) => devices.desk.renew()),
    };
  }

  /** Takes in what waits at the relay, as far as that can be had: what a removed device had sent can be read no more. */
  async #fetch(): Promise<void> {
    const { loop } = this.#ports;
    await loop.call((core) => {
      devicesOf(core).look();
      core.messenger.devicesChanged();
    });
    for (let tries = FETCH_MS / LOOK_AGAIN_MS; tries > 0 && loop.connection.state !== "offline"; tries -= 1) {
      if (await loop.call((core) => devicesOf(core).hasFetched)) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  #type(core: Core, digits: string): boolean {
    const name = this.#linking !== null && "name" in this.#linking ? this.#linking.name : "";
    try {
      const isRight = devicesOf(core).linking.type(digits);
      core.messenger.devicesChanged();
      if (isRight) {
        this.#become({ at: devicesOf(core).linking.isOpen ? "confirmed" : "linked", name });
      }
      return isRight;
    } catch (error) {
      if (error instanceof UsageError && !devicesOf(core).linking.isOpen) {
        this.#become({ at: "ended", reason: error.message });
      }
      core.messenger.devicesChanged();
      throw error;
    }
  }

  /** Watches a new core. */
  watch(core: Core): void {
    if (this.#core !== null && this.#linking !== null && this.#linking.at !== "linked") {
      this.#linking = { at: "ended", reason: "linking was interrupted; begin again" };
    }
    this.#core = core;
    this.#hasChanged = true;
    for (const kind of [records.DEVICES, records.DEVICE, records.PERSON, records.CONTACT]) {
      core.vault.watch<unknown>(kind, () => (this.#hasChanged = true));
    }
  }

  /** What has happened in a step. */
  happened(events: readonly Event[]): void {
    for (const event of events) {
      if (event.kind === "linking") {
        this.#linked(event);
      }
    }
  }

  #linked(event: LinkingEvent): void {
    if (event.step === "history" || event.step === "complete") {
      const { left = 0, texts = 0 } = event;
      this.#history = event.step === "history" ? { texts, left } : null;
      this.#hasChanged = true;
    } else {
      this.#become(linkingOf(event, event.step));
    }
  }

  /** Tells what has changed; only while nothing is in the core that is not stored. */
  flush(): void {
    if (this.#hasChanged && this.#core !== null) {
      this.#hasChanged = false;
      this.#ports.tell(this.#state(this.#core));
    }
  }

  #become(linking: Linking | null): void {
    this.#linking = linking;
    this.#hasChanged = true;
  }

  #state({ messenger }: Core): DevicesState {
    const { stores } = messenger;
    const all = messenger.devices?.everybody() ?? [];
    return {
      devices: all.map(({ added, heardAt, isFirst, isThis, name, userId }) => ({
        id: userId,
        writtenId: writtenId(userId),
        name: name === "" ? "" : oneLine(name),
        addedAt: added,
        heardAt,
        isFirst,
        isThis,
      })),
      isFirst: stores.devices?.isFirst !== false,
      isUnused: messenger.devices?.linking.isUnused === true,
      isRestored: messenger.devices?.isRestored === true,
      linking: this.#linking,
      history: messenger.devices?.historyIn.isComing === true ? (this.#history ?? { texts: 0, left: 0 }) : null,
    };
  }
}

function devicesOf({ messenger }: Core): Devices {
  if (messenger.devices === null) {
    throw new UsageError("devices are not known here");
  }
  return messenger.devices;
}

function shownOf(linking: Linking | null): { readonly digits: string; readonly person: string } {
  return linking !== null && "digits" in linking ? linking : { digits: "", person: "" };
}

function linkingOf(
  { digits, name, person, reason }: LinkingEvent,
  step: Exclude<LinkingEvent["step"], "history" | "complete">,
): Linking {
  switch (step) {
    case "answered":
      return { at: "typing", name: oneLine(name) };
    case "digits":
      return { at: "digits", digits, person: writtenId(person) };
    case "linked":
      return { at: "linked", name: name === "" ? "" : oneLine(name) };
    case "ended":
      return { at: "ended", reason };
  }
}
