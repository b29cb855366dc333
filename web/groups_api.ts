/**
 * What the page and its worker say to each other about groups; the rest is in `api.ts`, whose rules hold here, too.
 *
 * A group is a conversation like one with a person. Where a call or an update names a conversation by `peer`, a
 * group's `key` can stand: `items`, `search`, `send` (without `burn` and `expiresIn`: the group's timer counts),
 * `sendAgain`, `removeItem`, `read`, `draft`, and the updates `items` and `warning`. All texts in here are safe to show
 * and on one line, but those that members wrote.
 */
import type { Item, Mark, Notice, Trust } from "./api.ts";

/** A group's conversation: its id in base64 behind a word, so that it is never mistaken for that of a person. */
export type GroupKey = `group:${string}`;

/** Whether a conversation is a group's. */
export function isGroup(peer: string): peer is GroupKey {
  return peer.startsWith("group:");
}

export type Role = "member" | "admin";

/**
 * What the user is to a group. invited: nothing of it is shown but who invites, and nobody is told anything. left,
 * removed, closed: what was said stays, nothing is sent.
 */
export type Relation = "invited" | "member" | "left" | "removed" | "closed";

/** Somebody in a group. */
export interface GroupPerson {
  /** User id. */
  readonly peer: string;
  readonly writtenId: string;
  /** What the user calls them; '' for a stranger. */
  readonly name: string;
  /** What they call themselves in the group, if the user has no name for them: anybody can say any name. */
  readonly says: string;
  readonly trust: Trust;
  readonly isMe: boolean;
}

/** A small picture, as a member has made it. */
export interface GroupPicture {
  readonly type: "image/png" | "image/jpeg" | "image/webp";
  readonly data: Uint8Array;
  /** Its hash in base64: whether it is another one. */
  readonly name: string;
}

export interface GroupMember extends GroupPerson {
  readonly role: Role;
  /** False of somebody who was added and has not said yet that they accept. */
  readonly hasJoined: boolean;
  /** They have said that they leave, and an admin's program is to remove them. */
  readonly isLeaving: boolean;
}

/** A group, as the user has it now. */
export interface Group {
  readonly key: GroupKey;
  /** '' if it has none. */
  readonly name: string;
  /** The beginning of its id, if its name looks like that of a contact or of another group; else ''. */
  readonly twin: string;
  readonly relation: Relation;
  /** The user's; null if they are no member, or only invited. */
  readonly role: Role | null;
  /** Who has added the user; null if they have created the group. */
  readonly inviter: GroupPerson | null;
  /** Invited back by somebody who was no admin when the user was a member. */
  readonly wasNoAdmin: boolean;
  /** Invited by somebody who is no contact: it belongs to the requests. */
  readonly isRequest: boolean;
  /**
   * forked: two histories of the group are known, the other one to `rival`: nothing is sent until an admin has cleared
   * it up, or the user goes on with the members as shown (`goOnInGroup`). newer: a later version has changed it.
   */
  readonly doubt: "" | "forked" | "newer";
  readonly rival: GroupPerson | null;
  /** Changes of the group are missing, and asked for. */
  readonly isBehind: boolean;
  /** The user's changes wait for one of those, until it comes or they go on (`goOnInGroup`). */
  readonly isWaiting: boolean;
  /** The user among them, in the order of the ids. */
  readonly members: readonly GroupMember[];
  /** Shown as an `<img>` of a blob, never decoded otherwise, and not if it is more than 1,024 pixels wide or high. */
  readonly picture: GroupPicture | null;
  /** How long new texts last, in milliseconds; null: they stay. */
  readonly expiresIn: number | null;
  /** What one must be, at least, to have others added, and to write. */
  readonly invite: Role;
  readonly write: Role;
  /** What the user may do now, all counted: relation, role, rights, doubt. */
  readonly mayWrite: boolean;
  readonly mayInvite: boolean;
  readonly mayChange: boolean;
  /** The last admin of a group with others must name another one first, or close it. */
  readonly mayLeave: boolean;
  readonly isMuted: boolean;
  /** What the user calls themselves there; '' if nothing. */
  readonly ownName: string;
  readonly unread: number;
  readonly draft: string;
  readonly last: Item | null;
  /** How many changes of the user's own wait to be sent and put in order. */
  readonly waiting: number;
  /** How often it has changed. */
  readonly revision: number;
  readonly notice: Notice | null;
}

/** What an `Item` of a group has besides. */
export interface InGroup {
  /** Who wrote it, or who did what the sentence of an event tells; null of one's own. */
  readonly author: GroupPerson | null;
  /** Of one's own texts: how far it has come, with how many of those it was sent to; null once that is forgotten. */
  readonly copies: Copies | null;
}

