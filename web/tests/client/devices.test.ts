/** Persons with several devices: linking, texts everywhere, receipts, read marks, removal; and who tries to take part. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { encodeBase64, fromBase64 } from "../../core/wire/base64.ts";
import type { OwnDevice } from "../../core/client/devices/devices.ts";
import { linkLine, parseLinkLine } from "../../core/client/devices/link_code.ts";
import { conversationId } from "../../core/client/ids.ts";
import { Link } from "../../core/client/link.ts";
import { DeliveryState } from "../../core/client/status.ts";
import * as records from "../../core/client/records.ts";
import { RELAY, begin, devicesOf, family, link, readAll, said, step } from "./family.ts";
import { random } from "./support.ts";
import { type Person, Town } from "./town.ts";

/** Something of a mailbox. */
function ack(recipientId: string): object {
  const messageId = "00000000-0000-4000-8000-000000000001";
  return { payload: { messageId, recipientId, status: "delivered", timestamp: 1 }, seq: 1, timestamp: 1, type: "MESSAGE_ACK" };
}

test("a device is linked, and knows people", () => {
  const [, phone, laptop, bob] = family();
  assert.equal(laptop.messenger.contacts.find("Bob").userId, bob.id);
  assert.equal(laptop.messenger.person, phone.id);
  const shown = (one: Person): readonly Partial<OwnDevice>[] =>
    devicesOf(one)
      .everybody()
      .map(({ isFirst, isThis, userId }) => ({ isFirst, isThis, userId }));
  const both = (isPhone: boolean) => [
    { isFirst: true, isThis: isPhone, userId: phone.id },
    { isFirst: false, isThis: !isPhone, userId: laptop.id },
  ];
  assert.deepEqual(shown(phone), both(true));
  assert.deepEqual(shown(laptop), both(false));
  assert.deepEqual(bob.warnings, ["devices"]);
  assert.deepEqual(bob.messenger.stores.book.everybody().map(({ userId }) => userId), [phone.id]);
});

test("whoever links one device more hears of no change on it, and the others do", () => {
  const [town, phone, laptop, bob] = family();
  const tablet = town.person();
  link(town, phone, tablet);
  assert.equal(tablet.messenger.person, phone.id);
  assert.deepEqual(tablet.warnings, [], "the laptop was there before");
  assert.deepEqual(laptop.warnings, ["devices"], "the control: who knew the list before hears of the new one");
  assert.deepEqual(bob.warnings, ["devices", "devices"]);
  devicesOf(phone).desk.remove(laptop.id);
  phone.messenger.devicesChanged();
  town.pass(5_000);
  assert.deepEqual(tablet.warnings, ["devices"], "from then on it does, too");
});

test("only the first device links others, with a code and by showing one; the first one shows none once it is in use", () => {
  const [, phone, laptop] = family();
  const line = linkLine({ relay: RELAY, id: fromBase64(phone.id), secret: random(16) });
  for (const act of [() => devicesOf(laptop).showCode(RELAY, "again"), () => devicesOf(laptop).linking.begin(line)]) {
    assert.throws(act, { message: "only your first device can link others; do it there" });
  }
  assert.throws(() => devicesOf(phone).showCode(RELAY, "again"), /^UsageError: this browser is in use already/, "the control");
});

test("a text reaches all devices of both, and shows as the person's", () => {
  const [town, phone, laptop, bob] = family();
  const { messageId } = laptop.messenger.sendText(bob.id, "from the laptop");
  town.pass(5_000);
  assert.deepEqual(bob.received().slice(-1), ["from the laptop"]);
  assert.deepEqual(said(phone, bob).at(-1), [true, "from the laptop"]);
  assert.deepEqual(said(laptop, bob).at(-1), [true, "from the laptop"]);
  readAll(bob, phone);
  town.pass(5_000);
  assert.equal(phone.messenger.stateOf(messageId), DeliveryState.READ);
  assert.equal(laptop.messenger.stateOf(messageId), DeliveryState.READ);
  bob.messenger.sendText(phone.id, "to both");
  town.pass(5_000);
  for (const one of [phone, laptop]) assert.deepEqual(said(one, bob).at(-1), [false, "to both"]);
});

