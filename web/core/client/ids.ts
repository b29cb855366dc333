/**
 * User ids as people copy them: bech32m, in which no wrong or swapped character passes (encryption.md, "Identity").
 *
 * Base64, the form of the protocol, has no checksum, and its `+` and `/` end a double click. The written form is
 * bech32m (BIP 350 over BIP 173): the human-readable part `ph`, the 32 bytes, six characters of checksum. It guards
 * against slips of the hand, not against people: it is no cryptography.
 */

import { compare, concat } from "../bytes.ts";
import { sha256 } from "../crypto/primitives.ts";
import { CONVERSATION } from "../labels.ts";
import { decodeBase64, encodeBase64, fromBase64 } from "../wire/base64.ts";
import { InvalidUserId } from "./errors.ts";

export const PREFIX = "ph";
export const ID_BYTES = 32;

const CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3] as const;
const BECH32M = 0x2bc830a3;
const CHECKSUM = 6;
/** Bits of one character. */
const BITS = 5;
const LONGEST = 90;
const LENGTH = PREFIX.length + 1 + Math.ceil((ID_BYTES * 8) / BITS) + CHECKSUM;

/** What can only have been meant as a written id, right or wrong: no name is so long without a space. */
const MEANT = /^ph1[0-9A-Za-z]{30,}$/i;
/** Characters of a written id that stand for a stranger. */
const SHOWN = 11;

/** The written form of a certified id (32 bytes in base64); anything else as it is. */
export function writtenId(userId: string): string {
  const raw = decodedId(userId);
  return raw.length === ID_BYTES ? encodeBech32m(PREFIX, regrouped([...raw], 8, BITS)) : userId;
}

/** The beginning of an id, to name a stranger by. */
export function shortId(userId: string): string {
  return `${writtenId(userId).slice(0, SHOWN)}…`;
}

/** Whether a text can only be meant as a written id, right or wrong. */
export function looksWritten(text: string): boolean {
  return MEANT.test(text);
}

/**
 * The base64 of a user id in either form; a text that is no written id comes back as it is.
 *
 * @throws InvalidUserId It was meant as a written id and has a wrong, missing or superfluous character.
 */
export function plainId(given: string): string {
  const text = given.trim();
  if (!looksWritten(text)) return given;
  if (text.length !== LENGTH) {
    const more = text.length > LENGTH ? "more" : "fewer";
    throw new InvalidUserId(`this ID has ${more} than ${LENGTH} characters; copy it again`);
  }
  const found = decodeBech32m(text);
  const raw = found === null ? null : ungrouped(found.groups);
  if (found === null || raw === null) throw new InvalidUserId("this ID has a wrong character; copy it again");
  if (found.prefix !== PREFIX) throw new InvalidUserId("this is not a user ID; ask your contact for theirs");
  return encodeBase64(raw);
}

/** Whether a text is an id that certifies its key: 32 bytes in canonical base64. */
export function isUserId(text: string): boolean {
  return decodedId(text).length === ID_BYTES;
}

/** The bytes of canonical base64, none of anything else. */
export function decodedId(text: string): Uint8Array {
  return decodeBase64(text) ?? new Uint8Array(0);
}

/** The conversation of two users, given in base64: both derive the same (32 bytes in base64). */
export function conversationId(own: string, peer: string): string {
  const ids = [fromBase64(own), fromBase64(peer)].sort(compare);
  return encodeBase64(sha256(concat(CONVERSATION, ...ids)));
}

/** Bech32m of groups of five bits (BIP 350). */
export function encodeBech32m(prefix: string, groups: readonly number[]): string {
  const sum = polymod([...expanded(prefix), ...groups, 0, 0, 0, 0, 0, 0]) ^ BECH32M;
  const checksum = Array.from({ length: CHECKSUM }, (_, place) => (sum >>> (BITS * (CHECKSUM - 1 - place))) & 31);
  return `${prefix}1${[...groups, ...checksum].map((group) => CHARACTERS.charAt(group)).join("")}`;
}

/** What a bech32m text holds. */
export interface Bech32m {
  readonly prefix: string;
  /** Of five bits. */
  readonly groups: readonly number[];
}

/** Prefix and groups of a bech32m text (BIP 350), null if it is none. */
export function decodeBech32m(given: string): Bech32m | null {
  const text = given.toLowerCase();
  if (given !== text && given !== given.toUpperCase()) return null;
  const end = text.lastIndexOf("1");
  const prefix = text.slice(0, Math.max(end, 0));
  const groups = [...text.slice(end + 1)].map((character) => CHARACTERS.indexOf(character));
  const hasForm = /^[!-~]+$/.test(prefix) && groups.length >= CHECKSUM && text.length <= LONGEST;
  if (!hasForm || groups.includes(-1) || polymod([...expanded(prefix), ...groups]) !== BECH32M) return null;
  return { prefix, groups: groups.slice(0, -CHECKSUM) };
}

function polymod(values: readonly number[]): number {
  let check = 1;
  for (const value of values) {
    const top = check >>> 25;
    check = ((check & 0x1ffffff) << 5) ^ value;
    for (const [place, factor] of GENERATOR.entries()) check ^= ((top >>> place) & 1) === 1 ? factor : 0;
  }
  return check;
}

function expanded(prefix: string): readonly number[] {
  const codes = [...prefix].map((character) => character.charCodeAt(0));
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
}

/** Groups of `before` bits as groups of `after`, filled up with zeros. */
function regrouped(values: readonly number[], before: number, after: number): readonly number[] {
  const bits = values.map((value) => value.toString(2).padStart(before, "0")).join("");
  const groups = bits.padEnd(Math.ceil(bits.length / after) * after, "0").match(new RegExp(`.{${after}}`, "g")) ?? [];
  return groups.map((group) => Number.parseInt(group, 2));
}

/** The bytes of groups of five bits; null if what fills up the last group is not zeros. */
function ungrouped(groups: readonly number[]): Uint8Array | null {
  const rest = (groups.length * BITS) % 8;
  if (((groups.at(-1) ?? 0) & ((1 << rest) - 1)) !== 0) return null;
  return Uint8Array.from(regrouped(groups, BITS, 8).slice(0, Math.floor((groups.length * BITS) / 8)));
}