export interface Copies {
  readonly of: number;
  /** At the relay or further. */
  readonly accepted: number;
  /** Delivered or further. Groups of more than 32 members do not tell it. */
  readonly delivered: number;
  readonly read: number;
  /** The relay refuses it for them. */
  readonly failed: number;
}

/** How far a text has come with one member. */
export interface Copy {
  readonly person: GroupPerson;
  readonly mark: Mark;
}

/** To which group a stranger invites, as it was told last; before anything of theirs is let in. */
export interface GroupInvitation {
  readonly name: string;
  /** The user included. */
  readonly members: number;
  readonly admins: number;
  /** Those among them whom the user knows. */
  readonly known: readonly GroupPerson[];
  readonly expiresIn: number | null;
}

export interface JoinLink {
  /** `phantom:join?...`: for every client. */
  readonly text: string;
  /** The page's address with that behind `#`: what a browser opens. */
  readonly address: string;
  /** How many people it still serves, and until when. */
  readonly uses: number;
  readonly until: number;
}

/**
 * The calls about groups. `group` is a key. A change is accepted here, and shown once the relay has put it in order;
 * while it waits, `waiting` counts it. If it can no longer be done, a warning says why.
 */
export interface GroupCalls {
  groups(): Promise<readonly Group[]>;
  /**
   * Of somebody whose messages wait as a request; they are told nothing, and nothing is kept. Null: they say something
   * about groups, and invite to none, as a member does of a group to which somebody else invites.
   */
  invitationsOf(given: { peer: string }): Promise<readonly GroupInvitation[] | null>;
  /** `people`: user ids, who are added and invited. */
  createGroup(given: { name: string; people: readonly string[]; ownName: string }): Promise<GroupKey>;
  /** `ownName`: as of `callMe`. */
  acceptGroup(given: { group: GroupKey; ownName?: string }): Promise<void>;
  /** What members are to call the user who have not added them; '' for nothing any more. */
  callMe(given: { group: GroupKey; name: string }): Promise<void>;
  /** Leaves it, or declines the invitation. */
  leaveGroup(given: { group: GroupKey }): Promise<void>;
  /** Erases a group that one is not in any more, with all that was said. */
  forgetGroup(given: { group: GroupKey }): Promise<void>;
  closeGroup(given: { group: GroupKey }): Promise<void>;
  /** By an admin, or a member who may invite and asks the admins so. */
  addToGroup(given: { group: GroupKey; people: readonly string[]; role: Role }): Promise<void>;
  removeFromGroup(given: { group: GroupKey; people: readonly string[] }): Promise<void>;
  changeRole(given: { group: GroupKey; person: string; role: Role }): Promise<void>;
  renameGroup(given: { group: GroupKey; name: string }): Promise<void>;
  /** A PNG, JPEG or WebP of at most 4,096 bytes, made so small by the page and without what cameras write; null: none. */
  groupPicture(given: { group: GroupKey; picture: Uint8Array | null }): Promise<void>;
  groupRights(given: { group: GroupKey; invite: Role; write: Role }): Promise<void>;
  groupTimer(given: { group: GroupKey; expiresIn: number | null }): Promise<void>;
  muteGroup(given: { group: GroupKey; isMuted: boolean }): Promise<void>;
  /** Write to it again although another history is known, with the members that are shown. */
  goOnInGroup(given: { group: GroupKey }): Promise<void>;
  /** Four groups of five digits, which all members have in common; takes up to a second. */
  groupDigits(given: { group: GroupKey }): Promise<readonly string[]>;
  /** Of a group that is forked: those of the history that `rival` has named; null if it is not known. */
  rivalDigits(given: { group: GroupKey }): Promise<readonly string[] | null>;
  /** A link for `uses` people (1 to 100), for `lasts` milliseconds (at most 30 days). */
  groupLink(given: { group: GroupKey; uses: number; lasts: number }): Promise<JoinLink>;
  /** Links of this user that still serve. */
  groupLinks(given: { group: GroupKey }): Promise<readonly JoinLink[]>;
  /** None of them serves any more. */
  endGroupLinks(given: { group: GroupKey }): Promise<void>;
  /** Asks to be added, by a link in either form; returns the user id of the admin who is asked. */
  joinGroup(given: { link: string; ownName: string }): Promise<string>;
  /** How far a text of one's own has come with each member. */
  groupCopies(given: { group: GroupKey; id: string }): Promise<readonly Copy[]>;
}

/** What the worker tells of groups on its own: new or changed ones, and those that are gone. */
export interface GroupsUpdate {
  readonly kind: "groups";
  readonly changed: readonly Group[];
  readonly removed: readonly GroupKey[];
}
