import assert from "node:assert/strict";
import { test } from "node:test";
import { PAGE } from "../../core/client/conversation_index.ts";
import { Messenger } from "../../core/client/messenger.ts";
import * as records from "../../core/client/records.ts";
import { ReceivedRecord, SentRecord, UnreadableRecord } from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { newVault, openVault } from "../../core/client/vault.ts";
import type { StoredRecord, Transaction, Vault } from "../../core/client/vault.ts";
import * as view from "../../core/client/view.ts";
import { random, someId } from "./support.ts";

const [BOB, EVE] = [someId(1), someId(2)];
const KEY = new Uint8Array(32).fill(3);
const PASSING: view.Passing = { presence: new Map(), notices: new Map() };

/** A client without a relay, whose clock stands. */
function client(vault: Vault = newVault(KEY, random)): { vault: Vault; messenger: Messenger } {
  const messenger = new Messenger(vault, { wall: () => 1_000_000, monotonic: () => 0, random });
  return { vault, messenger };
}

function receive(tx: Transaction, sender: string, messageId: string, more: Partial<ReceivedRecord> = {}): void {
  const plain = { messageId, sender, text: messageId, sentAt: 1, receivedAt: 2, burn: false, expiresAt: null };
  tx.put(records.RECEIVED, records.key(sender, messageId), ReceivedRecord.make({ ...plain, ...more }));
}

function send(tx: Transaction, peer: string, messageId: string, more: Partial<SentRecord> = {}): void {
  const plain = { messageId, peer, text: messageId, madeAt: 1, burn: false, state: DeliveryState.ACCEPTED };
  tx.put(records.SENT, messageId, SentRecord.make({ ...plain, ...more }));
}

function unreadable(tx: Transaction, sender: string, messageId: string): void {
  const name = records.key(sender, messageId);
  tx.put(records.UNREADABLE, name, UnreadableRecord.make({ messageId, sender, at: 1_000_000, curable: true }));
}

/** What a page shows of a conversation. */
function shown({ messenger }: { messenger: Messenger }, peer: string): [string, string, number][] {
  const { items } = view.pageOf(messenger.stores, peer, messenger.now(), { before: null, limit: 10_000 });
  return items.map((item) => [item.id, item.kind, item.position]);
}

test("each conversation has its messages in the order in which they came, over as many pages as it takes", () => {
  const { vault, messenger } = client();
  const wanted: string[] = [];
  for (let number = 0; number < 3 * PAGE + 5; number += 1) {
    const id = `m${number}`;
    vault.transaction((tx) => (number % 3 === 0 ? send(tx, BOB, id) : receive(tx, number % 3 === 1 ? BOB : EVE, id)));
    if (number % 3 !== 2) wanted.push(id);
  }
  const found = shown({ messenger }, BOB);
  assert.deepEqual(found.map(([id]) => id), wanted);
  const positions = found.map(([, , position]) => position);
  assert.deepEqual(positions, [...positions].sort((one, other) => one - other));
  assert.equal(new Set(positions).size, positions.length);
  // Opened again from what is stored, it is the same.
  const again = client(openVault(KEY, random, vault.takeBatch().puts));
  assert.deepEqual(shown(again, BOB), found);
  const page = view.pageOf(messenger.stores, BOB, messenger.now(), { before: positions[100] ?? null, limit: 7 });
  assert.deepEqual(page.items.map((item) => item.id), wanted.slice(93, 100));
});

test("a message that could not be read is in its place when it is, and one that was a receipt leaves nothing", () => {
  const one = client();
  one.vault.transaction((tx) => {
    receive(tx, BOB, "before");
    unreadable(tx, BOB, "lost");
    unreadable(tx, BOB, "receipt");
    send(tx, BOB, "after");
  });
  const kinds = shown(one, BOB).map(([, kind]) => kind);
  assert.deepEqual(kinds, ["text", "unreadable", "unreadable", "text"]);
  const places = shown(one, BOB).map(([, , position]) => position);
  one.vault.transaction((tx) => {
    receive(tx, BOB, "lost");
    tx.delete(records.UNREADABLE, records.key(BOB, "lost"));
    tx.delete(records.UNREADABLE, records.key(BOB, "receipt"));
  });
  assert.deepEqual(shown(one, BOB), [
    ["before", "text", places[0]],
    ["lost", "text", places[1]],
    ["after", "text", places[3]],
  ]);
});

test("nothing is entered by a transaction that fails", () => {
  const one = client();
  assert.throws(() =>
    one.vault.transaction((tx) => {
      receive(tx, BOB, "never");
      throw new Error("no");
    }),
  );
  one.vault.transaction((tx) => receive(tx, BOB, "there"));
  assert.deepEqual(shown(one, BOB).map(([id]) => id), ["there"]);
});

