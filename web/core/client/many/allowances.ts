/** What others allow this client to send them beside the rate, as the relay has told it on this connection. */
import { ALLOWANCE_EVERY_MS } from "../../wire/limits.ts";

/** Messages that one user lets through; times are monotonic milliseconds. */
interface Allowed {
  left: number;
  until: number;
  /** Before then they cannot have given another: what the relay tells is about this one. */
  readonly nextAt: number;
  /** Whether the relay has told of it on this connection. */
  isTold: boolean;
}

/** By user. */
export class Allowances {
  readonly #known = new Map<string, Allowed>();

  /**
   * The relay lets so many messages to this user through beside the rate.
   *
   * It is told once on each connection. What it tells again, here or on the next, adds nothing to what was left,
   * whatever it says: a relay must not be able to make a client send more than its user's device has asked for.
   */
  allow(peer: string, left: number, until: number, now: number): void {
    const known = this.#known.get(peer);
    if (known === undefined || now >= known.nextAt) {
      this.#known.set(peer, { left, until, nextAt: now + ALLOWANCE_EVERY_MS, isTold: true });
    } else if (!known.isTold) {
      known.left = Math.min(left, known.left);
      known.until = Math.min(until, known.until);
      known.isTold = true;
    }
  }

  /** How many messages this user still allows. */
  left(peer: string, now: number): number {
    const known = this.#known.get(peer);
    return known?.isTold === true && now < known.until ? known.left : 0;
  }

  /** Count a message to this user, as the relay does; false if none is left. */
  take(peer: string, now: number): boolean {
    const known = this.left(peer, now) > 0 ? this.#known.get(peer) : undefined;
    if (known !== undefined) known.left -= 1;
    return known !== undefined;
  }

  /** On another connection nothing was told. */
  disconnected(): void {
    for (const known of this.#known.values()) known.isTold = false;
  }
}
