/** Texts that were written before their sender knew of a device: it gets them, each once, and nothing else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LateTexts, MAX_LATE, SOON_MS } from "../../core/client/devices/late.ts";
import { LATE } from "../../core/client/devices/late_record.ts";
import { ManyStore } from "../../core/client/many/store.ts";
import { SENT } from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { devicesOf, link, readAll, said } from "./family.ts";
import { groupOf, Member } from "./members.ts";
import { type Frame, type Person, Town } from "./town.ts";

const DAY = 86_400_000;

/** Alice's phone, what is to be her laptop, and Bob, who is away. */
function apart(): readonly [Town, Person, Person, Person] {
  const town = new Town();
  const [phone, bob] = town.friends();
  const laptop = town.person();
  bob.disconnect();
  return [town, phone, laptop, bob];
}

function back(town: Town, person: Person): void {
  person.connect();
  town.pass(10_000);
}

/** The texts of others in a conversation, the oldest first, without the one that it began with. */
function came(person: Person, peer: Person): readonly (string | null)[] {
  return said(person, peer).flatMap(([isMine, text]) => (isMine || text === "hello" ? [] : [text]));
}

/** Whether somebody has sent a message to a user. */
function hasWritten(from: Person, to: Person): boolean {
  return from.sent.some((frame) => frame.type.startsWith("MESSAGE") && JSON.stringify(frame.payload).includes(to.id));
}

/** Whether somebody remembers texts that were reported under a list that is not known there. */
function hasNoted(person: Person, by: Person): boolean {
  return (person.vault.find(LATE, by.id)?.texts ?? []).length > 0;
}

/** The relay keeps what somebody sends to a person back, and what it hands out of lists; what it has kept. */
function held(person: Person, sender: Person): Frame[] {
  const late: Frame[] = [];
  person.tamper = (frame) => {
    const { deviceList: _, ...payload } = frame.payload;
    const bundles = payload["bundles"] as readonly Record<string, unknown>[] | undefined;
    const bare = bundles?.map(({ deviceList: __, ...bundle }) => bundle);
    if (frame.type === "MESSAGE" && payload["senderId"] === sender.id) {
      late.push(frame);
      return [];
    }
    return [{ ...frame, payload: bare === undefined ? payload : { ...payload, bundles: bare } }];
  };
  return late;
}

function letGo(person: Person, frames: readonly Frame[]): void {
  person.tamper = (frame) => [frame];
  for (const frame of frames) person.get(frame);
}

test("a text that was written offline while a device was linked reaches it", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  const { messageId } = bob.messenger.sendText(phone.id, "written offline");
  back(town, bob);
  for (const one of [phone, laptop]) assert.deepEqual(came(one, bob), ["written offline"]);
  assert.equal(bob.sent.find(({ type }) => type === "MESSAGE")?.payload["recipientId"], phone.id, "the race was there");
  readAll(laptop, bob);
  town.pass(10_000);
  assert.equal(bob.messenger.stateOf(messageId), DeliveryState.READ);
  assert.equal(phone.messenger.stores.inbox.isUnread(bob.id, messageId), false);
});

test("the control: without the sending it goes to the first device alone", (context) => {
  context.mock.method(LateTexts.prototype, "missed", () => []);
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  bob.messenger.sendText(phone.id, "written offline");
  back(town, bob);
  assert.deepEqual([came(phone, bob), came(laptop, bob)], [["written offline"], []]);
});

for (const isReported of [true, false]) {
  const when = isReported ? "was reported" : "had";
  test(`a text that the relay ${when} before the list came reaches the device`, () => {
    const [town, phone, laptop, bob] = apart();
    link(town, phone, laptop);
    const late = held(bob, phone);
    bob.connect();
    for (const text of ["one", "two"]) bob.messenger.sendText(phone.id, text);
    town.pass(10_000);
    assert.deepEqual([came(phone, bob), came(laptop, bob)], [["one", "two"], []]);
    // Of what was kept back, the list is the first and the receipts are the rest.
    const [list, ...receipts] = late;
    assert.ok(list !== undefined && receipts.length > 0);
    const order = isReported ? [...receipts, list] : [list, ...receipts];
    letGo(bob, order.slice(0, isReported ? -1 : 1));
    assert.equal(hasNoted(bob, phone), isReported);
    letGo(bob, order);
    town.pass(10_000);
    assert.deepEqual(came(laptop, bob), ["one", "two"]);
    assert.equal(hasNoted(bob, phone), false);
  });
}

