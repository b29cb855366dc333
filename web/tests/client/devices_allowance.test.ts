/** A new device lets its first device send what was said before faster, and nobody else; and what comes without it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Allowances } from "../../core/client/many/allowances.ts";
import * as records from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { ALLOWANCE_EVERY_MS, ALLOWANCE_MS, ALLOWED_MESSAGES } from "../../core/wire/limits.ts";
import { devicesOf, link, said } from "./family.ts";
import { random } from "./support.ts";
import { type Person, Town } from "./town.ts";

/** Texts, of which a chunk has one: it cannot be compressed. */
const MUCH = 52;
const RATE = 40;

/** A relay that lets so much through in a minute, and what one ALLOWANCE is; 0: the relay does not know it. */
function townWith(allowed: number): Town {
  const town = new Town();
  town.messagesPerMinute = RATE;
  town.allowed = allowed;
  if (allowed > 0) town.features = [...town.features, "allowance"];
  return town;
}

/** Alice's phone, on which so much was said before, a laptop that is linked then, and Bob. */
function withTexts(town: Town, texts: number): readonly [Person, Person, Person] {
  const [phone, bob] = town.friends();
  phone.vault.transaction((tx) => {
    for (let at = 0; at < texts; at += 1) {
      const messageId = crypto.randomUUID();
      const given = { messageId, peer: bob.id, text: encodeBase64(random(29_000)), madeAt: at + 1, burn: false };
      const record = { ...given, state: DeliveryState.READ, expiresIn: null, expiresAt: null };
      tx.put(records.SENT, messageId, records.SentRecord.make(record));
    }
  });
  const laptop = town.person();
  link(town, phone, laptop, true);
  return [phone, laptop, bob];
}

/** Seconds until all of it is there. */
function secondsUntilAllIsThere(town: Town, laptop: Person, bob: Person, texts: number): number {
  for (let second = 0; second < 600; second += 1) {
    if (!devicesOf(laptop).historyIn.isComing) {
      assert.equal(said(laptop, bob).length, texts + 2);
      return second;
    }
    town.pass(1_000);
  }
  throw new Error("not all has come after ten minutes");
}

/** Whom somebody has allowed more, by what the relay got. */
function allowedBy(person: Person): unknown[] {
  return person.sent.filter(({ type }) => type === "ALLOWANCE").map(({ payload }) => payload["senderId"]);
}

test("much comes in seconds, at a relay that knows of it", () => {
  const town = townWith(256);
  const [phone, laptop, bob] = withTexts(town, MUCH);
  assert.ok(secondsUntilAllIsThere(town, laptop, bob, MUCH) < 30);
  assert.deepEqual([...new Set(allowedBy(laptop))], [phone.id]);
  assert.deepEqual([...allowedBy(phone), ...allowedBy(bob)], []);
});

test("the control: at another relay it takes another minute", () => {
  const town = townWith(0);
  const [, laptop, bob] = withTexts(town, MUCH);
  assert.ok(secondsUntilAllIsThere(town, laptop, bob, MUCH) > 50);
  assert.deepEqual(allowedBy(laptop), []);
});

test("when it is used up, the rest comes as the rate lets it", () => {
  const town = townWith(5);
  const [, laptop, bob] = withTexts(town, MUCH);
  assert.ok(secondsUntilAllIsThere(town, laptop, bob, MUCH) > 40);
});

test("for what is not much nothing is asked", () => {
  const town = townWith(256);
  const [, laptop, bob] = withTexts(town, 25);
  secondsUntilAllIsThere(town, laptop, bob, 25);
  assert.deepEqual(allowedBy(laptop), []);
});

/** What this client counts of what others allow it. */
function allowancesOf(person: Person): Allowances {
  const { allowances } = person.messenger.stores.slot.is.outgoing ?? {};
  assert.ok(allowances !== undefined);
  return allowances;
}

