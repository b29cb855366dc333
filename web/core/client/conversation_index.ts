/**
 * Which messages were exchanged with whom, in pages: so a conversation opens without reading the others.
 *
 * A message is entered in the transaction that stores it, and never moves: its position in the conversation is its
 * place in the pages. One that could not be decrypted is entered as well, and is in its place when it comes readable.
 * What was said before this device was linked stands in pages of its own, at positions below zero.
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

/** A text from before this device was linked. */
export interface PastEntry {
  readonly peer: string;
  readonly isMine: boolean;
  readonly messageId: string;
  readonly put: (tx: Transaction) => void;
}

/** The pages of all conversations. */
export class ConversationIndex {
  readonly #vault: Vault;
  /** Whether what is put now is from before. */
  #isPast = false;

  constructor(vault: Vault) {
    this.#vault = vault;
    if (this.peers().length < vault.count(records.PAGE)) {
      vault.transaction((tx) => this.#makeAgain(tx));
    }
    vault.watch(records.SENT, (tx, _, sent, isNew) => {
      if (sent !== null && isNew && !this.#isPast) {
        this.#enter(tx, sent.peer, SENT + sent.messageId);
      }
    });
    vault.watch(records.RECEIVED, (tx, name, received, isNew) => {
      if (received !== null && isNew && !this.#isPast && !vault.has(records.UNREADABLE, name)) {
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

  /** Whether what is put now is from before this device was linked. */
  get isEnteringPast(): boolean {
    return this.#isPast;
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
    yield* this.#past(peer, before);
  }

  *#past(peer: string, before: number): Generator<IndexEntry> {
    const count = this.#pastCount(peer);
    for (let number = Math.max(1, -Math.floor((Math.min(before, 0) - 1) / PAGE)); (number - 1) * PAGE < count; number += 1) {
      const { messages } = this.#pastPage(peer, number);
      for (let offset = PAGE - 1; offset >= 0; offset -= 1) {
        const entry = messages[offset] ?? "";
        const position = offset - number * PAGE;
        if (entry !== "" && position < before) {
          yield { position, isMine: entry.startsWith(SENT), messageId: entry.slice(1) };
        }
      }
    }
  }

  #pastCount(peer: string): number {
    return this.#vault.find(records.PAST, peer)?.value ?? 0;
  }

  #pastPage(peer: string, number: number): PageRecord {
    const empty = new Array<string>(PAGE).fill("");
    return this.#vault.find(records.PAST_PAGE, older(peer, number)) ?? { peer, number, messages: empty };
  }

  /**
   * Enter texts from before this device was linked, older than all that were entered so.
   *
   * @param found the newest first
   * @param put stores a text
   */
  enterPast(tx: Transaction, found: readonly PastEntry[]): void {
    this.#isPast = true;
    try {
      for (const one of found) {
        one.put(tx);
        this.#putPast(tx, one.peer, (one.isMine ? SENT : RECEIVED) + one.messageId);
      }
    } finally {
      this.#isPast = false;
    }
  }

  #putPast(tx: Transaction, peer: string, entry: string): void {
    const place = this.#pastCount(peer) + 1;
    const number = Math.ceil(place / PAGE);
    const page = this.#pastPage(peer, number);
    const messages = page.messages.with(number * PAGE - place, entry);
    tx.put(records.PAST_PAGE, older(peer, number), { ...page, messages });
    tx.put(records.PAST, peer, { value: place });
  }


  /** With whom there is a conversation, in no order. */
  peers(): string[] {
    return [...this.#vault.all(records.PAGE)].map(([, { peer }]) => peer);
  }

  /** Where a message stands, or null. */
  position(peer: string, messageId: string, isMine: boolean): number | null {
    return this.#find(peer, (isMine ? SENT : RECEIVED) + messageId);
  }

  /** Forget a conversation, and what of it is still to be handed over. */
  erase(tx: Transaction, peer: string): void {
    for (let number = this.#lastPage(peer).number - 1; number >= 0; number -= 1) {
      tx.delete(records.FULL_PAGE, older(peer, number));
    }
    tx.delete(records.PAGE, peer);
    for (let number = Math.ceil(this.#pastCount(peer) / PAGE); number >= 1; number -= 1) {
      tx.delete(records.PAST_PAGE, older(peer, number));
    }
    tx.delete(records.PAST, peer);
    if (this.#vault.has(records.HISTORY_IN, "")) tx.put(records.PAST_ERASED, peer, { value: 0 });
  }

  /** A page is damaged: all are made again of the messages that there are, in the order in which they were put. */
  #makeAgain(tx: Transaction): void {
    tx.deleteKind(records.PAGE);
    tx.deleteKind(records.FULL_PAGE);
    const past = pastNames(this.#vault);
    const found: { readonly position: number; readonly peer: string; readonly entry: string }[] = [];
    for (const [position, { peer, messageId }] of this.#vault.all(records.SENT)) {
      found.push({ position, peer, entry: SENT + messageId });
    }
    for (const kind of [records.RECEIVED, records.UNREADABLE] as const) {
      for (const [position, { sender, messageId }] of this.#vault.all<ReceivedRecord | UnreadableRecord>(kind)) {
        found.push({ position, peer: sender, entry: RECEIVED + messageId });
      }
    }
    const inOrder = found.sort((one, other) => one.position - other.position);
    for (const { peer, entry } of inOrder.filter((one) => !past.has(records.key(one.peer, one.entry.slice(1))))) {
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
    for (let number = 1; (number - 1) * PAGE < this.#pastCount(peer); number += 1) {
      const offset = this.#pastPage(peer, number).messages.lastIndexOf(entry);
      if (offset >= 0) {
        return offset - number * PAGE;
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

/** '<peer> <message id>' of all texts from before this device was linked, of each conversation the oldest first. */
export function pastNames(vault: Vault): ReadonlySet<string> {
  const pages = [...vault.all(records.PAST_PAGE)].map(([, page]) => page);
  const inOrder = pages.sort((one, other) => other.number - one.number);
  const namesOf = ({ messages, peer }: PageRecord): string[] =>
    messages.filter((entry) => entry !== "").map((entry) => records.key(peer, entry.slice(1)));
  return new Set(inOrder.flatMap(namesOf));
}

/** The name of a full page. */
function older(peer: string, number: number): string {
  return `${peer} ${number}`;
}
