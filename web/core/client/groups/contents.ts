/** What clients say to each other about groups: kinds of content 2 (groups.md, "Contents"). */

import { NO_BYTES } from "../../bytes.ts";
import { InvalidMessage } from "../../crypto/errors.ts";
import type { Packed, PackedMap } from "../../msgpack.ts";
import type { Claim } from "../content.ts";
import { claimIn, encodeFields, marked, VERSION, type Writer } from "../content2.ts";
import type { Extra } from "../extension.ts";
import { asBody, asIds, asTime, wrong } from "../content_fields.ts";
import { decodeMap } from "../strict_map.ts";
import { ID_BYTES, MAX_CHANGE_BYTES, MAX_REVISION } from "./change.ts";
import { TOKEN_BYTES } from "./link.ts";
import { MAX_NAME } from "../names.ts";
import { MAX_PICTURE_BYTES } from "./picture.ts";

/** Changes in one answer. */
export const MAX_CHANGES = 64;
/** Of all of them together: with everything around them, they fit a message. */
export const MAX_CHANGES_BYTES = 30_000;
const MAX_STATE_BYTES = 4_096;

/** A change; if it adds somebody and is not the first, with the state before it, and what led to that. */
export interface GroupChange {
  readonly kind: "group-change";
  readonly group: Uint8Array;
  readonly change: Uint8Array;
  readonly state: Uint8Array;
  readonly base: Uint8Array;
}

/**
 * What somebody has asked for, oldest first; `picture`: empty if it was not asked for, or there is none. `ordered`: as in
 * the `group-ask` that is answered.
 */
export interface GroupChanges {
  readonly kind: "group-changes";
  readonly group: Uint8Array;
  readonly changes: readonly Uint8Array[];
  readonly picture: Uint8Array;
  readonly ordered: number;
}

/** What a person wrote to a group, as the `n`-th of their texts to it. */
export interface GroupText {
  readonly kind: "group-text";
  readonly group: Uint8Array;
  readonly revision: number;
  readonly head: Uint8Array;
  readonly n: number;
  readonly body: string;
  /** As in `GroupHello`. */
  readonly name?: string;
}

/** Its sender has accepted the invitation. */
export interface GroupHello {
  readonly kind: "group-hello";
  readonly group: Uint8Array;
  readonly revision: number;
  readonly head: Uint8Array;
  /** What its sender calls themselves, '' if nothing any more; without it nothing is said of that. */
  readonly name?: string;
}

/** What became of texts, by their ids; each recipient takes from it what it has sent. */
export interface GroupReceipt {
  readonly kind: "group-receipt";
  readonly group: Uint8Array;
  readonly delivered: readonly string[];
  readonly read: readonly string[];
  readonly undecryptable: readonly string[];
}

/**
 * Its sender has the changes up to a revision, and lacks later ones; or lacks the picture. `ordered`: the revision that
 * the relay has, if it has refused a change of the sender's because of it; otherwise 0.
 */
export interface GroupAsk {
  readonly kind: "group-ask";
  readonly group: Uint8Array;
  readonly from: number;
  readonly picture: boolean;
  readonly ordered: number;
}

/** Its sender has left, or declines. */
export interface GroupLeave {
  readonly kind: "group-leave";
  readonly group: Uint8Array;
}

/** Its sender would like somebody to be added; `person`: user id, 32 bytes. */
export interface GroupPropose {
  readonly kind: "group-propose";
  readonly group: Uint8Array;
  readonly person: Uint8Array;
}

/** Its sender would like to be added to the group that a link is for. */
export interface GroupJoin {
  readonly kind: "group-join";
  readonly token: Uint8Array;
}

/** The link that was opened serves no more. */
export interface GroupRefuse {
  readonly kind: "group-refuse";
  readonly token: Uint8Array;
}

export type GroupSaid =
  | GroupChange
  | GroupChanges
  | GroupText
  | GroupHello
  | GroupReceipt
  | GroupAsk
  | GroupLeave
  | GroupPropose
  | GroupJoin
  | GroupRefuse;

/** A change that may invite; `sentAt`: when it was written, by its sender's clock, if that is known. */
export type Invitation = GroupChange & { readonly sentAt?: number };

/** The same as it was read: `sentAt` by its sender's clock, the rest as of every `Extra`. */
export type GroupHeard = GroupSaid & Pick<Extra, "claim" | "reported"> & { readonly sentAt: number };

/** Encodes it (MessagePack), without padding: one content for all who are to have it. */
export function encodeSaid(
  said: GroupSaid,
  { claim, sentAt, ...writer }: Writer & { readonly sentAt: number; readonly claim?: Claim | null },
): Uint8Array {
  const { kind, ...fields } = said;
  const there = Object.entries(fields).filter(([name, value]) => !isLeftOut(kind, name, value));
  const marks = claim === null || claim === undefined ? {} : marked({ claim });
  return encodeFields(kind, sentAt, writer, { ...(Object.fromEntries(there) as PackedMap), ...marks });
}

