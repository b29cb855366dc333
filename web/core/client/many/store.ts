/**
 * Messages to many: what waits for whom, how far each copy has come, and what may have to be sent again.
 *
 * A copy is what one recipient gets of a message. Those for one recipient leave one after the other, in the order in
 * which the messages were written, as texts do. A message is kept until its time is over, or for `KEEP_MS` after the
 * relay has accepted the last copy: so long a recipient may ask for it again. Times are milliseconds of persistent time
 * unless stated.
 */
import { isEqual, NO_BYTES } from "../../bytes.ts";
import { SENT } from "../records.ts";
import { MAX_RESENDS } from "../recovery.ts";
import { DeliveryState } from "../status.ts";
import { Unanswered } from "../unanswered.ts";
import type { Transaction, Vault } from "../vault.ts";
import { COPIES, CopyRecord, MANY } from "./records.ts";
import type { CopiesRecord, ManyRecord } from "./records.ts";

/** How long a message is kept of which no copy waits. */
export const KEEP_MS = 30 * 86_400_000;
/** The purpose of what others can ask for again, as often as they like: they could fill the disk with answers. */
export const ANSWER = "group-answer";
/** How long such a message is kept. */
export const KEEP_ANSWERS_MS = 3_600_000;

const RANK: Readonly<Record<number, number>> = {
  [DeliveryState.QUEUED]: 0,
  [DeliveryState.ACCEPTED]: 1,
  [DeliveryState.EXPIRED]: 2,
  [DeliveryState.FAILED]: 2,
  [DeliveryState.DELIVERED]: 3,
  [DeliveryState.READ]: 4,
  [DeliveryState.BURNED]: 5,
};

/** A message and its copies, by recipient; the rest as in `CopiesRecord`. */
export interface ManyMessage {
  readonly record: ManyRecord;
  readonly copies: ReadonlyMap<string, CopyRecord>;
  readonly at: number;
  readonly ordered: boolean;
  readonly expiresAt: number | null;
  readonly answered: boolean | null;
}

/** One that was not sent to anybody. */
export function newMessage(record: ManyRecord, recipients: readonly string[], now: number): ManyMessage {
  const copies = new Map(recipients.map((peer) => [peer, CopyRecord.make({ peer })]));
  return { record, copies, at: now, ordered: false, expiresAt: null, answered: record.answered };
}

/** Whether a message brings a revision that the relay has not stored. */
export function isUnordered(message: ManyMessage): boolean {
  return message.record.order !== null && !message.ordered;
}

/** The message after some of its copies have changed. */
export function withCopies(message: ManyMessage, changed: readonly CopyRecord[]): ManyMessage {
  const copies = new Map(message.copies);
  for (const copy of changed) {
    copies.set(copy.peer, copy);
  }
  return { ...message, copies };
}

/** The message as it is when it goes to further users, too: as if sent again, for it is older than what waits for them. */
function withFurther(message: ManyMessage, peers: readonly string[]): ManyMessage {
  const isThere = (peer: string): boolean => {
    const copy = message.copies.get(peer);
    const isOut = copy?.state !== DeliveryState.QUEUED && copy?.state !== DeliveryState.FAILED;
    return copy !== undefined && (copy.waits || isOut);
  };
  return withCopies(message, peers.filter((peer) => !isThere(peer)).map((peer) => CopyRecord.make({ peer, resends: 1 })));
}

/** A copy that was sent and not answered yet: of which message, its head, and since when (monotonic). */
interface Flying {
  readonly messageId: string;
  readonly head: Uint8Array;
  readonly at: number;
}

/** All messages to many of a profile. */
export class ManyStore {
  readonly #vault: Vault;
  readonly #waiting = new Map<string, ManyMessage>();
  /** Ids of messages by recipient, in the order in which they are to leave. */
  readonly #queues = new Map<string, readonly string[]>();
  /** The message whose copy for a recipient is encrypted and waits. */
  readonly #sealed = new Map<string, string>();
  readonly #flying = new Map<string, Flying>();
  readonly #unanswered = new Unanswered();

