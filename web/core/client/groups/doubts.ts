/**
 * Two histories of a group: who has named the other one, and of what the user is told once and not again.
 *
 * A fork stops what is sent to the group, and whoever can show one can do so again and again: with the same change, with
 * others from a time when they were an admin, or in turn with others (groups.md, "Chain").
 */
import { concat, isEqual, NO_BYTES } from "../../bytes.ts";
import { encodeBase64, fromBase64 } from "../../wire/base64.ts";
import type { Standing } from "./chain.ts";
import { digestOf, ID_BYTES, readOwn } from "./change.ts";
import type { Change } from "./change.ts";
import type { GroupRecord } from "./records.ts";
import { stateOf, withRecord } from "./store.ts";
import type { Group } from "./store.ts";

/** Rival changes that are remembered as shown, one of each author: as many as there are admins at a time. */
export const MAX_SHOWN = 16;

/** How long a member may name what is older than all that is kept: they have not read yet what has come since. */
export const APART_MS = 3_600_000;

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
 * Whoever knows the changes behind ours answers with these. Whoever was removed and added again since knows none from
 * before that, and is taken for it until others' answers come: what they bring ends the doubt.
 */
export function shownByAnswer(group: Group, sender: string, encoded: readonly Uint8Array[]): Rival | null {
  let { chain } = group;
  for (const one of stateOf(group).members.has(sender) ? encoded : []) {
    const { chain: after, code, verdict } = chain.judge(one);
    chain = after;
    if (verdict === "behind" || code === "previous") {
      return { who: sender, head: readOwn(one).previous };
    }
    if (verdict !== "applied" && verdict !== "known" && verdict !== "stale") return null;
  }
  return null;
}

/**
 * What is known of a member who has named a head, and whether they live in another history.
 *
 * @param group in which they have said something
 * @param standing of the head
 * @param member their user id
 * @param now persistent time
 */
export function named(group: Group, standing: Standing, member: string, now: number): readonly [Group, boolean] {
  const { apart } = group.record;
  const others = [...apart].filter(([one]) => one !== member && stateOf(group).members.has(one));
  const isUnknown = standing === "unknown";
  const since = apart.get(member) ?? now;
  const after = new Map(isUnknown ? [...others, [member, since]] : others);
  const isSame = after.size === apart.size && [...after.keys()].every((one) => apart.has(one));
  const isApart = standing === "fork" || (isUnknown && now - since >= APART_MS);
  return [isSame ? group : withRecord(group, { apart: after }), isApart];
}

/**
 * Whether the user was told of this fork before, or of so much of the kind that it says nothing new.
 *
 * Until the next change nothing is asked again of whom the user has gone on in spite of. Nor, after it, because of a
 * change that was shown before; nor because of any of an author of whom one was shown, who is no admin any more: each
 * says what the group may have been at their time, and whoever lives in that is noticed by the heads that they name.
 */
export function isOld(group: Group, { change, who }: Rival): boolean {
  const { rival, rivals, shown } = group.record;
  if (who !== "" && (who === rival || rivals.includes(who))) return true;
  if (change === undefined) return false;
  const isAdmin = stateOf(group).members.get(change.author) === "admin";
  const entry = entryOf(change);
  return shown.some((one) => (isAdmin ? isEqual(one, entry) : authorOf(one) === change.author));
}

/** The group once the user is told of that fork. */
export function forked(group: Group, { change, head = NO_BYTES, who }: Rival): Group {
  const { rivals, shown } = group.record;
  const isMember = stateOf(group).members.has(who);
  return withRecord(group, {
    doubt: "forked",
    rival: who,
    rivalHead: head,
    rivals: isMember ? [...rivals, who] : rivals, // no more than members: a change empties it
    shown: change === undefined ? shown : withShown(shown, change),
  });
}

/** The record once a change was applied that follows our head. */
export function afterChange(record: GroupRecord): GroupRecord {
  const isNewer = record.doubt === "newer";
  return { ...record, ...(isNewer ? {} : { doubt: "", rival: "" }), rivalHead: NO_BYTES, rivals: [] };
}

function entryOf(change: Change): Uint8Array {
  return concat(fromBase64(change.author), digestOf(change));
}

function authorOf(entry: Uint8Array): string {
  return encodeBase64(entry.subarray(0, ID_BYTES));
}

function withShown(shown: readonly Uint8Array[], change: Change): Uint8Array[] {
  return [...shown.filter((one) => authorOf(one) !== change.author), entryOf(change)].slice(-MAX_SHOWN);
}
