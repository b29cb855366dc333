/**
 * The sessions with each peer on disk: what a message costs to store does not grow with what a peer has sent before.
 *
 * A session is a record of its own, and its skipped keys are another one beside it, written only when they have
 * changed. A small record says which sessions there are, the one in use first.
 */
import { concat, isEqual, u32 } from "../bytes.ts";
import { InvalidMessage } from "../crypto/errors.ts";
import { skippedName } from "../crypto/ratchet.ts";
import type { Skipped, SkippedKeys } from "../crypto/ratchet.ts";
import * as suites from "../crypto/suites.ts";
import type { AnySession } from "../crypto/suites.ts";
import { encodeBase64 } from "../wire/base64.ts";
import { VaultDamaged } from "./errors.ts";
import * as records from "./records.ts";
import type { SessionsRecord, SkippedRecord } from "./records.ts";
import type { Transaction, Vault } from "./vault.ts";

/** How long an older session is kept in which nothing is read any more: so long may a message wait at the relay. */
export const MAX_SESSION_AGE_MS = 30 * 86_400_000;

/** Of a stored skipped key: place of its chain (1), number (4), since when (8, ms), and the key itself (32). */
const ROW_BYTES = 45;

const NO_SESSIONS: SessionsRecord = { ids: [], since: [] };
const NONE_SKIPPED: SkippedKeys = new Map();

/** How many sessions are kept of a peer, and how many skipped keys in all. */
export interface Budget {
  readonly most: number;
  readonly mostSkipped: number;
}

/** The sessions with a peer as they are in the vault, the one in use first; each is read when it is looked at. */
export class StoredSessions implements Iterable<AnySession> {
  private readonly read: AnySession[] = [];

  /**
   * @param peer user id
   * @param index which there are
   * @param isDamaged the index could not be read; which sessions there are is lost with it
   * @param rest reads them, in order
   */
  constructor(
    readonly peer: string,
    readonly index: SessionsRecord,
    readonly isDamaged: boolean,
    private readonly rest: Iterator<AnySession>,
  ) {}

  *[Symbol.iterator](): Iterator<AnySession> {
    for (let place = 0; ; place += 1) {
      if (place === this.read.length) {
        const next = this.rest.next();
        if (next.done === true) {
          return;
        }
        this.read.push(next.value);
      }
      const one = this.read[place];
      if (one !== undefined) {
        yield one;
      }
    }
  }

  /** All of them. */
  get all(): AnySession[] {
    return [...this];
  }
}

/** The sessions of all peers. */
export class Sessions {
  constructor(private readonly vault: Vault) {}

  /** The sessions with a peer; what is damaged counts as lost. */
  load(peer: string): StoredSessions {
    try {
      const index = this.vault.get(records.SESSIONS, peer) ?? NO_SESSIONS;
      return new StoredSessions(peer, index, false, this.each(peer, index));
    } catch (error) {
      if (error instanceof VaultDamaged) {
        return new StoredSessions(peer, NO_SESSIONS, true, this.each(peer, NO_SESSIONS));
      }
      throw error;
    }
  }

  private *each(peer: string, index: SessionsRecord): Generator<AnySession, void, void> {
    for (const id of index.ids) {
      const stored = this.vault.find(records.SESSION, nameOf(peer, id));
      const one = stored === null ? null : loaded(stored.state);
      if (one !== null) {
        yield this.withSkipped(peer, one);
      }
    }
  }

  /** Store what has become of one session that a message was sent in; arguments as `put`. */
  renew(tx: Transaction, before: StoredSessions, one: AnySession, after: AnySession, budget: Budget): void {
    const { ids, since } = before.index;
    const isDated = ids.some((id, place) => isEqual(id, one.id) && (since[place] ?? 0) !== 0);
    if (isDated || after.ratchet.mkskipped !== one.ratchet.mkskipped) {
      this.put(tx, before, before.all.map((found) => (found === one ? after : found)), budget);
    } else {
      this.putBare(tx, before.peer, after);
    }
  }

