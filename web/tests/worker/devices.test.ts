/** A device is removed once what it has sent is here, as far as that can be had. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceFront } from "../../worker/devices.ts";
import type { Core, Loop } from "../../worker/loop.ts";

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
