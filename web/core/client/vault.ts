/**
 * The profile in memory, its records encrypted one by one; protocol/encryption.md, At rest.
 *
 * A record has a kind, a name and a value. Names are keyed hashes, values are sealed with kind and name as associated
 * data. Records are opened when they are asked for, and sealed when they are taken to be stored: what one step has
 * changed is one batch (`takeBatch`), which is stored in one transaction before anybody hears of it. If that fails, the
 * vault is to be thrown away and opened again from what is stored.
 *
 * Records of a kind keep the order in which they were first put.
 */
import { concat, utf8 } from "../bytes.ts";
import type { Random } from "../bytes.ts";
import { UndecryptableMessage } from "../crypto/errors.ts";
import { argon2id, hkdf, hmacSha256, KEY_BYTES, NONCE_BYTES, seal, TAG_BYTES, unseal } from "../crypto/primitives.ts";
import { pack, unpack } from "../msgpack.ts";
import { encodeBase64 } from "../wire/base64.ts";
import { VaultDamaged, WrongPassphrase } from "./errors.ts";
import * as passphrases from "./passphrase.ts";
import type { AnyKind, Kind } from "./records.ts";

/** What it takes Argon2id to make a key of a passphrase. */
export interface Cost {
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
}

/** RFC 9106 section 4, the second recommended option: 64 MiB. */
export const COST: Cost = { memoryKib: 65_536, passes: 3, lanes: 4 };

/** What may be asked for: 256 MiB; who can write to the disk must not take all of the machine. */
export const MAX_COST: Cost = { memoryKib: 2 ** 18, passes: 10, lanes: 16 };

const SALT_BYTES = 16;
const HASH_BYTES = 16;
/** Names of which the hash is remembered. */
const MOST_HASHES = 20_000;

const LOCK = utf8("phantom/1 vault key\n");

/** What a passphrase opens: the key of a vault, wrapped. It is stored beside the records. */
export interface VaultLock {
  /** 16 bytes. */
  readonly salt: Uint8Array;
  readonly cost: Cost;
  /** A nonce and the wrapped key. */
  readonly wrapped: Uint8Array;
}

/** A record as it is stored; `kind` and `name` together are unique. */
export interface StoredRecord {
  readonly kind: string;
  /** The keyed hash, in base64url. */
  readonly name: string;
  /** Its place in the order of records. */
  readonly position: number;
  /** Milliseconds of persistent time from when it is overdue; null if never. */
  readonly due: number | null;
  /** A nonce and the sealed value. */
  readonly value: Uint8Array;
}

/** What has changed since the last one, to be stored all together. */
export interface Batch {
  readonly puts: readonly StoredRecord[];
  readonly deletes: readonly Pick<StoredRecord, "kind" | "name">[];
}

/** How much of a slow computation is done: 0 to 1. */
export type Progress = (share: number) => void;

/** The lock of a vault key under a passphrase; throws a UsageError if that cannot be one. Takes a second or two. */
export function makeLock(
  key: Uint8Array,
  passphrase: string,
  random: Random,
  { progress = () => undefined, cost = COST }: { readonly progress?: Progress; readonly cost?: Cost } = {},
): VaultLock {
  const salt = random(SALT_BYTES);
  const nonce = random(NONCE_BYTES);
  const wrapping = argon2id(passphrases.chosen(passphrase, "this browser"), { salt, ...cost, onProgress: progress });
  return { salt, cost, wrapped: concat(nonce, seal(wrapping, nonce, key, LOCK)) };
}

/** The key of a vault. Throws WrongPassphrase, or VaultDamaged if this is no lock. Takes a second or two. */
export function openLock(lock: VaultLock, passphrase: string, progress: Progress = () => undefined): Uint8Array {
  const { salt, cost, wrapped } = lock;
  const isWhole = salt.length === SALT_BYTES && wrapped.length === NONCE_BYTES + KEY_BYTES + TAG_BYTES;
  if (!isWhole || !isAllowed(cost)) {
    throw new VaultDamaged("the data in this browser is damaged; restore a backup");
  }
  for (const words of passphrases.candidates(passphrase, "this browser")) {
    const key = unsealed(argon2id(words, { salt, ...cost, onProgress: progress }), wrapped, LOCK);
    if (key !== null) {
      return key;
    }
  }
  throw new WrongPassphrase("the passphrase is wrong; try again");
}

