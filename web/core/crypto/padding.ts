/** Padding to few sizes, so that a ciphertext's length says little about its content (ISO/IEC 7816-4). */

import { isAllZero } from "../bytes.ts";
import { InvalidMessage } from "./errors.ts";

export const MIN_PADDED = 256;
/** Largest padded content of suite 1 in bytes. */
export const MAX_PADDED = 44_800;

const MARK = 0x80;

/** Content is too long for any padding. */
export class TooLong extends Error {
  override readonly name = "TooLong";
}

/**
 * The padded size of `length` bytes: a power of two from `least`, at most `most`.
 *
 * @throws TooLong More than `most` - 1 bytes.
 */
export function paddedSize(length: number, least: number = MIN_PADDED, most: number = MAX_PADDED): number {
  if (length >= most) throw new TooLong(`content has ${length} bytes, at most ${most - 1} fit`);
  let size = least;
  while (size < length + 1) size *= 2;
  return Math.min(size, most);
}

/**
 * Appends 0x80 and zeros up to the padded size.
 *
 * @param content At most `most` - 1 bytes.
 * @param least The smallest padded size.
 * @param most The largest: `MAX_PADDED` in suite 1, that of `body.ts` in suite 2.
 * @throws TooLong See `paddedSize`.
 */
export function pad(content: Uint8Array, least: number = MIN_PADDED, most: number = MAX_PADDED): Uint8Array {
  const padded = new Uint8Array(paddedSize(content.length, least, most));
  padded.set(content);
  padded[content.length] = MARK;
  return padded;
}

/**
 * Undoes `pad`.
 *
 * @throws InvalidMessage There is no padding.
 */
export function unpad(padded: Uint8Array): Uint8Array {
  const end = padded.lastIndexOf(MARK);
  if (end < 0 || !isAllZero(padded.subarray(end + 1))) throw new InvalidMessage("padding is missing");
  return padded.slice(0, end);
}
