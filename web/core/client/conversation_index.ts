/**
 * Which messages were exchanged with whom, in pages: so a conversation opens without reading the others.
 *
 * A message is entered in the transaction that stores it, and never moves: its position in the conversation is its
 * place in the pages. One that could not be decrypted is entered as well, and is in its place when it comes readable.
 */
import * as records from "./records.ts";
import type { PageRecord, ReceivedRecord, UnreadableRecord } from "./records.ts";
import type { Transaction, Vault } from "./vault.ts";

/** Messages of a page: some 3 KB, of which one is written for each conversation in which something is said. */
export const PAGE = 64;

const SENT = "s";
const RECEIVED = "r";

/** A message in a conversation. */
export interface IndexEntry {
  /** Rises in the order of the conversation. */
  readonly position: number;
  readonly isMine: boolean;
  readonly messageId: string;
}

/** The pages of all conversations. */
export class ConversationIndex {
  readonly #vault: Vault;

  constructor(vault: Vault) {
    this.#vault = vault;
    if (this.peers().length < vault.count(records.PAGE)) {
      vault.transaction((tx) => this.#makeAgain(tx));
    }
    vault.watch(records.SENT, (tx, _, sent, isNew) => {
      if (sent !== null && isNew) {
        this.#enter(tx, sent.peer, SENT + sent.messageId);
      }
    });
    vault.watch(records.RECEIVED, (tx, name, received, isNew) => {
      if (received !== null && isNew && !vault.has(records.UNREADABLE, name)) {
        this.#enter(tx, received.sender, RECEIVED + received.messageId);
      }
    });
    vault.watch(records.UNREADABLE, (tx, name, unreadable, isNew) => {
      const hasText = vault.has(records.RECEIVED, name);
      if (unreadable !== null && isNew && !hasText) {
        this.#enter(tx, unreadable.sender, RECEIVED + unreadable.messageId);
      } else if (unreadable === null && !hasText) {
        this.#takeOut(tx, name);
      }
    });
  }

  /** What was said with somebody before a position, the newest first; of damaged pages nothing. */
  *newest(peer: string, { before = Infinity } = {}): Generator<IndexEntry> {
    const last = this.#lastPage(peer);
    const first = Math.min(last.number, Math.floor((before - 1) / PAGE));
    for (let number = first; number >= 0; number -= 1) {
      const { messages } = number === last.number ? last : this.#page(peer, number);
      for (let offset = messages.length - 1; offset >= 0; offset -= 1) {
        const entry = messages[offset] ?? "";
        const position = number * PAGE + offset;
        if (entry !== "" && position < before) {
          yield { position, isMine: entry.startsWith(SENT), messageId: entry.slice(1) };
        }
      }
    }
  }

  /** With whom there is a conversation, in no order. */
  peers(): string[] {
    return [...this.#vault.all(records.PAGE)].map(([, { peer }]) => peer);
  }

  /** Where a message stands, or null. */
  position(peer: string, messageId: string, isMine: boolean): number | null {
    return this.#find(peer, (isMine ? SENT : RECEIVED) + messageId);
  }

  /** Forget a conversation. */
  erase(tx: Transaction, peer: string): void {
    for (let number = this.#lastPage(peer).number - 1; number >= 0; number -= 1) {
      tx.delete(records.FULL_PAGE, older(peer, number));
    }
    tx.delete(records.PAGE, peer);
  }

  /** A page is damaged: all are made again of the messages that there are, in the order in which they were put. */
  #makeAgain(tx: Transaction): void {
    tx.deleteKind(records.PAGE);
    tx.deleteKind(records.FULL_PAGE);
    const found: { readonly position: number; readonly peer: string; readonly entry: string }[] = [];
    for (const [position, { peer, messageId }] of this.#vault.all(records.SENT)) {
      found.push({ position, peer, entry: SENT + messageId });
    }
    for (const kind of [records.RECEIVED, records.UNREADABLE] as const) {
      for (const [position, { sender, messageId }] of this.#vault.all<ReceivedRecord | UnreadableRecord>(kind)) {
        found.push({ position, peer: sender, entry: RECEIVED + messageId });
      }
    }
    for (const { peer, entry } of found.sort((one, other) => one.position - other.position)) {
      this.#enter(tx, peer, entry);
    }
  }

  #enter(tx: Transaction, peer: string, entry: string): void {
    const page = this.#lastPage(peer);
    if (page.messages.length < PAGE) {
      tx.put(records.PAGE, peer, { ...page, messages: [...page.messages, entry] });
    } else {
      tx.put(records.FULL_PAGE, older(peer, page.number), page);
      tx.put(records.PAGE, peer, { peer, number: page.number + 1, messages: [entry] });
    }
  }

  /** A message that could not be read is nothing to be shown after all; `name`: of its record. */
  #takeOut(tx: Transaction, name: string): void {
    const [peer = "", messageId = ""] = name.split(" ");
    const position = this.#find(peer, RECEIVED + messageId);
    if (position === null) {
      return;
    }
    const number = Math.floor(position / PAGE);
    const last = this.#lastPage(peer);
    const page = number === last.number ? last : this.#page(peer, number);
    const messages = page.messages.map((entry, offset) => (offset === position % PAGE ? "" : entry));
    if (number === last.number) {
      tx.put(records.PAGE, peer, { peer, number, messages });
    } else {
      tx.put(records.FULL_PAGE, older(peer, number), { peer, number, messages });
    }
  }

  #find(peer: string, entry: string): number | null {
    const last = this.#lastPage(peer);
    for (let number = last.number; number >= 0; number -= 1) {
      const { messages } = number === last.number ? last : this.#page(peer, number);
      const offset = messages.lastIndexOf(entry);
      if (offset >= 0) {
        return number * PAGE + offset;
      }
    }
    return null;
  }

  /** The page that is not full yet. */
  #lastPage(peer: string): PageRecord {
    return this.#vault.find(records.PAGE, peer) ?? { peer, number: 0, messages: [] };
  }

  #page(peer: string, number: number): PageRecord {
    return this.#vault.find(records.FULL_PAGE, older(peer, number)) ?? { peer, number, messages: [] };
  }
}

/** The name of a full page. */
function older(peer: string, number: number): string {
  return `${peer} ${number}`;
}
