/**
 * What leaves a client, and when: messages and receipts, below the relay's limits.
 *
 * Messages to one peer leave one at a time, each after the one before was accepted: so they arrive in order even when
 * the relay refuses one for a while.
 */
import type { Random } from "../bytes.ts";
import type { OwnIdentity } from "../crypto/keys.ts";
import { encodeBase64 } from "../wire/base64.ts";
import { ErrorCode } from "../wire/codes.ts";
import type { ErrorFrame, Message } from "../wire/frames.ts";
import type { RateClass } from "../wire/limits.ts";
import { Batching } from "./batching.ts";
import { conversationId } from "./conversations.ts";
import type { PeerState } from "./conversations.ts";
import { Flights } from "./flights.ts";
import { KeyExchanges } from "./key_exchanges.ts";
import type { Link } from "./link.ts";
import type { Moment } from "./moment.ts";
import * as notices from "./notices.ts";
import { PauseNotices } from "./notices.ts";
import { asked, Pacing, reasonOf, SOON_MS } from "./pacing.ts";
import type { OutboxRecord } from "./records.ts";
import type { Event, WarningEvent } from "./status.ts";
import type { Stores } from "./stores.ts";
import { unknown } from "./unknown.ts";
import type { Transaction } from "./vault.ts";
import { Visibility } from "./visibility.ts";

/** Frames of a minute that what may be left out leaves to the rest. */
const KEEP_OF_CLASS = 5;

/** Why the relay does not take something: as an ERROR says it, or a MANY_RESULT of one recipient. */
export interface Refusal {
  readonly code: number;
  readonly reason: string;
  readonly retryAfter?: number | undefined;
}

/** What follows from an error of the relay: events, and a message that will never be delivered, if there is one. */
export interface SendRefused {
  readonly events: readonly Event[];
  readonly failed: OutboxRecord | null;
}

/** Decides what is sent now. */
export class Sending {
  readonly visibility: Visibility;
  readonly exchanges: KeyExchanges;
  private readonly ownId: string;
  readonly pacing = new Pacing();
  readonly pauses = new PauseNotices();
  private readonly batching: Batching;
  private readonly flights = new Flights();

  constructor(
    private readonly stores: Stores,
    identity: OwnIdentity,
    random: Random,
  ) {
    this.ownId = encodeBase64(identity.peer.userId);
    this.visibility = new Visibility(stores.outbox);
    this.exchanges = new KeyExchanges(stores, identity, this.pacing, this.pauses, random);
    this.batching = new Batching(stores, this.pacing, this.visibility, random);
  }

  /** What was under way will not be answered. */
  disconnected(): void {
    this.flights.disconnected();
    this.exchanges.disconnected();
    this.stores.outbox.disconnected();
    this.stores.slot.is.disconnected();
    this.pacing.disconnected();
  }

  /** Another relay was chosen: it has counted nothing yet, and may know whom this one did not. */
  moved(): void {
    this.pacing.reset();
  }

  /** Gather receipts no longer: the program is about to leave. */
  flush(): void {
    this.batching.flush();
  }

  /** Try this user at once: something about them has changed. */
  resetBackoff(peer: string): void {
    this.pacing.resetPeer(peer);
    this.exchanges.reset(peer);
    this.batching.reset(peer);
  }

  /** This user is written to no more: what was begun for it is of no use. */
  drop(peer: string): void {
    this.exchanges.drop(peer);
    this.batching.drop(peer);
  }

  /** Write nothing to this user: the relay is to forget first that one ever did. */
  hold(peer: string): void {
    this.pacing.hold(peer);
  }

  /** Write to this user again. */
  release(peer: string): void {
    this.pacing.release(peer);
  }

  /** The relay has taken a message for this user. */
  accepted(peer: string): void {
    this.pauses.accepted(peer);
  }

  /** Milliseconds until each thing that waits for a time. */
  waits(now: number): number[] {
    const { batching, exchanges, flights, pacing, stores } = this;
    return [pacing, batching, flights, exchanges, stores.slot.is].flatMap((part) => part.waits(now));
  }

  /** Count a frame of a class, unless the relay would refuse it now. */
  maySend(link: Link, rate: RateClass, now: number): boolean {
    return this.pacing.acquire(rate, link.limit(rate), now);
  }

  /** Whether more than a few frames of a class may be sent now: for what may be left out. */
  hasRoom(link: Link, rate: RateClass, now: number): boolean {
    return this.pacing.free(rate, link.limit(rate), now) > KEEP_OF_CLASS;
  }

