/** What devices of one person, or that are to become one's, say to each other: content of kinds of their own. */
import { compare } from "../../bytes.ts";
import type { Packed, PackedMap } from "../../msgpack.ts";
import { isMap } from "../../msgpack.ts";
import type { MoreKinds } from "../content2.ts";
import { MAX_LIST_BYTES } from "../content2.ts";
import { asBytes, asTime, wrong } from "../content_fields.ts";
import type { SettingsRecord } from "../records.ts";
import { MAX_DEVICES } from "./device_list.ts";

export const MAX_READ = 200;
export const MAX_MUTED = 100;
/** Contacts in one content: some 15 KB. */
export const MAX_CONTACTS = 100;
export const MAX_NAME_CHARS = 64;
/** Members of a group of whom is said what they call themselves: some 30 KB at most. */
export const MAX_NAMED = 100;
/** Chunks that may be asked for at once. */
export const MAX_CHUNKS = 16;
/** A state of a group, or its picture. */
const MAX_GROUP_BYTES = 4_096;
const MAX_CHUNK_BYTES = 43_000;
const MAX_PLACE_BYTES = 64;
const MESSAGE_ID_CHARS = 36;

/** A message that was read; `from` is a person (raw id). */
export interface ReadMessage {
  readonly from: Uint8Array;
  readonly id: string;
}

/** A text to a group that was read; `from` is a person (raw id). */
export interface ReadText extends ReadMessage {
  readonly group: Uint8Array;
}

/** Whether texts to a group are announced; `at`: when the user has said so, 0 if never. */
export interface MutedGroup {
  readonly group: Uint8Array;
  readonly at: number;
  readonly muted: boolean;
}

/**
 * Somebody whom one knows; `name` is '' for a person without one, `verified`: safety numbers were compared. `at`: when
 * the user has changed any of it, 0 if never. `removed`: they are no contact any more.
 */
export interface KnownPerson {
  readonly id: Uint8Array;
  readonly at: number;
  readonly name: string;
  readonly verified: boolean;
  readonly blocked: boolean;
  readonly removed: boolean;
}

/** One of one's devices, or another member of a group (raw id), and what it is called. */
export interface Named {
  readonly id: Uint8Array;
  readonly name: string;
}

/** What goes back and forth while a device is linked (devices.md, "Linking a device"). */
export type LinkSaid =
  | { readonly kind: "link-offer"; readonly commitment: Uint8Array; readonly mac: Uint8Array }
  | { readonly kind: "link-answer"; readonly nonce: Uint8Array; readonly mac: Uint8Array; readonly name: string }
  | { readonly kind: "link-reveal"; readonly nonce: Uint8Array }
  | { readonly kind: "link-consent"; readonly consent: Uint8Array }
  | {
      readonly kind: "link-done";
      readonly list: Uint8Array;
      readonly people: number;
      /** Where history begins, null if it is not handed over. */
      readonly history: Uint8Array | null;
    }
  | { readonly kind: "link-end" };

/** What a group is to its member, once it is something else than an invitation. */
const RELATIONS = ["member", "left", "removed", "closed"] as const;

/** What a group is, and is to one's person; `digest`: of the change that led to its state. */
export interface SyncedGroup {
  readonly kind: "sync-group";
  readonly group: Uint8Array;
  readonly relation: (typeof RELATIONS)[number];
  readonly state: Uint8Array;
  readonly digest: Uint8Array;
  /** Null if there is none, or it is not known. */
  readonly picture: Uint8Array | null;
  /** What the person calls themselves in it; absent if nothing. */
  readonly name?: string;
  /** What others call themselves in it, in the order of their ids; absent if nothing. */
  readonly names?: readonly Named[];
}

