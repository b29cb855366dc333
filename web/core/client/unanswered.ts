/**
 * Messages that their recipients have not answered: what a later answer has overtaken is presumed lost in the end.
 *
 * In memory; whoever uses it knows from the disk what waits. Times are monotonic milliseconds.
 */

/** How long a message may be overtaken before it counts as lost: longer than the relay remembers ids. */
export const LOST_MS = 660_000;

/** What was accepted by the relay for each recipient, and not answered by them. */
export class Unanswered {
  /** Ids of messages by recipient, in the order in which they were accepted. */
  readonly #waiting = new Map<string, Set<string>>();
  /** Messages that were overtaken by an answered one: whose, which, and since when. */
  readonly #overtaken = new Map<string, { readonly peer: string; readonly messageId: string; readonly since: number }>();

  /** Whether an answer is waited for. */
  has(peer: string, messageId: string): boolean {
    return this.#waiting.get(peer)?.has(messageId) === true;
  }

  /** The messages of which this user is to answer. */
  of(peer: string): readonly string[] {
    return [...(this.#waiting.get(peer) ?? [])];
  }

  /** A message was accepted, perhaps once more: it is the last one now. */
  put(peer: string, messageId: string): void {
    this.answered(peer, messageId);
    const waiting = this.#waiting.get(peer);
    if (waiting === undefined) {
      this.#waiting.set(peer, new Set([messageId]));
    } else {
      waiting.add(messageId);
    }
  }

  /** It was answered, or no answer will come. */
  answered(peer: string, messageId: string): void {
    const waiting = this.#waiting.get(peer);
    waiting?.delete(messageId);
    if (waiting?.size === 0) {
      this.#waiting.delete(peer);
    }
  }

  /** No answer of this user is waited for. */
  drop(peer: string): void {
    this.#waiting.delete(peer);
  }

  /**
   * Messages that were accepted before one of `answered` and are not among them: somebody has lost them.
   *
   * @param answered ids, of messages to this user or others
   * @param isQueued whether a message is to be sent again anyway
   */
  overtaken(peer: string, answered: readonly string[], isQueued: (messageId: string) => boolean): string[] {
    const waiting = this.#waiting.get(peer) ?? new Set<string>();
    const left = new Set(answered.filter((messageId) => waiting.has(messageId)));
    const before: string[] = [];
    for (const name of waiting) {
      if (left.size === 0) {
        break;
      }
      if (!left.delete(name) && !isQueued(name)) {
        before.push(name);
      }
    }
    return before;
  }

  /**
   * Messages were overtaken: `presumedLost` names them if they stay unanswered for `LOST_MS`.
   *
   * Not at once: the relay takes an id for a duplicate for ten minutes after its recipient had it.
   */
  suspect(peer: string, messageIds: readonly string[], now: number): void {
    for (const messageId of messageIds) {
      const name = `${peer} ${messageId}`;
      if (!this.#overtaken.has(name)) {
        this.#overtaken.set(name, { peer, messageId, since: now });
      }
    }
  }

  /** Suspected messages whose time has come, by user; each is named once. */
  presumedLost(now: number): Map<string, string[]> {
    const found = new Map<string, string[]>();
    for (const [name, { messageId, peer, since }] of [...this.#overtaken]) {
      if (!this.has(peer, messageId)) {
        this.#overtaken.delete(name);
      } else if (now - since >= LOST_MS) {
        this.#overtaken.delete(name);
        found.set(peer, [...(found.get(peer) ?? []), messageId]);
      }
    }
    return found;
  }
}
