/**
 * Texts that were written before it was known here that their recipient has a further device: that one gets them, too.
 *
 * A first device names, in all that it says, the newest list that it knows of its own person. So what it has reported
 * under a list without the new device, it had before it linked that one, and may have handed it over itself. The new
 * device never had the others: those of which the first one has reported nothing yet, and those of which it did so under
 * a list that was not known here. See devices.md.
 */
import { isEqual, NO_BYTES } from "../../bytes.ts";
import type { Arrived } from "../inbox.ts";
import type { CopyRecord } from "../many/records.ts";
import type { Outgoing } from "../many/outgoing.ts";
import type { ManyMessage } from "../many/store.ts";
import type { Moment } from "../moment.ts";
import * as records from "../records.ts";
import type { SentRecord } from "../records.ts";
import { DeliveryState } from "../status.ts";
import type { Stores } from "../stores.ts";
import type { Transaction } from "../vault.ts";
import type { Changed, DeviceBook } from "./book.ts";
import { LATE, LateRecord } from "./late_record.ts";

/** Texts that a new device is sent at most, the newest, and of which it is remembered that they were reported so. */
export const MAX_LATE = 200;
/** Copies that new devices of one person are sent in a day: so many for five devices, however often they are others. */
export const MAX_GIVEN = 1_000;
const DAY_MS = 86_400_000;
/** How old they may be, by the clock that has dated them. */
export const MAX_AGE_MS = 7 * DAY_MS;
/** Where nobody reports that a text arrives, in large groups and to own devices: since when the relay may have it. */
export const SOON_MS = 600_000;

/** A text that a new device is to get; `sent`: it was written to its person alone. */
export interface Missed {
  readonly messageId: string;
  readonly writtenAt: number;
  readonly sent: SentRecord | null;
}

/** Knows which they are. */
export class LateTexts {
  readonly #stores: Stores;
  readonly #devices: DeviceBook;
  readonly #outgoing: Outgoing;

  constructor(stores: Stores, devices: DeviceBook, outgoing: Outgoing) {
    this.#stores = stores;
    this.#devices = devices;
    this.#outgoing = outgoing;
  }

