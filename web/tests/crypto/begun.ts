import { OwnIdentity, keyPairFrom } from "../../core/crypto/keys.ts";
import { makeKemPreKey, makeSignedPreKey, signBundle } from "../../core/crypto/prekeys.ts";
import * as session from "../../core/crypto/session.ts";
import * as session2 from "../../core/crypto/session2.ts";
import type { AnySession } from "../../core/crypto/suites.ts";

export const NOW = 1_770_000_000_000;
let drawn = 0;
export const random = (size: number): Uint8Array => {
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
/** Sessions that were begun and not answered yet: of suite 1, of suite 1 without a KEM, and of suite 2. */
export const begun: readonly AnySession[] = [
  session.start(alice, bundle, keyPairFrom(random(32)), ids),
  session.start(alice, { ...bundle, kemPrekey: null }, keyPairFrom(random(32)), ids),
  session2.start(alice, dated, keyPairFrom(random(32)), { ...ids, now: NOW, newest: 0, persistentNow: NOW }),
];