  /** All of a session but its skipped keys. */
  private putBare(tx: Transaction, peer: string, one: AnySession): void {
    const state = suites.dump(withKeys(one, NONE_SKIPPED));
    tx.put(records.SESSION, nameOf(peer, one.id), { peer, id: one.id, state });
  }

  /**
   * Store the sessions with a peer.
   *
   * @param before as they were loaded; what is still the same object need not be written
   * @param sessions the one in use first; the last ones give way. Of skipped keys, those of the session that was used
   * longest ago go first, and of one session the oldest.
   */
  put(tx: Transaction, before: StoredSessions, sessions: readonly AnySession[], budget: Budget): void {
    const { index, peer } = before;
    const after = sessions.slice(0, budget.most);
    if (before.isDamaged) {
      this.forgetUnnamed(tx, peer);
    }
    const loaded = new Map(before.all.map((one) => [keyOf(one.id), one]));
    const since = new Map(index.ids.map((id, place) => [keyOf(id), index.since[place] ?? 0]));
    for (const one of within(after, budget.mostSkipped)) {
      const known = loaded.get(keyOf(one.id));
      if (known === one) {
        continue;
      }
      since.set(keyOf(one.id), 0);
      if (known === undefined || known.ratchet.mkskipped !== one.ratchet.mkskipped) {
        this.putSkipped(tx, peer, one);
      }
      this.putBare(tx, peer, one);
    }
    const ids = after.map((one) => one.id);
    for (const id of index.ids) {
      if (!ids.some((one) => isEqual(one, id))) {
        this.drop(tx, peer, id);
      }
    }
    const times = ids.map((id, place) => (place === 0 ? 0 : (since.get(keyOf(id)) ?? 0)));
    this.putIndex(tx, peer, { ids, since: times }, index);
  }

  private putIndex(tx: Transaction, peer: string, fresh: SessionsRecord, before: SessionsRecord): void {
    const isSame =
      fresh.ids.length === before.ids.length &&
      fresh.ids.every((id, place) => isEqual(id, before.ids[place] ?? new Uint8Array())) &&
      fresh.since.every((at, place) => at === before.since[place]);
    if (!isSame) {
      tx.put(records.SESSIONS, peer, fresh);
    }
  }

  /** Erase all sessions with a peer. */
  forget(tx: Transaction, peer: string): void {
    for (const id of this.load(peer).index.ids) {
      this.drop(tx, peer, id);
    }
    tx.delete(records.SESSIONS, peer);
  }

  /**
   * Erase skipped keys, and sessions, that are too old to be kept.
   *
   * @param now persistent time, in milliseconds
   * @param inUse the id of the session that is sent with, which stays; weaker ones may stand before it
   */
  forgetOld(tx: Transaction, peer: string, now: number, inUse: Uint8Array | null): void {
    const before = this.load(peer);
    const all = before.all;
    const kept = all.map((found) => suites.forgetOld(found, now));
    if (kept.some((one, place) => one !== all[place])) {
      const mostSkipped = kept.reduce((sum, one) => sum + one.ratchet.mkskipped.size, 0);
      this.put(tx, before, kept, { most: kept.length, mostSkipped });
    }
    const { index } = this.load(peer);
    // A session is dated when it is first seen not to be in use; a time to come is that of a clock that was wrong.
    const dated = index.ids.map((id, place) => {
      const at = index.since[place] ?? 0;
      const isKept = place === 0 || (inUse !== null && isEqual(id, inUse));
      return { id, at: isKept ? 0 : at > 0 && at <= now ? at : now };
    });
    const isOld = ({ at }: { readonly at: number }): boolean => at > 0 && now - at > MAX_SESSION_AGE_MS;
    for (const { id } of dated.filter(isOld)) {
      this.drop(tx, peer, id);
    }
    const after = dated.filter((one) => !isOld(one));
    this.putIndex(tx, peer, { ids: after.map(({ id }) => id), since: after.map(({ at }) => at) }, index);
  }