/** What keeps own devices in step. */
export type SyncSaid =
  | {
      readonly kind: "sync-read";
      readonly messages: readonly ReadMessage[];
      /** Absent if there is none. */
      readonly inGroups?: readonly ReadText[];
    }
  | { readonly kind: "sync-here" }
  | { readonly kind: "sync-contacts"; readonly contacts: readonly KnownPerson[] }
  | ({ readonly kind: "sync-settings"; readonly at: number } & Partial<SettingsRecord>)
  | { readonly kind: "sync-devices"; readonly names: readonly Named[] }
  | SyncedGroup
  | { readonly kind: "sync-muted"; readonly groups: readonly MutedGroup[] }
  | { readonly kind: "history-ask"; readonly from: Uint8Array; readonly chunks: number }
  | {
      readonly kind: "history";
      readonly from: Uint8Array;
      readonly texts: Uint8Array;
      /** Null in the last one. */
      readonly next: Uint8Array | null;
      readonly left: number;
    };

export type DeviceSaid = LinkSaid | SyncSaid;

export function isLinkSaid(said: DeviceSaid): said is LinkSaid {
  return said.kind.startsWith("link-");
}

const READERS: Readonly<Record<DeviceSaid["kind"], (members: PackedMap) => DeviceSaid>> = {
  "link-offer": ({ commitment, mac }) => ({
    kind: "link-offer",
    commitment: asBytes(commitment, 32),
    mac: asBytes(mac, 32),
  }),
  "link-answer": ({ nonce, mac, name }) => ({
    kind: "link-answer",
    nonce: asBytes(nonce, 32),
    mac: asBytes(mac, 32),
    name: asName(name, 1),
  }),
  "link-reveal": ({ nonce }) => ({ kind: "link-reveal", nonce: asBytes(nonce, 32) }),
  "link-consent": ({ consent }) => ({ kind: "link-consent", consent: asBytes(consent, 64) }),
  "link-done": ({ history, list, people = 0 }) => ({
    kind: "link-done",
    list: asBytes(list, 1, MAX_LIST_BYTES),
    people: asCount(people),
    history: asPlaceOrNull(history),
  }),
  "link-end": () => ({ kind: "link-end" }),
  "sync-read": ({ inGroups, messages }) => ({
    kind: "sync-read",
    messages: asMaps(messages, MAX_READ).map(readMessage),
    ...(inGroups === undefined ? {} : { inGroups: asMaps(inGroups, MAX_READ).map(readText) }),
  }),
  "sync-here": () => ({ kind: "sync-here" }),
  "sync-contacts": ({ contacts }) => ({
    kind: "sync-contacts",
    contacts: asMaps(contacts, MAX_CONTACTS).map(knownPerson),
  }),
  "sync-settings": ({ at, presence, readReceipts, typing }) => ({
    kind: "sync-settings",
    at: asTime(at),
    ...(readReceipts === undefined ? {} : { readReceipts: asBool(readReceipts) }),
    ...(typing === undefined ? {} : { typing: asBool(typing) }),
    ...(presence === undefined ? {} : { presence: asBool(presence) }),
  }),
  "sync-devices": ({ names }) => ({ kind: "sync-devices", names: asMaps(names, MAX_DEVICES).map(asNamed) }),
  "sync-group": ({ digest, group, name, names, picture, relation, state }) => ({
    kind: "sync-group",
    group: asBytes(group, 32),
    relation: asRelation(relation),
    state: asBytes(state, 1, MAX_GROUP_BYTES),
    digest: asBytes(digest, 32),
    picture: picture === undefined ? null : asBytes(picture, 0, MAX_GROUP_BYTES),
    ...(name === undefined ? {} : { name: asName(name, 0) }),
    ...(names === undefined ? {} : { names: asMembers(names) }),
  }),
  "sync-muted": ({ groups }) => ({ kind: "sync-muted", groups: asMaps(groups, MAX_MUTED).map(mutedGroup) }),
  "history-ask": ({ chunks, from }) => ({
    kind: "history-ask",
    from: asBytes(from, 1, MAX_PLACE_BYTES),
    chunks: asCount(chunks, MAX_CHUNKS),
  }),
  history: ({ from, left = 0, next, texts }) => ({
    kind: "history",
    from: asBytes(from, 1, MAX_PLACE_BYTES),
    texts: asBytes(texts, 0, MAX_CHUNK_BYTES),
    next: asPlaceOrNull(next),
    left: asCount(left),
  }),
};

