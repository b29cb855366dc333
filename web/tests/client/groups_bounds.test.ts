/** What one member, or one who was removed, can make the others do by saying what they may: it is bounded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../core/bytes.ts";
import { Chain } from "../../core/client/groups/chain.ts";
import { ANSWERS, Duties, MAX_ASKS, MAX_REMOVED_TOLD, RECEIPTS } from "../../core/client/groups/duties.ts";
import { GROUP_HELD } from "../../core/client/groups/records.ts";
import { headOf, stateAfter } from "../../core/client/groups/state.ts";
import type { Speaking } from "../../core/client/groups/speaking.ts";
import { MAX_OF_ONE, stateOf } from "../../core/client/groups/store.ts";
import { digestOf, read } from "../../core/client/groups/change.ts";
import { Window } from "../../core/client/rate_window.ts";
import { MANY } from "../../core/client/many/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { groupOf, keyOf, Mallory, type Member, membersOf, recipientsOf, withMallory } from "./members.ts";
import { random } from "./support.ts";
import type { Town } from "./town.ts";

const MINUTE = 60_000;

/** As if a device list of somebody's had come to a member: this device is theirs, too. */
function isNowOf(member: Member, person: string, device: string): void {
  const personOf = (one: string): string => (one === device ? person : one);
  const devicesOf = (one: string): readonly string[] => (one === person ? [person, device] : [one]);
  const known = { person: member.id, isFirst: true, personOf, devicesOf, ownOthers: () => [], claim: () => null, whoRemoved: () => null };
  Object.assign(member.person.messenger.stores, { devices: known });
}

/** Two more who are let in by somebody, and write to them. */
function knows(member: Member, names: readonly string[]): Mallory[] {
  return names.map((name) => {
    const one = new Mallory(member.town);
    member.person.messenger.contacts.add(name, one.id);
    one.person.messenger.contacts.add("Friend", member.id);
    return one;
  });
}

/** What a member claims who knows more than there is. */
function ahead(group: Uint8Array, n: number) {
  return { kind: "group-text", group, revision: 900, head: random(32), n, body: "I know more" } as const;
}

test("a change that adds others invites nobody back who has just left", () => {
  const [town, members] = membersOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  const group = ada.groups.create("Tea", [ben.id]);
  town.pass(5_000);
  ben.groups.accept(group);
  town.pass(10_000);
  ada.groups.add(group, [cleo.id], "member");
  ben.groups.leave(group); // neither has heard of the other
  town.pass(10_000);
  assert.equal(ben.relation(group), "left");
  assert.deepEqual([...stateOf(ada.groups.found(group)).members.keys()].sort(), [ada.id, cleo.id].sort());
  ada.groups.add(group, [ben.id], "member");
  town.pass(10_000);
  assert.equal(ben.relation(group), "invited", "the control");
});

test("those who ask and ask leave the rate of messages to texts; what waits is answered later", () => {
  const [town, members, group] = groupOf(2);
  const [ada] = members as [Member, Member];
  const others = knows(ada, Array.from({ length: ANSWERS + 3 }, (_, index) => `Friend ${index}`));
  town.pass(5_000);
  ada.groups.add(group, others.map(({ id }) => id), "member");
  town.pass(10_000);
  const { group: raw } = ada.groups.found(group).record;
  ada.person.sent.length = 0;
  for (const one of others) one.says([ada], { kind: "group-ask", group: raw, from: 1, picture: false, ordered: 0 });
  town.pass(10_000);
  assert.equal(recipientsOf(ada).length, ANSWERS);
  town.pass(MINUTE);
  const answered = recipientsOf(ada).flat();
  assert.deepEqual(answered.sort(), others.map(({ id }) => id).sort());
});

test("an answer is kept for an hour, and what is no answer for longer", () => {
  const [town, members, group] = groupOf(2);
  const [ada] = members as [Member, Member];
  const [one] = knows(ada, ["One"]) as [Mallory];
  town.pass(5_000);
  ada.groups.add(group, [one.id], "member");
  town.pass(MINUTE);
  const kept = () => [...ada.person.vault.all(MANY)].length;
  const before = kept();
  const { group: raw } = ada.groups.found(group).record;
  one.says([ada], { kind: "group-ask", group: raw, from: 0, picture: false, ordered: 0 });
  town.pass(MINUTE);
  assert.equal(kept(), before + 1);
  town.pass(2 * 60 * MINUTE);
  assert.equal(kept(), before);
  assert.ok(before > 0, "the control");
});