  /** Which sessions there are cannot be read: they are lost, and their keys are not to stay behind. */
  private forgetUnnamed(tx: Transaction, peer: string): void {
    for (const [, one] of this.vault.all(records.SESSION)) {
      if (one.peer === peer) {
        this.drop(tx, peer, one.id);
      }
    }
  }

  private drop(tx: Transaction, peer: string, id: Uint8Array): void {
    tx.delete(records.SESSION, nameOf(peer, id));
    tx.delete(records.SKIPPED, nameOf(peer, id));
  }

  private withSkipped(peer: string, one: AnySession): AnySession {
    const stored = this.vault.find(records.SKIPPED, nameOf(peer, one.id));
    return stored === null ? one : withKeys(one, unpacked(stored));
  }

  private putSkipped(tx: Transaction, peer: string, one: AnySession): void {
    const name = nameOf(peer, one.id);
    if (one.ratchet.mkskipped.size > 0) {
      tx.put(records.SKIPPED, name, packed(one.ratchet.mkskipped));
    } else {
      tx.delete(records.SKIPPED, name);
    }
  }
}

function keyOf(id: Uint8Array): string {
  return encodeBase64(id);
}

function nameOf(peer: string, id: Uint8Array): string {
  return `${peer} ${keyOf(id)}`;
}

/** Null if it is damaged. */
function loaded(state: Uint8Array): AnySession | null {
  try {
    return suites.load(state);
  } catch (error) {
    if (error instanceof InvalidMessage) {
      return null;
    }
    throw error;
  }
}

function withKeys(one: AnySession, mkskipped: SkippedKeys): AnySession {
  return { ...one, ratchet: { ...one.ratchet, mkskipped } };
}

/** Sessions with so many skipped keys in all; those that need not be shortened are the same objects. */
function within(sessions: readonly AnySession[], mostSkipped: number): AnySession[] {
  let most = mostSkipped;
  return sessions.map((one) => {
    const { mkskipped } = one.ratchet;
    const surplus = mkskipped.size - most;
    const kept = surplus > 0 ? withKeys(one, new Map([...mkskipped].slice(surplus))) : one;
    most -= kept.ratchet.mkskipped.size;
    return kept;
  });
}

/** In rows, 45 bytes a key: they are many. */
function packed(skipped: SkippedKeys): SkippedRecord {
  const chains: Uint8Array[] = [];
  const places = new Map<string, number>();
  const rows: Uint8Array[] = [];
  for (const one of skipped.values()) {
    const name = keyOf(one.dh);
    const place = places.get(name) ?? chains.length;
    if (!places.has(name)) {
      places.set(name, place);
      chains.push(one.dh);
    }
    const at = new Uint8Array(8);
    new DataView(at.buffer).setBigInt64(0, BigInt(one.at));
    rows.push(concat(new Uint8Array([place]), u32(one.n), at, one.mk));
  }
  return { chains, keys: concat(...rows) };
}

/** Undo `packed`. */
function unpacked(stored: SkippedRecord): SkippedKeys {
  const view = new DataView(stored.keys.buffer, stored.keys.byteOffset, stored.keys.byteLength);
  const found = new Map<string, Skipped>();
  for (let at = 0; at + ROW_BYTES <= stored.keys.length; at += ROW_BYTES) {
    const dh = stored.chains[stored.keys[at] ?? 0];
    if (dh !== undefined) {
      const n = view.getUint32(at + 1);
      const one = { dh, n, mk: stored.keys.slice(at + 13, at + ROW_BYTES), at: Number(view.getBigInt64(at + 5)) };
      found.set(skippedName(one), one);
    }
  }
  return found;
}