/** A new vault key. */
export function newKey(random: Random): Uint8Array {
  return random(KEY_BYTES);
}

/** An empty vault; `key`: of `newKey`. */
export function newVault(key: Uint8Array, random: Random): Vault {
  return new Vault(key, random, []);
}

/** The vault of what is stored, in whatever order; `key`: of `openLock`. */
export function openVault(key: Uint8Array, random: Random, stored: Iterable<StoredRecord>): Vault {
  return new Vault(key, random, stored);
}

/** Whether Argon2id can be run at a cost, and it is not too much. */
export function isAllowed({ memoryKib, passes, lanes }: Cost): boolean {
  const isPossible = passes > 0 && lanes > 0 && memoryKib >= 8 * lanes;
  return isPossible && memoryKib <= MAX_COST.memoryKib && passes <= MAX_COST.passes && lanes <= MAX_COST.lanes;
}

/** No position of a vault. */
const MOST = 2 ** 50;

/** Whether a record has a place: nothing that is sealed says which. */
const isPlaced = ({ position }: StoredRecord): boolean => Number.isInteger(position) && position > 0 && position < MOST;

/** After so many records it is told how far a batch is. */
const PROGRESS_STEP = 256;

/** One record in memory: sealed, or as a value that is not sealed yet, or both. */
interface Entry {
  readonly position: number;
  readonly due: number | null;
  sealed: Uint8Array | null;
  value: unknown;
  /** How `value` is sealed; null if it was read as sealed already. */
  readonly kind: Kind<unknown> | null;
}

interface Shelf {
  /** By hashed name, in the order of positions. */
  readonly entries: Map<string, Entry>;
  /** Hashed names of those that are due some time. */
  readonly dues: Map<string, number>;
}

/**
 * Called within the transaction that changes a record. `value`: null if it was removed. `isNew`: there was none before.
 */
export type Watcher<T> = (tx: Transaction, name: string, value: T | null, isNew: boolean) => void;

/** Changes that are all made, or none of them; what `Vault.transaction` gives. */
export class Transaction {
  readonly #vault: Vault;
  readonly #undo: (() => void)[] = [];
  readonly #onCommit: (() => void)[] = [];

  constructor(vault: Vault) {
    this.#vault = vault;
  }

  /** Put a record; one of the same name keeps its position. `due`: persistent time from when `overdue` names it. */
  put<T>(kind: Kind<T>, name: string, value: T, { due = null }: { readonly due?: number | null } = {}): void {
    const isNew = !this.#vault.has(kind, name);
    this.#undo.push(this.#vault.put(kind, name, value, due));
    this.#vault.changed(this, kind, name, value, isNew);
  }

  /** Remove a record; idempotent. */
  delete(kind: AnyKind, name: string): void {
    if (this.#vault.has(kind, name)) {
      this.#undo.push(this.#vault.remove(kind, this.#vault.hashed(kind, name)));
      this.#vault.changed(this, kind, name, null, false);
    }
  }

  /** Remove the records of a kind that were due by then; nobody who watches the kind is told. */
  deleteDue(kind: AnyKind, now: number): void {
    for (const hashed of this.#vault.due(kind, now)) {
      this.#undo.push(this.#vault.remove(kind, hashed));
    }
  }

  /** Remove all records of a kind; nobody who watches it is told. */
  deleteKind(kind: AnyKind): void {
    for (const hashed of this.#vault.hashedOf(kind)) {
      this.#undo.push(this.#vault.remove(kind, hashed));
    }
  }

  /** Call something once all is done, and not if it fails: what is in memory elsewhere follows what is here. */
  onCommit(action: () => void): void {
    this.#onCommit.push(action);
  }

  /** Call something if it fails, the last one first: for what was changed in memory before. */
  onRollback(action: () => void): void {
    this.#undo.push(action);
  }

