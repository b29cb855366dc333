/** What a part of the client hears of the messages to many that it has sent, in the transaction that notes it. */
import type { Moment } from "../moment.ts";
import type { DeliveryState, Event } from "../status.ts";
import type { Transaction } from "../vault.ts";

/**
 * What has become of a revision. taken: the relay has stored it, and the message with it. stale: somebody else was
 * first, with `revision` if the relay has said so; `author`: a digest of who that was, empty if it does not say. denied: one may not write it, by what the relay has stored. refused:
 * for another reason, a sentence. But for the first, nobody got the message, and it is forgotten.
 */
export type Ordered =
  | { readonly is: "taken" | "denied" }
  | { readonly is: "stale"; readonly revision: number | null; readonly author: Uint8Array }
  | { readonly is: "refused"; readonly reason: string };

/** A part of the client that sends messages to many, under a name of its own (`purpose`). */
export interface Listener {
  /** The copy for a recipient has come further; returns what the application is to hear. */
  advanced(tx: Transaction, messageId: string, peer: string, state: DeliveryState, now: Moment): Event[];
  /** It is known what has become of the revision that a message brings; before `advanced` of its copies. */
  ordered(tx: Transaction, messageId: string, outcome: Ordered, now: Moment): Event[];
  /** Whether a copy of a conversation is kept for a user whom the relay does not know; without it, it is. */
  waitsFor?(conversationId: string, peer: string): boolean;
}
