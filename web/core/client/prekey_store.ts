/** One's own prekeys: made, published, renewed, and erased when used up or old. */
import { NO_BYTES } from "../bytes.ts";
import type { Random } from "../bytes.ts";
import { MAX_BUNDLE_AGE_MS, MAX_BUNDLE_AHEAD_MS } from "../crypto/bundle.ts";
import { UnknownPreKey } from "../crypto/errors.ts";
import type { HandshakeHeader, NamedPreKeys } from "../crypto/handshake.ts";
import { keyPairFrom } from "../crypto/keys.ts";
import type { OwnIdentity } from "../crypto/keys.ts";
import { makeKemPreKey, makeSignedPreKey, signBundle } from "../crypto/prekeys.ts";
import type { KemPreKey, PreKey, SignedPreKey } from "../crypto/prekeys.ts";
import { kemPublic } from "../crypto/primitives.ts";
import { MAX_ONE_TIME_PREKEYS } from "../wire/limits.ts";
import { VaultDamaged } from "./errors.ts";
import * as records from "./records.ts";
import { PreKeyRecord } from "./records.ts";
import type { Transaction, Vault } from "./vault.ts";

/** How many one-time prekeys of a sort are published, and below how many at the relay it gets more. */
export interface Amount {
  readonly target: number;
  readonly refillBelow: number;
}

/** KEM keys are 1.7 KB each on the wire, so fewer of them. */
export const AMOUNTS = { oneTime: { target: 100, refillBelow: 25 }, kem: { target: 25, refillBelow: 10 } } as const;

/** The amounts of both sorts. */
export type Amounts = Readonly<Record<keyof typeof AMOUNTS, Amount>>;

const DAY_MS = 86_400_000;

/** How old a signed prekey gets; a thief of the device reads handshakes no older than twice that. */
export const ROTATE_MS = 7 * DAY_MS;

export const KEEP_RETIRED_MS = 7 * DAY_MS;

/** How long a one-time prekey that the relay has no more waits for the first message made with it. */
export const KEEP_HANDED_OUT_MS = 90 * DAY_MS;

/**
 * One-time prekeys of a sort that are kept although the relay has been given others: the newest. A relay that says at
 * each login that all are gone would have more made and kept each time.
 */
export const MAX_KEPT = 500;

/** Ids beyond this are only counted: a clock that was wrong once must not use up all ids. */
export const LAST_CLOCK_ID = 0xf000_0000;

/** How far a relay's highest id may be ahead of the seconds since 1970. */
export const MAX_AHEAD = 30 * 86_400;

/** Prekeys that are made and stored in one step: some 4 ms in a browser. */
export const MADE_AT_ONCE = 8;
export const KEM_MADE_AT_ONCE = 1;

type Sort = "signed" | "one-time" | "kem" | "last-resort";

/** What is to be published; `madeAt` 0: without a date, and so without `bundleSignature`. */
export interface Publication {
  readonly signed: SignedPreKey;
  readonly lastResort: KemPreKey;
  readonly oneTime: readonly PreKey[];
  readonly kem: readonly KemPreKey[];
  readonly madeAt: number;
  readonly bundleSignature: Uint8Array;
}

/** What the relay says that it has of one's prekeys. */
export interface AtRelay {
  readonly oneTime: number;
  readonly kem: number;
  readonly signedId: number | null;
  readonly lastResortId: number | null;
}

/** The prekeys of one identity, in its vault. */
export class PreKeyStore {
  constructor(
    private readonly vault: Vault,
    private readonly identity: OwnIdentity,
    private readonly random: Random,
    private readonly amounts: Amounts = AMOUNTS,
  ) {}

  /** Whether the relay has prekeys whose private halves are not here: a backup was restored, say. */
  isBehind(given: { readonly signedId: number | null; readonly highestId: number | null }): boolean {
    if (given.highestId !== null && given.highestId > this.lastId()) {
      return true;
    }
    return given.signedId !== null && this.find("signed", given.signedId) === null;
  }

