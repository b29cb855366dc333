/**
 * Which devices belong to whom, stored and in memory: one's own, and those of people one knows.
 *
 * It alone writes device lists; ids are user ids in base64, as everywhere in the client.
 */
import { isEqual } from "../../bytes.ts";
import type { OwnIdentity } from "../../crypto/keys.ts";
import { CryptoError } from "../../crypto/errors.ts";
import { decodeBase64, encodeBase64, fromBase64 } from "../../wire/base64.ts";
import type { AddressBook } from "../address_book.ts";
import type { Claim } from "../content.ts";
import { isUserId } from "../ids.ts";
import * as records from "../records.ts";
import { DeviceRecord, DevicesRecord, isKnown, PersonRecord } from "../records.ts";
import type { Transaction, Vault } from "../vault.ts";
import { type DeviceList, parseList } from "./device_list.ts";
import { type KnownList, takeUp } from "./known_list.ts";
import { LATE } from "./late_record.ts";
import { Routing } from "./routing.ts";

/**
 * What a list has changed: whose it is, and the devices that came and went, by user id. `joined`: those of `added` that
 * count as this person's. `gone`: those of `removed` that are nobody's now; neither persons whom the user knows, nor
 * another's devices.
 */
export interface Changed {
  readonly person: string;
  readonly added: readonly string[];
  readonly joined: readonly string[];
  readonly removed: readonly string[];
  readonly gone: readonly string[];
}

/** Devices of one person that are kept in mind once they were removed. */
const MAX_GONE = 32;

/** A person whose list was taken up. */
interface Known {
  readonly list: KnownList;
  /** User ids, the first device's first. */
  readonly usable: readonly string[];
}

/** The device lists that were taken up. */
export class DeviceBook {
  /** This device. */
  readonly device: string;
  readonly #vault: Vault;
  readonly #book: AddressBook;
  readonly #identity: OwnIdentity;
  readonly #known = new Map<string, Known>();
  /** Devices that persons have removed. */
  readonly #gone = new Map<string, readonly string[]>();
  #own: PersonRecord | null;
  #routing: Routing;

  /** @param book what is known of each device; changed along with the lists */
  constructor(vault: Vault, book: AddressBook, identity: OwnIdentity) {
    this.#vault = vault;
    this.#book = book;
    this.#identity = identity;
    this.device = encodeBase64(identity.peer.userId);
    this.#own = vault.find(records.PERSON, "");
    for (const [, record] of vault.all(records.DEVICES)) {
      const found = knownOf(record);
      if (found !== null) this.#known.set(record.person, found);
    }
    for (const [, { devices, person }] of vault.all(records.GONE)) this.#gone.set(person, devices);
    this.#routing = this.#made();
  }

  // --- who one is ---------------------------------------------------------------

  /** One's own person: the first device. */
  get person(): string {
    return this.#own?.person ?? this.device;
  }

  /** The key of one's own person, of which safety numbers are made. */
  get personKey(): Uint8Array {
    const first = this.own?.newest.devices[0];
    return this.isFirst || first === undefined ? this.#identity.peer.public : first.key;
  }

  /** Whether this device is the person. */
  get isFirst(): boolean {
    return this.person === this.device;
  }

  /** The newest list of one's own person; null if there never was a second device. */
  get own(): KnownList | null {
    return this.#known.get(this.person)?.list ?? null;
  }

  /** Whether the next list must go far ahead. */
  get isRestored(): boolean {
    return this.#own?.isRestored === true;
  }

  /** Whether one's person has removed this device; one that a list could not bring in any more was not removed. */
  get isRemoved(): boolean {
    return !this.isFirst && this.own?.newest.ids.some((id) => encodeBase64(id) === this.device) === false;
  }

  /** What every content says of one's own list. */
  claim(): Claim | null {
    const { own } = this;
    return own === null ? null : { revision: own.newest.revision, hash: own.newest.hash };
  }

  /** One's other devices. */
  ownOthers(): readonly string[] {
    return this.#routing.ownOthers();
  }

  /** Whether an own device stands before this one on the list. */
  isBefore(device: string): boolean {
    const ids = this.own?.newest.ids.map(encodeBase64) ?? [];
    const [theirs, own] = [ids.indexOf(device), ids.indexOf(this.device)];
    return theirs >= 0 && theirs < own;
  }

