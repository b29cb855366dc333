/**
 * A change of a group: written and signed by an admin, read strictly, and named by its hash (groups.md, "Changes").
 *
 * What a change does to a group is the business of `state.ts`. People are user ids in base64, as everywhere.
 */

import { concat, isEqual, utf8 } from "../../bytes.ts";
import { CryptoError } from "../../crypto/errors.ts";
import { type OwnIdentity, PeerIdentity } from "../../crypto/keys.ts";
import { SIGNATURE_BYTES, sha256 } from "../../crypto/primitives.ts";
import { type Packed, type PackedMap, isMap, pack } from "../../msgpack.ts";
import { encodeBase64, fromBase64 } from "../../wire/base64.ts";
import { MAX_EXPIRES_IN_MS } from "../../wire/limits.ts";
import { LAST_TIME_MS } from "../content.ts";
import { decodeMap } from "../strict_map.ts";
import { typeOf } from "./picture.ts";

export const VERSION = 1;
/** Signature included. */
export const MAX_CHANGE_BYTES = 8192;
export const MAX_OPS = 64;
/** Of the name of a group, in UTF-8. */
export const MAX_NAME_BYTES = 128;
export const ID_BYTES = 32;
export const MAX_REVISION = 2 ** 32 - 1;
/** What the first change names as the head before it. */
export const NONE: Uint8Array = new Uint8Array(ID_BYTES);

const LABEL = utf8("phantom/1 group-change\n");
const HASH = utf8("phantom/1 group-hash\n");

export type Role = "member" | "admin";

/** What a person named in it is, becomes, or is no more. */
export type PersonOp =
  | { readonly op: "add" | "role"; readonly person: string; readonly role: Role }
  | { readonly op: "remove"; readonly person: string };

/** One thing that a change does. */
export type Op =
  | PersonOp
  | { readonly op: "name"; readonly text: string }
  /** Milliseconds; 0: texts stay. */
  | { readonly op: "timer"; readonly ms: number }
  | { readonly op: "rights"; readonly invite: Role; readonly write: Role }
  /** A PNG, JPEG or WebP; empty for none. */
  | { readonly op: "picture"; readonly data: Uint8Array }
  | { readonly op: "close" };

/** Why nobody may take a change up, in the words of groups.md. */
export type Code =
  | "size"
  | "form"
  | "key"
  | "signature"
  | "group"
  | "closed"
  | "revision"
  | "author"
  | "newer"
  | "ops"
  | "bounds"
  | "previous";

/** A change that nobody may take up. */
export class RefusedChange extends CryptoError {
  override readonly name = "RefusedChange";
  readonly code: Code;

  constructor(code: Code) {
    super(`the change of the group is not valid (${code})`);
    this.code = code;
  }
}

/** A change whose author has signed it; whether the author may is judged by `state.ts` and `chain.ts`. */
export interface Change {
  readonly group: Uint8Array;
  readonly revision: number;
  /** The head that it follows, 32 bytes. */
  readonly previous: Uint8Array;
  /** Milliseconds since 1970, by the author's clock. */
  readonly at: number;
  readonly author: string;
  /** Null if the change is of a later version. */
  readonly ops: readonly Op[] | null;
  /** As it came. */
  readonly encoded: Uint8Array;
}

/** The 32 bytes by which a head names a change. */
export function digestOf(change: Change): Uint8Array {
  return sha256(concat(HASH, change.encoded));
}

/** Whether somebody is a member by a change who was none. */
export function addsPerson({ ops }: Change, person: string): boolean {
  return (ops ?? []).some((op) => op.op === "add" && op.person === person);
}

/** What a change says. */
export interface Draft {
  readonly group: Uint8Array;
  readonly revision: number;
  readonly previous: Uint8Array;
  readonly at: number;
  readonly ops: readonly Op[];
}

/**
 * Signs a change.
 *
 * @param author an admin
 * @throws RefusedChange `size` or `form`: it cannot be written like this.
 */
export function write(author: OwnIdentity, { group, revision, previous, at, ops }: Draft): Change {
  const { userId, public: authorKey } = author.peer;
  const packedOps = ops.map(packedOp);
  const signed = pack({ version: VERSION, group, revision, previous, at, author: userId, authorKey, ops: packedOps });
  return read(concat(signed, author.sign(concat(LABEL, signed))));
}

/**
 * Reads a change, and checks who has signed it.
 *
 * @throws RefusedChange `size`, `form`, `key` or `signature`.
 */
export function read(encoded: Uint8Array): Change {
  if (encoded.length <= SIGNATURE_BYTES || encoded.length > MAX_CHANGE_BYTES) throw new RefusedChange("size");
  const signed = encoded.subarray(0, -SIGNATURE_BYTES);
  const [change, key] = parsed(signed, encoded);
  const author = new PeerIdentity(key);
  if (encodeBase64(author.userId) !== change.author) throw new RefusedChange("key");
  try {
    author.verify(encoded.subarray(-SIGNATURE_BYTES), concat(LABEL, signed));
  } catch (error) {
    if (error instanceof CryptoError) throw new RefusedChange("signature");
    throw error;
  }
  return change;
}

