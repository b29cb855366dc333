/** Whoever was invited to a group that was made up comes into the true one: it is closed, declined or left. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { wasNoAdmin } from "../../core/client/groups/invitations.ts";
import { Forger, withStranger } from "./forger.ts";
import type { Member } from "./members.ts";
import type { Town } from "./town.ts";

/** Ada's group of herself, and Ben, whom Mallory has invited to another one of its id. */
function madeUp(isAccepted: boolean, revision = 40): [Town, Member, Member, string, Forger] {
  const [town, ada, ben, mallory, id, group] = withStranger(1);
  const forger = new Forger(mallory, group, [ada], revision);
  forger.invites(ben);
  town.pass(5_000);
  if (isAccepted) ben.groups.accept(id);
  town.pass(5_000);
  return [town, ada, ben, id, forger];
}

function invite(town: Town, ada: Member, ben: Member, id: string): void {
  ada.groups.add(id, [ben.id], "member");
  town.pass(10_000);
}

/** Ben is invited to Ada's group, and comes into it. */
function assertInvited(town: Town, ada: Member, ben: Member, id: string, isBack: boolean): void {
  const { record } = ben.groups.found(id);
  assert.deepEqual([record.relation, record.inviter, wasNoAdmin(record)], ["invited", ada.id, isBack]);
  ben.groups.accept(id);
  town.pass(10_000);
  assert.deepEqual([ben.relation(id), ben.groups.found(id).record.doubt, ben.head(id)], ["member", "", ada.head(id)]);
  ada.groups.sendText(id, "welcome");
  town.pass(5_000);
  assert.deepEqual(ben.texts(id), ["welcome"]);
}

for (const revision of [1, 40]) {
  for (const isAccepted of [true, false]) {
    for (const when of ["after", "before", "never: the control"]) {
      test(`a group that is closed hides no other one of its id: from ${revision}, ${isAccepted ? "accepted" : "invited"}, ${when}`, () => {
        const [town, ada, ben, id, forger] = madeUp(isAccepted, revision);
        for (let number = 1; number < 5; number += 1) {
          ada.groups.setTimer(id, 86_400_000 + number); // so that it is ahead of the one that begins at 1
          town.pass(5_000);
        }
        if (when === "before") invite(town, ada, ben, id);
        if (!when.startsWith("never")) forger.closes(ben);
        town.pass(5_000);
        if (when !== "before") invite(town, ada, ben, id);
        if (when.startsWith("never")) assert.equal(ben.relation(id), isAccepted ? "member" : "invited");
        else assertInvited(town, ada, ben, id, isAccepted);
      });
    }
  }
}

for (const isAccepted of [true, false]) {
  for (const isShown of [true, false]) {
    test(`who ${isAccepted ? "leaves" : "declines"} a group is invited to the other one of its id${isShown ? "" : ", if it is looked at: the control"}`, () => {
      const [town, ada, ben, id] = madeUp(isAccepted);
      invite(town, ada, ben, id);
      assert.match(ben.events(id).at(-1) ?? "", /^Ada invited you, too, but with other members/);
      ben.beginAnew();
      town.pass(5_000);
      if (!isShown) ben.groups.arrivals.left = () => [];
      ben.groups.leave(id);
      town.pass(10_000);
      const { chain, record } = ada.groups.found(id);
      assert.ok(chain.state.members.has(ben.id));
      assert.deepEqual(record.leaving, [], "it is not Ada's group that they have left");
      if (isShown) assertInvited(town, ada, ben, id, isAccepted);
      else assert.equal(ben.relation(id), "left");
    });
  }
}

test("nobody keeps it from a group by inviting to another one that somebody has left", () => {
  const [town, ada, ben, mallory, id, group] = withStranger(2);
  new Forger(mallory, group, [ada], 40).invites(ben);
  town.pass(10_000);
  assert.deepEqual(ben.groups.found(id).record.inviters, [mallory.id]);
  ben.groups.leave(id);
  town.pass(10_000);
  assert.deepEqual([...ada.groups.found(id).chain.state.members.keys()], [ada.id]);
  assert.deepEqual([ben.relation(id), wasNoAdmin(ben.groups.found(id).record)], ["invited", true]);
});

test("of each who invites to another group the last invitation is shown", () => {
  const [town, ada, ben, id] = madeUp(false);
  invite(town, ada, ben, id);
  ada.groups.remove(id, [ben.id]);
  town.pass(10_000);
  invite(town, ada, ben, id);
  ben.groups.leave(id);
  town.pass(10_000);
  assert.equal(ben.head(id), ada.head(id));
  assertInvited(town, ada, ben, id, false);
  ben.groups.leave(id);
  town.pass(20_000);
  assert.equal(ben.relation(id), "left", "and no other one waits");
  assert.equal(ada.groups.found(id).chain.state.members.has(ben.id), false);
});

test("who is only invited is not told who else has joined, and who is a member is", () => {
  for (const isAccepted of [true, false]) {
    const [town, ada, ben, mallory, id] = withStranger(2);
    ben.groups.leave(id);
    town.pass(10_000);
    ada.groups.add(id, [ben.id], "member");
    town.pass(5_000);
    if (isAccepted) ben.groups.accept(id);
    town.pass(5_000);
    ada.groups.add(id, [mallory.id], "member");
    town.pass(5_000);
    const count = ben.events(id).length;
    const { chain: { head, state: { group, revision } } } = ada.groups.found(id);
    mallory.says([ben], { kind: "group-hello", group, revision, head });
    town.pass(5_000);
    const told = ben.events(id).slice(count);
    assert.deepEqual(told, isAccepted ? ["Mallory has joined"] : []);
    assert.equal(ben.groups.found(id).record.absent.includes(mallory.id), false, "it is known, all the same");
    mallory.says([ben], { kind: "group-hello", group, revision, head: new Uint8Array(32) });
    town.pass(5_000);
    const forks = ben.events(id).filter((text) => text.includes("has been told other changes"));
    assert.equal(forks.length, isAccepted ? 1 : 0);
    assert.equal(ben.groups.found(id).record.doubt, "forked");
  }
});
