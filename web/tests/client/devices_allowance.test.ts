/** A new device lets its first device send what was said before faster, and nobody else; and what comes without it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as records from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { ALLOWANCE_MS, ALLOWED_MESSAGES } from "../../core/wire/limits.ts";
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
  const [phone, laptop, bob] = withTexts(town, MUCH);
  const isNotice = (type: string): boolean => type === "ALLOWANCE";
  let told = 0;
  phone.tamper = (frame) => (isNotice(frame.type) && (told += 1) > 1 ? [] : [frame]);
  assert.ok(secondsUntilAllIsThere(town, laptop, bob, MUCH) > 40);
});

test("for what is not much nothing is asked", () => {
  const town = townWith(256);
  const [, laptop, bob] = withTexts(town, 25);
  secondsUntilAllIsThere(town, laptop, bob, 25);
  assert.deepEqual(allowedBy(laptop), []);
});

test("a relay is not taken at its word: only what an own device allows counts, and no more than there can be", () => {
  const town = townWith(256);
  const [phone, laptop, bob] = withTexts(town, 1);
  const { allowances } = phone.messenger.stores.slot.is.outgoing ?? {};
  assert.ok(allowances !== undefined);
  const { monotonic } = town.clock;
  for (const recipientId of [laptop.id, bob.id, phone.id]) {
    phone.hear("ALLOWANCE", { messages: 2 ** 50, expiresIn: 2 ** 50, recipientId });
  }
  phone.hear("ALLOWANCE", { messages: 5, expiresIn: 5, senderId: laptop.id });
  assert.deepEqual([laptop, bob, phone].map(({ id }) => allowances.left(id, monotonic)), [ALLOWED_MESSAGES, 0, 0]);
  assert.equal(allowances.left(laptop.id, monotonic + ALLOWANCE_MS), 0);
  phone.disconnect();
  assert.equal(allowances.left(laptop.id, monotonic), 0);
});