/** Reads a change that was checked before, and kept by this client. */
export function readOwn(encoded: Uint8Array): Change {
  return parsed(encoded.subarray(0, -SIGNATURE_BYTES), encoded)[0];
}

/** Ops as they are kept of what is still to be said. */
export function packOps(ops: readonly Op[]): Uint8Array {
  return pack(ops.map(packedOp));
}

/** The same read again; none if they are not of this version. */
export function unpackOps(found: Packed): readonly Op[] {
  return Array.isArray(found) ? found.map(opOf) : [];
}

function packedOp(op: Op): PackedMap {
  return "person" in op ? { ...op, person: fromBase64(op.person) } : { ...op };
}

// --- reading ----------------------------------------------------------------------

const COMMON = ["version", "group", "revision", "previous", "at", "author", "authorKey"] as const;

function parsed(signed: Uint8Array, encoded: Uint8Array): readonly [Change, Uint8Array] {
  const members = mapOf(signed);
  const version = members["version"];
  const isNumber = typeof version === "number" || typeof version === "bigint";
  if (!isNumber || version < VERSION) throw new RefusedChange("form");
  const isNewer = version > VERSION;
  if (!isNewer) checkNames(members, [...COMMON, "ops"]);
  const change: Change = {
    group: bytes32(members["group"]),
    revision: integer(members["revision"], 1, MAX_REVISION),
    previous: bytes32(members["previous"]),
    at: integer(members["at"], 0, LAST_TIME_MS),
    author: encodeBase64(bytes32(members["author"])),
    ops: isNewer ? null : opsOf(members["ops"]),
    encoded,
  };
  return [change, bytes32(members["authorKey"])];
}

function mapOf(signed: Uint8Array): PackedMap {
  try {
    return decodeMap(signed);
  } catch (error) {
    if (error instanceof CryptoError) throw new RefusedChange("form");
    throw error;
  }
}

function opsOf(value: Packed | undefined): readonly Op[] {
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_OPS) throw new RefusedChange("form");
  return (value as readonly Packed[]).map(opOf);
}

function opOf(value: Packed): Op {
  if (!isMap(value)) throw new RefusedChange("form");
  const { op } = value;
  switch (op) {
    case "add":
    case "role":
      checkNames(value, ["op", "person", "role"]);
      return { op, person: personOf(value["person"]), role: roleOf(value["role"]) };
    case "remove":
      checkNames(value, ["op", "person"]);
      return { op, person: personOf(value["person"]) };
    case "name":
      checkNames(value, ["op", "text"]);
      return { op, text: nameOf(value["text"]) };
    case "timer":
      checkNames(value, ["op", "ms"]);
      return { op, ms: integer(value["ms"], 0, MAX_EXPIRES_IN_MS) };
    case "rights":
      checkNames(value, ["op", "invite", "write"]);
      return { op, invite: roleOf(value["invite"]), write: roleOf(value["write"]) };
    case "picture":
      checkNames(value, ["op", "data"]);
      return { op, data: pictureOf(value["data"]) };
    case "close":
      checkNames(value, ["op"]);
      return { op };
    default:
      throw new RefusedChange("form");
  }
}

/** Exactly these fields are there. */
function checkNames(members: PackedMap, names: readonly string[]): void {
  const there = Object.keys(members);
  if (there.length !== names.length || !names.every((name) => there.includes(name))) throw new RefusedChange("form");
}

function bytes32(value: Packed | undefined): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length !== ID_BYTES) throw new RefusedChange("form");
  return value;
}

function personOf(value: Packed | undefined): string {
  return encodeBase64(bytes32(value));
}

function roleOf(value: Packed | undefined): Role {
  if (value !== "member" && value !== "admin") throw new RefusedChange("form");
  return value;
}

function nameOf(value: Packed | undefined): string {
  if (typeof value !== "string" || value === "" || utf8(value).length > MAX_NAME_BYTES) throw new RefusedChange("form");
  return value;
}

function pictureOf(value: Packed | undefined): Uint8Array {
  if (!(value instanceof Uint8Array) || (value.length > 0 && typeOf(value) === "")) throw new RefusedChange("form");
  return value;
}

function integer(value: Packed | undefined, least: number, most: number): number {
  if (typeof value !== "number" || value < least || value > most) throw new RefusedChange("form");
  return value;
}

/** Whether two changes are the same, byte by byte. */
export function isSame(one: Change, other: Change): boolean {
  return isEqual(one.encoded, other.encoded);
}

