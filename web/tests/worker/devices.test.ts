/** A device is removed once what it has sent is here, as far as that can be had; and what a linked one keeps back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceFront } from "../../worker/devices.ts";
import { type Core, Loop, type Step } from "../../worker/loop.ts";

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

test("what a linked device has kept back is told once it is let out, even if nothing happens then", async () => {
  const standing = { isHeld: true };
  const nothing = (): undefined => undefined;
  const messenger = {
    devices: { standing },
    dialling: nothing,
    drain: () => [],
    drainEvents: () => [],
    isLost: false,
    isOnline: false,
    nextTick: () => 5,
    retryAfter: null,
    server: "ws://relay.test/ws",
    tick: nothing,
    waitingFor: () => 0,
  };
  const core = { messenger, vault: { takeBatch: () => ({ puts: [], deletes: [] }) } } as unknown as Core;
  const told: Step[] = [];
  const loop = new Loop({
    open: () => Promise.resolve(core),
    commit: () => Promise.resolve(),
    told: (step) => void told.push(step),
    troubled: nothing,
    dial: () => ({ send: nothing, leave: nothing }),
    monotonic: () => Math.round(performance.now()),
    wall: Date.now,
    chance: () => 0,
    isOnline: () => true,
  });
  loop.start(core);
  for (let steps = 0; steps < 3; steps += 1) await loop.call(nothing);
  told.length = 0;
  for (let steps = 0; steps < 3; steps += 1) await loop.call(nothing);
  assert.deepEqual(told, [], "the control: nothing has happened");
  standing.isHeld = false;
  for (let steps = 0; steps < 3; steps += 1) await loop.call(nothing);
  assert.deepEqual(told, [{ events: [], connection: null }]);
  await loop.stop();
});
