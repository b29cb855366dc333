/** What the vault holds, as typed records. Each kind's name and value stand together here. */
import { isEqual, NO_BYTES } from "../bytes.ts";
import { bool, bytes, int, list, mapOf, orMissing, orNull, recordType, text, withDefault } from "./record_types.ts";
import type { RecordOf, RecordType } from "./record_types.ts";

const none = withDefault(bytes, NO_BYTES);
const empty = withDefault(text, "");
const no = withDefault(bool, false);
const yes = withDefault(bool, true);
const zero = withDefault(int, 0);
const never = withDefault(orNull(int), null);

/** A sort of records. `isCached`: its values stay in memory once they were read; the others are decrypted each time. */
export interface Kind<T> {
  readonly kind: string;
  readonly type: RecordType<T, never>;
  readonly isCached: boolean;
}

/** A sort of records, whatever they hold. */
export type AnyKind = Pick<Kind<unknown>, "kind">;

/** A kind of records. */
export function kindOf<T>(kind: string, type: RecordType<T, never>, { isCached = false } = {}): Kind<T> {
  return { kind, type, isCached };
}

/** `seed` has 32 bytes; `server` is the relay's URL, '' if none yet. */
export const IdentityRecord = recordType({ seed: bytes, server: text });
export type IdentityRecord = RecordOf<typeof IdentityRecord>;

/** How long until a user with whom suite 1 is in use is asked again for dated prekeys: each time costs one of them. */
export const ASK_OLDER_AGAIN_MS = 86_400_000;

/** How safe a session is. */
export const Strength = {
  /** Of suite 1, without a post-quantum secret. */
  CLASSICAL: 0,
  SUITE_1: 1,
  SUITE_2: 2,
} as const;
export type Strength = (typeof Strength)[keyof typeof Strength];

/**
 * What is known of a user.
 *
 * `key` is empty until seen. `greeted`: introduced; the relay has seen us write to them, so it knows that we know them.
 * `offered`: another key that came under a claimed id, empty if none: trust is "changed" then. `classical`: the session
 * in use has no post-quantum secret. `postQuantum`: one had (see `hadKem`). `allowsClassical`: the user has said that
 * messages may go without one, until there is one again. `blocked`: what they send is dropped unread. `moved`: another
 * relay was chosen since they were introduced. `accepted`: the user has written to them, or let them in, though without
 * a name. `suite`: the greatest that they were seen with; 0 if their key was first seen by a version that knew only
 * one. `newest`: the greatest date of their prekeys that was accepted, in milliseconds since 1970. `allowsOlder`: the
 * user has said that messages may go in suite 1, until they are seen with suite 2. `askedAt`: when they were last asked
 * for dated prekeys while suite 1 was in use, in persistent time. `deviceOf`: of a device that is on a list, the person
 * (user id) it belongs to: what is known of people is known of them, and here of the device's key and sessions alone.
 */
export const ContactRecord = recordType({
  userId: text,
  name: empty,
  key: none,
  trust: withDefault(text, "unverified"),
  greeted: no,
  offered: none,
  classical: no,
  offeredClassical: no,
  postQuantum: no,
  allowsClassical: no,
  blocked: no,
  moved: no,
  accepted: no,
  suite: zero,
  newest: zero,
  allowsOlder: no,
  askedAt: never,
  deviceOf: orMissing(text),
});
export type ContactRecord = RecordOf<typeof ContactRecord>;

/** The least strength of a session that something may be sent in. */
export function floorOf(contact: ContactRecord): Strength {
  if (contact.allowsClassical) {
    return Strength.CLASSICAL;
  }
  if (contact.allowsOlder || (contact.key.length > 0 && contact.suite === 0)) {
    return Strength.SUITE_1;
  }
  return Strength.SUITE_2;
}

/** Whether this user's program was seen to do better than that. */
export function hadBetter(contact: ContactRecord, strength: Strength): boolean {
  return contact.suite > Strength.SUITE_1 || (strength === Strength.CLASSICAL && hadKem(contact));
}

/** Whether this user ever had a post-quantum key; of records of version 0.1.0, whether they had one last. */
export function hadKem(contact: ContactRecord): boolean {
  return contact.postQuantum || (contact.key.length > 0 && !contact.classical);
}

