/**
 * Messages that could not be decrypted: what may be asked for again, how often, and with how many new sessions.
 *
 * A device that was restored from a backup, or whose files were damaged, has lost the keys of messages that are under
 * way. It begins a new session and asks for them by their ids; the other side sends them again. Both are bounded, so
 * that nobody can be made to work for ever.
 */
import { VaultDamaged } from "./errors.ts";
import * as records from "./records.ts";
import { UnreadableRecord } from "./records.ts";
import type { Transaction, Vault } from "./vault.ts";

export const HOUR_MS = 3_600_000;

/**
 * New sessions with a peer for what could not be read. One is not enough: both sides can have lost their state at once,
 * and then the first is made with prekeys that are gone.
 */
export const MAX_SESSIONS_PER_HOUR = 3;

/** How long a session that was begun for this is believed to be good: further messages are asked for in it. */
export const SETTLE_MS = 30_000;

/** How often a message is asked for; the relay can have lost the question, or the answer. */
export const MAX_ASKS = 3;

export const ASK_AGAIN_MS = HOUR_MS;

/** Unreadable messages of a sender that stay in the mailbox at the relay: all of them would fill it for good. */
export const MAX_KEPT = 50;
export const MAX_KEPT_OF_STRANGER = 5;

/** Unreadable messages of a sender that are remembered, and can be asked for. */
export const MAX_REMEMBERED = 200;

/** How long they are remembered. */
export const KEEP_MS = 30 * 24 * HOUR_MS;

/** How often a message is sent again: what a peer can make us send. */
export const MAX_RESENDS = 3;

/** What could not be read, by sender. Times are milliseconds of the device's persistent clock. */
export class Recovery {
  private readonly unreadable = new Map<string, Map<string, UnreadableRecord>>();
  private readonly begunHere = new Map<string, number[]>();

  constructor(private readonly vault: Vault) {
    for (const [, record] of vault.all(records.UNREADABLE)) {
      this.remember(record);
    }
  }

  /**
   * Remember that a message cannot be read; false if that is known already, or there are too many.
   *
   * `recoverable`: whether sending it again would help.
   */
  note(
    tx: Transaction,
    sender: string,
    messageId: string,
    now: number,
    { recoverable }: { readonly recoverable: boolean },
  ): boolean {
    const known = this.of(sender);
    const before = known.find((one) => one.messageId === messageId);
    // What anybody on the way can forge must not crowd out what can be asked for.
    const alike = known.filter((one) => one.curable === recoverable).length;
    if (alike >= MAX_REMEMBERED || (before !== undefined && (before.curable || !recoverable))) {
      return false;
    }
    this.put(tx, UnreadableRecord.make({ messageId, sender, at: now, curable: recoverable }));
    return true;
  }

  /** Whether the relay is to keep it: the first few of a sender, fewer of a stranger. */
  keeps(sender: string, messageId: string, { known }: { readonly known: boolean }): boolean {
    const found = this.of(sender);
    const itself = found.find((one) => one.messageId === messageId);
    const alike = found.filter((one) => one.curable === itself?.curable);
    const first = alike.slice(0, known ? MAX_KEPT : MAX_KEPT_OF_STRANGER);
    return itself !== undefined && first.includes(itself);
  }

  /** Forget what nobody will send again. */
  forget(tx: Transaction, now: number): void {
    for (const record of this.vault.overdue(records.UNREADABLE, now)) {
      this.readable(tx, record.sender, record.messageId);
    }
  }

  /** It could be read after all. */
  readable(tx: Transaction, sender: string, messageId: string): void {
    if (this.unreadable.get(sender)?.has(messageId) === true) {
      tx.delete(records.UNREADABLE, records.key(sender, messageId));
      tx.onCommit(() => this.unreadable.get(sender)?.delete(messageId));
    }
  }

  /** Nothing of this user is asked for any more. */
  drop(tx: Transaction, sender: string): void {
    for (const record of this.of(sender)) {
      this.readable(tx, sender, record.messageId);
    }
  }

  /** Whether a message of this user is asked for again, or will be. */
  awaits(sender: string): boolean {
    return this.of(sender).some((record) => record.curable);
  }

  /** Whose messages could not be read. */
  senders(): string[] {
    return [...this.unreadable].filter(([, found]) => found.size > 0).map(([sender]) => sender);
  }

  /** What could not be read of a sender, in the order in which it came. */
  of(sender: string): UnreadableRecord[] {
    return [...(this.unreadable.get(sender)?.values() ?? [])];
  }

  /** The messages of a sender that may be asked for now. */
  due(sender: string, now: number): string[] {
    return this.of(sender)
      .filter((record) => isDue(record, now))
      .map((record) => record.messageId);
  }

  /** They are asked for. */
  asked(tx: Transaction, sender: string, messageIds: readonly string[], now: number): void {
    for (const messageId of messageIds) {
      const record = this.unreadable.get(sender)?.get(messageId);
      if (record !== undefined) {
        this.put(tx, { ...record, askedAt: now, times: record.times + 1 });
      }
    }
  }

  /**
   * Whether to ask in a new session; else the one in use is new enough, or there were too many.
   *
   * @param now persistent time, which is kept over restarts
   * @param monotonic milliseconds since this start
   */
  needsSession(sender: string, now: number, monotonic: number): boolean {
    const begun = this.begun(sender, now);
    const here = (this.begunHere.get(sender) ?? []).filter((at) => monotonic - at < HOUR_MS);
    this.begunHere.set(sender, here);
    return (
      Math.max(begun.length, here.length) < MAX_SESSIONS_PER_HOUR &&
      begun.every((at) => Math.abs(now - at) >= SETTLE_MS) &&
      here.every((at) => monotonic - at >= SETTLE_MS)
    );
  }

  /** A new session was begun for this. */
  began(tx: Transaction, sender: string, now: number, monotonic: number): void {
    this.begunHere.set(sender, [...(this.begunHere.get(sender) ?? []), monotonic]);
    tx.put(records.RECOVERY, sender, { at: [...this.begun(sender, now), now] });
  }

  private put(tx: Transaction, record: UnreadableRecord): void {
    const name = records.key(record.sender, record.messageId);
    tx.put(records.UNREADABLE, name, record, { due: record.at + KEEP_MS });
    tx.onCommit(() => this.remember(record));
  }

  private remember(record: UnreadableRecord): void {
    const found = this.unreadable.get(record.sender);
    if (found === undefined) {
      this.unreadable.set(record.sender, new Map([[record.messageId, record]]));
    } else {
      found.set(record.messageId, record);
    }
  }

  private begun(sender: string, now: number): number[] {
    try {
      const found = this.vault.get(records.RECOVERY, sender);
      return (found?.at ?? []).filter((at) => Math.abs(now - at) < HOUR_MS);
    } catch (error) {
      if (error instanceof VaultDamaged) {
        return [];
      }
      throw error;
    }
  }
}

function isDue(record: UnreadableRecord, now: number): boolean {
  if (!record.curable || record.times >= MAX_ASKS) {
    return false;
  }
  return record.askedAt === null || Math.abs(now - record.askedAt) >= ASK_AGAIN_MS;
}
