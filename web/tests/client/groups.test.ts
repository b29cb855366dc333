/** Groups of whole clients at a relay in memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { groupsOf } from "../../core/client/groups/main.ts";
import type { Groups } from "../../core/client/groups/groups.ts";
import { parseLink } from "../../core/client/groups/link.ts";
import { eventsOf, textsOf } from "../../core/client/groups/records.ts";
import { idOf, peopleOf, stateOf } from "../../core/client/groups/store.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { toHex } from "../../core/bytes.ts";
import { Town } from "./town.ts";
import type { Frame, Person } from "./town.ts";

/** Somebody with groups. */
class Member {
  #groups: Groups | null = null;
  readonly person: Person;

  constructor(readonly town: Town) {
    this.person = town.person((ports) => {
      const made = groupsOf(ports);
      this.#groups = made.groups;
      return made.extension;
    });
  }

  get id(): string {
    return this.person.id;
  }

  get groups(): Groups {
    assert.ok(this.#groups !== null);
    return this.#groups;
  }

  /** The texts of a group that this member can read, in their order. */
  texts(group: string): (string | null)[] {
    const { number } = this.groups.found(group).record;
    return [...this.person.vault.all(textsOf(number))].map(([, { text }]) => text);
  }

  /** What has happened to a group, as sentences without the marks around names. */
  events(group: string): string[] {
    const { number } = this.groups.found(group).record;
    return [...this.person.vault.all(eventsOf(number))].map(([, { text }]) => text.replaceAll(/[\u2068\u2069]/g, ""));
  }

  head(group: string): string {
    return toHex(this.groups.found(group).chain.head);
  }

  relation(group: string): string {
    return this.groups.store.get(group)?.record.relation ?? "";
  }

  knows(name: string, other: Member): void {
    this.person.messenger.contacts.add(name, other.id);
  }
}

/** Members who know each other by the names Ada, Ben, Cleo, Dan. */
function membersOf(count: number): [Town, Member[]] {
  const town = new Town();
  const names = ["Ada", "Ben", "Cleo", "Dan"];
  const members = Array.from({ length: count }, () => new Member(town));
  for (const one of members) {
    for (const [index, other] of members.entries()) {
      if (one !== other) one.knows(names[index] ?? "", other);
    }
  }
  town.pass(3_000);
  return [town, members];
}

/** A group of all of them, who have accepted. */
function groupOf(count: number): [Town, Member[], string] {
  const [town, members] = membersOf(count);
  const [ada, ...others] = members as [Member, ...Member[]];
  const group = ada.groups.create("Tea", others.map(({ id }) => id));
  town.pass(5_000);
  for (const one of others) one.groups.accept(group);
  town.pass(10_000);
  return [town, members, group];
}

/** They have one head, and nobody is behind or in doubt. */
function assertInStep(members: readonly Member[], group: string): void {
  const [first, ...others] = members.map((one) => one.head(group));
  assert.deepEqual(others, others.map(() => first));
  for (const { groups } of members) {
    const { record } = groups.found(group);
    assert.deepEqual([record.doubt, groups.isBehind(groups.found(group)), record.wishes.length], ["", false, 0]);
  }
}

test("a group is made, accepted and written to, and its receipts are gathered", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  assertInStep(members, group);
  assert.deepEqual(peopleOf(ben.groups.found(group)).sort(), members.map(({ id }) => id).sort());
  const id = ada.groups.sendText(group, "hello all");
  town.pass(1_000);
  ben.groups.sendText(group, "hello Ada");
  town.pass(2_000);
  assert.deepEqual(members.map((one) => one.texts(group)), members.map(() => ["hello all", "hello Ada"]));
  assert.equal(ben.groups.store.unread(group), 1);
  assert.equal(ada.groups.store.text(ada.groups.found(group), "", id)?.state, DeliveryState.ACCEPTED);
  town.pass(10_000);
  assert.deepEqual([...ada.groups.progress(id).values()], [DeliveryState.DELIVERED, DeliveryState.DELIVERED]);
  for (const one of [ben, cleo]) one.groups.markRead(group, ada.id, id);
  town.pass(10_000);
  assert.equal(ada.groups.store.text(ada.groups.found(group), "", id)?.state, DeliveryState.READ);
  assert.equal(ben.groups.store.unread(group), 0);
  assert.deepEqual(ben.events(group), ["Ada invited you"]);
  assert.deepEqual(ada.events(group).slice(0, 2), ["You created the group", "You added Ben and Cleo"]);
});

