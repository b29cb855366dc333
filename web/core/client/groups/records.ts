/** What the vault holds of groups; the same records as `src/phantom_messenger/client/records.py` has, but for events. */
import { NO_BYTES } from "../../bytes.ts";
import { rowType } from "../many/rows.ts";
import { bool, bytes, int, list, mapOf, orNull, recordType, text, withDefault } from "../record_types.ts";
import type { RecordOf } from "../record_types.ts";
import { IntValue, kindOf } from "../records.ts";
import type { Kind } from "../records.ts";

const no = withDefault(bool, false);
const none = withDefault(bytes, NO_BYTES);
const empty = withDefault(text, "");
const zero = withDefault(int, 0);
const never = withDefault(orNull(int), null);

/**
 * A group. `number`: names the kind of its texts, see `textsOf`. `relation`: as in `groups_api.ts`. `state`, `digest`:
 * see `chain.ts`. `steps`: revisions of the changes that are kept. `doubt`: '' or why nothing is sent, forked or newer;
 * `rival`: by whom, also once the user has gone on all the same, until the next change; `rivalHead`: the head that they
 * have named, if that is known; `rivals`: all members who have named another one since the last change. `shown`: rival
 * changes of which this user was told, author and digest of each, see `doubts.ts`. `inviter`: who has added this user.
 * `ordered`: the greatest revision that the relay is known to have, and `orderedBy` a digest of who has written it, empty
 * if that is not known; `passed`: up to which of the relay's revisions this user goes on without what is missing.
 * `wishes`: ops that this user wants, in turn, as MessagePack. `flying`: a change that was sent to be put in order, and
 * `carrier` the message that it is in. `absent`: members who were added and have not said that they are there. `picture`:
 * the one that the state names, if it is here. `fresh`: this user was invited and has not accepted, nor ever been a
 * member before. `asked`: those of `wishes` that others have asked for. `ownName`: what this user calls themselves there,
 * '' if nothing; `names`: the same of others, by user id. `leaving`: members who have said that they leave. `adminsThen`:
 * who were admins when this user was last a member, while somebody invites them back or has done so; none else.
 * `inviters`: who has invited to another group of this id; of each the user was told. `invitedAt`: when the invitation was
 * written, in milliseconds since 1970; 0 if that is not known.
 */
export const GroupRecord = recordType({
  group: bytes,
  number: int,
  relation: text,
  state: bytes,
  digest: bytes,
  steps: withDefault(list(int), []),
  doubt: empty,
  rival: empty,
  inviter: empty,
  ordered: zero,
  orderedBy: none,
  passed: zero,
  wishes: withDefault(list(bytes), []),
  flying: none,
  carrier: empty,
  absent: withDefault(list(text), []),
  muted: no,
  picture: none,
  rivalHead: none,
  fresh: no,
  asked: withDefault(list(bytes), []),
  ownName: empty,
  names: withDefault(mapOf(text), new Map()),
  leaving: withDefault(list(text), []),
  rivals: withDefault(list(text), []),
  shown: withDefault(list(bytes), []),
  adminsThen: withDefault(list(text), []),
  inviters: withDefault(list(text), []),
  invitedAt: zero,
});
export type GroupRecord = RecordOf<typeof GroupRecord>;

/** How many texts of a member there must be: the last number, and numbers before it that have not come. */
export const SenderCount = rowType({ last: int, missing: withDefault(list(int), []) });
export type SenderCount = RecordOf<typeof SenderCount>;

/** Texts of this user, and of the others by user id. */
export const GroupCountsRecord = recordType({ own: zero, others: withDefault(mapOf(SenderCount), new Map()) });
export type GroupCountsRecord = RecordOf<typeof GroupCountsRecord>;

/** A change that was taken up; the state before it, and what led to that. */
export const GroupStepRecord = recordType({ change: bytes, before: bytes, base: bytes });
export type GroupStepRecord = RecordOf<typeof GroupStepRecord>;

/**
 * A text to a group. `sender`: '' for this user's own. `keptAt`: when this device got it, for display. `state`: of an
 * own one, a `DeliveryState`. Else as `RECEIVED`.
 */
export const GroupTextRecord = recordType({
  messageId: text,
  sender: text,
  text: orNull(text),
  sentAt: int,
  keptAt: int,
  expiresAt: never,
  expiresIn: never,
  read: no,
  state: zero,
});
export type GroupTextRecord = RecordOf<typeof GroupTextRecord>;

/**
 * What a chunk of history, or a page of it, holds of a group, the newest first; `names`: what its writers call themselves.
 * In pages those with a greater number are older, and there are names only if the group was not known yet.
 */
