/** Who is no member of a group and says that there are later changes: nothing waits for it, and little is asked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { CLAIMED_ASKS, Duties } from "../../core/client/groups/duties.ts";
import { stateOf } from "../../core/client/groups/store.ts";
import { groupOf, Mallory } from "./members.ts";
import type { Member } from "./members.ts";
import { random } from "./support.ts";
import type { Town } from "./town.ts";

const MINUTE = 60_000;

/** A group's admin and a member, and a stranger who claims to know more: as if that member did, if they are believed. */
function people(context: TestContext, isBelieved: boolean): [Town, Member, Member, string, (n: number) => void] {
  const [town, members, id] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const eve = new Mallory(town);
  const { group } = ada.groups.found(id).record;
  const { behind } = Duties.prototype;
  if (isBelieved) {
    context.mock.method(Duties.prototype, "behind", function (this: Duties, ...[of, , ...rest]: Parameters<typeof behind>) {
      behind.call(this, of, ben.id, ...rest);
    });
  }
  return [town, ada, ben, id, (n) => {
    eve.says([ada], { kind: "group-text", group, revision: 900 + n, head: random(32), n, body: "I know more" });
    town.settle();
  }];
}

for (const isBelieved of [false, true]) {
  test(`who is no member ${isBelieved ? "and is believed delays a change: the control" : "delays no change"}`, (context) => {
    const [town, ada, ben, id, claim] = people(context, isBelieved);
    claim(1);
    assert.equal(ada.groups.isBehind(ada.groups.found(id)), isBelieved);
    ada.groups.rename(id, "Coffee");
    town.pass(30_000);
    const found = [ada, ben].map(({ groups }) => stateOf(groups.found(id)).name);
    assert.equal(found.every((name) => name === "Coffee"), !isBelieved);
  });

  test(`members are asked ${isBelieved ? "often for what somebody claims who is believed: the control" : "seldom for what who is no member claims"}`, (context) => {
    const [town, , , , claim] = people(context, isBelieved);
    const { mock } = context.mock.method(Duties.prototype, "asked", () => {});
    for (let n = 1; n <= 8; n += 1) {
      claim(n);
      town.pass(14 * MINUTE);
    }
    assert.ok(mock.callCount() >= CLAIMED_ASKS, "they may have been added by a change that was lost");
    assert.equal(mock.callCount() <= 2 * CLAIMED_ASKS, !isBelieved);
  });
}