  /** Send whatever may be sent now; returns the events. */
  sendPending(link: Link, now: Moment): Event[] {
    const { book, outbox, recovery } = this.stores;
    const events: Event[] = [];
    for (const entry of this.flights.overdue(now.monotonic)) {
      outbox.refused(entry);
    }
    for (const peer of this.batching.ask(now)) {
      this.exchanges.want(link, peer, now, { recovers: true });
    }
    for (const peer of this.exchanges.toRenew()) {
      // It shows that we are there, and costs: so not because a stranger says so, nor while one looks absent.
      const mayKnow = book.mayNotify(peer) && !this.visibility.isHiddenFrom(peer);
      if (mayKnow && recovery.needsSession(peer, now.persistent, now.monotonic)) {
        this.exchanges.want(link, peer, now, { recovers: true });
      }
    }
    this.batching.fill(link, now);
    if (this.pacing.maySend("MESSAGE", now.monotonic)) {
      for (const entry of outbox.ready()) {
        events.push(...this.sendEntry(link, entry, now));
      }
    }
    events.push(...this.stores.slot.is.sendPending(link, now));
    const wait = this.pacing.until("MESSAGE") - now.monotonic;
    events.push(...this.pauses.paused(outbox.texts() + this.stores.slot.is.waiting(), wait, now.monotonic));
    this.introduce(link, now);
    return events;
  }

  /** Let the relay see key exchanges to those whom it does not yet know as our contacts. */
  private introduce(link: Link, now: Moment): void {
    for (const peer of this.stores.book.toIntroduce()) {
      if (!this.pacing.maySend("KEY_EXCHANGE", now.monotonic)) {
        break;
      }
      if (!this.exchanges.hasChanged(peer) && this.visibility.mayIntroduce(peer)) {
        this.exchanges.want(link, peer, now);
      }
    }
  }

  // --- one entry ----------------------------------------------------------------

  private sendEntry(link: Link, entry: OutboxRecord, now: Moment): WarningEvent[] {
    const { book, conversations, outbox, vault } = this.stores;
    if (this.visibility.isHidden(entry) || !this.pacing.mayReach(entry.peer, now.monotonic)) {
      return [];
    }
    const contact = book.contact(entry.peer);
    if (contact.trust === "changed") {
      return this.exchanges.warnIfChanged(contact);
    }
    const state = entry.sealed.length > 0 ? null : conversations.load(entry.peer);
    if (state !== null && state.sending === null) {
      this.exchanges.want(link, entry.peer, now);
      return [];
    }
    if (this.exchanges.isToBeRenewed(entry.peer)) {
      return [];
    }
    const expiresIn = this.lifetime(entry, now.persistent);
    if (expiresIn !== null && expiresIn <= 0) {
      vault.transaction((tx) => outbox.remove(tx, entry.messageId, entry.peer, { isOver: true }));
      return [];
    }
    if (!this.maySend(link, "MESSAGE", now.monotonic)) {
      return [];
    }
    const sealed = state === null ? entry : vault.transaction((tx) => this.seal(tx, state, entry));
    outbox.inFlight(sealed);
    const payload = this.payload(sealed, expiresIn);
    this.flights.begin(link.sendSigned({ type: "MESSAGE", payload }, now.monotonic), sealed, now.monotonic);
    this.exchanges.learn(link, entry.peer, now);
    return [];
  }

  private seal(tx: Transaction, state: PeerState, entry: OutboxRecord): OutboxRecord {
    const statuses = this.stores.receipts.statuses(entry.peer, entry.messageId);
    const sealed = this.stores.conversations.seal(tx, state, entry, statuses);
    this.stores.outbox.put(tx, sealed);
    return sealed;
  }

  /** Encrypt a message in the transaction that stores it, if `sendPending` would send it at once. */
  sealNow(tx: Transaction, link: Link, entry: OutboxRecord, now: Moment): void {
    const { peer } = entry;
    if (
      this.stores.outbox.isWaitingFor(peer) ||
      this.batching.hasUrgent(peer, now) ||
      this.exchanges.isToBeRenewed(peer) ||
      !this.pacing.mayReach(peer, now.monotonic) ||
      !this.pacing.maySend("MESSAGE", now.monotonic) ||
      this.pacing.free("MESSAGE", link.limit("MESSAGE"), now.monotonic) <= 0
    ) {
      return;
    }
    const state = this.stores.conversations.load(peer);
    if (state.sending !== null) {
      this.seal(tx, state, entry);
    }
  }

