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

/** About how much that is together: accounts can be had by the hundred. */
export const ANSWER_BYTES_LEFT = 2_000_000;

/** What counts for an answer besides what is in it: the frame of one that says that there is nothing newer. */
export const LEAST_ANSWER = 1_500;

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
    const [own, everybodys] = [this.#of(person, now).size, this.#of(ALL, now).size];
    if (everybodys < ANSWER_BYTES) return own < ANSWER_BYTES_OF_ONE;
    return own < ANSWER_BYTES_FOR_EACH && everybodys < ANSWER_BYTES + ANSWER_BYTES_LEFT;
  }

  /** Somebody is sent an answer with so many bytes in it. */
  count(person: string, size: number, now: number): void {
    for (const who of [person, ALL]) {
      const before = this.#of(who, now);
      this.#spent.set(who, { since: before.since, size: before.size + LEAST_ANSWER + size });
    }
  }

  /** How much somebody has had in this hour, as `hasRoom` has seen it last. */
  had(person: string): number {
    return this.#spent.get(person)?.size ?? 0;
  }

  #of(who: string, now: number): Spent {
    return this.#spent.get(who) ?? { since: now, size: 0 };
  }
}
