/**
 * The order in which the entries of the outbox leave: one queue for each user.
 *
 * The first of a queue, and how many of a sort wait, are known without a look at the others.
 */
import type { OutboxRecord } from "./records.ts";

/** How many there are of something, by user and in all; only users with some are in it. */
export class Counts {
  private readonly byUser = new Map<string, number>();
  /** In all. */
  total = 0;

  /** Of one user. */
  of(user: string): number {
    return this.byUser.get(user) ?? 0;
  }

  /** That many more of a user's. */
  add(user: string, change: number): void {
    const count = this.of(user) + change;
    this.total += change;
    if (count === 0) {
      this.byUser.delete(user);
    } else {
      this.byUser.set(user, count);
    }
  }
}

/** Entries by user and turn. */
export class Queue {
  readonly texts = new Counts();
  readonly receipts = new Counts();
  /** Messages that were not sent before. */
  readonly fresh = new Counts();
  private readonly entries = new Map<string, OutboxRecord>();
  private readonly turns = new Map<string, number>();
  /** Ids of what waits for a user, by turn. */
  private readonly byUser = new Map<string, string[]>();
  private next = 0;
  private before = -1;

  /** An entry that waits. */
  get(messageId: string): OutboxRecord | null {
    return this.entries.get(messageId) ?? null;
  }

  /** What waits for a user, in order. */
  of(user: string): OutboxRecord[] {
    return (this.byUser.get(user) ?? []).flatMap((name) => this.entries.get(name) ?? []);
  }

  /**
   * Add an entry, or what has become of one that waits.
   *
   * `first`: before all others, but for one that is encrypted already. That one has its place among the messages of its
   * session, and would seem to come late.
   */
  put(entry: OutboxRecord, given: { readonly first?: boolean } = {}): void {
    const name = entry.messageId;
    const first = given.first === true;
    const sealed = first ? this.sealedHead(entry.peer) : null;
    const before = this.get(name);
    if (before !== null) {
      this.count(before, -1);
    }
    this.entries.set(name, entry);
    this.count(entry, 1);
    if (first) {
      this.putFirst(entry);
      if (sealed !== null && sealed.messageId !== name) {
        this.putFirst(sealed);
      }
    } else if (before === null) {
      this.turns.set(name, this.next);
      this.next += 1;
      const names = this.byUser.get(entry.peer);
      if (names === undefined) {
        this.byUser.set(entry.peer, [name]);
      } else {
        names.push(name);
      }
    }
  }

  /** An entry does not wait any more; idempotent. */
  remove(messageId: string): void {
    const entry = this.get(messageId);
    if (entry === null) {
      return;
    }
    this.entries.delete(messageId);
    this.turns.delete(messageId);
    this.count(entry, -1);
    this.setNames(entry.peer, this.others(entry));
  }

  /** The first entry for each user who is not busy, in the order of their turns. */
  firsts(busy: { has(user: string): boolean }): OutboxRecord[] {
    const found: OutboxRecord[] = [];
    for (const [user, names] of this.byUser) {
      const entry = this.entries.get(names[0] ?? "");
      if (entry !== undefined && !busy.has(user)) {
        found.push(entry);
      }
    }
    return found.sort((one, other) => this.turn(one) - this.turn(other));
  }

  private turn(entry: OutboxRecord): number {
    return this.turns.get(entry.messageId) ?? 0;
  }

  /** Whether what is next for a user is encrypted already. */
  hasSealed(user: string): boolean {
    return this.sealedHead(user) !== null;
  }

  private sealedHead(user: string): OutboxRecord | null {
    const head = this.entries.get(this.byUser.get(user)?.[0] ?? "");
    return head !== undefined && head.sealed.length > 0 ? head : null;
  }

  private putFirst(entry: OutboxRecord): void {
    this.turns.set(entry.messageId, this.before);
    this.before -= 1;
    this.setNames(entry.peer, [entry.messageId, ...this.others(entry)]);
  }

  private others(entry: OutboxRecord): string[] {
    return (this.byUser.get(entry.peer) ?? []).filter((name) => name !== entry.messageId);
  }

  private setNames(user: string, names: string[]): void {
    if (names.length === 0) {
      this.byUser.delete(user);
    } else {
      this.byUser.set(user, names);
    }
  }

  private count(entry: OutboxRecord, change: number): void {
    (entry.text === null ? this.receipts : this.texts).add(entry.peer, change);
    if (entry.text !== null && !entry.again) {
      this.fresh.add(entry.peer, change);
    }
  }
}
