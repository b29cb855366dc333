/** Links that serve no more: who opens one is told, and nobody else learns anything. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLink, type JoinLink } from "../../core/client/groups/link.ts";
import { IN_MS, MOST, TurningAway } from "../../core/client/groups/turning_away.ts";
import type { Transaction } from "../../core/client/vault.ts";
import { groupOf, Member, Mallory } from "./members.ts";
import type { Town } from "./town.ts";

const RELAY = "wss://relay.test/ws";
const DAY_MS = 86_400_000;

/** Ada has made a group with Ben, and a link to it. */
function linked(): [Town, Member, string, JoinLink] {
  const [town, members, group] = groupOf(2);
  const [ada] = members as [Member];
  const link = parseLink(ada.groups.linkText(ada.groups.link(group, RELAY, { uses: 1, lasts: DAY_MS }), RELAY));
  return [town, ada, group, link];
}

function useUp(town: Town, link: JoinLink): void {
  const first = new Member(town);
  first.groups.join(link);
  town.pass(10_000);
}

/** How often somebody was told that a link does not work any more. */
const refusals = (one: Member): string[] => one.person.warnings.filter((code) => code === "link-refused");

for (const [how, before] of [
  ["is used up", (town: Town, _: Member, __: string, link: JoinLink) => useUp(town, link)],
  ["is too old", (town: Town) => void (town.clock.monotonic += 2 * DAY_MS, town.clock.wall += 2 * DAY_MS, town.pass(1_000))],
  ["was ended", (_: Town, ada: Member, group: string) => ada.groups.endLinks(group)],
  ["is of a closed group", (town: Town, ada: Member, group: string) => (ada.groups.close(group), town.pass(3_000))],
  ["serves: the control", () => undefined],
] as const) {
  test(`whoever opens a link that ${how} hears of it`, () => {
    const [town, ada, group, link] = linked();
    before(town, ada, group, link);
    const isLate = how !== "serves: the control";
    const eve = new Member(town);
    eve.groups.join(link, "Evie");
    town.pass(10_000);
    assert.deepEqual([refusals(eve).length, eve.relation(group)], isLate ? [1, ""] : [0, "member"]);
    assert.equal(eve.groups.store.joins.find(ada.id, 0), null);
    if (!isLate) {
      assert.equal(eve.groups.found(group).record.ownName, "Evie");
      assert.equal(ada.groups.found(group).record.names.get(eve.id), "Evie", "it is said when one is let in");
    }
  });
}

test("a link that was refused is not asked for again, also later; another one of the same admin is", () => {
  const [town, ada, group, link] = linked();
  useUp(town, link);
  const eve = new Member(town);
  eve.groups.join(link);
  town.pass(10_000);
  eve.beginAnew();
  assert.throws(() => eve.groups.join(link), /does not work any more: it is used up, too old, or withdrawn; ask for another/);
  eve.groups.join(parseLink(ada.groups.linkText(ada.groups.link(group, RELAY, { uses: 1, lasts: DAY_MS }), RELAY)));
  town.pass(10_000);
  assert.equal(eve.relation(group), "member", "the control");
});

for (const [how, act, isOver] of [
  ["one has accepted", (_: Town, __: Member, eve: Member, group: string) => eve.groups.accept(group), true],
  ["one has declined", (_: Town, __: Member, eve: Member, group: string) => eve.groups.leave(group), true],
  ["one has left", (_: Town, __: Member, eve: Member, group: string) => (eve.groups.accept(group), eve.groups.leave(group)), true],
  ["one has blocked the admin", (_: Town, ada: Member, eve: Member) => block(ada, eve), true],
  ["a week has passed", (town: Town) => wait(town, 7), true],
  ["a bit of time has passed: the control", (town: Town) => wait(town, 6), false],
] as const) {
  test(`a link that is not answered leads into no later group once ${how}`, () => {
    const [town, ada, group, link] = linked();
    const eve = new Member(town);
    eve.knows("Ada", ada);
    ada.knows("Eve", eve);
    ada.groups.add(group, [eve.id], "member");
    town.pass(10_000);
    eve.groups.join(link); // who is invited is not answered
    town.pass(10_000);
    act(town, ada, eve, group);
    town.pass(10_000);
    const other = ada.groups.create("Coffee", [eve.id]);
    town.pass(10_000);
    assert.equal(eve.relation(other), isOver ? "invited" : "member");
  });
}

