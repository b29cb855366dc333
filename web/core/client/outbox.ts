/**
 * Messages and receipts on their way to the relay, and how far the messages have come.
 *
 * A message leaves the outbox when the relay has accepted it. It counts as answered when its recipient has said so, end
 * to end encrypted: the relay is not believed when it says `delivered`, `read` or `burned`. Until then it can be sent
 * again.
 */
import { isEqual, NO_BYTES } from "../bytes.ts";
import type { Slot } from "./extension.ts";
import { Queue } from "./outbox_queue.ts";
import * as records from "./records.ts";
import { OutboxRecord } from "./records.ts";
import type { SentRecord } from "./records.ts";
import { MAX_RESENDS } from "./recovery.ts";
import { DeliveryState } from "./status.ts";
import { Unanswered } from "./unanswered.ts";
import type { Transaction, Vault } from "./vault.ts";

/** What is behind what: a recipient that has it knows better than a relay that calls it expired. */
const RANK: Readonly<Record<number, number>> = {
  [DeliveryState.QUEUED]: 0,
  [DeliveryState.ACCEPTED]: 1,
  [DeliveryState.EXPIRED]: 2,
  [DeliveryState.FAILED]: 2,
  [DeliveryState.DELIVERED]: 3,
  [DeliveryState.READ]: 4,
  [DeliveryState.BURNED]: 5,
};

function rank(state: number): number {
  return RANK[state] ?? 0;
}

/** A message that has come so far; if it has no time yet at which it expires, it was accepted just now. */
function furtherOf(sent: SentRecord, state: DeliveryState, now: number): SentRecord {
  const isGone = state === DeliveryState.BURNED || state === DeliveryState.EXPIRED;
  const expiresAt = sent.expiresAt ?? (sent.expiresIn === null ? null : now + sent.expiresIn);
  return { ...sent, state, text: isGone ? null : sent.text, expiresAt };
}

/** What waits to be accepted, and what was sent. Times are milliseconds of the device's persistent clock. */
export class Outbox {
  private readonly queue = new Queue();
  private readonly flying = new Map<string, OutboxRecord>();
  private readonly unanswered = new Unanswered();

  /** @param slot knows to whom nothing of this may be sent now */
  constructor(
    private readonly vault: Vault,
    private readonly slot: Slot,
  ) {
    const found = [...vault.all(records.OUTBOX)].map(([, entry]) => entry);
    const resent = found.filter((entry) => entry.again).sort((one, other) => this.position(one) - this.position(other));
    for (const entry of [...resent, ...found.filter((one) => !one.again)]) {
      this.queue.put(entry);
    }
    for (const [, { messageId, peer }] of vault.all(records.UNANSWERED)) {
      this.unanswered.put(peer, messageId);
    }
  }

  // --- what waits ---------------------------------------------------------------

  /** How many messages wait; for one user, if one is named. */
  texts(peer?: string): number {
    return peer === undefined ? this.queue.texts.total : this.queue.texts.of(peer);
  }

  /** How many receipts wait; for one user, if one is named. */
  batches(peer?: string): number {
    return peer === undefined ? this.queue.receipts.total : this.queue.receipts.of(peer);
  }

  /** Whether a message waits for this user that was not sent before. */
  isFor(peer: string): boolean {
    return this.queue.fresh.of(peer) > 0;
  }

  /** Whether anything waits for this user, or is in flight to them. */
  isWaitingFor(peer: string): boolean {
    return this.queue.of(peer).length > 0 || this.flying.has(peer) || this.slot.is.isBusy(peer);
  }

  /** Whether something is in flight to this user, or encrypted and waits: what is encrypted later must leave later. */
  isAhead(peer: string): boolean {
    return this.flying.has(peer) || this.queue.hasSealed(peer);
  }

  /** What waits to be sent to this user once more, and receipts, by id. */
  toResend(peer: string): string[] {
    const hidden = this.queue.of(peer).filter((one) => one.again || one.text === null);
    return hidden.map((one) => one.messageId);
  }

  /** Whether an entry is still to be accepted. */
  waits(messageId: string): boolean {
    return this.queue.get(messageId) !== null;
  }

  /** Whether an entry waits and is not encrypted yet. */
  isOpen(messageId: string): boolean {
    const entry = this.queue.get(messageId);
    return entry !== null && entry.sealed.length === 0;
  }

  /** The first entry for each user to whom nothing is in flight, receipts behind messages. */
  ready(): OutboxRecord[] {
    const isReceipt = (entry: OutboxRecord): boolean => entry.text === null && !entry.again;
    const found = this.queue.firsts(this.flying).filter(({ peer }) => !this.slot.is.isBusy(peer));
    return [...found.filter((entry) => !isReceipt(entry)), ...found.filter(isReceipt)];
  }