/** The record after this user was seen with a key and such a session; `classical`: of the one in use. */
export function seenWith(
  contact: ContactRecord,
  strength: Strength,
  { key, classical }: { readonly key: Uint8Array; readonly classical: boolean },
): ContactRecord {
  const hasKem = strength > Strength.CLASSICAL;
  const isNew = strength === Strength.SUITE_2;
  return {
    ...contact,
    key,
    classical,
    postQuantum: hadKem(contact) || hasKem,
    allowsClassical: contact.allowsClassical && !hasKem,
    allowsOlder: (contact.allowsOlder || contact.allowsClassical) && !isNew,
    suite: isNew ? 2 : contact.key.length > 0 ? contact.suite : 1,
  };
}

/** Whether to ask this user, with whom suite 1 is in use, for dated prekeys now; `now` in persistent time. */
export function mayLearn(contact: ContactRecord, now: number): boolean {
  const isOlder = contact.key.length > 0 && floorOf(contact) < Strength.SUITE_2;
  return isOlder && (contact.askedAt === null || Math.abs(now - contact.askedAt) >= ASK_OLDER_AGAIN_MS);
}

/** Whether the relay does not yet know that we know them. */
export function isToBeIntroduced(contact: ContactRecord): boolean {
  return !contact.blocked && ((isKnown(contact) && !contact.greeted) || contact.moved);
}

/** Whether the user has added them, written to them or let them in; else they are a stranger. */
export function isKnown(contact: ContactRecord): boolean {
  return contact.name !== "" || contact.greeted || contact.accepted;
}

/** Whether two records of one user say the same. */
export function isSameContact(one: ContactRecord, other: ContactRecord): boolean {
  return (Object.keys(one) as (keyof ContactRecord)[]).every((name) => {
    const [value, another] = [one[name], other[name]];
    return value instanceof Uint8Array && another instanceof Uint8Array ? isEqual(value, another) : value === another;
  });
}

/** The ids of the sessions, the one in use first; `since`: when each was first seen not to be in use, 0 if it is. */
export const SessionsRecord = recordType({ ids: withDefault(list(bytes), []), since: withDefault(list(int), []) });
export type SessionsRecord = RecordOf<typeof SessionsRecord>;

/** A serialised session, without its skipped keys. */
export const SessionRecord = recordType({ peer: text, id: bytes, state: bytes });
export type SessionRecord = RecordOf<typeof SessionRecord>;

/** Skipped keys in the order in which they were passed over; see `sessions.ts`. */
export const SkippedRecord = recordType({ chains: list(bytes), keys: bytes });
export type SkippedRecord = RecordOf<typeof SkippedRecord>;

/**
 * `sort` is signed, one-time, kem or last-resort. `private`: 32 bytes, or the 64-byte KEM seed. `retiredAt`: when a
 * newer one took its place. `dated`: of signed and last-resort ones, the date under which the relay has them, 0 if it
 * has none.
 */
export const PreKeyRecord = recordType({
  sort: text,
  id: int,
  private: bytes,
  madeAt: int,
  published: no,
  retiredAt: never,
  dated: zero,
});
export type PreKeyRecord = RecordOf<typeof PreKeyRecord>;

/**
 * What the relay has not accepted. `sealed` is empty until encrypted. `text` is null for a receipt, whose content is
 * gathered from `RECEIPT` when it is encrypted. `again`: its recipient could not read it, or never got it. `key`: of
 * whom it was encrypted for.
 */
export const OutboxRecord = recordType({
  messageId: text,
  peer: text,
  text: orNull(text),
  burn: bool,
  expiresIn: orNull(int),
  madeAt: int,
  sealed: none,
  again: no,
  key: none,
});
export type OutboxRecord = RecordOf<typeof OutboxRecord>;

/**
 * A message of one's own and how far it has come (`DeliveryState`). `text` null when it is gone. `resends`: how often
 * it was sent again because its recipient had lost it. `key`: of whom it was encrypted for.
 */
export const SentRecord = recordType({
  messageId: text,
  peer: text,
  text: orNull(text),
  madeAt: int,
  burn: bool,
  state: int,
  expiresIn: never,
  expiresAt: never,
  resends: zero,
  key: none,
});
export type SentRecord = RecordOf<typeof SentRecord>;

/**
 * A message of somebody. `text` null when it is gone. `quiet`: it was read, and its sender is not to be told so.
 * `newer`: the content of a message that this version does not know, as it came; `text` is null then. `device`: which
 * device of its sender wrote it, if not the first.
 */
export const ReceivedRecord = recordType({
  messageId: text,
  sender: text,
  text: orNull(text),
  sentAt: int,
  receivedAt: int,
  burn: bool,
  expiresAt: orNull(int),
  read: no,
  quiet: no,
  newer: orMissing(bytes),
  device: orMissing(text),
});
export type ReceivedRecord = RecordOf<typeof ReceivedRecord>;

