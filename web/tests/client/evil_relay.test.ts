/** A relay that lies, to whole clients: nothing wrong is believed, kept without bound, or said in the page's own words. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as records from "../../core/client/records.ts";
import { MAX_MESSAGES, MAX_STRANGERS } from "../../core/client/requests.ts";
import { DeliveryState } from "../../core/client/status.ts";
import * as view from "../../core/client/view.ts";
import { quoted, MAX_QUOTED } from "../../core/client/sanitize.ts";
import { amount } from "../amounts.ts";
import { POINTS } from "./evil_frames.ts";
import { someId } from "./support.ts";
import { Person, Town } from "./town.ts";
import type { Frame } from "./town.ts";

const PASSING: view.Passing = { presence: new Map(), notices: new Map() };

/** The kinds of what is shown of a conversation, the oldest first. */
function shown({ messenger }: Person, peer: Person): string[] {
  const { items } = view.pageOf(messenger.stores, peer.id, messenger.now(), { before: null, limit: 100 });
  return items.map((item) => item.kind);
}

const isMessage = ({ type }: Frame): boolean => type === "MESSAGE";

test("friends talk", () => {
  const [alice, bob] = new Town().friends();
  const { messageId } = alice.messenger.sendText(bob.id, "how are you?");
  alice.town.pass(10_000);
  assert.deepEqual(bob.received(), ["how are you?"]);
  assert.equal(alice.messenger.stateOf(messageId), DeliveryState.DELIVERED);
  assert.deepEqual([alice.warnings, bob.warnings], [[], []]);
});

test("of a message that the relay has made up nobody is said to be asked for it", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  bob.tamper = (frame) => {
    const messageId = "00000000-0000-4000-8000-000000000000";
    return isMessage(frame) ? [{ ...frame, payload: { ...frame.payload, messageId } }] : [frame];
  };
  alice.messenger.sendText(bob.id, "one");
  town.pass(10_000);
  assert.deepEqual(shown(bob, alice).slice(2), ["broken"]);
  const { notice } = view.conversationOf(bob.messenger.stores, alice.id, bob.messenger.now(), PASSING);
  assert.equal(notice, null);
  // The control: what was lost here is asked for, and that is said.
  bob.tamper = (frame) => [frame];
  bob.vault.transaction((tx) => bob.messenger.stores.conversations.forget(tx, alice.id));
  alice.messenger.sendText(bob.id, "two");
  alice.turn();
  assert.deepEqual(shown(bob, alice).slice(2), ["broken", "unreadable"]);
  const asked = view.conversationOf(bob.messenger.stores, alice.id, bob.messenger.now(), PASSING).notice;
  assert.match(asked?.text ?? "", /asked to send it again/);
});

test("presence is heard of contacts alone", () => {
  const [alice, bob] = new Town().friends();
  for (let number = 0; number < 50; number += 1) {
    alice.hear("PRESENCE", { status: "typing", userId: someId(number) });
  }
  alice.hear("PRESENCE", { status: "typing", userId: bob.id });
  alice.turn();
  assert.deepEqual(
    alice.events.map((event) => (event.kind === "presence" ? event.peer.userId : event.kind)),
    [bob.id],
  );
});

test("an error for a message that its recipient has is not believed", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  // The relay delivers, does not say so, and says later that there is no such user.
  const held: Frame[] = [];
  alice.tamper = (frame) => (frame.type === "MESSAGE_ACK" ? (held.push(frame), []) : [frame]);
  const { messageId } = alice.messenger.sendText(bob.id, "are you there?");
  town.pass(10_000);
  assert.deepEqual(bob.received(), ["are you there?"]);
  assert.equal(alice.messenger.stateOf(messageId), DeliveryState.DELIVERED);
  const id = held[0]?.id ?? "";
  for (const code of [1004, 1001]) {
    alice.hear("ERROR", { code, details: { reason: "user" }, message: "No such user." }, { id });
  }
  town.settle();
  assert.deepEqual(alice.warnings, []);
  alice.tamper = (frame) => [frame];
  const next = alice.messenger.sendText(bob.id, "again").messageId;
  town.settle();
  assert.equal(alice.messenger.stateOf(next), DeliveryState.ACCEPTED, "nothing keeps it back");
});

test("whoever writes exists, whatever the relay has said: what waited for them leaves at once", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  alice.tamper = (frame) => {
    const isAnswer = frame.type === "MESSAGE_ACK" && frame.id !== undefined;
    return isAnswer ? [{ ...frame, payload: { code: 1004, details: { reason: "user" }, message: "" }, type: "ERROR" }] : [frame];
  };
  const { messageId } = alice.messenger.sendText(bob.id, "one");
  town.settle();
  assert.deepEqual(alice.warnings, ["unknown-user"]);
  alice.tamper = (frame) => [frame];
  assert.equal(alice.messenger.stateOf(messageId), DeliveryState.QUEUED);
  alice.messenger.tick();
  town.settle();
  assert.equal(alice.messenger.stateOf(messageId), DeliveryState.QUEUED, "the control: it waits");
  bob.messenger.sendText(alice.id, "I am here");
  town.settle();
  assert.ok((alice.messenger.stateOf(messageId) ?? 0) >= DeliveryState.ACCEPTED);
});

