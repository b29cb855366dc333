/**
 * Content 2, inside messages of suite 2: one map that later versions can add to (encryption.md, "Content").
 *
 * A field that is not known is ignored, and so is nothing else: what must not be overlooked is a kind of its own, and a
 * kind that is not known is kept whole, for a version that knows it. The recipient is not named, because the associated
 * data of the message's head binds it; the sender is, so that one body can go to many.
 */

import { type Packed, type PackedMap, pack } from "../msgpack.ts";
import { type Ends, type Newer, OUTCOMES, type Said, receiptOf } from "./content.ts";
import { asBody, asIds, asTime, checkNamed, wrong } from "./content_fields.ts";
import { decodeMap } from "./strict_map.ts";

export const VERSION = 2;
const KIND = /^[a-z0-9-]{1,64}$/;
const KINDS = ["receipt", "text"] as const;

/** Encodes (MessagePack), without padding. */
export function encode(said: Said, ends: Ends): Uint8Array {
  const common = {
    kind: said.kind,
    version: VERSION,
    sentAt: said.sentAt,
    sender: ends.sender,
    senderKey: ends.senderKey,
  };
  return pack({ ...common, ...fieldsOf(said) });
}

function fieldsOf(said: Said): PackedMap {
  if (said.kind === "text") return { body: said.body };
  // One that is empty is not written.
  return Object.fromEntries(OUTCOMES.filter((name) => said[name].length > 0).map((name) => [name, said[name]]));
}

/**
 * What is said in a content without padding.
 *
 * @throws InvalidMessage It is not such a map, names another sender, or lacks what its kind must have.
 */
export function decode(plain: Uint8Array, ends: Ends): Said | Newer {
  const members = decodeMap(plain);
  const common = commonOf(members);
  checkNamed(members["sender"], ends.sender);
  checkNamed(members["senderKey"], ends.senderKey);
  return saidIn(common, members, plain);
}

/** What this version can read: while it stays the same, what was kept cannot be read again. */
export function known(): readonly string[] {
  return [String(VERSION), ...KINDS];
}

/**
 * What was kept because it was not known, and was the named sender's.
 *
 * @throws InvalidMessage Its kind is known now, and it lacks what that must have.
 */
export function readAgain(whole: Uint8Array): Said | Newer {
  const members = decodeMap(whole);
  return saidIn(commonOf(members), members, whole);
}

/** What every kind has, in this version and in all later ones: so that what is not known can be kept and shown. */
interface Common {
  readonly kind: string;
  readonly isOfThisVersion: boolean;
  readonly sentAt: number;
}

function commonOf(members: PackedMap): Common {
  const { kind, version, sender, senderKey } = members;
  if (typeof kind !== "string" || !KIND.test(kind) || !isVersion(version)) throw wrong();
  if (!(sender instanceof Uint8Array) || !(senderKey instanceof Uint8Array)) throw wrong();
  return { kind, isOfThisVersion: version === VERSION, sentAt: asTime(members["sentAt"]) };
}

/** Of this version or a later one: those may be beyond 2^53. */
function isVersion(value: Packed | undefined): value is number | bigint {
  return (typeof value === "number" || typeof value === "bigint") && value >= VERSION;
}

function saidIn({ kind, isOfThisVersion, sentAt }: Common, members: PackedMap, plain: Uint8Array): Said | Newer {
  if (isOfThisVersion && kind === "text") return { kind, sentAt, body: asBody(members["body"]) };
  if (!isOfThisVersion || kind !== "receipt") return { kind: "newer", sentAt, whole: plain };
  const given = OUTCOMES.filter((name) => members[name] !== undefined).map((name) => [name, asIds(members[name])]);
  return receiptOf(sentAt, Object.fromEntries(given));
}
