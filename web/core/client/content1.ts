/**
 * Content 1, inside messages of suite 1: a small versioned structure that names both ends (encryption.md, "Content").
 *
 * The recipient refuses it unless ids and keys are those of the session and the envelope, so that nobody can be made to
 * believe a message came from, or was for, somebody else.
 */

import { pad, unpad } from "../crypto/padding.ts";
import { type PackedMap, pack } from "../msgpack.ts";
import { type Ends, LEAST_PADDED, OUTCOMES, type Said } from "./content.ts";
import { asBody, asIds, asTime, checkNamed, wrong } from "./content_fields.ts";
import { decodeMap } from "./strict_map.ts";

const VERSION = 1;
const COMMON = ["version", "sentAt", "sender", "recipient", "senderKey", "recipientKey", "kind"] as const;

/** What is said, encoded (MessagePack) and padded. */
export function encode(said: Said, ends: Ends): Uint8Array {
  const common = {
    kind: said.kind,
    version: VERSION,
    sentAt: said.sentAt,
    sender: ends.sender,
    recipient: ends.recipient,
    senderKey: ends.senderKey,
    recipientKey: ends.recipientKey,
  };
  return pad(pack({ ...common, ...fieldsOf(said) }), LEAST_PADDED);
}

/**
 * Undoes `encode`.
 *
 * @throws InvalidMessage Not a content of this version, or it names others than the ends of its session and envelope.
 */
export function decode(padded: Uint8Array, ends: Ends): Said {
  const [said, members] = read(padded);
  for (const name of ["sender", "senderKey", "recipient", "recipientKey"] as const) {
    checkNamed(members[name], ends[name]);
  }
  return said;
}

/**
 * What is said, and all members of the content, whoever it names.
 *
 * @throws InvalidMessage Not a content of this version.
 */
export function read(padded: Uint8Array): readonly [Said, PackedMap] {
  const members = decodeMap(unpad(padded));
  const { kind } = members;
  const names: readonly string[] = kind === "text" ? ["body"] : OUTCOMES;
  const known = new Set([...COMMON, ...names]);
  if (!Object.keys(members).every((name) => known.has(name))) throw wrong();
  for (const name of ["sender", "senderKey", "recipient", "recipientKey"]) {
    if (!(members[name] instanceof Uint8Array)) throw wrong();
  }
  if (members["version"] !== VERSION) throw wrong();
  const sentAt = asTime(members["sentAt"]);
  if (kind === "text") return [{ kind, sentAt, body: asBody(members["body"]) }, members];
  if (kind !== "receipt") throw wrong();
  const [delivered, read, burned, undecryptable] = OUTCOMES.map((name) => asIds(members[name]));
  if (!delivered || !read || !burned || !undecryptable) throw wrong();
  return [{ kind, sentAt, delivered, read, burned, undecryptable }, members];
}

function fieldsOf(said: Said): PackedMap {
  if (said.kind === "text") return { body: said.body };
  return { delivered: said.delivered, read: said.read, burned: said.burned, undecryptable: said.undecryptable };
}
