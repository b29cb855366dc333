/** What is done now and then: what has expired is erased, and keys that are too old. */
import type { ExpiryClock } from "./expiry.ts";
import type { Moment } from "./moment.ts";
import type { Receiving } from "./receiving.ts";
import * as records from "./records.ts";
import type { Event } from "./status.ts";
import type { Stores } from "./stores.ts";
import type { Transaction } from "./vault.ts";

export const INTERVAL_MS = 5_000;

/** How often keys that are too old to be kept are looked for, with each peer. */
export const OLD_KEYS_MS = 3_600_000;

/** With how many peers that is done in one step, at most: so that it takes no longer with many contacts. */
export const PEERS_AT_ONCE = 50;

/** How long one step takes, if there is much to look through. */
export const OLD_KEYS_STEP_MS = 30;

/** Erases what has expired. */
export class Housekeeping {
  readonly #stores: Stores;
  readonly #receiving: Receiving;
  readonly #clock: ExpiryClock;
  readonly #monotonic: () => number;
  #dueAt = 0;
  #oldKeysAt = 0;
  /** With whom old keys are still to be looked for. */
  #peers: readonly string[] = [];

  /**
   * @param receiving puts messages back into the outbox that were lost, and opens requests
   * @param clock is kept with the rest
   * @param monotonic milliseconds that never go back
   */
  constructor(stores: Stores, receiving: Receiving, clock: ExpiryClock, monotonic: () => number) {
    this.#stores = stores;
    this.#receiving = receiving;
    this.#clock = clock;
    this.#monotonic = monotonic;
  }

  /** Do it at the next tick. */
  hasten(): void {
    this.#dueAt = 0;
  }

  /** Milliseconds until it is time. */
  waits(now: number): number[] {
    return [Math.max(0, this.#dueAt - now)];
  }

  /** Do it if it is time. */
  tick(now: Moment): Event[] {
    if (now.monotonic < this.#dueAt) {
      return [];
    }
    this.#dueAt = now.monotonic + INTERVAL_MS;
    const { inbox, outbox, receipts, recovery, requests, vault } = this.#stores;
    const events: Event[] = [];
    vault.transaction((tx) => {
      this.#clock.keep(tx);
      inbox.forgetExpired(tx, now.persistent);
      outbox.forgetExpired(tx, now.persistent);
      recovery.forget(tx, now.persistent);
      requests.forget(tx, now.persistent);
      receipts.forget(tx, now.persistent);
      this.#stores.slot.is.forgetExpired(tx, now.persistent);
      const lost = [...outbox.presumedLost(now.monotonic), ...this.#stores.slot.is.presumedLost(now.monotonic)];
      for (const [peer, messageIds] of lost) {
        events.push(...this.#receiving.resend(tx, peer, messageIds, now));
      }
      this.#forgetOldKeys(tx, now.persistent);
    });
    for (const sender of requests.senders()) {
      if (!requests.holds(sender)) {
        events.push(...this.#receiving.openRequests(sender, now));
      }
    }
    return events;
  }

  /** Take the next step of a round through all peers, or begin one if it is time. */
  #forgetOldKeys(tx: Transaction, now: number): void {
    const { book, conversations, vault } = this.#stores;
    const isTime = this.#peers.length === 0 && now >= this.#oldKeysAt;
    const peers = isTime ? this.#inTurn() : this.#peers;
    const dueAt = isTime ? now + OLD_KEYS_MS : this.#oldKeysAt;
    const end = this.#monotonic() + OLD_KEYS_STEP_MS;
    let count = 0;
    for (const peer of peers.slice(0, PEERS_AT_ONCE)) {
      conversations.forgetOld(tx, peer, now);
      count += 1;
      if (this.#monotonic() >= end) {
        break;
      }
    }
    const last = peers[count - 1];
    if (last !== undefined && count < book.size) {
      tx.put(records.OLD_KEYS, "", { value: vault.position(records.CONTACT, last) });
    }
    tx.onCommit(() => {
      this.#peers = peers.slice(count);
      this.#oldKeysAt = dueAt;
    });
  }

  /** All peers, from where the last round stopped: pages that are open for seconds come to all of them too. */
  #inTurn(): readonly string[] {
    const { book, vault } = this.#stores;
    const peers = book.userIds();
    const last = vault.find(records.OLD_KEYS, "")?.value ?? 0;
    const start = peers.findIndex((peer) => vault.position(records.CONTACT, peer) > last);
    return start <= 0 ? peers : [...peers.slice(start), ...peers.slice(0, start)];
  }
}