test("who has had least is answered first: one with many groups keeps nobody waiting", () => {
  const [town, members, group] = groupOf(2);
  const [ada] = members as [Member, Member];
  const [many, one] = knows(ada, ["Many", "One"]) as [Mallory, Mallory];
  town.pass(5_000);
  ada.groups.add(group, [one.id], "member");
  const traps = Array.from({ length: 2 * ANSWERS + 2 }, (_, index) => ada.groups.create(`Trap ${index}`, [many.id]));
  town.pass(3 * MINUTE);
  const asks = (id: string) => {
    const { group: raw } = ada.groups.found(id).record;
    return { kind: "group-ask", group: raw, from: 0, picture: false, ordered: 0 } as const;
  };
  for (const trap of traps) many.says([ada], asks(trap));
  town.pass(5_000);
  one.says([ada], asks(group));
  ada.person.sent.length = 0;
  town.pass(MINUTE);
  const answered = recipientsOf(ada).flat();
  assert.deepEqual([answered.length, answered[0]], [ANSWERS, one.id]);
});

test("somebody who joins again and again is greeted once an hour", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  ben.groups.callMe(group, "Benjamin");
  town.pass(10_000);
  const again = () => {
    ben.person.sent.length = 0;
    ada.groups.remove(group, [cleo.id]);
    town.pass(3_000);
    ada.groups.add(group, [cleo.id], "member");
    town.pass(3_000);
    cleo.groups.accept(group);
    town.pass(3_000);
    return recipientsOf(ben).filter((to) => to.length === 1 && to[0] === cleo.id).length;
  };
  assert.deepEqual([again(), again(), again()], [1, 0, 0]);
  town.pass(60 * MINUTE);
  assert.equal(again(), 1, "the control: after that they are");
});

/** How many are greeted of so many who join each of two groups at once, of whom join just before an hour is over, and then. */
function greeted(count: number): number[] {
  const [town, members, tea] = groupOf(2);
  const [ada] = members as [Member, Member];
  const cake = ada.groups.create("Cake", []);
  town.pass(1_000);
  const joins = (many: number): (readonly [string, string])[] => {
    return [tea, cake].flatMap((group) => Array.from({ length: many }, () => [group, encodeBase64(random(32))] as const));
  };
  const rounds = [joins(count), joins(1), joins(1)];
  for (const id of [tea, cake]) {
    const group = ada.groups.found(id);
    const joined = rounds.flat().flatMap(([into, who]) => (into === id ? [[who, "member"] as const] : []));
    const state = { ...stateOf(group), members: new Map([...stateOf(group).members, ...joined]) };
    ada.person.vault.transaction((tx) => ada.groups.store.put(tx, { ...group, chain: new Chain(state, group.chain.digest) }));
  }
  let found = 0;
  const speaking = { greet: () => (found += 1) } as unknown as Speaking;
  const { ports } = new Mallory(town);
  const duties = new Duties(ports, ada.groups.store, speaking);
  return rounds.map((round, place) => {
    town.clock.monotonic += [0, 60 * MINUTE - 1, 1][place] ?? 0;
    for (const [group, who] of round) duties.welcome(group, who);
    found = 0;
    duties.step(ports.now());
    return found;
  });
}

test("64 who join are greeted in an hour, in all groups together; of fewer all are: the control", () => {
  assert.deepEqual(greeted(33), [64, 0, 2]);
  assert.deepEqual(greeted(32), [64, 0, 2]);
  assert.deepEqual(greeted(31), [62, 2, 2]);
});

/** Ben, and Ada, who writes to each of many groups of both every 5 s: how often he tells of it in a minute; and her last texts. */
function toldInAMinute(): readonly [town: Town, ada: Member, ben: Member, told: number, last: readonly string[]] {
  const [town, members] = membersOf(2);
  const [ada, ben] = members as [Member, Member];
  const groups = Array.from({ length: 10 }, (_, index) => ada.groups.create(`Tea ${index}`, [ben.id]));
  town.pass(10_000);
  for (const group of groups) ben.groups.accept(group);
  town.pass(2 * MINUTE);
  ben.person.sent.length = 0;
  const last: string[] = [];
  for (let round = 0; round < 12; round += 1) {
    last.splice(0, last.length, ...groups.map((group) => ada.groups.sendText(group, "x")));
    town.pass(5_000);
  }
  const told = ben.person.sent.filter(({ type }) => type === "MESSAGE" || type === "MESSAGE_MANY").length;
  return [town, ada, ben, told, last];
}

