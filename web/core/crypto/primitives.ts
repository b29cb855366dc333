/** The only file that touches the cryptographic library (noble). */

import { gcm } from "@noble/ciphers/aes.js";
import { ed25519, x25519 as curve } from "@noble/curves/ed25519.js";
import { bytesToNumberLE } from "@noble/curves/utils.js";
import { argon2id as argon } from "@noble/hashes/argon2.js";
import { hkdf as extractAndExpand } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 as hash256, sha512 as hash512 } from "@noble/hashes/sha2.js";
import { ml_kem768 } from "@noble/post-quantum/ml-kem.js";
import { type Random, concat } from "../bytes.ts";
import { InvalidKey, InvalidSignature, UndecryptableMessage } from "./errors.ts";

export const KEY_BYTES = 32;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;
export const SIGNATURE_BYTES = 64;
export const KEM_SEED_BYTES = 64;
export const KEM_PUBLIC_BYTES = 1184;
export const KEM_CIPHERTEXT_BYTES = 1088;

const KEM_RANDOM_BYTES = 32;
const KEM_COEFFICIENT_BYTES = KEM_PUBLIC_BYTES - 32;
const KEM_Q = 3329;
const FIELD = 2n ** 255n - 19n;
const { Point } = ed25519;
// The library's table of the base point is for windows of 6 bits. With one for 8, which takes some 20 ms more to make
// once a profile is opened, a signature takes a fifth less; a text to a group is one for each member.
Point.BASE.precompute(8);

/** The public key of 32 private bytes (RFC 7748). */
export function x25519Public(secret: Uint8Array): Uint8Array {
  return curve.getPublicKey(secret);
}

/**
 * Diffie-Hellman (RFC 7748 section 6.1) of 32 private bytes and 32 of the peer: 32 secret bytes, never all zero.
 *
 * @throws InvalidKey The peer's key has small order, so the result would not depend on `secret`; or another length; or
 * it is not canonical, which RFC 7748 would accept: here a key has exactly one encoding.
 */
export function x25519(secret: Uint8Array, peer: Uint8Array): Uint8Array {
  if (secret.length !== KEY_BYTES || peer.length !== KEY_BYTES) {
    throw new InvalidKey("a Diffie-Hellman key has another length than 32 bytes");
  }
  if (bytesToNumberLE(peer) >= FIELD) throw new InvalidKey("a Diffie-Hellman key is not canonically encoded");
  try {
    return curve.getSharedSecret(secret, peer);
  } catch {
    throw new InvalidKey("a Diffie-Hellman key contributes nothing");
  }
}

/** The public key of a 32-byte seed (RFC 8032 section 5.1.5). */
export function ed25519Public(seed: Uint8Array): Uint8Array {
  return ed25519.getPublicKey(seed);
}

/**
 * What makes 64-byte signatures of messages under a 32-byte seed (RFC 8032 section 5.1.6).
 *
 * The library computes the public key anew for each signature, which costs as much as the signature itself.
 */
export function ed25519Signer(seed: Uint8Array): (message: Uint8Array) => Uint8Array {
  const { prefix, scalar, pointBytes } = ed25519.utils.getExtendedPublicKey(seed);
  const { BASE, Fn } = Point;
  const scalarOf = (...parts: readonly Uint8Array[]): bigint => Fn.create(bytesToNumberLE(hash512(concat(...parts))));
  return (message) => {
    const nonce = scalarOf(prefix, message);
    const commitment = BASE.multiply(nonce).toBytes();
    const challenge = scalarOf(commitment, pointBytes, message);
    return concat(commitment, Fn.toBytes(Fn.create(nonce + challenge * scalar)));
  };
}

/**
 * Checks a signature strictly: no small-order or non-canonical key or R, S < L, and the equation without cofactor.
 *
 * The library's own check multiplies by the cofactor, so that it accepts signatures which the relay refuses.
 *
 * @throws InvalidSignature It does not verify.
 */
export function ed25519Verify(key: Uint8Array, signature: Uint8Array, message: Uint8Array): void {
  if (key.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) {
    throw new InvalidSignature("a key or signature has the wrong length");
  }
  if (!isVerified(key, signature, message)) throw new InvalidSignature("the signature does not verify");
}

function isVerified(key: Uint8Array, signature: Uint8Array, message: Uint8Array): boolean {
  const r = signature.subarray(0, KEY_BYTES);
  const s = bytesToNumberLE(signature.subarray(KEY_BYTES));
  const a = pointOf(key);
  const commitment = pointOf(r);
  if (a === null || commitment === null || a.isSmallOrder() || commitment.isSmallOrder()) return false;
  if (s >= Point.Fn.ORDER) return false;
  const challenge = Point.Fn.create(bytesToNumberLE(hash512(concat(r, key, message))));
  return Point.BASE.multiplyUnsafe(s).subtract(a.multiplyUnsafe(challenge)).equals(commitment);
}

/** The point of a canonical encoding, null if it is none. */
function pointOf(encoded: Uint8Array): InstanceType<typeof Point> | null {
  try {
    return Point.fromBytes(encoded, false);
  } catch {
    return null;
  }
}

