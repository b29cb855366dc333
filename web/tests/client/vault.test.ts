import assert from "node:assert/strict";
import { test } from "node:test";
import { VaultDamaged, WrongPassphrase } from "../../core/client/errors.ts";
import * as records from "../../core/client/records.ts";
import { ContactRecord, ReceivedRecord } from "../../core/client/records.ts";
import { makeLock, newVault, openLock, openVault } from "../../core/client/vault.ts";
import type { Batch, StoredRecord, Vault } from "../../core/client/vault.ts";
import { random } from "./support.ts";

const KEY = new Uint8Array(32).fill(7);
const seen = (at: number): { at: number } => ({ at });

/** What is stored after a batch. */
function stored(before: readonly StoredRecord[], batch: Batch): StoredRecord[] {
  const found = new Map(before.map((one) => [`${one.kind} ${one.name}`, one]));
  for (const { kind, name } of batch.deletes) found.delete(`${kind} ${name}`);
  for (const put of batch.puts) found.set(`${put.kind} ${put.name}`, put);
  return [...found.values()];
}

function put(vault: Vault, name: string, at: number, due: number | null = null): void {
  vault.transaction((tx) => tx.put(records.SEEN, name, seen(at), { due }));
}

const listed = (vault: Vault): number[] => [...vault.all(records.SEEN)].map(([, value]) => value.at);

test("what is stored opens again, in its order, and a record that was put again keeps its place", () => {
  const vault = newVault(KEY, random);
  put(vault, "a", 1);
  put(vault, "b", 2);
  put(vault, "c", 3);
  put(vault, "a", 4);
  const first = stored([], vault.takeBatch());
  vault.transaction((tx) => tx.delete(records.SEEN, "b"));
  const second = stored(first, vault.takeBatch());
  const again = openVault(KEY, random, [...second].reverse());
  assert.deepEqual(listed(again), [4, 3]);
  assert.deepEqual(again.get(records.SEEN, "c"), seen(3));
  assert.equal(again.get(records.SEEN, "b"), null);
  assert.deepEqual([...again.newest(records.SEEN)].map((one) => one.at), [3, 4]);
  assert.equal(again.hasChanged, false);
});