  /** Add an entry, or store it as it is now. */
  put(tx: Transaction, entry: OutboxRecord, given: { readonly first?: boolean } = {}): void {
    tx.put(records.OUTBOX, entry.messageId, entry);
    tx.onCommit(() => this.queue.put(entry, given));
  }

  /** It was sent and not answered yet. */
  inFlight(entry: OutboxRecord): void {
    this.flying.set(entry.peer, entry);
  }

  /** It was answered, but not accepted; or there was no answer for too long. */
  refused(entry: OutboxRecord): void {
    if (this.flying.get(entry.peer) === entry) {
      this.flying.delete(entry.peer);
    }
  }

  /** What was in flight will not be answered. */
  disconnected(): void {
    this.flying.clear();
  }

  /** What waits for this user was encrypted for a session that is gone: it is encrypted again. */
  unseal(tx: Transaction, peer: string): void {
    for (const entry of this.queue.of(peer)) {
      if (entry.sealed.length > 0) {
        this.put(tx, { ...entry, sealed: NO_BYTES });
      }
    }
  }

  /** Where a message stands in the order in which they were written. */
  private position(entry: OutboxRecord): number {
    return this.vault.position(records.SENT, entry.messageId);
  }

  /** An entry has left; or, if `isOver`, is not to be sent any more. */
  remove(tx: Transaction, messageId: string, peer: string, given: { readonly isOver?: boolean } = {}): void {
    const flying = this.flying.get(peer);
    const waiting = this.queue.get(messageId);
    if (waiting !== null && waiting.peer !== peer) {
      return; // the relay names somebody else's
    }
    const isFlying = flying !== undefined && flying.messageId === messageId;
    // It may be to be sent again meanwhile, encrypted again.
    const isOther = waiting !== null && isFlying && !isEqual(waiting.sealed, flying.sealed);
    if (waiting !== null && (given.isOver === true || !isOther)) {
      tx.delete(records.OUTBOX, messageId);
      tx.onCommit(() => this.queue.remove(messageId));
    }
    if (isFlying) {
      tx.onCommit(() => this.flying.delete(peer));
    }
  }

  /** Nothing is sent to this user any more, nor waited for. */
  drop(tx: Transaction, peer: string): void {
    for (const entry of this.queue.of(peer)) {
      const sent = this.sent(entry.messageId);
      if (sent !== null && sent.state === DeliveryState.QUEUED) {
        this.putSent(tx, { ...sent, state: DeliveryState.FAILED });
      }
      this.remove(tx, entry.messageId, peer, { isOver: true });
    }
    for (const messageId of this.unanswered.of(peer)) {
      tx.delete(records.UNANSWERED, messageId);
    }
    tx.onCommit(() => this.unanswered.drop(peer));
  }

  // --- what was sent ------------------------------------------------------------

  /** A message of one's own; null if there is none, or it was for somebody else than `peer`. */
  sent(messageId: string, peer?: string): SentRecord | null {
    const found = this.vault.find(records.SENT, messageId);
    return found !== null && (peer === undefined || peer === found.peer) ? found : null;
  }

  /** A message has come further; false if that is no news. */
  advance(tx: Transaction, sent: SentRecord, state: DeliveryState, now: number): boolean {
    const entry = this.queue.get(sent.messageId);
    this.remove(tx, sent.messageId, sent.peer, { isOver: state !== DeliveryState.ACCEPTED });
    if (rank(state) <= rank(sent.state)) {
      // It was sent again; or a further device has it, and the first one is still to answer.
      if (state !== DeliveryState.ACCEPTED) {
        this.stopWaiting(tx, sent);
      } else if (entry !== null || this.unanswered.has(sent.peer, sent.messageId)) {
        this.wait(tx, sent);
      }
      return false;
    }
    const after = furtherOf(sent, state, now);
    this.putSent(tx, { ...after, key: entry === null ? sent.key : entry.key });
    if (after.text === null) this.slot.is.outgoing?.forget(tx, sent.messageId); // further devices get it no more
    if (state === DeliveryState.ACCEPTED) {
      this.wait(tx, sent);
    } else {
      this.stopWaiting(tx, sent);
    }
    return true;
  }

  /**
   * A message to several devices has come further on one of them; false if that is no news. Each copy is waited for and
   * sent again by itself, so nothing else follows from it.
   */
  advanceCopy(tx: Transaction, sent: SentRecord, state: DeliveryState, now: number): boolean {
    if (rank(state) <= rank(sent.state)) {
      return false;
    }
    const after = furtherOf(sent, state, now);
    this.putSent(tx, after);
    if (after.text === null) {
      // The first device may still be to get it, as a message to one.
      this.remove(tx, sent.messageId, sent.peer, { isOver: true });
      this.stopWaiting(tx, sent);
    }
    return true;
  }

