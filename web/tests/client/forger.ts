/** Somebody who makes up a group that has another one's id. */
import { digestOf, readOwn } from "../../core/client/groups/change.ts";
import type { Op } from "../../core/client/groups/change.ts";
import { emptyState, encodeState, headOf, stateAfter } from "../../core/client/groups/state.ts";
import type { GroupState } from "../../core/client/groups/state.ts";
import { fromBase64 } from "../../core/wire/base64.ts";
import { groupOf, Mallory, Member } from "./members.ts";
import type { Town } from "./town.ts";

/** Signs the changes of a group of their own making that has another one's id. */
export class Forger {
  #state: GroupState;
  #base = new Uint8Array(32).fill(7);

  constructor(readonly mallory: Mallory, readonly group: Uint8Array, others: readonly Member[], revision: number) {
    const people = [mallory, ...others].toSorted((one, two) => Buffer.compare(fromBase64(one.id), fromBase64(two.id)));
    const members = new Map(people.map((one) => [one.id, one === mallory ? "admin" : "member"] as const));
    this.#state = { ...emptyState(group), revision, name: "Tea", members };
  }

  #says(to: Member, op: Op): void {
    const [before, base] = [this.#state, this.#base];
    const { group, mallory } = this;
    const previous = headOf(base, before);
    const encoded = mallory.signs({ group, revision: before.revision + 1, previous, ops: [op] });
    const change = readOwn(encoded);
    this.#state = stateAfter(before, change);
    this.#base = new Uint8Array(digestOf(change));
    const isAdding = op.op === "add";
    const [state, from] = isAdding ? [encodeState(before), base] : [new Uint8Array(), new Uint8Array()];
    mallory.says([to], { kind: "group-change", group, change: encoded, state, base: from });
    mallory.person.town.pass(5_000);
  }

  invites(to: Member): void {
    this.#says(to, { op: "add", person: to.id, role: "member" });
  }

  /** They tell it to one member alone. */
  removes(person: Member, to: Member): void {
    this.#says(to, { op: "remove", person: person.id });
  }

  takesBack(to: Member): void {
    this.#says(to, { op: "remove", person: to.id });
  }

  closes(to: Member): void {
    this.#says(to, { op: "close" });
  }
}

/** A group of Ada and Ben, and Mallory whom both know. */
export function withStranger(count: number): [Town, Member, Member, Mallory, string, Uint8Array] {
  const [town, members, id] = groupOf(count);
  const ada = members[0] as Member;
  const ben = members[1] ?? new Member(town);
  const mallory = new Mallory(town);
  for (const [name, one] of [["Ada", ada], ["Ben", ben]] as const) {
    one.person.messenger.contacts.add("Mallory", mallory.id);
    mallory.person.messenger.contacts.add(name, one.id);
  }
  if (count === 1) {
    ada.knows("Ben", ben);
    ben.knows("Ada", ada);
  }
  town.pass(3_000);
  return [town, ada, ben, mallory, id, ada.groups.found(id).record.group];
}