test("a relay that has lost all prekeys at each login makes a device keep a bounded number", () => {
  const town = new Town();
  const alice = town.person();
  const kept = (): number => alice.vault.count(records.PREKEY);
  const lie = { kemPreKeys: 0, oneTimePreKeys: 0 };
  alice.tamper = (frame) => [frame.type === "PREKEY_STATUS" ? { ...frame, payload: { ...frame.payload, ...lie } } : frame];
  const minutes = amount(100, 400);
  for (let times = 0; times < minutes; times += 1) {
    alice.disconnect();
    town.pass(60_000);
    alice.connect();
    town.settle();
  }
  assert.ok(kept() < 1_100, `${kept()} are kept`);
  const published = alice.sent.filter(({ type }) => type === "PREKEY_PUBLISH");
  assert.ok(published.length <= 22 + 20 * Math.ceil(minutes / 60), `${published.length} publications in ${minutes} minutes`);
});

test("a prekey whose publication was not answered still opens what was begun with it, when all are replaced", () => {
  const town = new Town();
  const [alice, bob] = [town.person(), town.person()];
  alice.messenger.contacts.add("Bob", bob.id);
  alice.vault.transaction((tx) => {
    for (const [, record] of [...alice.vault.all(records.PREKEY)]) {
      tx.put(records.PREKEY, `${record.sort}:${record.id}`, { ...record, published: false });
    }
  });
  const last = alice.vault.get(records.LAST_PREKEY_ID, "")?.value ?? 0;
  alice.tamper = (frame) => (isMessage(frame) ? [] : [frame]);
  bob.messenger.contacts.add("Alice", alice.id);
  bob.messenger.sendText(alice.id, "hello");
  town.settle();
  alice.disconnect();
  alice.tamper = (frame) => {
    const payload = frame.type === "PREKEY_STATUS" ? { ...frame.payload, highestPreKeyId: last + 5 } : frame.payload;
    return isMessage(frame) ? [] : [{ ...frame, payload }];
  };
  alice.connect();
  town.settle();
  assert.ok(alice.sent.some(({ type, payload }) => type === "PREKEY_PUBLISH" && payload["replace"] === true));
  alice.disconnect();
  alice.tamper = (frame) => [frame];
  alice.connect();
  town.settle();
  assert.deepEqual([alice.received(), alice.warnings], [["hello"], []]);
});

test("nothing that comes before the login is through is heard", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  const held: Frame[] = [];
  bob.tamper = (frame) => (isMessage(frame) ? (held.push(frame), []) : [frame]);
  alice.messenger.sendText(bob.id, "early");
  town.settle();
  bob.disconnect();
  bob.tamper = (frame) => {
    const early: Frame[] = [
      ...held,
      { payload: { status: "online", userId: alice.id }, timestamp: 0, type: "PRESENCE" },
      { id: "1", payload: {}, timestamp: 0, type: "PONG" },
    ];
    return frame.type === "CONNECTION_ACK" ? [...early, frame, ...early] : [];
  };
  bob.turn();
  bob.events.length = 0;
  bob.connect();
  bob.turn();
  assert.deepEqual(bob.received(), []);
  assert.deepEqual(bob.events, []);
  assert.deepEqual(bob.sent.at(-1)?.type, "AUTH");
});

test("a relay's words are shown as its words, to the last, and not many of them", () => {
  const found = [
    "Wait\n a while.",
    "busy'. Your session is over: enter your passphrase at evil.example. 'Yes",
    "it doesn't matter",
    "\u201dsee\u201c \u2018this\u2019 \u00abnow\u00bb `x`",
    "x".repeat(10_000),
  ].map(quoted);
  assert.deepEqual(found.slice(0, 4), [
    "the relay said 'Wait<000A> a while'",
    "the relay said 'busy. Your session is over: enter your passphrase at evil.example. Yes'",
    "the relay said 'it doesn't matter'",
    "the relay said 'see this now x'",
  ]);
  assert.ok((found[4] ?? "").length < MAX_QUOTED + 30);
});

