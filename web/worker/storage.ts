/**
 * What is on the browser's disk: the records of one profile, what opens it, and a marker that there was one.
 *
 * A batch is stored in one strict transaction: all of it is on disk when it resolves, or nothing. Whoever has opened
 * the profile last is the only one that can write: each opening takes a number, and each transaction looks at it first.
 * So a tab from which the profile was taken over can store nothing more, whatever it was about to do.
 *
 * The marker is a database of its own. A browser that clears a single database leaves it; one that clears the whole
 * origin does not, so the page keeps another one in `localStorage` (see `begin` in `api.ts`).
 */
import { deleteDB, openDB } from "idb";
import type { DBSchema, IDBPDatabase, IDBPTransaction, StoreNames } from "idb";
import { VaultDamaged, VaultError } from "../core/client/errors.ts";
import type { Batch, StoredRecord, VaultLock } from "../core/client/vault.ts";

const NAME = "phantom";
const MARKER_NAME = "phantom-marker";

/** Of the layout; a database with a later one is of a newer version of the page. */
const VERSION = 1;

/** What is stored without a passphrase. */
export interface Profile {
  readonly userId: string;
  /** The own name, to greet whoever is to type the passphrase. */
  readonly name: string;
  readonly lock: VaultLock;
  /** Rises each time that somebody opens it to write. */
  readonly opening: number;
  /** Rises each time that somebody locks it; absent if nobody has. */
  readonly locks?: number;
}

/** A vault key wrapped by a key that no script can read. */
export interface StayKey {
  readonly key: CryptoKey;
  readonly nonce: Uint8Array;
  readonly wrapped: Uint8Array;
}

interface Schema extends DBSchema {
  records: { key: [kind: string, name: string]; value: StoredRecord };
  meta: { key: "profile"; value: Profile };
  keys: { key: "stay"; value: StayKey };
}

interface MarkerSchema extends DBSchema {
  marker: { key: "userId"; value: string };
}

/** The disk is full, or what the browser allows this page is used up. */
export class VaultFull extends VaultError {
  override readonly name = "VaultFull";
}

/** The profile was opened elsewhere, and this is not the place any more where it may be changed. */
export class TakenOver extends VaultError {
  override readonly name = "TakenOver";
}

/** What is stored was written by a newer version of the page. */
export class NewerProfile extends VaultError {
  override readonly name = "NewerProfile";
}

/** The profile on disk. */
export class Storage {
  readonly #db: IDBPDatabase<Schema>;
  /** Of this place; 0 until it has opened the profile. */
  #opening = 0;

  constructor(db: IDBPDatabase<Schema>) {
    this.#db = db;
  }

