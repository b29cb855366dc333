/** What the page is told of its user's devices; and that one is removed once what it has sent is here, if that can be had. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { Update } from "../../api.ts";
import { UsageError } from "../../core/client/errors.ts";
import type { DevicesState } from "../../devices_api.ts";
import { DeviceFront } from "../../worker/devices.ts";
import type { Core, Loop } from "../../worker/loop.ts";
import { begin, clearDisk, closeAll, created, tab, until } from "./support.ts";

beforeEach(() => clearDisk());
afterEach(() => closeAll());

/** What is done to remove a device, in order; everything is there when it is asked for the third time. */
async function removed(state: "online" | "offline"): Promise<string[]> {
  const done: string[] = [];
  const devices = {
    look: () => void done.push("look"),
    get hasFetched() {
      done.push("fetched?");
      return done.length > 3;
    },
    desk: { remove: (device: string) => void done.push(`remove ${device}`) },
    everybody: () => [],
    historyIn: { isComing: false },
    linking: { isUnused: false },
  };
  const core = { messenger: { devices, devicesChanged: () => undefined, stores: {} } } as unknown as Core;
  const loop = { connection: { state }, call: async (act: (core: Core) => unknown) => act(core) } as unknown as Loop;
  const front = new DeviceFront({ loop, wall: () => 0, checkPassphrase: async () => undefined, tell: () => undefined });
  await front.calls.removeDevice({ device: "laptop" });
  return done;
}

test("what waits at the relay is fetched before a device is removed", async () => {
  assert.deepEqual(await removed("online"), ["look", "fetched?", "fetched?", "fetched?", "remove laptop"]);
});

test("without a connection it is removed at once", async () => {
  assert.deepEqual(await removed("offline"), ["look", "remove laptop"]);
});

/** What the page is told once digits were typed; `isOpen`: whether the link goes on. */
async function toldOfDigits(isOpen: boolean, type: () => boolean): Promise<(string | undefined)[]> {
  const told: (string | undefined)[] = [];
  const devices = { everybody: () => [], historyIn: { isComing: false }, linking: { isUnused: false, isOpen, type } };
  const vault = { watch: () => undefined };
  const core = { messenger: { devices, devicesChanged: () => undefined, stores: {} }, vault } as unknown as Core;
  const loop = { call: async (act: (core: Core) => unknown) => act(core) } as unknown as Loop;
  const tell = (state: DevicesState) => void told.push(state.linking?.at);
  const front = new DeviceFront({ loop, wall: () => 0, checkPassphrase: async () => undefined, tell });
  front.watch(core);
  front.flush();
  await front.calls.typeDigits({ digits: "089466" }).catch(() => undefined);
  return told;
}

test("what typed digits lead to is told at once, though nothing is stored", async () => {
  const threeTimesWrong = () => {
    throw new UsageError("the digits were wrong three times; show a new code");
  };
  assert.deepEqual(await toldOfDigits(true, () => true), [undefined, "confirmed"]);
  assert.deepEqual(await toldOfDigits(false, threeTimesWrong), [undefined, "ended"]);
  assert.deepEqual(await toldOfDigits(true, () => false), [undefined], "the control: wrong ones change nothing");
});

test("the page hears without asking whether it is on the first device, each time that a profile is opened", async () => {
  const isTold = (updates: readonly Update[]) => updates.some((one) => one.kind === "devices" && one.state.isFirst);
  const one = tab();
  await created(one, "Alice");
  await until("it is told", () => isTold(one.updates));
  await one.api.lock();
  const again = tab();
  await begin(again);
  assert.equal(isTold(again.updates), false);
  await again.api.unlock({ passphrase: "secret words", stay: false });
  await until("it is told again", () => isTold(again.updates));
});
