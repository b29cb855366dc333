/** Every warning that a user can get, in one place; one that goes on is repeated now and then. */
import { about, span } from "./pacing.ts";
import { Strength } from "./records.ts";
import { isolated, oneLine, quoted } from "./sanitize.ts";
import { labelOf } from "./status.ts";
import type { Contact, WarningEvent } from "./status.ts";

/** Shorter pauses for a limit are not worth a warning. */
export const NOTICED_PAUSE_MS = 3_000;

/** The code of `notDeleted`. */
export const NOT_DELETED = "not-deleted";

/** How often a user is warned about something that goes on. */
export const WARN_AGAIN_MS = 60_000;

/** Warnings that messages wait for the relay. Times are monotonic milliseconds. */
export class PauseNotices {
  #pausedAt: number | null = null;
  #storageAt: number | null = null;
  /** Users for whom the relay accepts nothing at the moment, and since when. */
  readonly #refusedSince = new Map<string, number>();

  /** The relay has accepted something for this user. */
  accepted(peer: string): void {
    this.#refusedSince.delete(peer);
  }

  /** This many messages wait because of a limit. */
  paused(waiting: number, wait: number, now: number): WarningEvent[] {
    return wait >= NOTICED_PAUSE_MS ? this.#warn(waiting, wait, now) : [];
  }

  /** The relay accepts nothing for this user now: a warning if it lasts, in one wait or in many. */
  refused(peer: string, waiting: number, wait: number, now: number): WarningEvent[] {
    const since = this.#refusedSince.get(peer) ?? now;
    this.#refusedSince.set(peer, since);
    return now + wait - since >= NOTICED_PAUSE_MS ? this.#warn(waiting, wait, now) : [];
  }

  /** The relay cannot store messages. */
  storage(peer: Contact, now: number): WarningEvent[] {
    if (this.#storageAt !== null && now - this.#storageAt < WARN_AGAIN_MS) {
      return [];
    }
    this.#storageAt = now;
    this.#pausedAt = now; // no second warning about the same wait
    return [warning(peer, "storage", "the relay cannot store messages now; they will be sent as soon as it can")];
  }

  #warn(waiting: number, wait: number, now: number): WarningEvent[] {
    if (waiting === 0 || (this.#pausedAt !== null && now - this.#pausedAt < WARN_AGAIN_MS)) {
      return [];
    }
    this.#pausedAt = now;
    const what = waiting === 1 ? "1 message is waiting" : `${waiting} messages are waiting`;
    const text = `you are sending faster than the relay allows: ${what}; the next one goes out in ${span(wait)}`;
    return [warning(null, "paused", text)];
  }
}

/** The user has to look at a changed key. */
export function keyChanged(peer: Contact): WarningEvent {
  const text = `${labelOf(peer)} has a new key: nothing is sent until you compare it with them, or accept it`;
  return warning(peer, "key-changed", text);
}

/** The user has to decide whether messages may be sent with weaker keys; `hadBetter`: there were other ones. */
export function weakBundle(
  peer: Contact,
  strength: Strength,
  { hadBetter }: { readonly hadBetter: boolean },
): WarningEvent {
  const who = labelOf(peer);
  let lack = `offers no newer keys for ${who}: their program or the relay is outdated, or the relay is hiding them`;
  if (strength === Strength.CLASSICAL) {
    lack = hadBetter ? "no longer offers a post-quantum key" : "offers no post-quantum key";
  } else if (hadBetter) {
    lack = `no longer offers the newer keys for ${who}`;
  }
  const attack = hadBetter ? ", which could be an attack" : "";
  const text = `the relay ${lack}${attack}; nothing is sent to ${who} until you allow older encryption`;
  return warning(peer, weakCode(strength, hadBetter), text);
}

/** A peer writes in a session that is weaker than it must be: it is read, but not used to answer. */
export function weakSession(
  peer: Contact,
  strength: Strength,
  { hadBetter }: { readonly hadBetter: boolean },
): WarningEvent {
  const isClassical = strength === Strength.CLASSICAL;
  const lack = isClassical ? "has no post-quantum protection" : "uses the older encryption";
  let text = `a message from ${labelOf(peer)} ${lack}; nothing is sent to them that way`;
  if (hadBetter) {
    // Of others the bundle says it, when they are written to; here there may be a session that they have lost.
    const again = isClassical ? "no longer has post-quantum protection" : "uses the older encryption again";
    text =
      `a message from ${labelOf(peer)} ${again}, because of an older program or an attack: nothing is sent to them ` +
      "that way until you allow older encryption";
  }
  return warning(peer, weakCode(strength, hadBetter), text);
}

/** What to say of the session in use, if the user has allowed it although it is weak. */
export function allowedSession(peer: Contact, floor: Strength): WarningEvent[] {
  if (!peer.classical || floor !== Strength.CLASSICAL) {
    return [];
  }
  const text = `messages with ${labelOf(peer)} have no post-quantum protection, as you allowed`;
  return [warning(peer, "classical", text)];
}

function weakCode(strength: Strength, hadBetter: boolean): string {
  if (hadBetter) {
    return "downgrade";
  }
  return strength === Strength.CLASSICAL ? "classical" : "older";
}

/** The relay does not know whom a message is for. */
export function unknownUser(peer: Contact): WarningEvent {
  const who = labelOf(peer);
  const text =
    peer.key === null
      ? `the relay does not know ${who} yet; messages wait until they have connected once`
      : `the relay does not know ${who} any more: the account was deleted, or moved to another relay; messages wait ` +
        "in case it comes back";
  return warning(peer, "unknown-user", text);
}

