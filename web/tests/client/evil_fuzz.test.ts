/** Whatever a relay makes of the frames that pass through it, clients go on, keep little, and read what was written. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as records from "../../core/client/records.ts";
import { MAX_KEPT } from "../../core/client/prekey_store.ts";
import { MAX_REMEMBERED } from "../../core/client/recovery.ts";
import { amount } from "../amounts.ts";
import { Meddler } from "./evil_frames.ts";
import { Town } from "./town.ts";
import type { Person } from "./town.ts";

const SEEDS = Number(process.env["PHANTOM_SEEDS"] ?? amount(3, 6));
const ROUNDS = 12;

/** Everybody leaves and comes again, to a relay that is honest now. */
function honest(town: Town, people: readonly Person[]): void {
  for (const one of people) {
    one.tamper = (frame) => [frame];
    one.disconnect();
  }
  for (const one of people) one.connect();
  town.pass(60_000);
}

function reconnectIfLost(one: Person): void {
  if (one.messenger.isLost) {
    one.disconnect();
    one.connect();
  }
}

for (let seed = 1; seed <= SEEDS; seed += 1) {
  test(`a relay that meddles is survived (${seed})`, () => {
    const town = new Town();
    const [alice, bob] = town.friends();
    const carol = town.person();
    const said: string[] = [];
    const meddlers = [alice, bob].map((one, place) => {
      const meddler = new Meddler(seed * 1_000 + place);
      one.tamper = meddler.meddle;
      return meddler;
    });
    carol.tamper = (frame) => {
      meddlers.forEach(({ others }) => others.push(frame));
      return [frame];
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [from, to] of [[alice, bob], [bob, alice], [carol, alice]] as const) {
        const text = `${round} of ${town.people.indexOf(from)}`;
        if (to !== carol && from !== carol) said.push(text);
        from.messenger.sendText(to.id, text);
      }
      town.pass(5_000);
      [alice, bob].forEach(reconnectIfLost);
      if (round % 3 === 1) {
        // So that there are key exchanges to meddle with.
        alice.vault.transaction((tx) => alice.messenger.stores.conversations.forget(tx, bob.id));
      }
      if (round % 4 === 3) {
        alice.disconnect();
        alice.connect();
      }
      town.pass(30_000);
    }
    honest(town, [alice, bob, carol]);
    for (let hours = 0; hours < 3; hours += 1) town.pass(120_000);
    const read = [...alice.received(), ...bob.received()];
    assert.equal(new Set(read).size, read.length, "nothing is read twice");
    assert.deepEqual(read.filter((text) => !said.includes(text) && text !== "hello"), [], "nothing is read that was not written");
    for (const { vault, messenger } of [alice, bob]) {
      assert.equal(vault.unreadable, 0);
      assert.ok(vault.count(records.UNREADABLE) <= 4 * MAX_REMEMBERED);
      assert.ok(vault.count(records.PREKEY) <= 2 * MAX_KEPT + 20);
      assert.ok(messenger.stores.book.size <= 2, "nobody becomes a contact by himself");
    }
    assert.ok(alice.warnings.length + bob.warnings.length > 0, "the control: there was something to survive");
  });
}