test("only what was to burn is erased because its recipient says that it burned", () => {
  for (const burn of [false, true]) {
    const [town, phone, laptop, bob] = family();
    const { messageId } = phone.messenger.sendText(bob.id, "my address", { burn });
    town.pass(5_000);
    const name = records.key(phone.id, messageId);
    bob.vault.transaction((tx) => {
      const received = bob.vault.find(records.RECEIVED, name);
      assert.ok(received !== null);
      tx.put(records.RECEIVED, name, { ...received, burn: true }); // as a program of his own would have it
    });
    readAll(bob, phone);
    town.pass(5_000);
    for (const one of [phone, laptop]) {
      assert.equal(one.messenger.stateOf(messageId), burn ? DeliveryState.BURNED : DeliveryState.READ);
      assert.deepEqual(said(one, bob).at(-1), [true, burn ? null : "my address"]);
    }
  }
});

test("what was read on one device is read on the other, and burns there", () => {
  const [town, phone, laptop, bob] = family();
  const { messageId } = bob.messenger.sendText(phone.id, "gone", { burn: true });
  town.pass(5_000);
  assert.equal(laptop.messenger.stores.inbox.isUnread(bob.id, messageId), true);
  phone.messenger.markRead(bob.id, messageId);
  town.pass(5_000);
  assert.equal(laptop.messenger.stores.inbox.isUnread(bob.id, messageId), false);
  for (const one of [phone, laptop]) assert.deepEqual(said(one, bob).at(-1), [false, null]);
  assert.equal(bob.messenger.stateOf(messageId), DeliveryState.BURNED);
});

test("the safety number is the same on all devices", () => {
  const town = new Town();
  const [phone, bob] = town.friends();
  const before = phone.messenger.contacts.safetyNumber("Bob");
  const laptop = town.person();
  link(town, phone, laptop);
  laptop.messenger.sendText(bob.id, "hello");
  town.pass(5_000);
  const numbers = [phone, laptop].map((one) => one.messenger.contacts.safetyNumber("Bob"));
  assert.deepEqual([...numbers, bob.messenger.contacts.safetyNumber("Alice")], [before, before, before]);
});

test("both have several devices: equal texts everywhere, each once", () => {
  const [town, phone, laptop, bob] = family();
  const tablet = town.person();
  link(town, bob, tablet);
  town.pass(5_000);
  const everybody = [phone, laptop, bob, tablet];
  const texts: string[] = [];
  for (let turn = 0; turn < 12; turn += 1) {
    const one = everybody[turn % 4] ?? phone;
    const to = one === phone || one === laptop ? bob : phone;
    texts.push(`text ${turn}`);
    one.messenger.sendText(to.id, `text ${turn}`);
    if (turn % 3 === 0) town.pass(1_000);
  }
  town.pass(30_000);
  for (const one of everybody) {
    const found = said(one, one === phone || one === laptop ? bob : phone).map(([, text]) => text ?? "");
    assert.deepEqual(found.filter((text) => texts.includes(text)).sort(), [...texts].sort());
  }
});

test("a removed device erases itself, and gets nothing any more", () => {
  const [town, phone, laptop, bob] = family();
  devicesOf(phone).desk.remove(laptop.id);
  phone.messenger.devicesChanged();
  town.pass(5_000);
  assert.equal(laptop.messenger.stores.devices?.isRemoved, true);
  assert.equal(laptop.warnings.at(-1), "device-removed");
  laptop.tamper = (frame) => {
    assert.notEqual(frame.type, "MESSAGE", "nothing is sent to it");
    return [frame];
  };
  bob.messenger.sendText(phone.id, "without the laptop");
  phone.messenger.sendText(bob.id, "as before");
  town.pass(5_000);
  assert.deepEqual(said(phone, bob).slice(-2).map(([, text]) => text).sort(), ["as before", "without the laptop"]);
  assert.deepEqual(phone.messenger.stores.vault.find(records.SESSIONS, laptop.id), null, "nor are there sessions with it");
  // What it goes on to write is dropped, whatever becomes of the program, and told once.
  bob.beginAnew();
  for (const text of ["still here", "and again"]) laptop.messenger.sendText(bob.id, text);
  town.pass(5_000);
  assert.equal(said(bob, phone).some(([, text]) => text === "still here"), false);
  assert.deepEqual([...bob.messenger.stores.requests.senders()], []);
  assert.deepEqual(bob.warnings.filter((code) => code === "unreadable"), ["unreadable"]);
  assert.deepEqual(bob.mailbox.filter(({ payload }) => payload["senderId"] === laptop.id), [], "it is acknowledged");
});