/** How long it takes at a relay that allows 5, and says so each second, perhaps on one connection after another. */
function secondsAtARelayThatRepeatsItself(hasCuts: boolean, believesIt: boolean): number {
  const town = townWith(5);
  const [phone, laptop, bob] = withTexts(town, MUCH);
  const allowances = allowancesOf(phone);
  const genuine = allowances.allow.bind(allowances);
  let times = 0;
  const anew = (): number => (times += 1) * ALLOWANCE_EVERY_MS;
  if (believesIt) allowances.allow = (peer, left, until) => genuine(peer, left, until, anew());
  for (let second = 1; second < 600; second += 1) {
    if (hasCuts && second % 5 === 0) {
      phone.disconnect();
      phone.connect();
    }
    phone.hear("ALLOWANCE", { messages: 5, expiresIn: 2 ** 50, recipientId: laptop.id });
    town.pass(1_000);
    if (!devicesOf(laptop).historyIn.isComing) {
      assert.equal(said(laptop, bob).length, MUCH + 2);
      return second;
    }
  }
  throw new Error("not all has come after ten minutes");
}

for (const hasCuts of [false, true]) {
  const where = hasCuts ? "on one connection after another" : "on one connection";
  test(`a relay that repeats itself makes nobody send more, ${where}`, () => {
    assert.ok(secondsAtARelayThatRepeatsItself(hasCuts, false) > 40);
  });

  test(`the control: a client that believes it again sends all of it at once, ${where}`, () => {
    assert.ok(secondsAtARelayThatRepeatsItself(hasCuts, true) < 40);
  });
}

test("another one counts when there can be another", () => {
  const allowances = new Allowances();
  allowances.allow("peer", 40, ALLOWANCE_MS, 0);
  for (const now of [1, ALLOWANCE_MS, ALLOWANCE_EVERY_MS - 1]) {
    allowances.allow("peer", 200, now + ALLOWANCE_MS, now);
    assert.equal(allowances.left("peer", now), now < ALLOWANCE_MS ? 40 : 0);
  }
  allowances.allow("peer", 200, ALLOWANCE_EVERY_MS + ALLOWANCE_MS, ALLOWANCE_EVERY_MS);
  assert.equal(allowances.left("peer", ALLOWANCE_EVERY_MS), 200);
});

test("what nobody asked for counts for nothing: the laptop has got everything", () => {
  const town = townWith(256);
  const [phone, laptop, bob] = withTexts(town, 1);
  secondsUntilAllIsThere(town, laptop, bob, 1);
  town.pass(1_000);
  phone.hear("ALLOWANCE", { messages: 5, expiresIn: 5_000, recipientId: laptop.id });
  assert.equal(allowancesOf(phone).left(laptop.id, town.clock.monotonic), 0);
});

test("a relay is not taken at its word: only what an own device allows counts, and no more than there can be", () => {
  const town = townWith(0);
  const [phone, laptop, bob] = withTexts(town, MUCH);
  assert.ok(devicesOf(laptop).historyIn.isComing);
  const allowances = allowancesOf(phone);
  const { monotonic } = town.clock;
  for (const recipientId of [laptop.id, bob.id, phone.id]) {
    phone.hear("ALLOWANCE", { messages: 2 ** 50, expiresIn: 2 ** 50, recipientId });
  }
  phone.hear("ALLOWANCE", { messages: 5, expiresIn: 5, senderId: laptop.id });
  assert.deepEqual([bob, phone].map(({ id }) => allowances.left(id, monotonic)), [0, 0]);
  const left = allowances.left(laptop.id, monotonic);
  assert.ok(left > ALLOWED_MESSAGES - MUCH && left <= ALLOWED_MESSAGES, String(left));
  assert.equal(allowances.left(laptop.id, monotonic + ALLOWANCE_MS), 0);
  phone.disconnect();
  assert.equal(allowances.left(laptop.id, monotonic), 0);
});