/** Whether there is something of it that could be shown, now or by a newer version. */
export function isThere(received: ReceivedRecord): boolean {
  return received.text !== null || received.newer !== null;
}

/** What is left of a received message when it is gone. */
export function erased(received: ReceivedRecord): ReceivedRecord {
  return { ...received, text: null, newer: null };
}

/** A received message that was newer than this version; it may be gone. */
export const NewerRecord = recordType({ messageId: text, sender: text });
export type NewerRecord = RecordOf<typeof NewerRecord>;

/** What the version could read that has tried to read what is `NEWER` last. */
export const KnownKindsRecord = recordType({ kinds: list(text) });
export type KnownKindsRecord = RecordOf<typeof KnownKindsRecord>;

/** A received message that the user has not seen yet. */
export const InboxRecord = recordType({ messageId: text, sender: text });
export type InboxRecord = RecordOf<typeof InboxRecord>;

/** Read or burned, still to be reported to the relay. */
export const AckRecord = recordType({ messageId: text, sender: text, status: text });
export type AckRecord = RecordOf<typeof AckRecord>;

/**
 * A receipt for its sender, end to end encrypted. `status`: delivered, read, burned or undecryptable. `at`: since when.
 * `carrier`: id of the batch (message) that it is in, '' if none yet.
 */
export const ReceiptRecord = recordType({ messageId: text, sender: text, status: text, at: int, carrier: empty });
export type ReceiptRecord = RecordOf<typeof ReceiptRecord>;

/**
 * A message that could not be decrypted. `at`: since when. `curable`: recoverable; sending it again would help.
 * `askedAt`: when it was last asked for.
 */
export const UnreadableRecord = recordType({
  messageId: text,
  sender: text,
  at: int,
  curable: no,
  askedAt: never,
  times: zero,
});
export type UnreadableRecord = RecordOf<typeof UnreadableRecord>;

/**
 * A message of a stranger. `frame`: as the relay delivered it, empty once it was looked at and is a `RECEIVED`. `size`:
 * its bytes. `at`: when it came, and `due`: when it expires, in persistent time; `since`: when it came, to be shown.
 */
export const RequestRecord = recordType({
  messageId: text,
  sender: text,
  at: int,
  due: int,
  since: int,
  size: int,
  frame: bytes,
});
export type RequestRecord = RecordOf<typeof RequestRecord>;

/** A message that the relay has accepted and its recipient not yet answered. */
export const UnansweredRecord = recordType({ messageId: text, peer: text });
export type UnansweredRecord = RecordOf<typeof UnansweredRecord>;

/** What others may learn, see `settings.ts`. */
export const SettingsRecord = recordType({ readReceipts: yes, typing: yes, presence: yes });
export type SettingsRecord = RecordOf<typeof SettingsRecord>;

/** Block commands for this user that the relay has not confirmed, first to last. */
export const BlockRecord = recordType({ userId: text, steps: list(bool) });
export type BlockRecord = RecordOf<typeof BlockRecord>;

/** When new sessions were begun because something could not be read, in milliseconds. */
export const RecoveryRecord = recordType({ at: list(int) });
export type RecoveryRecord = RecordOf<typeof RecoveryRecord>;

/** A page of a conversation, see `conversation_index.ts`. `messages`: its entries in order, '' for one that is gone. */
export const PageRecord = recordType({ peer: text, number: int, messages: list(text) });
export type PageRecord = RecordOf<typeof PageRecord>;

/** A number. */
export const IntValue = recordType({ value: int });
export type IntValue = RecordOf<typeof IntValue>;

/** A moment on all clocks of the device, see `ClockSnapshot`. All times are milliseconds. */
export const ClockRecord = recordType({ boot: text, sinceBoot: int, wall: int, steady: int });
export type ClockRecord = RecordOf<typeof ClockRecord>;

/** The newest device list that was taken up of a person, and its usable devices (user ids). */
export const DevicesRecord = recordType({ person: text, encoded: bytes, usable: list(text) });
export type DevicesRecord = RecordOf<typeof DevicesRecord>;

/** Devices that a person has removed, the newest last: what comes of one is dropped. */
export const GoneRecord = recordType({ person: text, devices: list(text) });
export type GoneRecord = RecordOf<typeof GoneRecord>;

/**
 * That there is more than one device, or was. `person`: user id of the first one. `published`: hash of the list that the
 * relay has. `isRestored`: the profile came from a backup, and its person has signed no list since.
 */
export const PersonRecord = recordType({ person: text, published: none, isRestored: no });
export type PersonRecord = RecordOf<typeof PersonRecord>;