  private payload(entry: OutboxRecord, expiresIn: number | null): Message["payload"] {
    const metadata = {
      ...(entry.burn ? { burnAfterRead: true } : {}),
      ...(expiresIn === null ? {} : { expiresIn }),
    };
    return {
      conversationId: conversationId(this.ownId, entry.peer),
      encrypted: encodeBase64(entry.sealed),
      messageId: entry.messageId,
      recipientId: entry.peer,
      ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    };
  }

  /** `expiresIn`: of a message that is sent again, what is left of it. */
  private lifetime(entry: OutboxRecord, now: number): number | null {
    const sent = entry.again ? this.stores.outbox.sent(entry.messageId) : null;
    return sent === null || sent.expiresAt === null ? entry.expiresIn : sent.expiresAt - now;
  }

  // --- answers ------------------------------------------------------------------

  /** The relay has a message for a user, and says so directly: its request will not be refused. */
  answered(request: string | undefined, messageId: string, peer: string): void {
    if (request !== undefined) {
      this.flights.answered(request, messageId, peer);
      this.stores.slot.is.answered(request, messageId, peer);
    }
  }

  /** An error has come; null if it was for none of these. */
  refused(error: ErrorFrame, now: Moment): SendRefused | null {
    const events = this.exchanges.refused(error, now) ?? this.stores.slot.is.refused(error, now);
    if (events !== null) {
      return { events, failed: null };
    }
    const entry = this.flights.end(error.id ?? "");
    if (entry === null) {
      return null;
    }
    this.stores.outbox.refused(entry);
    if (!this.stores.outbox.waits(entry.messageId)) {
      return { events: [], failed: null }; // the relay has taken it, or its recipient has it
    }
    return this.messageRefused(entry, error, now);
  }

  /** A message of this user was decrypted: whatever the relay says, they exist. */
  exists(peer: string): void {
    this.pacing.exists(peer);
  }

  private messageRefused(entry: OutboxRecord, error: ErrorFrame, now: Moment): SendRefused {
    const refusal = { ...error.payload, reason: reasonOf(error) };
    const events = this.judge(entry.peer, refusal, now, { waitsForUser: entry.text !== null });
    if (events !== null) {
      return { events, failed: null };
    }
    if (entry.text !== null && !entry.again) {
      return { events: [notices.refused(this.stores.book.contact(entry.peer), refusal.message)], failed: entry };
    }
    this.giveUp(entry);
    return { events: [], failed: null };
  }

  /**
   * Wait for what the relay asks, alike for messages to one and to many.
   *
   * @param waitsForUser whether it is to wait for a user whom the relay does not know
   * @returns what the application is to hear; null if it is refused for good
   */
  judge(
    to: string,
    { code, reason, retryAfter }: Refusal,
    now: Moment,
    { waitsForUser }: { readonly waitsForUser: boolean },
  ): Event[] | null {
    const wait = Math.max(asked(retryAfter, SOON_MS), SOON_MS);
    const peer = this.stores.book.contact(to);
    if (code === ErrorCode.RATE_LIMITED && reason === "backlog") {
      this.pacing.exists(to);
      this.pacing.pausePeer(to, now.monotonic + wait);
      return [notices.backlog(peer)];
    }
    if (code === ErrorCode.RATE_LIMITED) {
      return this.pause(to, wait, now.monotonic);
    }
    if (code === ErrorCode.USER_NOT_FOUND && waitsForUser) {
      return this.pacing.unknownPeer(to, now.monotonic) ? [unknown(this.stores, to)] : [];
    }
    if (code === ErrorCode.INTERNAL_ERROR) {
      this.pacing.pause("MESSAGE", now.monotonic + wait);
      return this.pauses.storage(peer, now.monotonic);
    }
    if (code === ErrorCode.INVALID_MESSAGE && reason === "clock") {
      return this.pause(to, SOON_MS, now.monotonic);
    }
    return null;
  }

  private pause(peer: string, wait: number, now: number): Event[] {
    this.pacing.pause("MESSAGE", now + wait);
    const waiting = this.stores.outbox.texts(peer) + this.stores.slot.is.waiting(peer);
    return this.pauses.refused(peer, waiting, wait, now);
  }

  /** Nobody is there to hear a receipt; and a message that was sent again had been accepted once. */
  private giveUp(entry: OutboxRecord): void {
    const { outbox, receipts, vault } = this.stores;
    vault.transaction((tx) => {
      outbox.remove(tx, entry.messageId, entry.peer, { isOver: entry.text !== null });
      if (entry.text === null) {
        receipts.acknowledged(tx, entry.peer, entry.messageId);
      }
    });
  }
}
