/** Groups in an exported file: what they are, and what was said in them, but for texts that expire. */
import { NO_BYTES } from "../../bytes.ts";
import { CryptoError } from "../../crypto/errors.ts";
import { MalformedPack, unpack } from "../../msgpack.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import { CopiesRecord, COPIES, MANY, ManyRecord } from "../many/records.ts";
import { dueOf } from "../many/store.ts";
import { list, recordType, withDefault } from "../record_types.ts";
import type { RecordOf } from "../record_types.ts";
import * as coreRecords from "../records.ts";
import { DeliveryState } from "../status.ts";
import type { Transaction, Vault } from "../vault.ts";
import { ID_BYTES, readOwn, unpackOps } from "./change.ts";
import {
  GROUP,
  GROUP_COUNTS,
  GROUP_INBOX,
  GROUP_STEP,
  GroupCountsRecord,
  GroupInboxRecord,
  GroupRecord,
  GroupStepRecord,
  GroupTextRecord,
  textsOf,
} from "./records.ts";
import { GroupPast } from "./past.ts";
import { typeOf } from "./picture.ts";
import { decodeState } from "./state.ts";

const RELATIONS: ReadonlySet<string> = new Set(["invited", "member", "left", "removed", "closed"]);
const DOUBTS: ReadonlySet<string> = new Set(["", "forked", "newer"]);
const STATES: ReadonlySet<number> = new Set(Object.values(DeliveryState));

/** A group as it is in a file; `steps` and `texts` oldest first, `unread` those that the user has not seen. */
export const GroupCopy = recordType({
  record: GroupRecord,
  counts: withDefault(GroupCountsRecord, GroupCountsRecord.make({})),
  steps: withDefault(list(GroupStepRecord), []),
  texts: withDefault(list(GroupTextRecord), []),
  unread: withDefault(list(GroupInboxRecord), []),
});
export type GroupCopy = RecordOf<typeof GroupCopy>;

/** Messages to many in a file, and what has become of the copies. */
export interface ManyCopies {
  readonly many: readonly ManyRecord[];
  readonly copies: readonly CopiesRecord[];
}

// --- into a file ------------------------------------------------------------------

/** All groups of a profile. */
export function gatherGroups(vault: Vault): GroupCopy[] {
  return [...vault.all(GROUP)].map(([, record]) => copied(vault, record));
}

function copied(vault: Vault, record: GroupRecord): GroupCopy {
  const group = encodeBase64(record.group);
  const before = [...new GroupPast(vault).newest(group)].reverse();
  const texts = [...before, ...vault.all(textsOf(record.number))].map(([, text]) => keptText(text));
  const there = new Set(texts.filter(({ text }) => text !== null).map(nameOf));
  const unread = [...vault.all(GROUP_INBOX)].map(([, marker]) => marker);
  return {
    record,
    counts: vault.find(GROUP_COUNTS, group) ?? GroupCountsRecord.make({}),
    steps: record.steps.flatMap((revision) => vault.find(GROUP_STEP, `${group} ${revision}`) ?? []),
    texts,
    unread: unread.filter((one) => one.group === group && there.has(nameOf(one))),
  };
}

/** A file cannot forget: of a text that expires only that there was one. */
function keptText(text: GroupTextRecord): GroupTextRecord {
  const isFleeting = text.expiresAt !== null || text.expiresIn !== null;
  return isFleeting ? { ...text, text: null, expiresAt: null } : text;
}

/** Messages to many that neither burn nor expire, without what was encrypted for sessions that will be gone. */
export function gatherMany(vault: Vault): ManyCopies {
  const many = [...vault.all(MANY)].map(([, one]) => one).filter(({ burn, expiresIn }) => !burn && expiresIn === null);
  const kept = new Set(many.map(({ messageId }) => messageId));
  const copies = [...vault.all(COPIES)].map(([, one]) => one).filter(({ messageId }) => kept.has(messageId));
  const unsealed = copies.map((one) => ({ ...one, copies: one.copies.map((copy) => ({ ...copy, head: NO_BYTES })) }));
  return { many, copies: unsealed };
}

// --- out of a file ----------------------------------------------------------------

/** Store the groups of a file. */
export function putGroups(tx: Transaction, groups: readonly GroupCopy[]): void {
  for (const { record, counts, steps, texts, unread } of groups) {
    const group = encodeBase64(record.group);
    tx.put(GROUP, group, record);
    tx.put(GROUP_COUNTS, group, counts);
    for (const step of steps) {
      tx.put(GROUP_STEP, `${group} ${readOwn(step.change).revision}`, step);
    }
    for (const text of texts) {
      const name = nameOf(text);
      tx.put(textsOf(record.number), name, text);
      if (text.sender !== "") {
        tx.put(coreRecords.SEEN, name, { at: text.keptAt });
      }
    }
    for (const marker of unread) {
      tx.put(GROUP_INBOX, `${group} ${nameOf(marker)}`, marker);
    }
  }
}

/** Store the messages to many of a file. */
export function putMany(tx: Transaction, { many, copies }: ManyCopies): void {
  for (const message of many) {
    tx.put(MANY, message.messageId, message);
  }
  for (const stored of copies) {
    tx.put(COPIES, stored.messageId, stored, { due: dueOf(stored) });
  }
}

/** Whether a profile with these could be opened: states are states, changes are changes, and words are known. */
export function areUsable(groups: readonly GroupCopy[], { many, copies }: ManyCopies): boolean {
  const numbers = new Set(groups.map(({ record }) => record.number));
  const names = new Set(many.map(({ messageId }) => messageId));
  return (
    numbers.size === groups.length &&
    groups.every(isUsable) &&
    names.size === many.length &&
    copies.length === many.length &&
    copies.every((one) => names.has(one.messageId) && one.copies.every(({ state }) => STATES.has(state)))
  );
}

function isUsable({ record, steps, texts, unread }: GroupCopy): boolean {
  const group = encodeBase64(record.group);
  return (
    record.group.length === ID_BYTES &&
    RELATIONS.has(record.relation) &&
    DOUBTS.has(record.doubt) &&
    texts.every(({ keptAt, state }) => STATES.has(state) && keptAt >= 0) &&
    unread.every((one) => one.group === group) &&
    canBeRead(record, steps)
  );
}

function canBeRead({ digest, picture, state, wishes }: GroupRecord, steps: readonly GroupStepRecord[]): boolean {
  try {
    decodeState(state);
    const ops = wishes.map((wish) => unpackOps(unpack(wish)));
    if (digest.length !== ID_BYTES || !ops.every(({ length }) => length > 0)) {
      return false;
    }
    if (picture.length > 0 && typeOf(picture) === "") {
      return false;
    }
    for (const { change, before } of steps) {
      readOwn(change);
      if (before.length > 0) {
        decodeState(before);
      }
    }
    return true;
  } catch (error) {
    if (error instanceof CryptoError || error instanceof MalformedPack) {
      return false;
    }
    throw error;
  }
}

function nameOf({ messageId, sender }: { readonly messageId: string; readonly sender: string }): string {
  return coreRecords.key(sender, messageId);
}