export const GroupTexts = recordType({
  texts: withDefault(list(GroupTextRecord), []),
  names: withDefault(mapOf(text), new Map()),
});
export type GroupTexts = RecordOf<typeof GroupTexts>;

/** Something that has happened to a group, as this browser alone remembers it. `by`: user id, '' of this user's own. */
export const GroupEventRecord = recordType({ at: int, by: text, text: text });
export type GroupEventRecord = RecordOf<typeof GroupEventRecord>;

/** A text to a group that the user has not seen yet. */
export const GroupInboxRecord = recordType({ group: text, sender: text, messageId: text });
export type GroupInboxRecord = RecordOf<typeof GroupInboxRecord>;

/** A receipt that its sender is still to be sent; `status`: delivered or read. */
export const GroupToldRecord = recordType({ group: text, sender: text, messageId: text, status: text });
export type GroupToldRecord = RecordOf<typeof GroupToldRecord>;

/**
 * What came too early: a change, or a text of its `sender` (`content`). `state`, `base`: of a change that may invite this
 * user back, once they are known to be no member any more. `kind`: '', or hello or leave, if it is that of somebody who
 * is no member yet; invitation, if it is one to another group of this id, see `rivals.ts`.
 */
export const GroupHeldRecord = recordType({
  group: text,
  at: int,
  sender: empty,
  change: none,
  state: none,
  base: none,
  messageId: empty,
  content: none,
  sentAt: zero,
  revision: zero,
  head: none,
  n: zero,
  expiresIn: never,
  name: withDefault(orNull(text), null),
  kind: empty,
});
export type GroupHeldRecord = RecordOf<typeof GroupHeldRecord>;

/** A text of a person that was kept while this user is only invited; `size`: the bytes of it. */
export const GroupEarlyRecord = recordType({ group: text, sender: text, messageId: text, size: int });
export type GroupEarlyRecord = RecordOf<typeof GroupEarlyRecord>;

/** A link that others may open; `until` in persistent time. */
export const GroupTokenRecord = recordType({ group: text, token: bytes, uses: int, until: int });
export type GroupTokenRecord = RecordOf<typeof GroupTokenRecord>;

/**
 * This user has opened a link of an admin; `at` in persistent time, `name`: what they are to be called in the group. Under
 * `refused` and the token: they have said that it serves no more.
 */
export const GroupJoinRecord = recordType({ admin: text, at: int, name: empty, token: none });
export type GroupJoinRecord = RecordOf<typeof GroupJoinRecord>;

/** `GROUP`/id of the group in base64. */
export const GROUP = kindOf("group", GroupRecord, { isCached: true });
/** `GROUP_COUNTS`/id of the group. */
export const GROUP_COUNTS = kindOf("group-counts", GroupCountsRecord, { isCached: true });
/** `GROUP_STEP`/'<group> <revision>'. */
export const GROUP_STEP = kindOf("group-step", GroupStepRecord);
/** `GROUP_INBOX`/'<group> <sender> <message id>'. */
export const GROUP_INBOX = kindOf("group-inbox", GroupInboxRecord);
/** `GROUP_TOLD`/as `GROUP_INBOX`. */
export const GROUP_TOLD = kindOf("group-told", GroupToldRecord);
/** `GROUP_HELD`/'<group> <name>'. */
export const GROUP_HELD = kindOf("group-held", GroupHeldRecord);
/** `GROUP_EARLY`/as `GROUP_INBOX`. */
export const GROUP_EARLY = kindOf("group-early", GroupEarlyRecord);
/** `GROUP_LINK`/token in base64. */
export const GROUP_LINK = kindOf("group-link", GroupTokenRecord, { isCached: true });
/** `GROUP_JOIN`/user id of an admin, or 'refused <token>'. */
export const GROUP_JOIN = kindOf("group-join", GroupJoinRecord);
/** `GROUP_PAST`/id of the group: the number of its pages; -1 if it was erased while they were being handed over. */
export const GROUP_PAST = kindOf("group-past", IntValue);
/** `GROUP_PAST_PAGE`/'<group> <number>'. */
export const GROUP_PAST_PAGE = kindOf("group-past-page", GroupTexts);

/** The kind of a group's texts, by '<sender> <message id>': one for each, so that they are found without others. */
export function textsOf(number: number): Kind<GroupTextRecord> {
  return kindOf(`group-text-${number}`, GroupTextRecord);
}

/** The kind of what has happened to a group, by the number of the event. */
export function eventsOf(number: number): Kind<GroupEventRecord> {
  return kindOf(`group-event-${number}`, GroupEventRecord);
}
