/**
 * What further parts of a client do: messages to many, groups. They are loaded apart, so the core asks them through
 * this, and does well without: `NOTHING` takes part in nothing.
 *
 * A transaction that is given is the one that stores what has caused the call: what follows is stored with it.
 */
import type { OwnIdentity } from "../crypto/keys.ts";
import type { Random } from "../bytes.ts";
import type { ErrorFrame, ManyResult, PreKeyBundles, RoutedMessage } from "../wire/frames.ts";
import type { Claim, Newer } from "./content.ts";
import type { ReadText, SyncedGroup } from "./devices/kinds.ts";
import type { GroupTextRecord, GroupTexts } from "./groups/records.ts";
import type { Link } from "./link.ts";
import type { Outgoing } from "./many/outgoing.ts";
import type { Moment } from "./moment.ts";
import type { Presence } from "./presence.ts";
import type { Sending } from "./sending.ts";
import type { Kind } from "./records.ts";
import type { DeliveryState, Event } from "./status.ts";
import type { Stores } from "./stores.ts";
import type { Transaction } from "./vault.ts";

/** A content of a kind that the core does not know, and an extension does. */
export interface Extra {
  readonly kind: string;
  /** What it says of its sender's device list; null if nothing. */
  readonly claim: Claim | null;
  /** What it says of messages of this user; null if nothing. */
  readonly reported: { readonly delivered: readonly string[]; readonly read: readonly string[] } | null;
}

/**
 * What is new of a group that was stored. `isOther`: it is another one now, or something else to this user. `muted`:
 * whether its texts are announced no more, null if that is as it was, or they have just come into it.
 */
export interface GroupStored {
  readonly isOther: boolean;
  readonly muted: boolean | null;
}

/** A group that shows what was said in it: the kind of its texts, and what others call themselves in it, by user id. */
export interface ToldGroup {
  readonly id: string;
  readonly kind: Kind<GroupTextRecord>;
  readonly names: ReadonlyMap<string, string>;
}

/** Groups, for those who keep own devices in step. */
export interface SyncedGroups {
  /** Is told what is new of which group, in the transaction that stores it; null if the user has erased it. */
  follow(listener: (tx: Transaction, group: string, news: GroupStored | null) => void): void;
  /** Whether it is muted; null if this user is no member. */
  isMuted(group: string): boolean | null;
  mute(tx: Transaction, group: string, muted: boolean): void;
  /** The groups that are muted, whatever they are to this user. */
  muted(): readonly string[];
  /** An own device has read these texts, and tells their senders. */
  readElsewhere(tx: Transaction, texts: readonly ReadText[], device: string): void;
  /** The groups in which this user is a member. */
  members(): readonly string[];
  /** A group as devices tell each other of it; null if it is none, or nothing to them yet. */
  of(group: string): SyncedGroup | null;
  /** The groups of which a new device gets what was said. */
  told(): readonly ToldGroup[];
  /** The first device hands over what was said before, by group: older than all of before; how many are kept. */
  takePast(tx: Transaction, past: ReadonlyMap<string, GroupTexts>): number;
  /** What this user has written in groups of which a person is a member, as far as it is there; newest first in each. */
  written(person: string, now: Moment, maxAge: number): Iterable<{ readonly messageId: string; readonly sentAt: number }>;
  /** The first device says what a group is. */
  take(tx: Transaction, said: SyncedGroup, now: Moment): Event[];
}

/** The further parts of a client. */
export interface Extension {
  /** Takes messages to many; null if nothing does. */
  readonly outgoing: Outgoing | null;
  /** What AUTH says that this client can do besides. */
  readonly features: readonly string[];
  /** Groups, null if there are none. */
  readonly synced: SyncedGroups | null;

  /** Whether nothing else may be sent to a user now. */
  isBusy(peer: string): boolean;
  /** How many messages wait; for one user, if one is named. */
  waiting(peer?: string): number;
  /** Send whatever may be sent now. */
  sendPending(link: Link, now: Moment): Event[];
  /** Answers that the core knows nothing of. */
  receive(frame: ManyResult | PreKeyBundles, now: Moment): Event[];
  /** The relay says how far a copy has come, as of a message to one; null if it is of nothing that waits here. */
  accepted(messageId: string, recipient: string, now: Moment, isAccepted: boolean): Event[] | null;
  /** The relay has a message for a user, and says so directly: its request will not be refused. */
  answered(request: string, messageId: string, peer: string): void;
  /** An error has come; null if it was for none of ours. */
  refused(error: ErrorFrame, now: Moment): Event[] | null;
  disconnected(): void;
  /** Ask for the prekeys of a user so that the relay takes them for no contact; false if it knows no way to. */
  askFor(link: Link, peer: string, now: Moment): boolean;
  /** This user is written to no more. */
  drop(tx: Transaction, peer: string): void;

