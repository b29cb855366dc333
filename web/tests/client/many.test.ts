/** One message to many: one body, a head for each, in as few frames as may be, and what the relay says of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as content2 from "../../core/client/content2.ts";
import { manyOf } from "../../core/client/many/main.ts";
import type { Many } from "../../core/client/many/main.ts";
import type { Ordered } from "../../core/client/many/listener.ts";
import { expanded } from "../../core/client/many/expanded.ts";
import { packed } from "../../core/client/many/packing.ts";
import { Pacing } from "../../core/client/pacing.ts";
import { ManyStore } from "../../core/client/many/store.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { Vault } from "../../core/client/vault.ts";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { encodeBase64, fromBase64 } from "../../core/wire/base64.ts";
import { signedText } from "../../core/wire/codec.ts";
import { random } from "./support.ts";
import { authorOf, Town } from "./town.ts";
import type { Frame, Person } from "./town.ts";

const PURPOSE = "test";
const CONVERSATION = "a conversation of many";

/** Somebody who can write to many, and what was heard of it. */
class Author {
  readonly heard: string[] = [];
  readonly outcomes: Ordered[] = [];
  #many: Many | null = null;
  readonly person: Person;

  constructor(town: Town) {
    this.person = town.person((ports) => {
      this.#many = manyOf(ports);
      return this.#many.extension;
    });
    this.many.outgoing.listen(PURPOSE, {
      advanced: (_, id, peer, state) => {
        this.heard.push(`${id.slice(0, 4)} ${this.person.town.people.findIndex((one) => one.id === peer)} ${state}`);
        return [];
      },
      ordered: (_, __, outcome) => {
        this.outcomes.push(outcome);
        return [];
      },
    });
  }

