/** What goes over to a new device of what was said in groups: what the first one tells, and what the new one keeps. */
import { NO_BYTES } from "../../bytes.ts";
import { timeOf } from "../content.ts";
import type { SyncedGroup } from "../devices/kinds.ts";
import type { ToldGroup } from "../extension.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import { isUserId } from "../ids.ts";
import { DeliveryState } from "../status.ts";
import type { Transaction } from "../vault.ts";
import type { Chain } from "./chain.ts";
import { noted, shownName } from "./naming.ts";
import { withPicture } from "./outcomes.ts";
import { GroupRecord, textsOf } from "./records.ts";
import type { GroupTextRecord, GroupTexts } from "./records.ts";
import { idOf, isLive, withRecord } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";

// --- the first device -------------------------------------------------------------

/** The groups that show what was said in them. */
export function toldGroups(store: GroupStore): ToldGroup[] {
  const shown = store.all().filter(({ record }) => record.relation !== "invited");
  return shown.map((group) => ({ id: idOf(group), kind: textsOf(group.record.number), names: group.record.names }));
}

// --- the new device ---------------------------------------------------------------

/**
 * Keep texts that are older than all that were handed over before; how many were not there yet. They are kept of a group
 * that is not known here yet, too, and show once it is.
 */
export function takePast(
  store: GroupStore,
  tx: Transaction,
  groups: ReadonlyMap<string, GroupTexts>,
  own: string,
): number {
  let count = 0;
  for (const [id, said] of groups) {
    if (!isUserId(id) || store.past.isErased(id)) {
      continue;
    }
    const group = store.get(id);
    const isHere = ({ messageId, sender }: GroupTextRecord): boolean => {
      return group !== null && store.text(group, sender, messageId) !== null;
    };
    const texts = said.texts.filter((text) => isUsable(text) && !isHere(text));
    if (texts.length > 0) {
      store.past.put(tx, id, texts.map(before), group === null ? said.names : new Map());
      count += texts.length;
    }
    const named = group === null ? null : withNames(group, said.names, own);
    if (named !== null && named !== group) {
      store.put(tx, named);
    }
  }
  return count;
}

/** Whether it can be shown: its writer has an id as groups name people, and its times are some. */
function isUsable({ keptAt, sender, sentAt }: GroupTextRecord): boolean {
  return [keptAt, sentAt].every((at) => at === timeOf(at)) && (sender === "" || isUserId(sender));
}

/** Another device sends it, if it still waits there. */
function before(text: GroupTextRecord): GroupTextRecord {
  return text.sender === "" ? { ...text, state: Math.max(text.state, DeliveryState.ACCEPTED) } : text;
}

/** The group once the first device has told what those call themselves who have written: as in `takenOver`. */
export function withNames(before: Group, names: ReadonlyMap<string, string>, own: string): Group {
  let group = before;
  for (const [person, name] of names) {
    if (person !== own && isUserId(person) && !group.record.names.has(person)) {
      group = noted(group, person, name);
    }
  }
  return group;
}

/** The first device says that its user is in a group no more; one that is not known here shows. */
export function noLongerIn(
  store: GroupStore,
  tx: Transaction,
  before: Group | null,
  chain: Chain,
  said: SyncedGroup,
  own: string,
): void {
  const { name = "", picture, relation } = said;
  if (before !== null) {
    if (isLive(before)) store.put(tx, withRecord(before, { relation }));
    return;
  }
  const nothing = { state: NO_BYTES, digest: NO_BYTES };
  const { group, revision } = chain.state;
  const number = store.newNumber();
  const record = GroupRecord.make({ group, number, relation, ...nothing, ordered: revision, ownName: shownName(name) });
  const made = withNames({ record, chain }, store.past.names(encodeBase64(group)), own);
  store.put(tx, withPicture(made, picture ?? NO_BYTES));
}
