import assert from "node:assert/strict";
import { test } from "node:test";
import { ContactExists, InvalidUserId, NoKeyYet, UnknownContact, UsageError } from "../../core/client/errors.ts";
import { writtenId } from "../../core/client/ids.ts";
import { Messenger } from "../../core/client/messenger.ts";
import * as records from "../../core/client/records.ts";
import { ContactRecord, floorOf, hadBetter, mayLearn, seenWith, Strength } from "../../core/client/records.ts";
import { newVault } from "../../core/client/vault.ts";
import type { Vault } from "../../core/client/vault.ts";
import { random, someId } from "./support.ts";

const [BOB, EVE] = [someId(1), someId(2)];
const KEY = new Uint8Array(32).fill(9);

function client(): { vault: Vault; messenger: Messenger } {
  const vault = newVault(new Uint8Array(32), random);
  return { vault, messenger: new Messenger(vault, { wall: () => 1e12, monotonic: () => 0, random }) };
}

function known(more: Partial<ContactRecord>): ContactRecord {
  return ContactRecord.make({ userId: BOB, ...more });
}

test("contacts are found by name and by id in both forms", () => {
  const { messenger } = client();
  const { contacts } = messenger;
  contacts.add("Zoe\u0308", BOB);
  for (const who of ["Zo\u00eb", "Zoe\u0308", BOB, writtenId(BOB), writtenId(BOB).toUpperCase()]) {
    assert.equal(contacts.find(who).userId, BOB);
  }
  assert.equal(contacts.find(EVE).name, "");
  for (const who of ["", "zoe", "x"]) assert.throws(() => contacts.find(who), UnknownContact);
  assert.throws(() => contacts.find(writtenId(BOB).replace(/.$/, "b")), InvalidUserId);
});

test("two contacts have neither one name nor names that look alike, and nobody is their own contact", () => {
  const { messenger } = client();
  const { contacts } = messenger;
  contacts.add("Bob", BOB);
  assert.throws(() => contacts.add("Bob", EVE), ContactExists);
  assert.throws(() => contacts.add("B\u043eb", EVE), ContactExists);
  assert.equal(contacts.add("B\u043eb", BOB).name, "B\u043eb");
  contacts.add("Bobby", BOB);
  assert.equal(contacts.add("Bob", EVE).userId, EVE);
  assert.throws(() => contacts.add("Me", messenger.userId), InvalidUserId);
  assert.throws(() => contacts.add("Short", Buffer.alloc(16).toString("base64")), InvalidUserId);
  assert.throws(() => contacts.add(" ", EVE), UsageError);
  assert.deepEqual(contacts.everybody().map((one) => one.name), ["Bobby", "Bob"]);
});

test("a key that has changed is judged by the user: until then it is the changed one", () => {
  const { vault, messenger } = client();
  const { contacts, stores } = messenger;
  contacts.add("Bob", BOB);
  assert.throws(() => contacts.setTrust(BOB, "verified"), NoKeyYet);
  assert.throws(() => contacts.safetyNumber(BOB), NoKeyYet);
  const offered = new Uint8Array(32).fill(8);
  const changed = { name: "Bob", key: KEY, suite: 2, newest: 7, offered, trust: "changed" };
  vault.transaction((tx) => stores.book.put(tx, known(changed)));
  assert.deepEqual([contacts.of(BOB).trust, contacts.of(BOB).key], ["changed", offered]);
  assert.equal(stores.book.mayNotify(BOB), false);
  assert.equal(contacts.setTrust(BOB, "unverified").trust, "changed");
  const number = contacts.safetyNumber(BOB);
  assert.match(number, /^\d{60}$/);
  const accepted = contacts.accept(BOB);
  assert.deepEqual([accepted.trust, accepted.key], ["unverified", offered]);
  assert.deepEqual([stores.book.get(BOB).newest, stores.book.get(BOB).offered.length], [0, 0]);
  assert.equal(contacts.safetyNumber(BOB), number);
  assert.equal(contacts.setTrust(BOB, "verified").trust, "verified");
});

test("who is blocked gets and sends nothing, and stays blocked when they are removed", () => {
  const { vault, messenger } = client();
  messenger.contacts.add("Bob", BOB);
  messenger.sendText(BOB, "never sent");
  messenger.block(BOB);
  assert.equal(messenger.waitingFor(BOB), 0);
  assert.throws(() => messenger.sendText(BOB, "x"), UsageError);
  assert.deepEqual(vault.get(records.BLOCK, BOB)?.steps, [true]);
  messenger.contacts.remove(BOB);
  assert.deepEqual([messenger.contacts.of(BOB).name, messenger.contacts.of(BOB).blocked], ["", true]);
  messenger.unblock(BOB);
  assert.equal(vault.has(records.CONTACT, BOB), false);
  assert.deepEqual(vault.get(records.BLOCK, BOB)?.steps, [false]);
});

test("what a contact's program was seen with decides what may be sent", () => {
  const fresh = known({});
  assert.equal(floorOf(fresh), Strength.SUITE_2);
  assert.equal(floorOf(known({ key: KEY })), Strength.SUITE_1, "of a version that knew one suite");
  assert.equal(floorOf(known({ key: KEY, suite: 1 })), Strength.SUITE_2);
  assert.equal(floorOf(known({ allowsOlder: true })), Strength.SUITE_1);
  assert.equal(floorOf(known({ allowsClassical: true })), Strength.CLASSICAL);
  const older = seenWith(known({ allowsOlder: true }), Strength.SUITE_1, { key: KEY, classical: false });
  assert.deepEqual([older.suite, older.allowsOlder, older.postQuantum], [1, true, true]);
  const newer = seenWith(older, Strength.SUITE_2, { key: KEY, classical: false });
  assert.deepEqual([newer.suite, newer.allowsOlder, floorOf(newer)], [2, false, Strength.SUITE_2]);
  assert.deepEqual([hadBetter(newer, Strength.SUITE_1), hadBetter(fresh, Strength.SUITE_1)], [true, false]);
  const asked = { ...older, askedAt: 5 };
  assert.deepEqual([mayLearn(older, 5), mayLearn(asked, 6), mayLearn(newer, 5)], [true, false, false]);
});