test("texts to many groups are told of in few messages, and in all of them in the end", () => {
  const [town, ada, ben, told, last] = toldInAMinute();
  assert.ok(told <= RECEIPTS && told > RECEIPTS / 2, `${told} messages`);
  town.pass(2 * MINUTE);
  const states = last.map((id) => ada.groups.progress(id).get(ben.id));
  assert.deepEqual(new Set(states), new Set([DeliveryState.DELIVERED]));
});

test("the control: without a bound they take most messages", ({ mock }) => {
  const { acquire } = Window.prototype;
  mock.method(Window.prototype, "acquire", function (this: Window, now: number, several?: number): number {
    return this.limit === RECEIPTS ? 0 : acquire.call(this, now, several);
  });
  const [, , , told] = toldInAMinute();
  assert.ok(told > 2 * RECEIPTS, `${told} messages`);
});

test("an own device that was stolen gets a part, and takes nothing of what others may have", () => {
  const [town, members, group] = groupOf(2);
  const [ada] = members as [Member, Member];
  const [thief, other] = knows(ada, ["Thief", "Other"]) as [Mallory, Mallory];
  town.pass(5_000);
  ada.groups.add(group, [other.id], "member");
  for (let number = 0; number < 8; number += 1) {
    const picture = new Uint8Array(4_000).fill(number);
    picture.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    ada.groups.setPicture(group, picture);
    town.pass(3_000);
  }
  isNowOf(ada, ada.id, thief.id);
  const { group: raw } = ada.groups.found(group).record;
  const asks = { kind: "group-ask", group: raw, from: 0, picture: true, ordered: 0 } as const;
  const counts = { [thief.id]: 0, [other.id]: 0 };
  for (let time = 0; time < 120; time += 1) {
    ada.person.sent.length = 0;
    thief.says([ada], asks);
    if (time === 119) other.says([ada], asks);
    town.pass(10_000);
    for (const [to = ""] of recipientsOf(ada)) counts[to] = (counts[to] ?? 0) + 1;
  }
  const full = counts[thief.id] ?? 0;
  assert.ok(full > 25 && full < 40, `${full} answers`);
  assert.equal(counts[other.id], 1);
});

test("claims made in vain make nobody ask for ever", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  let asked = 0;
  for (let n = 1; n <= 40; n += 1) {
    ben.person.sent.length = 0;
    mallory.says([ben], ahead(group, n));
    town.pass(MINUTE);
    asked += recipientsOf(ben).filter(([to]) => to === ada.id).length; // Mallory gets receipts, too
  }
  assert.ok(asked > 0 && asked <= MAX_ASKS, `${asked} questions`);
  assert.equal(ben.groups.isBehind(ben.groups.found(keyOf(group))), false);
  // After a change they are believed again.
  ada.groups.rename(keyOf(group), "Coffee");
  town.pass(5_000);
  mallory.says([ben], ahead(group, 41));
  town.pass(2_000);
  assert.equal(ben.groups.isBehind(ben.groups.found(keyOf(group))), true);
});

for (const isRemoved of [true, false]) {
  test(`who claims to know more is asked${isRemoved ? " nothing once they were removed" : ": the control"}`, () => {
    const [town, members, mallory, group] = withMallory();
    const [ada, ben] = members as [Member, Member];
    mallory.says([ben], ahead(group, 1));
    town.pass(1_000);
    if (isRemoved) ada.groups.remove(keyOf(group), [mallory.id]);
    town.pass(2_000);
    ben.person.sent.length = 0;
    town.pass(4_000);
    const asked = recipientsOf(ben).flat();
    assert.equal(asked.includes(ada.id), isRemoved);
    assert.equal(asked.includes(mallory.id), !isRemoved);
  });
}

test("somebody who was removed and goes on speaking is told three times", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const { chain } = ben.groups.found(keyOf(group));
  ada.groups.remove(keyOf(group), [mallory.id]);
  town.pass(5_000);
  ben.person.sent.length = 0;
  for (let index = 0; index < 20; index += 1) {
    mallory.says([ben], { kind: "group-hello", group, revision: chain.state.revision, head: chain.head });
    town.pass(20_000);
  }
  assert.deepEqual(recipientsOf(ben), Array.from({ length: MAX_REMOVED_TOLD }, () => [mallory.id]));
});

