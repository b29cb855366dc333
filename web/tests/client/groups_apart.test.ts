/** Groups that are divided, or made up, at revisions that are far from each other: whoever lives in one half is told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Chain } from "../../core/client/groups/chain.ts";
import { shownByAnswer } from "../../core/client/groups/doubts.ts";
import type { Rival } from "../../core/client/groups/doubts.ts";
import { Duties } from "../../core/client/groups/duties.ts";
import { stateOf } from "../../core/client/groups/store.ts";
import type { Group } from "../../core/client/groups/store.ts";
import { Forger, withStranger } from "./forger.ts";
import { groupOf, keyOf, withMallory } from "./members.ts";
import type { Mallory, Member } from "./members.ts";
import { random } from "./support.ts";
import type { Town } from "./town.ts";

/** Who has another history, as somebody is shown; '' if nobody. */
function rivalOf(member: Member, id: string): string {
  const { doubt, rival } = member.groups.found(id).record;
  assert.equal(doubt === "forked", rival !== "");
  return rival;
}

/** Mallory, an admin, tells Ada and Ben one change each, of which Ben's is so many revisions on. */
function divided(far: number, timers: readonly [number, number]): { town: Town; ada: Member; ben: Member; id: string } {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  ada.groups.setRole(id, mallory.id, "admin");
  town.pass(3_000);
  const { chain } = ada.groups.found(id);
  for (const [to, more, ms] of [[ada, 1, timers[0]], [ben, far, timers[1]]] as const) {
    const revision = chain.state.revision + more;
    const change = mallory.signs({ group, revision, previous: chain.head, ops: [{ op: "timer", ms }] });
    mallory.says([to], { kind: "group-change", group, change, state: new Uint8Array(), base: new Uint8Array() });
  }
  town.pass(3_000);
  return { town, ada, ben, id };
}

test("who is lower in a group that an admin has divided is told as well", () => {
  for (const far of [2, 5, 1_000]) {
    const { ada, ben, id, town } = divided(far, [60_000, 120_000]);
    ben.groups.sendText(id, "hello");
    town.pass(20_000);
    assert.equal(rivalOf(ada, id), ben.id, `${far} revisions on`);
    assert.throws(() => ada.groups.sendText(id, "to whom?"), /two histories/);
  }
});

test("the control: who tells both the same divides nobody", () => {
  const { ada, ben, id, town } = divided(1, [60_000, 60_000]);
  ben.groups.sendText(id, "hello");
  town.pass(20_000);
  assert.equal(rivalOf(ada, id), "");
  ada.groups.sendText(id, "to you");
  town.pass(20_000);
  assert.equal(rivalOf(ben, id), "");
});

/** Ada's group is six changes on; Ben and Mallory are in none. */
function sixOn(): { town: Town; ada: Member; ben: Member; mallory: Mallory; id: string; group: Uint8Array } {
  const [town, ada, ben, mallory, id, group] = withStranger(1);
  for (let number = 0; number < 6; number += 1) {
    ada.groups.setTimer(id, 60_000 + number);
    town.pass(2_000);
  }
  return { town, ada, ben, mallory, id, group };
}

/** Mallory has Ben in a group of her own with the id of Ada's and with her in it; then she adds him. */
function madeUp(revision: number): { town: Town; ada: Member; ben: Member; mallory: Mallory; id: string } {
  const { town, ada, ben, mallory, id, group } = sixOn();
  ada.groups.setTimer(id, 0);
  town.pass(2_000);
  new Forger(mallory, group, [ada], revision).invites(ben);
  ben.groups.accept(id);
  town.pass(5_000);
  ada.groups.add(id, [ben.id], "member");
  town.pass(10_000);
  return { town, ada, ben, mallory, id };
}

test("who has accepted into what was made up at a lower revision is told by the first answer", () => {
  const { ada, ben, id, town } = madeUp(4);
  ada.groups.sendText(id, "hello");
  town.pass(30_000);
  assert.equal(rivalOf(ben, id), ada.id);
  assert.throws(() => ben.groups.sendText(id, "to Mallory as well"), /two histories/);
});

test("the control: of an answer that begins with what nobody takes up nothing is said, and such a group is behind for ever", (context) => {
  const { since } = Chain.prototype;
  context.mock.method(Chain.prototype, "since", function (this: Chain, ...given: Parameters<typeof since>) {
    return [random(200), ...since.apply(this, given)];
  });
  const { ada, ben, id, town } = madeUp(4);
  ada.groups.sendText(id, "hello");
  town.pass(300_000);
  assert.ok(ben.groups.store.held(id).some(({ change }) => change.length > 0), "the rest of it was read");
  assert.equal(rivalOf(ben, id), "");
  ben.groups.sendText(id, "to Mallory as well");
});

