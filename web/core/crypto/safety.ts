/**
 * Safety numbers: 60 digits that two users compare to be sure that nobody is in the middle.
 *
 * Derived as Signal does (libsignal `fingerprint`, version 0): an iterated SHA-512 over key and stable id for each
 * side, the two halves sorted.
 */

import { concat, u16 } from "../bytes.ts";
import { sha512 } from "./primitives.ts";

const ITERATIONS = 5200;
const VERSION = 0;
const CHUNKS = 6;
const CHUNK_BYTES = 5;

/** Somebody's public identity key, and stable id (raw). */
export interface Side {
  readonly key: Uint8Array;
  readonly id: Uint8Array;
}

/** The 60 digits of a pair; both sides compute the same. */
export function safetyNumber(own: Side, peer: Side): string {
  return [half(own), half(peer)].sort().join("");
}

/** The digits in groups of five, as they are read aloud. */
export function grouped(digits: string): readonly string[] {
  return digits.match(/.{1,5}/g) ?? [];
}

function half({ key, id }: Side): string {
  let digest = concat(u16(VERSION), key, id);
  for (let round = 0; round < ITERATIONS; round += 1) digest = sha512(concat(digest, key));
  return Array.from({ length: CHUNKS }, (_, index) => digits(digest.subarray(index * CHUNK_BYTES))).join("");
}

/** Five digits of the first five bytes: 40 bits fit a number exactly. */
function digits(bytes: Uint8Array): string {
  const value = bytes.subarray(0, CHUNK_BYTES).reduce((sum, byte) => sum * 256 + byte, 0);
  return String(value % 100_000).padStart(5, "0");
}
