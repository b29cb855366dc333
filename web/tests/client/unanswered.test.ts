/** A relay that does not answer a message, while the connection goes on: it is sent again, later and later. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Flights, LONGEST_UNANSWERED_MS, UNANSWERED_MS } from "../../core/client/flights.ts";
import { OutboxRecord } from "../../core/client/records.ts";
import { type Frame, type Person, Town } from "./town.ts";

const isAnswer = ({ payload, type }: Frame): boolean => type === "MESSAGE_ACK" && payload["status"] === "accepted";

/** The relay takes somebody's messages, and does not say so the first so many times; those answers. */
function withoutAnswers(person: Person, count: number): Frame[] {
  const kept: Frame[] = [];
  person.tamper = (frame) => {
    if (!isAnswer(frame) || kept.length >= count) return [frame];
    kept.push(frame);
    return [];
  };
  return kept;
}

/** The relay takes somebody's messages, and the first so many times says so of something else; those answers. */
function answeredWrongly(person: Person, count: number, named: Readonly<Record<string, string>>): Frame[] {
  const kept: Frame[] = [];
  person.tamper = (frame) => {
    if (!isAnswer(frame) || kept.length >= count) return [frame];
    kept.push(frame);
    return [{ ...frame, payload: { ...frame.payload, ...named } }];
  };
  return kept;
}

function ofAnotherMessage(person: Person, count: number): Frame[] {
  return answeredWrongly(person, count, { messageId: "00000000-0000-4000-8000-000000000007" });
}

function ofAnotherUser(person: Person, count: number): Frame[] {
  return answeredWrongly(person, count, { recipientId: Buffer.alloc(32, 7).toString("base64") });
}

/** The relay does not even take the first so many; those. */
function swallowed(person: Person, count: number): Frame[] {
  const kept: Frame[] = [];
  const { town } = person;
  const take = town.take.bind(town);
  town.take = (from, frame) => {
    if (from === person && frame.type === "MESSAGE" && kept.length < count) kept.push(frame);
    else take(from, frame);
  };
  return kept;
}

/** Ada, and Bob, who is away: what he has got is no answer yet. */
function friends(): [Town, Person, Person] {
  const town = new Town();
  const [ada, bob] = town.friends();
  bob.disconnect();
  return [town, ada, bob];
}

const idsOf = (person: Person): unknown[] =>
  person.sent.filter(({ type }) => type === "MESSAGE").map(({ payload }) => payload["messageId"]);

for (const silent of [withoutAnswers, swallowed, ofAnotherMessage, ofAnotherUser]) {
  for (const count of [1, 2]) {
    test(`a text that is not answered is sent again and read once: ${silent.name}, ${count}`, () => {
      const [town, ada, bob] = friends();
      const kept = silent(ada, count);
      const ids = ["one", "two"].map((text) => ada.messenger.sendText(bob.id, text).messageId);
      town.pass(2 ** count * UNANSWERED_MS);
      assert.equal(kept.length, count);
      assert.deepEqual(idsOf(ada), [...Array<unknown>(count + 1).fill(ids[0]), ids[1]]);
      bob.connect();
      town.pass(5_000);
      assert.deepEqual(bob.received().slice(-2), ["one", "two"]);
      assert.equal(bob.received().filter((text) => text === "one").length, 1);
    });
  }

  test(`the control: else nothing more goes to its reader: ${silent.name}`, (context) => {
    context.mock.method(Flights.prototype, "overdue", () => []);
    const [town, ada, bob] = friends();
    silent(ada, 1);
    for (const text of ["one", "two"]) ada.messenger.sendText(bob.id, text);
    town.pass(2 * UNANSWERED_MS);
    bob.connect();
    town.settle();
    assert.ok(!bob.received().includes("two"));
  });
}

test("a relay that never answers makes nobody send without end", () => {
  const [town, ada, bob] = friends();
  const kept = withoutAnswers(ada, 1_000);
  ada.messenger.sendText(bob.id, "one");
  town.pass(3 * 3_600_000);
  assert.ok(kept.length > 4 && kept.length <= 7, "after 2, 4, 8, 16, 32 minutes, then each hour");
});

test("the wait doubles up to an hour, and begins anew with an answer or a connection", () => {
  const flights = new Flights();
  const given = { messageId: "m", peer: "p", text: "x", burn: false, expiresIn: null, madeAt: 0 };
  const entry = OutboxRecord.make(given);
  const waits: (number | undefined)[] = [];
  let now = 0;
  for (let number = 0; number < 8; number += 1) {
    flights.begin(`${number}`, entry, now);
    const [wait = 0] = flights.waits(now);
    assert.deepEqual(flights.overdue(now + wait - 1), []);
    assert.deepEqual(flights.overdue(now + wait), [entry]);
    assert.equal(flights.end(`${number}`), null);
    waits.push(wait);
    now += wait;
  }
  assert.deepEqual(waits, waits.map((_, number) => Math.min(UNANSWERED_MS * 2 ** number, LONGEST_UNANSWERED_MS)));
  flights.begin("answered", entry, now);
  assert.equal(flights.end("answered"), entry);
  assert.deepEqual(flights.overdue(now + LONGEST_UNANSWERED_MS), []);
  assert.deepEqual(flights.waits(now), []);
  flights.begin("next", entry, now);
  assert.deepEqual(flights.waits(now), [UNANSWERED_MS]);
  flights.overdue(now + UNANSWERED_MS);
  flights.disconnected();
  flights.begin("later", entry, now);
  assert.deepEqual(flights.waits(now), [UNANSWERED_MS]);
});