/**
 * The X25519 image of an Ed25519 public key (RFC 7748 section 4.1, birational map).
 *
 * @throws InvalidKey Not a canonical point of the prime-order group.
 */
export function ed25519ToX25519Public(key: Uint8Array): Uint8Array {
  if (key.length !== KEY_BYTES) throw new InvalidKey("an identity key has another length than 32 bytes");
  const point = pointOf(key);
  if (point === null || point.isSmallOrder() || !point.isTorsionFree()) {
    throw new InvalidKey("an identity key is not a usable Ed25519 key");
  }
  return ed25519.utils.toMontgomery(key);
}

/** The X25519 private key that belongs to the image of a seed's public key, clamped. */
export function ed25519ToX25519Private(seed: Uint8Array): Uint8Array {
  const secret = hash512(seed).slice(0, KEY_BYTES);
  secret[0] = (secret[0] ?? 0) & 248;
  secret[31] = ((secret[31] ?? 0) & 127) | 64;
  return secret;
}

/** The 1,184-byte ML-KEM-768 key of a 64-byte seed d || z (FIPS 203 section 7.1). */
export function kemPublic(seed: Uint8Array): Uint8Array {
  return ml_kem768.keygen(seed).publicKey;
}

/**
 * Makes a secret for the owner of a key (FIPS 203 section 7.2).
 *
 * @param key 1,184 bytes.
 * @param random Asked for 32 bytes, m, once the key is found to be good.
 * @returns The 32-byte secret and the 1,088-byte ciphertext that carries it.
 * @throws InvalidKey The key fails the input check of FIPS 203.
 */
export function kemEncapsulate(key: Uint8Array, random: Random): readonly [Uint8Array, Uint8Array] {
  if (!isKemKey(key)) throw new InvalidKey("a KEM key is malformed");
  const { sharedSecret, cipherText } = ml_kem768.encapsulate(key, random(KEM_RANDOM_BYTES));
  return [sharedSecret.slice(), cipherText];
}

/** FIPS 203 section 7.2: the length, and no coefficient (12 bits each) of q or more. */
function isKemKey(key: Uint8Array): boolean {
  if (key.length !== KEM_PUBLIC_BYTES) return false;
  for (let at = 0; at < KEM_COEFFICIENT_BYTES; at += 3) {
    const pair = (key[at] ?? 0) | ((key[at + 1] ?? 0) << 8) | ((key[at + 2] ?? 0) << 16);
    if ((pair & 0xfff) >= KEM_Q || pair >>> 12 >= KEM_Q) return false;
  }
  return true;
}

/** The secret of a ciphertext (FIPS 203 section 7.3); a forged one gives an unrelated secret. */
export function kemDecapsulate(seed: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  const { secretKey } = ml_kem768.keygen(seed);
  try {
    return ml_kem768.decapsulate(ciphertext, secretKey);
  } catch {
    throw new InvalidKey("a KEM ciphertext is malformed");
  }
}

/** What HKDF is given beside the secret. */
export interface Derivation {
  readonly salt: Uint8Array;
  readonly info: Uint8Array;
  /** Bytes that are wanted. */
  readonly length: number;
}

/** HKDF-SHA-256 (RFC 5869). */
export function hkdf(secret: Uint8Array, { salt, info, length }: Derivation): Uint8Array {
  return extractAndExpand(hash256, secret, salt, info, length);
}

/** HMAC-SHA-256 (RFC 2104). */
export function hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array {
  return hmac(hash256, key, message);
}

/** SHA-256 (FIPS 180-4). */
export function sha256(data: Uint8Array): Uint8Array {
  return hash256(data);
}

/** SHA-512 (FIPS 180-4). */
export function sha512(data: Uint8Array): Uint8Array {
  return hash512(data);
}

/** AES-256-GCM (NIST SP 800-38D); the caller never uses a pair of key and nonce twice. */
export function seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, associated: Uint8Array): Uint8Array {
  return gcm(key, nonce, associated).encrypt(plaintext);
}

/**
 * Undoes `seal`.
 *
 * @throws UndecryptableMessage Something was changed, or the key is another one.
 */
export function unseal(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, associated: Uint8Array): Uint8Array {
  if (sealed.length < TAG_BYTES) throw new UndecryptableMessage("it is cut short");
  try {
    return gcm(key, nonce, associated).decrypt(sealed);
  } catch {
    throw new UndecryptableMessage("does not authenticate");
  }
}

/** The costs of `argon2id`, and at least 16 bytes of salt. */
export interface Stretching {
  readonly salt: Uint8Array;
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
  /** Told from 0 to 1 how far it is. */
  readonly onProgress?: (part: number) => void;
}

/** 32 bytes from a passphrase (RFC 9106); slow on purpose, and without a pause. */
export function argon2id(passphrase: Uint8Array, cost: Stretching): Uint8Array {
  const { salt, memoryKib, passes, lanes, onProgress } = cost;
  const told = onProgress === undefined ? {} : { onProgress };
  // The library's own bound on memory is lower than what an exported file may ask for.
  const maxmem = (memoryKib + 1024) * 1024;
  return argon(passphrase, salt, { t: passes, m: memoryKib, p: lanes, dkLen: KEY_BYTES, maxmem, ...told });
}
