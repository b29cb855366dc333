/**
 * What the relay delivers and the client fails at, again and again: the relay keeps it, and delivers it on each new
 * connection. After a few times it is left there, so that everything else goes on.
 */

/** How often it is tried. */
export const TRIES = 3;

/** How many are remembered. */
const MAX_KEPT = 100;

/** Remembers, until the page is loaded anew, at what the client has failed. */
export class Aside {
  readonly #failures = new Map<string, number>();
  readonly #said = new Set<string>();

  /** The client has failed at a message of the WebSocket. */
  failed(message: string): void {
    const name = nameOf(message);
    if (name === null) {
      return;
    }
    const count = (this.#failures.get(name) ?? 0) + 1;
    this.#failures.delete(name);
    this.#failures.set(name, count);
    for (const oldest of this.#failures.keys()) {
      if (this.#failures.size <= MAX_KEPT) {
        break;
      }
      this.#failures.delete(oldest);
      this.#said.delete(oldest);
    }
  }

  /** Whether it is to be left at the relay: "news" the first time. */
  holds(message: string): "news" | boolean {
    if (this.#failures.size === 0) {
      return false;
    }
    const name = nameOf(message);
    if (name === null || (this.#failures.get(name) ?? 0) < TRIES) {
      return false;
    }
    const isNews = !this.#said.has(name);
    this.#said.add(name);
    return isNews ? "news" : true;
  }
}

/** The same for the same thing that is delivered again, whatever frame it comes in; null if it is not delivered. */
function nameOf(message: string): string | null {
  try {
    const { type, payload } = JSON.parse(message) as { readonly type?: unknown; readonly payload?: unknown };
    return DELIVERED.has(type) ? JSON.stringify([type, payload]) : null;
  } catch {
    return null;
  }
}

/** What waits in a mailbox, and comes again until it is acknowledged. */
const DELIVERED: ReadonlySet<unknown> = new Set([
  "MESSAGE",
  "MESSAGE_ACK",
  "KEY_EXCHANGE_INIT",
  "KEY_EXCHANGE_RESPONSE",
]);