/** The relay does not know another device of this user's; `name`: what it is called, '' if that is not known. */
export function unknownDevice(name: string, isFirst: boolean): WarningEvent {
  const other = name === "" ? "a device of yours" : `your device '${isolated(oneLine(name))}'`;
  const then = isFirst
    ? "this device goes on as you, but without that one no device can be linked or removed"
    : "if you use it no more, remove it on your first device";
  const text =
    `the relay does not know ${isFirst ? "your first device" : other} any more: its account was deleted, or moved to ` +
    `another relay; ${then}`;
  return warning(null, "unknown-device", text);
}

/** Somebody has no keys of suite 2, and is one of those to whom a message to many goes. */
export function tooOld(peer: Contact): WarningEvent {
  const what = `what you send to several people at once cannot reach ${labelOf(peer)}`;
  return warning(peer, "outdated", `${what}: their program or the relay is outdated; it waits until it can`);
}

/** A mailbox is full. */
export function backlog(peer: Contact): WarningEvent {
  const text = `the mailbox of ${labelOf(peer)} is full; the message will be sent when there is room`;
  return warning(peer, "backlog", text);
}

/** The relay has rejected a message for good; `reason` is its sentence. */
export function refused(peer: Contact, reason: string): WarningEvent {
  return warning(peer, "refused", `the relay rejected a message to ${labelOf(peer)}: ${quoted(reason)}`);
}

/** The relay has handed out prekeys that are not this user's. */
export function wrongBundle(peer: Contact, reason: string): WarningEvent {
  return warning(peer, "key-exchange", `the relay handed out a wrong key for ${labelOf(peer)}: ${reason}`);
}

/** The relay has handed out prekeys that are signed, but not of this time. */
export function staleBundle(peer: Contact): WarningEvent {
  const text =
    `the keys that the relay has for ${labelOf(peer)} are too old or dated in the future: check this device's clock; ` +
    "if it is right, their clock is wrong, they have not been online for months, or the relay holds back newer keys";
  return warning(peer, "stale-keys", text);
}

/** A message has arrived out of order. */
export function late(peer: Contact): WarningEvent {
  return warning(peer, "late", `a message from ${labelOf(peer)} arrived after ones that were written later`);
}

/** A peer could not read messages of ours. */
export function resent(peer: Contact, count: number): WarningEvent {
  const what = count === 1 ? "1 of your messages; it is being" : `${count} of your messages; they are being`;
  return warning(peer, "resent", `${labelOf(peer)} could not read ${what} sent again`);
}

/** A message cannot be decrypted. */
export function unreadable(
  peer: Contact,
  given: { readonly isKnown: boolean; readonly isRecoverable: boolean; readonly isNewer: boolean },
): WarningEvent {
  let [code, what] = ["unreadable", "cannot be decrypted; accept them to ask for it again"];
  if (given.isNewer) {
    [code, what] = ["newer", "needs a newer version; reload this page"];
  } else if (!given.isRecoverable) {
    what = "cannot be decrypted; ask for it again";
  } else if (given.isKnown) {
    [code, what] = ["waiting", "cannot be decrypted: waiting for it to be sent again"];
  }
  return warning(peer, code, `a message from ${labelOf(peer)} ${what}`);
}

/** The relay mixes up its mailboxes. */
export function misdirected(): WarningEvent {
  const text = "the relay is delivering messages meant for someone else; tell its operator";
  return warning(null, "misdirected", text);
}

/** The relay was asked to delete the account, and has refused, or the connection has ended before it was done. */
export function notDeleted(): WarningEvent {
  const text = "the relay has not confirmed that it deleted your account, and nothing was deleted here; try again";
  return warning(null, NOT_DELETED, text);
}

/** A link to a group, which this user has opened, serves no more. */
export function linkRefused(admin: Contact): WarningEvent {
  const who = labelOf(admin);
  const text = `the link to a group of ${who} does not work any more: it is used up, too old, or withdrawn; ask for another`;
  return warning(admin, "link-refused", text);
}

/** There was a fault in what the client does for groups by itself. */
export function groupsFailed(): WarningEvent {
  const text = "something failed that should not, and groups are left alone until this page is loaded again; please report it";
  return warning(null, "groups-failed", text);
}

/** The client fails at something that the relay delivers, or that waits here. */
export function setAside(): WarningEvent {
  const text =
    "a message cannot be processed and stays where it is; reload this page later to try it again";
  return warning(null, "aside", text);
}

/** The relay accepts no more blocked users. */
export function blocksFull(): WarningEvent {
  const text = "the relay cannot block any more users; this device discards their messages unread";
  return warning(null, "block", text);
}

/** The relay has rejected the prekeys; `reason` is its sentence. */
export function prekeysRefused(reason: string): WarningEvent {
  return warning(null, "prekeys", `the relay rejected this device's new keys: ${quoted(reason)}`);
}

/** The relay's clock is this many milliseconds ahead of this device's. */
export function clock(ahead: number): WarningEvent {
  const way = ahead > 0 ? "behind" : "ahead of";
  const text = `this device's clock is ${about(Math.abs(ahead))} ${way} the relay's; check its date and time`;
  return warning(null, "clock", text);
}

export function warning(peer: Contact | null, code: string, message: string): WarningEvent {
  return { kind: "warning", peer, code, message };
}
