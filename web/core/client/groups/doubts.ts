/**
 * Two histories of a group: who has named the other one, and of what the user is told once and not again.
 *
 * A fork stops what is sent to the group, and so does a change of a later version, which nobody here can follow. Whoever
 * can show one can do so again and again: with the same change, with others from a time when they were an admin, in turn
 * with others, or with those of many whom they have made up as admins (groups.md, "Chain").
 */
import { concat, isEqual, NO_BYTES } from "../../bytes.ts";
import { encodeBase64, fromBase64 } from "../../wire/base64.ts";
import type { Judged, Standing } from "./chain.ts";
import { addsPerson, digestOf, ID_BYTES, readOwn } from "./change.ts";
import type { Change } from "./change.ts";
import type { GroupRecord } from "./records.ts";
import type { GroupState } from "./state.ts";
import { stateOf, withRecord } from "./store.ts";
import type { Group } from "./store.ts";

/** Authors who are no admins any more of whom a rival change is shown, one of each; besides those who are admins. */
export const MAX_SHOWN = 16;

/** Why nothing is sent to a group. */
export type Doubt = "forked" | "newer";

/** A change of an answer, and what has come of it. */
export type Answered = readonly [Uint8Array, Judged];

/** Who is said to know another history. */
export interface Rival {
  /** Their user id, '' for the relay. */
  readonly who: string;
  /** What they have named; empty if that is not known. */
  readonly head?: Uint8Array;
  /** What shows it, if that is a change. */
  readonly change?: Change;
}

/**
 * Who is said to have another history, of a change that shows it: a member who sends it, or who has signed it.
 *
 * Not anybody who sends it: of one whom the user has gone on in spite of, nothing is asked again, and others could come
 * without end.
 */
export function shownBy(group: Group, sender: string, encoded: Uint8Array, head: Uint8Array = NO_BYTES): Rival {
  const change = readOwn(encoded);
  return { who: stateOf(group).members.has(sender) ? sender : change.author, head, change };
}

/**
 * Who has another history, of a member's answer that does not go on from what is known here; null if nobody.
 *
 * Whoever knows the changes behind ours answers with these; whoever was removed and added again since, with the one that
 * adds them, for they know none from before that.
 *
 * @param group once the changes were taken up
 * @param sender user id of whoever answers, by their first device
 * @param judged each change, and what has come of it
 */
export function shownByAnswer(group: Group, sender: string, judged: readonly Answered[]): Rival | null {
  for (const [one, { code, verdict }] of stateOf(group).members.has(sender) ? judged : []) {
    if (verdict === "behind" || code === "previous") {
      const change = readOwn(one);
      return addsPerson(change, sender) ? null : { who: sender, head: change.previous };
    }
    if (verdict !== "applied" && verdict !== "known" && verdict !== "stale") return null;
  }
  return null;
}

/**
 * Whether the user was told of this fork before, or of so much of the kind that it says nothing new.
 *
 * Until the next change nothing is asked again of whom the user has gone on in spite of. Nor, after it, because of a
 * change that was shown before; nor because of any of an author of whom one was shown, who is no admin any more: each
 * says what the group may have been at their time, and whoever lives in that is noticed by the heads that they name. Nor
 * because of any further such author once there were sixteen: who is an admin for a minute can make up hundreds.
 */
export function isOld(group: Group, { change, who }: Rival): boolean {
  const { rival, rivals, shown } = group.record;
  if (who !== "" && (who === rival || rivals.includes(who))) return true;
  if (change === undefined) return false;
  if (isAdmin(group, change.author)) {
    const entry = entryOf(change);
    return shown.some((one) => isEqual(one, entry));
  }
  const gone = authorsGone(group, shown);
  return gone.length >= MAX_SHOWN || gone.includes(change.author);
}

/** The group once the user is told of that fork, or of that change of a later version. */
export function doubted(group: Group, { change, head = NO_BYTES, who }: Rival, doubt: Doubt = "forked"): Group {
  const { rivals, shown } = group.record;
  const isMember = stateOf(group).members.has(who);
  return withRecord(group, {
    doubt,
    rival: who,
    rivalHead: head,
    rivals: isMember ? [...rivals, who] : rivals, // no more than members: a change empties it
    shown: change === undefined ? shown : withShown(group, change),
  });
}

/** The group once somebody has named a head, and the user is told nothing of it. */
export function forkedBy(group: Group, standing: Standing, rival: Rival): Group {
  const isNews = standing === "fork" && group.record.doubt !== "forked" && !isOld(group, rival);
  return isNews ? doubted(group, rival) : group;
}

/**
 * The record once a change was applied that follows our head.
 *
 * What a fork has stopped stays so while who was shown is a member. Or an admin who has divided a group could end it with
 * one more change in each part, of their own or of somebody whom they have made an admin. A change of a later version has
 * left the head that this one follows: now it is a fork, in which no other program would help.
 *
 * @param state after the change
 */
export function afterChange(record: GroupRecord, { members }: GroupState): GroupRecord {
  const { doubt, rival } = record;
  if (doubt !== "" && members.has(rival)) return { ...record, doubt: "forked", rivals: [rival] };
  return { ...record, doubt: "", rival: "", rivalHead: NO_BYTES, rivals: [] };
}

function isAdmin(group: Group, author: string): boolean {
  return stateOf(group).members.get(author) === "admin";
}

function entryOf(change: Change): Uint8Array {
  return concat(fromBase64(change.author), digestOf(change));
}

function authorOf(entry: Uint8Array): string {
  return encodeBase64(entry.subarray(0, ID_BYTES));
}

/** Who has signed what was shown, and is no admin. */
function authorsGone(group: Group, shown: readonly Uint8Array[]): string[] {
  return shown.map(authorOf).filter((author) => !isAdmin(group, author));
}

/** What was shown, and this: the last one of each admin, and of others no more than count as many. */
function withShown(group: Group, change: Change): Uint8Array[] {
  const shown = [...group.record.shown.filter((one) => authorOf(one) !== change.author), entryOf(change)];
  const gone = authorsGone(group, shown).slice(-MAX_SHOWN);
  return shown.filter((one) => gone.includes(authorOf(one)) || isAdmin(group, authorOf(one)));
}