  /** A receipt has come; before what it reports is noted anywhere else. */
  noted(tx: Transaction, sender: string, { content, extra, isKnown }: Arrived): void {
    const claim = extra?.claim ?? content.marks?.claim;
    const said = content.kind === "receipt" ? content : (extra?.reported ?? null);
    const known = this.#devices.known(sender);
    const isAhead = claim !== undefined && (known === null || claim.revision > known.newest.revision);
    if (!isKnown || !isAhead || said === null || this.#devices.personOf(sender) !== sender) return;
    const told = [...new Set([...said.delivered, ...said.read])];
    const found = told.filter((id) => this.#isOpen(id, sender)).map((id) => ({ id, revision: claim.revision }));
    const before = this.#notedOf(sender);
    if (found.length > 0) this.#put(tx, { ...before, texts: [...before.texts, ...found].slice(-MAX_LATE) });
  }

  /** A list was taken up: which texts the devices that it brings in are to get, the oldest first. */
  missed(tx: Transaction, { joined, person }: Changed, revision: number, now: Moment): readonly Missed[] {
    const before = this.#notedOf(person);
    const isOfToday = now.persistent - before.since < DAY_MS;
    const noted = isOfToday ? before : { ...before, given: 0, since: now.persistent };
    const late = new Set(noted.texts.filter((one) => one.revision <= revision).map(({ id }) => id));
    const found = joined.length === 0 ? [] : this.#found(person, late, now);
    const room = joined.length === 0 ? 0 : Math.min(MAX_LATE, Math.floor((MAX_GIVEN - noted.given) / joined.length));
    const sent = room > 0 ? found.slice(-room) : [];
    if (late.size > 0 || sent.length > 0) {
      const texts = noted.texts.filter(({ id }) => !late.has(id));
      this.#put(tx, { ...noted, texts, given: noted.given + joined.length * sent.length });
    }
    return sent;
  }

  /** All that a new device of a person has not got, as far as that is looked for, the oldest first. */
  #found(person: string, late: ReadonlySet<string>, now: Moment): readonly Missed[] {
    const written = person === this.#devices.person ? this.#toAnybody(now) : this.#toPerson(person, late, now);
    // Of what was written in the same millisecond, too, the oldest comes first.
    const found = [...written, ...this.#inGroups(person, late, now)].reverse();
    return found.sort((one, other) => one.writtenAt - other.writtenAt);
  }

  // --- which they are -------------------------------------------------------------

  *#toPerson(person: string, late: ReadonlySet<string>, now: Moment): Generator<Missed> {
    const key = this.#stores.book.contact(person).key ?? NO_BYTES;
    for (const sent of first(this.#sentTo(person), MAX_LATE)) {
      const { messageId, madeAt } = sent;
      const isOther = sent.key.length > 0 && !isEqual(sent.key, key);
      if (isGone(sent, now) || now.wall - madeAt > MAX_AGE_MS || isOther) continue;
      if (late.has(messageId) || this.#isOpen(messageId, person)) yield { messageId, writtenAt: madeAt, sent };
    }
  }

  *#sentTo(person: string): Generator<SentRecord> {
    for (const entry of this.#stores.history.newest(person)) {
      if (entry.kind === "sent") yield entry.record;
    }
  }

  /** Those of which another own device is to get a copy: the first one reports nothing of its own. */
  *#toAnybody(now: Moment): Generator<Missed> {
    for (const sent of first(this.#stores.vault.newest(records.SENT), MAX_LATE)) {
      const { messageId, madeAt } = sent;
      if (!isGone(sent, now) && this.#isMissed(messageId, this.#devices.person, now)) {
        yield { messageId, writtenAt: madeAt, sent: null };
      }
    }
  }

  *#inGroups(person: string, late: ReadonlySet<string>, now: Moment): Generator<Missed> {
    for (const { messageId, sentAt } of this.#stores.slot.is.synced?.written(person, now, MAX_AGE_MS) ?? []) {
      if (this.#isMissed(messageId, person, now, late)) yield { messageId, writtenAt: sentAt, sent: null };
    }
  }

  /** Whether a message to many is one that a new device of a person is to get. */
  #isMissed(messageId: string, person: string, now: Moment, late: ReadonlySet<string> = new Set()): boolean {
    const message = this.#outgoing.find(messageId);
    const copy = message?.copies.get(person);
    if (message === null || copy === undefined || copy.state === DeliveryState.FAILED) return false;
    return late.has(messageId) || this.#isOpenBy(message, copy, now);
  }

  /** Whether it says something that a first device has reported nothing, or the relay has its copy since now. */
  #isOpenBy(message: ManyMessage, copy: CopyRecord, now: Moment): boolean {
    if (copy.state !== DeliveryState.ACCEPTED) return copy.state === DeliveryState.QUEUED;
    const isTold = message.answered === true && copy.peer !== this.#devices.person;
    return isTold || now.persistent - message.at <= SOON_MS;
  }

  /** Whether this device has sent a text to somebody's first device, which has not reported it. */
  #isOpen(messageId: string, person: string): boolean {
    const copy = this.#outgoing.find(messageId)?.copies.get(person);
    if (copy !== undefined) return copy.state === DeliveryState.QUEUED || copy.state === DeliveryState.ACCEPTED;
    const { outbox, vault } = this.#stores;
    const waits = outbox.waits(messageId) || vault.has(records.UNANSWERED, messageId);
    return waits && outbox.sent(messageId, person) !== null;
  }

  // --- what was reported ------------------------------------------------------------

  #notedOf(person: string): LateRecord {
    return this.#stores.vault.find(LATE, person) ?? LateRecord.make({ person, texts: [] });
  }

  #put(tx: Transaction, record: LateRecord): void {
    if (record.texts.length > 0 || record.given > 0) tx.put(LATE, record.person, record);
    else tx.delete(LATE, record.person);
  }
}

/** The first so many, and no more of them are read. */
function* first<T>(all: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const one of all) {
    yield one;
    left -= 1;
    if (left <= 0) return;
  }
}

/** Whether there is nothing to be sent of a text any more, or never was. */
function isGone({ expiresAt, state, text }: SentRecord, now: Moment): boolean {
  return text === null || state === DeliveryState.FAILED || (expiresAt !== null && expiresAt <= now.persistent);
}
