/**
 * What was said with somebody, sent and received, in the order in which it came to this device.
 *
 * Each record is decrypted when it is asked for, the newest first, and no more of them than were asked for: a profile
 * of years opens as fast as a new one.
 */
import type { ConversationIndex } from "./conversation_index.ts";
import * as records from "./records.ts";
import type { ReceivedRecord, SentRecord, UnreadableRecord } from "./records.ts";
import type { Transaction, Vault } from "./vault.ts";

/** A message, or what is left of it; `position` rises in the order of the conversation. */
export type HistoryEntry = { readonly position: number } & (
  | { readonly kind: "sent"; readonly record: SentRecord }
  | { readonly kind: "received"; readonly record: ReceivedRecord }
  | { readonly kind: "unreadable"; readonly record: UnreadableRecord }
);

/** Looks back. */
export class History {
  readonly #vault: Vault;
  readonly #index: ConversationIndex;

  constructor(vault: Vault, index: ConversationIndex) {
    this.#vault = vault;
    this.#index = index;
  }

  /** The messages of one conversation before a position, the newest first, read as they are asked for. */
  *newest(peer: string, { before = Infinity } = {}): Generator<HistoryEntry> {
    for (const { position, isMine, messageId } of this.#index.newest(peer, { before })) {
      const found = this.#entry(peer, messageId, isMine, position);
      if (found !== null) {
        yield found;
      }
    }
  }

  /** One message, or null if there is nothing of it. */
  find(peer: string, messageId: string, isMine: boolean): HistoryEntry | null {
    const position = this.#index.position(peer, messageId, isMine);
    return position === null ? null : this.#entry(peer, messageId, isMine, position);
  }

  /** Erase one conversation. */
  erase(tx: Transaction, peer: string): void {
    for (const { isMine, messageId } of [...this.#index.newest(peer)]) {
      if (isMine) {
        tx.delete(records.SENT, messageId);
      } else {
        tx.delete(records.RECEIVED, records.key(peer, messageId));
        tx.delete(records.NEWER, records.key(peer, messageId));
      }
    }
    this.#index.erase(tx, peer);
  }

  #entry(peer: string, messageId: string, isMine: boolean, position: number): HistoryEntry | null {
    if (isMine) {
      const record = this.#vault.find(records.SENT, messageId);
      return record === null ? null : { kind: "sent", position, record };
    }
    const name = records.key(peer, messageId);
    const received = this.#vault.find(records.RECEIVED, name);
    if (received !== null) {
      return { kind: "received", position, record: received };
    }
    const unreadable = this.#vault.find(records.UNREADABLE, name);
    return unreadable === null ? null : { kind: "unreadable", position, record: unreadable };
  }
}