  /** For the vault: where one inside of this begins. */
  mark(): { readonly undo: number; readonly onCommit: number } {
    return { undo: this.#undo.length, onCommit: this.#onCommit.length };
  }

  /** For the vault: undo what was done since. */
  rollBack(mark: { readonly undo: number; readonly onCommit: number }): void {
    for (const action of this.#undo.splice(mark.undo).reverse()) {
      action();
    }
    this.#onCommit.splice(mark.onCommit);
  }

  /** For the vault: all is done. Runs all that waits for it, and throws the first error of those. */
  committed(): void {
    const errors: unknown[] = [];
    for (const action of this.#onCommit) {
      try {
        action();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) {
      throw errors[0];
    }
  }
}

/** An open profile; made by `newVault` and `openVault`. */
export class Vault {
  /** How many records were left out because they could not be decrypted. */
  unreadable = 0;
  readonly #records: Uint8Array;
  readonly #names: Uint8Array;
  readonly #random: Random;
  readonly #shelves = new Map<string, Shelf>();
  readonly #hashes = new Map<string, string>();
  readonly #watchers = new Map<string, Watcher<unknown>[]>();
  #changed = new Map<string, Pick<StoredRecord, "kind" | "name">>();
  #last = 0;
  #transaction: Transaction | null = null;

  constructor(key: Uint8Array, random: Random, stored: Iterable<StoredRecord>) {
    this.#records = derived(key, "phantom/1 vault records\n");
    this.#names = derived(key, "phantom/1 vault names\n");
    this.#random = random;
    const all = [...stored];
    const inOrder = all.filter(isPlaced).sort((one, other) => one.position - other.position);
    for (const { kind, name, position: found, due, value } of [...inOrder, ...all.filter((one) => !isPlaced(one))]) {
      // Two in one place, or one where none can be, would have whoever reads on from there come back for ever.
      const position = found > this.#last && found < MOST ? found : this.#last + 1;
      const shelf = this.#shelf(kind);
      shelf.entries.set(name, { position, due, sealed: value, value: undefined, kind: null });
      if (due !== null) {
        shelf.dues.set(name, due);
      }
      if (position !== found) {
        this.#note(kind, name);
      }
      this.#last = position;
    }
  }

  /** All or nothing of what `action` changes; one inside of another is part of it, and undone alone if it fails. */
  transaction<R>(action: (tx: Transaction) => R): R {
    const outer = this.#transaction;
    const tx = outer ?? new Transaction(this);
    const mark = tx.mark();
    this.#transaction = tx;
    let result: R;
    try {
      result = action(tx);
    } catch (error) {
      tx.rollBack(mark);
      throw error;
    } finally {
      this.#transaction = outer;
    }
    if (outer === null) {
      tx.committed();
    }
    return result;
  }

  /** What was changed since the last call, sealed; within no transaction. `progress` is told what share is. */
  takeBatch(progress: Progress = () => undefined): Batch {
    const puts: StoredRecord[] = [];
    const deletes: Pick<StoredRecord, "kind" | "name">[] = [];
    const all = this.#changed.size;
    for (const { kind, name } of this.#changed.values()) {
      if (puts.length % PROGRESS_STEP === PROGRESS_STEP - 1) {
        progress((puts.length + deletes.length) / all);
      }
      const entry = this.#shelf(kind).entries.get(name);
      if (entry === undefined) {
        deletes.push({ kind, name });
      } else {
        puts.push({ kind, name, position: entry.position, due: entry.due, value: this.#sealedOf(kind, name, entry) });
      }
    }
    this.#changed = new Map();
    return { puts, deletes };
  }

  /** Whether there is something to be stored. */
  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  /** A record's value, or null. Throws VaultDamaged if it is there and cannot be read. */
  get<T>(kind: Kind<T>, name: string): T | null {
    const hashed = this.hashed(kind, name);
    const entry = this.#shelves.get(kind.kind)?.entries.get(hashed);
    return entry === undefined ? null : this.#read(kind, hashed, entry);
  }

  /** As `get`, and null, too, if it alone is damaged: for what can be done without. */
  find<T>(kind: Kind<T>, name: string): T | null {
    const hashed = this.hashed(kind, name);
    const entry = this.#shelves.get(kind.kind)?.entries.get(hashed);
    return entry === undefined ? null : (this.#readable(kind, hashed, entry)[0] ?? null);
  }

  /** The position of a record in the order of records, 0 if it is not there. */
  position(kind: AnyKind, name: string): number {
    return this.#shelves.get(kind.kind)?.entries.get(this.hashed(kind, name))?.position ?? 0;
  }

  /** The position of the newest record. */
  lastPosition(): number {
    return this.#last;
  }

  /** Whether there is a record. */
  has(kind: AnyKind, name: string): boolean {
    return this.#shelves.get(kind.kind)?.entries.has(this.hashed(kind, name)) === true;
  }

  /** Whether there is a record of a kind. */
  hasKind(kind: AnyKind): boolean {
    return this.count(kind) > 0;
  }

  /** How many records of a kind there are. */
  count(kind: AnyKind): number {
    return this.#shelves.get(kind.kind)?.entries.size ?? 0;
  }

  /** Whether there is nothing in it. */
  isUnused(): boolean {
    return [...this.#shelves.values()].every((shelf) => shelf.entries.size === 0);
  }

  /** The records of a kind behind a position, in order, each with its position; damaged ones are left out. */
  *all<T>(kind: Kind<T>, { after = 0 } = {}): Generator<[number, T]> {
    for (const [hashed, entry] of this.#snapshot(kind)) {
      if (entry.position > after) {
        for (const value of this.#readable(kind, hashed, entry)) {
          yield [entry.position, value];
        }
      }
    }
  }

  /** The records of a kind behind a position, the last one first, read as they are asked for. */
  *newest<T>(kind: Kind<T>, { above = 0 } = {}): Generator<T> {
    for (const [hashed, entry] of this.#snapshot(kind).reverse()) {
      if (entry.position <= above) {
        return;
      }
      yield* this.#readable(kind, hashed, entry);
    }
  }

  /** The records of a kind before a position, the last one first, each with its position, read as they are asked for. */
  *backwards<T>(kind: Kind<T>, before: number): Generator<[number, T]> {
    for (const [hashed, entry] of this.#snapshot(kind).reverse()) {
      if (entry.position < before) {
        for (const value of this.#readable(kind, hashed, entry)) {
          yield [entry.position, value];
        }
      }
    }
  }

  /** The records of a kind whose time has come, the longest overdue first; damaged ones are left out. */
  overdue<T>(kind: Kind<T>, now: number): T[] {
    const { entries } = this.#shelf(kind.kind);
    return this.due(kind, now).flatMap((hashed) => {
      const entry = entries.get(hashed);
      return entry === undefined ? [] : this.#readable(kind, hashed, entry);
    });
  }

  /** From now on, call something in each transaction that changes records of a kind. */
  watch<T>(kind: Kind<T>, watcher: Watcher<T>): void {
    this.#watchers.set(kind.kind, [...(this.#watchers.get(kind.kind) ?? []), watcher as Watcher<unknown>]);
  }

  /** For transactions: tell who watches. */
  changed(tx: Transaction, kind: AnyKind, name: string, value: unknown, isNew: boolean): void {
    for (const watcher of this.#watchers.get(kind.kind) ?? []) {
      watcher(tx, name, value, isNew);
    }
  }

  /** For transactions: hashed names of what is due. */
  due(kind: AnyKind, now: number): string[] {
    const dues = this.#shelves.get(kind.kind)?.dues ?? new Map<string, number>();
    const found = [...dues].filter(([, due]) => due <= now);
    return found.sort(([, one], [, other]) => one - other).map(([hashed]) => hashed);
  }

  /** For transactions: hashed names of all records of a kind. */
  hashedOf(kind: AnyKind): string[] {
    return this.#snapshot(kind).map(([hashed]) => hashed);
  }

  /** For transactions: put a record, and say how to undo it. */
  put<T>(kind: Kind<T>, name: string, value: T, due: number | null): () => void {
    const hashed = this.hashed(kind, name);
    const before = this.#shelf(kind.kind).entries.get(hashed);
    const position = before?.position ?? (this.#last += 1);
    this.#set(kind.kind, hashed, { position, due, sealed: null, value, kind: kind as Kind<unknown> });
    return () => {
      if (before === undefined) {
        this.#drop(kind.kind, hashed);
      } else {
        this.#set(kind.kind, hashed, before);
      }
    };
  }

  /** For transactions: remove a record, and say how to undo it. */
  remove(kind: AnyKind, hashed: string): () => void {
    const before = this.#shelves.get(kind.kind)?.entries.get(hashed);
    if (before === undefined) {
      return () => undefined;
    }
    this.#drop(kind.kind, hashed);
    return () => {
      this.#set(kind.kind, hashed, before);
      this.#sort(kind.kind);
    };
  }

  /** For transactions: under which name a record is stored. */
  hashed(kind: AnyKind, name: string): string {
    const whole = `${kind.kind}\0${name}`;
    const known = this.#hashes.get(whole);
    if (known !== undefined) {
      return known;
    }
    const made = base64url(hmacSha256(this.#names, utf8(whole)).subarray(0, HASH_BYTES));
    if (this.#hashes.size >= MOST_HASHES) {
      this.#hashes.clear();
    }
    this.#hashes.set(whole, made);
    return made;
  }

  #shelf(kind: string): Shelf {
    let shelf = this.#shelves.get(kind);
    if (shelf === undefined) {
      shelf = { entries: new Map(), dues: new Map() };
      this.#shelves.set(kind, shelf);
    }
    return shelf;
  }

  #snapshot(kind: AnyKind): [string, Entry][] {
    return [...(this.#shelves.get(kind.kind)?.entries ?? [])];
  }

  #set(kind: string, hashed: string, entry: Entry): void {
    const shelf = this.#shelf(kind);
    shelf.entries.set(hashed, entry);
    if (entry.due === null) {
      shelf.dues.delete(hashed);
    } else {
      shelf.dues.set(hashed, entry.due);
    }
    this.#note(kind, hashed);
  }

  #drop(kind: string, hashed: string): void {
    const shelf = this.#shelf(kind);
    shelf.entries.delete(hashed);
    shelf.dues.delete(hashed);
    this.#note(kind, hashed);
  }

  #note(kind: string, name: string): void {
    this.#changed.set(`${kind} ${name}`, { kind, name });
  }

  /** After a record has come back: a map holds it behind those that came after it. */
  #sort(kind: string): void {
    const { entries } = this.#shelf(kind);
    const inOrder = [...entries].sort(([, one], [, other]) => one.position - other.position);
    entries.clear();
    for (const [hashed, entry] of inOrder) {
      entries.set(hashed, entry);
    }
  }

  #sealedOf(kind: string, hashed: string, entry: Entry): Uint8Array {
    if (entry.sealed === null) {
      const plain = pack(entry.kind?.type.write(entry.value) ?? null);
      const nonce = this.#random(NONCE_BYTES);
      entry.sealed = concat(nonce, seal(this.#records, nonce, plain, associated(kind, hashed)));
      if (entry.kind?.isCached !== true) {
        entry.value = undefined;
      }
    }
    return entry.sealed;
  }

  #readable<T>(kind: Kind<T>, hashed: string, entry: Entry): T[] {
    try {
      return [this.#read(kind, hashed, entry)];
    } catch (error) {
      if (!(error instanceof VaultDamaged)) {
        throw error;
      }
      this.unreadable += 1;
      return [];
    }
  }

  #read<T>(kind: Kind<T>, hashed: string, entry: Entry): T {
    if (entry.value !== undefined) {
      return entry.value as T;
    }
    const plain = entry.sealed && unsealed(this.#records, entry.sealed, associated(kind.kind, hashed));
    if (plain === null) {
      throw new VaultDamaged("a part of the data in this browser is damaged; restore a backup");
    }
    let value: T;
    try {
      value = kind.type.read(unpack(plain));
    } catch {
      throw new VaultDamaged("part of the data in this browser cannot be read; restore a backup");
    }
    if (kind.isCached) {
      entry.value = value;
    }
    return value;
  }
}

function derived(key: Uint8Array, label: string): Uint8Array {
  return hkdf(key, { salt: new Uint8Array(KEY_BYTES), info: utf8(label), length: KEY_BYTES });
}

function associated(kind: string, hashed: string): Uint8Array {
  return utf8(`${kind}\0${hashed}`);
}

/** The plaintext of a nonce and what is sealed; null if it does not authenticate. */
function unsealed(key: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array | null {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) {
    return null;
  }
  try {
    return unseal(key, sealed.subarray(0, NONCE_BYTES), sealed.subarray(NONCE_BYTES), aad);
  } catch (error) {
    if (error instanceof UndecryptableMessage) {
      return null;
    }
    throw error;
  }
}

function base64url(raw: Uint8Array): string {
  return encodeBase64(raw).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
