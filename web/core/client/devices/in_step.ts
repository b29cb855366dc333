/**
 * What is known of people, one's settings, and which groups are muted are the same on all own devices; see devices.md.
 *
 * Whatever changes what is known of somebody is noticed where that is written, in the same transaction, and told to the
 * other devices as soon as may be. Of two changes the later one counts on all of them.
 */
import { compare, utf8 } from "../../bytes.ts";
import { encodeBase64, fromBase64 } from "../../wire/base64.ts";
import type { Blocking } from "../blocking.ts";
import { timeOf } from "../content.ts";
import { UsageError } from "../errors.ts";
import { decodedId } from "../ids.ts";
import type { GroupStored, SyncedGroups } from "../extension.ts";
import type { Moment } from "../moment.ts";
import { checkedName } from "../names.ts";
import type { Presence } from "../presence.ts";
import * as records from "../records.ts";
import { type ContactRecord, isKnown, isSameContact, type SettingsRecord, type SyncedRecord } from "../records.ts";
import type { Stores } from "../stores.ts";
import type { Transaction } from "../vault.ts";
import type { DeviceBook } from "./book.ts";
import type { DeviceDesk } from "./desk.ts";
import { type DeviceSaid, type KnownPerson, MAX_CONTACTS, MAX_MUTED, type MutedGroup, type Named } from "./kinds.ts";

/** The name under which the settings stand. */
const SETTINGS = "";
/** What the names of groups begin with. */
const GROUP = "group ";
/** What the names of groups begin with under which it stands whether they are muted. */
const MUTED = "muted ";
const ID_BYTES = 32;
/** In the order in which they decide. */
const SETTING_NAMES = ["readReceipts", "typing", "presence"] as const;

type SettingsSaid = Extract<DeviceSaid, { readonly kind: "sync-settings" }>;

/** What counts of a person, in the order in which it decides if two changes are of the same time. */
type Counted = Pick<KnownPerson, "at" | "blocked" | "removed" | "verified" | "name">;

/** What it works with. */
export interface InStepParts {
  readonly stores: Stores;
  readonly devices: DeviceBook;
  readonly desk: DeviceDesk;
  readonly blocking: Blocking;
  readonly presence: Presence;
  readonly groups: SyncedGroups | null;
  readonly moment: () => Moment;
  /** Something is to be treated otherwise: a user, or, if null, what others are told. */
  readonly changed: (userId: string | null) => void;
}

/** Tells the other own devices, and takes over what they tell. */
export class InStep {
  readonly #parts: InStepParts;
  readonly #known = new Map<string, SyncedRecord>();
  #isTaking = false;

  constructor(parts: InStepParts) {
    this.#parts = parts;
    for (const [, record] of parts.stores.vault.all(records.SYNCED)) this.#known.set(record.userId, record);
    parts.stores.book.follow = (tx, before, after) => this.#noticed(tx, before, after);
    parts.presence.follow = (tx) => this.#settingsChanged(tx);
    parts.groups?.follow((tx, group, news) => this.#groupChanged(tx, group, news));
  }

  // --- what changes here --------------------------------------------------------

  get #mayNote(): boolean {
    return !this.#isTaking && this.#parts.devices.ownOthers().length > 0;
  }

  /** Something of a user was stored. */
  #noticed(tx: Transaction, before: ContactRecord, after: ContactRecord): void {
    if (!this.#mayNote || before.deviceOf !== null || after.deviceOf !== null || !isPerson(after.userId)) return;
    if (order(countedOf(before, 0), countedOf(after, 0)) !== 0) this.#note(tx, after.userId);
  }

  #settingsChanged(tx: Transaction): void {
    if (this.#mayNote) this.#note(tx, SETTINGS);
  }

  /** A group was stored: linked devices learn what it is from the first one, and all whether it is muted. */
  #groupChanged(tx: Transaction, group: string, news: GroupStored | null): void {
    const { devices } = this.#parts;
    const hasOthers = devices.ownOthers().length > 0;
    const name = `${MUTED}${group}`;
    if (news === null) {
      // The others hear that it is muted no more, and then nothing of it stays here.
      this.#drop(tx, `${GROUP}${group}`);
      const { muted, waits } = this.#known.get(name) ?? {};
      if (hasOthers && (muted || waits)) this.#note(tx, name, false);
      else this.#drop(tx, name);
      return;
    }
    const { isOther, muted } = news;
    if (isOther && devices.isFirst && hasOthers) this.#put(tx, { ...this.#ofGroup(group), waits: true });
    if (muted !== null && !this.#isTaking && (hasOthers || this.#known.has(name))) this.#note(tx, name, muted);
  }