test("before an invitation is accepted nothing is said, and what has come meanwhile is shown then", () => {
  const [town, members] = membersOf(2);
  const [ada, ben] = members as [Member, Member];
  const group = ada.groups.create("Tea", [ben.id]);
  town.pass(3_000);
  ada.groups.sendText(group, "are you there?");
  ben.person.sent.length = 0;
  town.pass(10_000);
  assert.equal(ben.relation(group), "invited");
  const said = ben.person.sent.filter(({ type }) => type.startsWith("MESSAGE") && type !== "MESSAGE_ACK");
  assert.deepEqual(said, []);
  assert.deepEqual(ben.person.events.filter(({ kind }) => kind === "group-message"), []);
  ben.groups.accept(group);
  town.pass(10_000);
  assert.deepEqual(ben.texts(group), ["are you there?"]);
  assert.ok(ada.events(group).includes("Ben has joined"));
});

test("roles, name, rights, timer: changes are everybody's, and only an admin's count", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  assert.throws(() => ben.groups.rename(group, "Mine"), /only admins/);
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(3_000);
  ben.groups.rename(group, "Coffee");
  ben.groups.setTimer(group, 3_600_000);
  ben.groups.setRights(group, { invite: "member", write: "admin" });
  town.pass(5_000);
  assertInStep(members, group);
  const state = stateOf(cleo.groups.found(group));
  assert.deepEqual([state.name, state.timer, state.invite, state.write], ["Coffee", 3_600_000, "member", "admin"]);
  assert.throws(() => cleo.groups.sendText(group, "psst"), /only admins write/);
  const id = ben.groups.sendText(group, "soon gone");
  town.pass(3_000);
  assert.deepEqual(cleo.texts(group), ["soon gone"]);
  town.pass(3_700_000);
  assert.deepEqual(cleo.texts(group), [null]);
  assert.equal(ben.groups.store.text(ben.groups.found(group), "", id)?.text, null);
});

test("two admins at once: one chain, and nothing is lost", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben] = members as [Member, Member, Member];
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(3_000);
  ada.groups.rename(group, "Ada's");
  ben.groups.setTimer(group, 86_400_000);
  town.pass(10_000);
  assertInStep(members, group);
  const state = stateOf(ben.groups.found(group));
  assert.deepEqual([state.name, state.timer], ["Ada's", 86_400_000]);
});

test("who is removed gets nothing of what is said afterwards, and knows it", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  ada.groups.remove(group, [cleo.id]);
  town.pass(3_000);
  ben.groups.sendText(group, "without Cleo");
  town.pass(3_000);
  assert.equal(cleo.relation(group), "removed");
  assert.deepEqual(cleo.texts(group), []);
  assert.deepEqual(ada.texts(group), ["without Cleo"]);
  assert.throws(() => cleo.groups.sendText(group, "hello?"), /no member/);
  assertInStep([ada, ben], group);
  ada.groups.add(group, [cleo.id], "member");
  town.pass(3_000);
  assert.equal(cleo.relation(group), "invited");
});

test("who leaves is taken out by an admin's client; the last admin must name another first", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  assert.throws(() => ada.groups.leave(group), /last admin/);
  cleo.groups.leave(group);
  town.pass(5_000);
  assert.deepEqual(peopleOf(ben.groups.found(group)).sort(), [ada.id, ben.id].sort());
  assert.equal(cleo.relation(group), "left");
  ada.groups.close(group);
  town.pass(5_000);
  assert.deepEqual([ada.relation(group), ben.relation(group)], ["closed", "closed"]);
  ben.groups.forget(group);
  assert.equal(ben.groups.store.size, 0);
});

