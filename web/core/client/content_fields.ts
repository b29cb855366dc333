/** What both versions of content have in common: the form of their fields (encryption.md, "Content"). */

import { isEqual, utf8 } from "../bytes.ts";
import { InvalidMessage } from "../crypto/errors.ts";
import type { Packed } from "../msgpack.ts";
import { LAST_TIME_MS, MAX_RECEIPTS, MAX_TEXT_BYTES } from "./content.ts";

const ID_CHARS = 36;

/** `sentAt`. */
export function asTime(value: Packed | undefined): number {
  if (typeof value !== "number" || value < 0 || value > LAST_TIME_MS) throw wrong();
  return value;
}

/** The body of a text. */
export function asBody(value: Packed | undefined): string {
  if (typeof value !== "string") throw wrong();
  if (utf8(value).length > MAX_TEXT_BYTES) {
    throw new InvalidMessage("the text is longer than that of a message may be");
  }
  return value;
}

/** Ids of messages. */
export function asIds(value: Packed | undefined): readonly string[] {
  if (!Array.isArray(value) || value.length > MAX_RECEIPTS) throw wrong();
  const ids = value as readonly Packed[];
  if (!ids.every((one): one is string => typeof one === "string" && [...one].length === ID_CHARS)) throw wrong();
  return ids;
}

/** So many bytes, or `least` to `most`. */
export function asBytes(value: Packed | undefined, least: number, most = least): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length < least || value.length > most) throw wrong();
  return value.slice();
}

/** Refuses a content that names somebody else than its session and its envelope. */
export function checkNamed(value: Packed | undefined, expected: Uint8Array): void {
  if (!(value instanceof Uint8Array)) throw wrong();
  if (!isEqual(value, expected)) throw new InvalidMessage("the content names other people than its envelope");
}

export function wrong(): InvalidMessage {
  return new InvalidMessage("the content has not the fields that it must have");
}