/** The kinds, and how they are read. */
export const DEVICE_KINDS: MoreKinds = {
  names: Object.keys(READERS),
  read: (kind, members) => READERS[kind as DeviceSaid["kind"]](members),
};

/** The fields of what is said, besides those that all contents have. */
export function fieldsOf(said: DeviceSaid): PackedMap {
  if (said.kind === "sync-read") {
    const { inGroups = [], messages } = said;
    const more = inGroups.length === 0 ? {} : { inGroups: inGroups.map(({ from, group, id }) => ({ group, from, id })) };
    return { messages: messages.map(({ from, id }) => ({ from, id })), ...more };
  }
  if (said.kind === "sync-muted") return { groups: said.groups.map(({ at, group, muted }) => ({ group, at, muted })) };
  if (said.kind === "sync-contacts") {
    return { contacts: said.contacts.map((person) => ({ ...person })) };
  }
  if (said.kind === "sync-devices") return { names: said.names.map(({ id, name }) => ({ id, name })) };
  const { kind: _, ...fields } = said;
  // What is not there is absent.
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

function readMessage({ from, id }: PackedMap): ReadMessage {
  if (typeof id !== "string" || [...id].length !== MESSAGE_ID_CHARS) throw wrong();
  return { from: asBytes(from, 32), id };
}

function readText(members: PackedMap): ReadText {
  return { group: asBytes(members["group"], 32), ...readMessage(members) };
}

function mutedGroup({ at, group, muted = null }: PackedMap): MutedGroup {
  return { group: asBytes(group, 32), at: asTime(at), muted: asBool(muted) };
}

function knownPerson(members: PackedMap): KnownPerson {
  const { at = 0, blocked = false, id, name = "", removed = false, verified = false } = members;
  return {
    id: asBytes(id, 32),
    at: asTime(at),
    name: asName(name, 0),
    verified: asBool(verified),
    blocked: asBool(blocked),
    removed: asBool(removed),
  };
}

function asNamed({ id, name }: PackedMap): Named {
  return { id: asBytes(id, 32), name: asName(name, 1) };
}

/** None of them twice. */
function asMembers(value: Packed): readonly Named[] {
  const found = asMaps(value, MAX_NAMED).map(asNamed);
  const ids = found.map(({ id }) => id);
  if (!ids.slice(1).every((id, place) => compare(ids[place] ?? id, id) < 0)) throw wrong();
  return found;
}

function asPlaceOrNull(value: Packed | undefined): Uint8Array | null {
  return value === undefined ? null : asBytes(value, 1, MAX_PLACE_BYTES);
}

function asRelation(value: Packed | undefined): SyncedGroup["relation"] {
  const found = RELATIONS.find((one) => one === value);
  if (found === undefined) throw wrong();
  return found;
}

function asName(value: Packed | undefined, least: number): string {
  if (typeof value !== "string") throw wrong();
  const { length } = [...value];
  if (length < least || length > MAX_NAME_CHARS) throw wrong();
  return value;
}

function asCount(value: Packed | undefined, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== "number" || value < 0 || value > most) throw wrong();
  return value;
}

function asBool(value: Packed): boolean {
  if (typeof value !== "boolean") throw wrong();
  return value;
}

function asMaps(value: Packed | undefined, most: number): readonly PackedMap[] {
  if (!Array.isArray(value) || value.length > most) throw wrong();
  const all = value as readonly Packed[];
  if (!all.every((one): one is PackedMap => isMap(one))) throw wrong();
  return all;
}