  /**
   * Take what is not above the relay's highest id for published, for it is never published again: its publication was
   * perhaps stored, and only not confirmed, and somebody may begin a session with such a key.
   */
  noteHighest(highestId: number | null): void {
    const found = this.unpublished().filter((record) => record.id <= (highestId ?? 0));
    if (found.length > 0) {
      this.vault.transaction((tx) => {
        for (const record of found) {
          this.put(tx, { ...record, published: true });
        }
      });
    }
  }

  /** Count on behind all ids that were published. */
  catchUp(highestId: number | null, now: number): void {
    // A relay that claims an id of the far future would use up all of them.
    const isPlausible = highestId !== null && highestId <= Math.floor(now / 1000) + MAX_AHEAD;
    const value = Math.max(this.lastId(), isPlausible ? highestId : 0);
    this.vault.transaction((tx) => tx.put(records.LAST_PREKEY_ID, "", { value }));
  }

  /** The date of what is signed now, by the wall clock: it never falls, unless a clock was wrong by a day. */
  date(wall: number): number {
    return Math.max(1, this.isAhead(wall) ? wall : Math.max(this.lastDate(), wall));
  }

  /** Whether the last date is so far in the future that nobody accepts it. */
  isAhead(wall: number): boolean {
    return this.lastDate() > wall + MAX_BUNDLE_AHEAD_MS;
  }

  /** Whether the last date is so long ago, though keys are renewed each week, that a clock was wrong then. */
  isLate(wall: number): boolean {
    const last = this.lastDate();
    return last > 0 && last < wall - MAX_BUNDLE_AGE_MS / 2;
  }

  /** Whether the relay should get a publication, given what it says it has and whether it keeps dates. */
  due(has: AtRelay, given: { readonly now: number; readonly takesDates: boolean }): boolean {
    const signed = this.current("signed");
    const lastResort = this.current("last-resort");
    if (signed === null || lastResort === null) {
      return true;
    }
    const isDated = signed.dated === lastResort.dated && signed.dated !== 0;
    return (
      (given.takesDates && !isDated) ||
      signed.id !== has.signedId ||
      lastResort.id !== has.lastResortId ||
      isOld(signed, given.now) ||
      has.oneTime < this.amounts.oneTime.refillBelow ||
      has.kem < this.amounts.kem.refillBelow
    );
  }

  /**
   * Make what is missing and store it, a few milliseconds' worth in each step; return what to publish.
   *
   * Keys that were made but whose publication was not confirmed are used again.
   *
   * @param given `oneTime` and `kem`: how many of these the relay has; `now`: milliseconds since 1970; `madeAt`: see
   * `date`, 0 for a relay that does not keep it
   */
  *publication(given: {
    readonly oneTime: number;
    readonly kem: number;
    readonly now: number;
    readonly madeAt: number;
  }): Generator<void, Publication, void> {
    const { madeAt, now } = given;
    const [signedRecord, lastRecord] = this.vault.transaction((tx) => {
      this.prune(tx, now);
      return [this.renewed(tx, "signed", now), this.renewed(tx, "last-resort", now)] as const;
    });
    const oneTime: PreKey[] = [];
    const wanted = Math.max(0, this.amounts.oneTime.target - given.oneTime);
    for (const some of this.fresh("one-time", wanted, now, MADE_AT_ONCE)) {
      oneTime.push(...some.map(oneTimeOf));
      yield;
    }
    const kem: KemPreKey[] = [];
    const wantedKem = Math.max(0, this.amounts.kem.target - given.kem);
    for (const some of this.fresh("kem", wantedKem, now, KEM_MADE_AT_ONCE)) {
      kem.push(...some.map((record) => makeKemPreKey(this.identity, record.id, record.private)));
      yield;
    }
    const signed = makeSignedPreKey(this.identity, signedRecord.id, signedRecord.private);
    const lastResort = makeKemPreKey(this.identity, lastRecord.id, lastRecord.private);
    const { userId } = this.identity.peer;
    const bundleSignature = madeAt === 0 ? NO_BYTES : signBundle(this.identity, signed, lastResort, madeAt, userId);
    return { signed, lastResort, oneTime, kem, madeAt, bundleSignature };
  }

