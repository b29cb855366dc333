import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidMessage } from "../../core/crypto/errors.ts";
import { OwnIdentity, keyPairFrom } from "../../core/crypto/keys.ts";
import { makeKemPreKey, makeSignedPreKey, signBundle } from "../../core/crypto/prekeys.ts";
import * as session from "../../core/crypto/session.ts";
import * as session2 from "../../core/crypto/session2.ts";
import { type AnySession, decrypt, dump, encrypt, load, parse, pendingOf } from "../../core/crypto/suites.ts";
import { type Packed, pack, unpack } from "../../core/msgpack.ts";

const NOW = 1_770_000_000_000;
let drawn = 0;
const random = (size: number): Uint8Array => {
  drawn += 1;
  return new Uint8Array(size).fill(drawn);
};

const [alice, bob] = [new OwnIdentity(random(32)), new OwnIdentity(random(32))];
const [signed, kem] = [makeSignedPreKey(bob, 1, random(32)), makeKemPreKey(bob, 2, random(64))];
const keys = {
  identity: bob.peer,
  signedPrekey: signed.pair.public,
  signedPrekeyId: 1,
  oneTimePrekey: null,
  oneTimePrekeyId: 0,
  kemPrekey: kem.public,
  kemPrekeyId: 2,
  kemPrekeySignature: kem.signature,
};
const dated = {
  ...keys,
  userId: bob.peer.userId,
  madeAt: NOW,
  lastResortDigest: null,
  lastResortId: 0,
  signature: signBundle(bob, signed, kem, NOW, bob.peer.userId),
};
const ids = { ownId: alice.peer.userId, peerId: bob.peer.userId, random };
const bundle = { ...keys, signedPrekeySignature: signed.signature, dated };
const begun: readonly AnySession[] = [
  session.start(alice, bundle, keyPairFrom(random(32)), ids),
  session.start(alice, { ...bundle, kemPrekey: null }, keyPairFrom(random(32)), ids),
  session2.start(alice, dated, keyPairFrom(random(32)), { ...ids, now: NOW, newest: 0, persistentNow: NOW }),
];

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