test("a list that comes with the first prekeys counts, too", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  const carol = town.person();
  carol.messenger.contacts.add("Alice", phone.id);
  phone.messenger.contacts.add("Carol", carol.id);
  town.pass(5_000);
  carol.messenger.sendText(phone.id, "to somebody new");
  back(town, bob);
  for (const one of [phone, laptop]) assert.deepEqual(came(one, carol), ["to somebody new"]);
});

test("a person with devices gets a text on one that comes later; own texts reach it, too", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  back(town, bob);
  const tablet = town.person();
  for (const one of [laptop, bob]) one.disconnect();
  link(town, phone, tablet);
  bob.messenger.sendText(phone.id, "to two of three");
  laptop.messenger.sendText(bob.id, "from the laptop");
  laptop.connect();
  back(town, bob);
  for (const one of [phone, laptop, tablet]) {
    assert.deepEqual(came(one, bob), ["to two of three"]);
    assert.ok(said(one, bob).some(([isMine, text]) => isMine && text === "from the laptop"));
  }
});

test("what the first device had before is not sent", () => {
  const [town, phone, laptop, bob] = apart();
  bob.connect();
  bob.messenger.sendText(phone.id, "long before");
  town.pass(10_000);
  bob.disconnect();
  link(town, phone, laptop);
  bob.sent.length = 0;
  back(town, bob);
  assert.equal(bob.messenger.stores.devices?.devicesOf(phone.id).length, 2);
  assert.equal(hasWritten(bob, laptop), false);
});

test("a text that was handed over shows once, and counts as delivered", () => {
  const [town, phone, laptop, bob] = apart();
  phone.messenger.tellPresence("offline"); // so that nothing is reported
  bob.connect();
  const { messageId } = bob.messenger.sendText(phone.id, "on the phone");
  town.pass(5_000);
  bob.disconnect();
  link(town, phone, laptop, true);
  town.pass(20_000);
  assert.deepEqual(came(laptop, bob), ["on the phone"]);
  back(town, bob);
  town.pass(10_000);
  assert.equal(hasWritten(bob, laptop), true);
  assert.deepEqual(came(laptop, bob), ["on the phone"]);
  assert.equal(laptop.messenger.stores.inbox.unread(bob.id), 0);
  assert.equal(bob.messenger.stateOf(messageId), DeliveryState.DELIVERED);
});

// --- groups -------------------------------------------------------------------------

/** Ada's phone and what is to be her laptop, and Ben, in a group; Ben is away. */
function members(): readonly [Town, Member, Member, Member, string] {
  const [town, all, group] = groupOf(2);
  const [ada, ben] = all as [Member, Member];
  const laptop = new Member(town);
  ben.person.disconnect();
  link(town, ada.person, laptop.person);
  return [town, ada, laptop, ben, group];
}

test("a text to a group reaches the device", () => {
  const [town, ada, laptop, ben, group] = members();
  for (const text of ["one", "two"]) ben.groups.sendText(group, text);
  back(town, ben.person);
  for (const one of [ada, laptop]) assert.deepEqual(one.texts(group), ["one", "two"]);
  assert.equal(laptop.person.warnings.includes("missing"), false);
});

test("the control: without the sending the group's text goes to the first device alone", (context) => {
  context.mock.method(LateTexts.prototype, "missed", () => []);
  const [town, ada, laptop, ben, group] = members();
  ben.groups.sendText(group, "one");
  back(town, ben.person);
  assert.deepEqual([ada.texts(group), laptop.texts(group)], [["one"], []]);
});