  #note(tx: Transaction, userId: string, muted: boolean | null = null): void {
    const at = timeOf(Math.max(this.#parts.moment().wall, this.#at(userId) + 1));
    this.#put(tx, records.SyncedRecord.make({ userId, at, waits: true, muted }));
  }

  /** What is remembered of a group. */
  #ofGroup(group: string): SyncedRecord {
    const userId = `${GROUP}${group}`;
    return this.#known.get(userId) ?? records.SyncedRecord.make({ userId, at: 0 });
  }

  #at(userId: string): number {
    return this.#known.get(userId)?.at ?? 0;
  }

  #put(tx: Transaction, record: SyncedRecord): void {
    const before = this.#known.get(record.userId);
    tx.put(records.SYNCED, record.userId, record);
    this.#known.set(record.userId, record);
    tx.onRollback(() => (before === undefined ? this.#known.delete(record.userId) : this.#known.set(record.userId, before)));
  }

  #drop(tx: Transaction, name: string): void {
    const before = this.#known.get(name);
    if (before === undefined) return;
    tx.delete(records.SYNCED, name);
    this.#known.delete(name);
    tx.onRollback(() => this.#known.set(name, before));
  }

  // --- what is told -------------------------------------------------------------

  /** Tells the other devices what has changed. */
  run(): void {
    this.#muteAgain();
    const waiting = [...this.#known.values()].filter(({ waits }) => waits);
    if (waiting.length === 0 || this.#parts.devices.ownOthers().length === 0) return;
    // Before anything is sent: what is said runs this again. It is stored in one step.
    this.#parts.stores.vault.transaction((tx) =>
      waiting.forEach((one) => {
        const isGone = one.muted === false && !this.#parts.groups?.of(one.userId.slice(MUTED.length));
        if (isGone) this.#drop(tx, one.userId);
        else this.#put(tx, { ...one, waits: false });
      }),
    );
    const names = waiting.map(({ userId }) => userId);
    const people = names.filter((name) => name !== SETTINGS && !name.startsWith(GROUP) && !name.startsWith(MUTED));
    for (const said of this.contacts(people)) this.#say(said);
    if (names.includes(SETTINGS)) this.#say(this.settings());
    const groups = names.filter((name) => name.startsWith(GROUP)).map((name) => name.slice(GROUP.length));
    for (const group of groups) this.#tellGroup(group);
    // Behind the groups, which are to be there.
    for (const said of mutedSaid(waiting.flatMap(mutedOf))) this.#say(said);
  }

  /** What a group is now. Of names, those that were not told before: all of them are larger than everything else. */
  #tellGroup(group: string): void {
    const said = this.#parts.groups?.of(group) ?? null;
    if (said === null) return;
    const { names: all = [], ...others } = said;
    const { names: before } = this.#ofGroup(group);
    const names = all.filter(({ id, name }) => before.get(encodeBase64(id)) !== name);
    this.#told(group, all);
    this.#say(names.length === 0 ? others : { ...others, names });
  }

  /** The other devices know, or will, what members of a group call themselves. */
  #told(group: string, names: readonly Named[]): void {
    const told = new Map(names.map(({ id, name }) => [encodeBase64(id), name]));
    this.#parts.stores.vault.transaction((tx) => this.#put(tx, { ...this.#ofGroup(group), names: told }));
  }

  #say(said: DeviceSaid): void {
    this.#parts.desk.say(this.#parts.devices.ownOthers(), said);
  }

  /** What is known of these people, in as many contents as it takes. */
  contacts(people: readonly string[]): readonly DeviceSaid[] {
    const all = people.map((userId) => this.#person(userId));
    const starts = Array.from({ length: Math.ceil(all.length / MAX_CONTACTS) }, (_, place) => place * MAX_CONTACTS);
    return starts.map((at) => ({ kind: "sync-contacts", contacts: all.slice(at, at + MAX_CONTACTS) }));
  }

  #person(userId: string): KnownPerson {
    return { id: decodedId(userId), ...countedOf(this.#parts.stores.book.get(userId), this.#at(userId)) };
  }

  /** Everybody who is known or blocked. */
  people(): readonly string[] {
    const { book } = this.#parts.stores;
    const found = book.everybody().filter(({ blocked, userId }) => blocked || isKnown(book.get(userId)));
    return found.map(({ userId }) => userId).filter(isPerson);
  }

  /**
   * What all groups are in which the user is a member, for a new device; if it shows `history`, also those that have some
   * and in which the user is no more.
   */
  groups(history: boolean): readonly DeviceSaid[] {
    const { devices, groups, stores } = this.#parts;
    const shown = history ? (groups?.told() ?? []).filter(({ kind }) => stores.vault.hasKind(kind)) : [];
    const all = new Set([...(groups?.members() ?? []), ...shown.map(({ id }) => id)]);
    const isAlone = devices.ownOthers().length === 1; // others are still to be told what is new to them
    return [...all].flatMap((group) => {
      const said = groups?.of(group) ?? null;
      if (said !== null && isAlone) this.#told(group, said.names ?? []);
      return said ?? [];
    });
  }

  /** Which groups are muted, for a new device; it is remembered here as there. */
  muted(): readonly DeviceSaid[] {
    const here = (this.#parts.groups?.muted() ?? []).map((group) => MUTED + group);
    this.#parts.stores.vault.transaction((tx) => {
      const news = here.filter((name) => !this.#known.has(name));
      for (const userId of news) this.#put(tx, records.SyncedRecord.make({ userId, at: 0, muted: true }));
    });
    return mutedSaid([...this.#known.values()].flatMap(mutedOf).filter(({ at, muted }) => at > 0 || muted));
  }

  /** What is known of a group, here or once it is here. */
  #mutedHere(group: string): MutedGroup {
    const [known = null] = mutedOf(this.#known.get(`${MUTED}${group}`));
    return known ?? { group: fromBase64(group), at: 0, muted: this.#parts.groups?.isMuted(group) ?? false };
  }

  /** The settings, for other devices. */
  settings(): SettingsSaid {
    return { kind: "sync-settings", at: this.#at(SETTINGS), ...this.#parts.presence.settings };
  }

  // --- what others tell ---------------------------------------------------------

  /** Another own device says what it knows of people. */
  takeContacts(contacts: readonly KnownPerson[]): void {
    const { stores } = this.#parts;
    this.#taking(() => stores.vault.transaction((tx) => contacts.forEach((person) => this.#take(tx, person))));
  }

  #taking(act: () => void): void {
    this.#isTaking = true;
    try {
      act();
    } finally {
      this.#isTaking = false;
    }
  }

  #take(tx: Transaction, person: KnownPerson): void {
    const { blocking, desk, devices, stores } = this.#parts;
    const userId = encodeBase64(person.id);
    if (userId === devices.device || userId === devices.person || devices.isOwn(userId)) return;
    const before = stores.book.get(userId);
    const isNew = !this.#known.has(userId) && !isKnown(before) && !before.blocked;
    if (!isNew && order(person, countedOf(before, this.#at(userId))) <= 0) return;
    if (person.at > 0) this.#put(tx, records.SyncedRecord.make({ userId, at: person.at }));
    if (!person.removed) {
      this.#store(tx, person, before);
    } else if (isKnown(before)) {
      blocking.forget(tx, userId, { history: false });
    }
    if (person.blocked !== before.blocked) blocking.set(tx, userId, person.blocked);
    desk.later(() => this.#parts.changed(userId));
  }

  #store(tx: Transaction, person: KnownPerson, before: ContactRecord): void {
    const { book } = this.#parts.stores;
    const owner = book.named(person.name);
    const isFree = person.name === "" || (isName(person.name) && (owner === null || owner === before.userId));
    const trust = person.verified ? "verified" : "unverified";
    const after = {
      ...before,
      name: isFree ? person.name : before.name,
      trust: before.trust === "changed" ? before.trust : trust,
      accepted: true,
    };
    if (!isSameContact(after, before)) book.put(tx, after);
  }

  /** Another own device says which groups are muted; one that is not here, or not yet, will be so. */
  takeMuted(groups: readonly MutedGroup[]): void {
    this.#parts.stores.vault.transaction((tx) => {
      for (const heard of groups) {
        const id = encodeBase64(heard.group);
        if (laterMuted(this.#mutedHere(id), heard) !== heard) continue;
        const { at, muted } = heard;
        this.#put(tx, records.SyncedRecord.make({ userId: `${MUTED}${id}`, at, muted }));
        this.#mute(tx, id, muted);
      }
    });
  }

  #mute(tx: Transaction, group: string, muted: boolean): void {
    const { groups } = this.#parts;
    if (![null, muted].includes(groups?.isMuted(group) ?? null)) {
      this.#taking(() => groups?.mute(tx, group, muted));
    }
  }

  /** Who has come into a group, or back, finds it muted if it is so on the other devices. */
  #muteAgain(): void {
    for (const { muted, userId } of this.#known.values()) {
      const group = userId.slice(MUTED.length);
      if (muted !== null && ![null, muted].includes(this.#parts.groups?.isMuted(group) ?? null)) {
        this.#parts.stores.vault.transaction((tx) => this.#mute(tx, group, muted));
      }
    }
  }

  /** Another own device says what others are told. */
  takeSettings({ at, kind: _, ...theirs }: SettingsSaid): void {
    const { desk, presence, stores } = this.#parts;
    const own = presence.settings;
    const after: SettingsRecord = { ...own, ...theirs };
    // What says less to others counts if both are of the same time.
    const said = (settings: SettingsRecord): readonly number[] => SETTING_NAMES.map((name) => (settings[name] ? 0 : 1));
    if (orderOf([at, ...said(after)], [this.#at(SETTINGS), ...said(own)]) <= 0) return;
    this.#taking(() =>
      stores.vault.transaction((tx) => {
        this.#put(tx, records.SyncedRecord.make({ userId: SETTINGS, at }));
        presence.change(after);
      }),
    );
    desk.later(() => this.#parts.changed(null));
  }
}

/** Which of two devices' knowledge of a group counts; `known` if it is the same. */
export function laterMuted(known: MutedGroup, heard: MutedGroup): MutedGroup {
  return orderOf([heard.at, Number(heard.muted)], [known.at, Number(known.muted)]) > 0 ? heard : known;
}

/** What a record says of a group; none if it is of something else. */
function mutedOf(record: SyncedRecord | undefined): readonly MutedGroup[] {
  if (record === undefined || record.muted === null) return [];
  return [{ group: fromBase64(record.userId.slice(MUTED.length)), at: record.at, muted: record.muted }];
}

/** The same, in as many contents as it takes. */
function mutedSaid(all: readonly MutedGroup[]): readonly DeviceSaid[] {
  const starts = Array.from({ length: Math.ceil(all.length / MAX_MUTED) }, (_, place) => place * MAX_MUTED);
  return starts.map((at) => ({ kind: "sync-muted", groups: all.slice(at, at + MAX_MUTED) }));
}

function countedOf(record: ContactRecord, at: number): Counted {
  const { blocked, name, trust } = record;
  return { at, blocked, removed: !isKnown(record), verified: trust === "verified", name };
}

/** Below 0 if the other one counts, above 0 if the first does. */
function order(one: Counted, other: Counted): number {
  const numbers = (counted: Counted): readonly number[] => [
    counted.at,
    ...[counted.blocked, counted.removed, counted.verified].map(Number),
  ];
  return orderOf(numbers(one), numbers(other)) || compare(utf8(one.name), utf8(other.name));
}

function orderOf(one: readonly number[], other: readonly number[]): number {
  return one.map((value, place) => value - (other[place] ?? 0)).find((difference) => difference !== 0) ?? 0;
}

/** Whether it can be named to other devices: it certifies its key. */
function isPerson(userId: string): boolean {
  return decodedId(userId).length === ID_BYTES;
}

/** Whether a contact may be called so. */
function isName(name: string): boolean {
  try {
    return checkedName(name) === name;
  } catch (error) {
    if (error instanceof UsageError) return false;
    throw error;
  }
}
