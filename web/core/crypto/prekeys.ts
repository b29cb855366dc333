/** Prekeys: keys left at the relay, so that others can start a session while their owner is away (encryption.md). */

import { concat } from "../bytes.ts";
import { KEM_PREKEY, SIGNED_PREKEY, prekeyBundle } from "../labels.ts";
import type { DatedBundle } from "./bundle.ts";
import { type KeyPair, type OwnIdentity, type PeerIdentity, keyPairFrom } from "./keys.ts";
import { kemPublic, sha256 } from "./primitives.ts";

/** A one-time X25519 prekey with its private half. */
export interface PreKey {
  readonly id: number;
  readonly pair: KeyPair;
}

/** A signed X25519 prekey with its private half. */
export interface SignedPreKey extends PreKey {
  readonly signature: Uint8Array;
}

/** A signed ML-KEM-768 prekey with its private half: `seed`, 64 bytes. */
export interface KemPreKey {
  readonly id: number;
  readonly seed: Uint8Array;
  readonly public: Uint8Array;
  readonly signature: Uint8Array;
}

/** Makes a signed prekey from 32 random bytes. */
export function makeSignedPreKey(identity: OwnIdentity, id: number, secret: Uint8Array): SignedPreKey {
  const pair = keyPairFrom(secret);
  return { id, pair, signature: identity.sign(concat(SIGNED_PREKEY, pair.public)) };
}

/** Makes a KEM prekey from 64 random bytes. */
export function makeKemPreKey(identity: OwnIdentity, id: number, seed: Uint8Array): KemPreKey {
  const key = kemPublic(seed);
  return { id, seed, public: key, signature: identity.sign(concat(KEM_PREKEY, key)) };
}

/**
 * Signs one's own prekeys that last, together with the time; see `DatedBundle`.
 *
 * @param madeAt Milliseconds since 1970, by one's own clock.
 * @param userId One's own, raw.
 */
export function signBundle(
  identity: OwnIdentity,
  signed: SignedPreKey,
  lastResort: KemPreKey,
  madeAt: number,
  userId: Uint8Array,
): Uint8Array {
  return identity.sign(
    prekeyBundle({
      madeAt,
      signedId: signed.id,
      signedPrekey: signed.pair.public,
      kemId: lastResort.id,
      kemDigest: sha256(lastResort.public),
      userId,
    }),
  );
}

/** A peer's prekeys as they were handed out; null, and id 0, where the peer gave none. */
export interface PreKeyBundle {
  readonly identity: PeerIdentity;
  readonly signedPrekey: Uint8Array;
  readonly signedPrekeySignature: Uint8Array;
  readonly signedPrekeyId: number;
  readonly oneTimePrekey: Uint8Array | null;
  readonly oneTimePrekeyId: number;
  readonly kemPrekey: Uint8Array | null;
  readonly kemPrekeySignature: Uint8Array;
  readonly kemPrekeyId: number;
  /** The same for suite 2, if their owner has dated them. Suite 1 does not look at it. */
  readonly dated: DatedBundle | null;
}

/**
 * Checks that the identity signed the prekeys of suite 1.
 *
 * @throws InvalidSignature It did not sign one of them.
 */
export function verifyPreKeys(bundle: PreKeyBundle): void {
  bundle.identity.verify(bundle.signedPrekeySignature, concat(SIGNED_PREKEY, bundle.signedPrekey));
  if (bundle.kemPrekey !== null) {
    bundle.identity.verify(bundle.kemPrekeySignature, concat(KEM_PREKEY, bundle.kemPrekey));
  }
}
