/** Invitations to groups of which there is something already: a past membership, or somebody else's invitation. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_REVISION } from "../../core/client/groups/change.ts";
import { wasNoAdmin } from "../../core/client/groups/invitations.ts";
import { GroupStore, withRecord } from "../../core/client/groups/store.ts";
import { Forger, withStranger } from "./forger.ts";
import { groupOf, Mallory } from "./members.ts";
import type { Member } from "./members.ts";
import type { Town } from "./town.ts";

const NO_ADMIN = /^Mallory invited you, and was no admin of this group when you were in it$/;

test("an invitation back is judged by who was admin when one was a member, whatever was invited to since", () => {
  const [town, ada, ben, mallory, id, group] = withStranger(2);
  ben.groups.leave(id);
  town.pass(10_000);
  for (const [number, then] of ["declined", "taken back", "declined"].entries()) {
    const forger = new Forger(mallory, group, [ada], 40 + 10 * number);
    forger.invites(ben);
    assert.match(ben.events(id).at(-1) ?? "", NO_ADMIN);
    assert.equal(wasNoAdmin(ben.groups.found(id).record), true);
    if (then === "declined") ben.groups.leave(id);
    else forger.takesBack(ben);
    town.pass(5_000);
    ben.beginAnew();
    town.pass(5_000);
  }
  ada.groups.add(id, [ben.id], "member");
  town.pass(10_000);
  assert.equal(ben.events(id).at(-1), "Ada invited you"); // the control: of the admin nothing of the kind is said
  assert.equal(wasNoAdmin(ben.groups.found(id).record), false);
  ben.groups.accept(id);
  assert.deepEqual(ben.groups.found(id).record.adminsThen, []);
});

test("a link of who was no admin leads into no group of before, and one of the admin does", () => {
  for (const isAdmin of [false, true]) {
    const [town, ada, ben, mallory, id, group] = withStranger(2);
    ben.groups.leave(id);
    town.pass(10_000);
    const token = isAdmin ? ada.groups.link(id, "ws://relay.test/ws", { uses: 2, lasts: 60_000 }).token : new Uint8Array(16);
    ben.groups.join({ admin: isAdmin ? ada.id : mallory.id, token, relay: "ws://relay.test/ws" });
    if (!isAdmin) new Forger(mallory, group, [ada], 40).invites(ben);
    town.pass(10_000);
    const { inviter, relation } = ben.groups.found(id).record;
    assert.deepEqual([relation, inviter], isAdmin ? ["member", ada.id] : ["invited", mallory.id], "by it the page knows it");
  }
});

test("who is invited to two groups of one id is told, once of each, and can come into the other one", () => {
  for (const revision of [1, 40, MAX_REVISION - 5]) {
    for (const isAccepted of [false, true]) {
      const [town, ada, ben, mallory, id, group] = withStranger(1);
      new Forger(mallory, group, [], revision).invites(ben);
      if (isAccepted) ben.groups.accept(id);
      town.pass(5_000);
      ada.groups.add(id, [ben.id], "member");
      town.pass(10_000);
      const told = ben.events(id).filter((text) => text.startsWith("Ada invited you, too, but with other members"));
      assert.equal(told.length, 1, `revision ${revision}, ${isAccepted ? "accepted" : "invited"}`);
      ben.groups.leave(id);
      ada.groups.remove(id, [ben.id]);
      town.pass(5_000);
      ada.groups.add(id, [ben.id], "member");
      town.pass(10_000);
      ben.groups.accept(id);
      town.pass(5_000);
      assert.equal(ben.head(id), ada.head(id));
    }
  }
});

test("an invitation that was written later is told, though its writer is in what was made up", () => {
  for (const revision of [40, MAX_REVISION - 5]) {
    for (const [isKnown, isMember] of [[true, true], [false, true], [false, false]] as const) {
      const [town, ada, ben, mallory, id, group] = withStranger(1);
      if (isMember) ada.groups.add(id, [mallory.id], "member");
      town.pass(3_000);
      new Forger(mallory, group, [ada], revision).invites(ben);
      ben.groups.accept(id);
      if (!isKnown) {
        // The control: nothing is said if it is not known when the first was written, and its writer is a member.
        const changed = withRecord(ben.groups.found(id), { invitedAt: 0 });
        ben.person.vault.transaction((tx) => ben.groups.store.put(tx, changed));
      }
      town.pass(5_000);
      ada.groups.add(id, [ben.id], "member");
      town.pass(10_000);
      const told = ben.events(id).filter((text) => text.startsWith("Ada invited you, too, but with other members"));
      assert.equal(told.length, isKnown || !isMember ? 1 : 0, `revision ${revision}, ${isMember ? "a member" : "no member"}`);
    }
  }
});

test("what a stranger has said before a removal invites nobody after it, and what a contact has said does", () => {
  for (const isKnown of [false, true]) {
    const [town, ada, ben, , id, group] = withStranger(2);
    const eve = new Mallory(town);
    eve.person.messenger.contacts.add("Ben", ben.id);
    if (isKnown) ben.person.messenger.contacts.add("Eve", eve.id);
    town.pass(3_000);
    new Forger(eve, group, [ada], 40).invites(ben);
    assert.deepEqual(ben.groups.store.held(id).map(({ sender }) => sender), [eve.id]);
    ada.groups.remove(id, [ben.id]);
    town.pass(10_000);
    assert.equal(ben.relation(id), isKnown ? "invited" : "removed");
  }
});

test("a member is told once of what somebody else has made up, and nothing stops", () => {
  const [town, ada, ben, mallory, id, group] = withStranger(2);
  const forger = new Forger(mallory, group, [], 40);
  for (let times = 0; times < 3; times += 1) {
    forger.invites(ben);
    forger.takesBack(ben);
  }
  assert.equal(ben.events(id).filter((text) => text.startsWith("Mallory invited you, too")).length, 1);
  ben.groups.sendText(id, "nothing has stopped");
  town.pass(5_000);
  assert.ok(ada.texts(id).includes("nothing has stopped"));
});

/** Cleo invites Ben back before he hears that Ada has removed him. */
function invitedBackEarly(isMember: boolean): [Town, Member, Member, string] {
  const [town, [ada, ben, cleo], id] = groupOf(3) as [Town, [Member, Member, Member], string];
  ada.groups.setRole(id, cleo.id, "admin");
  if (!isMember) {
    ada.groups.remove(id, [ben.id]);
    town.pass(5_000);
    ada.groups.add(id, [ben.id], "member");
  }
  town.pass(5_000);
  ben.person.tamper = (frame) => (frame.payload["senderId"] === ada.id ? [] : [frame]);
  ada.groups.remove(id, [ben.id]);
  town.pass(3_000);
  cleo.groups.rename(id, "Tea and cake");
  town.pass(3_000);
  cleo.groups.add(id, [ben.id], "member");
  town.pass(2_000);
  ben.person.tamper = (frame) => [frame];
  ben.person.disconnect();
  ben.person.connect(); // and Ada's removal comes at last
  town.pass(10_000);
  return [town, ada, ben, id];
}

for (const isMember of [true, false]) {
  const who = isMember ? "member" : "only invited";

  test(`an invitation back that comes before the removal is one: ${who}`, () => {
    const [town, ada, ben, id] = invitedBackEarly(isMember);
    assert.equal(ben.relation(id), "invited");
    assert.match(ben.events(id).at(-1) ?? "", /^Cleo invited you/);
    ben.groups.accept(id);
    town.pass(5_000);
    assert.equal(ben.head(id), ada.head(id));
  });

  test(`the control: without a look at what was held it is lost: ${who}`, (context) => {
    const { held } = GroupStore.prototype;
    context.mock.method(GroupStore.prototype, "held", function (this: GroupStore, group: string) {
      return held.call(this, group).map((one) => ({ ...one, state: new Uint8Array() }));
    });
    const [, , ben, id] = invitedBackEarly(isMember);
    assert.equal(ben.relation(id), "removed");
  });
}
