/** Byte strings: joined, compared, and read as numbers (big-endian), hex and UTF-8. */

import { concatBytes } from "@noble/hashes/utils.js";

export { bytesToHex as toHex, hexToBytes as fromHex } from "@noble/hashes/utils.js";

/** Returns this many random bytes. Nothing in `core` has randomness of its own. */
export type Random = (size: number) => Uint8Array;

export const NO_BYTES: Uint8Array = new Uint8Array(0);

const encoder = new TextEncoder();
// A byte order mark is a character like any other: who drops it reads two texts as one.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** All parts, one behind the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return concatBytes(...parts);
}

/** Whether two byte strings are the same; not for secrets, see `isSameSecret`. */
export function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

/** The same in a time that does not depend on where they differ. */
export function isSameSecret(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (const [index, byte] of one.entries()) difference |= byte ^ (other[index] ?? 0);
  return difference === 0;
}

/** As a sort function wants it: below 0 if `one` comes first, byte by byte, and a beginning before the whole. */
export function compare(one: Uint8Array, other: Uint8Array): number {
  const common = Math.min(one.length, other.length);
  for (let index = 0; index < common; index += 1) {
    const difference = (one[index] ?? 0) - (other[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

/** Whether there are zeros and nothing else, or nothing at all. */
export function isAllZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** UTF-8 of a text; a lone surrogate becomes U+FFFD, so who must not change a text checks it before. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/**
 * The text that these bytes are.
 *
 * @throws TypeError They are not UTF-8.
 */
export function fromUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** A number in 2 bytes. */
export function u16(value: number): Uint8Array {
  return numbered(2, (view) => view.setUint16(0, value));
}

/** A number in 4 bytes. */
export function u32(value: number): Uint8Array {
  return numbered(4, (view) => view.setUint32(0, value));
}

/** A number up to 2^53-1 in 8 bytes. */
export function u64(value: number): Uint8Array {
  return numbered(8, (view) => view.setBigUint64(0, BigInt(value)));
}

/** The number in the 4 bytes from `at`. */
export function readU32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at);
}

function numbered(size: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  write(new DataView(bytes.buffer));
  return bytes;
}
