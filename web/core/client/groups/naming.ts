/**
 * What members are called whom one has not added: by the names that they say of themselves.
 *
 * A name of this kind proves nothing: anybody can say any. So it is never shown where a contact's name could stand
 * without what tells them apart, see `labelOf` in `status.ts`.
 */
import { encodeBase64 } from "../../wire/base64.ts";
import type { SyncedGroup } from "../devices/kinds.ts";
import { UsageError } from "../errors.ts";
import { checkedName, isLikeId, normalName } from "../names.ts";
import type { Contact } from "../status.ts";
import type { GroupState } from "./state.ts";
import { peopleOf, withRecord } from "./store.ts";
import type { Group } from "./store.ts";

/** Names of a group's members that are kept: of all who are in it, and of some who were. */
export const MAX_NAMES = 200;

/**
 * What stands around the id that is shown behind a name: opening and closing punctuation; and what is no punctuation to
 * Unicode, or no bracket, and looks like it.
 */
const BRACKETS = /[\p{Ps}\p{Pe}<>\u00ab\u00bb\u2039\u203a\uff1c\uff1e\u02c2\u02c3\u239b-\u23b1\u23dc-\u23e1]/gu;

/** A name as its owner says it, in the form in which it is shown; '' if it cannot be. */
export function shownName(name: string): string {
  try {
    const found = checkedName(normalName(name).replace(BRACKETS, "").replace(/^[~ ]+/u, ""));
    return isLikeId(found) ? "" : found;
  } catch (error) {
    if (error instanceof UsageError) {
      return "";
    }
    throw error;
  }
}

/**
 * A name to call oneself by; '' for none.
 *
 * @throws UsageError others could not be shown it
 */
export function checkedOwnName(given: string): string {
  const name = normalName(given);
  if (name !== "" && shownName(name) !== name) {
    throw new UsageError(
      "a name needs 1 to 64 printable characters, no brackets, nothing like an ID, and no '~' before it; choose another",
    );
  }
  return name;
}

/**
 * The group once a member has said a name; the same if they have said nothing of it, or the one that is known. That they
 * are called nothing any more is kept, too: what was said before could come back by a late `sync-group`.
 */
export function noted(group: Group, person: string, name: string | null): Group {
  const { names: before } = group.record;
  const said = name === null ? before.get(person) : shownName(name);
  if (said === undefined || said === before.get(person)) {
    return group;
  }
  const names = new Map(before);
  names.delete(person);
  names.set(person, said);
  const people = new Set(peopleOf(group));
  const others = [...names.keys()].filter((one) => !people.has(one));
  for (const one of others.slice(0, Math.max(0, names.size - MAX_NAMES))) {
    names.delete(one);
  }
  return withRecord(group, { names });
}

/**
 * The group on a linked device once the first one has told the names in it. What this device has heard of others stays, a
 * name that was withdrawn, too: it may be later than what is told. Of whoever is no member here any more the name is taken
 * all the same: they may be added again, and it is told once.
 *
 * @param told the state that is told, which may be older than what is known here
 */
export function takenOver(before: Group, { name = "", names = [] }: SyncedGroup, own: string, told: GroupState): Group {
  let group = withRecord(before, { ownName: shownName(name) });
  for (const one of names) {
    const person = encodeBase64(one.id);
    if (person !== own && told.members.has(person) && !group.record.names.has(person)) {
      group = noted(group, person, one.name);
    }
  }
  return group;
}

/** Somebody in a group, who may have no name but the one that they say. */
export function memberOf(group: Group, contact: Contact): Contact {
  const says = contact.name === "" ? (group.record.names.get(contact.userId) ?? "") : "";
  return says === "" ? contact : { ...contact, says };
}