/** Fields that are absent if there is nothing in them. */
const OPTIONAL: ReadonlySet<string> = new Set([
  "group-change state",
  "group-change base",
  "group-changes picture",
  "group-changes ordered",
  "group-receipt delivered",
  "group-receipt read",
  "group-receipt undecryptable",
  "group-ask picture",
  "group-ask ordered",
]);

function isLeftOut(kind: string, name: string, value: unknown): boolean {
  if (value === undefined) {
    return true;
  }
  const isNothing = value === false || value === 0 || (value as { readonly length?: number }).length === 0;
  return isNothing && OPTIONAL.has(`${kind} ${name}`);
}

/**
 * What a content says of a group; null if it is of a kind that is not known here.
 *
 * @throws InvalidMessage It is of a known kind, and not as that must be.
 */
export function decodeSaid(whole: Uint8Array): GroupHeard | null {
  const members = decodeMap(whole);
  const { kind, version } = members;
  const said = version === VERSION ? saidOf(kind, members) : null;
  if (said === null) return null;
  const claim = members["devices"] === undefined ? null : claimIn(members["devices"]);
  const reported = said.kind === "group-receipt" ? said : null;
  return { ...said, sentAt: asTime(members["sentAt"]), claim, reported };
}

function saidOf(kind: Packed | undefined, members: PackedMap): GroupSaid | null {
  const group = (): Uint8Array => bytes(members["group"], ID_BYTES, ID_BYTES);
  const revision = (): number => integer(members["revision"], 1);
  const head = (): Uint8Array => bytes(members["head"], ID_BYTES, ID_BYTES);
  const ids = (name: string): readonly string[] => (members[name] === undefined ? [] : asIds(members[name]));
  switch (kind) {
    case "group-change": {
      const change = bytes(members["change"], 1, MAX_CHANGE_BYTES);
      const state = bytes(members["state"] ?? NO_BYTES, 0, MAX_STATE_BYTES);
      return { kind, group: group(), change, state, base: bytes(members["base"] ?? NO_BYTES, 0, ID_BYTES) };
    }
    case "group-changes": {
      const picture = bytes(members["picture"] ?? NO_BYTES, 0, MAX_PICTURE_BYTES);
      const ordered = integer(members["ordered"] ?? 0, 0);
      return { kind, group: group(), changes: changesOf(members["changes"]), picture, ordered };
    }
    case "group-text": {
      const [n, body] = [integer(members["n"], 1), asBody(members["body"])];
      return { kind, group: group(), revision: revision(), head: head(), n, body, ...named(members["name"]) };
    }
    case "group-hello":
      return { kind, group: group(), revision: revision(), head: head(), ...named(members["name"]) };
    case "group-receipt": {
      const [delivered, read, undecryptable] = [ids("delivered"), ids("read"), ids("undecryptable")];
      return { kind, group: group(), delivered, read, undecryptable };
    }
    case "group-ask": {
      const picture = members["picture"] ?? false;
      if (typeof picture !== "boolean") throw wrong();
      const [from, ordered] = [integer(members["from"], 0), integer(members["ordered"] ?? 0, 0)];
      return { kind, group: group(), from, picture, ordered };
    }
    case "group-leave":
      return { kind, group: group() };
    case "group-propose":
      return { kind, group: group(), person: bytes(members["person"], ID_BYTES, ID_BYTES) };
    case "group-join":
    case "group-refuse":
      return { kind, token: bytes(members["token"], TOKEN_BYTES, TOKEN_BYTES) };
    default:
      return null;
  }
}

/** What somebody calls themselves, if they say so. */
function named(name: Packed | undefined): { readonly name?: string } {
  if (name === undefined) {
    return {};
  }
  if (typeof name !== "string" || [...name].length > MAX_NAME) throw wrong();
  return { name };
}

function bytes(value: Packed | undefined, least: number, most: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length < least || value.length > most) throw wrong();
  return value;
}

function integer(value: Packed | undefined, least: number): number {
  if (typeof value !== "number" || value < least || value > MAX_REVISION) throw wrong();
  return value;
}

function changesOf(value: Packed | undefined): readonly Uint8Array[] {
  if (!Array.isArray(value) || value.length > MAX_CHANGES) throw wrong();
  const found = (value as readonly Packed[]).map((one) => bytes(one, 1, MAX_CHANGE_BYTES));
  if (found.reduce((sum, one) => sum + one.length, 0) > MAX_CHANGES_BYTES) {
    throw new InvalidMessage("the changes of a group are longer than they may be");
  }
  return found;
}
