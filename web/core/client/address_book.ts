/** Everybody who is known, in memory as in the vault: found by id, by name, and by what a name looks like. */
import { NOTHING } from "./extension.ts";
import type { Slot } from "./extension.ts";
import { isUserId } from "./ids.ts";
import { normalName, skeleton } from "./names.ts";
import * as records from "./records.ts";
import { ContactRecord, isKnown, isSameContact, isToBeIntroduced } from "./records.ts";
import type { Contact, Trust } from "./status.ts";
import type { Transaction, Vault } from "./vault.ts";

/**
 * The records of all contacts, and of strangers who have written.
 *
 * What a transaction changes is seen at once, also inside of it, and undone if it fails.
 */
export class AddressBook {
  readonly #records = new Map<string, ContactRecord>();
  readonly #byName = new Map<string, string>();
  readonly #byLook = new Map<string, Set<string>>();
  readonly #toIntroduce = new Set<string>();
  /** Users with whom a device is being linked: they are no strangers, and no contacts. */
  readonly expected = new Set<string>();
  /** Called within each transaction that changes what is known of a user. */
  follow: (tx: Transaction, before: ContactRecord, after: ContactRecord) => void = () => undefined;

  readonly #slot: Slot;

  constructor(vault: Vault, slot: Slot = { is: NOTHING }) {
    this.#slot = slot;
    this.#load([...vault.all(records.CONTACT)].map(([, record]) => record));
  }

