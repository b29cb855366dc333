/** A change that the relay has put in order, and that has come to nobody: who goes beyond it divides the group. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { stateOf } from "../../core/client/groups/store.ts";
import { assertInStep, groupOf, keyOf, withMallory } from "./members.ts";
import type { Member } from "./members.ts";
import { random } from "./support.ts";
import { authorOf } from "./town.ts";
import type { Town } from "./town.ts";

const MINUTE = 60_000;

interface Missing {
  readonly town: Town;
  readonly members: readonly [Member, Member, Member];
  readonly group: string;
  readonly revision: () => number;
}

/** Ben's change is in order at the relay, nobody has it, and he is gone; then Ada wants another one, if she `wants`. */
function missing({ namesAuthors = true, wants = true } = {}): Missing {
  const [town, all, group] = groupOf(3);
  town.namesAuthors = namesAuthors;
  const members = all as [Member, Member, Member];
  const [ada, ben, cleo] = members;
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(5_000);
  for (const one of [ada, cleo]) town.refusals.set(one.id, { code: 1003, reason: "backlog" });
  ben.groups.rename(group, "Ben's");
  town.pass(8_000);
  assert.equal(stateOf(ben.groups.found(group)).name, "Ben's");
  ben.person.disconnect();
  town.refusals.clear();
  if (wants) ada.groups.setTimer(group, MINUTE);
  return { town, members, group, revision: () => stateOf(ada.groups.found(group)).revision };
}

test("a change waits for the author of the one that is missing, and follows it", () => {
  const { town, members, group, revision } = missing();
  const before = revision();
  const [ada, ben] = members;
  town.pass(10 * MINUTE);
  assert.equal(revision(), before, "nobody but Ben knows what is missing");
  const asked = members.map((one) => one.groups.isWaiting(one.groups.found(group)));
  assert.deepEqual(asked, [true, false, false]);
  const told = ada.person.events.filter((event) => event.kind === "group" && event.news === "waiting");
  assert.equal(told.length, 1);
  ben.person.connect();
  town.pass(2 * MINUTE);
  assert.equal(revision(), before + 2);
  assertInStep(members, group);
});

for (const leaves of [true, false]) {
  test(`a leave that waits for a change that is missing is told${leaves ? " once" : "; nothing is if nobody leaves: the control"}`, () => {
    const { town, members, group } = missing({ wants: false });
    const [ada, , cleo] = members;
    if (leaves) cleo.groups.leave(group);
    else ada.groups.setTimer(group, MINUTE);
    town.pass(10 * MINUTE);
    const told = ada.person.events.flatMap((event) => (event.kind === "group" && event.news === "waiting" ? [event.message] : []));
    assert.deepEqual(told.map((message) => message.includes("whoever has left is removed")), [leaves]);
    if (leaves) ada.groups.setTimer(group, MINUTE);
    town.pass(MINUTE);
    const again = ada.person.events.filter((event) => event.kind === "group" && event.news === "waiting");
    assert.equal(again.length, leaves ? 2 : 1);
  });
}

test("a relay that does not say who has written it is waited for in the same way", () => {
  const { town, members, group, revision } = missing({ namesAuthors: false });
  const before = revision();
  const [, ben] = members;
  town.pass(10 * MINUTE);
  assert.equal(revision(), before, "nobody but Ben knows what is missing");
  ben.person.connect();
  town.pass(60 * MINUTE);
  assert.equal(revision(), before + 2);
  assertInStep(members, group);
});

test("a change goes on once all have said that there is nothing", () => {
  const [town, all, group] = groupOf(3);
  const members = all as [Member, Member, Member];
  const [ada] = members;
  const { group: raw } = ada.groups.found(group).record;
  const [stored] = town.orders.values();
  assert.ok(stored !== undefined);
  const name = [...town.orders.keys()][0] ?? "";
  town.orders.set(name, { ...stored, revision: stored.revision + 1, messageId: "", author: authorOf(raw, ada.id) });
  const before = stateOf(ada.groups.found(group)).revision;
  ada.groups.rename(group, "Coffee");
  town.pass(MINUTE);
  assert.equal(stateOf(ada.groups.found(group)).revision, before + 2);
  assertInStep(members, group);
});

test("the user may go on without it", () => {
  const { town, members, group, revision } = missing();
  const before = revision();
  const [ada, , cleo] = members;
  town.pass(MINUTE);
  assert.equal(revision(), before);
  ada.groups.goOn(group);
  town.pass(MINUTE);
  assert.equal(revision(), before + 2);
  assert.equal(stateOf(cleo.groups.found(group)).timer, MINUTE);
});

test("the doubt ends once what the relay has is known, whatever members claim", () => {
  const [town, all, mallory, raw] = withMallory();
  const [ada, ben] = all as [Member, Member];
  const group = keyOf(raw);
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(5_000);
  const { head } = ada.groups.found(group).chain;
  mallory.says(all, { kind: "group-hello", group: raw, revision: stateOf(ada.groups.found(group)).revision, head });
  town.pass(MINUTE);
  town.refusals.set(ada.id, { code: 1003, reason: "backlog" });
  ben.groups.rename(group, "Ben's");
  town.pass(8_000);
  ben.person.disconnect();
  town.refusals.clear();
  ada.groups.setTimer(group, MINUTE);
  const { revision } = stateOf(ada.groups.found(group));
  town.pass(10_000);
  mallory.says([ada], { kind: "group-text", group: raw, revision: 900, head: random(32), n: 1, body: "later" });
  town.pass(10_000);
  ben.person.connect();
  town.pass(60 * MINUTE);
  assert.equal(stateOf(ada.groups.found(group)).revision, revision + 2);
});