  /** The relay has it, and its recipient is to answer. */
  private wait(tx: Transaction, sent: SentRecord): void {
    tx.put(records.UNANSWERED, sent.messageId, { messageId: sent.messageId, peer: sent.peer });
    tx.onCommit(() => this.unanswered.put(sent.peer, sent.messageId));
  }

  /** What has still a text is due when that expires. */
  private putSent(tx: Transaction, sent: SentRecord): void {
    const due = sent.text === null ? null : sent.expiresAt;
    tx.put(records.SENT, sent.messageId, sent, due === null ? {} : { due });
  }

  /** Erase a message of one's own that failed, or that waits and cannot have left; false if it is neither. */
  erase(tx: Transaction, sent: SentRecord): boolean {
    const { outgoing } = this.slot.is;
    const isOpen = this.isOpen(sent.messageId) && outgoing?.mayBeOut(sent.messageId) !== true;
    const isWaiting = sent.state === DeliveryState.QUEUED && isOpen;
    if (!isWaiting && sent.state !== DeliveryState.FAILED) {
      return false;
    }
    this.remove(tx, sent.messageId, sent.peer, { isOver: true });
    this.stopWaiting(tx, sent);
    outgoing?.forget(tx, sent.messageId);
    // It was never read, so nobody has burned it, and its time was not over.
    this.putSent(tx, { ...sent, state: DeliveryState.FAILED, text: null, burn: false, expiresIn: null, expiresAt: null });
    return true;
  }

  /** It was answered, or nothing will come. */
  private stopWaiting(tx: Transaction, sent: SentRecord): void {
    tx.delete(records.UNANSWERED, sent.messageId);
    tx.onCommit(() => this.unanswered.answered(sent.peer, sent.messageId));
  }

  /** Somebody has answered messages: earlier ones that are not among them may be lost. `now` is monotonic. */
  suspect(peer: string, answered: readonly string[], now: number): void {
    const overtaken = this.unanswered.overtaken(peer, answered, (messageId) => this.queue.get(messageId) !== null);
    this.unanswered.suspect(peer, overtaken, now);
  }

  /** Messages that have stayed unanswered long after later ones were answered, by user; each is named once. */
  presumedLost(now: number): Map<string, string[]> {
    return this.unanswered.presumedLost(now);
  }

  /**
   * Put messages back into the outbox, in the order in which they were written.
   *
   * Unknown ones, and what is gone, has expired by `now`, was written for another key than `key`, or was sent again too
   * often, are passed over.
   *
   * @param peer who has asked for them, or lost them
   * @param key of the peer as the user knows it, null if it was not seen
   * @returns how many will be sent again
   */
  resend(tx: Transaction, peer: string, messageIds: readonly string[], now: number, key: Uint8Array | null): number {
    const known = [...new Set(messageIds)].flatMap((messageId) => this.sent(messageId, peer) ?? []);
    const places = new Map(known.map((sent) => [sent, this.vault.position(records.SENT, sent.messageId)]));
    const newestFirst = known.sort((one, other) => (places.get(other) ?? 0) - (places.get(one) ?? 0));
    let count = 0;
    for (const sent of newestFirst) {
      const left = sent.expiresAt === null ? null : sent.expiresAt - now;
      const isGone = sent.text === null || sent.state === DeliveryState.FAILED || sent.state === DeliveryState.EXPIRED;
      const isOther = sent.key.length > 0 && !isEqual(sent.key, key ?? NO_BYTES);
      if (isGone || isOther || sent.resends >= MAX_RESENDS || (left !== null && left <= 0)) {
        this.stopWaiting(tx, sent);
        continue;
      }
      count += 1;
      const { messageId, text, burn, madeAt } = sent;
      const expiresIn = left ?? sent.expiresIn;
      const entry = OutboxRecord.make({ messageId, peer, text, burn, expiresIn, madeAt, again: true });
      this.put(tx, entry, { first: true });
      this.putSent(tx, { ...sent, resends: sent.resends + 1 });
    }
    return count;
  }

  /** Erase the messages whose time has come. */
  forgetExpired(tx: Transaction, now: number): void {
    for (const sent of this.vault.overdue(records.SENT, now)) {
      this.putSent(tx, { ...sent, text: null });
      this.remove(tx, sent.messageId, sent.peer, { isOver: true });
    }
  }
}