test("a text to a group that is reported under an unknown list is sent, and that list is asked for", () => {
  const [town, ada, laptop, ben, group] = members();
  const late = held(ben.person, ada.person);
  ben.person.connect();
  ben.groups.sendText(group, "one");
  town.pass(20_000);
  assert.deepEqual([ada.texts(group), laptop.texts(group)], [["one"], []]);
  const [list, ...receipts] = late;
  assert.ok(list !== undefined);
  letGo(ben.person, receipts);
  assert.equal(hasNoted(ben.person, ada.person), true);
  town.pass(10_000);
  assert.deepEqual(laptop.texts(group), ["one"]);
});

// --- bounds ---------------------------------------------------------------------------

test("no more than the newest 200 are sent, in the order in which they were written", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  const texts = Array.from({ length: MAX_LATE + 1 }, (_, number) => `text ${number}`);
  for (const text of texts) bob.messenger.sendText(phone.id, text);
  back(town, bob);
  town.pass(SOON_MS);
  assert.deepEqual(came(phone, bob), texts);
  assert.deepEqual(came(laptop, bob), texts.slice(1));
});

test("what is older than seven days is not sent", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  bob.messenger.sendText(phone.id, "of last week");
  for (const one of [phone, laptop]) one.disconnect();
  town.clock.wall += 8 * DAY;
  town.clock.monotonic += 8 * DAY;
  for (const one of [phone, laptop]) one.connect();
  bob.messenger.sendText(phone.id, "of today");
  back(town, bob);
  town.pass(10_000);
  assert.deepEqual([came(phone, bob), came(laptop, bob)], [["of last week", "of today"], ["of today"]]);
});

test("what was burned or has expired is not sent", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  const late = held(bob, phone);
  bob.connect();
  const { messageId } = bob.messenger.sendText(phone.id, "burned", { burn: true });
  bob.messenger.sendText(phone.id, "expired", { expiresIn: 30_000 });
  town.pass(2_000);
  readAll(phone, bob);
  town.pass(60_000);
  const [list, ...receipts] = late;
  assert.ok(list !== undefined);
  letGo(bob, receipts);
  assert.equal(bob.messenger.stateOf(messageId), DeliveryState.BURNED);
  letGo(bob, [list]);
  town.pass(10_000);
  assert.equal(bob.messenger.stores.devices?.devicesOf(phone.id).length, 2);
  assert.equal(hasWritten(bob, laptop), false);
});

test("a device that is removed before the copies leave gets none", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  const { messageId } = bob.messenger.sendText(phone.id, "for a while");
  bob.connect();
  // Its prekeys do not come, so nothing can leave.
  bob.tamper = (frame) => (frame.type === "PREKEY_BUNDLES" ? [] : [frame]);
  town.pass(10_000);
  assert.equal(bob.messenger.stores.slot.is.outgoing?.isWaiting(messageId), true);
  devicesOf(phone).desk.remove(laptop.id);
  phone.messenger.devicesChanged();
  town.pass(10_000);
  assert.equal(bob.messenger.stores.slot.is.outgoing?.isWaiting(messageId), false);
  assert.equal(hasWritten(bob, laptop), false);
  assert.equal(bob.messenger.stateOf(messageId), DeliveryState.DELIVERED);
});

test("a text that is taken back before it has left goes to no device", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  const { messageId } = bob.messenger.sendText(phone.id, "taken back");
  const { outbox, vault } = bob.messenger.stores;
  const sent = outbox.sent(messageId);
  assert.ok(sent !== null);
  const list = phone.messenger.stores.devices?.own?.newest.encoded;
  assert.ok(list !== undefined);
  devicesOf(bob).desk.listCame(list, bob.messenger.now());
  assert.equal(bob.messenger.stores.slot.is.waiting(laptop.id), 1);
  assert.ok(vault.transaction((tx) => outbox.erase(tx, sent)));
  back(town, bob);
  for (const one of [phone, laptop]) assert.deepEqual(came(one, bob), []);
});