function block(ada: Member, eve: Member): void {
  eve.person.messenger.block(ada.id);
  eve.person.messenger.unblock(ada.id);
}

function wait(town: Town, days: number): void {
  town.clock.monotonic += days * DAY_MS;
  town.clock.wall += days * DAY_MS;
  town.pass(1_000);
}

test("a link that is answered ends what was asked of other admins of that group", () => {
  const [town, [ada, ben], group] = groupOf(2) as [Town, [Member, Member], string];
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(10_000);
  const [link, other] = [ada, ben].map(({ groups }) => {
    return parseLink(groups.linkText(groups.link(group, RELAY, { uses: 1, lasts: DAY_MS }), RELAY));
  }) as [JoinLink, JoinLink];
  const eve = new Member(town);
  ben.person.tamper = (frame) => (frame.type === "MESSAGE" && frame.payload.senderId === eve.id ? [] : [frame]);
  eve.groups.join(other);
  town.pass(10_000);
  eve.groups.join(link);
  town.pass(10_000);
  ben.person.tamper = (frame) => [frame];
  assert.equal(eve.relation(group), "member");
  const later = ben.groups.create("Coffee", [eve.id]);
  town.pass(10_000);
  assert.equal(eve.relation(later), "invited");
});

test("whoever opens a link while there is no room for more waits as a request: something may come of it", () => {
  const [town, ada, , link] = linked();
  ada.groups.arrivals.strangers.joining = () => null;
  const eve = new Mallory(town);
  eve.asksUnder(link.token, ada, link.token);
  town.pass(5_000);
  assert.equal(ada.person.messenger.stores.requests.waiting(eve.id), 1);
});

test("nobody is turned away by one who appears offline until they show", () => {
  const [town, ada, , link] = linked();
  useUp(town, link);
  ada.person.messenger.tellPresence("offline");
  const eve = new Member(town);
  eve.groups.join(link);
  town.pass(60_000);
  assert.deepEqual(refusals(eve), []);
  ada.person.messenger.tellPresence("online");
  town.pass(10_000);
  assert.deepEqual(refusals(eve), ["link-refused"]);
});

test("a refusal of anybody but the admin of the link says nothing", () => {
  const [town, ada, , link] = linked();
  const [eve, mallory] = [new Member(town), new Mallory(town)];
  eve.person.messenger.contacts.add("Mallory", mallory.id);
  ada.person.tamper = (frame) => (frame.type === "MESSAGE" ? [] : [frame]); // the question is lost
  eve.groups.join(link);
  town.pass(1_000);
  mallory.says([eve], { kind: "group-refuse", token: link.token });
  town.pass(5_000);
  assert.deepEqual(refusals(eve), []);
  assert.ok(eve.groups.store.joins.find(ada.id, 0) !== null);
});

test("so many are told in an hour, and each once", () => {
  const found = new TurningAway();
  const tx = { onCommit: (act: () => void) => act() } as unknown as Transaction;
  const token = new Uint8Array(16);
  for (let number = 0; number < MOST; number += 1) {
    assert.ok(found.hasRoom(`${number}`, token, 0));
    found.note(tx, `${number}`, token);
  }
  const told: string[] = [];
  const speaking = { say: (_: unknown, [who]: [string]) => told.push(who) } as unknown as Parameters<TurningAway["step"]>[0];
  found.step(speaking, { monotonic: 0, persistent: 0, wall: 0 }, false);
  assert.equal(told.length, MOST);
  found.note(tx, "0", token);
  found.step(speaking, { monotonic: 1, persistent: 1, wall: 1 }, false);
  assert.equal(told.length, MOST, "nobody twice");
  assert.deepEqual(["0", "new"].map((who) => found.hasRoom(who, token, IN_MS - 1)), [true, false]);
  assert.ok(found.hasRoom("new", token, IN_MS));
});
