/** What an application sees: values that hold no secret. */
import { shortId } from "./ids.ts";
import { cut, isolated, MAX_SAID } from "./sanitize.ts";

/** How far a message has come; a later state implies the earlier ones, except for the last two. */
export const DeliveryState = {
  /** In the outbox of this browser, stored. */
  QUEUED: 0,
  /** On the relay's disk. */
  ACCEPTED: 1,
  /** On the recipient's device. */
  DELIVERED: 2,
  /** Shown to the recipient. */
  READ: 3,
  /** Read, and erased on the recipient's side. */
  BURNED: 4,
  /** Deleted before the recipient got it, because its time was over. */
  EXPIRED: 5,
  /** Rejected by the relay for good. */
  FAILED: 6,
} as const;
export type DeliveryState = (typeof DeliveryState)[keyof typeof DeliveryState];

/** How far a message is of which its recipient says this: only what was to burn can have burned, and is erased. */
export function reached(state: DeliveryState, burns: boolean): DeliveryState {
  return state === DeliveryState.BURNED && !burns ? DeliveryState.READ : state;
}

/** What the user knows about a contact's key; "changed": nothing is sent until the user has judged the new one. */
export type Trust = "unverified" | "verified" | "changed";
export const TRUSTS: readonly string[] = ["unverified", "verified", "changed"] satisfies readonly Trust[];

export type ConnectionState = "connecting" | "online" | "offline" | "refused" | "replaced";

/** Somebody to talk to. */
export interface Contact {
  /** '' for a user without a name, such as a stranger who wrote. */
  readonly name: string;
  /** Base64. */
  readonly userId: string;
  readonly trust: Trust;
  /** The public identity key, null until it has been seen; if it has changed, the new one. */
  readonly key: Uint8Array | null;
  /** Messages of the session in use have no post-quantum protection. */
  readonly classical: boolean;
  /** What they send is dropped unread. */
  readonly blocked: boolean;
  /** What a member of a group calls themselves, if they have no name here; anybody can say any name. */
  readonly says?: string;
}

/**
 * The name of a contact, or the start of the user id, as a part of a sentence; with what they call themselves before it:
 * '~Bob (ph1abc…)'.
 */
export function labelOf({ name, says = "", userId }: Contact): string {
  const start = shortId(userId);
  return isolated(name || (says === "" ? start : `~${cut(says, MAX_SAID)} (${start})`));
}

/** A message has arrived. */
export interface MessageEvent {
  readonly kind: "message";
  readonly messageId: string;
  readonly peer: Contact;
}

/** A message of one's own has reached another state. */
export interface DeliveryEvent {
  readonly kind: "delivery";
  readonly messageId: string;
  readonly peer: Contact;
  readonly state: DeliveryState;
}

/** A contact's presence; `lastSeen`: milliseconds since 1970, null if unknown. */
export interface PresenceEvent {
  readonly kind: "presence";
  readonly peer: Contact;
  readonly status: "online" | "typing" | "idle" | "offline";
  readonly lastSeen: number | null;
}

/**
 * The state of the connection has changed.
 *
 * `reason`: a sentence for the user, or ''. `busy`: the relay is there but admits nobody at the moment. `retryAfter`:
 * milliseconds until the client retries, if that is later than usual, else null.
 */
export interface ConnectionEvent {
  readonly kind: "connection";
  readonly state: ConnectionState;
  readonly reason: string;
  readonly busy: boolean;
  readonly retryAfter: number | null;
}

/** Something the user should know: `code` is stable, `message` is to be shown. */
export interface WarningEvent {
  readonly kind: "warning";
  readonly peer: Contact | null;
  readonly code: string;
  readonly message: string;
}

/** A stranger has written: `waiting` messages wait. */
export interface RequestEvent {
  readonly kind: "request";
  readonly peer: Contact;
  readonly waiting: number;
}

/** A text to a group has arrived; `group`: its id. */
export interface GroupMessageEvent {
  readonly kind: "group-message";
  readonly messageId: string;
  readonly group: string;
  readonly peer: Contact;
}

/** Something has happened to a group; `by`: user id, '' of what this user has done. */
export interface GroupEvent {
  readonly kind: "group";
  readonly news: "invited" | "joined" | "changed" | "left" | "removed" | "closed" | "forked" | "newer" | "waiting";
  readonly group: string;
  readonly by: string;
  /** A sentence. */
  readonly message: string;
}

/**
 * The linking of a device has gone on.
 *
 * `step`: answered: on the first device, the digits that the new one shows can be typed. digits: on the new device, they
 * are to be shown, and its user asked whether it is to belong to `person` (user id). history: `texts` from before have
 * come over, and `left` follow, as far as is known; complete: all have. `name`: of the new device. `reason`: a sentence,
 * if it has ended and will not be linked.
 */
export interface LinkingEvent {
  readonly kind: "linking";
  readonly step: "answered" | "digits" | "linked" | "ended" | "history" | "complete";
  readonly digits: string;
  readonly person: string;
  readonly name: string;
  readonly reason: string;
  readonly texts?: number;
  readonly left?: number;
}

export type Event =
  | GroupEvent
  | GroupMessageEvent
  | LinkingEvent
  | RequestEvent
  | MessageEvent
  | DeliveryEvent
  | PresenceEvent
  | ConnectionEvent
  | WarningEvent;