  /** Everybody, in the order in which they came. */
  everybody(): Contact[] {
    return [...this.#records.values()].filter(({ deviceOf }) => deviceOf === null).map(publicOf);
  }

  /** The ids of everybody, in the same order. */
  userIds(): string[] {
    return [...this.#records.keys()];
  }

  get size(): number {
    return this.#records.size;
  }

  /** Whether there is a record. */
  has(userId: string): boolean {
    return this.#records.has(userId);
  }

  /** The record of a user; an empty one if there is none. */
  get(userId: string): ContactRecord {
    return this.#records.get(userId) ?? ContactRecord.make({ userId });
  }

  /** The record of a user; of a device, that of the person it belongs to. */
  person(userId: string): ContactRecord {
    const record = this.get(userId);
    return record.deviceOf === null ? record : this.get(record.deviceOf);
  }

  /** A user, known or not, as applications see them; of a device, the person it belongs to. */
  contact(userId: string): Contact {
    return publicOf(this.person(userId));
  }

  /** The id of the contact with this name, or null. */
  named(name: string): string | null {
    return this.#byName.get(normalName(name)) ?? null;
  }

  /** Ids and names of contacts whose names look like this one. */
  alike(name: string): [userId: string, name: string][] {
    return [...(this.#byLook.get(skeleton(name)) ?? [])].map((userId) => [userId, this.get(userId).name]);
  }

  /** Whether somebody may learn that we are there: they were added or written to, and have the key we know. */
  mayNotify(userId: string): boolean {
    const record = this.person(userId);
    const isFellow = this.isKnown(userId) || this.#slot.is.mayNotify(userId);
    return isFellow && !record.blocked && record.trust !== "changed";
  }

  /** Whether the user has added them, written to them or let them in; else they are a stranger. */
  isKnown(userId: string): boolean {
    return isKnown(this.person(userId)) || this.expected.has(userId);
  }

  /** Whether what this user sends is dropped unread. */
  isBlocked(userId: string): boolean {
    return this.person(userId).blocked;
  }

  /** Ids of those whose messages are dropped unread. */
  blocked(): string[] {
    return [...this.#records.values()].filter((record) => record.blocked).map((record) => record.userId);
  }

  /** Whether this is the id of somebody else: one that certifies its key, or a contact's. */
  canBe(userId: string, ownId: string): boolean {
    return (isUserId(userId) || this.has(userId)) && userId !== ownId;
  }

  /** Ids of those let in whom the relay does not yet know as such. */
  toIntroduce(): string[] {
    return [...this.#toIntroduce].filter((userId) => this.isKnown(userId));
  }

  // --- changes ------------------------------------------------------------------

  /** Store what is known of a user. */
  put(tx: Transaction, record: ContactRecord): void {
    const before = this.#records.get(record.userId);
    this.follow(tx, this.get(record.userId), record);
    tx.put(records.CONTACT, record.userId, record);
    this.#set(record);
    tx.onRollback(() => (before === undefined ? this.#drop(record.userId) : this.#set(before)));
  }

  /** Forget a user. */
  delete(tx: Transaction, userId: string): void {
    const before = [...this.#records.values()];
    this.follow(tx, this.get(userId), ContactRecord.make({ userId }));
    tx.delete(records.CONTACT, userId);
    this.#drop(userId);
    tx.onRollback(() => this.#load(before));
  }

  /** They are no stranger any more. */
  admit(tx: Transaction, userId: string): void {
    const record = this.get(userId);
    if (!isKnown(record)) {
      this.put(tx, { ...record, accepted: true });
    }
  }

  /** The relay has seen us write to this user. */
  introduced(tx: Transaction, userId: string): void {
    const record = this.get(userId);
    if (this.expected.has(userId) && !isKnown(record)) {
      return; // it may come to nothing
    }
    if (!record.greeted || record.moved) {
      this.put(tx, { ...record, greeted: true, moved: false });
    }
  }

  /** Another relay was chosen, which knows nobody: all are to be introduced again. */
  moved(tx: Transaction): void {
    for (const record of [...this.#records.values()]) {
      if (record.greeted && !record.moved) {
        this.put(tx, { ...record, moved: true });
      }
    }
  }

  /** Note it, and that the relay forgets that we wrote to them. */
  setBlocked(tx: Transaction, userId: string, blocked: boolean): void {
    const record = { ...this.get(userId), blocked, greeted: false, moved: false };
    if (isSameContact(record, ContactRecord.make({ userId }))) {
      this.delete(tx, userId);
    } else {
      this.put(tx, record);
    }
  }

  /** Forget all but that they are blocked, if they are. */
  forget(tx: Transaction, userId: string): void {
    if (this.isBlocked(userId)) {
      this.put(tx, ContactRecord.make({ userId, blocked: true }));
    } else {
      this.delete(tx, userId);
    }
  }

  // --- memory -------------------------------------------------------------------

  #load(found: readonly ContactRecord[]): void {
    this.#records.clear();
    this.#byName.clear();
    this.#byLook.clear();
    this.#toIntroduce.clear();
    for (const record of found) {
      this.#set(record);
    }
  }

  #set(record: ContactRecord): void {
    const before = this.get(record.userId);
    this.#records.set(record.userId, record);
    if (before.name !== record.name) {
      this.#forgetName(before);
      if (record.name !== "") {
        this.#byName.set(normalName(record.name), record.userId);
        const look = skeleton(record.name);
        this.#byLook.set(look, new Set([...(this.#byLook.get(look) ?? []), record.userId]));
      }
    }
    if (isToBeIntroduced(record)) {
      this.#toIntroduce.add(record.userId);
    } else {
      this.#toIntroduce.delete(record.userId);
    }
  }

  #drop(userId: string): void {
    const before = this.#records.get(userId);
    this.#records.delete(userId);
    if (before !== undefined) {
      this.#forgetName(before);
    }
    this.#toIntroduce.delete(userId);
  }

  #forgetName(record: ContactRecord): void {
    if (record.name !== "") {
      if (this.#byName.get(normalName(record.name)) === record.userId) {
        this.#byName.delete(normalName(record.name));
      }
      this.#byLook.get(skeleton(record.name))?.delete(record.userId);
    }
  }
}

/** A contact as applications see them. */
export function publicOf(record: ContactRecord): Contact {
  const key = record.offered.length > 0 ? record.offered : record.key;
  return {
    name: record.name,
    userId: record.userId,
    trust: trustOf(record),
    key: key.length > 0 ? key : null,
    classical: record.classical,
    blocked: record.blocked,
  };
}

function trustOf(record: ContactRecord): Trust {
  return record.trust === "verified" || record.trust === "changed" ? record.trust : "unverified";
}
