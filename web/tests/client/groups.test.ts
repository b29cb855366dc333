/** Groups of whole clients at a relay in memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../core/bytes.ts";
import { contentOf, exportContent, putContent, readFile } from "../../core/client/backup.ts";
import { areUsable } from "../../core/client/groups/copying.ts";
import { parseLink } from "../../core/client/groups/link.ts";
import { GroupStore, idOf, peopleOf, stateOf } from "../../core/client/groups/store.ts";
import { GroupView } from "../../core/client/groups/view.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { newVault } from "../../core/client/vault.ts";
import { assertInStep, groupOf, Mallory, Member, membersOf } from "./members.ts";
import { random } from "./support.ts";
import { Town } from "./town.ts";
import type { Frame } from "./town.ts";

/** What a file costs to open whose passphrase is no secret. */
const CHEAP = { memoryKib: 64, passes: 1, lanes: 1 };

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
  ben.groups.setRole(group, ben.id, "member");
  town.pass(3_000);
  assert.equal(ben.events(group).at(-1), "You made yourself a member");
  assert.equal(cleo.events(group).at(-1), "Ben made themselves a member");
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
  assert.throws(() => cleo.groups.accept(group), /you are no longer a member of/);
  assert.throws(() => cleo.groups.sendText(group, "hello?"), /no longer a member/);
  assertInStep([ada, ben], group);
  ada.groups.add(group, [cleo.id], "member");
  town.pass(3_000);
  assert.equal(cleo.relation(group), "invited");
});

test("a member whose account is gone is removed, and one who was blocked before their removal had left", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  ben.person.disconnect();
  ben.person.published = null;
  town.refusals.set(ben.id, { code: 1004, reason: "user" });
  ada.groups.sendText(group, "are you there?");
  town.pass(3_000);
  ada.groups.remove(group, [ben.id]);
  town.pass(6_000);
  assert.deepEqual([...ada.groups.found(group).chain.state.members.keys()], [ada.id]);
  assert.equal(ada.person.messenger.waitingFor(), 0, "the change is kept for somebody who is no member any more");
  const [, [cleo, dan], other] = groupOf(2) as [Town, [Member, Member], string];
  cleo.person.disconnect();
  cleo.groups.remove(other, [dan.id]);
  cleo.person.messenger.block(dan.id);
  cleo.person.connect();
  cleo.town.pass(6_000);
  assert.deepEqual([...cleo.groups.found(other).chain.state.members.keys()], [cleo.id]);
});

test("who leaves is taken out by an admin's client; the last admin must name another first", () => {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  assert.throws(() => ada.groups.leave(group), /last admin/);
  cleo.groups.leave(group);
  town.pass(5_000);
  assert.deepEqual(peopleOf(ben.groups.found(group)).sort(), [ada.id, ben.id].sort());
  assert.equal(cleo.relation(group), "left");
  for (const one of [ada, ben]) {
    assert.deepEqual(one.events(group).slice(-2), ["Cleo has left", "Cleo is no longer a member"]);
  }
  assert.throws(() => ben.groups.accept(group), /you are in .* already/);
  ada.groups.close(group);
  town.pass(5_000);
  assert.deepEqual([ada.relation(group), ben.relation(group)], ["closed", "closed"]);
  for (const act of [() => ben.groups.accept(group), () => ada.groups.rename(group, "Coffee")]) {
    assert.throws(act, /“\u2068Tea\u2069” is closed/);
  }
  ben.groups.forget(group);
  assert.equal(ben.groups.store.size, 0);
});

test("the control: of who is removed it is said, and of who had not accepted that they are not invited any more", () => {
  const [town, members] = membersOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  const group = ada.groups.create("Tea", [ben.id]);
  town.pass(3_000);
  ben.groups.accept(group);
  town.pass(3_000);
  ada.groups.add(group, [cleo.id], "member");
  town.pass(3_000);
  cleo.groups.leave(group);
  town.pass(5_000);
  assert.equal(ben.events(group).at(-1), "Cleo is no longer invited");
  assert.equal(ben.events(group).includes("Cleo has left"), false, "that one has declined is the admins' to know");
  assert.ok(ada.events(group).includes("Cleo has left"));
  ada.groups.add(group, [cleo.id], "member");
  town.pass(3_000);
  cleo.groups.accept(group);
  town.pass(3_000);
  ada.groups.remove(group, [cleo.id]);
  town.pass(3_000);
  assert.equal(ben.events(group).at(-1), "Ada removed Cleo");
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
  const said = ada.events(group).filter((one) => one.endsWith(" joins by your link"));
  assert.equal(said.length, 1, "nor is it said that she has added somebody");
  ada.groups.remove(group, [eve.id]);
  town.pass(10_000);
  ada.groups.add(group, [eve.id], "member");
  town.pass(10_000);
  assert.match(ada.events(group).at(-1) ?? "", /^You added /u, "control: this she did");
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

for (const [ahead, name] of [[1_023, "Coffee"], [1_024, "Tea"], [2 ** 31, "Tea"]] as const) {
  test(`an order that is ahead by ${ahead}: a change goes beyond it if it may, and is given up otherwise`, () => {
    const [town, members, group] = groupOf(3);
    const [ada] = members as [Member, Member, Member];
    const { revision } = stateOf(ada.groups.found(group));
    for (const [of, order] of town.orders) town.orders.set(of, { ...order, revision: revision + ahead });
    ada.person.sent.length = 0;
    ada.groups.rename(group, "Coffee");
    town.pass(120_000);
    assertInStep(members, group);
    assert.deepEqual(members.map((one) => stateOf(one.groups.found(group)).name), members.map(() => name));
    const told = ada.person.events.flatMap((event) => (event.kind === "warning" && event.code === "group" ? [event.message] : []));
    assert.equal(told.length, name === "Tea" ? 1 : 0);
    assert.ok(told.every((message) => message.endsWith("could not be changed: the relay has counted further than changes may go")));
    assert.ok(ada.person.sent.filter(({ type }) => type === "MESSAGE_MANY").length < 20);
  });
}

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
  const again = new GroupStore(ben.person.vault);
  const found = again.get(group);
  assert.ok(found !== null);
  assert.equal(idOf(found), group);
  assert.equal(toHex(found.chain.head), ben.head(group));
  assert.deepEqual(found.chain.steps.length, ben.groups.found(group).chain.steps.length);
  assert.equal(again.unread(group), 1);
});

