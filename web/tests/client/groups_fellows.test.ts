/** Members of a group who are no contacts: what they said in it is repaired, and nothing else of theirs comes in. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { link } from "./family.ts";
import { Member } from "./members.ts";
import { Town } from "./town.ts";

/** Ada has made a group with Ben and Cleo, who know her, and of each other nothing but that. */
function fellows(): [Town, Member, Member, string] {
  const town = new Town();
  const [ada, ben, cleo] = [new Member(town), new Member(town), new Member(town)] as const;
  for (const [name, other] of [["Ben", ben], ["Cleo", cleo]] as const) {
    ada.knows(name, other);
    other.knows("Ada", ada);
  }
  town.pass(3_000);
  const group = ada.groups.create("Tea", [ben.id, cleo.id]);
  town.pass(5_000);
  for (const one of [ben, cleo]) one.groups.accept(group);
  town.pass(10_000);
  return [town, ben, cleo, group];
}

function loseSession({ person }: Member, other: Member): void {
  person.vault.transaction((tx) => person.messenger.stores.conversations.forget(tx, other.id));
}

const requestsOf = ({ person }: Member, other: Member): number => person.messenger.stores.requests.waiting(other.id);

/** What somebody writes to one alone waits as a request. */
function assertStranger(town: Town, one: Member, other: Member): void {
  assert.equal(requestsOf(one, other), 0);
  other.person.messenger.sendText(one.id, "psst");
  town.pass(10_000);
  assert.equal(requestsOf(one, other), 1);
  assert.deepEqual(one.person.received(), []);
  assert.equal(one.person.messenger.stores.book.isKnown(other.id), false);
}

for (const mayAsk of [true, false]) {
  test(`a text that a fellow member cannot read is sent to them again${mayAsk ? "" : ", if they are looked into: the control"}`, () => {
    const [town, ben, cleo, group] = fellows();
    if (!mayAsk) ben.groups.arrivals.strangers.mayAskAgain = () => false;
    loseSession(cleo, ben);
    ben.groups.sendText(group, "tea?");
    town.pass(60_000);
    assert.deepEqual(cleo.texts(group), mayAsk ? ["tea?"] : []);
    if (mayAsk) assertStranger(town, ben, cleo);
    else assert.equal(requestsOf(ben, cleo), 1);
  });
}

for (const mayTell of [true, false]) {
  test(`a fellow member's device list is taken up and is no request${mayTell ? "" : ", if it is looked into: the control"}`, () => {
    const [town, ben, cleo, group] = fellows();
    const laptop = new Member(town);
    if (!mayTell) ben.groups.arrivals.strangers.mayAskAgain = () => false;
    link(town, cleo.person, laptop.person);
    town.pass(10_000);
    assert.equal(requestsOf(ben, cleo), mayTell ? 0 : 1);
    assert.equal(ben.person.messenger.stores.devices?.devicesOf(cleo.id).includes(laptop.id), mayTell);
    assert.equal(ben.person.messenger.stores.book.isKnown(cleo.id), false);
    if (!mayTell) return;
    laptop.groups.sendText(group, "from another device");
    town.pass(10_000);
    ben.groups.sendText(group, "to all of them");
    town.pass(10_000);
    assert.deepEqual(ben.texts(group), ["from another device", "to all of them"]);
    assert.equal(laptop.texts(group).at(-1), "to all of them");
    assertStranger(town, ben, cleo);
  });
}

for (const isRemoved of [true, false]) {
  test(`a text to one alone is sent again to a contact${isRemoved ? " only" : ": the control"}`, () => {
    const [town, ben, cleo] = fellows();
    cleo.knows("Ben", ben);
    ben.knows("Cleo", cleo);
    town.pass(10_000);
    loseSession(cleo, ben);
    cleo.person.disconnect();
    ben.person.messenger.sendText(cleo.id, "between us");
    town.settle();
    ben.person.disconnect();
    cleo.person.connect();
    town.pass(10_000); // Cleo asks for it
    if (isRemoved) ben.person.messenger.contacts.remove(cleo.id);
    ben.person.connect();
    town.pass(60_000);
    assert.deepEqual(cleo.person.received(), isRemoved ? [] : ["between us"]);
    assert.equal(requestsOf(ben, cleo), 0);
  });
}

test("whom one asks again, or for prekeys, becomes no contact by it", () => {
  const [town, ben, cleo, group] = fellows();
  loseSession(ben, cleo);
  cleo.groups.sendText(group, "tea?");
  town.pass(60_000);
  assert.deepEqual(ben.texts(group), ["tea?"]);
  const inits = ben.person.sent.filter(({ type, payload }) => type === "KEY_EXCHANGE_INIT" && payload["targetId"] === cleo.id);
  assert.deepEqual(inits, []);
  assertStranger(town, ben, cleo);
  ben.knows("Cleo", cleo);
  town.pass(10_000);
  const introduced = ben.person.sent.filter(({ type, payload }) => type === "KEY_EXCHANGE_INIT" && payload["targetId"] === cleo.id);
  assert.equal(introduced.length, 1, "the control: of a contact the relay learns");
});
