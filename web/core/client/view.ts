/**
 * What a user sees of a profile: values of `api.ts`, made of the stores each time. Nothing here is stored or counted.
 */
import type { Conversation, Item, Mark, Notice, Page } from "../../api.ts";
import { encodeBase64 } from "../wire/base64.ts";
import { folded } from "./names.ts";
import type { HistoryEntry } from "./history.ts";
import { writtenId } from "./ids.ts";
import { wallAt } from "./moment.ts";
import type { Moment } from "./moment.ts";
import * as records from "./records.ts";
import { isKnown, isThere } from "./records.ts";
import type { ContactRecord, ReceivedRecord, SentRecord } from "./records.ts";
import { oneLine } from "./sanitize.ts";
import { DeliveryState, labelOf } from "./status.ts";
import type { Contact, WarningEvent } from "./status.ts";
import type { Stores } from "./stores.ts";

/** What is seen of a profile and is not in its stores, for it ends with the connection. */
export interface Passing {
  /** By user. */
  readonly presence: ReadonlyMap<string, Conversation["presence"]>;
  /** The last lasting warning about each user. */
  readonly notices: ReadonlyMap<string, Notice>;
}

const UNKNOWN: Conversation["presence"] = { status: "unknown", lastSeen: null };

/** Warnings that go on until something is sent to the user, or the user decides; the others are said once. */
const LASTING: ReadonlySet<string> = new Set([
  "backlog",
  "classical",
  "differs",
  "downgrade",
  "key-exchange",
  "older",
  "stale-keys",
  "unknown-user",
]);

/** How far an own text has come, by `DeliveryState`. */
export const MARKS: Readonly<Record<number, Mark>> = {
  [DeliveryState.QUEUED]: "waiting",
  [DeliveryState.ACCEPTED]: "sent",
  [DeliveryState.DELIVERED]: "delivered",
  [DeliveryState.READ]: "read",
  [DeliveryState.BURNED]: "burned",
  [DeliveryState.EXPIRED]: "expired",
  [DeliveryState.FAILED]: "failed",
};

// --- conversations ----------------------------------------------------------------

/** The user ids of all conversations, in no order. */
export function peersOf(stores: Stores): string[] {
  const all = new Set([...stores.book.userIds(), ...stores.requests.senders(), ...stores.index.peers()]);
  return [...all].filter((peer) => isListed(stores, peer));
}

/** Whether there is anything of a user to be seen. */
export function isListed(stores: Stores, peer: string): boolean {
  const record = stores.book.get(peer);
  if (record.deviceOf !== null) {
    return false; // somebody's device, or a person of one's own
  }
  // Who has neither a name nor a text was only asked for something, such as to be let into a group.
  const isNoted = isKnown(record) && (record.name !== "" || record.trust !== "unverified");
  return isNoted || record.blocked || isRequest(stores, peer) || [records.PAGE, records.PAST].some((kind) => stores.vault.has(kind, peer));
}

/** Whether what a stranger has written waits to be accepted: nothing of it is shown but by `peek`. */
export function isRequest(stores: Stores, peer: string): boolean {
  return stores.requests.waiting(peer) > 0 && stores.requests.holds(peer) && !stores.book.isBlocked(peer);
}

/** A conversation as it is now. */
export function conversationOf(stores: Stores, peer: string, now: Moment, passing: Passing): Conversation {
  const record = stores.book.get(peer);
  const contact = stores.book.contact(peer);
  const isAsking = isRequest(stores, peer);
  return {
    peer,
    writtenId: writtenId(peer),
    name: record.name === "" ? "" : oneLine(record.name),
    trust: contact.trust,
    newKey: newKeyOf(contact),
    isRequest: isAsking,
    isBlocked: record.blocked,
    allowsOlder: record.allowsClassical,
    unread: isAsking ? stores.requests.waiting(peer) : stores.inbox.unread(peer),
    draft: stores.vault.find(records.DRAFT, peer)?.text ?? "",
    expiresIn: stores.vault.find(records.LASTING, peer)?.expiresIn ?? null,
    last: isAsking ? null : lastOf(stores, peer, now),
    presence: passing.presence.get(peer) ?? UNKNOWN,
    notice: noticeOf(stores, record, contact, passing),
  };
}

/** The key that the user is to judge, base64; '' if there is none. */
export function newKeyOf(contact: Contact): string {
  return contact.trust === "changed" && contact.key !== null ? encodeBase64(contact.key) : "";
}

function lastOf(stores: Stores, peer: string, now: Moment): Item | null {
  for (const entry of stores.history.newest(peer)) {
    return itemOf(stores, entry, now);
  }
  return null;
}

/** What the user must know of a conversation, the most important first. */
function noticeOf(stores: Stores, record: ContactRecord, contact: Contact, passing: Passing): Notice | null {
  const who = labelOf(contact);
  if (contact.trust === "changed") {
    const text = `${who} has a new key: nothing is sent until you compare it with them, or accept it`;
    return { code: "key-changed", text };
  }
  const lasting = passing.notices.get(record.userId);
  if (lasting !== undefined) {
    return lasting;
  }
  if (record.key.length === 0 && stores.outbox.texts(record.userId) > 0) {
    return { code: "no-key", text: `waiting for the keys of ${who}; your messages stay here until then` };
  }
  if (stores.recovery.awaits(record.userId)) {
    const text = `a message from ${who} cannot be decrypted; their device is asked to send it again`;
    return { code: "waiting", text };
  }
  return null;
}

