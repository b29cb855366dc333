/**
 * What may be seen of a device whose user looks absent.
 *
 * No receipts, no questions for what could not be read, nothing that somebody has asked for again: they wait until the
 * user writes to whom they concern, or lets them know otherwise.
 */
import type { Outbox } from "./outbox.ts";
import type { OutboxRecord } from "./records.ts";

/** Who may see that this device is there. */
export class Visibility {
  /** Whether nothing may be said that the user has not caused. */
  isAbsent = false;
  readonly #outbox: Outbox;
  /** Users who may receive what waits for them once. */
  #mayKnow = new Set<string>();
  /** Receipts, and messages to be sent again, that may leave all the same. */
  readonly #freed = new Set<string>();
  /** Users whose key may be asked for all the same. */
  readonly #introduced = new Set<string>();

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** What waits for this user may be said: the user lets them know that they are there. */
  show(peer: string): void {
    if (this.isAbsent) {
      this.#mayKnow.add(peer);
      for (const messageId of this.#outbox.toResend(peer)) {
        this.#freed.add(messageId);
      }
    }
  }

  /** Whether this user may receive what waits for them. */
  mayKnow(peer: string): boolean {
    return !this.isAbsent || this.#mayKnow.has(peer);
  }

  /** Nothing waits for other users any more. */
  forgetAllBut(peers: Iterable<string>): void {
    this.#mayKnow = new Set([...peers].filter((peer) => this.#mayKnow.has(peer)));
  }

  /** An entry may leave, for its recipient may know. */
  free(messageId: string): void {
    if (this.isAbsent) {
      this.#freed.add(messageId);
    }
  }

  /** Whether an entry is to wait. */
  isHidden(entry: OutboxRecord): boolean {
    const isOfUser = entry.text !== null && !entry.again;
    return !isOfUser && !this.#freed.has(entry.messageId) && this.isHiddenFrom(entry.peer);
  }

  /** Whether this user is to see nothing of the device. */
  isHiddenFrom(peer: string): boolean {
    return this.isAbsent && !this.#outbox.isFor(peer);
  }

  /** The user has asked for this user's key. */
  introduce(peer: string): void {
    this.#introduced.add(peer);
  }

  /** Whether this user's key may be asked for. */
  mayIntroduce(peer: string): boolean {
    return this.#introduced.has(peer) || !this.isHiddenFrom(peer);
  }
}
