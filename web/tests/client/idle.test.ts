/** A client to which nothing happens stores nothing, says nothing but that it is there, and sleeps. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { COUNT_MS } from "../../core/client/devices/desk.ts";
import { ExpiryClock, KEEP_MS } from "../../core/client/expiry.ts";
import { INTERVAL_MS } from "../../core/client/housekeeping.ts";
import { CLOCK } from "../../core/client/records.ts";
import type { Batch, Transaction } from "../../core/client/vault.ts";
import { link, readAll } from "./family.ts";
import { Member } from "./members.ts";
import { type Person, Town } from "./town.ts";

const SECONDS = 600;

/** Ada, perhaps with a laptop besides, and Ben: they have written to each other, in a group, too, and have read it all. */
function atRest({ hasLaptop = false } = {}): [Town, Person[]] {
  const [town, ada, ben] = known();
  const laptops = hasLaptop ? [town.person()] : [];
  for (const laptop of laptops) link(town, ada.person, laptop, true);
  const group = ada.groups.create("Tea", [ben.id]);
  town.pass(5_000);
  ben.groups.accept(group, "");
  town.pass(5_000);
  ada.groups.sendText(group, "hello, all");
  ben.groups.sendText(group, "hello, Ada");
  ada.person.messenger.sendText(ben.id, "hello");
  ben.person.messenger.sendText(ada.id, "hello");
  town.pass(10_000);
  readAll(ada.person, ben.person);
  readAll(ben.person, ada.person);
  town.pass(120_000);
  return [town, [ada.person, ben.person, ...laptops]];
}

function known(): [Town, Member, Member] {
  const town = new Town();
  const [ada, ben] = [new Member(town), new Member(town)];
  ada.knows("Ben", ben);
  ben.knows("Ada", ada);
  town.pass(5_000);
  return [town, ada, ben];
}

/** In so many seconds: what would have been stored, what was sent, and how long each would have slept. */
function watched(
  town: Town,
  people: readonly Person[],
  each: () => void = () => undefined,
): { batches: Batch[]; sent: string[]; waits: number[] } {
  const batches: Batch[] = [];
  const waits: number[] = [];
  for (const { sent, vault } of people) {
    const take = vault.takeBatch.bind(vault);
    vault.takeBatch = () => {
      const batch = take();
      if (batch.puts.length + batch.deletes.length > 0) batches.push(batch);
      return batch;
    };
    sent.length = 0;
  }
  for (let second = 0; second < SECONDS; second += 1) {
    waits.push(...people.map(({ messenger }) => messenger.nextTick()));
    each();
    town.pass(1_000);
  }
  return { batches, sent: people.flatMap(({ sent }) => sent.map(({ type }) => type)), waits };
}

/** How often something happens meanwhile, if it does once in so many milliseconds. */
const often = (milliseconds: number): number => Math.ceil((SECONDS * 1_000) / milliseconds);

test("nothing is stored, only PING is sent, and nothing keeps it awake", () => {
  const [town, people] = atRest();
  const { batches, sent, waits } = watched(town, people);
  assert.ok(batches.length <= people.length * often(KEEP_MS), "the clock is kept now and then");
  assert.deepEqual([...new Set(sent)], ["PING"]);
  assert.ok(waits.every((wait) => wait >= 1_000));
});

test("with another device, it is stored once a minute for how long that was silent", () => {
  const [town, people] = atRest({ hasLaptop: true });
  const { batches, sent, waits } = watched(town, people);
  const silences = batches.filter(({ puts, deletes }) => deletes.length === 0 && puts.every(({ kind }) => kind === "device"));
  assert.ok(silences.length <= 2 * often(COUNT_MS));
  assert.ok(batches.length - silences.length <= people.length * often(KEEP_MS));
  assert.deepEqual([...new Set(sent)], ["PING"]);
  assert.ok(waits.every((wait) => wait >= 1_000));
});

test("the control: what is stored in each round is seen, and what is sent", (context) => {
  const [town, people] = atRest();
  context.mock.method(ExpiryClock.prototype, "keep", (tx: Transaction) => {
    tx.put(CLOCK, "", { boot: "", sinceBoot: 0, wall: 0, steady: town.clock.monotonic });
  });
  const [ada, ben] = people;
  assert.ok(ada !== undefined && ben !== undefined);
  const { batches, sent } = watched(town, people, () => ada.messenger.tellTyping(ben.id));
  assert.ok(batches.length >= people.length * (often(INTERVAL_MS) - 1));
  assert.notDeepEqual([...new Set(sent)], ["PING"]);
});