test("a link adds whoever opens it, as often as it serves", () => {
  const [town, members, group] = groupOf(2);
  const [ada] = members as [Member, Member];
  const [eve, mallory] = [new Member(town), new Member(town)];
  const token = ada.groups.link(group, "wss://relay.test/ws", { uses: 1, lasts: 86_400_000 });
  const link = parseLink(ada.groups.linkText(token, "wss://relay.test/ws"));
  eve.groups.join(link);
  town.pass(10_000);
  assert.equal(eve.relation(group), "member");
  mallory.groups.join(link);
  town.pass(10_000);
  assert.equal(mallory.relation(group), "");
  assertInStep([...members, eve], group);
  assert.deepEqual(ada.groups.links(group), []);
});

test("a picture is everybody's, and whoever comes later asks for it", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3, 4, 5);
  assert.throws(() => ada.groups.setPicture(group, Uint8Array.of(1, 2, 3)), /PNG, JPEG or WebP/);
  ada.groups.setPicture(group, png);
  town.pass(3_000);
  assert.deepEqual(ben.groups.found(group).record.picture, png);
  const dan = new Member(town);
  dan.knows("Ada", ada);
  ada.knows("Dan", dan);
  town.pass(2_000);
  ada.groups.add(group, [dan.id], "member");
  town.pass(3_000);
  dan.groups.accept(group);
  assert.equal(dan.groups.found(group).record.picture.length, 0);
  town.pass(10_000);
  assert.deepEqual(dan.groups.found(group).record.picture, png);
});

test("changes that did not come are asked for", () => {
  const [town, members, group] = groupOf(3);
  const [ada, , cleo] = members as [Member, Member, Member];
  cleo.person.tamper = (frame: Frame) => (frame.type === "MESSAGE" ? [] : [frame]);
  ada.groups.rename(group, "Lost");
  town.pass(2_000);
  cleo.person.tamper = (frame) => [frame];
  cleo.person.mailbox.length = 0;
  ada.groups.sendText(group, "what is it called?");
  town.pass(1_000);
  assert.equal(stateOf(cleo.groups.found(group)).name, "Tea");
  assert.equal(cleo.groups.isBehind(cleo.groups.found(group)), true);
  town.pass(20_000);
  assert.equal(stateOf(cleo.groups.found(group)).name, "Lost");
  assertInStep(members, group);
});

test("a relay that loses an order cannot make two histories unnoticed", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(3_000);
  // Ada's change reaches Cleo alone, and Ben's nobody but Ada.
  ben.person.tamper = (frame) => (frame.type === "MESSAGE" ? [] : [frame]);
  ada.groups.rename(group, "One");
  town.pass(2_000);
  town.orders.clear();
  cleo.person.tamper = (frame) => (frame.type === "MESSAGE" ? [] : [frame]);
  ben.groups.rename(group, "Other");
  town.pass(5_000);
  assert.equal(ada.groups.found(group).record.doubt, "forked");
  assert.throws(() => ada.groups.sendText(group, "to whom?"), /two histories/);
  assert.ok(ada.person.events.some((event) => event.kind === "group" && event.news === "forked"));
  ada.groups.goOn(group);
  ada.groups.sendText(group, "on we go");
});

test("a stranger's invitation is no request of theirs, and waits for the user", () => {
  const town = new Town();
  const [ada, ben] = [new Member(town), new Member(town)];
  ada.knows("Ben", ben);
  town.pass(2_000);
  const group = ada.groups.create("Tea", [ben.id]);
  town.pass(5_000);
  assert.equal(ben.relation(group), "");
  assert.equal(ben.person.messenger.stores.requests.waiting(ada.id), 1);
  ben.knows("Ada", ada);
  town.pass(3_000);
  assert.equal(ben.relation(group), "invited");
});

test("everything is found again when the profile is opened", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  ada.groups.sendText(group, "kept");
  town.pass(8_000);
  const again = new (ben.groups.store.constructor as typeof import("../../core/client/groups/store.ts").GroupStore)(ben.person.vault);
  const found = again.get(group);
  assert.ok(found !== null);
  assert.equal(idOf(found), group);
  assert.equal(toHex(found.chain.head), ben.head(group));
  assert.deepEqual(found.chain.steps.length, ben.groups.found(group).chain.steps.length);
  assert.equal(again.unread(group), 1);
});
