/**
 * What is kept of groups for want of something else, and how much of it may be: what came too early, and early texts.
 *
 * What must be known to judge whether there is room is in memory, and follows each transaction as it goes: others decide
 * how often that is asked, and what is kept is large.
 */
import { encodeBase64 } from "../../wire/base64.ts";
import * as records from "../records.ts";
import type { Transaction, Vault } from "../vault.ts";
import * as changes from "./change.ts";
import { GROUP_EARLY, GROUP_HELD } from "./records.ts";
import type { GroupEarlyRecord, GroupHeldRecord } from "./records.ts";

/** Contents of a group that came too early and are kept. */
export const MAX_HELD = 40;
const HELD_MS = 86_400_000;

/** The kind of what is held that is an invitation to another group of an id than the one that is known. */
export const KEPT = "invitation";
const KEPT_MS = 30 * 86_400_000;

/** Of these, in groups in which this user is no member. */
const MAX_EARLY = 100;

/** Of these, those of one person, on however many devices: nobody takes the room of all others. */
const MAX_HELD_OF_ONE = 10;

/** Texts of one person that are kept of all groups to which this user is only invited: as many as of a request. */
export const MAX_INVITED_OF_ONE = 20;

/** Of all persons, with what is held of these groups. */
export const MAX_INVITED_BYTES = 8 * 2 ** 20;

/** What a text counts for beyond its own bytes: its rows are larger than a short one. */
export const ROWS_BYTES = 1_024;

/** What is to be known of a record that is held. */
interface Held {
  readonly sender: string;
  readonly isChange: boolean;
  readonly size: number;
  readonly due: number;
}

/** What is known of records, by group and name, in the order of the vault. */
class Notes<T> {
  readonly #found = new Map<string, Map<string, T>>();

  /** Those of a group, by name. */
  of(group: string): ReadonlyMap<string, T> {
    return this.#found.get(group) ?? new Map<string, T>();
  }

  /** Those of groups of which this is true. */
  where(isMeant: (group: string) => boolean): T[] {
    return [...this.#found].flatMap(([group, notes]) => (isMeant(group) ? [...notes.values()] : []));
  }

  /** Groups of which there are some. */
  groups(): string[] {
    return [...this.#found.keys()];
  }

  /** Know one that is stored already. */
  load(group: string, name: string, note: T): void {
    const found = this.#found.get(group) ?? new Map<string, T>();
    this.#found.set(group, found.set(name, note));
  }

  /** Know one more. */
  put(tx: Transaction, group: string, name: string, note: T): void {
    this.#change(tx, group, new Map(this.of(group)).set(name, note));
  }

  /** Know some no longer. */
  drop(tx: Transaction, group: string, gone: readonly string[]): void {
    const left = new Map(this.of(group));
    for (const name of gone) left.delete(name);
    this.#change(tx, group, left);
  }

  #change(tx: Transaction, group: string, found: Map<string, T>): void {
    const before = new Map(this.of(group));
    this.#set(group, found);
    tx.onRollback(() => this.#set(group, before));
  }

  #set(group: string, found: Map<string, T>): void {
    this.#found.delete(group);
    if (found.size > 0) this.#found.set(group, found);
  }
}

/** What came too early. */
export class Holding {
  readonly #vault: Vault;
  readonly #personOf: (device: string) => string;
  readonly #notes = new Notes<Held>();

  /** @param personOf whose a device is, as far as that is known */
  constructor(vault: Vault, personOf: (device: string) => string) {
    this.#vault = vault;
    this.#personOf = personOf;
    for (const [, record] of vault.all(GROUP_HELD)) {
      this.#notes.load(record.group, nameOf(record), noteOf(record));
    }
  }

  get isEmpty(): boolean {
    return this.#notes.groups().length === 0;
  }

  /** Keep it. */
  put(tx: Transaction, record: GroupHeldRecord): void {
    const name = nameOf(record);
    const note = noteOf(record);
    tx.put(GROUP_HELD, `${record.group} ${name}`, record, { due: note.due });
    this.#notes.put(tx, record.group, name, note);
  }

