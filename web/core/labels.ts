/** What an identity key signs and hashes, told apart by a label in front of the bytes (encryption.md, "Identity"). */

import { concat, u16, u32, u64, utf8 } from "./bytes.ts";

export const ENVELOPE = utf8("phantom/1 envelope\n");
export const SIGNED_PREKEY = utf8("phantom/1 signed-prekey\n");
export const KEM_PREKEY = utf8("phantom/1 kem-prekey\n");
export const PREKEY_BUNDLE = utf8("phantom/1 prekey-bundle 2\n");
export const USER_ID = utf8("phantom/1 user-id\n");
export const CONVERSATION = utf8("phantom/1 conversation\n");

/** The prekeys of a bundle that last; see `prekeyBundle`. */
export interface LastingKeys {
  /** Milliseconds since 1970. */
  readonly madeAt: number;
  readonly signedId: number;
  /** 32 bytes. */
  readonly signedPrekey: Uint8Array;
  readonly kemId: number;
  /** SHA-256 of the last-resort ML-KEM-768 key, 32 bytes. */
  readonly kemDigest: Uint8Array;
  /** Raw, 16 to 64 bytes. */
  readonly userId: Uint8Array;
}

/** The bytes under `bundleSignature` (encryption.md, "Bundle"). */
export function prekeyBundle(keys: LastingKeys): Uint8Array {
  return concat(
    PREKEY_BUNDLE,
    u64(keys.madeAt),
    u32(keys.signedId),
    keys.signedPrekey,
    u32(keys.kemId),
    keys.kemDigest,
    u16(keys.userId.length),
    keys.userId,
  );
}