/**
 * What an own device is called, '' if that is not known here. `silent`: for how many milliseconds this device was
 * connected since something came from that one; of this one, since it wrote to the first one. `heardAt`: when something
 * came, in milliseconds since 1970.
 */
export const DeviceRecord = recordType({ userId: text, name: empty, silent: zero, heardAt: orMissing(int) });
export type DeviceRecord = RecordOf<typeof DeviceRecord>;

/**
 * A message of a person (`sender`) was read here, and the other own devices do not know it. `group`: to which it is a
 * text, '' if it is a message to this user alone.
 */
export const SyncRecord = recordType({ messageId: text, sender: text, group: empty });
export type SyncRecord = RecordOf<typeof SyncRecord>;

/** Under which it stands: message ids are their senders', who may give one twice. */
export function syncName({ group, messageId, sender }: SyncRecord): string {
  return group === "" ? key(sender, messageId) : `${group} ${key(sender, messageId)}`;
}

const EarlyMessage = recordType({ id: text, state: int, until: int });

/**
 * Messages of one person that are not here yet, the oldest news first: how far each has come (`state`), and until when
 * that is remembered (persistent time).
 */
export const EarlyRecord = recordType({ messages: list(EarlyMessage) });
export type EarlyRecord = RecordOf<typeof EarlyRecord>;

/**
 * When the user has changed what is known of a person (`userId`), or, if that is '', the settings: milliseconds since
 * 1970, see protocol/devices.md. `waits`: the other own devices are still to be told. `names`: of a group, what they were
 * told last that its members call themselves, by user id. `muted`: whether a group is, also while it is not there; null
 * of all others.
 */
export const SyncedRecord = recordType({
  userId: text,
  at: int,
  waits: no,
  names: withDefault(mapOf(text), new Map()),
  muted: withDefault(orNull(bool), null),
});
export type SyncedRecord = RecordOf<typeof SyncedRecord>;

/** The user of this new device has agreed that it will belong to a person, who has this key. `secret`: of the code. */
export const AgreedRecord = recordType({ key: bytes, secret: bytes });
export type AgreedRecord = RecordOf<typeof AgreedRecord>;

/**
 * This device is getting what was said before it was linked. `place`: where the next chunk begins. `chunks`: how many
 * were asked for and have not come. `texts`: how many came. `until`: when it is given up, in persistent time.
 */
export const HistoryInRecord = recordType({ place: bytes, until: int, chunks: zero, texts: zero });
export type HistoryInRecord = RecordOf<typeof HistoryInRecord>;

/**
 * An own device may ask for what was said before it was linked. `first`: position in the vault before which that is.
 * `below`: before which the next chunk is. `chunks`: how many it still waits for. `left`: how many texts follow.
 * `until`: in persistent time.
 */
export const HistoryOutRecord = recordType({ device: text, first: int, below: int, until: int, chunks: zero, left: zero });
export type HistoryOutRecord = RecordOf<typeof HistoryOutRecord>;

/** That it is there is all it says; `at` in ms. */
export const Seen = recordType({ at: int });
export type Seen = RecordOf<typeof Seen>;

/** What the user has begun to write and not sent. */
export const DraftRecord = recordType({ peer: text, text: text });
export type DraftRecord = RecordOf<typeof DraftRecord>;

/** How long new texts of a conversation last, in milliseconds. */
export const LastingRecord = recordType({ peer: text, expiresIn: never });
export type LastingRecord = RecordOf<typeof LastingRecord>;

/** What this browser alone knows of its user: the own name, and when a backup was last saved. */
export const MeRecord = recordType({ name: text, backupAt: never, madeAt: zero });
export type MeRecord = RecordOf<typeof MeRecord>;

