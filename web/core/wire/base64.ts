/** Base64 in its one canonical form, so that one value never has two spellings (RFC 4648 section 4, with padding). */

const CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const NONE = 255;
const VALUES = new Uint8Array(128).fill(NONE);
for (const [value, character] of [...CHARACTERS].entries()) VALUES[character.charCodeAt(0)] = value;

/** The text of some bytes. */
export function encodeBase64(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at;
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    parts.push(
      CHARACTERS.charAt(group >> 18) +
        CHARACTERS.charAt((group >> 12) & 63) +
        (left > 1 ? CHARACTERS.charAt((group >> 6) & 63) : "=") +
        (left > 2 ? CHARACTERS.charAt(group & 63) : "="),
    );
  }
  return parts.join("");
}

/**
 * The bytes of a text, strictly.
 *
 * @returns null if it is not canonical: another alphabet, missing padding, or bits set behind the last byte.
 */
export function decodeBase64(text: string): Uint8Array | null {
  if (text.length % 4 !== 0) return null;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const characters = text.length - padding;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let group = 0;
  let bits = 0;
  let at = 0;
  for (let index = 0; index < characters; index += 1) {
    const code = text.charCodeAt(index);
    const value = code < VALUES.length ? (VALUES[code] ?? NONE) : NONE;
    if (value === NONE) return null;
    group = ((group << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at] = (group >> bits) & 0xff;
      at += 1;
    }
  }
  return (group & ((1 << bits) - 1)) === 0 ? bytes : null;
}

/**
 * The bytes of a text of which is known that it is canonical: of a decoded frame, or of an own record.
 *
 * @throws Error It is not; no peer can cause that.
 */
export function fromBase64(text: string): Uint8Array {
  const bytes = decodeBase64(text);
  if (bytes === null) throw new Error("a checked text is not base64");
  return bytes;
}
