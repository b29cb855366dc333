/** Greetings and goodbyes that come before the change which makes their sender a member. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GroupStore, stateOf } from "../../core/client/groups/store.ts";
import { membersOf } from "./members.ts";
import type { Member } from "./members.ts";

/** Ada makes a group with Ben, who does something before she hears that the relay has her change. */
function invited(does: (ben: Member, id: string) => void): { ada: Member; ben: Member; id: string } {
  const [town, members] = membersOf(2);
  const [ada, ben] = members as [Member, Member];
  ada.person.tamper = (frame) => (frame.type === "MANY_RESULT" ? [] : [frame]);
  const id = ada.groups.create("Tea", [ben.id]);
  town.pass(3_000);
  does(ben, id);
  town.pass(3_000);
  assert.equal(stateOf(ada.groups.found(id)).members.has(ben.id), false);
  ada.person.tamper = (frame) => [frame];
  ada.person.disconnect();
  ada.person.connect();
  town.pass(10_000);
  return { ada, ben, id };
}

const accept = (ben: Member, id: string): void => ben.groups.accept(id);

const decline = (ben: Member, id: string): void => ben.groups.leave(id);

test("who declines before the admin knows that they are in is removed", () => {
  const { ada, ben, id } = invited(decline);
  assert.equal(stateOf(ada.groups.found(id)).members.has(ben.id), false);
  assert.ok(ada.events(id).includes("Ben has left"));
});

test("who accepts before the admin knows that they are in has joined", () => {
  const { ada, ben, id } = invited(accept);
  assert.equal(stateOf(ada.groups.found(id)).members.has(ben.id), true);
  assert.deepEqual(ada.groups.found(id).record.absent, []);
  assert.equal(ada.events(id).filter((text) => text === "Ben has joined").length, 1);
});

for (const [name, does] of [["declines", decline], ["accepts", accept]] as const) {
  test(`the control: if it is not kept, who ${name} stays a member who never comes`, () => {
    const { hold } = GroupStore.prototype;
    GroupStore.prototype.hold = () => undefined;
    try {
      const { ada, ben, id } = invited(does);
      assert.deepEqual(ada.groups.found(id).record.absent, [ben.id]);
    } finally {
      GroupStore.prototype.hold = hold;
    }
  });
}