test("records whose places are damaged get others, behind which new ones stand, and keep these", () => {
  const vault = newVault(KEY, random);
  for (let at = 1; at <= 8; at += 1) put(vault, `${at}`, at);
  const whole = stored([], vault.takeBatch());
  assert.equal(openVault(KEY, random, whole).hasChanged, false, "the control");
  const places = [1, 3, 3, 3, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, -0.5];
  const damaged = whole.map((one, index) => ({ ...one, position: places[index] ?? 0 }));
  const again = openVault(KEY, random, damaged);
  put(again, "new", 9);
  const placesOf = (one: Vault): number[] => [...one.all(records.SEEN)].map(([position]) => position);
  assert.deepEqual(placesOf(again), [1, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(listed(again), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const { puts } = again.takeBatch();
  assert.equal(puts.length, 7, "those that were moved, and the new one");
  const last = openVault(KEY, random, stored(damaged, { puts, deletes: [] }));
  assert.deepEqual([placesOf(last), listed(last), last.hasChanged], [placesOf(again), listed(again), false]);
});

test("how far a large batch is, is told while it is sealed, and of a small one nothing", () => {
  const vault = newVault(KEY, random);
  const shares: number[] = [];
  put(vault, "a", 1);
  vault.takeBatch((share) => shares.push(share));
  assert.equal(shares.length, 0);
  for (let number = 0; number < 1_000; number += 1) put(vault, `${number}`, number);
  assert.equal(vault.takeBatch((share) => shares.push(share)).puts.length, 1_000);
  assert.deepEqual(shares, [0.255, 0.511, 0.767]);
});

test("a batch holds what has changed, once, and nothing in clear", () => {
  const vault = newVault(KEY, random);
  const text = "a secret that stands nowhere";
  const record = ReceivedRecord.make({
    messageId: "id", sender: "somebody", text, sentAt: 1, receivedAt: 2, burn: false, expiresAt: null,
  });
  vault.transaction((tx) => {
    tx.put(records.RECEIVED, "somebody id", { ...record, text: "before" });
    tx.put(records.RECEIVED, "somebody id", record);
    tx.put(records.SEEN, "gone", seen(1));
    tx.delete(records.SEEN, "gone");
  });
  const { puts, deletes } = vault.takeBatch();
  assert.deepEqual([puts.length, deletes.length], [1, 1]);
  const bytes = Buffer.concat(puts.map((one) => Buffer.concat([Buffer.from(one.name), one.value]))).toString("latin1");
  assert.equal(bytes.includes(text) || bytes.includes("somebody"), false);
  assert.equal(vault.get(records.RECEIVED, "somebody id")?.text, text);
  assert.deepEqual(vault.takeBatch(), { puts: [], deletes: [] });
});

test("a transaction that fails changes nothing; one inside of another is undone alone", () => {
  const vault = newVault(KEY, random);
  put(vault, "a", 1);
  put(vault, "b", 2);
  const said: string[] = [];
  assert.throws(() =>
    vault.transaction((tx) => {
      tx.put(records.SEEN, "a", seen(9));
      tx.delete(records.SEEN, "b");
      tx.put(records.SEEN, "c", seen(3));
      tx.onCommit(() => said.push("committed"));
      tx.onRollback(() => said.push("undone"));
      throw new Error("no");
    }),
  );
  assert.deepEqual([listed(vault), said], [[1, 2], ["undone"]]);
  vault.transaction((tx) => {
    tx.put(records.SEEN, "c", seen(3));
    assert.throws(() =>
      vault.transaction((inner) => {
        inner.put(records.SEEN, "d", seen(4));
        inner.onCommit(() => said.push("never"));
        throw new Error("no");
      }),
    );
    tx.onCommit(() => said.push("committed"));
    assert.deepEqual(said, ["undone"]);
  });
  assert.deepEqual([listed(vault), said], [[1, 2, 3], ["undone", "committed"]]);
});

test("what is due is named in the order in which it is, and can be removed", () => {
  const vault = newVault(KEY, random);
  put(vault, "late", 3, 30);
  put(vault, "soon", 1, 10);
  put(vault, "never", 9);
  assert.deepEqual(vault.overdue(records.SEEN, 30).map((one) => one.at), [1, 3]);
  put(vault, "late", 3);
  vault.transaction((tx) => tx.deleteDue(records.SEEN, 30));
  assert.deepEqual(listed(vault), [3, 9]);
  const again = openVault(KEY, random, stored([], vault.takeBatch()));
  assert.deepEqual(again.overdue(records.SEEN, 1e15), []);
});

test("who watches a kind hears of each change within its transaction", () => {
  const vault = newVault(KEY, random);
  const heard: unknown[] = [];
  vault.watch(records.SEEN, (tx, name, value, isNew) => {
    heard.push([name, value?.at ?? null, isNew]);
    tx.put(records.CONTACT, name, ContactRecord.make({ userId: name }));
  });
  put(vault, "a", 1);
  put(vault, "a", 2);
  vault.transaction((tx) => {
    tx.delete(records.SEEN, "a");
    tx.delete(records.SEEN, "a");
  });
  assert.deepEqual(heard, [["a", 1, true], ["a", 2, false], ["a", null, false]]);
  assert.equal(vault.has(records.CONTACT, "a"), true);
});

test("a record that was changed on disk, moved to another name, or is another key's is left out and counted", () => {
  const vault = newVault(KEY, random);
  put(vault, "a", 1);
  put(vault, "b", 2);
  const [a, b] = stored([], vault.takeBatch());
  assert.ok(a !== undefined && b !== undefined);
  const flipped = a.value.slice();
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  for (const [damaged, left] of [
    [[{ ...a, value: flipped }, b], [2]],
    [[{ ...a, value: b.value }, b], [2]],
    [[{ ...a, value: a.value.slice(0, 20) }, b], [2]],
    [[{ ...a, kind: "handshake" }, b], [2]],
  ] as const) {
    const again = openVault(KEY, random, damaged);
    assert.deepEqual(listed(again), left);
  }
  const damaged = openVault(KEY, random, [{ ...a, value: flipped }, b]);
  assert.throws(() => damaged.get(records.SEEN, "a"), VaultDamaged);
  assert.equal(damaged.find(records.SEEN, "a"), null);
  assert.equal(damaged.unreadable, 1);
  const other = openVault(new Uint8Array(32).fill(8), random, [a, b]);
  assert.deepEqual([listed(other), other.get(records.SEEN, "a")], [[], null]);
});

test("a passphrase opens the lock in whatever form it is typed, and no other one does", () => {
  let last = 0;
  const cost = { memoryKib: 64, passes: 1, lanes: 1 };
  const progress = (share: number): void => {
    last = share;
  };
  const lock = makeLock(KEY, "caf\u00e9 au lait", random, { progress, cost });
  assert.equal(last, 1);
  assert.deepEqual(openLock(lock, "cafe\u0301\u00a0au lait\n"), KEY);
  assert.throws(() => openLock(lock, "cafe au lait"), WrongPassphrase);
  const hostile = { ...cost, memoryKib: 2 ** 19 };
  for (const damaged of [{ ...lock, wrapped: lock.wrapped.slice(1) }, { ...lock, cost: hostile }]) {
    assert.throws(() => openLock(damaged, "caf\u00e9 au lait"), VaultDamaged);
  }
});
