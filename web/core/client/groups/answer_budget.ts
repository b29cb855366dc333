/**
 * How much is answered to those who lack changes, in an hour: a relay stores so much a day for one address, and most of
 * that is to be texts.
 */

/** About how much all get together, before base64 makes a third more of it. */
export const ANSWER_BYTES = 2_000_000;

/** About how much of that one person gets: more than 30 answers that are full. */
export const ANSWER_BYTES_OF_ONE = 1_000_000;

/** What each can have though the others have had all: about one answer. */
export const ANSWER_BYTES_FOR_EACH = 30_000;

const HOUR_MS = 3_600_000;
const ALL = "";

interface Spent {
  readonly since: number;
  readonly size: number;
}

/** Counts it. */
export class AnswerBudget {
  readonly #spent = new Map<string, Spent>();

  /** Whether somebody may be told more in this hour. */
  hasRoom(person: string, now: number): boolean {
    for (const [who, { since }] of [...this.#spent]) {
      if (now - since >= HOUR_MS) this.#spent.delete(who);
    }
    const { size } = this.#of(person, now);
    return size < ANSWER_BYTES_OF_ONE && (this.#of(ALL, now).size < ANSWER_BYTES || size < ANSWER_BYTES_FOR_EACH);
  }

  count(person: string, size: number, now: number): void {
    for (const who of [person, ALL]) {
      const before = this.#of(who, now);
      this.#spent.set(who, { since: before.since, size: before.size + size });
    }
  }

  #of(who: string, now: number): Spent {
    return this.#spent.get(who) ?? { since: now, size: 0 };
  }
}