test("the control: what an unknown user writes waits as a request; a removed device that is known as a person is heard", () => {
  const [town, phone, laptop, bob] = family();
  const carol = town.person();
  carol.messenger.contacts.add("Bob", bob.id);
  carol.messenger.sendText(bob.id, "who are you?");
  devicesOf(phone).desk.remove(laptop.id);
  phone.messenger.devicesChanged();
  town.pass(5_000);
  assert.deepEqual([...bob.messenger.stores.requests.senders()], [carol.id]);
  const book = bob.messenger.stores.devices;
  assert.equal(book?.whoRemoved(laptop.id), phone.id);
  bob.messenger.contacts.add("Laptop", laptop.id);
  assert.equal(book?.whoRemoved(laptop.id), null);
  bob.messenger.contacts.remove(laptop.id, { history: false });
  bob.messenger.contacts.remove(phone.id, { history: false });
  assert.equal(book?.whoRemoved(laptop.id), null, "nothing is kept of somebody who is removed");
});

for (const isFirstGone of [true, false]) {
  test(`the account of ${isFirstGone ? "one's first" : "a further"} device that is gone is not told as somebody else's`, () => {
    const [town, phone, laptop, bob] = family();
    const [gone, stays] = isFirstGone ? [phone, laptop] : [laptop, phone];
    gone.disconnect();
    town.refusals.set(gone.id, { code: 1004, reason: "user" });
    stays.messenger.sendText(bob.id, "as before");
    bob.messenger.sendText(phone.id, "an answer");
    town.pass(5_000);
    const unknown = (of: Person) =>
      of.events.flatMap((one) => (one.kind === "warning" && one.code.startsWith("unknown") ? [[one.code, one.peer?.userId, one.message]] : []));
    const which = isFirstGone ? /^the relay does not know your first device any more: / : /^the relay does not know your device '.*Laptop.*' any more: /;
    const [[code, peer, message] = [], ...more] = unknown(stays);
    assert.deepEqual([code, peer, more], ["unknown-device", undefined, []]);
    assert.match(message ?? "", which);
    assert.deepEqual(unknown(bob).map(([of, who]) => [of, who]), [["unknown-user", phone.id]], "the control: somebody else's");
  });
}

for (const isFetched of [true, false]) {
  const which = isFetched ? "if it is fetched before the removal" : "not if it is not: the control";
  test(`what a device has sent is in the history ${which}`, () => {
    const [town, phone, laptop, bob] = family();
    phone.disconnect();
    laptop.messenger.sendText(bob.id, "on the train");
    town.pass(2_000);
    if (isFetched) {
      phone.connect();
      for (let tries = 0; tries < 100 && !devicesOf(phone).hasFetched; tries += 1) town.pass(200);
      assert.ok(devicesOf(phone).hasFetched);
    }
    devicesOf(phone).desk.remove(laptop.id);
    phone.messenger.devicesChanged();
    if (!isFetched) phone.connect();
    town.pass(5_000);
    assert.ok(said(bob, phone).some(([, text]) => text === "on the train"));
    assert.equal(said(phone, bob).some(([, text]) => text === "on the train"), isFetched);
  });
}

for (const looks of [true, false]) {
  const who = looks ? "who looks whether anything waits asks no more than the relay takes" : "who does not asks nothing: the control";
  test(`while mail comes without end, ${who}`, () => {
    const [, phone] = family();
    const link = new Link(new OwnIdentity(random(32)), { userId: phone.id, audience: "relay.test", now: 0, wall: 0 });
    link.state = "open";
    if (looks) link.look();
    let pings = 0;
    const answer = (now: number): void => {
      for (const text of link.drain()) {
        const { id } = JSON.parse(text) as { readonly id: string };
        pings += 1;
        link.receive(JSON.stringify({ id, payload: {}, timestamp: 1, type: "PONG" }), now);
      }
    };
    const mail = JSON.stringify(ack(phone.id));
    for (let now = 0; now < 60_000; now += 100) {
      if (now % 300 === 0) link.receive(mail, now);
      link.tick(now);
      answer(now);
    }
    assert.equal(pings > 0, looks);
    assert.ok(pings <= 40);
    if (!looks) return;
    assert.equal(link.hasFetched, false);
    for (let now = 60_000; now < 70_000; now += 100) {
      link.tick(now);
      answer(now);
    }
    assert.ok(link.hasFetched);
    pings = 0;
    for (let now = 70_000; now < 80_000; now += 100) {
      link.receive(mail, now);
      link.tick(now);
      answer(now);
    }
    assert.equal(pings, 0, "once it is known nothing is asked any more");
  });
}

