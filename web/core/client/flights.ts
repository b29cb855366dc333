/** Messages that wait for the answer of the relay, and how long: one that never answers must not stop them for good. */
import type { OutboxRecord } from "./records.ts";

/** How long an answer is waited for at first: then the message is sent again, which the relay takes for what it is. */
export const UNANSWERED_MS = 120_000;

/** It is waited for twice as long each time, and for so long at most: nobody is to be made to send without end. */
export const LONGEST_UNANSWERED_MS = 3_600_000;

interface Flight {
  readonly entry: OutboxRecord;
  readonly wait: number;
  readonly until: number;
}

/** What was sent on this connection, by the request that is under way; times are monotonic milliseconds. */
export class Flights {
  readonly #flights = new Map<string, Flight>();
  /** How long an answer is waited for next time, by the id of a message that had none. */
  readonly #waits = new Map<string, number>();
  /** When to look whether a time has come, or earlier. */
  #lookAt = Infinity;

  /** Nothing of it will be answered. */
  disconnected(): void {
    this.#flights.clear();
    this.#waits.clear();
    this.#lookAt = Infinity;
  }

  /** It was sent. */
  begin(request: string, entry: OutboxRecord, now: number): void {
    const wait = this.#waits.get(entry.messageId) ?? UNANSWERED_MS;
    this.#flights.set(request, { entry, wait, until: now + wait });
    this.#lookAt = Math.min(this.#lookAt, now + wait);
  }

  /** It was answered, unless the answer names another message or user: then it is still waited for. */
  answered(request: string, messageId: string, peer: string): void {
    const entry = this.#flights.get(request)?.entry;
    if (entry?.messageId === messageId && entry.peer === peer) this.end(request);
  }

  /** It was refused, or answered; null if that was nothing of this, or is given up. */
  end(request: string): OutboxRecord | null {
    const flight = this.#flights.get(request);
    if (flight === undefined) return null;
    this.#flights.delete(request);
    this.#waits.delete(flight.entry.messageId);
    if (this.#flights.size === 0) this.#lookAt = Infinity;
    return flight.entry;
  }

  /** What has had no answer for too long; it is waited for no more. */
  overdue(now: number): OutboxRecord[] {
    if (now < this.#lookAt) return [];
    const over = [...this.#flights].filter(([, { until }]) => now >= until);
    for (const [request, { entry, wait }] of over) {
      this.#flights.delete(request);
      this.#waits.set(entry.messageId, Math.min(2 * wait, LONGEST_UNANSWERED_MS));
    }
    this.#lookAt = Math.min(Infinity, ...[...this.#flights.values()].map(({ until }) => until));
    return over.map(([, { entry }]) => entry);
  }

  /** Milliseconds until `overdue` is to be asked. */
  waits(now: number): number[] {
    return this.#lookAt === Infinity ? [] : [Math.max(0, this.#lookAt - now)];
  }
}
