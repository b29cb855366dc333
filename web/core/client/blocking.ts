/**
 * Users who are blocked, and contacts who are removed.
 *
 * It takes effect here at once: what a blocked user sends is dropped unread. The relay gets BLOCK, again and again
 * until it has said that it is so, over restarts too. Removing somebody tells it `blocked` and then not: so it forgets
 * that we ever wrote to them, and they are a stranger again. To the relay each device is a user of its own, so it hears of
 * all that a person has.
 */
import { ErrorCode } from "../wire/codes.ts";
import type { BlockDone, ErrorFrame } from "../wire/frames.ts";
import type { Link } from "./link.ts";
import * as notices from "./notices.ts";
import { asked, reasonOf, SOON_MS } from "./pacing.ts";
import * as records from "./records.ts";
import type { Sending } from "./sending.ts";
import type { WarningEvent } from "./status.ts";
import type { Stores } from "./stores.ts";
import type { Transaction } from "./vault.ts";

/** Devices of which the relay is still to forget that we wrote to them: somebody may link and remove without end. */
export const MAX_FORGOTTEN = 100;

/** When a BLOCK that was refused is sent again, if the relay does not say. */
const AGAIN_MS = 60_000;

/** Who is blocked, and which block commands the relay has not confirmed. */
export class Blocking {
  readonly #stores: Stores;
  readonly #sending: Sending;
  /** What the relay has not confirmed, by user: first to last. */
  readonly #open = new Map<string, readonly boolean[]>();
  /** Users by the request that is under way. */
  readonly #asked = new Map<string, string>();
  /** Users whose request was refused, and when it is sent again. */
  readonly #later = new Map<string, number>();

  /** @param sending loses what is under way, and counts frames */
  constructor(stores: Stores, sending: Sending) {
    this.#stores = stores;
    this.#sending = sending;
    for (const [, { userId, steps }] of stores.vault.all(records.BLOCK)) {
      this.#open.set(userId, steps);
    }
  }

  get size(): number {
    return this.#open.size;
  }

  // --- what the user does -------------------------------------------------------

  /** Keep a user away. What waits for them is dropped, and what they sent and nobody has looked at. */
  block(peer: string): void {
    this.#stores.vault.transaction((tx) => this.set(tx, peer, true));
  }

  /** The same, or the contrary, within a transaction. */
  set(tx: Transaction, peer: string, blocked: boolean): void {
    this.#stores.book.setBlocked(tx, peer, blocked);
    for (const device of this.#stores.devices?.devicesOf(peer) ?? [peer]) {
      if (blocked) {
        this.#drop(tx, device);
      }
      this.#want(tx, device, [blocked]);
    }
  }

  /** Keep a user away no longer; they are who they were, and to the relay a stranger. */
  unblock(peer: string): void {
    this.#stores.vault.transaction((tx) => this.set(tx, peer, false));
  }

  /** Another relay was chosen, which knows of nobody who is kept away. */
  moved(tx: Transaction): void {
    for (const peer of this.#stores.book.blocked()) {
      this.#want(tx, peer, [true]);
    }
  }

  /** Forget a user: name, key, sessions, what waits; and what was said, if `history`. Who is blocked stays so. */
  remove(peer: string, given: { readonly history: boolean }): void {
    this.#stores.vault.transaction((tx) => this.forget(tx, peer, given));
  }

  /** The same within a transaction. */
  forget(tx: Transaction, peer: string, { history }: { readonly history: boolean }): void {
    const { book, conversations } = this.#stores;
    const isBlocked = book.isBlocked(peer);
    this.#drop(tx, peer);
    for (const device of this.#stores.devices?.forget(tx, peer) ?? []) {
      this.#drop(tx, device);
      conversations.forget(tx, device);
      this.#want(tx, device, isBlocked ? [false] : [true, false]); // it is a stranger's from now on
    }
    book.forget(tx, peer);
    conversations.forget(tx, peer);
    tx.delete(records.RECOVERY, peer);
    tx.delete(records.DRAFT, peer);
    tx.delete(records.LASTING, peer);
    if (history) {
      this.#stores.history.erase(tx, peer);
    }
    if (!isBlocked) {
      this.#want(tx, peer, [true, false]);
    }
  }