/** Ben was removed and added again, of which Cleo knows nothing; her group, and their answers to her. */
function cameBack(): { group: Group; cleo: Member; ada: Member; ben: Member; answers: (one: Member, since: number) => Uint8Array[] } {
  const [town, members, id] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  const group: Group = cleo.groups.found(id);
  ada.groups.remove(id, [ben.id]);
  town.pass(3_000);
  ada.groups.add(id, [ben.id], "member");
  town.pass(3_000);
  ben.groups.accept(id);
  town.pass(3_000);
  return { group, cleo, ada, ben, answers: (one, since) => one.groups.found(id).chain.since(since, { most: 30_000 }) };
}

/** Who has another history, of an answer that is taken up. */
function shown({ chain, record }: Group, sender: string, answer: readonly Uint8Array[]): Rival | null {
  let after = chain;
  const answered = answer.map((one) => {
    const judged = after.judge(one);
    after = judged.chain;
    return [one, judged] as const;
  });
  return shownByAnswer({ chain: after, record }, sender, answered);
}

test("an answer with a hole shows another history, unless it begins with the change that adds its sender again", () => {
  const { ada, answers, ben, group } = cameBack();
  const { revision } = stateOf(group);
  assert.equal(shown(group, ada.id, answers(ada, 0)), null);
  assert.equal(shown(group, ada.id, answers(ada, revision)), null);
  assert.equal(group.chain.judge(answers(ben, revision)[0] as Uint8Array).verdict, "behind");
  assert.equal(shown(group, ben.id, answers(ben, revision)), null);
  assert.equal(shown(group, ada.id, answers(ben, revision))?.who, ada.id);
  assert.equal(shown(group, Buffer.from(random(32)).toString("base64"), answers(ben, revision)), null);
});

test("an answer of which a part applies shows what does not go on from that; each change is verified once", (context) => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  ada.groups.setRole(id, mallory.id, "admin");
  town.pass(3_000);
  const { head: previous, state } = ben.groups.found(id).chain;
  const first = mallory.signs({ group, revision: state.revision + 1, previous, ops: [{ op: "timer", ms: 60_000 }] });
  const holed = mallory.signs({ group, revision: state.revision + 3, previous: random(32), ops: [{ op: "timer", ms: 0 }] });
  const { mock } = context.mock.method(Chain.prototype, "judge");
  mallory.says([ben], { kind: "group-changes", group, changes: [first, holed], picture: new Uint8Array(), ordered: 0 });
  town.pass(3_000);
  assert.deepEqual([rivalOf(ben, id), stateOf(ben.groups.found(id)).revision], [mallory.id, state.revision + 1]);
  const isIn = (one: Uint8Array): number => mock.calls.filter(({ arguments: [given] }) => Buffer.compare(given, one) === 0).length;
  assert.equal(isIn(first), 1);
});

test("who was removed in another history than their own learns of it as soon as they write", () => {
  for (const isMadeUp of [true, false]) {
    const { ada, ben, id, town } = isMadeUp ? removedElsewhere() : removedByAnAdmin();
    ada.groups.sendText(id, "are you there?");
    town.pass(20_000);
    assert.equal(rivalOf(ada, id), ben.id, isMadeUp ? "made up" : "by an admin");
  }
});

test("the control: if only who names what was before is told, they never learn", () => {
  const { tellRemoved } = Duties.prototype;
  Duties.prototype.tellRemoved = function (this: Duties, group, sender, since, now): void {
    if (group.chain.removalOf(sender, since) !== null) tellRemoved.call(this, group, sender, since, now);
  };
  try {
    for (const { ada, id, town } of [removedElsewhere(), removedByAnAdmin()]) {
      ada.groups.sendText(id, "are you there?");
      town.pass(60_000);
      assert.equal(rivalOf(ada, id), "");
    }
  } finally {
    Duties.prototype.tellRemoved = tellRemoved;
  }
});

/** In a group that Mallory has made up below Ada's revision, she removes Ada, whom Ben has never heard there. */
function removedElsewhere(): { town: Town; ada: Member; ben: Member; id: string } {
  const { town, ada, ben, mallory, id, group } = sixOn();
  const forger = new Forger(mallory, group, [ada], 4);
  forger.invites(ben);
  ada.groups.add(id, [ben.id], "member");
  town.pass(10_000);
  assert.ok(ben.events(id).some((text) => text.startsWith("Ada invited you, too, but with other members")));
  forger.removes(ada, ben);
  ben.groups.accept(id);
  town.pass(5_000);
  return { town, ada, ben, id };
}

/** An admin tells Ben alone that Ada is removed, and Ada another change. */
function removedByAnAdmin(): { town: Town; ada: Member; ben: Member; id: string } {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  ada.groups.setRole(id, mallory.id, "admin");
  town.pass(3_000);
  const { chain } = ada.groups.found(id);
  for (const [to, op] of [
    [ada, { op: "timer", ms: 60_000 }],
    [ben, { op: "remove", person: ada.id }],
  ] as const) {
    const change = mallory.signs({ group, revision: chain.state.revision + 1, previous: chain.head, ops: [op] });
    mallory.says([to], { kind: "group-change", group, change, state: new Uint8Array(), base: new Uint8Array() });
  }
  town.pass(3_000);
  return { town, ada, ben, id };
}