test("a device list is published, and found by who was away", () => {
  const [town, phone, laptop, bob] = family();
  const carol = town.person();
  carol.messenger.contacts.add("Alice", phone.id);
  carol.messenger.sendText(phone.id, "hello from Carol");
  town.pass(5_000);
  assert.equal(phone.published?.deviceList, encodeBase64(phone.messenger.stores.devices?.own?.newest.encoded ?? new Uint8Array()));
  assert.equal(carol.messenger.stores.devices?.devicesOf(phone.id).length, 2);
  assert.equal(bob.messenger.stores.devices?.devicesOf(phone.id).includes(laptop.id), true);
});

test("a list that its person does not renew is spoken of once; one that is renewed is not", () => {
  const [town, phone, laptop, bob] = family();
  const days = (count: number): void => {
    town.clock.wall += count * 86_400_000;
    town.clock.monotonic += count * 86_400_000;
  };
  days(8);
  town.pass(130_000);
  assert.equal(bob.messenger.stores.devices?.known(phone.id)?.newest.revision, 2, "the control: it was renewed after a week");
  for (const one of [phone, laptop]) one.disconnect();
  days(91);
  town.pass(7_300_000);
  assert.equal(bob.warnings.filter((code) => code === "devices-overdue").length, 1);
  assert.equal(bob.messenger.stores.devices?.devicesOf(phone.id).length, 2, "it stays in force");
});

// --- who tries to take part -------------------------------------------------------------------

test("a second device that has seen the code ends the link", () => {
  const town = new Town();
  const [phone, fresh, thief] = [town.person(), town.person(), town.person()];
  const line = devicesOf(fresh).showCode(RELAY, "Laptop");
  for (const one of [phone, thief]) {
    devicesOf(one).linking.begin(line);
    one.messenger.devicesChanged();
  }
  town.pass(3_000);
  assert.equal(step(fresh).step, "ended");
  assert.match(step(fresh).reason, /two have seen/);
  assert.equal(fresh.messenger.person, fresh.id);
});

test("who shows a code of their own gets no further than three guesses", () => {
  const town = new Town();
  const [phone, fresh, thief] = [town.person(), town.person(), town.person()];
  // The user holds `fresh`, whose code was changed for that of the thief's device on the way.
  devicesOf(fresh).showCode(RELAY, "Laptop");
  begin(town, phone, thief);
  const { digits } = step(thief);
  const guess = digits === "000000" ? "000001" : "000000"; // what `fresh` shows is not what is asked for
  assert.equal(devicesOf(phone).linking.type(guess), false);
  assert.equal(devicesOf(phone).linking.type(guess), false);
  assert.throws(() => devicesOf(phone).linking.type(guess), /three times/);
  devicesOf(thief).linking.agree();
  thief.messenger.devicesChanged();
  town.pass(5_000);
  assert.equal(phone.messenger.stores.devices?.own, null);
});

test("a relay that puts another key behind the code's id links nothing", () => {
  const town = new Town();
  const [phone, fresh, evil] = [town.person(), town.person(), town.person()];
  phone.tamper = (frame) =>
    frame.type === "KEY_EXCHANGE_RESPONSE" ? [{ ...frame, payload: { ...evilBundle(evil, fresh), senderId: fresh.id } }] : [frame];
  const line = devicesOf(fresh).showCode(RELAY, "Laptop");
  devicesOf(phone).linking.begin(line);
  phone.messenger.devicesChanged();
  town.pass(310_000);
  assert.equal(step(phone).step, "ended");
  assert.equal(fresh.events.some(({ kind }) => kind === "linking"), false);
  // The control: with the right keys it goes on.
  phone.tamper = (frame) => [frame];
  link(town, phone, fresh);
});

/** The prekeys of one under the name of another. */
function evilBundle(evil: Person, fresh: Person): object {
  const { signedPreKey, lastResortKemPreKey, bundleSignature, madeAt } = evil.published ?? assert.fail("nothing published");
  return {
    bundleSignature,
    identityKey: evil.key,
    kemPreKey: lastResortKemPreKey["key"],
    kemPreKeyId: lastResortKemPreKey["id"],
    kemPreKeySignature: lastResortKemPreKey["signature"],
    madeAt,
    preKeySignature: signedPreKey["signature"],
    senderId: fresh.id,
    signedPreKey: signedPreKey["key"],
    signedPreKeyId: signedPreKey["id"],
  };
}

test("a code that was not copied whole says so, and what to do", () => {
  const town = new Town();
  const [phone, fresh] = [town.person(), town.person()];
  const code = devicesOf(fresh).showCode(RELAY, "Laptop");
  for (const wrong of [code.slice(0, -3), code.replace("phantom:", ""), "089 466"]) {
    assert.throws(() => devicesOf(phone).linking.begin(wrong), /the code .*; copy it again$|not the code .*; copy it again$/);
  }
  devicesOf(phone).linking.begin(code); // the control
  assert.equal(devicesOf(phone).linking.isOpen, true);
});