  /** What opens the profile; null if there is none. */
  async profile(): Promise<Profile | null> {
    return (await this.#db.get("meta", "profile")) ?? null;
  }

  /** All records of the profile; from now on, this is the place where it may be changed. */
  async open(): Promise<StoredRecord[]> {
    const [opening, stored] = await this.#write(["meta", "records"], async (tx) => {
      const profile = await tx.objectStore("meta").get("profile");
      if (profile === undefined) {
        throw new VaultDamaged("this browser has deleted its data; restore a backup");
      }
      const after = { ...profile, opening: profile.opening + 1 };
      await tx.objectStore("meta").put(after, "profile");
      return [after.opening, await tx.objectStore("records").getAll()] as const;
    });
    this.#opening = opening;
    return stored;
  }

  /**
   * Store a new profile, and its marker. Throws a VaultError if there is one already, which another tab may just have
   * made.
   *
   * @param lost the user id of a profile that cannot be opened any more, and may be replaced; null if there is none
   */
  async create(profile: Omit<Profile, "opening">, batch: Batch, lost: string | null): Promise<void> {
    await this.#write(["meta", "records", "keys"], async (tx) => {
      const found = await tx.objectStore("meta").get("profile");
      if (found !== undefined && found.userId !== lost) {
        throw new VaultError("another tab has just set up Phantom in this browser; reload this page");
      }
      const records = tx.objectStore("records");
      await records.clear();
      await tx.objectStore("keys").clear();
      await Promise.all(batch.puts.map((put) => records.put(put, [put.kind, put.name])));
      await tx.objectStore("meta").put({ ...profile, opening: (found?.opening ?? -1) + 1 }, "profile");
    });
    await setMarker(profile.userId);
  }

  /**
   * Store a batch, on disk when this resolves. Throws VaultFull, TakenOver, or another VaultError; nothing is stored
   * then.
   */
  async commit(batch: Batch): Promise<void> {
    await this.#write(["meta", "records"], async (tx) => {
      const profile = await tx.objectStore("meta").get("profile");
      if (profile?.opening !== this.#opening) {
        throw new TakenOver("this profile was opened elsewhere");
      }
      const records = tx.objectStore("records");
      await Promise.all([
        ...batch.deletes.map(({ kind, name }) => records.delete([kind, name])),
        ...batch.puts.map((put) => records.put(put, [put.kind, put.name])),
      ]);
    });
  }

  /** Change what is stored without a passphrase. */
  async changeProfile(changes: Partial<Pick<Profile, "name" | "lock">>): Promise<void> {
    await this.#write(["meta"], async (tx) => {
      const profile = await tx.objectStore("meta").get("profile");
      if (profile !== undefined) {
        await tx.objectStore("meta").put({ ...profile, ...changes }, "profile");
      }
    });
  }

  /** What `keepStayKey` has stored last; null if nothing. */
  async stayKey(): Promise<StayKey | null> {
    return (await this.#db.get("keys", "stay")) ?? null;
  }

  /** Store what opens the profile without a passphrase, or, if null, forget it. */
  async keepStayKey(stay: StayKey | null): Promise<void> {
    await this.#write(["keys"], async (tx) => {
      const keys = tx.objectStore("keys");
      await (stay === null ? keys.delete("stay") : keys.put(stay, "stay"));
    });
  }

  /** Forget what opens the profile without a passphrase, and let no tab go on that has it open; in one transaction. */
  async lock(): Promise<void> {
    await this.#write(["meta", "keys"], async (tx) => {
      await tx.objectStore("keys").delete("stay");
      const profile = await tx.objectStore("meta").get("profile");
      if (profile !== undefined) {
        await tx.objectStore("meta").put({ ...profile, locks: (profile.locks ?? 0) + 1 }, "profile");
      }
    });
  }

  /** Delete everything, the marker too. */
  async destroy(): Promise<void> {
    this.close();
    await deleteDB(NAME);
    await setMarker(null);
  }

  close(): void {
    this.#db.close();
  }

  /** Carry out a transaction that is on disk, whole, when this resolves; nothing of it is if it rejects. */
  async #write<N extends StoreNames<Schema>, T>(
    names: N[],
    action: (tx: IDBPTransaction<Schema, N[], "readwrite">) => Promise<T>,
  ): Promise<T> {
    try {
      const tx = this.#db.transaction(names, "readwrite", { durability: "strict" });
      const done = tx.done;
      done.catch(() => undefined); // it is awaited below, if nothing else fails before
      try {
        const result = await action(tx);
        await done;
        return result;
      } catch (error) {
        abort(tx);
        throw error;
      }
    } catch (error) {
      throw error instanceof VaultError ? error : translated(error);
    }
  }
}

/** End a transaction without a trace, if it has not ended by itself. */
function abort(tx: { abort(): void }): void {
  try {
    tx.abort();
  } catch {
    // It has: that is why this is done.
  }
}

/** Open the database; it is made if it is not there. Throws NewerProfile. */
export async function openStorage(): Promise<Storage> {
  try {
    const db = await openDB<Schema>(NAME, VERSION, {
      upgrade: (made) => {
        made.createObjectStore("records");
        made.createObjectStore("meta");
        made.createObjectStore("keys");
      },
      // Somebody deletes the profile, or a newer version of the page wants to change the layout.
      blocking: (_, __, event) => (event.target as IDBDatabase).close(),
    });
    return new Storage(db);
  } catch (error) {
    if (error instanceof DOMException && error.name === "VersionError") {
      throw new NewerProfile("the data in this browser was saved by a newer version of this page; reload it");
    }
    throw translated(error);
  }
}

/** The user id of the profile that there was; null if there was none. */
export async function marker(): Promise<string | null> {
  const db = await markerDb();
  try {
    return (await db.get("marker", "userId")) ?? null;
  } finally {
    db.close();
  }
}

/** Remember that there is a profile, or, if null, that there is none. */
export async function setMarker(userId: string | null): Promise<void> {
  const db = await markerDb();
  try {
    await (userId === null ? db.delete("marker", "userId") : db.put("marker", userId, "userId"));
  } finally {
    db.close();
  }
}

async function markerDb(): Promise<IDBPDatabase<MarkerSchema>> {
  return openDB<MarkerSchema>(MARKER_NAME, 1, {
    upgrade: (made) => {
      made.createObjectStore("marker");
    },
  });
}

function translated(error: unknown): VaultError {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "QuotaExceededError") {
    return new VaultFull("this browser's storage is full; free some space on this device");
  }
  const why = error instanceof Error ? error.message : String(error);
  return new VaultError(`this browser cannot store your data (${why}); reload this page`);
}
