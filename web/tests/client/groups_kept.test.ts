/** How much of groups others can have a client keep, and read, whose user has said yes to nothing of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Early, Holding, MAX_INVITED_OF_ONE } from "../../core/client/groups/holding.ts";
import { MAX_WISHES } from "../../core/client/groups/arrivals.ts";
import { GROUP_EARLY, GROUP_HELD, GROUP_INBOX, GROUP_STEP, textsOf } from "../../core/client/groups/records.ts";
import { SEEN } from "../../core/client/records.ts";
import { MAX_ASKED } from "../../core/client/groups/outcomes.ts";
import { KEPT_INVITED, MAX_OF_ONE, stateOf } from "../../core/client/groups/store.ts";
import { groupOf, keyOf, Mallory, type Member, membersOf, withMallory } from "./members.ts";
import { random } from "./support.ts";
import type { Town } from "./town.ts";

const MINUTE = 60_000;

/** How often what waits is taken out of the vault while something happens. */
function read(member: Member, happens: () => void): number {
  const { vault } = member.person;
  const [all, find] = [vault.all, vault.find];
  let count = 0;
  vault.all = function* (kind, given) {
    for (const found of all.call(vault, kind, given)) {
      count += kind.kind === GROUP_HELD.kind ? 1 : 0;
      yield found as never;
    }
  };
  vault.find = (kind, name) => {
    count += kind.kind === GROUP_HELD.kind ? 1 : 0;
    return find.call(vault, kind, name) as never;
  };
  happens();
  Object.assign(vault, { all, find });
  return count;
}

/** Ben holds as much as may be of somebody who is no member; changes that follow nothing, and one that does. */
function withHeld(): { readonly ben: Member; readonly floods: () => void; readonly changes: () => void } {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const mallory = new Mallory(town);
  ben.person.messenger.contacts.add("Mallory", mallory.id);
  mallory.person.messenger.contacts.add("Ben", ben.id);
  town.pass(5_000);
  const { group: raw } = ben.groups.found(group).record;
  for (let n = 1; n <= MAX_OF_ONE + 2; n += 1) {
    mallory.says([ben], { kind: "group-text", group: raw, revision: 900, head: random(32), n, body: "I know more" });
  }
  town.pass(4_000);
  assert.equal(ben.groups.store.held(group).length, MAX_OF_ONE);
  const floods = (): void => {
    const follow = (n: number) => mallory.signs({ group: raw, revision: 50 + n, previous: random(32), ops: [{ op: "close" }] });
    const changes = Array.from({ length: 64 }, (_, n) => follow(n));
    mallory.says([ben], { kind: "group-changes", group: raw, changes, picture: new Uint8Array(), ordered: 0 });
    town.pass(30_000);
  };
  const changes = (): void => {
    ada.groups.rename(group, "Coffee");
    town.pass(3_000);
  };
  return { ben, floods, changes };
}

test("nothing that waits is read for what it has no part in", () => {
  const { ben, changes, floods } = withHeld();
  assert.equal(read(ben, floods), 0);
  assert.equal(read(ben, changes), MAX_OF_ONE, "with a change, each once");
});

test("control: it is where room is looked for in the vault", (context) => {
  const { ben, floods } = withHeld();
  context.mock.method(Holding.prototype, "hasRoom", function (this: Holding, group: string) {
    return this.of(group).length < MAX_OF_ONE;
  });
  assert.ok(read(ben, floods) >= 64 * MAX_OF_ONE);
});

test("what is known of what waits is what is stored", () => {
  const { ben } = withHeld();
  const id = ben.groups.store.all().map(({ record }) => keyOf(record.group))[0] ?? "";
  const before = ben.groups.store.held(id);
  assert.throws(() => {
    ben.person.vault.transaction((tx) => {
      ben.groups.store.dropHeld(tx, id);
      assert.deepEqual(ben.groups.store.held(id), []);
      throw new Error("undone");
    });
  }, /undone/);
  assert.deepEqual(ben.groups.store.held(id), before);
  ben.beginAnew();
  assert.deepEqual(ben.groups.store.held(id), before);
  ben.person.vault.transaction((tx) => ben.groups.store.forgetExpired(tx, (before.at(-1)?.at ?? 0) + 86_400_000));
  assert.deepEqual([ben.groups.store.held(id), ben.person.vault.count(GROUP_HELD)], [[], 0]);
});

