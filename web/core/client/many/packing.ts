/** Recipients of one message divided into frames, as few as the limits of MESSAGE_MANY allow. Pure. */
import { MAX_MANY_CHARS, MAX_MESSAGE_BYTES, MAX_RECIPIENTS } from "../../wire/limits.ts";

/** Of an Ed25519 signature in base64. */
export const SIGNATURE_CHARS = 88;

/** Characters of a recipient beside head and id. */
const AROUND = '{"head":"","recipientId":"","signature":""},'.length + SIGNATURE_CHARS;

/** What one recipient adds to a frame, in characters of base64. */
export interface Sizes {
  readonly head: number;
  readonly recipient: number;
}

/** How long so many bytes are in base64. */
export function base64Chars(size: number): number {
  return Math.ceil(size / 3) * 4;
}

/**
 * Divides recipients into frames; they keep their order. One who does not fit a frame alone has one all the same, which
 * the relay refuses.
 *
 * @param fixed bytes of a frame without recipients
 * @param common characters of `common` alone: each recipient's message has them, too
 */
export function packed<T>(
  parts: Iterable<readonly [T, Sizes]>,
  { fixed, common }: { readonly fixed: number; readonly common: number },
): T[][] {
  const found: T[][] = [];
  let last: T[] = [];
  let [size, expanded] = [0, 0];
  for (const [part, { head, recipient }] of parts) {
    const chars = AROUND + head + recipient;
    const isFull =
      found.length === 0 ||
      last.length >= MAX_RECIPIENTS ||
      size + chars > MAX_MESSAGE_BYTES ||
      expanded + common + head > MAX_MANY_CHARS;
    if (isFull) {
      last = [];
      found.push(last);
      [size, expanded] = [fixed, 0];
    }
    last.push(part);
    size += chars;
    expanded += common + head;
  }
  return found;
}
