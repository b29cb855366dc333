/**
 * Bundles of suite 2: the lasting prekeys of a user, signed together and dated (encryption.md, "Bundle").
 *
 * In suite 1 each prekey is signed alone, so that a relay can leave out the KEM key, combine keys of different times,
 * and hand out old ones for ever. Here one signature covers everything but the one-time keys, and the time. Of the
 * last-resort KEM prekey it covers the hash: so whoever gets a one-time one needs no more of the other than that.
 */

import { concat } from "../bytes.ts";
import { KEM_PREKEY, prekeyBundle } from "../labels.ts";
import { InvalidKey, StaleBundle } from "./errors.ts";
import type { PeerIdentity } from "./keys.ts";
import { sha256 } from "./primitives.ts";

export const DAY_MS = 86_400_000;
/** A longer time would let a relay go on handing out keys that a thief may have had; owners renew every week. */
export const MAX_BUNDLE_AGE_MS = 90 * DAY_MS;
/** How far a bundle may be in the future: clocks that are set by hand are wrong by hours, or by a time zone. */
export const MAX_BUNDLE_AHEAD_MS = DAY_MS;
export const DIGEST_BYTES = 32;
export const MAX_ID = 2 ** 32 - 1;

/** A peer's prekeys as they were handed out. What is absent is null, its id 0. */
export interface DatedBundle {
  readonly identity: PeerIdentity;
  /** The peer that was asked for, raw. */
  readonly userId: Uint8Array;
  /** Milliseconds since 1970 by its owner's clock. */
  readonly madeAt: number;
  readonly signedPrekey: Uint8Array;
  readonly signedPrekeyId: number;
  /**
   * The one to use: a one-time one, with a signature of its own, if `lastResortDigest` is there; else the last resort.
   */
  readonly kemPrekey: Uint8Array;
  readonly kemPrekeyId: number;
  readonly kemPrekeySignature: Uint8Array;
  /** SHA-256 of the last resort. */
  readonly lastResortDigest: Uint8Array | null;
  readonly lastResortId: number;
  readonly signature: Uint8Array;
  readonly oneTimePrekey: Uint8Array | null;
  readonly oneTimePrekeyId: number;
}

/** What the owner signs. */
export function signedBytes(bundle: DatedBundle): Uint8Array {
  const { lastResortDigest: digest, lastResortId, kemPrekey, kemPrekeyId } = bundle;
  return prekeyBundle({
    madeAt: bundle.madeAt,
    signedId: bundle.signedPrekeyId,
    signedPrekey: bundle.signedPrekey,
    kemId: digest === null ? kemPrekeyId : lastResortId,
    kemDigest: digest ?? sha256(kemPrekey),
    userId: bundle.userId,
  });
}

/** By what a bundle's time is judged. */
export interface BundleTimes {
  /** Milliseconds since 1970, by the wall clock: it is compared with somebody else's. */
  readonly now: number;
  /** The greatest `madeAt` that was ever accepted from this user, 0 for none. An accepted bundle's takes its place. */
  readonly newest: number;
}

/**
 * Checks that a bundle may be used to begin a session.
 *
 * @throws InvalidKey A key has no id, so that its owner could not find it, or the digest has another length.
 * @throws InvalidSignature The owner did not sign it.
 * @throws StaleBundle Too old, in the future, or older than one that was accepted before.
 */
export function verifyBundle(bundle: DatedBundle, { now, newest }: BundleTimes): void {
  const ids = [bundle.signedPrekeyId, bundle.kemPrekeyId];
  if (bundle.oneTimePrekey !== null) ids.push(bundle.oneTimePrekeyId);
  if (bundle.lastResortDigest !== null) ids.push(bundle.lastResortId);
  if (!ids.every((one) => one > 0 && one <= MAX_ID)) throw new InvalidKey("a prekey has no id");
  if (bundle.lastResortDigest !== null && bundle.lastResortDigest.length !== DIGEST_BYTES) {
    throw new InvalidKey("the digest of a prekey has another length");
  }
  const { madeAt } = bundle;
  if (!Number.isSafeInteger(madeAt) || madeAt < 0) throw new StaleBundle("a bundle is of no time");
  bundle.identity.verify(bundle.signature, signedBytes(bundle));
  if (madeAt < newest || madeAt < now - MAX_BUNDLE_AGE_MS || madeAt > now + MAX_BUNDLE_AHEAD_MS) {
    throw new StaleBundle("a bundle is too old, in the future, or older than an earlier one");
  }
  if (bundle.lastResortDigest !== null) {
    bundle.identity.verify(bundle.kemPrekeySignature, concat(KEM_PREKEY, bundle.kemPrekey));
  }
}