  /** A device is nobody's any more: the relay forgets that we ever wrote to it, or it could go on watching us. */
  forgetDevice(tx: Transaction, device: string): void {
    if ([...this.#open.values()].filter(({ length }) => length > 1).length < MAX_FORGOTTEN) {
      this.#want(tx, device, [true, false]);
    }
  }

  #drop(tx: Transaction, peer: string): void {
    const { acks, inbox, outbox, receipts, recovery, requests } = this.#stores;
    outbox.drop(tx, peer);
    this.#stores.slot.is.drop(tx, peer);
    receipts.drop(tx, peer);
    recovery.drop(tx, peer);
    requests.dropAll(tx, peer);
    inbox.drop(tx, peer);
    acks.drop(tx, peer);
    tx.onCommit(() => this.#sending.drop(peer));
  }

  /** Tell the relay. */
  #want(tx: Transaction, peer: string, steps: readonly boolean[]): void {
    if (steps.length > 0) {
      tx.put(records.BLOCK, peer, { userId: peer, steps });
    } else {
      tx.delete(records.BLOCK, peer);
    }
    tx.onCommit(() => this.#remember(peer, steps));
  }

  #remember(peer: string, steps: readonly boolean[]): void {
    for (const [request, user] of this.#asked) {
      if (user === peer) {
        this.#asked.delete(request);
      }
    }
    this.#later.delete(peer);
    if (steps.length > 0) {
      this.#open.set(peer, steps);
      this.#sending.hold(peer);
    } else {
      this.#open.delete(peer);
      this.#sending.release(peer);
    }
  }

  // --- the relay ----------------------------------------------------------------

  /** A new connection: nothing was said on it yet. */
  connected(): void {
    this.#asked.clear();
    this.#later.clear();
    for (const peer of this.#open.keys()) {
      this.#sending.hold(peer);
    }
  }

  /** Send what the relay has not confirmed and was not sent on this connection, one step after the other. */
  tick(link: Link, now: number): void {
    const underWay = new Set(this.#asked.values());
    // Whom the user blocks goes first.
    for (const [peer, steps] of [...this.#open].sort(([, one], [, other]) => one.length - other.length)) {
      if (underWay.has(peer) || now < (this.#later.get(peer) ?? now)) {
        continue;
      }
      if (!this.#sending.maySend(link, "BLOCK", now)) {
        return;
      }
      const request = link.send({ type: "BLOCK", payload: { userId: peer, blocked: steps[0] === true } }, now);
      this.#asked.set(request, peer);
    }
  }

  /** Milliseconds until each thing that waits for a time. */
  waits(now: number): number[] {
    return [...this.#later.values()].filter((until) => until > now).map((until) => until - now);
  }

  /** The relay has answered; what is no answer to what was asked says nothing. */
  done(frame: BlockDone, now: number): void {
    const request = frame.id ?? "";
    const peer = this.#asked.get(request);
    this.#asked.delete(request);
    const steps = peer === undefined ? [] : (this.#open.get(peer) ?? []);
    if (peer === undefined || steps.length === 0) {
      return;
    }
    if (frame.payload.userId !== peer || frame.payload.blocked !== steps[0]) {
      this.#putOff(peer, now + AGAIN_MS);
      return;
    }
    this.#stores.vault.transaction((tx) => this.#want(tx, peer, steps.slice(1)));
  }

  /** It did not help: ask later, and let nothing wait for it. */
  #putOff(peer: string, until: number): void {
    this.#later.set(peer, until);
    this.#sending.release(peer);
  }

  /** An error has come; null if it was for none of these. */
  refused(error: ErrorFrame, now: number): WarningEvent[] | null {
    const request = error.id ?? "";
    const peer = this.#asked.get(request);
    this.#asked.delete(request);
    if (peer === undefined) {
      return null;
    }
    this.#putOff(peer, now + Math.max(asked(error.payload.retryAfter, AGAIN_MS), SOON_MS));
    const isFull = error.payload.code === ErrorCode.RATE_LIMITED && reasonOf(error) === "backlog";
    return isFull ? [notices.blocksFull()] : [];
  }
}
