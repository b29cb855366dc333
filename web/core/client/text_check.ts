/** What may be written to whom. */
import { MAX_EXPIRES_IN_MS } from "../wire/limits.ts";
import type { AddressBook } from "./address_book.ts";
import { checkLength } from "./content.ts";
import { InvalidUserId, KeyChanged, UsageError } from "./errors.ts";
import { labelOf } from "./status.ts";

/** A text that somebody wants to send; `expiresIn` in milliseconds. */
export interface Wanted {
  readonly peer: string;
  readonly text: string;
  readonly expiresIn: number | null;
}

/**
 * Refuse what cannot be sent as it is.
 *
 * @throws InvalidUserId, MessageTooLong, UsageError it cannot be sent as it is
 * @throws KeyChanged the user must look at the key of this contact first
 */
export function checkText(book: AddressBook, own: readonly string[], { peer, text, expiresIn }: Wanted): void {
  if (own.includes(peer)) {
    throw new InvalidUserId("this is your own ID; ask your contact for theirs");
  }
  if (!book.canBe(peer, own[0] ?? "")) {
    throw new InvalidUserId("this is not the ID of another user; ask them for their link or ID");
  }
  if (/\p{Surrogate}/u.test(text)) {
    throw new UsageError("the message contains half a character (a lone surrogate); remove it");
  }
  checkLength(text);
  if (expiresIn !== null && !(expiresIn >= 1 && expiresIn <= MAX_EXPIRES_IN_MS)) {
    throw new UsageError("a message can expire after 1 millisecond to 365 days; choose a time in between");
  }
  const contact = book.contact(peer);
  if (contact.blocked) {
    throw new UsageError(`${labelOf(contact)} is blocked; unblock them first`);
  }
  if (contact.trust === "changed") {
    throw new KeyChanged(`the key of ${labelOf(contact)} has changed; compare or accept it, then send again`);
  }
}
