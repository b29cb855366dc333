/** What one's other devices are to learn of a group. */
import { compare, isEqual } from "../../bytes.ts";
import { fromBase64 } from "../../wire/base64.ts";
import type { Named, SyncedGroup } from "../devices/kinds.ts";
import type { GroupStored } from "../extension.ts";
import type { GroupRecord } from "./records.ts";
import { decodeState } from "./state.ts";

/** What is new of it; `before`: null if there was none. */
export function newsOf(before: GroupRecord | null, after: GroupRecord): GroupStored {
  if (before === null) return { isOther: true, muted: null };
  const isSame = isEqual(before.digest, after.digest) && isEqual(before.picture, after.picture);
  const isOther = before.relation !== after.relation || before.ownName !== after.ownName || !isSame;
  const wasIn = before.relation === "member" && after.relation === "member";
  return { isOther, muted: wasIn && before.muted !== after.muted ? after.muted : null };
}

/** What it is, for linked devices; null if it is nothing to them yet. */
export function syncedOf(record: GroupRecord): SyncedGroup | null {
  const { digest, group, ownName, relation, state } = record;
  if (relation !== "member" && relation !== "left" && relation !== "removed" && relation !== "closed") {
    return null;
  }
  const picture = record.picture.length > 0 ? record.picture : null;
  const named = ownName === "" ? {} : { name: ownName };
  const names = relation === "member" ? namesIn(record) : [];
  const others = names.length === 0 ? {} : { names };
  return { kind: "sync-group", group, relation, state, digest, picture, ...named, ...others };
}

/** What members have said that they are called. */
function namesIn({ names, state }: GroupRecord): readonly Named[] {
  const { members } = decodeState(state);
  const there = [...names].filter(([person, name]) => name !== "" && members.has(person));
  return there.map(([person, name]) => ({ id: fromBase64(person), name })).sort((one, other) => compare(one.id, other.id));
}