for (const isOne of [true, false]) {
  test(`what comes too early takes the room of ${isOne ? "one person, however many devices they have" : "two people: the control"}`, () => {
    const [town, members, group] = groupOf(2);
    const [ada] = members as [Member, Member];
    const [eve, tablet] = knows(ada, ["Eve", "Tablet"]) as [Mallory, Mallory];
    town.pass(5_000);
    if (isOne) isNowOf(ada, eve.id, tablet.id);
    const { group: raw } = ada.groups.found(group).record;
    for (const one of [eve, tablet]) {
      for (let n = 1; n <= MAX_OF_ONE + 5; n += 1) one.says([ada], ahead(raw, n));
    }
    town.pass(4_000);
    assert.equal(ada.person.vault.count(GROUP_HELD), isOne ? MAX_OF_ONE : 2 * MAX_OF_ONE);
  });
}

/** Ben's view of a text that two devices of Mallory's have said under one id, one before Ben knew whose it was. */
function saidTwice(): { readonly ben: Member; readonly id: string; readonly town: Town } {
  const [town, members, mallory, group] = withMallory();
  const [, ben] = members as [Member, Member];
  const [tablet] = knows(ben, ["Tablet"]) as [Mallory];
  town.pass(5_000);
  const { chain } = ben.groups.found(keyOf(group));
  const messageId = "0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d";
  const said = { kind: "group-text", group, revision: chain.state.revision, head: chain.head, n: 1 } as const;
  tablet.says([ben], { ...said, body: "as the tablet has it" }, messageId);
  town.pass(1_000);
  mallory.says([ben], { ...said, body: "as it was said" }, messageId);
  town.pass(1_000);
  isNowOf(ben, mallory.id, tablet.id);
  return { ben, id: keyOf(group), town };
}

test("a text that two devices say under one id stays as it was", () => {
  const { ben, id, town } = saidTwice();
  town.pass(10_000);
  assert.deepEqual(ben.texts(id), ["as it was said"]);
});

test("control: who does not look whether it is there has another text", () => {
  const { ben, id, town } = saidTwice();
  Object.assign(ben.groups.store, { text: () => null });
  town.pass(10_000);
  assert.deepEqual(ben.texts(id), ["as the tablet has it"]);
});

test("of two histories the head of the other one is known, from what names it and from a change that leads to it", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(3_000);
  ben.person.tamper = (frame) => (frame.type === "MESSAGE" ? [] : [frame]);
  const { chain } = ben.groups.found(group);
  ada.groups.rename(group, "Ada's");
  town.pass(2_000);
  town.orders.clear();
  ben.groups.rename(group, "Ben's");
  town.pass(5_000);
  const rival = ben.groups.found(group).chain.steps.at(-1)?.change;
  assert.ok(rival !== undefined);
  const { doubt, rivalHead } = cleo.groups.found(group).record;
  const theirs = headOf(digestOf(read(rival.encoded)), stateAfter(chain.state, rival));
  assert.deepEqual([doubt, toHex(rivalHead)], ["forked", toHex(theirs)]);
  assert.notEqual(toHex(rivalHead), cleo.head(group));
  cleo.groups.goOn(group);
  assert.equal(cleo.groups.found(group).record.rivalHead.length, 0);
});

test("a message in another history names its head", () => {
  const [town, members, mallory, group] = withMallory();
  const [, ben] = members as [Member, Member];
  const { revision } = stateOf(ben.groups.found(keyOf(group)));
  const head = random(32);
  mallory.says([ben], { kind: "group-hello", group, revision, head });
  town.pass(2_000);
  assert.deepEqual(toHex(ben.groups.found(keyOf(group)).record.rivalHead), toHex(head));
});

test("a change that waits for its turn in a group that is in doubt keeps no program awake", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada] = members as [Member, Member];
  const { revision } = stateOf(ada.groups.found(keyOf(group)));
  for (const [of, order] of town.orders) town.orders.set(of, { ...order, revision: revision + 5 });
  ada.groups.rename(keyOf(group), "Coffee");
  town.settle();
  assert.ok(ada.groups.waits(town.clock.monotonic).length > 0, "the control: its turn comes");
  mallory.says([ada], { kind: "group-hello", group, revision, head: random(32) });
  town.settle();
  assert.equal(ada.groups.found(keyOf(group)).record.doubt, "forked");
  town.pass(200_000);
  assert.equal(ada.groups.found(keyOf(group)).record.wishes.length, 1);
  assert.deepEqual(ada.groups.waits(town.clock.monotonic).filter((wait) => wait < 1_000), []);
});
