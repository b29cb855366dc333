/** Texts to a group of which the relay loses a copy are sent again once a later one was answered. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DeliveryState } from "../../core/client/status.ts";
import { groupOf, type Member, recipientsOf } from "./members.ts";
import type { Frame, Person } from "./town.ts";

const MINUTE = 60_000;
const LONG_ENOUGH = 14 * MINUTE;

/** The relay loses the next message for somebody. */
function lose(person: Person): void {
  let left = 1;
  person.tamper = (frame) => {
    if (frame.type !== "MESSAGE" || left === 0) return [frame];
    left -= 1;
    person.mailbox.splice(person.mailbox.indexOf(frame), 1);
    return [];
  };
}

const sorted = (texts: readonly (string | null)[]): (string | null)[] => [...texts].sort();

test("a text that one member has lost is sent again, to them alone", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  lose(ben.person);
  const lost = ada.groups.sendText(group, "lost");
  town.pass(1_000);
  ada.groups.sendText(group, "kept");
  town.pass(10_000);
  assert.deepEqual([ben.texts(group), cleo.texts(group)], [["kept"], ["lost", "kept"]]);
  ada.person.sent.length = 0;
  town.pass(LONG_ENOUGH);
  assert.deepEqual(sorted(ben.texts(group)), ["kept", "lost"]);
  assert.equal(ada.groups.progress(lost).get(ben.id), DeliveryState.DELIVERED);
  assert.deepEqual(recipientsOf(ada), [[ben.id]]);
});

test("it is sent again by a program that was started since", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  lose(ben.person);
  ada.groups.sendText(group, "lost");
  town.pass(1_000);
  ada.beginAnew();
  ada.groups.sendText(group, "kept");
  town.pass(LONG_ENOUGH);
  assert.deepEqual(sorted(ben.texts(group)), ["kept", "lost"]);
});

test("control: who does not look for gaps sends nothing again", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const extension = ada.person.messenger.stores.slot.is;
  Object.assign(extension, { presumedLost: () => new Map() });
  lose(ben.person);
  ada.groups.sendText(group, "lost");
  town.pass(1_000);
  ada.groups.sendText(group, "kept");
  town.pass(LONG_ENOUGH);
  assert.deepEqual(ben.texts(group), ["kept"]);
});

test("nothing is sent again that was answered", () => {
  const [town, members, group] = groupOf(3);
  const [ada] = members as [Member, Member, Member];
  for (let index = 0; index < 5; index += 1) {
    ada.groups.sendText(group, `text ${index}`);
    town.pass(2_000);
  }
  ada.person.sent.length = 0;
  town.pass(LONG_ENOUGH);
  assert.deepEqual(recipientsOf(ada), []);
  assert.deepEqual(ada.person.warnings, []);
});

for (const [name, again] of [["an answer that was lost is given once more", true], ["control: or never comes", false]] as const) {
  test(name, () => {
    const [town, members, group] = groupOf(2);
    const [ada, ben] = members as [Member, Member];
    if (!again) Object.assign(ben.person.messenger.stores.slot.is, { cameAgain: () => undefined });
    const first = ada.groups.sendText(group, "first");
    town.pass(1_000);
    lose(ada.person); // the receipt
    town.pass(10_000);
    ada.groups.sendText(group, "second");
    town.pass(10_000);
    assert.equal(ada.groups.progress(first).get(ben.id), DeliveryState.ACCEPTED);
    town.pass(3 * LONG_ENOUGH);
    assert.equal(ada.groups.progress(first).get(ben.id), again ? DeliveryState.DELIVERED : DeliveryState.ACCEPTED);
    assert.deepEqual(ben.texts(group), ["first", "second"]);
  });
}

test("a text that comes again while it is to be told as read is told as read", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const seen: Frame[] = [];
  ben.person.tamper = (frame) => {
    if (frame.type === "MESSAGE") seen.push(frame);
    return [frame];
  };
  const first = ada.groups.sendText(group, "first");
  town.pass(10_000);
  ben.person.tamper = (frame) => [frame];
  ben.groups.markRead(group, ada.id, first);
  for (const frame of seen) ben.person.get(frame);
  town.pass(10_000);
  assert.equal(ada.groups.progress(first).get(ben.id), DeliveryState.READ);
});

for (const isHidden of [false, true]) {
  test(`a text that the relay does not answer ${isHidden ? "is sent again after two minutes" : "and its reader confirms is not waited for"}`, () => {
    const [town, members, group] = groupOf(2);
    const [ada, ben] = members as [Member, Member];
    if (isHidden) ben.person.messenger.changeSettings({ presence: false }); // it says nothing of what it has got
    town.pass(1_000);
    let left = 1;
    ada.person.tamper = (frame) => {
      if (frame.type !== "MANY_RESULT" || left === 0) return [frame];
      left -= 1;
      return [];
    };
    ada.groups.sendText(group, "one");
    town.pass(MINUTE);
    ada.groups.sendText(group, "two");
    town.pass(10_000);
    assert.deepEqual(ben.texts(group), isHidden ? ["one"] : ["one", "two"]);
    town.pass(MINUTE);
    assert.deepEqual(ben.texts(group), ["one", "two"]);
  });
}
