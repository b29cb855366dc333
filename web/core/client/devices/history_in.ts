/**
 * What was said before this device was linked comes over to it, in chunks, the newest first; see devices.md, History.
 *
 * How far it has come is stored with the texts of each chunk, so whoever dies goes on where they were.
 */
import { isEqual, NO_BYTES, utf8 } from "../../bytes.ts";
import { CryptoError } from "../../crypto/errors.ts";
import { Feature } from "../../wire/frames.ts";
import type { PastEntry } from "../conversation_index.ts";
import { LAST_TIME_MS } from "../content.ts";
import { isUserId } from "../ids.ts";
import type { Link } from "../link.ts";
import type { Moment } from "../moment.ts";
import * as records from "../records.ts";
import { HistoryInRecord, type SentRecord } from "../records.ts";
import type { Sending } from "../sending.ts";
import { DeliveryState, type Event, type LinkingEvent } from "../status.ts";
import type { Stores } from "../stores.ts";
import type { Transaction } from "../vault.ts";
import type { DeviceBook } from "./book.ts";
import { type Texts, countOf, readChunk } from "./chunks.ts";
import type { DeviceDesk } from "./desk.ts";
import { type DeviceSaid, MAX_CHUNKS } from "./kinds.ts";

export const MAX_TEXTS = 1_000_000;
/** For how long a device may ask. */
export const ANSWERS_MS = 30 * 86_400_000;
/** When it is asked again, if nothing comes while one is connected; the wait doubles. */
export const QUIET_MS = 60_000;
export const LONGEST_QUIET_MS = 3_600_000;
/** Chunks: a new device of which more than so many are to come allows its first device messages beside the rate. */
export const MUCH = 2 * MAX_CHUNKS;

type Chunk = Extract<DeviceSaid, { readonly kind: "history" }>;

/** The side of the new device. */
export class HistoryIn {
  readonly #stores: Stores;
  readonly #devices: DeviceBook;
  readonly #desk: DeviceDesk;
  #known: HistoryInRecord | null;
  #events: Event[] = [];
  /** Since when nothing has come while one was connected. */
  #since: number | null = null;
  #quiet = QUIET_MS;
  /** What has come since the program was started, and how many texts the first device says are left. */
  readonly #came = { chunks: 0, texts: 0, left: 0 };
  readonly #sending: Sending;

  constructor(stores: Stores, devices: DeviceBook, desk: DeviceDesk, sending: Sending) {
    this.#sending = sending;
    this.#stores = stores;
    this.#devices = devices;
    this.#desk = desk;
    this.#known = stores.vault.find(records.HISTORY_IN, "");
  }

  /** Whether this device is still getting what was said before. */
  get isComing(): boolean {
    return this.#known !== null;
  }

  /** This device was linked, and may ask from there on. */
  begin(tx: Transaction, place: Uint8Array, now: Moment): void {
    this.#put(tx, HistoryInRecord.make({ place, until: now.persistent + ANSWERS_MS }));
  }