test("groups go into an exported file and out of it; a file that no program could open is refused", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  ada.groups.sendText(group, "kept");
  ada.groups.setTimer(group, 60_000);
  town.pass(8_000);
  ada.groups.sendText(group, "gone in a minute");
  town.pass(8_000);
  const file = exportContent(contentOf(ben.person.vault), "some words", random, { cost: CHEAP });
  const content = readFile(file, "some words");
  const vault = newVault(new Uint8Array(32), random);
  vault.transaction((tx) => putContent(tx, content, null));
  const store = new GroupStore(vault);
  const found = store.get(group);
  const [copy] = content.groups ?? [];
  assert.ok(found !== null && copy !== undefined);
  assert.deepEqual(found.record, ben.groups.found(group).record);
  assert.equal(toHex(found.chain.head), ben.head(group));
  assert.deepEqual(copy.texts.map(({ text }) => text), ["kept", null]);
  assert.equal(store.unread(group), 1);

  const none = { many: [], copies: [] };
  assert.equal(areUsable([copy], none), true);
  for (const wrong of [
    { ...copy, record: { ...copy.record, state: copy.record.state.slice(1) } },
    { ...copy, record: { ...copy.record, relation: "king" } },
    { ...copy, record: { ...copy.record, wishes: [Uint8Array.of(1)] } },
    { ...copy, record: { ...copy.record, wishes: [Uint8Array.of(0xc1)] } },
    { ...copy, record: { ...copy.record, digest: Uint8Array.of(1) } },
    { ...copy, steps: copy.steps.map((step) => ({ ...step, change: step.change.slice(0, 40) })) },
    { ...copy, texts: copy.texts.map((text) => ({ ...text, state: 99 })) },
  ]) {
    assert.equal(areUsable([wrong], none), false);
  }
  assert.equal(areUsable([copy, copy], none), false);
});

test("a member's other devices get what is said, and speak for their person; they change nothing", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const tablet = new Mallory(town);
  for (const one of members) {
    one.person.messenger.contacts.add("Tablet", tablet.id);
    tablet.person.messenger.contacts.add(`Friend ${members.indexOf(one)}`, one.id);
  }
  town.pass(2_000);
  const { chain, record } = ben.groups.found(group);
  const said = { kind: "group-text", group: record.group, revision: chain.state.revision, head: chain.head } as const;
  tablet.says([ben], { ...said, n: 1, body: "from nobody yet" });
  town.pass(3_000);
  assert.deepEqual(ben.texts(group), []);

  // As if Ada's device list had come.
  const whose = (device: string): string => (device === tablet.id ? ada.id : device);
  const devicesOf = (person: string): readonly string[] => (person === ada.id ? [ada.id, tablet.id] : [person]);
  const known = { person: ben.id, isFirst: true, personOf: whose, devicesOf, ownOthers: () => [], claim: () => null, whoRemoved: () => null };
  Object.assign(ben.person.messenger.stores, { devices: known });
  town.pass(10_000);
  tablet.says([ben], { ...said, n: 2, body: "from the tablet" });
  tablet.says([ben], { kind: "group-leave", group: record.group });
  tablet.says([ben], { kind: "group-propose", group: record.group, person: random(32) });
  town.pass(2_000);
  const id = ben.groups.sendText(group, "to both");
  town.pass(10_000);
  assert.deepEqual(ben.texts(group), ["from nobody yet", "from the tablet", "to both"]);
  assert.equal(ben.groups.store.text(ben.groups.found(group), ada.id, id), null);
  assert.deepEqual([...ben.groups.progress(id).keys()], [ada.id]);
  assert.deepEqual([...stateOf(ben.groups.found(group)).members.keys()].sort(), [ada.id, ben.id].sort());
  const frames = ben.person.sent.filter(({ type }) => type === "MESSAGE_MANY");
  const recipients = frames.flatMap(({ payload }) => payload["recipients"] as { readonly recipientId: string }[]);
  assert.ok(recipients.some(({ recipientId }) => recipientId === tablet.id));
});

test("groups whose names look like that of a contact or another group are told apart", () => {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const view = new GroupView(ben.person.messenger.stores, ben.groups, ben.id);
  const twins = (): string[] => ben.groups.store.all().map((one) => view.shown(one, ben.person.messenger.now()).twin);
  assert.deepEqual([view.compareNames(), twins()], [[], [""]]);
  const other = ada.groups.create("T\u0435a", [ben.id]); // with a letter of the Cyrillic alphabet
  town.pass(3_000);
  assert.deepEqual(view.compareNames().sort(), [group, other].sort());
  assert.deepEqual(twins(), [group, other].map((id) => id.slice(0, 6)));
  assert.deepEqual(view.compareNames(), []);
  ada.groups.rename(other, "Ada");
  town.pass(3_000);
  assert.deepEqual([view.compareNames(), twins()], [[group], ["", other.slice(0, 6)]]);
});