  /** What is known of one's devices, by user id. */
  names(): ReadonlyMap<string, DeviceRecord> {
    return new Map([...this.#vault.all(records.DEVICE)].map(([, record]) => [record.userId, record]));
  }

  // --- whose a device is --------------------------------------------------------

  /** The list that was taken up of somebody. */
  known(person: string): KnownList | null {
    return this.#known.get(person)?.list ?? null;
  }

  /** Who has a list that is known here. */
  persons(): readonly string[] {
    return [...this.#known.keys()];
  }

  /** Whose a message of this user is. */
  personOf(userId: string): string {
    return this.#known.size === 0 ? userId : this.#routing.personOf(userId);
  }

  /** Whether this user is no stranger only because a device is being linked. */
  isOnlyExpected(userId: string): boolean {
    return this.#book.expected.has(userId) && !isKnown(this.#book.person(userId));
  }

  /** Whether this is one of one's other devices. */
  isOwn(userId: string): boolean {
    return userId !== this.device && this.#known.size > 0 && this.#routing.isOwn(userId);
  }

  /** The devices of somebody, the first one first. */
  devicesOf(person: string): readonly string[] {
    return this.#known.has(person) ? this.#routing.devicesOf(person) : [person];
  }

  /** All devices of the person whose device this is: they learn what becomes of its messages. */
  told(sender: string): readonly string[] {
    return this.devicesOf(this.personOf(sender));
  }

  /** Whether a message to somebody goes to more than one device. */
  isWide(person: string): boolean {
    // Copies say for whom they are, which they can of an id that certifies its key.
    return this.#known.size > 0 && isUserId(person) && this.devicesOf(person).length + this.ownOthers().length > 1;
  }

  /** With whom a text was exchanged; null if it is to be refused. `to`: the raw id of a person. */
  conversationOf(sender: string, to: Uint8Array | undefined): string | null {
    return this.#routing.conversationOf(sender, to === undefined ? null : encodeBase64(to));
  }

  // --- changes ------------------------------------------------------------------

  /** This device is one of a person's: on the first one, it is that person. */
  belong(tx: Transaction, person: string): void {
    this.#putOwn(tx, PersonRecord.make({ person }));
    this.#belongTo(tx, person, person);
  }

  /** The first device has signed a list after a restore: those that it may have signed before do not win. */
  signed(tx: Transaction): void {
    if (this.#own?.isRestored === true) this.#putOwn(tx, { ...this.#own, isRestored: false });
  }

  /** The relay has this list of one's own. */
  published(tx: Transaction, hash: Uint8Array): void {
    if (this.#own !== null) this.#putOwn(tx, { ...this.#own, published: hash });
  }

  /** One's own list, if the relay does not have it. */
  toPublish(): DeviceList | null {
    const list = this.own?.newest ?? null;
    return list === null || this.#own === null || isEqual(this.#own.published, list.hash) ? null : list;
  }

  /** What an own device is called. */
  name(tx: Transaction, userId: string, name: string): void {
    const record = this.#vault.find(records.DEVICE, userId) ?? DeviceRecord.make({ userId });
    if (record.name !== name) tx.put(records.DEVICE, userId, { ...record, name });
  }

  /**
   * Takes a list up, if it is one that goes ahead of what is known.
   *
   * @param person whose it should be
   * @param wall milliseconds since 1970
   * @throws CryptoError It is not taken up.
   */
  takeUp(tx: Transaction, encoded: Uint8Array, person: string, wall: number): Changed {
    const found = parseList(encoded);
    const before = this.#known.get(person) ?? null;
    const after = takeUp(before?.list ?? null, found, fromBase64(person), wall);
    if (after === before?.list) return { person, added: [], joined: [], removed: [], gone: [] };
    const usable = after.usable.map(encodeBase64);
    tx.put(records.DEVICES, person, DevicesRecord.make({ person, encoded, usable }));
    const old = before?.usable ?? [];
    const removed = old.filter((one) => !usable.includes(one));
    const added = usable.filter((one) => !old.includes(one) && one !== person);
    for (const device of added) this.#belongTo(tx, device, person);
    const gone = removed.filter((device) => this.#release(tx, device, person));
    if (person === this.person) for (const device of removed) tx.delete(records.DEVICE, device);
    this.#set(tx, person, { list: after, usable });
    const dropped = [...(this.#gone.get(person) ?? []), ...gone].filter((one) => !usable.includes(one));
    this.#setGone(tx, person, dropped);
    return { person, added, joined: added.filter((one) => this.personOf(one) === person), removed, gone };
  }

  /** The person who has removed this device, if it is nobody else's and no person whom the user knows. */
  whoRemoved(device: string): string | null {
    if (this.#gone.size === 0 || isKnown(this.#book.get(device))) return null;
    return [...this.#gone].find(([, devices]) => devices.includes(device))?.[0] ?? null;
  }

  #setGone(tx: Transaction, person: string, devices: readonly string[]): void {
    const before = this.#gone.get(person) ?? [];
    const after = devices.slice(-MAX_GONE);
    if (before.length === 0 && after.length === 0) return;
    if (after.length > 0) {
      tx.put(records.GONE, person, { person, devices: after });
      this.#gone.set(person, after);
    } else {
      tx.delete(records.GONE, person);
      this.#gone.delete(person);
    }
    tx.onRollback(() => (before.length > 0 ? this.#gone.set(person, before) : this.#gone.delete(person)));
  }

  /** Nothing is known of this person's devices any more; those there were, besides the first. */
  forget(tx: Transaction, person: string): readonly string[] {
    const known = this.#known.get(person);
    tx.delete(LATE, person);
    if (known === undefined || person === this.person) return [];
    tx.delete(records.DEVICES, person);
    this.#setGone(tx, person, []);
    const devices = known.usable.filter((one) => one !== person && this.#release(tx, one, person));
    this.#set(tx, person, null);
    return devices;
  }

  /** A device is not this person's any more; returns whether it is nobody's now. */
  #release(tx: Transaction, device: string, person: string): boolean {
    if (this.#book.get(device).deviceOf !== person) return false;
    this.#book.delete(tx, device);
    const other = [...this.#known].find(([one, { usable }]) => one !== person && usable.includes(device))?.[0];
    if (other === undefined) return true;
    this.#belongTo(tx, device, other);
    return false;
  }

  /** Note whose a device is, unless the user knows it as a person, or it is another one's already. */
  #belongTo(tx: Transaction, device: string, person: string): void {
    const record = this.#book.get(device);
    if (isKnown(record) && record.deviceOf !== person && person !== this.person) return;
    const greeted = record.greeted || device === this.device; // nobody introduces themselves
    this.#book.put(tx, { ...record, deviceOf: person, accepted: true, greeted, name: "" });
  }

  #isPerson(userId: string): boolean {
    const record = this.#book.get(userId);
    return isKnown(record) && record.deviceOf === null;
  }

  // --- memory: what a transaction changes is seen at once, and undone if it fails ----

  #putOwn(tx: Transaction, record: PersonRecord): void {
    const before = this.#own;
    tx.put(records.PERSON, "", record);
    this.#setOwn(record);
    tx.onRollback(() => this.#setOwn(before));
  }

  #setOwn(record: PersonRecord | null): void {
    this.#own = record;
    this.#routing = this.#made();
  }

  #set(tx: Transaction, person: string, known: Known | null): void {
    const before = [...this.#known];
    if (known === null) this.#known.delete(person);
    else this.#known.set(person, known);
    this.#routing = this.#made();
    tx.onRollback(() => {
      this.#known.clear();
      for (const [one, other] of before) this.#known.set(one, other);
      this.#routing = this.#made();
    });
  }

  #made(): Routing {
    return new Routing({
      person: this.person,
      device: this.device,
      usable: new Map([...this.#known].map(([person, { usable }]) => [person, usable])),
      isPerson: (userId) => this.#isPerson(userId),
    });
  }
}

/** What was stored; null if that is of a version that is not known here. */
function knownOf({ encoded, usable }: DevicesRecord): Known | null {
  try {
    const newest = parseList(encoded);
    const raw = usable.flatMap((one) => decodeBase64(one) ?? []);
    return { list: { newest, usable: raw }, usable };
  } catch (error) {
    if (error instanceof CryptoError) return null;
    throw error;
  }
}
