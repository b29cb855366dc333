/**
 * Message requests: what strangers write waits undecrypted, and nobody is notified, until the user accepts it.
 *
 * Requests are acknowledged to the relay, so that strangers do not fill the mailbox; so each is stored before that.
 * What is kept is bounded. What was not kept is sent again by its sender's program, which sees that it was passed over
 * once a later message was answered; but a request that was looked at and then gave way is lost for good.
 */
import { fromUtf8, NO_BYTES, utf8 } from "../bytes.ts";
import { CryptoError } from "../crypto/errors.ts";
import { decodeRelay, encode } from "../wire/codec.ts";
import type { RoutedMessage } from "../wire/frames.ts";
import type { AddressBook } from "./address_book.ts";
import type { Conversations } from "./conversations.ts";
import { optionsOf } from "./inbox.ts";
import type { Arrived, Inbox } from "./inbox.ts";
import * as records from "./records.ts";
import type { ReceivedRecord, RequestRecord } from "./records.ts";
import type { Contact } from "./status.ts";
import type { Transaction, Vault } from "./vault.ts";

export const KEEP_MS = 30 * 86_400_000;

/** Of one stranger; further messages are dropped, for the first ones begin the session. */
export const MAX_MESSAGES = 20;
export const MAX_BYTES = 256 * 1024;

/** Of all; beyond, the oldest message of whoever has the most gives way. */
export const MAX_STRANGERS = 200;
export const MAX_TOTAL_BYTES = 8 * 2 ** 20;

/** A stranger has written: `waiting` messages wait, the oldest since `since` (milliseconds since 1970). */
export interface MessageRequest {
  readonly contact: Contact;
  readonly waiting: number;
  readonly since: number;
}

/** The messages of strangers. Times are milliseconds of persistent time unless stated. */
export class Requests {
  readonly #vault: Vault;
  readonly #book: AddressBook;
  readonly #conversations: Conversations;
  readonly #inbox: Inbox;
  readonly #asks: boolean;
  /** By sender and message id, without the messages themselves. */
  readonly #kept = new Map<string, Map<string, RequestRecord>>();

  /** @param asks whether strangers wait at all; else they are let in as they come */
  constructor(
    vault: Vault,
    book: AddressBook,
    conversations: Conversations,
    inbox: Inbox,
    { asks }: { readonly asks: boolean },
  ) {
    this.#vault = vault;
    this.#asks = asks;
    this.#book = book;
    this.#conversations = conversations;
    this.#inbox = inbox;
    for (const [, record] of vault.all(records.REQUEST)) {
      this.#remember(record);
    }
  }

  /** Whether what somebody sends is to wait. */
  holds(sender: string): boolean {
    return this.#asks && !this.#book.isKnown(sender);
  }

  /**
   * Keep a stranger's message, if it is one and there is room; whether it is news. Only its signature is checked.
   *
   * @param now when it came, and `wall` the same in milliseconds since 1970, to be shown
   */
  receive(frame: RoutedMessage, now: number, wall: number): boolean {
    const name = records.key(frame.payload.senderId, frame.payload.messageId);
    if (this.#vault.has(records.REQUEST, name) || this.#vault.has(records.SEEN, name)) {
      return false;
    }
    try {
      this.#conversations.check(frame);
    } catch (error) {
      if (error instanceof CryptoError) {
        return false;
      }
      throw error;
    }
    return this.#put(frame, now, wall);
  }