  /** The relay has it. */
  published(publication: Publication): void {
    const lasting = new Set([
      nameOf("signed", publication.signed.id),
      nameOf("last-resort", publication.lastResort.id),
    ]);
    const once = new Set([
      ...publication.oneTime.map((one) => nameOf("one-time", one.id)),
      ...publication.kem.map((one) => nameOf("kem", one.id)),
    ]);
    this.vault.transaction((tx) => {
      for (const record of this.all()) {
        const name = nameOf(record.sort, record.id);
        const published = record.published || lasting.has(name) || once.has(name);
        const dated = lasting.has(name) && publication.madeAt !== 0 ? publication.madeAt : record.dated;
        if (published !== record.published || dated !== record.dated) {
          this.put(tx, { ...record, published, dated });
        }
      }
    });
  }

  /**
   * The private halves that a handshake needs; their signatures are left out, as nobody asks for them there.
   *
   * @throws UnknownPreKey one of them is gone
   */
  namedIn(header: HandshakeHeader): NamedPreKeys {
    const { kemCiphertext, kemPrekeyId, oneTimePrekeyId, signedPrekeyId } = header;
    const signed = this.get("signed", signedPrekeyId);
    const oneTime = oneTimePrekeyId === 0 ? null : this.get("one-time", oneTimePrekeyId);
    const kem = kemCiphertext.length === 0 ? null : this.kemNamed(kemPrekeyId);
    const signature = NO_BYTES;
    return {
      signedPrekey: { ...oneTimeOf(signed), signature },
      oneTimePrekey: oneTime === null ? null : oneTimeOf(oneTime),
      kemPrekey:
        kem === null ? null : { id: kem.id, seed: kem.private, public: kemPublic(kem.private), signature },
    };
  }

  private kemNamed(id: number): PreKeyRecord {
    return this.find("kem", id) ?? this.get("last-resort", id);
  }

  /** Erase the one-time keys of a handshake that was accepted. */
  consume(tx: Transaction, header: HandshakeHeader): void {
    for (const [sort, id] of [["one-time", header.oneTimePrekeyId], ["kem", header.kemPrekeyId]] as const) {
      if (id !== 0) {
        tx.delete(records.PREKEY, nameOf(sort, id));
      }
    }
  }

  private all(): PreKeyRecord[] {
    return [...this.vault.all(records.PREKEY)].map(([, record]) => record);
  }

  private unpublished(): PreKeyRecord[] {
    return this.all().filter((record) => (record.sort === "one-time" || record.sort === "kem") && !record.published);
  }

  private current(sort: Sort): PreKeyRecord | null {
    return this.all().findLast((record) => record.sort === sort && record.retiredAt === null) ?? null;
  }

  /** Of the newest signed prekey that has one; 0 if none has. */
  private lastDate(): number {
    const dated = this.all().filter((record) => record.dated !== 0);
    const newest = dated.reduce<PreKeyRecord | null>(
      (best, one) => (best === null || one.id > best.id || (one.id === best.id && one.dated > best.dated) ? one : best),
      null,
    );
    return newest?.dated ?? 0;
  }

  private get(sort: Sort, id: number): PreKeyRecord {
    const record = this.find(sort, id);
    if (record === null) {
      throw new UnknownPreKey(`the ${sort} prekey that it was made for is gone`);
    }
    return record;
  }

  private find(sort: Sort, id: number): PreKeyRecord | null {
    return this.vault.find(records.PREKEY, nameOf(sort, id));
  }

