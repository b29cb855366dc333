/**
 * Invitations to another group of the same id than the one that is known.
 *
 * Anybody who knows an id can be the first to invite to a group of it. So who else does so is told, and what they invite
 * to is kept: it is shown once the user is no member of the first one, or it is closed.
 */
import { isEqual } from "../../bytes.ts";
import { fromBase64 } from "../../wire/base64.ts";
import type { Moment } from "../moment.ts";
import type { Transaction } from "../vault.ts";
import type { Invitation } from "./contents.ts";
import { KEPT } from "./holding.ts";
import { readInvitation } from "./invitations.ts";
import { GroupHeldRecord } from "./records.ts";
import { adminsOf } from "./state.ts";
import { idOf, peopleOf, stateOf } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";

/** Of how many who invite to another group of the same id a user is told. */
export const MAX_INVITERS = 4;

/**
 * Whether somebody invites to another group of the same id than somebody else has before, and it is not known yet.
 *
 * `said` was no change of the group to which this user is invited, or was.
 */
export function elsewhere(group: Group, sender: string, said: Invitation, own: string): boolean {
  const chain = readInvitation(said, sender, own);
  const { invitedAt, inviter, inviters } = group.record;
  if (chain === null || inviter === "" || inviter === sender || inviters.includes(sender)) return false;
  const standing = group.chain.compare(chain.state.revision, chain.head);
  // A member's may be an old one that comes late, or follow what has not come yet; `invitedAt` is what was said.
  const isLater = invitedAt > 0 && (said.sentAt ?? 0) > invitedAt;
  // Whoever has accepted asks for what lies between; whoever has not hears of what is ahead in no other way.
  const isJudged = standing === "unknown" || (standing === "ahead" && group.record.relation === "invited");
  const isDoubtful = (isJudged && !chain.state.members.has(inviter)) || (standing === "unknown" && isLater);
  const isRival = standing === "fork" || isDoubtful || !stateOf(group).members.has(sender);
  return isRival && standing !== "same" && standing !== "older" && inviters.length < MAX_INVITERS;
}

/** From whom something was heard, and when. */
interface Heard {
  readonly sender: string;
  /** This user's id. */
  readonly own: string;
  readonly now: Moment;
}

/** Keep what somebody invites to, the last of theirs, if it is another group; whether that is to be told. */
export function heard(tx: Transaction, store: GroupStore, group: Group, said: Invitation, { sender, own, now }: Heard): boolean {
  const isNews = elsewhere(group, sender, said, own);
  if (isNews || (group.record.inviters.includes(sender) && readInvitation(said, sender, own) !== null)) {
    const held = store.held(idOf(group));
    const before = held.filter((one) => one.kind === KEPT && one.sender === sender);
    before.forEach((one) => store.drop(tx, one));
    const { base, change, sentAt = 0, state } = said;
    if (!held.some((one) => !before.includes(one) && one.state.length > 0 && isEqual(one.change, change))) {
      const about = { group: idOf(group), at: now.persistent, sender, change, state, base, sentAt };
      store.hold(tx, GroupHeldRecord.make({ ...about, kind: KEPT }));
    }
  }
  return isNews;
}

/** The invitation that is kept. */
export function saidIn({ base, change, group, sentAt, state }: GroupHeldRecord): Invitation {
  return { kind: "group-change", group: fromBase64(group), change, state, base, sentAt };
}

/** Whether a change has led to a group that is closed: who is added by it is not invited to another one. */
export function isOver(group: Group | null, change: Uint8Array): boolean {
  const isClosed = group?.record.relation === "closed";
  return isClosed && group.chain.steps.some((step) => isEqual(step.change.encoded, change));
}

/**
 * Who hears that this user leaves a group, or declines: but for those whose invitation to the other one is kept.
 *
 * They would take it for their own group. Others, too, if they are in both; but who else is in a group that somebody
 * invites to is theirs to say, and nobody is to keep it from others that one has left.
 */
export function toldOfLeaving(group: Group, own: string, held: readonly GroupHeldRecord[]): string[] {
  const admins = adminsOf(stateOf(group)).filter((person) => person !== own);
  if (admins.length === 0) return [];
  const people = group.record.relation === "invited" ? admins : peopleOf(group).filter((person) => person !== own);
  const inviters = held.filter(({ kind }) => kind === KEPT).map(({ sender }) => sender);
  return people.filter((person) => !inviters.includes(person));
}
