/** The bytes that are signed: a label, then canonical bytes. And certified user ids, which are the hash of a key. */

import { sha256 } from "@noble/hashes/sha2.js";
import { concat, utf8 } from "../bytes.ts";
import { ENVELOPE, KEM_PREKEY, SIGNED_PREKEY, USER_ID } from "../labels.ts";
import { encodeBase64 } from "./base64.ts";

/** Length of a user id that is the hash of its key. */
export const CERTIFIED_BYTES = 32;

/** The bytes under an envelope's `signature`; `text` is from `signedText` of `codec.ts`. */
export function envelopeBytes(text: string): Uint8Array {
  return concat(ENVELOPE, utf8(text));
}

/** The bytes under `preKeySignature` of a 32-byte X25519 prekey. */
export function signedPrekeyBytes(key: Uint8Array): Uint8Array {
  return concat(SIGNED_PREKEY, key);
}

/** The bytes under `kemPreKeySignature` of a 1,184-byte ML-KEM-768 key. */
export function kemPrekeyBytes(key: Uint8Array): Uint8Array {
  return concat(KEM_PREKEY, key);
}

/** The user id that is the hash of a 32-byte Ed25519 key, in base64 (44 characters). */
export function certifiedUserId(key: Uint8Array): string {
  return encodeBase64(sha256(concat(USER_ID, key)));
}