  /** What is kept, in the order in which it came. */
  of(group: string): GroupHeldRecord[] {
    return [...this.#notes.of(group).keys()].flatMap((name) => this.#vault.find(GROUP_HELD, `${group} ${name}`) ?? []);
  }

  /** Keep nothing of a group any more, or nothing of these names. */
  drop(tx: Transaction, group: string, gone = [...this.#notes.of(group).keys()]): void {
    for (const name of gone) {
      tx.delete(GROUP_HELD, `${group} ${name}`);
    }
    if (gone.length > 0) this.#notes.drop(tx, group, gone);
  }

  /** Whether something of this name is kept. */
  has(record: GroupHeldRecord): boolean {
    return this.#notes.of(record.group).has(nameOf(record));
  }

  /** Keep this no more. */
  dropOne(tx: Transaction, record: GroupHeldRecord): void {
    this.drop(tx, record.group, [nameOf(record)]);
  }

  /** Erase what has waited too long. */
  forgetOverdue(tx: Transaction, now: number): void {
    for (const group of this.#notes.groups()) {
      const gone = [...this.#notes.of(group)].filter(([, { due }]) => due <= now);
      this.drop(tx, group, gone.map(([name]) => name));
    }
    tx.deleteDue(GROUP_HELD, now);
  }

  /** Whether something of this sender would be kept of a group. */
  hasRoom(group: string, sender: string): boolean {
    return this.#isRoom(sender, [...this.#notes.of(group).values()], MAX_HELD);
  }

  /** Whether something of this sender would be kept of a group in which this user is no member. */
  hasRoomEarly(sender: string, isEarly: (group: string) => boolean): boolean {
    return this.#isRoom(sender, this.#notes.where(isEarly), MAX_EARLY);
  }

  #isRoom(sender: string, held: readonly Held[], most: number): boolean {
    const person = this.#personOf(sender);
    return held.length < most && held.filter((one) => this.#personOf(one.sender) === person).length < MAX_HELD_OF_ONE;
  }

  /** Whether something is kept that is no change, of devices of which this is true. */
  hasSaid(group: string, isTheirs: (device: string) => boolean): boolean {
    return [...this.#notes.of(group).values()].some(({ isChange, sender }) => !isChange && isTheirs(sender));
  }

  /** How many bytes are kept of groups of which this is true. */
  sizeOf(isMeant: (group: string) => boolean): number {
    return sum(this.#notes.where(isMeant));
  }
}

/** Texts in groups to which this user is only invited: nothing of them is shown, and whoever invites is heard. */
export class Early {
  readonly #holding: Holding;
  readonly #isInvited: (group: string) => boolean;
  readonly #notes = new Notes<GroupEarlyRecord>();

  /**
   * @param holding what else is kept of these groups
   * @param isInvited whether this user is only invited to a group
   */
  constructor(vault: Vault, holding: Holding, isInvited: (group: string) => boolean) {
    this.#holding = holding;
    this.#isInvited = isInvited;
    for (const [, record] of vault.all(GROUP_EARLY)) {
      this.#notes.load(record.group, textName(record), record);
    }
  }

  /** A text is kept. */
  note(tx: Transaction, record: GroupEarlyRecord): void {
    tx.put(GROUP_EARLY, `${record.group} ${textName(record)}`, record);
    this.#notes.put(tx, record.group, textName(record), record);
  }

  /** Which were kept of a group since the invitation. */
  of(group: string): GroupEarlyRecord[] {
    return [...this.#notes.of(group).values()];
  }

  /** The user has accepted, or never will. */
  drop(tx: Transaction, group: string): void {
    const names = [...this.#notes.of(group).keys()];
    for (const name of names) {
      tx.delete(GROUP_EARLY, `${group} ${name}`);
    }
    if (names.length > 0) this.#notes.drop(tx, group, names);
  }

  /** Whether a text of somebody is kept. */
  hasRoom(person: string, size: number): boolean {
    const theirs = this.#notes.where(() => true).filter(({ sender }) => sender === person);
    return theirs.length < MAX_INVITED_OF_ONE && this.hasBytes(size + ROWS_BYTES);
  }

  /** Whether there is room for so much of all of them. */
  hasBytes(size = 0): boolean {
    const texts = this.#notes.where(() => true);
    const kept = sum(texts) + texts.length * ROWS_BYTES + this.#holding.sizeOf(this.#isInvited);
    return kept + size <= MAX_INVITED_BYTES;
  }
}

function sum(notes: readonly { readonly size: number }[]): number {
  return notes.reduce((all, { size }) => all + size, 0);
}

function noteOf({ at, change, content, kind, sender, state }: GroupHeldRecord): Held {
  const size = content.length + change.length + state.length + ROWS_BYTES;
  return { sender, isChange: change.length > 0, size, due: at + (kind === KEPT ? KEPT_MS : HELD_MS) };
}

/** What is kept is named by what it is, so that it is kept once. */
function nameOf({ change, sender, messageId }: GroupHeldRecord): string {
  const isChange = change.length > 0;
  return isChange ? encodeBase64(changes.digestOf(changes.readOwn(change))) : records.key(sender, messageId);
}

function textName({ messageId, sender }: GroupEarlyRecord): string {
  return records.key(sender, messageId);
}