test("what is to be sent is stored with the list: a program that dies goes on with it", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  for (const text of ["one", "two"]) bob.messenger.sendText(phone.id, text);
  bob.connect();
  const isKnown = (): boolean => bob.messenger.stores.devices?.devicesOf(phone.id).length === 2;
  for (let turns = 0; !isKnown(); turns += 1) {
    assert.ok(turns < 100 && bob.turn());
  }
  assert.equal(bob.messenger.stores.slot.is.waiting(laptop.id), 2);
  assert.equal(hasWritten(bob, laptop), false);
  bob.beginAnew();
  assert.equal(bob.messenger.stores.slot.is.waiting(laptop.id), 2);
  town.pass(20_000);
  for (const one of [phone, laptop]) assert.deepEqual(came(one, bob), ["one", "two"]);
});

test("whoever appears offline is not shown by it", () => {
  const [town, phone, laptop, bob] = apart();
  link(town, phone, laptop);
  bob.messenger.sendText(phone.id, "written offline");
  bob.messenger.tellPresence("offline");
  back(town, bob);
  assert.deepEqual([came(phone, bob), came(laptop, bob)], [["written offline"], []]);
  bob.messenger.sendText(phone.id, "here I am");
  town.pass(10_000);
  assert.deepEqual(came(laptop, bob), ["written offline", "here I am"]);
});

// --- the order, and how many wait -----------------------------------------------------

/** Ben has written to Ada and to the group in turns when he hears of her laptop; the ids. */
function writtenInTurns(): readonly [Town, Member, Member, Member, string, string[]] {
  const [town, ada, laptop, ben, group] = members();
  const ids: string[] = [];
  for (const text of ["one", "two"]) {
    ids.push(ben.person.messenger.sendText(ada.id, text).messageId);
    town.pass(1_000);
    ids.push(ben.groups.sendText(group, text));
    town.pass(1_000);
  }
  ben.person.connect();
  const isKnown = (): boolean => ben.person.messenger.stores.devices?.devicesOf(ada.id).length === 2;
  for (let turns = 0; !isKnown(); turns += 1) {
    assert.ok(turns < 100 && ben.person.turn());
  }
  return [town, ada, laptop, ben, group, ids];
}

/** What waits on somebody's disk for a device, in the order in which it is to leave. */
function queueOf(person: Person, device: Person): string[] {
  const store = new ManyStore(person.vault);
  const ids: string[] = [];
  for (;;) {
    const [message] = store.ready(() => false).find(([, peers]) => peers.includes(device.id)) ?? [];
    if (message === undefined) return ids;
    const { messageId } = message.record;
    ids.push(messageId);
    person.vault.transaction((tx) => store.accepted(tx, messageId, [device.id], 0));
  }
}

test("the order outlives the program", () => {
  const [town, ada, laptop, ben, group, ids] = writtenInTurns();
  ben.beginAnew();
  town.pass(20_000);
  assert.deepEqual(came(laptop.person, ben.person), ["one", "two"]);
  assert.deepEqual(laptop.texts(group), ["one", "two"]);
  assert.deepEqual([ada.texts(group), ids.length], [["one", "two"], 4]);
});

test("it is that in which they were written, whatever they were sent as", () => {
  const [, , laptop, ben, , ids] = writtenInTurns();
  assert.deepEqual(queueOf(ben.person, laptop.person), ids);
});

test("the control: by what is stored of copies it is another one", () => {
  const [, , laptop, ben, , ids] = writtenInTurns();
  const { vault } = ben.person;
  const position = vault.position.bind(vault);
  vault.position = (kind, name) => (kind === SENT ? 0 : position(kind, name));
  assert.notDeepEqual(queueOf(ben.person, laptop.person), ids);
});

test("a text that waits for either device is one", () => {
  const [town, , , ben, , ids] = writtenInTurns();
  const { messenger } = ben.person;
  assert.deepEqual([messenger.waitingFor(), ids.length], [4, 4]);
  ben.beginAnew();
  assert.equal(ben.person.messenger.waitingFor(), 4);
  town.pass(20_000);
  assert.equal(ben.person.messenger.waitingFor(), 0);
});

test("the control: it is counted in two places", () => {
  const [, , , ben] = writtenInTurns();
  assert.equal(ben.person.messenger.stores.outbox.texts(), 2);
  assert.equal(new ManyStore(ben.person.vault).count(), 4);
});
