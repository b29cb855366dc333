/** What others allow this client to send them beside the rate, as the relay has told it on this connection. */

/** By user; times are monotonic milliseconds. */
export class Allowances {
  readonly #known = new Map<string, { left: number; readonly until: number }>();

  /** The relay lets so many messages to this user through beside the rate. */
  allow(peer: string, left: number, until: number): void {
    this.#known.set(peer, { left, until });
  }

  /** How many messages this user still allows. */
  left(peer: string, now: number): number {
    const known = this.#known.get(peer);
    return known !== undefined && now < known.until ? known.left : 0;
  }

  /** Count a message to this user, as the relay does; false if none is left. */
  take(peer: string, now: number): boolean {
    const known = this.left(peer, now) > 0 ? this.#known.get(peer) : undefined;
    if (known !== undefined) known.left -= 1;
    return known !== undefined;
  }

  /** On another connection nothing was told. */
  disconnected(): void {
    this.#known.clear();
  }
}
