/** What a group is by what has arrived of it. */
import { isEqual, NO_BYTES } from "../../bytes.ts";
import { CryptoError } from "../../crypto/errors.ts";
import type { SyncedGroup } from "../devices/kinds.ts";
import { Chain } from "./chain.ts";
import type { Judged, Standing } from "./chain.ts";
import { addsPerson, packOps, readOwn } from "./change.ts";
import type { Change, Op } from "./change.ts";
import { afterChange } from "./doubts.ts";
import { pictureName, typeOf } from "./picture.ts";
import { decodeState } from "./state.ts";
import { KEPT_INVITED, stateOf, withRecord, withWishes } from "./store.ts";
import type { Group } from "./store.ts";

/** Of the changes that wait to be sent, those that others ask an admin's client for: the rest is the user's own. */
export const MAX_ASKED = 40;

/** A group with the picture that its state names, if that is the one which came, or the one that was here. */
export function withPicture(group: Group, picture: Uint8Array): Group {
  const isIts = (one: Uint8Array): boolean => typeOf(one) !== "" && isEqual(pictureName(one), stateOf(group).picture);
  return withRecord(group, { picture: [picture, group.record.picture].find(isIts) ?? NO_BYTES });
}

/** A group as the first device knows it; null if it is none. */
export function chainOf({ digest, group, state }: SyncedGroup): Chain | null {
  try {
    const chain = new Chain(decodeState(state), digest);
    return isEqual(chain.state.group, group) ? chain : null;
  } catch (error) {
    if (error instanceof CryptoError) {
      return null;
    }
    throw error;
  }
}

/** A group after one more change, which is the last one of `chain`. */
export function applied({ record }: Group, chain: Chain, change: Change, ownId: string): Group {
  const { state } = chain;
  const added = (change.ops ?? []).flatMap((op) => (op.op === "add" ? [op.person] : []));
  const absent = [...new Set([...added, ...record.absent])].filter((one) => state.members.has(one) && one !== ownId);
  const relation = relationAfter(record.relation, state.members.has(ownId), state.isClosed);
  const isAdmin = state.members.get(ownId) === "admin" && relation === "member";
  const isInvited = relation === "invited" && record.relation !== "invited";
  return {
    chain: isInvited ? chain.withSteps(1) : chain,
    record: {
      ...afterChange(record, state),
      relation,
      inviter: isInvited ? change.author : record.inviter,
      ordered: Math.max(record.ordered, state.revision),
      absent: absent.sort(),
      wishes: isAdmin ? record.wishes : [],
      asked: isAdmin ? record.asked : [],
      leaving: record.leaving.filter((one) => state.members.has(one)),
      picture: pictureAfter(record.picture, change),
    },
  };
}

/** What the user is to a group after a change. */
function relationAfter(before: string, isMember: boolean, isClosed: boolean): string {
  if (!isMember) {
    return "removed";
  }
  if (isClosed) {
    return "closed";
  }
  return before === "removed" ? "invited" : before; // removed and added again before either was read
}

/** The picture of a group after a change. */
export function pictureAfter(before: Uint8Array, { ops }: Change): Uint8Array {
  const set = (ops ?? []).find((op) => op.op === "picture");
  return set?.op === "picture" ? set.data : before;
}

/** Whether one who is no member, and names this, may have been added since, or be a device that is not known yet. */
export function mayBeOfMember(standing: Standing): boolean {
  return standing === "ahead" || standing === "same";
}

/** Whether a change is under way that adds somebody: they may have heard of it before this user does. */
export function isAdding({ record }: Group, person: string): boolean {
  return record.flying.length > 0 && addsPerson(readOwn(record.flying), person);
}

/**
 * The group, if an admin's client is to do what a member may ask for, and nobody has asked for it already.
 *
 * @param ownId of this user, if this is their first device, else ''
 */
export function wished(group: Group, op: Op, ownId: string): Group {
  const { asked, relation, wishes } = group.record;
  const wish = packOps([op]);
  const isAdmin = stateOf(group).members.get(ownId) === "admin" && relation === "member";
  const isNew = wishes.length < MAX_ASKED && !wishes.some((one) => isEqual(one, wish));
  return isAdmin && isNew ? withWishes(group, [...wishes, wish], [...asked, wish]) : group;
}

/** The same for all who have said that they leave, as far as there is room: there may have been none then. */
export function withLeaves(group: Group, ownId: string): Group {
  return group.record.leaving.reduce((found, person) => wished(found, { op: "remove", person }, ownId), group);
}

/** Whether no more changes are taken up until this user has accepted: somebody can make them without end. */
export function isFull({ chain, record }: Group): boolean {
  return record.relation === "invited" && chain.steps.length >= KEPT_INVITED;
}

/** What comes of a change that has arrived. */
export function judge(group: Group, encoded: Uint8Array): Judged {
  const judged = group.chain.judge(encoded);
  return judged.verdict === "applied" && isFull(group) ? { ...judged, verdict: "behind", chain: group.chain } : judged;
}