  /** Who waits, the longest first. */
  listed(): MessageRequest[] {
    return [...this.#kept]
      .filter(([sender, kept]) => kept.size > 0 && this.holds(sender))
      .map(([sender, kept]) => ({
        contact: this.#book.contact(sender),
        waiting: kept.size,
        since: Math.min(...[...kept.values()].map((record) => record.since)),
      }));
  }

  /** Decrypt what waits of a stranger, and notify nobody; what cannot be read goes on waiting. */
  look(sender: string, now: number): ReceivedRecord[] {
    for (const record of this.of(sender)) {
      const frame = frameOf(record);
      if (frame !== null) {
        this.#tryToLook(record, frame, now);
      }
    }
    return this.of(sender).flatMap((record) => this.#inbox.lookedAt(sender, record.messageId, now) ?? []);
  }

  #tryToLook(record: RequestRecord, frame: RoutedMessage, now: number): void {
    try {
      this.#vault.transaction((tx) => {
        this.#inbox.look(tx, frame, now, { came: record.at, wall: record.since });
        // It was decrypted, and is among the received messages now.
        this.#store(tx, { ...record, frame: NO_BYTES });
      });
    } catch (error) {
      if (!(error instanceof CryptoError)) {
        throw error;
      }
    }
  }

  /**
   * Receive what waited of somebody who is no stranger any more, and let it wait no longer.
   *
   * Returns what it says, false if it was received before; of a message that had been looked at, whether it is still
   * there to be handed out. Throws a CryptoError if it cannot be read: undo the transaction.
   */
  open(tx: Transaction, record: RequestRecord, now: number): (Arrived & { readonly frame: RoutedMessage }) | boolean {
    const frame = frameOf(record);
    const { sender, messageId } = record;
    this.drop(tx, sender, messageId);
    if (frame === null) {
      return this.#inbox.letIn(tx, sender, messageId, now);
    }
    if (this.#inbox.hasSeen(sender, messageId)) {
      return false;
    }
    return { ...this.#inbox.receive(tx, frame, now, { wall: record.since, came: record.at }), frame };
  }

  /** Who has written, the one who waits longest first. */
  senders(): string[] {
    return [...this.#kept].filter(([, kept]) => kept.size > 0).map(([sender]) => sender);
  }

  /** How many messages of somebody wait. */
  waiting(sender: string): number {
    return this.#kept.get(sender)?.size ?? 0;
  }

  /** The messages of somebody, oldest first; what is damaged is lost. */
  of(sender: string): RequestRecord[] {
    const names = [...(this.#kept.get(sender)?.keys() ?? [])];
    return names.flatMap((messageId) => this.#vault.find(records.REQUEST, records.key(sender, messageId)) ?? []);
  }

  /** It does not wait any more. */
  drop(tx: Transaction, sender: string, messageId: string): void {
    tx.delete(records.REQUEST, records.key(sender, messageId));
    tx.onCommit(() => this.#forget(sender, messageId));
  }

  /** Nothing of somebody waits any more. */
  dropAll(tx: Transaction, sender: string): void {
    for (const messageId of this.#kept.get(sender)?.keys() ?? []) {
      this.drop(tx, sender, messageId);
    }
  }

  /** Erase what has waited too long. */
  forget(tx: Transaction, now: number): void {
    for (const record of this.#vault.overdue(records.REQUEST, now)) {
      this.#erase(tx, record.sender, record.messageId);
    }
  }

  #put(frame: RoutedMessage, now: number, wall: number): boolean {
    const { senderId: sender, messageId } = frame.payload;
    const text = utf8(encode(frame));
    const kept = [...(this.#kept.get(sender)?.values() ?? [])];
    if (kept.length >= MAX_MESSAGES || sizeOf(kept) + text.length > MAX_BYTES) {
      return false;
    }
    const record: RequestRecord = {
      messageId,
      sender,
      at: now,
      due: now + Math.min(optionsOf(frame).expiresIn ?? KEEP_MS, KEEP_MS),
      since: wall,
      size: text.length,
      frame: text,
    };
    this.#vault.transaction((tx) => this.#store(tx, record));
    this.#makeRoom();
    return this.#kept.get(sender)?.has(messageId) === true;
  }

  #store(tx: Transaction, record: RequestRecord): void {
    tx.put(records.REQUEST, records.key(record.sender, record.messageId), record, { due: record.due });
    tx.onCommit(() => this.#remember(record));
  }

  /** It does not wait any more, and nothing of it stays, though it was looked at. */
  #erase(tx: Transaction, sender: string, messageId: string): void {
    this.drop(tx, sender, messageId);
    this.#inbox.erase(tx, sender, messageId);
  }

  #makeRoom(): void {
    while (this.senders().length > MAX_STRANGERS || this.#total() > MAX_TOTAL_BYTES) {
      const sizes = [...this.#kept].map(([sender, kept]) => ({ sender, kept, size: sizeOf([...kept.values()]) }));
      const fullest = sizes.reduce((one, other) => (other.size > one.size ? other : one));
      const [oldest] = fullest.kept.keys();
      this.#vault.transaction((tx) => this.#erase(tx, fullest.sender, oldest ?? ""));
    }
  }

  #total(): number {
    return [...this.#kept.values()].reduce((sum, kept) => sum + sizeOf([...kept.values()]), 0);
  }

  #remember(record: RequestRecord): void {
    const kept = this.#kept.get(record.sender) ?? new Map<string, RequestRecord>();
    kept.set(record.messageId, { ...record, frame: NO_BYTES });
    this.#kept.set(record.sender, kept);
  }

  #forget(sender: string, messageId: string): void {
    const kept = this.#kept.get(sender);
    kept?.delete(messageId);
    if (kept?.size === 0) {
      this.#kept.delete(sender);
    }
  }
}

function sizeOf(found: readonly RequestRecord[]): number {
  return found.reduce((sum, one) => sum + one.size, 0);
}

/** The frame that waits; null if it was looked at. */
export function frameOf(record: RequestRecord): RoutedMessage | null {
  const frame = record.frame.length > 0 ? decodeRelay(fromUtf8(record.frame)) : null;
  return frame?.type === "MESSAGE" ? frame : null;
}
