/** Invitations to groups. What those of strangers say can be seen before anything of theirs is let in. */
import { isEqual, fromUtf8, NO_BYTES } from "../../bytes.ts";
import { CryptoError } from "../../crypto/errors.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import { decodeRelay } from "../../wire/codec.ts";
import { timeOf } from "../content.ts";
import type { Moment } from "../moment.ts";
import type { RequestRecord } from "../records.ts";
import type { Stores } from "../stores.ts";
import { Chain } from "./chain.ts";
import { addsPerson, read } from "./change.ts";
import { decodeSaid } from "./contents.ts";
import type { GroupChange, GroupHeard, Invitation } from "./contents.ts";
import { pictureAfter } from "./outcomes.ts";
import { GroupRecord } from "./records.ts";
import type { GroupJoinRecord } from "./records.ts";
import { adminsOf } from "./state.ts";
import type { GroupState } from "./state.ts";
import { stateOf } from "./store.ts";
import type { Group } from "./store.ts";

/**
 * To which groups a stranger invites, each once, as it was told last; null if they say something about groups, and invite
 * to none. Nobody is notified, and nothing is kept.
 */
export function invitationsOf(stores: Stores, stranger: string, ownId: string, now: number): GroupState[] | null {
  const found = new Map<string, GroupState>();
  let isAbout = false;
  for (const record of stores.requests.of(stranger)) {
    const said = looked(stores, record, now);
    isAbout ||= said !== null;
    const state = said?.kind === "group-change" ? (readInvitation(said, stranger, ownId)?.state ?? null) : null;
    // Whoever chose the id of a person wants to be taken for them.
    if (state !== null && !stores.book.has(encodeBase64(state.group))) {
      found.set(encodeBase64(state.group), state);
    }
  }
  return isAbout && found.size === 0 ? null : [...found.values()];
}

/** Undoes the reading. */
const UNDONE = new Error("it is undone");

/** What a request says of a group or a link; null if it says nothing of one, or cannot be read. */
export function looked(stores: Stores, record: RequestRecord, now: number): GroupHeard | null {
  const frame = record.frame.length > 0 ? decodeRelay(fromUtf8(record.frame)) : null;
  let said: GroupHeard | null = null;
  try {
    stores.vault.transaction((tx) => {
      if (frame?.type === "MESSAGE") {
        const { content } = stores.conversations.open(tx, frame, now);
        said = content.kind === "newer" ? decodeSaid(content.whole) : null;
      }
      throw UNDONE;
    });
  } catch (error) {
    if (error !== UNDONE && !(error instanceof CryptoError)) {
      throw error;
    }
  }
  return said;
}

/**
 * The group that somebody tells of who invites this user; null if they do not.
 *
 * A change that adds others reaches one who has just left, too, and invites nobody to come back.
 */
export function readInvitation(said: GroupChange, sender: string, own: string): Chain | null {
  const found = readOrFault(said, sender, own);
  return typeof found === "string" || found.state.isClosed ? null : found;
}

/** Why an invitation cannot be used, as a word of `unusable.ts`; '' if nothing speaks against it, or if it is none. */
export function faultIn(said: GroupChange, sender: string, own: string): string {
  const found = readOrFault(said, sender, own);
  return typeof found === "string" ? found : "";
}

function readOrFault({ base, change, group, state }: GroupChange, sender: string, own: string): Chain | string {
  try {
    const found = read(change);
    if (!isEqual(found.group, group)) return "group";
    if (found.ops === null) return state.length > 0 ? "newer" : ""; // it adds somebody, or there would be no state
    if (!addsPerson(found, own)) return "";
    return found.author === sender ? Chain.joined(state, base, change) : "person";
  } catch (error) {
    if (error instanceof CryptoError) return "form";
    throw error;
  }
}

/** When an invitation was written, as its sender says, and not later than now; now, if that is not known. */
export function writtenAt({ sentAt }: Invitation, now: Moment): number {
  return Math.min(sentAt || timeOf(now.wall), timeOf(now.wall));
}

/** A group to which somebody invites; `join`: this user has opened a link of theirs; `at`: as `writtenAt`. */
export function begun(
  chain: Chain,
  number: number,
  before: Group | null,
  join: GroupJoinRecord | null,
  at: number,
): GroupRecord {
  const change = chain.steps.at(-1)?.change;
  const [inviter, then] = [change?.author ?? "", adminsThen(before)];
  const isWanted = join !== null && (then.length === 0 || then.includes(inviter)); // a link leads to no group of before
  return GroupRecord.make({
    group: chain.state.group,
    number,
    relation: isWanted ? "member" : "invited",
    fresh: !isWanted && before?.record.fresh !== false,
    state: NO_BYTES,
    digest: NO_BYTES,
    inviter,
    ordered: chain.state.revision,
    picture: change === undefined ? NO_BYTES : pictureAfter(NO_BYTES, change),
    ownName: join?.name ?? "",
    adminsThen: isWanted ? [] : [...then],
    invitedAt: at,
  });
}

/**
 * Who were admins when this user was last a member of a group to which somebody invites; none if never.
 *
 * What is known of it may be what somebody has told since who invited before.
 */
function adminsThen(before: Group | null): readonly string[] {
  if (before === null || before.record.fresh) return [];
  const { adminsThen: known } = before.record;
  return known.length > 0 ? known : adminsOf(stateOf(before));
}

/** Whether this user is invited back by somebody who was no admin when they were a member. */
export function wasNoAdmin({ adminsThen: then, inviter, relation }: GroupRecord): boolean {
  return relation === "invited" && then.length > 0 && !then.includes(inviter);
}
