/**
 * What was said before a device was linked goes over to it, in chunks, the newest first; see devices.md, History.
 *
 * How far it has come is stored with each chunk that is to be sent, so whoever dies goes on where they were.
 */
import { u64 } from "../../bytes.ts";
import type { ToldGroup } from "../extension.ts";
import type { Link } from "../link.ts";
import type { Outgoing } from "../many/outgoing.ts";
import type { Moment } from "../moment.ts";
import * as records from "../records.ts";
import { HistoryOutRecord } from "../records.ts";
import type { Sending } from "../sending.ts";
import type { Stores } from "../stores.ts";
import type { Transaction } from "../vault.ts";
import type { DeviceBook } from "./book.ts";
import { NO_TEXTS, chunkBefore } from "./chunks.ts";
import type { DeviceDesk } from "./desk.ts";
import { ANSWERS_MS } from "./history_in.ts";

/** Of the messages that carry chunks: they are forgotten as soon as the relay has them, for they are asked for again. */
export const PURPOSE = "history";
/** How often it is looked whether the next chunk may leave. */
export const LOOK_AGAIN_MS = 1_000;

const PLACE_BYTES = 8;

/** What it works with. */
export interface HistoryOutParts {
  readonly stores: Stores;
  readonly devices: DeviceBook;
  readonly desk: DeviceDesk;
  readonly sending: Sending;
  readonly outgoing: Outgoing;
}

/** The side of the first device. */
export class HistoryOut {
  readonly #parts: HistoryOutParts;
  readonly #known = new Map<string, HistoryOutRecord>();

  constructor(parts: HistoryOutParts) {
    this.#parts = parts;
    for (const [, record] of parts.stores.vault.all(records.HISTORY_OUT)) this.#known.set(record.device, record);
    const forget = (tx: Transaction, messageId: string): [] => {
      parts.outgoing.forget(tx, messageId);
      return [];
    };
    parts.outgoing.listen(PURPOSE, { advanced: forget, ordered: () => [] });
  }

  /** A device that is being linked may ask for everything until now; the place where that begins. */
  promise(tx: Transaction, device: string, now: Moment): Uint8Array {
    const { vault } = this.#parts.stores;
    const first = vault.lastPosition() + 1;
    const counts = [records.SENT, records.RECEIVED, ...this.#groups().map(({ kind }) => kind)].map((kind) => vault.count(kind));
    const left = counts.reduce((sum, count) => sum + count);
    this.#put(tx, HistoryOutRecord.make({ device, first, below: first, until: now.persistent + ANSWERS_MS, left }));
    return u64(first);
  }

  #groups(): readonly ToldGroup[] {
    return this.#parts.stores.slot.is.synced?.told() ?? [];
  }

  /** A device asks for chunks, or says that it wants no more. */
  asked(device: string, from: Uint8Array, chunks: number, now: Moment): void {
    const known = this.#known.get(device);
    const below = positionAt(from);
    this.#parts.stores.vault.transaction((tx) => {
      if (chunks > 0 && known !== undefined && below !== null && now.persistent <= known.until) {
        this.#put(tx, { ...known, below: Math.min(below, known.first), chunks });
        return;
      }
      this.#drop(tx, device);
      const said = { kind: "history", from, texts: NO_TEXTS, next: null, left: 0 } as const;
      if (chunks > 0) this.#parts.desk.later(() => this.#parts.desk.say([device], said));
    });
  }

  #put(tx: Transaction, record: HistoryOutRecord): void {
    const before = this.#known.get(record.device);
    tx.put(records.HISTORY_OUT, record.device, record);
    this.#known.set(record.device, record);
    tx.onRollback(() => this.#restore(record.device, before));
  }

  #drop(tx: Transaction, device: string): void {
    const before = this.#known.get(device);
    tx.delete(records.HISTORY_OUT, device);
    this.#known.delete(device);
    tx.onRollback(() => this.#restore(device, before));
  }

  #restore(device: string, record: HistoryOutRecord | undefined): void {
    if (record === undefined) this.#known.delete(device);
    else this.#known.set(device, record);
  }

  /** Sends the next chunk to each device that waits for one, if there is none under way to it. */
  run(link: Link | null, now: Moment): void {
    const { devices, stores } = this.#parts;
    if (link === null) return;
    for (const known of [...this.#known.values()]) {
      if (!devices.ownOthers().includes(known.device)) {
        stores.vault.transaction((tx) => this.#drop(tx, known.device)); // it was removed
      } else if (known.chunks > 0 && this.#mayGive(link, known.device, now)) {
        this.#give(known);
      }
    }
  }

  /** Room is left for what the user writes. */
  #mayGive(link: Link, device: string, now: Moment): boolean {
    const { outgoing, sending, stores } = this.#parts;
    const isAllowed = outgoing.allowances.left(device, now.monotonic) > 0;
    return (isAllowed || sending.hasRoom(link, "MESSAGE", now.monotonic)) && stores.slot.is.waiting(device) === 0;
  }

  #give(known: HistoryOutRecord): void {
    const { desk, stores } = this.#parts;
    const { below, data, texts } = chunkBefore(stores.vault, this.#groups(), known.below);
    const isLast = below === null;
    const left = isLast ? 0 : Math.max(0, known.left - texts);
    const chunks = isLast ? 0 : known.chunks - 1;
    // Before anything is sent: what is said runs this again.
    const after = { ...known, below: below ?? known.below, chunks, left };
    this.#known.set(known.device, after);
    const said = { kind: "history", from: u64(known.below), texts: data, next: isLast ? null : u64(below), left } as const;
    desk.say([known.device], said, (tx) => this.#put(tx, after), PURPOSE);
  }

  /** Milliseconds until there is something to do. */
  waits(): number[] {
    return [...this.#known.values()].some(({ chunks }) => chunks > 0) ? [LOOK_AGAIN_MS] : [];
  }
}

/** The position of a place that was made here; null if it cannot have been. */
function positionAt(place: Uint8Array): number | null {
  if (place.length !== PLACE_BYTES) return null;
  const view = new DataView(place.buffer, place.byteOffset, place.byteLength);
  const position = Number(view.getBigUint64(0));
  return Number.isSafeInteger(position) ? position : null;
}