  constructor(vault: Vault) {
    this.#vault = vault;
    for (const [, stored] of vault.all(COPIES)) {
      for (const copy of stored.copies) {
        if (isUnanswered(stored.answered, copy)) this.#unanswered.put(copy.peer, stored.messageId);
      }
      const record = stored.copies.some((copy) => copy.waits) ? vault.find(MANY, stored.messageId) : null;
      if (record !== null) {
        this.#apply(messageOf(record, stored));
      }
    }
    this.#sort([...this.#queues.keys()]);
  }

  /** What waits for these users as it was written, what is sent again before the others. */
  #sort(peers: readonly string[]): void {
    const turns = new Map([...this.#waiting.keys()].map((id, turn) => [id, turn]));
    for (const peer of peers) {
      const queue = this.#queues.get(peer);
      if (queue === undefined) continue;
      const again = queue.filter((id) => this.#isAgain(peer, id)).map((id) => [this.#written(id), id] as const);
      const others = queue.filter((id) => !this.#isAgain(peer, id)).map((id) => [turns.get(id) ?? 0, id] as const);
      this.#queues.set(peer, [...inOrder(again), ...inOrder(others)]);
    }
  }

  /** Where a message stands in the order in which they were written: one to many may have been one to one. */
  #written(id: string): number {
    return this.#vault.position(SENT, id) || this.#vault.position(MANY, id);
  }

  /** Whether the copy of a message that waits for a user is one that is sent again. */
  #isAgain(peer: string, id: string): boolean {
    return (this.#waiting.get(id)?.copies.get(peer)?.resends ?? 0) > 0;
  }

  // --- what waits ---------------------------------------------------------------

  /**
   * Whether nothing else may be sent to a user now: a copy is in flight to them, or is encrypted and waits, so that what
   * is encrypted later must leave later.
   */
  isBusy(peer: string): boolean {
    return this.#flying.has(peer) || this.#sealed.has(peer);
  }

  /** How many messages wait; of those with a copy for one user, if one is named. */
  count(peer?: string): number {
    return peer === undefined ? this.#waiting.size : (this.#queues.get(peer)?.length ?? 0);
  }

  /** How many messages wait here alone. */
  countBut(waitsElsewhere: (messageId: string) => boolean): number {
    return [...this.#waiting.keys()].filter((id) => !waitsElsewhere(id)).length;
  }

  /**
   * The messages whose turn it is, each with those to whom it may leave now; nobody, if it is for its revision.
   * `isBusy`: for another reason.
   */
  ready(isBusy: (peer: string) => boolean): [ManyMessage, string[]][] {
    const found = new Map<string, string[]>();
    for (const [peer, [first = ""]] of this.#queues) {
      if (!this.#flying.has(peer) && !isBusy(peer)) {
        const id = this.#sealed.get(peer) ?? first;
        found.set(id, [...(found.get(id) ?? []), peer]);
      }
    }
    const isReady = ([id, message]: [string, ManyMessage]): boolean => found.has(id) || isUnordered(message);
    return [...this.#waiting].filter(isReady).map(([id, message]) => [message, found.get(id) ?? []]);
  }

  /** Whether a message waits for this user that was not sent before. */
  isFor(peer: string): boolean {
    return this.#queues.get(peer)?.some((id) => !this.#isAgain(peer, id)) === true;
  }

  /** Whether a copy is in flight to this user that took off after `since` (monotonic), and this message is next. */
  isSoonItsTurn(messageId: string, peer: string, since: number): boolean {
    const queue = this.#queues.get(peer) ?? [];
    const isNext = queue.slice(0, 2).includes(messageId) || (queue.length === 1 && !queue.includes(messageId));
    return isNext && (this.#flying.get(peer)?.at ?? since) > since;
  }

  /** Copies were sent, and not answered yet; `now` is monotonic. */
  tookOff(message: ManyMessage, peers: readonly string[], now: number): void {
    for (const peer of peers) {
      const head = message.copies.get(peer)?.head ?? NO_BYTES;
      this.#flying.set(peer, { messageId: message.record.messageId, head, at: now });
    }
  }

  /** Copies were answered. */
  landed(peers: readonly string[]): void {
    for (const peer of peers) {
      this.#flying.delete(peer);
    }
  }

  /** Copies of a message are in flight no more, whether they were answered or not. */
  givenUp(messageId: string, peers: readonly string[]): void {
    this.landed(peers.filter((peer) => this.#flying.get(peer)?.messageId === messageId));
  }

  /** What was in flight will not be answered. */
  disconnected(): void {
    this.#flying.clear();
  }

  // --- what happens to them -----------------------------------------------------

  /** A message as it is stored, in this transaction too; null if there is none, or it was erased. */
  get(messageId: string): ManyMessage | null {
    const stored = this.#vault.find(COPIES, messageId);
    const record = stored === null ? null : this.#vault.find(MANY, messageId);
    return stored === null || record === null ? null : messageOf(record, stored);
  }

  has(messageId: string): boolean {
    return this.#vault.has(COPIES, messageId);
  }

  /** A message of which a copy waits. */
  waiting(messageId: string): ManyMessage | null {
    return this.#waiting.get(messageId) ?? null;
  }

  /** Store a new message. */
  add(tx: Transaction, message: ManyMessage): void {
    tx.put(MANY, message.record.messageId, message.record);
    this.put(tx, message);
  }

  /** Store a message that goes to further users, too; of several, the oldest first. */
  addFurther(tx: Transaction, message: ManyMessage, peers: readonly string[]): void {
    this.add(tx, withFurther(message, peers));
    tx.onCommit(() => this.#sort(peers));
  }

  /** The relay has the copies for these users; those of whom that is news. */
  accepted(tx: Transaction, messageId: string, peers: readonly string[], now: number): string[] {
    const message = this.get(messageId);
    if (message === null) {
      return [];
    }
    const { expiresIn } = message.record;
    const expiresAt = message.expiresAt ?? (expiresIn === null ? null : now + expiresIn);
    const found = peers.flatMap((peer) => message.copies.get(peer) ?? []);
    const changed = found.map((copy) => this.#acceptedCopy(messageId, copy));
    this.put(tx, { ...withCopies(message, changed), at: now, expiresAt });
    for (const copy of changed) {
      if (isUnanswered(message.answered, copy)) tx.onCommit(() => this.#unanswered.put(copy.peer, messageId));
    }
    return found.filter((copy) => copy.state === DeliveryState.QUEUED).map((copy) => copy.peer);
  }

  #acceptedCopy(messageId: string, copy: CopyRecord): CopyRecord {
    const state = Math.max(copy.state, DeliveryState.ACCEPTED);
    // It may be to be sent again meanwhile, encrypted again.
    const flying = this.#flying.get(copy.peer);
    const isOther = flying !== undefined && !(flying.messageId === messageId && isEqual(flying.head, copy.head));
    return copy.waits && isOther ? { ...copy, state } : { ...copy, state, waits: false, head: NO_BYTES };
  }

  /** The relay has stored the revision that a message brings. */
  tookOrder(tx: Transaction, messageId: string): void {
    const message = this.get(messageId);
    if (message !== null) {
      this.put(tx, { ...message, ordered: true });
    }
  }

  /** The relay will never take the copies for these users; those who had not got one before. */
  failed(tx: Transaction, messageId: string, peers: readonly string[]): string[] {
    const message = this.get(messageId);
    if (message === null) {
      return [];
    }
    const found = peers.flatMap((peer) => message.copies.get(peer) ?? []);
    const isNew = (copy: CopyRecord): boolean => copy.state === DeliveryState.QUEUED;
    const changed = found.map((copy) => {
      return { ...copy, state: isNew(copy) ? DeliveryState.FAILED : copy.state, waits: false, head: NO_BYTES };
    });
    this.put(tx, withCopies(message, changed));
    return found.filter(isNew).map((copy) => copy.peer);
  }

  /** The recipient of a copy has said how far it has come; the message if that is news. */
  advance(tx: Transaction, messageId: string, peer: string, state: DeliveryState): ManyMessage | null {
    const message = this.get(messageId);
    const copy = message?.copies.get(peer);
    tx.onCommit(() => {
      this.#unanswered.answered(peer, messageId);
      this.givenUp(messageId, [peer]);
    });
    if (message === null || copy === undefined || (RANK[state] ?? 0) <= (RANK[copy.state] ?? 0)) {
      return null;
    }
    this.put(tx, withCopies(message, [{ ...copy, state, waits: false, head: NO_BYTES }]));
    return message;
  }

  /** Put copies into the queue again that their recipient could not read; arguments as `Outbox.resend`. */
  resend(tx: Transaction, peer: string, messageIds: readonly string[], now: number, key: Uint8Array): number {
    const places = [...new Set(messageIds)].map((id) => [this.#written(id), id] as const);
    let count = 0;
    // Each goes before what waits, so the oldest comes last.
    for (const id of inOrder(places).reverse()) {
      const message = this.get(id);
      const copy = message?.copies.get(peer);
      if (message === null || copy === undefined || copy.waits || copy.resends >= MAX_RESENDS) {
        continue;
      }
      const isOver = message.expiresAt !== null && message.expiresAt <= now;
      const isOther = copy.key.length > 0 && !isEqual(copy.key, key);
      if (copy.state === DeliveryState.FAILED || isOver || isOther) {
        continue;
      }
      count += 1;
      this.put(tx, withCopies(message, [{ ...copy, waits: true, head: NO_BYTES, resends: copy.resends + 1 }]));
    }
    return count;
  }

  /** What waits for this user was encrypted for a session that is gone: it is encrypted again. */
  unseal(tx: Transaction, peer: string): void {
    const message = this.get(this.#sealed.get(peer) ?? "");
    const copy = message?.copies.get(peer);
    if (message !== null && copy !== undefined) {
      this.put(tx, withCopies(message, [{ ...copy, head: NO_BYTES }]));
    }
  }

  /** Nothing is sent to this user any more. */
  drop(tx: Transaction, peer: string): void {
    for (const messageId of this.#queues.get(peer) ?? []) {
      this.failed(tx, messageId, [peer]);
    }
    tx.onCommit(() => {
      this.landed([peer]);
      this.#unanswered.drop(peer);
    });
  }

  /** Somebody has answered messages: earlier ones that are not among them may be lost. `now` is monotonic. */
  suspect(peer: string, answered: readonly string[], now: number): void {
    const queue = this.#queues.get(peer) ?? [];
    this.#unanswered.suspect(peer, this.#unanswered.overtaken(peer, answered, (id) => queue.includes(id)), now);
  }

  /** Messages that have stayed unanswered long after later ones were answered, by user; each is named once. */
  presumedLost(now: number): Map<string, string[]> {
    return this.#unanswered.presumedLost(now);
  }

  /** Send these users nothing of a conversation any more that still waits, except messages of one purpose. */
  withdraw(tx: Transaction, conversationId: string, peers: readonly string[], but: string): void {
    for (const peer of peers) {
      for (const messageId of this.#unanswered.of(peer)) {
        const sent = this.get(messageId)?.record;
        if (sent?.conversationId === conversationId && sent.purpose !== but) {
          tx.onCommit(() => this.#unanswered.answered(peer, messageId));
        }
      }
    }
    for (const { record, copies } of [...this.#waiting.values()]) {
      const waiting = peers.filter((peer) => copies.get(peer)?.waits === true);
      if (record.conversationId === conversationId && record.purpose !== but && waiting.length > 0) {
        this.failed(tx, record.messageId, waiting);
      }
    }
  }

  /** Forget a message, whatever has become of it; idempotent. */
  remove(tx: Transaction, messageId: string): void {
    const peers = [...(this.get(messageId)?.copies.keys() ?? [])];
    tx.onCommit(() => peers.forEach((peer) => this.#unanswered.answered(peer, messageId)));
    tx.delete(MANY, messageId);
    tx.delete(COPIES, messageId);
    tx.onCommit(() => this.#forget(messageId));
  }

  /** Erase the messages whose time is over. */
  forgetExpired(tx: Transaction, now: number): void {
    for (const stored of this.#vault.overdue(COPIES, now)) {
      this.remove(tx, stored.messageId);
    }
  }

  // --- on disk and in memory ----------------------------------------------------

  /** Store a message as it is now. */
  put(tx: Transaction, message: ManyMessage): void {
    const { record, copies, at, ordered, expiresAt, answered } = message;
    const stored = { messageId: record.messageId, copies: [...copies.values()], at, ordered, expiresAt, answered };
    tx.put(COPIES, record.messageId, stored, {
      due: dueOf(stored, record.purpose === ANSWER ? KEEP_ANSWERS_MS : KEEP_MS),
    });
    tx.onCommit(() => this.#apply(message));
  }

  /** Memory follows. */
  #apply(message: ManyMessage): void {
    const id = message.record.messageId;
    let waits = isUnordered(message);
    for (const [peer, copy] of message.copies) {
      waits ||= copy.waits;
      this.#noteSealed(id, peer, copy.waits && copy.head.length > 0);
      const queue = this.#queues.get(peer) ?? [];
      if (copy.waits && !queue.includes(id)) {
        this.#queues.set(peer, copy.resends > 0 ? [id, ...queue] : [...queue, id]);
      } else if (!copy.waits) {
        this.#dequeue(peer, id);
      }
    }
    if (waits) {
      this.#waiting.set(id, message);
    } else {
      this.#waiting.delete(id);
    }
  }

  #noteSealed(messageId: string, peer: string, isSealed: boolean): void {
    if (isSealed) {
      this.#sealed.set(peer, messageId);
    } else if (this.#sealed.get(peer) === messageId) {
      this.#sealed.delete(peer);
    }
  }

  #dequeue(peer: string, messageId: string): void {
    const queue = this.#queues.get(peer);
    if (queue?.includes(messageId) !== true) {
      return;
    }
    const left = queue.filter((id) => id !== messageId);
    if (left.length > 0) {
      this.#queues.set(peer, left);
    } else {
      this.#queues.delete(peer);
    }
  }

  #forget(messageId: string): void {
    for (const peer of this.#waiting.get(messageId)?.copies.keys() ?? []) {
      this.#noteSealed(messageId, peer, false);
      this.#dequeue(peer, messageId);
    }
    this.#waiting.delete(messageId);
  }
}

function messageOf(record: ManyRecord, { copies, at, ordered, expiresAt, answered }: CopiesRecord): ManyMessage {
  return { record, copies: new Map(copies.map((copy) => [copy.peer, copy])), at, ordered, expiresAt, answered };
}

/** Whether a copy has arrived at the relay, and its recipient is still to say that they have it. */
function isUnanswered(answered: boolean | null, { state, waits }: CopyRecord): boolean {
  return answered === true && state === DeliveryState.ACCEPTED && !waits;
}

/** When a message is erased; null if that hangs on the relay. `keep`: how long one is kept that has left. */
export function dueOf({ copies, at, expiresAt }: CopiesRecord, keep = KEEP_MS): number | null {
  if (copies.some((copy) => copy.waits)) {
    return expiresAt;
  }
  return Math.min(expiresAt ?? Number.POSITIVE_INFINITY, at + keep);
}

function inOrder(places: readonly (readonly [number, string])[]): string[] {
  return [...places].sort(([one], [other]) => one - other).map(([, id]) => id);
}
