/** How many messages of strangers are looked into before anybody has accepted them: that has a client compute. */

/** In `LOOKS_MS`. */
export const LOOKS = 60;

export const LOOKS_MS = 3_600_000;

/** Of these, those of one person under the ids of links. */
export const LOOKS_OF_ONE = 5;

const MAX_NOTED = 5_000;

/** Counts them, in memory; times are monotonic milliseconds. */
export class Looks {
  readonly #most: number;
  #times: readonly number[] = [];

  constructor(most = LOOKS) {
    this.#most = most;
  }

  /** Whether one more may be looked into. */
  hasRoom(now: number): boolean {
    this.#times = this.#times.filter((at) => now - at < LOOKS_MS);
    return this.#times.length < this.#most;
  }

  /** The same; it is counted. */
  take(now: number): boolean {
    const hasRoom = this.hasRoom(now);
    if (hasRoom) this.#times = [...this.#times, now];
    return hasRoom;
  }

  /** The last one does not count. */
  giveBack(): void {
    this.#times = this.#times.slice(0, -1);
  }
}

/**
 * Counts those under the ids of links, where whoever has had a link can write without end.
 *
 * Each is looked into once, but one that asks to join: that may have to wait until there is room. It counts only for who
 * says it, so that any number of people can join in an hour.
 */
export class LinkLooks {
  readonly #all = new Looks();
  readonly #of = new Map<string, Looks>();
  /** Which messages were looked into, and whether they ask to join. */
  readonly #joins = new Map<string, boolean>();
  /** What was looked into last, if it is under the id of a link. */
  last = "";

  /** Whether a message may be looked into; it is counted. */
  take(sender: string, name: string, now: number): boolean {
    this.last = name;
    const known = this.#joins.get(name);
    if (known !== undefined) return known;
    const own = this.#of.get(sender) ?? new Looks(LOOKS_OF_ONE);
    if (!own.hasRoom(now) || !this.#all.take(now)) return false; // and nothing is kept of them: they can be any number
    own.take(now);
    this.#of.set(sender, own);
    this.#joins.set(name, false);
    if (this.#joins.size > MAX_NOTED) {
      this.#joins.clear();
      this.#of.clear();
    }
    return true;
  }

  /** What was looked into last asks to join. */
  asksToJoin(): void {
    if (this.#joins.get(this.last) !== false) return;
    this.#joins.set(this.last, true);
    this.#all.giveBack();
  }
}