  private renewed(tx: Transaction, sort: Sort, now: number): PreKeyRecord {
    const current = this.current(sort);
    if (current !== null && !isOld(current, now)) {
      return current;
    }
    if (current !== null) {
      this.put(tx, { ...current, retiredAt: now });
    }
    return this.make(tx, sort, now);
  }

  /** So many that are not published, some at a time: those that are there, and then new ones. */
  private *fresh(sort: Sort, count: number, now: number, atOnce: number): Generator<PreKeyRecord[], void, void> {
    const waiting = this.unpublished().filter((record) => record.sort === sort).slice(0, count);
    for (let start = 0; start < count; start += atOnce) {
      const some = waiting.slice(start, start + atOnce);
      this.vault.transaction((tx) => {
        while (some.length < Math.min(atOnce, count - start)) {
          some.push(this.make(tx, sort, now));
        }
      });
      yield some;
    }
  }

  private make(tx: Transaction, sort: Sort, now: number): PreKeyRecord {
    const size = sort === "kem" || sort === "last-resort" ? 64 : 32;
    const id = this.nextId(tx, now);
    const record = PreKeyRecord.make({ sort, id, private: this.random(size), madeAt: now });
    this.put(tx, record);
    return record;
  }

  /**
   * An id above all before it, as the relay demands; after a restored backup too, for time has passed.
   *
   * All sorts share one space: a handshake names a KEM prekey of either sort by its id alone.
   */
  private nextId(tx: Transaction, now: number): number {
    const seconds = Math.floor(now / 1000);
    const value = Math.max(seconds < LAST_CLOCK_ID ? seconds : 0, this.lastId()) + 1;
    tx.put(records.LAST_PREKEY_ID, "", { value });
    return value;
  }

  private lastId(): number {
    try {
      return this.vault.get(records.LAST_PREKEY_ID, "")?.value ?? 0;
    } catch (error) {
      if (error instanceof VaultDamaged) {
        return Math.max(0, ...this.all().map((record) => record.id));
      }
      throw error;
    }
  }

  private put(tx: Transaction, record: PreKeyRecord): void {
    tx.put(records.PREKEY, nameOf(record.sort, record.id), record);
  }

  private delete(tx: Transaction, record: PreKeyRecord): void {
    tx.delete(records.PREKEY, nameOf(record.sort, record.id));
  }

  private prune(tx: Transaction, now: number): void {
    const found = this.all();
    for (const sort of ["one-time", "kem"] as const) {
      const published = found.filter((record) => record.sort === sort && record.published);
      const newestFirst = published.sort((one, other) => other.id - one.id);
      for (const [place, record] of newestFirst.entries()) {
        // The relay keeps so many of a kind, the newest: it cannot hand the others out any more.
        const isHandedOut = place >= MAX_ONE_TIME_PREKEYS;
        if (place >= MAX_KEPT || (isHandedOut && now - record.madeAt > KEEP_HANDED_OUT_MS)) {
          this.delete(tx, record);
        }
      }
    }
    for (const record of found) {
      if (record.retiredAt !== null && now - record.retiredAt > KEEP_RETIRED_MS) {
        this.delete(tx, record);
      }
    }
    const signed = this.all().filter((record) => record.sort === "signed");
    if (signed.length > 0) {
      // Older handshakes were made with prekeys that are gone, so they cannot be replayed.
      tx.deleteDue(records.HANDSHAKE, Math.min(...signed.map((record) => record.madeAt)) - 1);
    }
  }
}

function nameOf(sort: string, id: number): string {
  return `${sort}:${id}`;
}

function oneTimeOf(record: PreKeyRecord): PreKey {
  return { id: record.id, pair: keyPairFrom(record.private) };
}

/** Whether it is to be renewed; one of the future was made by a clock that was wrong. */
function isOld(record: PreKeyRecord, now: number): boolean {
  return now - record.madeAt > ROTATE_MS || record.madeAt > now + DAY_MS;
}