test("who does not know the secret is a stranger to a device that shows a code", () => {
  const town = new Town();
  const [phone, fresh] = [town.person(), town.person()];
  const code = parseLinkLine(devicesOf(fresh).showCode(RELAY, "Laptop"));
  devicesOf(phone).linking.begin(linkLine({ ...code, secret: random(16) }));
  phone.messenger.devicesChanged();
  town.pass(5_000);
  assert.equal(fresh.events.some(({ kind }) => kind === "linking"), false);
  assert.equal(fresh.messenger.stores.requests.holds(phone.id), true);
  assert.equal(devicesOf(fresh).linking.isUnused, true, "who is a stranger does not make it used");
  assert.equal(fresh.messenger.devices?.linking.isListening, true, "and it still waits for the right one");
});

test("a list that another has signed takes nobody's devices", () => {
  const [town, phone, laptop, bob] = family();
  const mallory = town.person();
  mallory.messenger.contacts.add("Bob", bob.id);
  bob.messenger.contacts.add("Mallory", mallory.id);
  mallory.messenger.sendText(bob.id, "hello");
  town.pass(3_000);
  const own = phone.messenger.stores.devices?.own?.newest.encoded ?? new Uint8Array();
  const forged = own.slice();
  forged[4] = (forged[4] ?? 0) + 1; // the next revision
  const before = bob.messenger.stores.devices?.known(phone.id);
  const told = devicesOf(bob).desk.listCame(forged, bob.messenger.now(), mallory.id);
  assert.deepEqual(told.map((event) => event.kind === "warning" && event.code), ["unusable"]);
  assert.equal(bob.messenger.stores.devices?.known(phone.id), before);
  // An old one, which a relay hands out late, brings a removed device back to nobody.
  devicesOf(phone).desk.remove(laptop.id);
  phone.messenger.devicesChanged();
  town.pass(3_000);
  assert.deepEqual(bob.messenger.stores.devices?.devicesOf(phone.id), [phone.id]);
  devicesOf(bob).desk.listCame(own, bob.messenger.now());
  assert.deepEqual(bob.messenger.stores.devices?.devicesOf(phone.id), [phone.id]);
  assert.equal(fromBase64(phone.id).length, 32);
});

test("a person is seen on whichever device they are, and the control: nobody is there once both are gone", () => {
  const [town, phone, laptop, bob] = family();
  const seen = (): readonly (readonly [string, string])[] =>
    bob.events.flatMap((event) => (event.kind === "presence" ? [[event.peer.userId, event.status] as const] : []));
  const tell = (device: Person, status: string, lastSeen?: number): readonly [string, string] | undefined => {
    bob.hear("PRESENCE", { userId: device.id, status, ...(lastSeen === undefined ? {} : { lastSeen }) });
    town.settle();
    return seen().at(-1);
  };
  assert.deepEqual(tell(laptop, "online"), [phone.id, "online"]);
  assert.deepEqual(tell(phone, "offline", 60_000), [phone.id, "online"], "the laptop is there");
  assert.deepEqual(tell(laptop, "typing"), [phone.id, "typing"]);
  assert.deepEqual(tell(laptop, "idle"), [phone.id, "idle"]);
  assert.deepEqual(tell(laptop, "offline", 120_000), [phone.id, "offline"]);
  const last = bob.events.findLast((event) => event.kind === "presence");
  assert.ok(last?.kind === "presence" && last.lastSeen === 120_000);
  laptop.hear("PRESENCE", { userId: phone.id, status: "online" });
  town.settle();
  assert.ok(!laptop.events.some(({ kind }) => kind === "presence"), "of oneself nothing is shown");
});

test("who asks what somebody is doing asks of all their devices, and who types says so to the person", () => {
  const [town, phone, laptop, bob] = family();
  const told = (one: Person): readonly object[] =>
    one.sent.filter(({ type }) => type === "PRESENCE").map(({ payload }) => payload);
  bob.messenger.askPresence(phone.id);
  town.settle();
  assert.deepEqual(told(bob), [{ userId: phone.id }, { userId: laptop.id }]);
  bob.messenger.tellTyping(phone.id);
  laptop.messenger.tellTyping(bob.id);
  town.settle();
  const typing = { conversationId: conversationId(phone.id, bob.id), status: "typing" };
  assert.deepEqual(told(bob).at(-1), typing);
  assert.deepEqual(told(laptop), [typing]);
});