/** The notice that a warning leaves behind at its conversation; null if it is said once. */
export function lastingNotice(warning: WarningEvent): Notice | null {
  return LASTING.has(warning.code) ? { code: warning.code, text: warning.message } : null;
}

// --- items ------------------------------------------------------------------------

/** At most `limit` items of a conversation before a position, or the newest. */
export function pageOf(
  stores: Stores,
  peer: string,
  now: Moment,
  { before, limit }: { readonly before: number | null; readonly limit: number },
): Page {
  const items: Item[] = [];
  for (const entry of stores.history.newest(peer, before === null ? {} : { before })) {
    if (items.length === limit) {
      return { items: items.reverse(), hasOlder: true };
    }
    items.push(itemOf(stores, entry, now));
  }
  return { items: items.reverse(), hasOlder: false };
}

/** One item by its id; null if nothing is known of it. */
export function itemById(stores: Stores, peer: string, id: string, isMine: boolean, now: Moment): Item | null {
  const entry = stores.history.find(peer, id, isMine);
  return entry === null ? null : itemOf(stores, entry, now);
}

/** An item of a message, or of what is left of it. */
export function itemOf(stores: Stores, entry: HistoryEntry, now: Moment): Item {
  switch (entry.kind) {
    case "sent":
      return sentItem(entry.record, entry.position, now);
    case "received":
      return receivedItem(stores, entry.record, entry.position, now);
    case "unreadable":
      return placeholder(entry.record.sender, entry.record.messageId, entry.position, {
        kind: entry.record.curable ? "unreadable" : "broken",
        at: wallAt(now, entry.record.at),
      });
  }
}

/** What stands in the place of a message of which nothing can be shown. */
export function placeholder(
  peer: string,
  id: string,
  position: number,
  { kind, at }: { readonly kind: "unreadable" | "broken" | "gone"; readonly at: number },
): Item {
  return {
    id,
    peer,
    position,
    isMine: false,
    kind,
    text: "",
    at,
    mark: null,
    burns: false,
    expiresAt: null,
    isUnread: false,
    fault: "",
  };
}

function sentItem(sent: SentRecord, position: number, now: Moment): Item {
  const isGone = sent.text === null || isOver(sent.expiresAt, now);
  const isFailed = sent.state === DeliveryState.FAILED;
  // One that burns or expires, and was not sent before a backup was made, has failed as well: that is said.
  const isDeleted = isGone && isFailed && !sent.burn && sent.expiresIn === null;
  return {
    id: sent.messageId,
    peer: sent.peer,
    position,
    isMine: true,
    kind: isGone ? "gone" : "text",
    text: isGone ? "" : (sent.text ?? ""),
    at: sent.madeAt,
    mark: isDeleted ? null : isGone && sent.state < DeliveryState.BURNED ? "expired" : (MARKS[sent.state] ?? "waiting"),
    burns: sent.burn,
    expiresAt: sent.expiresAt === null ? null : wallAt(now, sent.expiresAt),
    isUnread: false,
    fault: isFailed && !isGone ? "The relay refused it, or it was cancelled here." : "",
  };
}

function receivedItem(stores: Stores, received: ReceivedRecord, position: number, now: Moment): Item {
  const isGone = !isThere(received) || isOver(received.expiresAt, now);
  const isCovered = received.burn && !received.read;
  const kind = isGone ? "gone" : received.text === null ? "newer" : isCovered ? "covered" : "text";
  return {
    id: received.messageId,
    peer: received.sender,
    position,
    isMine: false,
    kind,
    text: kind === "text" ? (received.text ?? "") : "",
    at: received.receivedAt,
    mark: null,
    burns: received.burn,
    expiresAt: received.expiresAt === null ? null : wallAt(now, received.expiresAt),
    isUnread: !isGone && stores.inbox.isUnread(received.sender, received.messageId),
    fault: "",
  };
}

function isOver(expiresAt: number | null, now: Moment): boolean {
  return expiresAt !== null && expiresAt <= now.persistent;
}

// --- search -----------------------------------------------------------------------

/**
 * Items in which a text stands, in whatever case and normal form, the newest of each conversation first. It yields null
 * for each one that was looked at in vain, so that whoever asks can stop and go on.
 *
 * @param peer of one conversation, or of all if null; requests are left out
 */
export function* search(stores: Stores, text: string, peer: string | null, now: Moment): Generator<Item | null> {
  const wanted = comparable(text);
  const peers = peer === null ? peersOf(stores).filter((one) => !isRequest(stores, one)) : [peer];
  for (const one of peers) {
    for (const entry of stores.history.newest(one)) {
      const item = itemOf(stores, entry, now);
      yield item.kind === "text" && comparable(item.text).includes(wanted) ? item : null;
    }
  }
}

/** A text in the form in which texts are searched for. */
export function comparable(text: string): string {
  return folded(text.normalize("NFC")).normalize("NFC");
}

// --- the user ---------------------------------------------------------------------

/** What is given to others: the page's address with the id and the name behind `#`. */
export function linkOf(page: string, userId: string, name: string): string {
  const [address = page] = page.split("#");
  const named = name === "" ? "" : `&n=${encodeURIComponent(name)}`;
  return `${address}#c=${writtenId(userId)}${named}`;
}

/** The id and the name in a link, or what was given as the id if it is none. */
export function invitationOf(given: string): { readonly who: string; readonly name: string } {
  const text = given.trim();
  const at = text.indexOf("#");
  const named = new URLSearchParams(at < 0 ? "" : text.slice(at + 1));
  const who = named.get("c");
  return who === null ? { who: text, name: "" } : { who: who.trim(), name: named.get("n") ?? "" };
}