test("what is erased is gone from the disk, and of others nothing", () => {
  const one = client();
  one.vault.transaction((tx) => {
    for (let number = 0; number < 2 * PAGE; number += 1) receive(tx, BOB, `m${number}`);
    receive(tx, EVE, "hers");
  });
  one.messenger.contacts.add("Bob", BOB);
  const before = one.vault.count(records.RECEIVED);
  one.messenger.contacts.remove(BOB, { history: true });
  assert.deepEqual([before, one.vault.count(records.RECEIVED)], [2 * PAGE + 1, 1]);
  assert.deepEqual([shown(one, BOB), shown(one, EVE).length], [[], 1]);
  const left: readonly StoredRecord[] = one.vault.takeBatch().puts;
  assert.equal(left.filter(({ kind }) => kind === "page").length, 1);
});

test("what has become of messages decides what is shown of them", () => {
  const { vault, messenger } = client();
  const now = messenger.now();
  vault.transaction((tx) => {
    send(tx, BOB, "queued", { state: DeliveryState.QUEUED });
    send(tx, BOB, "read", { state: DeliveryState.READ });
    send(tx, BOB, "burned", { state: DeliveryState.BURNED, burn: true, text: null });
    send(tx, BOB, "over", { state: DeliveryState.DELIVERED, expiresIn: 5, expiresAt: now.persistent });
    send(tx, BOB, "failed", { state: DeliveryState.FAILED });
    receive(tx, BOB, "text", { expiresAt: now.persistent + 5 });
    receive(tx, BOB, "covered", { burn: true });
    receive(tx, BOB, "opened", { burn: true, read: true, text: null });
    receive(tx, BOB, "newer", { text: null, newer: new Uint8Array([1]) });
    receive(tx, BOB, "late", { expiresAt: now.persistent });
  });
  const { items } = view.pageOf(messenger.stores, BOB, now, { before: null, limit: 99 });
  const found = Object.fromEntries(items.map((item) => [item.id, [item.kind, item.mark, item.text]]));
  assert.deepEqual(found, {
    queued: ["text", "waiting", "queued"],
    read: ["text", "read", "read"],
    burned: ["gone", "burned", ""],
    over: ["gone", "expired", ""],
    failed: ["text", "failed", "failed"],
    text: ["text", null, "text"],
    covered: ["covered", null, ""],
    opened: ["gone", null, ""],
    newer: ["newer", null, ""],
    late: ["gone", null, ""],
  });
  assert.deepEqual(items.filter((item) => item.fault !== "").map((item) => item.id), ["failed"]);
  assert.equal(items.find((item) => item.id === "text")?.expiresAt, 1_000_005);
});

test("unread is what is in the inbox, and what expires is erased and read", () => {
  const { vault, messenger } = client();
  messenger.contacts.add("Bob", BOB);
  const unread = (): number => view.conversationOf(messenger.stores, BOB, messenger.now(), PASSING).unread;
  vault.transaction((tx) => {
    for (const [id, due] of [["stays", null], ["expires", messenger.now().persistent]] as const) {
      const received = { messageId: id, sender: BOB, text: id, sentAt: 1, receivedAt: 2, burn: false, expiresAt: due };
      tx.put(records.RECEIVED, records.key(BOB, id), ReceivedRecord.make(received), { due });
      tx.put(records.INBOX, records.key(BOB, id), { messageId: id, sender: BOB });
    }
  });
  const again = client(openVault(KEY, random, vault.takeBatch().puts)).messenger;
  const left = (): number => view.conversationOf(again.stores, BOB, again.now(), PASSING).unread;
  assert.deepEqual([unread(), left()], [0, 2]); // the first client's inbox did not receive them
  again.tick();
  assert.equal(left(), 1);
  assert.equal(again.stores.vault.get(records.RECEIVED, records.key(BOB, "expires"))?.text, null);
  again.markRead(BOB, "stays");
  assert.equal(left(), 0);
  assert.equal(again.stores.vault.count(records.INBOX), 0);
});

test("links hold the id and the name, and are read again", () => {
  const link = view.linkOf("https://chat.example.org/?x#old", BOB, "Bob & Co #1");
  const { who, name } = view.invitationOf(` ${link}\n`);
  assert.deepEqual([messengerId(who), name], [BOB, "Bob & Co #1"]);
  assert.deepEqual(view.invitationOf(` ${BOB} `), { who: BOB, name: "" });
});

function messengerId(who: string): string {
  return client().messenger.contacts.find(who).userId;
}
