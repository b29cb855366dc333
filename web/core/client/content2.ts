/**
 * Content 2, inside messages of suite 2: one map that later versions can add to (encryption.md, "Content").
 *
 * A field that is not known is ignored, and so is nothing else: what must not be overlooked is a kind of its own, and a
 * kind that is not known is kept whole, for a version that knows it. The recipient is not named, because the associated
 * data of the message's head binds it; the sender is, so that one body can go to many.
 */

import { type Packed, type PackedMap, isMap, pack } from "../msgpack.ts";
import { type Between, type Claim, type Ends, type Marks, type Newer, OUTCOMES, type Said } from "./content.ts";
import { receiptOf } from "./content.ts";
import { asBody, asBytes, asIds, asTime, checkNamed, wrong } from "./content_fields.ts";
import type { DeviceSaid } from "./devices/kinds.ts";
import { decodeMap } from "./strict_map.ts";

export const VERSION = 2;
const KIND = /^[a-z0-9-]{1,64}$/;
const KINDS = ["receipt", "text"] as const;
/** The longest device list, as the relay keeps it. */
export const MAX_LIST_BYTES = 2_048;
const MAX_REVISION = 2 ** 32 - 1;

/** The kinds of those parts of the client that are loaded later. */
export interface MoreKinds {
  readonly names: readonly string[];
  /** What a content of one of these kinds says; throws InvalidMessage if it lacks what it must have. */
  readonly read: (kind: string, members: PackedMap) => DeviceSaid;
}

export const NO_MORE_KINDS: MoreKinds = {
  names: [],
  read: () => {
    throw wrong();
  },
};

/** Who writes: all that content 2 names. */
export type Writer = Pick<Ends, "sender" | "senderKey">;

/** Encodes (MessagePack), without padding. */
export function encode(said: Said, writer: Writer): Uint8Array {
  return encodeFields(said.kind, said.sentAt, writer, { ...fieldsOf(said), ...marked(said.marks) });
}

/** The same of any kind. */
export function encodeFields(kind: string, sentAt: number, { sender, senderKey }: Writer, fields: PackedMap): Uint8Array {
  return pack({ kind, version: VERSION, sentAt, sender, senderKey, ...fields });
}

/** The fields of marks. */
export function marked({ claim, deviceList, to }: Marks = {}): PackedMap {
  return {
    ...(to === undefined ? {} : { to }),
    ...(claim === undefined ? {} : { devices: { revision: claim.revision, hash: claim.hash } }),
    ...(deviceList === undefined ? {} : { deviceList }),
  };
}

/** Nothing, of most contents. */
function marksIn(members: PackedMap): { readonly marks?: Marks } {
  const { deviceList, devices, to } = members;
  if (deviceList === undefined && devices === undefined && to === undefined) return {};
  const marks = {
    ...(to === undefined ? {} : { to: asBytes(to, 32) }),
    ...(devices === undefined ? {} : { claim: claimIn(devices) }),
    ...(deviceList === undefined ? {} : { deviceList: asBytes(deviceList, 1, MAX_LIST_BYTES) }),
  };
  return { marks };
}

/** What a content says of its sender's newest device list. */
export function claimIn(value: Packed): Claim {
  if (!isMap(value)) throw wrong();
  const { revision, hash } = value;
  if (typeof revision !== "number" || revision < 1 || revision > MAX_REVISION) throw wrong();
  return { revision, hash: asBytes(hash, 32) };
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
export function decode(plain: Uint8Array, ends: Ends, more = NO_MORE_KINDS): Said | Between | Newer {
  const members = decodeMap(plain);
  const common = commonOf(members);
  checkNamed(members["sender"], ends.sender);
  checkNamed(members["senderKey"], ends.senderKey);
  return saidIn(common, members, plain, more);
}

/** What this version can read: while it stays the same, what was kept cannot be read again. */
export function known(more = NO_MORE_KINDS): readonly string[] {
  return [String(VERSION), ...KINDS, ...more.names];
}

/**
 * What was kept because it was not known, and was the named sender's.
 *
 * @throws InvalidMessage Its kind is known now, and it lacks what that must have.
 */
export function readAgain(whole: Uint8Array, more = NO_MORE_KINDS): Said | Between | Newer {
  const members = decodeMap(whole);
  return saidIn(commonOf(members), members, whole, more);
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

function saidIn(
  { kind, isOfThisVersion, sentAt }: Common,
  members: PackedMap,
  plain: Uint8Array,
  more: MoreKinds,
): Said | Between | Newer {
  const isKnown = kind === "text" || kind === "receipt" || more.names.includes(kind);
  if (!isOfThisVersion || !isKnown) return { kind: "newer", sentAt, whole: plain };
  const marks = marksIn(members);
  if (kind === "text") return { kind, sentAt, body: asBody(members["body"]), ...marks };
  if (kind !== "receipt") return { kind: "between", sentAt, said: more.read(kind, members), ...marks };
  const given = OUTCOMES.filter((name) => members[name] !== undefined).map((name) => [name, asIds(members[name])]);
  return receiptOf(sentAt, Object.fromEntries(given), marks);
}
