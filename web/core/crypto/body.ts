/**
 * The body of a message of suite 2: the content, encrypted once under a key of its own (encryption.md, "Head and
 * body").
 *
 * A body is `suite || commitment || AES-256-GCM(body key, content) || zeros`, and says nothing of who may read it: its
 * 32-byte key travels in a head for each recipient. The commitment fixes the key: AES-GCM alone would let a sender make
 * one body that says different things under different keys.
 */

import { concat, isAllZero, isSameSecret, utf8 } from "../bytes.ts";
import { InvalidMessage, UndecryptableMessage } from "./errors.ts";
import { KEY_BYTES, NONCE_BYTES, TAG_BYTES, hkdf, seal as sealGcm, unseal } from "./primitives.ts";

export const SUITE = 2;

const BODY_INFO = utf8("phantom/1 body\n");
const NO_SALT = new Uint8Array(32);
const COMMITMENT_BYTES = 32;
const PREFIX_BYTES = 1 + COMMITMENT_BYTES;
const FIXED_BYTES = PREFIX_BYTES + TAG_BYTES;

/** Padded content is a multiple of this, so that the zeros at the end can be told from the ciphertext. */
export const PADDED_STEP = 256;
/** Largest padded content in bytes: with the largest head it still fits the 46,080 bytes of `encrypted`. */
export const MAX_PADDED = 44_544;

/** The nonce may be fixed because a key encrypts one body and no other: it is drawn anew for each. */
const ONCE = new Uint8Array(NONCE_BYTES);
/** Heads and bodies are multiples of 3 bytes, so that their base64 texts can be joined. */
const TRIPLE = 3;

/**
 * Encrypts a content.
 *
 * @param content Padded to a multiple of 256 bytes, at most `MAX_PADDED`.
 * @param key 32 random bytes, for this body alone.
 * @throws Error The content is not padded, or too long.
 */
export function seal(content: Uint8Array, key: Uint8Array): Uint8Array {
  if (key.length !== KEY_BYTES) throw new Error("the key of a body has 32 bytes");
  if (content.length === 0 || content.length % PADDED_STEP !== 0 || content.length > MAX_PADDED) {
    throw new Error(`a body holds a multiple of ${PADDED_STEP} bytes, at most ${MAX_PADDED}`);
  }
  const { commitment, bodyKey } = derive(key);
  const prefix = concat(new Uint8Array([SUITE]), commitment);
  return filled(concat(prefix, sealGcm(bodyKey, ONCE, content, prefix)));
}

/** With the zeros that make its length a multiple of 3. */
export function filled(bytes: Uint8Array): Uint8Array {
  return concat(bytes, new Uint8Array((TRIPLE - (bytes.length % TRIPLE)) % TRIPLE));
}

/**
 * Refuses what cannot be a body, whatever the key is.
 *
 * @throws InvalidMessage Another suite, another length, or something else than zeros at the end.
 */
export function checkForm(body: Uint8Array): void {
  const size = contentBytes(body);
  if (body.length % TRIPLE !== 0 || size < PADDED_STEP || size > MAX_PADDED) {
    throw new InvalidMessage("a body has a length that none has");
  }
  if (body[0] !== SUITE) throw new InvalidMessage("a body is of another suite than its head");
  const rest = body.subarray(FIXED_BYTES + size);
  if (rest.length >= TRIPLE || !isAllZero(rest)) throw new InvalidMessage("a body does not end with its zeros");
}

/**
 * Undoes `seal`; the caller has called `checkForm`.
 *
 * @throws UndecryptableMessage The body was made with another key, or changed.
 */
export function openSealed(body: Uint8Array, key: Uint8Array): Uint8Array {
  const { commitment, bodyKey } = derive(key);
  const prefix = body.subarray(0, PREFIX_BYTES);
  if (!isSameSecret(prefix.subarray(1), commitment)) {
    throw new UndecryptableMessage("the body was made with another key");
  }
  return unseal(bodyKey, ONCE, body.subarray(PREFIX_BYTES, FIXED_BYTES + contentBytes(body)), prefix);
}

/** What comes of the key of a body: the commitment, and the key of AES-256-GCM. */
export function derive(key: Uint8Array): { readonly commitment: Uint8Array; readonly bodyKey: Uint8Array } {
  const out = hkdf(key, { salt: NO_SALT, info: BODY_INFO, length: COMMITMENT_BYTES + KEY_BYTES });
  return { commitment: out.slice(0, COMMITMENT_BYTES), bodyKey: out.slice(COMMITMENT_BYTES) };
}

/** How long the padded content is, by the length alone. */
function contentBytes(body: Uint8Array): number {
  return Math.floor((body.length - FIXED_BYTES) / PADDED_STEP) * PADDED_STEP;
}