  /** A chunk has come from one's first device. */
  came(chunk: Chunk, now: Moment): void {
    const known = this.#known;
    if (known === null || !isEqual(chunk.from, known.place)) return;
    this.#since = null;
    this.#quiet = QUIET_MS;
    let texts: Texts;
    try {
      texts = readChunk(chunk.texts);
    } catch (error) {
      if (!(error instanceof CryptoError)) throw error;
      this.#end(known.texts);
      return;
    }
    this.#came.chunks += 1;
    this.#came.texts += countOf(texts);
    this.#came.left = chunk.left;
    this.#stores.vault.transaction((tx) => {
      const count = known.texts + this.#keep(tx, texts);
      if (chunk.next === null || count > MAX_TEXTS || now.persistent > known.until) {
        this.#end(count);
        return;
      }
      this.#put(tx, { place: chunk.next, until: known.until, chunks: Math.max(0, known.chunks - 1), texts: count });
      this.#events.push(this.#event("history", count, chunk.left));
    });
  }

  /** Keeps the texts that are not there yet; how many. */
  #keep(tx: Transaction, { groups, received, sent }: Texts): number {
    const { index, slot, vault } = this.#stores;
    const found: (PastEntry & { readonly at: number })[] = [];
    const isWanted = (person: string): boolean => isUserId(person) && !vault.has(records.PAST_ERASED, person);
    for (const one of sent) {
      const { madeAt: at, messageId, peer } = one;
      if (isWanted(peer) && isTime(at) && !vault.has(records.SENT, messageId)) {
        const put = (to: Transaction): void => to.put(records.SENT, messageId, sentBefore(one));
        found.push({ peer, isMine: true, messageId, at, put });
      }
    }
    for (const one of received) {
      const { messageId, receivedAt: at, sender: peer } = one;
      const name = records.key(peer, messageId);
      if (isWanted(peer) && isTime(at) && !vault.has(records.RECEIVED, name)) {
        const put = (to: Transaction): void => {
          to.put(records.RECEIVED, name, { ...one, read: true, quiet: true });
          to.put(records.SEEN, name, { at: 0 });
        };
        found.push({ peer, isMine: false, messageId, at, put });
      }
    }
    // Each sort keeps its own order, the newest first.
    index.enterPast(tx, interleaved(found));
    return found.length + (slot.is.synced?.takePast(tx, groups) ?? 0);
  }

  /** Nothing more is wanted, and the first device is told so. */
  #end(texts: number): void {
    const from = this.#known?.place ?? utf8("-");
    this.#stores.vault.transaction((tx) => {
      const before = this.#known;
      tx.delete(records.HISTORY_IN, "");
      tx.deleteKind(records.PAST_ERASED);
      this.#known = null;
      tx.onRollback(() => (this.#known = before));
    });
    this.#events.push(this.#event("complete", texts, 0));
    this.#desk.later(() => this.#desk.say([this.#devices.person], { kind: "history-ask", from, chunks: 0 }));
  }

  #event(step: "history" | "complete", texts: number, left: number): LinkingEvent {
    return { kind: "linking", step, digits: "", person: this.#devices.person, name: "", reason: "", texts, left };
  }

  #put(tx: Transaction, record: HistoryInRecord): void {
    const before = this.#known;
    tx.put(records.HISTORY_IN, "", record);
    this.#known = record;
    tx.onRollback(() => (this.#known = before));
  }

  /** Asks for the next chunks, if none is to come, or for the same again, if they do not; says how far it is. */
  run(link: Link | null, now: Moment): Event[] {
    if (link === null) {
      this.#since = null;
    } else if (this.#known !== null) {
      this.#ask(link, this.#known, now);
    }
    return this.#events.splice(0);
  }

  /**
   * Lets the first device send more than the rate, if much is to come.
   *
   * It is said each time that chunks are asked for: either of the two may have connected again since.
   */
  #allow(link: Link, now: Moment): void {
    const { chunks, left, texts } = this.#came;
    const isMuch = left * chunks > MUCH * texts;
    if (!isMuch || !link.isLimited || !link.relayFeatures.has(Feature.ALLOWANCE)) return;
    if (this.#sending.maySend(link, "BLOCK", now.monotonic)) {
      link.send({ type: "ALLOWANCE", payload: { senderId: this.#devices.person } }, now.monotonic);
    }
  }

  #ask(link: Link, known: HistoryInRecord, now: Moment): void {
    this.#since ??= now.monotonic;
    const isQuiet = now.monotonic - this.#since >= this.#quiet;
    if (known.chunks > 0 && !isQuiet) return;
    if (isQuiet) this.#quiet = Math.min(LONGEST_QUIET_MS, 2 * this.#quiet);
    this.#since = now.monotonic;
    if (now.persistent > known.until) {
      this.#end(known.texts);
      return;
    }
    this.#allow(link, now);
    // Before anything is sent: what is said runs this again.
    this.#known = { ...known, chunks: MAX_CHUNKS };
    const said = { kind: "history-ask", from: known.place, chunks: MAX_CHUNKS } as const;
    this.#desk.say([this.#devices.person], said, (tx) => this.#put(tx, { ...known, chunks: MAX_CHUNKS }));
  }

  /** Milliseconds until there is something to do. */
  waits(now: number): number[] {
    return this.#known === null || this.#since === null ? [] : [Math.max(0, this.#since + this.#quiet - now)];
  }
}

/** The newest first, by the clock, as far as each sort's own order allows. */
function interleaved<T extends { readonly isMine: boolean; readonly at: number }>(found: readonly T[]): readonly T[] {
  const [sent, received] = [found.filter(({ isMine }) => isMine), found.filter(({ isMine }) => !isMine)];
  const all: T[] = [];
  let next = 0;
  for (const one of received) {
    for (let other = sent[next]; other !== undefined && other.at > one.at; other = sent[next]) {
      all.push(other);
      next += 1;
    }
    all.push(one);
  }
  return [...all, ...sent.slice(next)];
}

/** Another device sends it, if it still waits there. */
function sentBefore(sent: SentRecord): SentRecord {
  return { ...sent, key: NO_BYTES, resends: 0, state: Math.max(sent.state, DeliveryState.ACCEPTED) };
}

function isTime(at: number): boolean {
  return at >= 0 && at <= LAST_TIME_MS;
}