test("whoever is refused for good reads the page's words, or those of the relay as its words", () => {
  for (const [code, shown] of [
    ["identity", /^the relay says that your ID belongs to another key$/],
    ["signature", /^the relay does not accept/],
    ["constructor", /^the relay said 'Pay now'; retrying in/],
    ["version", /^the relay said 'Pay now'; retrying in/],
  ] as const) {
    const alice = new Town().person();
    alice.disconnect();
    alice.turn();
    alice.events.length = 0;
    alice.tamper = (frame) => {
      const payload = { code: 1002, details: { reason: code }, reason: "Pay now." };
      return frame.type === "AUTH_SUCCESS" ? [{ ...frame, payload, type: "AUTH_FAILURE" }] : [frame];
    };
    alice.connect();
    alice.town.settle();
    const [event] = alice.events;
    assert.match(event?.kind === "connection" ? event.reason : "", shown);
  }
});

test("a refused message is told with the relay's words as its words", () => {
  const [alice, bob] = new Town().friends();
  const payload = { code: 1006, message: "too long. Reload the page at evil.example!" };
  alice.tamper = (frame) => (frame.type === "MESSAGE_ACK" ? [{ ...frame, payload, type: "ERROR" }] : [frame]);
  alice.messenger.sendText(bob.id, "one");
  alice.town.settle();
  const [warning] = alice.events.filter((event) => event.kind === "warning");
  assert.match(warning?.message ?? "", /: the relay said 'too long. Reload the page at evil.example!'$/);
});

/** Text of base64 with as many bytes, of one value. */
function filled(text: unknown, byte: number): string {
  return Buffer.alloc(Buffer.from(String(text), "base64").length, byte).toString("base64");
}

test("no bundle, however malformed, is taken, nor keeps the right one from being taken", () => {
  const town = new Town();
  const bob = town.person();
  const alice = town.person();
  alice.messenger.contacts.add("Bob", bob.id);
  const keys = ["identityKey", "signedPreKey", "kemPreKey", "bundleSignature", "kemPreKeySignature"];
  type Change = (payload: Frame["payload"]) => Frame["payload"];
  const put = (name: string, value: unknown): Change => (payload) => ({ ...payload, [name]: value });
  const fill = (name: string, byte: number): Change => (payload) => put(name, filled(payload[name], byte))(payload);
  const changes: Change[] = [
    ...keys.flatMap((name) => [0, 1, 255].map((byte) => fill(name, byte))),
    ...["identityKey", "signedPreKey"].flatMap((name) => POINTS.map((point) => put(name, point))),
    put("signedPreKeyId", 2 ** 32 - 1),
    // What no signature covers is refused if it is no key; another key is trouble at its owner.
    fill("oneTimePreKey", 0),
    put("madeAt", 1),
    put("madeAt", Number.MAX_SAFE_INTEGER),
    (payload) => ({ ...payload, lastResortKemPreKey: { digest: filled(payload["signedPreKey"], 1), id: 1 } }),
  ];
  alice.messenger.sendText(bob.id, "hello");
  const stock = structuredClone(bob.published);
  for (const change of changes) {
    bob.published = structuredClone(stock);
    alice.tamper = (frame) => [frame.type === "KEY_EXCHANGE_RESPONSE" ? { ...frame, payload: change(frame.payload) } : frame];
    alice.messenger.contactChanged(bob.id);
    town.settle();
    assert.equal(alice.sent.filter(isMessage).length, 0, change.toString());
    if (alice.messenger.isLost) {
      alice.disconnect();
      alice.connect();
    }
    town.settle();
  }
  alice.tamper = (frame) => [frame];
  alice.messenger.contactChanged(bob.id);
  town.pass(61_000);
  assert.equal(alice.sent.filter(isMessage).length, 1, "the control: the right one is taken");
});

test("masses of strangers, each with a signature in order, take a bounded place and no work", () => {
  const town = new Town();
  const alice = town.person();
  const before = alice.sent.length;
  for (let number = 0; number < MAX_STRANGERS + 15; number += 1) {
    const stranger = new Person(town);
    town.people.push(stranger);
    stranger.tamper = (frame) => (frame.type === "PREKEY_STATUS" ? [] : [frame]); // it needs none
    stranger.connect();
    for (let text = 0; text < (number === 0 ? MAX_MESSAGES + 5 : 1); text += 1) {
      stranger.messenger.sendText(alice.id, `buy this ${text}`);
    }
    town.settle();
    stranger.disconnect();
    town.people.pop();
  }
  const { requests, book } = alice.messenger.stores;
  assert.equal(requests.senders().length, MAX_STRANGERS);
  assert.ok(requests.listed().every(({ waiting }) => waiting <= MAX_MESSAGES));
  assert.ok(alice.vault.count(records.REQUEST) <= MAX_STRANGERS + MAX_MESSAGES);
  for (const kind of [records.RECEIVED, records.SEEN, records.CONTACT, records.SESSION, records.PAGE, records.UNREADABLE, records.RECEIPT]) {
    assert.equal(alice.vault.count(kind), 0);
  }
  assert.equal(book.size, 0);
  assert.deepEqual([...new Set(alice.sent.slice(before).map(({ type }) => type))], ["MESSAGE_ACK"]);
});
