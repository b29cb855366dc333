/** How many messages of strangers are looked into before anybody has accepted them: that has a client compute. */

/** In `LOOKS_MS`. */
export const LOOKS = 60;

export const LOOKS_MS = 3_600_000;

/** Counts them, in memory; times are monotonic milliseconds. */
export class Looks {
  #times: readonly number[] = [];

  /** Whether one more may be looked into; it is counted. */
  take(now: number): boolean {
    this.#times = this.#times.filter((at) => now - at < LOOKS_MS);
    if (this.#times.length >= LOOKS) return false;
    this.#times = [...this.#times, now];
    return true;
  }
}