/** Ben is only invited to a group in which Cleo writes so much; Ada has invited them. */
function invited(count: number): [Town, Member, Member, Member, string] {
  const [town, members] = membersOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  const group = ada.groups.create("Tea", [ben.id, cleo.id]);
  town.pass(5_000);
  cleo.groups.accept(group);
  town.pass(5_000);
  for (let n = 0; n < count; n += 1) {
    cleo.groups.sendText(group, `hello ${n}`);
    town.pass(2_000);
  }
  return [town, ada, ben, cleo, group];
}

test("of a group to which one is only invited so much is kept of one person", () => {
  const [town, ada, ben, cleo, group] = invited(MAX_INVITED_OF_ONE + 5);
  assert.equal(ben.texts(group).length, MAX_INVITED_OF_ONE);
  ben.beginAnew();
  town.pass(5_000);
  cleo.groups.sendText(group, "still");
  ada.groups.sendText(group, "Ada's");
  town.pass(5_000);
  assert.equal(ben.texts(group).length, MAX_INVITED_OF_ONE + 1, "others find room");
  ben.groups.accept(group);
  town.pass(5_000);
  cleo.groups.sendText(group, "now");
  town.pass(5_000);
  assert.deepEqual(ben.texts(group).slice(MAX_INVITED_OF_ONE - 1), [`hello ${MAX_INVITED_OF_ONE - 1}`, "Ada's", "now"]);
  const { missing } = ben.groups.store.counts(group).others.get(cleo.id) ?? { missing: [] };
  assert.deepEqual([missing.length, ben.person.vault.count(GROUP_EARLY)], [6, 0], "the others are missing");
});

test("control: without that bound all of it is kept", (context) => {
  context.mock.method(Early.prototype, "hasRoom", () => true);
  const [, , ben, , group] = invited(MAX_INVITED_OF_ONE + 5);
  assert.equal(ben.texts(group).length, MAX_INVITED_OF_ONE + 5);
});

test("there is no room for more than all may have, and what is not kept is missing though it is the first", (context) => {
  context.mock.method(Early.prototype, "hasBytes", () => false);
  const [, , ben, cleo, group] = invited(2);
  const count = ben.groups.store.counts(group).others.get(cleo.id);
  assert.deepEqual([ben.texts(group), count?.last], [[], 0]);
});

test("who declines keeps nothing of what was said", () => {
  const [town, , ben, , group] = invited(3);
  assert.equal(ben.groups.store.unread(group), 3);
  ben.groups.leave(group);
  town.pass(5_000);
  const { vault } = ben.person;
  assert.deepEqual([ben.relation(group), ben.texts(group), ben.groups.store.unread(group)], ["left", [], 0]);
  assert.deepEqual([vault.count(GROUP_EARLY), vault.count(GROUP_INBOX)], [0, 0]);
});

test("control: who has accepted keeps it", () => {
  const [town, , ben, , group] = invited(3);
  ben.groups.accept(group);
  town.pass(5_000);
  ben.groups.leave(group);
  assert.equal(ben.texts(group).length, 3);
});

test("who was a member and is invited back keeps what is from then", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  ada.groups.sendText(group, "from then");
  town.pass(5_000);
  ada.groups.remove(group, [ben.id]);
  town.pass(5_000);
  ada.groups.add(group, [ben.id], "member");
  town.pass(5_000);
  ada.groups.sendText(group, "since");
  town.pass(5_000);
  assert.deepEqual([ben.relation(group), ben.texts(group)], ["invited", ["from then", "since"]]);
  ben.groups.leave(group);
  const { number } = ben.groups.found(group).record;
  assert.deepEqual([ben.texts(group), ben.person.vault.count(textsOf(number))], [["from then"], 1]);
});