  get many(): Many {
    assert.ok(this.#many !== null);
    return this.#many;
  }

  /** A text to these, as one of two people is. */
  write(people: readonly Person[], text: string, more: Partial<Parameters<Many["outgoing"]["sendMany"]>[0]> = {}): string {
    const own = fromBase64(this.person.id);
    const senderKey = fromBase64(this.person.key);
    const none = new Uint8Array();
    const ends = { sender: own, senderKey, recipient: none, recipientKey: none };
    const said = content2.encode({ kind: "text", sentAt: 1, body: text }, ends);
    const recipients = people.map(({ id }) => id);
    return this.many.outgoing.sendMany({ recipients, said, conversationId: CONVERSATION, purpose: PURPOSE, ...more });
  }
}

function framesOf(person: Person, type: string): Frame[] {
  return person.sent.filter((frame) => frame.type === type);
}

/** An author, and readers who have let them in. */
function townOf(readers: number): [Author, Person[], Town] {
  const town = new Town();
  const author = new Author(town);
  const people = Array.from({ length: readers }, () => town.person());
  for (const one of people) {
    one.messenger.contacts.add("Author", author.person.id);
  }
  town.settle();
  return [author, people, town];
}

test("a message to many is asked for, encrypted and sent once, and each reads it once", () => {
  const [author, people, town] = townOf(5);
  author.write(people, "hello all");
  town.settle();
  assert.deepEqual(people.map((one) => one.received()), people.map(() => ["hello all"]));
  assert.equal(framesOf(author.person, "PREKEY_FETCH").length, 1);
  const [frame, ...others] = framesOf(author.person, "MESSAGE_MANY");
  assert.deepEqual(others, []);
  assert.equal((frame?.payload["recipients"] as unknown[]).length, 5);
  assert.equal(framesOf(author.person, "MESSAGE").length, 0);
  town.pass(10_000);
  const states = author.heard.map((line) => line.split(" ").slice(1).join(" "));
  assert.deepEqual(states, [...[1, 2, 3, 4, 5].map((n) => `${n} 1`), ...[1, 2, 3, 4, 5].map((n) => `${n} 2`)]);
});

test("messages to many arrive in the order in which they were written, and so do those to one", () => {
  const [author, people, town] = townOf(2);
  const [first] = people as [Person];
  author.write(people, "1");
  author.person.messenger.sendText(first.id, "2");
  author.write(people, "3");
  author.person.messenger.sendText(first.id, "4");
  town.pass(5_000);
  const received = first.received();
  const of = (some: readonly string[]): string[] => received.filter((text) => some.includes(text));
  assert.deepEqual([of(["1", "3"]), of(["2", "4"])], [["1", "3"], ["2", "4"]]);
});

test("a relay that does not know it gets a MESSAGE for each", () => {
  const [author, people, town] = townOf(3);
  town.features = ["suite2"];
  author.person.disconnect();
  author.person.connect();
  town.settle();
  author.write(people, "singly");
  town.pass(3_000);
  assert.deepEqual(people.map((one) => one.received()), people.map(() => ["singly"]));
  assert.equal(framesOf(author.person, "MESSAGE_MANY").length, 0);
  assert.equal(framesOf(author.person, "MESSAGE").length, 3);
});

test("whom the relay refuses gets it later, or never, and the others at once", () => {
  const [author, people, town] = townOf(3);
  const [one, two, three] = people as [Person, Person, Person];
  town.refusals.set(two.id, { code: 1003, reason: "backlog" });
  town.refusals.set(three.id, { code: 1006, reason: "encrypted-size" });
  author.write(people, "hello");
  town.settle();
  assert.deepEqual(people.map((person) => person.received().length), [1, 0, 0]);
  assert.deepEqual(author.person.warnings.sort(), ["backlog", "refused"]);
  assert.equal(author.many.store.count(), 1);
  town.refusals.clear();
  town.pass(60_000);
  assert.deepEqual(people.map((person) => person.received().length), [1, 1, 0]);
  assert.equal(author.many.store.count(), 0);
  assert.ok(author.heard.some((line) => line.endsWith(`3 ${DeliveryState.FAILED}`)));
  assert.ok(one.received().length === 1);
});

test("what was sent and not answered is sent again under its id, with the same heads", () => {
  const [author, people, town] = townOf(2);
  author.write(people, "first");
  town.settle();
  author.person.tamper = (frame) => (frame.type === "MANY_RESULT" ? [] : [frame]); // the answer is lost
  author.write(people, "again");
  town.settle();
  author.person.tamper = (frame) => [frame];
  author.person.disconnect();
  author.person.connect();
  town.pass(2_000);
  const [, sent, again] = framesOf(author.person, "MESSAGE_MANY");
  assert.deepEqual(headsOf(again), headsOf(sent));
  assert.equal(again?.payload["messageId"], sent?.payload["messageId"]);
  assert.deepEqual(people.map((one) => one.received()), [["first", "again"], ["first", "again"]]);
  assert.equal(author.many.store.count(), 0);
});

function headsOf(frame: Frame | undefined): unknown[] {
  return (frame?.payload["recipients"] as { readonly head: string }[]).map(({ head }) => head);
}

test("what waits is found again when a profile is opened", () => {
  const [author, people] = townOf(2);
  author.person.disconnect();
  const id = author.write(people, "later");
  assert.equal(author.many.store.count(), 1);
  const opened = new ManyStore(author.person.vault);
  assert.deepEqual([opened.count(), opened.count(people[0]?.id), opened.waiting(id) !== null], [1, 1, true]);
});

test("who could not read it gets it again; and nobody else who asks", () => {
  const [author, people, town] = townOf(2);
  const [one, two] = people as [Person, Person];
  const id = author.write([one], "once more");
  town.settle();
  const { vault } = author.person;
  const key = fromBase64(one.key);
  const again = (peer: Person, by: Uint8Array): number =>
    vault.transaction((tx) => author.many.store.resend(tx, peer.id, [id], 0, by));
  assert.equal(again(two, fromBase64(two.key)), 0);
  assert.equal(again(one, fromBase64(two.key)), 0, "the control: another key than it was encrypted for");
  assert.equal(again(one, key), 1);
  town.pass(2_000);
  assert.equal(author.many.store.count(), 0);
});

test("the relay stores a revision for all, or refuses it for all", () => {
  const [author, people, town] = townOf(2);
  const order = { name: new Uint8Array(32).fill(7), revision: 1, writers: [author.person.id] };
  author.write(people, "revision 1", { order });
  town.settle();
  author.write(people, "revision 1, too", { order });
  town.settle();
  author.write(people, "revision 2", { order: { ...order, revision: 2, writers: [people[0]?.id ?? ""] } });
  town.settle();
  author.write(people, "revision 3", { order: { ...order, revision: 3 } });
  town.settle();
  const by = fromBase64(authorOf(order.name, author.person.id));
  const expected = [{ is: "taken" }, { is: "stale", revision: 1, author: by }, { is: "taken" }, { is: "denied" }];
  assert.deepEqual(author.outcomes, expected);
  assert.deepEqual(people.map((one) => one.received()), people.map(() => ["revision 1", "revision 2"]));
  assert.equal(author.many.store.count(), 0);
});

/** The account of somebody is gone. */
function leave(town: Town, one: Person): void {
  one.disconnect();
  one.published = null;
  town.refusals.set(one.id, { code: 1004, reason: "user" });
}

test("a revision goes alone if nobody can be written to, and does not wait behind what waits for them", () => {
  const [author, people, town] = townOf(2);
  const [one, two] = people as [Person, Person];
  const order = { name: new Uint8Array(32).fill(7), revision: 1, writers: [author.person.id] };
  leave(town, one);
  author.write([one], "revision 1", { order });
  town.settle();
  author.write([two], "hello");
  town.settle();
  leave(town, two);
  author.write([two], "are you there?");
  town.settle();
  author.write([two], "revision 2", { order: { ...order, revision: 2 } });
  town.settle();
  assert.deepEqual(author.outcomes, [{ is: "taken" }, { is: "taken" }]);
  const counts = framesOf(author.person, "MESSAGE_MANY").map(({ payload }) => (payload["recipients"] as unknown[]).length);
  assert.deepEqual(counts, [0, 1, 1, 0]);
  town.refusals.delete(two.id);
  two.connect();
  town.pass(180_000);
  assert.deepEqual(two.received(), ["hello", "are you there?", "revision 2"]);
});

test("a revision waits a while for those who may be written to soon", () => {
  const [author, people, town] = townOf(1);
  const [one] = people as [Person];
  town.refusals.set(one.id, { code: 1003, reason: "backlog" });
  author.write([one], "hello");
  town.settle();
  const order = { name: new Uint8Array(32).fill(7), revision: 1, writers: [author.person.id] };
  author.write([one], "revision 1", { order });
  town.settle();
  assert.deepEqual(author.outcomes, []);
  town.pass(6_000);
  assert.deepEqual(author.outcomes, [{ is: "taken" }]);
});

test("what is signed for each is the canonical text of a MESSAGE, whatever the conversation is called", () => {
  const marks = ['"encrypted":"', '"recipientId":"', "\\", "\u2028 é"];
  for (const conversationId of ["plain", ...marks, marks.join("")]) {
    for (const named of [{}, { metadata: { burnAfterRead: true, expiresIn: 1_000 } }]) {
      const shared = { conversationId, messageId: "00000000-0000-4000-8000-000000000000", ...named };
      const textFor = expanded({ ...shared, common: "Y29t", group: true, recipients: [] }, 1_800_000_000_000);
      for (const [head, recipientId] of [["aGVh", "Ym9i"], ["", "Y2Fyb2w="]] as const) {
        const payload = { ...shared, encrypted: `${head}Y29t`, recipientId };
        assert.equal(textFor(head, recipientId), signedText({ payload, timestamp: 1_800_000_000_000, type: "MESSAGE" }));
      }
    }
  }
});

test("recipients are divided by count, size and what the frame comes to", () => {
  const all = (count: number, head: number): [number, { head: number; recipient: number }][] =>
    Array.from({ length: count }, (_, index) => [index, { head, recipient: 44 }]);
  const sizes = (count: number, head: number, common: number): number[] =>
    packed(all(count, head), { fixed: 500 + common, common }).map((frame) => frame.length);
  assert.deepEqual(sizes(450, 0, 400), [200, 200, 50]);
  assert.deepEqual(sizes(300, 140, 400), [200, 100]);
  assert.deepEqual(sizes(30, 3_000, 400), [20, 10]);
  assert.deepEqual(sizes(60, 140, 59_440), [17, 17, 17, 9]);
  assert.deepEqual(sizes(2, 70_000, 400), [1, 1], "one who does not fit alone stands alone");
  assert.deepEqual(packed([], { fixed: 1, common: 1 }), []);
});

/** How often something is done meanwhile: signatures, looks for the sessions, for a session and its keys, and records stored. */
function counted(act: () => void): number[] {
  const counts: number[] = [];
  const places = [
    [OwnIdentity.prototype, "sign"],
    [Vault.prototype, "get"],
    [Vault.prototype, "find"],
    [Vault.prototype, "put"],
  ] as const;
  const real = places.map(([place, name], at) => {
    const before = Reflect.get(place, name) as (...given: unknown[]) => unknown;
    counts.push(0);
    Reflect.set(place, name, function (this: unknown, ...given: unknown[]) {
      counts[at] = (counts[at] ?? 0) + 1;
      return before.apply(this, given);
    });
    return before;
  });
  act();
  places.forEach(([place, name], at) => Reflect.set(place, name, real[at]));
  return counts;
}

/** What one recipient more costs, of those who have answered. */
function forOneMore(spoil: (author: Author) => void = () => undefined): number[] {
  const town = new Town();
  const author = new Author(town);
  const others = Array.from({ length: 6 }, () => town.person());
  for (const other of others) {
    author.person.messenger.contacts.add(`P${others.indexOf(other)}`, other.id);
    other.messenger.contacts.add("Ada", author.person.id);
    author.person.messenger.sendText(other.id, "hello");
    town.settle();
    other.messenger.sendText(author.person.id, "hello");
  }
  town.pass(10_000);
  spoil(author);
  const [few, many] = [2, 6].map((count) => {
    const found = counted(() => author.write(others.slice(0, count), "hello"));
    town.pass(10_000);
    return found;
  });
  return (many ?? []).map((count, at) => (count - (few?.[at] ?? 0)) / 4);
}

test("one recipient more is one signature, three looks into the vault and one record stored", () => {
  assert.deepEqual(forOneMore(), [1, 1, 2, 1]);
  // The control: what is done twice for each is seen.
  const twice = forOneMore(({ person }) => {
    const { conversations } = person.messenger.stores;
    const load = conversations.load.bind(conversations);
    conversations.load = (peer) => [load(peer), load(peer)][1] ?? load(peer);
  });
  assert.deepEqual(twice, [1, 2, 2, 1]);
});

for (const isKept of [true, false]) {
  test(`members who are made up leave ${isKept ? "room to write to others" : "none if nothing is kept for others: the control"}`, (context) => {
    if (!isKept) context.mock.method(Pacing.prototype, "free", () => 1_000);
    const town = new Town();
    town.messagesPerMinute = 60;
    const [author, bob] = [new Author(town), town.person()];
    town.settle();
    town.pass(120_000);
    const made = Array.from({ length: 98 }, () => ({ id: encodeBase64(new OwnIdentity(random(32)).peer.userId) }) as Person);
    author.write(made, "hello all");
    town.pass(20_000);
    assert.equal(framesOf(author.person, "PREKEY_FETCH").length, isKept ? 7 : 10);
    assert.equal(author.person.warnings.filter((code) => code === "unknown-members").length, 1);
    assert.equal(author.person.warnings.includes("unknown-user"), false);
    author.person.messenger.sendText(bob.id, "hello, new one");
    town.pass(2_000);
    assert.equal(framesOf(author.person, "KEY_EXCHANGE_INIT").length, isKept ? 1 : 0);
  });
}
