/** What is seen of a profile and not stored. */
import type { Conversation, Notice } from "../api.ts";
import type { Passing } from "../core/client/view.ts";

/** How long somebody who has typed is shown as typing. */
export const TYPING_MS = 10_000;

/** What is seen and not stored; it outlives a core that was thrown away. */
export class PassingState implements Passing {
  readonly presence = new Map<string, Conversation["presence"]>();
  readonly notices = new Map<string, Notice>();
  /** The conversations as the page was told of them last, as JSON. */
  readonly told = new Map<string, string>();
}
