import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidMessage } from "../../core/crypto/errors.ts";
import { decrypt, dump, encrypt, load, parse, pendingOf } from "../../core/crypto/suites.ts";
import { type Packed, pack, unpack } from "../../core/msgpack.ts";
import { NOW, begun, random } from "./begun.ts";

test("a stored session is the same session", () => {
  for (const one of begun) {
    const again = load(dump(one));
    assert.deepEqual(dump(again), dump(one));
    assert.deepEqual(Object.keys(again).sort(), Object.keys(one).sort());
    assert.deepEqual(pendingOf(again)?.ephemeral, one.id);
    assert.equal(again.classical, one.classical);
  }
  assert.deepEqual(begun.map(({ classical }) => classical), [false, true, false]);
});

test("a message of another suite than the session's is undecryptable", () => {
  const [one, , other] = begun;
  assert.ok(one !== undefined && other !== undefined);
  const [, message] = encrypt(other, new Uint8Array(256), random);
  assert.throws(() => decrypt(one, parse(message), { random, now: NOW }), /another suite/);
});

test("what is no stored session is refused", () => {
  for (const one of begun) {
    const whole = dump(one);
    for (let end = 0; end < whole.length; end += 7) assert.throws(() => load(whole.slice(0, end)), InvalidMessage);
    const members = unpack(whole) as readonly Packed[];
    const others: readonly Packed[] = [-1, 2 ** 32, true, "x", new Uint8Array(31), [1], { x: 1 }];
    for (const [at, member] of members.entries()) {
      for (const other of others.filter((value) => typeof value !== typeof member || value instanceof Uint8Array)) {
        // The seed and the associated data may have any length, a handshake header must be whole.
        const isFree = member instanceof Uint8Array && other instanceof Uint8Array && member.length !== 32;
        if (!isFree) assert.throws(() => load(pack(members.with(at, other))), InvalidMessage, `member ${at}`);
      }
    }
    assert.throws(() => load(pack([...members, 0])), InvalidMessage);
    assert.throws(() => load(pack(members.with(0, 9))), InvalidMessage);
  }
  const others = [pack({}), pack([]), pack(["2"]), new Uint8Array([0xc1])];
  for (const bytes of others) assert.throws(() => load(bytes), InvalidMessage);
});
