/** Where the parts of the client hand in messages to many: groups, and whoever has several devices. */
import * as body from "../../crypto/body.ts";
import { MAX_EXPIRES_IN_MS } from "../../wire/limits.ts";
import { InvalidUserId, MessageTooLong, UsageError } from "../errors.ts";
import type { ExtensionPorts } from "../extension.ts";
import { isUserId } from "../ids.ts";
import { newMessageId } from "../message_ids.ts";
import type { Transaction } from "../vault.ts";
import type { Allowances } from "./allowances.ts";
import type { Listener } from "./listener.ts";
import { ManyRecord } from "./records.ts";
import type { OrderRecord } from "./records.ts";
import type { SendingMany } from "./sending.ts";
import { newMessage } from "./store.ts";
import type { ManyMessage, ManyStore } from "./store.ts";

/** Longest content of a message to many, in bytes without padding. */
export const MAX_SAID_BYTES = body.MAX_PADDED - 1;

/** A message to many, and how it is sent. */
export interface ToMany {
  /** User ids, each once. Those with whom there is no session of suite 2 get it once there is one. */
  readonly recipients: readonly string[];
  /** Content 2, without padding; at most `MAX_SAID_BYTES`. */
  readonly said: Uint8Array;
  /** As the relay and the recipients see it. */
  readonly conversationId: string;
  /** A UUID that was not used before; a new one if it is missing. */
  readonly messageId?: string;
  /** Nobody becomes a contact by it, and the relay makes no receipts of it. */
  readonly group?: boolean;
  /** The revision that it brings; if the relay refuses it, the message goes to nobody and is forgotten. */
  readonly order?: OrderRecord | null;
  /** Which part of the client it is of, see `listen`. */
  readonly purpose: string;
  /** The recipients' copies go once they were read. */
  readonly burn?: boolean;
  /** Milliseconds after which all erase it, counted from the first acceptance. */
  readonly expiresIn?: number | null;
  /** True: its recipients say that they have it; who does not, and answers a later one, is sent it again. */
  readonly answered?: boolean | null;
  /** Stores what else belongs to it, in the same transaction. */
  readonly also?: (tx: Transaction) => void;
}

/** Takes messages to many. */
export class Outgoing {
  readonly #ports: ExtensionPorts;
  readonly #store: ManyStore;
  readonly #sending: SendingMany;

  constructor(ports: ExtensionPorts, store: ManyStore, sending: SendingMany) {
    this.#ports = ports;
    this.#store = store;
    this.#sending = sending;
  }

  /** What others allow this client to send them beside the rate. */
  get allowances(): Allowances {
    return this.#sending.allowances;
  }

  /** Tell a part of the client what becomes of the messages of its purpose; before the first connection. */
  listen(purpose: string, listener: Listener): void {
    this.#sending.listen(purpose, listener);
  }

  /**
   * Put one message to many into the outbox, and send what may be sent; returns the message id.
   *
   * @throws InvalidUserId, MessageTooLong, UsageError it cannot be sent as it is
   */
  sendMany(given: ToMany): string {
    const { now, openLink, random, sendPending, stores } = this.#ports;
    const { also, recipients, said, ...rest } = given;
    const messageId = given.messageId ?? newMessageId(random);
    this.#check(given, messageId);
    const record = ManyRecord.make({ ...rest, messageId, content: said, key: random(32) });
    stores.vault.transaction((tx) => {
      also?.(tx);
      // Whoever it was for may be this device itself, on somebody's list.
      if (recipients.length > 0) this.#sending.put(tx, openLink(), record, recipients, now());
    });
    sendPending();
    return messageId;
  }

  /** A message as it is stored, in this transaction too; null if there is none. */
  find(messageId: string): ManyMessage | null {
    return this.#store.get(messageId);
  }

  /**
   * Send a message that is there to further users, too, before what waits for them: of several, the oldest comes first.
   * Who has got it gets nothing. It leaves with what else waits, after the step that is under way.
   */
  sendFurther(tx: Transaction, recipients: readonly string[], message: ManyMessage): void {
    this.#store.addFurther(tx, message, recipients);
  }

  /** Send what was a message to one to further users, too, under the same id; it goes on to expire when that does. */
  sendAnew(tx: Transaction, given: ToMany & { readonly messageId: string }, expiresAt: number | null): void {
    const { recipients, said, ...rest } = given;
    const { now, random } = this.#ports;
    const record = ManyRecord.make({ ...rest, content: said, key: random(32) });
    this.sendFurther(tx, recipients, { ...newMessage(record, [], now().persistent), expiresAt });
  }

  /** Whether something of a message is still to be sent. */
  isWaiting(messageId: string): boolean {
    return this.#store.waiting(messageId) !== null;
  }

  /** Whether a copy of a message is encrypted, so that it may have left. */
  mayBeOut(messageId: string): boolean {
    return [...(this.find(messageId)?.copies.values() ?? [])].some(({ head }) => head.length > 0);
  }

  /** Erase a message, and send no copy that still waits: it was burned, or its conversation erased. */
  forget(tx: Transaction, messageId: string): void {
    this.#store.remove(tx, messageId);
  }

  /** Send these users nothing of a conversation any more that still waits. */
  withdraw(tx: Transaction, conversationId: string, peers: readonly string[]): void {
    this.#store.withdraw(tx, conversationId, peers, "");
  }

  #check({ expiresIn = null, recipients, said }: ToMany, messageId: string): void {
    const { ownId, stores } = this.#ports;
    if (new Set(recipients).size !== recipients.length) {
      throw new UsageError("a message to many has each recipient once");
    }
    const wrong = recipients.find((peer) => peer === ownId || !(isUserId(peer) || stores.book.has(peer)));
    if (wrong !== undefined) {
      throw new InvalidUserId(`'${wrong}' is not the ID of another user`);
    }
    if (said.length > MAX_SAID_BYTES) {
      throw new MessageTooLong(`this is too long by ${said.length - MAX_SAID_BYTES} bytes; shorten it`);
    }
    if (expiresIn !== null && (expiresIn < 1 || expiresIn > MAX_EXPIRES_IN_MS)) {
      throw new UsageError("a message can expire after 1 millisecond to 365 days; choose a time in between");
    }
    if (this.#store.has(messageId)) {
      throw new UsageError("there is a message of this id; take another one");
    }
  }
}
