/**
 * Receipts are gathered into messages, and what could not be read is asked for.
 *
 * Gathering saves messages: of what is received and read at once one receipt is sent, and when the relay takes few more
 * in this minute, receipts leave the rest to what people write.
 */
import type { Random } from "../bytes.ts";
import { MAX_RECEIPTS, timeOf } from "./content.ts";
import type { Link } from "./link.ts";
import { newMessageId } from "./message_ids.ts";
import type { Moment } from "./moment.ts";
import type { Pacing } from "./pacing.ts";
import { UNDECRYPTABLE } from "./receipts.ts";
import { OutboxRecord } from "./records.ts";
import type { Stores } from "./stores.ts";
import type { Visibility } from "./visibility.ts";

/** How long receipts are gathered: so that what is received and read at once is one message. */
export const GATHER_MS = 250;

/** The fewer messages the relay still takes in this minute, the longer they are gathered. */
const GATHER_STEPS = [
  [40, GATHER_MS],
  [20, 2_000],
  [0, 5_000],
] as const;

/** Frames of a minute that receipts leave to messages, until they have waited for `LATEST_MS`. */
export const KEEP_FREE = 10;

export const LATEST_MS = 60_000;

/** Puts receipts into the outbox when it is time. Times are monotonic milliseconds. */
export class Batching {
  /** When the receipts for a user are put into a message. */
  private due = new Map<string, number>();
  private readonly waitingSince = new Map<string, number>();
  private isFlushing = false;

  /**
   * @param pacing knows how much may still be sent
   * @param visibility who may see that we are there
   */
  constructor(
    private readonly stores: Stores,
    private readonly pacing: Pacing,
    private readonly visibility: Visibility,
    private readonly random: Random,
  ) {}

  /** Gather no longer: the program is about to leave. */
  flush(): void {
    this.isFlushing = true;
  }

  /** This user gets no receipts any more. */
  drop(peer: string): void {
    this.due.delete(peer);
    this.waitingSince.delete(peer);
  }

  /** Something about this user has changed: gather from now on. */
  reset(peer: string): void {
    this.due.delete(peer);
  }

  /** Milliseconds until each thing that waits for a time; what is overdue waits for an answer of the relay. */
  waits(now: number): number[] {
    return [...this.due.values()].filter((at) => at > now).map((at) => at - now);
  }

  /**
   * Ask for what could not be read, in a session that is new enough.
   *
   * @returns users with whom such a session is to be begun first
   */
  ask(now: Moment): string[] {
    const { book, conversations, receipts, recovery, vault } = this.stores;
    const withoutSession: string[] = [];
    for (const sender of recovery.senders()) {
      const missing = recovery.due(sender, now.persistent).slice(0, MAX_RECEIPTS);
      if (missing.length === 0 || !book.mayNotify(sender) || !this.visibility.mayKnow(sender)) {
        continue;
      }
      const needsSession = recovery.needsSession(sender, now.persistent, now.monotonic);
      if (needsSession || !conversations.hasSession(sender)) {
        withoutSession.push(sender);
        continue;
      }
      vault.transaction((tx) => {
        recovery.asked(tx, sender, missing, now.persistent);
        for (const messageId of missing) {
          receipts.put(tx, sender, messageId, UNDECRYPTABLE, now.persistent);
        }
      });
    }
    return withoutSession;
  }

  /** Put receipts that were gathered long enough into the outbox. */
  fill(link: Link, now: Moment): void {
    const { book, outbox, receipts } = this.stores;
    const known = receipts.senders().filter((sender) => book.mayNotify(sender));
    const dueOf = (sender: string): number =>
      this.due.get(sender) ?? now.monotonic + this.gatherMs(link, now.monotonic);
    this.due = new Map(known.map((sender) => [sender, dueOf(sender)]));
    for (const sender of known) {
      if (this.visibility.mayKnow(sender) && this.isTime(link, sender, now.monotonic)) {
        this.put(sender, now);
      }
    }
    this.visibility.forgetAllBut(receipts.senders());
    if (known.length === 0 && outbox.batches() === 0) {
      this.isFlushing = false; // all is said; the program may go on after all
    }
  }

  private isTime(link: Link, sender: string, now: number): boolean {
    const isUrgent = this.isUrgent(sender);
    const isEarly = now < (this.due.get(sender) ?? now);
    if ((isEarly && !isUrgent) || this.stores.outbox.batches(sender) > 0) {
      return false;
    }
    const since = this.waitingSince.get(sender) ?? now;
    this.waitingSince.set(sender, since);
    if (!isUrgent && this.free(link, now) < KEEP_FREE && now - since < LATEST_MS) {
      this.due.set(sender, now + this.gatherMs(link, now));
      return false;
    }
    return true;
  }

  /** Whether the next step puts something before what waits for this user, or asks for a new session. */
  hasUrgent(peer: string, now: Moment): boolean {
    const { receipts, recovery } = this.stores;
    const waits = this.isFlushing && receipts.senders().includes(peer);
    return waits || receipts.isUrgent(peer) || recovery.due(peer, now.persistent).length > 0;
  }

  private isUrgent(sender: string): boolean {
    return this.isFlushing || this.stores.receipts.isUrgent(sender);
  }

  private put(sender: string, now: Moment): void {
    const first = this.isUrgent(sender);
    this.drop(sender);
    const batch = newMessageId(this.random);
    this.stores.vault.transaction((tx) => {
      this.stores.receipts.assign(tx, sender, batch);
      this.stores.outbox.put(tx, receiptEntry(batch, sender, now), { first });
    });
    this.visibility.free(batch);
  }

  private gatherMs(link: Link, now: number): number {
    const free = this.free(link, now);
    return GATHER_STEPS.find(([least]) => free >= least)?.[1] ?? GATHER_MS;
  }

  /** Messages that may still be sent in this minute, besides the receipts that wait to be. */
  private free(link: Link, now: number): number {
    return Math.max(0, this.pacing.free("MESSAGE", link.limit("MESSAGE"), now) - this.stores.outbox.batches());
  }
}

/** A receipt batch as an entry of the outbox; its content is gathered when it is encrypted. */
export function receiptEntry(
  messageId: string,
  peer: string,
  now: Moment,
  given: { readonly again?: boolean } = {},
): OutboxRecord {
  const madeAt = timeOf(now.wall);
  return OutboxRecord.make({ messageId, peer, text: null, burn: false, expiresIn: null, madeAt, ...given });
}
