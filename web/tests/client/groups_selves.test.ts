/** Ids of which more than one thing is true: a member who is another's device, and one whose id certifies no key. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { withRecord } from "../../core/client/groups/store.ts";
import { MAX_FORMER } from "../../core/client/groups/texts.ts";
import { ANSWER_BYTES_OF_ONE } from "../../core/client/groups/answer_budget.ts";
import { assertInStep, groupOf, keyOf, Member, recipientsOf, withMallory } from "./members.ts";

const CLAIMED = Buffer.from("an id of 20 bytes...").toString("base64");

test("a wish that no change can be made of is dropped", () => {
  const notPacked = [new Uint8Array(), Uint8Array.of(0x91, 0x83), Buffer.from("no ops")];
  for (const wish of notPacked) {
    const [town, members, id] = groupOf(2);
    const [ada] = members as [Member, Member];
    ada.person.vault.transaction((tx) => {
      ada.groups.store.put(tx, withRecord(ada.groups.found(id), { wishes: [wish] }));
    });
    ada.groups.rename(id, "Coffee");
    town.pass(10_000);
    assertInStep(members, id);
    assert.equal(ada.groups.found(id).chain.state.name, "Coffee");
  }
});

test("somebody whose id certifies no key cannot be added by a link", () => {
  const [town, members, id] = groupOf(2);
  const [ada] = members as [Member, Member];
  const { token } = ada.groups.link(id, "ws://relay.test/ws", { uses: 2, lasts: 60_000 });
  const { strangers } = ada.groups.arrivals;
  const said = { kind: "group-join", token } as const;
  assert.notEqual(strangers.joining(town.person().id, said, ada.person.messenger.now()), null);
  assert.equal(strangers.joining(CLAIMED, said, ada.person.messenger.now()), null);
});

test("a fault in what is done for groups leaves everything else alone", () => {
  const [town, members, mallory, raw] = withMallory();
  const [ada, ben] = members as [Member, Member];
  assert.ok(mallory.id !== "");
  ada.person.toleratesFaults = true;
  Object.defineProperty(ada.groups.found(keyOf(raw)).record, "wishes", {
    get: () => {
      throw new TypeError("a fault");
    },
  });
  ada.groups.step();
  ada.groups.step();
  assert.deepEqual(ada.groups.waits(0), []);
  ben.person.messenger.sendText(ada.id, "hello");
  town.pass(10_000);
  assert.equal(ada.person.warnings.filter((code) => code === "groups-failed").length, 1);
  assert.ok(ada.person.received().includes("hello"));
});

test("an admin who has said that they leave is none who stays", () => {
  const [, members, id] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  ada.groups.setRole(id, ben.id, "admin");
  ada.person.town.pass(5_000);
  assert.equal(ada.groups.mayLeave(ada.groups.found(id)), true);
  const leaving = (...people: string[]) => withRecord(ada.groups.found(id), { leaving: people });
  assert.equal(ada.groups.mayLeave(leaving(ben.id)), false);
  assert.equal(ada.groups.mayLeave(leaving(ben.id, cleo.id)), true);
});

test("who asks again and again is not told more than a relay stores", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada] = members as [Member, Member];
  const id = keyOf(group);
  for (let number = 0; number < 8; number += 1) {
    const picture = new Uint8Array(4_000).fill(number);
    picture.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    ada.groups.setPicture(id, picture);
    town.pass(3_000);
  }
  const before = answered(ada);
  for (let time = 0; time < 180; time += 1) {
    mallory.says([ada], { kind: "group-ask", group, from: 0, picture: true, ordered: 0 });
    town.pass(10_000);
  }
  const size = answered(ada) - before;
  assert.ok(size > ANSWER_BYTES_OF_ONE && size < 2 * ANSWER_BYTES_OF_ONE, `${size}`);
});

/** Characters that somebody has sent to many. */
function answered({ person }: Member): number {
  const frames = person.sent.filter(({ type }) => type === "MESSAGE_MANY");
  return frames.reduce((sum, { payload }) => sum + String(payload["common"]).length, 0);
}

test("who is only invited asks nobody", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada] = members as [Member, Member];
  const vic = new Member(town);
  ada.person.messenger.contacts.add("Vic", vic.id);
  vic.person.messenger.contacts.add("Ada", ada.id);
  town.pass(3_000);
  ada.groups.add(keyOf(group), [vic.id], "member");
  town.pass(10_000);
  assert.equal(vic.relation(keyOf(group)), "invited");
  const before = recipientsOf(vic).length;
  mallory.says([vic], { kind: "group-text", group, revision: 90, head: new Uint8Array(32), n: 1, body: "x" });
  town.pass(3_600_000);
  assert.equal(recipientsOf(vic).length, before);
});

test("texts of those who are gone are counted for a few", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  const others = new Map(Array.from({ length: 3 * MAX_FORMER }, () => [town.person().id, { last: 1, missing: [] }]));
  ben.person.vault.transaction((tx) => ben.groups.store.putCounts(tx, id, { own: 0, others }));
  ada.groups.sendText(id, "hello");
  town.pass(5_000);
  const counted = ben.groups.store.counts(id).others;
  assert.deepEqual([counted.size, counted.has(ada.id), mallory.id === ada.id], [MAX_FORMER + 1, true, false]);
});
