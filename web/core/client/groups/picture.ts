/**
 * Pictures of groups: small, carried by the change that sets them, and named by their hash ever after (groups.md,
 * "Picture"). Nothing here decodes a picture.
 */

import { NO_BYTES, concat, isEqual, utf8 } from "../../bytes.ts";
import { sha256 } from "../../crypto/primitives.ts";

export const MIN_PICTURE_BYTES = 12;
export const MAX_PICTURE_BYTES = 4096;

const HASH = utf8("phantom/1 group-picture\n");
const PNG = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const JPEG = Uint8Array.of(0xff, 0xd8, 0xff);
const RIFF = utf8("RIFF");
const WEBP = utf8("WEBP");

/** The media type of a picture by its first bytes, '' if it is none. */
export function typeOf(data: Uint8Array): "image/png" | "image/jpeg" | "image/webp" | "" {
  if (data.length < MIN_PICTURE_BYTES || data.length > MAX_PICTURE_BYTES) return "";
  const has = (part: Uint8Array, at = 0): boolean => isEqual(data.subarray(at, at + part.length), part);
  if (has(PNG)) return "image/png";
  if (has(JPEG)) return "image/jpeg";
  return has(RIFF) && has(WEBP, 8) ? "image/webp" : "";
}

/** What a state has of a picture: 32 bytes; of none, nothing. */
export function pictureName(data: Uint8Array): Uint8Array {
  return data.length > 0 ? sha256(concat(HASH, data)) : NO_BYTES;
}
