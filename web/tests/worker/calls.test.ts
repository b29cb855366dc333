/** What a user decides is what was read, whatever has come meanwhile. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Notice } from "../../api.ts";
import { Messenger } from "../../core/client/messenger.ts";
import { newKey, newVault } from "../../core/client/vault.ts";
import { callsOn } from "../../worker/calls.ts";
import type { CallPorts } from "../../worker/calls.ts";
import { Loop } from "../../worker/loop.ts";
import { PassingState } from "../../worker/passing.ts";
import { Changes } from "../../worker/updates.ts";
import { random, someId } from "../client/support.ts";
import { noDial, PAGE } from "./support.ts";

const BOB = someId(66);

/** The calls on a new profile that has no relay. */
function profile() {
  const vault = newVault(newKey(random), random);
  const monotonic = (): number => Math.round(performance.now());
  const messenger = new Messenger(vault, { wall: Date.now, monotonic, random });
  const passing = new PassingState();
  const core = { vault, messenger, changes: new Changes(vault, messenger, passing, () => undefined) };
  const loop = new Loop({
    open: () => Promise.resolve(core),
    commit: () => Promise.resolve(),
    told: () => undefined,
    troubled: (error) => assert.fail(String(error)),
    dial: noDial,
    monotonic,
    wall: Date.now,
    chance: () => 1,
    isOnline: () => false,
  });
  const ports: CallPorts = {
    loop,
    passing,
    page: PAGE,
    changesOf: () => core.changes,
    isKept: () => Promise.resolve(null),
    staysSignedIn: () => false,
    renamed: () => Promise.resolve(),
    monotonic,
  };
  loop.start(core);
  return { messenger, passing, loop, calls: callsOn(ports) };
}

test("older encryption is allowed by the notice that was read, once, and nothing weaker", async () => {
  const { messenger, passing, loop, calls } = profile();
  const { allowOlder } = calls;
  const allowed = (): readonly boolean[] => {
    const { allowsOlder, allowsClassical } = messenger.stores.book.get(BOB);
    return [allowsOlder, allowsClassical];
  };
  messenger.contacts.add("Bob", BOB);
  const older: Notice = { code: "older", text: "the relay offers no newer keys" };
  const classical: Notice = { code: "classical", text: "the relay offers no post-quantum key" };

  passing.notices.set(BOB, classical); // it has come while the other one was read
  await assert.rejects(allowOlder({ peer: BOB, notice: older }), { message: /has just changed/ });
  assert.deepEqual(allowed(), [false, false]);

  passing.notices.set(BOB, older);
  await allowOlder({ peer: BOB, notice: older });
  assert.deepEqual(allowed(), [true, false]);
  await assert.rejects(allowOlder({ peer: BOB, notice: older }), { message: /has just changed/ }); // a second click
  assert.deepEqual(allowed(), [true, false]);

  passing.notices.set(BOB, classical);
  await allowOlder({ peer: BOB, notice: classical });
  assert.deepEqual(allowed(), [true, true]);
  await loop.stop();
});

test("what is neither an id nor a link is refused as that, with a name and without", async () => {
  const { messenger, loop, calls } = profile();
  messenger.contacts.add("Bob", BOB);
  for (const who of ["bob", "Bob", "https://chat.example.org/", "https://chat.example.org/#c=ph1q329&n=Bob"]) {
    for (const name of ["", "Robert"]) {
      await assert.rejects(calls.add({ who, name }), { message: /not a user ID or a link to one/i });
    }
  }
  const peer = await calls.add({ who: someId(67), name: "" });
  assert.match(messenger.contacts.of(peer).name, /^ph1[a-z0-9]{8}$/);
  assert.equal(await calls.add({ who: BOB, name: "" }), BOB);
  assert.equal(messenger.contacts.of(BOB).name, "Bob");
  await loop.stop();
});

test("a new key is accepted as it was seen: another one that came meanwhile is refused, and shown", async () => {
  const { messenger, loop, calls } = profile();
  messenger.contacts.add("Bob", BOB);
  const offer = (byte: number): Promise<void> =>
    loop.call(({ vault }) => {
      const record = { ...messenger.stores.book.get(BOB), key: new Uint8Array(32).fill(1), trust: "changed" as const };
      const offered = new Uint8Array(32).fill(byte);
      vault.transaction((tx) => messenger.stores.book.put(tx, { ...record, offered }));
    });
  const shown = async (): Promise<string> => {
    const all = await calls.conversations();
    return all.find(({ peer }) => peer === BOB)?.newKey ?? "";
  };
  assert.equal(await shown(), "");
  await offer(2);
  const seen = await shown();
  assert.equal(seen, someId(2));
  await offer(3);
  await assert.rejects(calls.acceptKey({ peer: BOB, key: seen }), { code: "key-changed" });
  assert.deepEqual([messenger.contacts.of(BOB).trust, await shown()], ["changed", someId(3)]);
  await calls.acceptKey({ peer: BOB, key: await shown() });
  assert.deepEqual([messenger.contacts.of(BOB).trust, await shown()], ["unverified", ""]);
  assert.deepEqual(messenger.contacts.of(BOB).key, new Uint8Array(32).fill(3));
  await loop.stop();
});