test("so few changes are taken up before one accepts, and the rest then", () => {
  const [town, members] = membersOf(2);
  const [ada, ben] = members as [Member, Member];
  const group = ada.groups.create("Tea", [ben.id]);
  town.pass(5_000);
  for (let n = 0; n < KEPT_INVITED + 10; n += 1) {
    ada.groups.rename(group, `Tea ${n}`);
    town.pass(2_000);
  }
  assert.equal(ben.person.vault.count(GROUP_STEP), KEPT_INVITED);
  assert.notEqual(ben.head(group), ada.head(group), "the control");
  ben.beginAnew();
  ben.groups.accept(group);
  town.pass(MINUTE);
  assert.equal(ben.head(group), ada.head(group));
  assert.deepEqual([ben, ada].map(({ groups }) => groups.found(group).record.doubt), ["", ""]);
  assert.equal(ben.groups.isBehind(ben.groups.found(group)), false);
});

test("what was changed while one was a member does not count", () => {
  const [town, [ada, ben], group] = groupOf(2) as [Town, [Member, Member], string];
  for (let n = 0; n < KEPT_INVITED + 1; n += 1) {
    ada.groups.rename(group, `Tea ${n}`);
    town.pass(2_000);
  }
  assert.ok(ben.person.vault.count(GROUP_STEP) > KEPT_INVITED, "the control: there are more than so many");
  ben.person.tamper = (frame) => (frame.type === "MESSAGE" ? [] : [frame]);
  ada.groups.remove(group, [ben.id]);
  town.pass(2_000);
  ada.groups.add(group, [ben.id], "member");
  town.pass(2_000);
  ada.groups.rename(group, "Coffee");
  town.pass(2_000);
  ben.person.tamper = (frame) => [frame];
  ada.groups.sendText(group, "since"); // Ben asks for all of it, and gets it in one answer
  town.pass(MINUTE);
  assert.deepEqual([ben.relation(group), ben.head(group)], ["invited", ada.head(group)]);
});

test("who leaves while there is no room for it is removed later", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  ada.groups.setRights(id, { invite: "member", write: "member" });
  town.pass(5_000);
  ada.person.messenger.changeSettings({ presence: false }); // what others want waits, then
  for (let n = 0; n < MAX_WISHES; n += 1) {
    mallory.says([ada], { kind: "group-propose", group, person: random(32) });
  }
  town.pass(2 * MINUTE);
  ben.groups.leave(id);
  town.pass(5_000);
  const { leaving, wishes } = ada.groups.found(id).record;
  const removes = wishes.filter((wish) => Buffer.from(wish).includes("remove"));
  assert.deepEqual([leaving, wishes.length, removes.length], [[ben.id], MAX_ASKED, 0], "the control");
  ada.person.messenger.changeSettings({ presence: true });
  town.pass(5 * MINUTE);
  assert.equal(stateOf(ada.groups.found(id)).members.has(ben.id), false);
});

for (const isMember of [false, true]) {
  test(`the id of a text ${isMember ? "that is kept stays for good: the control" : "that nobody is shown is kept for a while"}`, () => {
    const [town, [ada, ben], mallory, raw] = withMallory() as [Town, [Member, Member], Mallory, Uint8Array];
    const { chain } = ben.groups.found(keyOf(raw));
    if (!isMember) {
      ada.groups.remove(keyOf(raw), [mallory.id]);
      town.pass(5_000);
    }
    const messageId = "11111111-2222-4333-8444-555555555555";
    const { head, state: { revision } } = chain;
    mallory.says([ben], { kind: "group-text", group: raw, revision, head, n: 1, body: "again" }, messageId);
    town.pass(5_000);
    const { inbox, vault } = ben.person.messenger.stores;
    assert.deepEqual([inbox.hasSeen(mallory.id, messageId), ben.texts(keyOf(raw)).length], [true, isMember ? 1 : 0]);
    vault.transaction((tx) => tx.deleteDue(SEEN, Number.MAX_SAFE_INTEGER));
    assert.equal(inbox.hasSeen(mallory.id, messageId), isMember);
  });
}