/** `IDENTITY`/''. */
export const IDENTITY = kindOf("identity", IdentityRecord);
/** `CONTACT`/user id. */
export const CONTACT = kindOf("contact", ContactRecord, { isCached: true });
/** `SESSIONS`/user id. */
export const SESSIONS = kindOf("sessions", SessionsRecord, { isCached: true });
/** `SESSION`/'<user id> <session id in base64>'. */
export const SESSION = kindOf("session", SessionRecord, { isCached: true });
/** `SKIPPED`/as `SESSION`. */
export const SKIPPED = kindOf("skipped", SkippedRecord);
/** `PREKEY`/'<sort>:<id>'. */
export const PREKEY = kindOf("prekey", PreKeyRecord, { isCached: true });
/** `LAST_PREKEY_ID`/'': the highest id given to a prekey. */
export const LAST_PREKEY_ID = kindOf("last-prekey-id", IntValue);
/** `OUTBOX`/message id. */
export const OUTBOX = kindOf("outbox", OutboxRecord);
/** `SENT`/message id. */
export const SENT = kindOf("sent", SentRecord);
/** `INBOX`/'<sender> <message id>', see `key`. */
export const INBOX = kindOf("inbox", InboxRecord);
/** `RECEIVED`/as `INBOX`. */
export const RECEIVED = kindOf("received", ReceivedRecord);
/** `NEWER`/as `INBOX`. */
export const NEWER = kindOf("newer", NewerRecord);
/** `KNOWN_KINDS`/''. */
export const KNOWN_KINDS = kindOf("known-kinds", KnownKindsRecord);
/** `SEEN`/as `INBOX`. */
export const SEEN = kindOf("seen", Seen);
/** `HANDSHAKE`/SHA-256 of a handshake's header in base64. */
export const HANDSHAKE = kindOf("handshake", Seen);
/** `CLOCK`/''. */
export const CLOCK = kindOf("steady", ClockRecord);
/** `ACK`/as `INBOX`. */
export const ACK = kindOf("ack", AckRecord);
/** `UNREADABLE`/as `INBOX`. */
export const UNREADABLE = kindOf("unreadable", UnreadableRecord);
/** `RECEIPT`/as `INBOX`. */
export const RECEIPT = kindOf("receipt", ReceiptRecord);
/** `RECOVERY`/user id. */
export const RECOVERY = kindOf("healed", RecoveryRecord);
/** `UNANSWERED`/message id. */
export const UNANSWERED = kindOf("unanswered", UnansweredRecord);
/** `BLOCK`/user id. */
export const BLOCK = kindOf("block", BlockRecord);
/** `SETTINGS`/''. */
export const SETTINGS = kindOf("settings", SettingsRecord);
/** `REQUEST`/as `INBOX`. */
export const REQUEST = kindOf("request", RequestRecord);
/** `OLD_KEYS`/'': the position of the contact whose old keys were looked for last. */
export const OLD_KEYS = kindOf("old-keys", IntValue);
/** `PAGE`/user id: the newest page of a conversation, which is not full yet. */
export const PAGE = kindOf("page", PageRecord, { isCached: true });
/** `FULL_PAGE`/'<user id> <number>': an older page of a conversation. */
export const FULL_PAGE = kindOf("full-page", PageRecord, { isCached: true });
/** `DRAFT`/user id. */
export const DRAFT = kindOf("draft", DraftRecord);
/** `LASTING`/user id. */
export const LASTING = kindOf("lasting", LastingRecord);
/** `DEVICES`/user id of a person. */
export const DEVICES = kindOf("devices", DevicesRecord);
/** `GONE`/user id of a person. */
export const GONE = kindOf("gone", GoneRecord);
/** `PERSON`/''. */
export const PERSON = kindOf("person", PersonRecord);
/** `DEVICE`/user id of an own device. */
export const DEVICE = kindOf("device", DeviceRecord);
/** `SYNC`/its `syncName`. */
export const SYNC = kindOf("sync", SyncRecord);
/** `EARLY_SENT`/person: messages to them that another own device has sent. */
export const EARLY_SENT = kindOf("early-sent", EarlyRecord);
/** `EARLY_READ`/person, or '<group> <person>': messages of theirs, or texts to that group, that were read elsewhere. */
export const EARLY_READ = kindOf("early-read", EarlyRecord);
/** `SYNCED`/user id, '', 'group <id>' or 'muted <id>'. */
export const SYNCED = kindOf("synced", SyncedRecord);
/** `AGREED`/''. */
export const AGREED = kindOf("link-agreed", AgreedRecord);
/** `HISTORY_IN`/''. */
export const HISTORY_IN = kindOf("history-in", HistoryInRecord);
/** `HISTORY_OUT`/user id of an own device. */
export const HISTORY_OUT = kindOf("history-out", HistoryOutRecord);
/** `PAST`/user id: how many texts of a conversation are from before this device was linked. */
export const PAST = kindOf("past", IntValue);
/** `PAST_PAGE`/'<user id> <number>': those, in pages; the first one is the newest. */
export const PAST_PAGE = kindOf("past-page", PageRecord, { isCached: true });
/** `PAST_ERASED`/user id: the user has erased what was said with them while it was being handed over. */
export const PAST_ERASED = kindOf("past-erased", IntValue);
/** `ME`/''. */
export const ME = kindOf("me", MeRecord, { isCached: true });

/** The name of records about a received message. */
export function key(sender: string, messageId: string): string {
  return `${sender} ${messageId}`;
}
