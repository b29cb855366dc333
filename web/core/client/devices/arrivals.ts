/** What comes from devices, or may be part of linking one. */
import { CryptoError } from "../../crypto/errors.ts";
import { fromBase64 } from "../../wire/base64.ts";
import type { AllowanceNotice, ManyResult, PreKeyBundles, RoutedMessage } from "../../wire/frames.ts";
import { ALLOWANCE_MS, ALLOWED_MESSAGES } from "../../wire/limits.ts";
import type { Arrived } from "../inbox.ts";
import type { Allowances } from "../many/allowances.ts";
import type { Moment } from "../moment.ts";
import { HISTORY_OUT } from "../records.ts";
import type { Event } from "../status.ts";
import type { Stores } from "../stores.ts";
import type { Transaction } from "../vault.ts";
import type { DeviceDesk } from "./desk.ts";
import * as notices from "./device_notices.ts";
import type { LinkingDesk } from "./linking_desk.ts";

/** Receives what waited of strangers. */
export interface Waiting {
  /** Of somebody who is none any more. */
  openRequests(sender: string, now: Moment): Event[];
  /** Of whoever may be in a group, as far as that is known now. */
  openAboutGroups(now: Moment): Event[];
}

/** What the rest of the client passes on. */
export class DeviceArrivals {
  readonly #stores: Stores;
  /** Removed devices of which was said that they still write. */
  readonly #toldRemoved = new Set<string>();
  readonly #desk: DeviceDesk;
  readonly #linking: LinkingDesk;
  readonly #waiting: Waiting;
  readonly #allowances: Allowances;
  #offered: Event[] = [];

  constructor(
    stores: Stores,
    desk: DeviceDesk,
    linking: LinkingDesk,
    waiting: Waiting,
    allowances: Allowances,
  ) {
    this.#allowances = allowances;
    this.#stores = stores;
    this.#desk = desk;
    this.#linking = linking;
    this.#waiting = waiting;
  }

  /**
   * What is said of a message of a device that somebody has removed, which did not know it yet; null if it is none. It is
   * dropped: nothing can be read, as the sessions are erased.
   */
  ofRemoved(device: string): Event[] | null {
    const { book, devices } = this.#stores;
    const person = devices?.whoRemoved(device) ?? null;
    if (person === null) return null;
    const isNews = !this.#toldRemoved.has(device) && person !== devices?.person;
    this.#toldRemoved.add(device);
    return isNews ? [notices.ofRemoved(book.contact(person))] : [];
  }

  /** Whether a stranger's message is an offer to link this device, which is answered then; `offered` says the rest. */
  isOffer(frame: RoutedMessage, now: Moment): boolean {
    const { messageId, senderId } = frame.payload;
    const { inbox, vault } = this.#stores;
    if (!this.#linking.isListening || inbox.hasSeen(senderId, messageId)) return false;
    try {
      const opened = vault.transaction((tx) => {
        const found = inbox.receive(tx, frame, now.persistent, { wall: now.wall });
        this.#linking.checkOffer(found);
        return found;
      });
      this.#offered = this.#linking.received(senderId, opened);
      return true;
    } catch (error) {
      if (error instanceof CryptoError) return false;
      throw error;
    }
  }

  /** What the user is to hear of the last offer. */
  offered(): Event[] {
    return this.#offered;
  }

  /** A message has come, in the transaction that keeps what it says: whether it reports something of devices. */
  reported(tx: Transaction, sender: string, opened: Arrived): void {
    this.#desk.late.noted(tx, sender, opened);
  }

  /** What a message says of devices, or to this one; who is known as a device now may have written before. */
  heard(sender: string, opened: Arrived, now: Moment): Event[] {
    const events = [...this.#desk.noted(sender, opened, now), ...this.#linking.received(sender, opened)];
    const { content } = opened;
    const hasList = content.marks?.deviceList !== undefined;
    if (hasList || content.kind === "between") events.push(...this.#openAll(now));
    if (hasList || (content.kind === "between" && content.said.kind === "sync-group")) {
      events.push(...this.#waiting.openAboutGroups(now));
    }
    return events;
  }

  /**
   * The relay says how many messages an own device, which is to get something, allows beside the rate.
   *
   * No relay is taken at its word.
   */
  allowed({ payload: { expiresIn, messages, recipientId } }: AllowanceNotice, { monotonic }: Moment): void {
    const { devices, vault } = this.#stores;
    if (recipientId === undefined || devices?.ownOthers().includes(recipientId) !== true) return;
    if (vault.find(HISTORY_OUT, recipientId) === null) return;
    const until = monotonic + Math.min(expiresIn, ALLOWANCE_MS);
    this.#allowances.allow(recipientId, Math.min(messages, ALLOWED_MESSAGES), until, monotonic);
  }

  /** A device list came with prekeys, or none. */
  listCame(encoded: string | undefined, now: Moment): Event[] {
    if (encoded === undefined) return [];
    const events = [...this.#desk.listCame(fromBase64(encoded), now), ...this.#openAll(now)];
    return [...events, ...this.#waiting.openAboutGroups(now)];
  }

  /** Device lists came with the prekeys of many. */
  bundlesCame(frame: ManyResult | PreKeyBundles, now: Moment): Event[] {
    if (frame.type === "MANY_RESULT") return [];
    return frame.payload.bundles.flatMap(({ deviceList }) => this.listCame(deviceList, now));
  }

  /** What waited of strangers who are known as somebody's devices now is received. */
  #openAll(now: Moment): Event[] {
    const { requests } = this.#stores;
    return requests.senders().flatMap((sender) => (requests.holds(sender) ? [] : this.#waiting.openRequests(sender, now)));
  }
}