  /**
   * A content that the core does not know; null if it is not known here either.
   *
   * @throws InvalidMessage It is of a kind that is known, and not as that must be.
   */
  read(said: Newer): Extra | null;
  /** Whether a stranger's message is looked into, as it may be no request; `isNew`: it has just come. */
  expects(frame: RoutedMessage, now: Moment, isNew: boolean): boolean;
  /** Whether a stranger's message is looked into, as a fellow member may ask in it for what they could not read. */
  mayAskAgain(frame: RoutedMessage, now: Moment): boolean;
  /** Whether it is: once it has been read. */
  concerns(sender: string, said: Extra, now: Moment): boolean;
  /**
   * Whether a stranger's message that waits as a request holds nothing to read, and nothing will come of it; `said`: what
   * it says, null if nothing that is known here, if it was looked into.
   */
  isVain(frame: RoutedMessage, now: Moment, said?: Extra | null): boolean;
  /** Take in what somebody says, whose key is the known one. */
  take(tx: Transaction, frame: RoutedMessage, said: Extra, now: Moment): Event[];

  /** A message that is here already has come again: its sender may not know that it is. */
  cameAgain(frame: RoutedMessage): void;

  /** A recipient has said how far a message has come; null if there is no such message. */
  follow(tx: Transaction, messageId: string, peer: string, state: DeliveryState, now: Moment): Event[] | null;
  /** What waits for this user was encrypted for a session that is gone. */
  unseal(tx: Transaction, peer: string): void;
  /** Whether a message was said in a group, and has a copy for this user. */
  isOfGroupTo(messageId: string, peer: string): boolean;
  /** Send again what a user could not read; how much. */
  resend(tx: Transaction, peer: string, messageIds: readonly string[], now: number, key: Uint8Array): number;

  /** Messages that have stayed unanswered long after later ones were answered, by user; `now` is monotonic. */
  presumedLost(now: number): ReadonlyMap<string, readonly string[]>;

  /** Whether somebody may learn that we are there, though they are no contact. */
  mayNotify(peer: string): boolean;
  forgetExpired(tx: Transaction, now: number): void;
  /** Milliseconds until each thing that waits for a time. */
  waits(now: number): number[];
  /** Do what is due. */
  step(): void;
  /** Gather nothing any longer: the program is about to leave. */
  flush(): void;
}

/** None. */
export const NOTHING: Extension = {
  outgoing: null,
  features: [],
  synced: null,
  isBusy: () => false,
  waiting: () => 0,
  sendPending: () => [],
  receive: () => [],
  accepted: () => null,
  answered: () => undefined,
  refused: () => null,
  disconnected: () => undefined,
  askFor: () => false,
  drop: () => undefined,
  read: () => null,
  expects: () => false,
  mayAskAgain: () => false,
  concerns: () => false,
  isVain: () => false,
  take: () => [],
  cameAgain: () => undefined,
  follow: () => null,
  unseal: () => undefined,
  isOfGroupTo: () => false,
  resend: () => 0,
  presumedLost: () => new Map(),
  mayNotify: () => false,
  forgetExpired: () => undefined,
  waits: () => [],
  step: () => undefined,
  flush: () => undefined,
};

/** Where the stores find the extension, which is made of them. */
export interface Slot {
  is: Extension;
}

/** What an extension is made of. */
export interface ExtensionPorts {
  readonly stores: Stores;
  readonly sending: Sending;
  readonly identity: OwnIdentity;
  readonly ownId: string;
  readonly random: Random;
  readonly presence: Presence;
  readonly now: () => Moment;
  /** The connection, if the login is through. */
  readonly openLink: () => Link | null;
  readonly report: (events: readonly Event[]) => void;
  /** Send whatever may be sent now. */
  readonly sendPending: () => void;
}

/** Makes the further parts of a client. */
export type Extend = (ports: ExtensionPorts) => Extension;
