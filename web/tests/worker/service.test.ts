import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { Conversation, Item } from "../../api.ts";
import { openDB } from "idb";
import { writtenId } from "../../core/client/ids.ts";
import { Storage, VaultFull } from "../../worker/storage.ts";
import { someId } from "../client/support.ts";
import { begin, clearDisk, closeAll, created, FakeRelay, fakeLocks, fault, PAGE, RELAY, tab, until } from "./support.ts";
import type { Tab } from "./support.ts";

const BOB = someId(66);

beforeEach(() => clearDisk());
afterEach(() => closeAll());

async function conversation({ api }: Tab, peer: string): Promise<Conversation | undefined> {
  return (await api.conversations()).find((one) => one.peer === peer);
}

async function items({ api }: Tab, peer: string): Promise<readonly Item[]> {
  return (await api.items({ peer, before: null, limit: 100 })).items;
}

async function lockedAgain(one: Tab): Promise<void> {
  await one.api.lock();
  assert.equal(one.stage()?.at, "locked");
}

test("a first run makes a profile, and the page hears how far it is", async () => {
  const one = tab();
  assert.deepEqual(await begin(one), { at: "first-run" });
  assert.equal(await fault(one.api.conversations()), "usage");
  for (const passphrase of ["", "seven w"]) {
    assert.equal(await fault(one.api.create({ name: "Alice", passphrase, stay: false })), "usage");
  }
  assert.deepEqual(one.stage(), { at: "first-run" });
  await one.api.create({ name: " Alice ", passphrase: "secret words", stay: false });
  const stages = one.updates.flatMap((update) => (update.kind === "stage" ? [update.stage] : []));
  assert.ok(stages.some((stage) => stage.at === "working" && stage.what === "creating" && stage.progress === 1));
  assert.deepEqual(one.stage(), { at: "open" });
  const me = await one.api.me();
  assert.deepEqual([me.name, me.isKept, me.backupAt, me.staysSignedIn], ["Alice", null, null, false]);
  assert.equal(me.writtenId, writtenId(me.userId));
  assert.equal(me.link, `${PAGE}#c=${me.writtenId}&n=Alice`);
  await lockedAgain(one);
});

test("a locked profile opens with its passphrase alone, and everything is as it was", async () => {
  const one = tab();
  await created(one, "Alice");
  const me = await one.api.me();
  await one.api.add({ who: BOB, name: "Bob" });
  await one.api.send({ peer: BOB, text: "kept", burn: false, expiresIn: null });
  await one.api.draft({ peer: BOB, text: "half a" });
  await lockedAgain(one);
  assert.equal(await fault(one.api.items({ peer: BOB, before: null, limit: 9 })), "usage");
  const again = tab();
  assert.deepEqual(await begin(again), { at: "locked", name: "Alice", userId: me.userId });
  assert.equal(await fault(again.api.unlock({ passphrase: "secret word", stay: false })), "wrong-passphrase");
  assert.equal(again.stage()?.at, "locked");
  await again.api.unlock({ passphrase: "secret words", stay: false });
  const found = await conversation(again, BOB);
  assert.deepEqual([found?.name, found?.draft], ["Bob", "half a"]);
  assert.deepEqual([found?.last?.text, found?.last?.mark], ["kept", "waiting"]);
  await lockedAgain(again);
});

test("who stays signed in opens without a passphrase, until they lock it", async () => {
  const one = tab();
  await begin(one);
  await one.api.create({ name: "Alice", passphrase: "secret words", stay: true });
  assert.equal((await one.api.me()).staysSignedIn, true);
  const again = tab({ locks: fakeLocks() });
  assert.deepEqual(await begin(again), { at: "open" });
  await lockedAgain(again);
  assert.equal((await begin(tab())).at, "locked");
});

test("a profile that was to be locked when the page was left is locked at the next beginning", async () => {
  const one = tab();
  await begin(one);
  await one.api.create({ name: "Alice", passphrase: "secret words", stay: true });
  const again = tab({ locks: fakeLocks() });
  const given = { relay: RELAY, page: PAGE, isSecure: true };
  assert.equal((await again.api.begin({ ...given, isLocking: true })).at, "locked");
  assert.equal((await begin(tab({ locks: fakeLocks() }))).at, "locked");
  await again.api.unlock({ passphrase: "secret words", stay: true });
  assert.equal((await begin(tab({ locks: fakeLocks() }))).at, "open");
  await lockedAgain(again);
});

test("the passphrase is changed by who knows it, and staying signed in begins and ends when it is wished", async () => {
  const one = tab();
  await created(one, "Alice");
  const stays = async (stay: boolean): Promise<boolean> => (await one.api.staySignedIn({ stay })).staysSignedIn;
  assert.equal(await stays(true), true);
  const storage = await openDB("phantom");
  assert.notEqual(await storage.get("keys", "stay"), undefined);
  assert.equal(await stays(false), false);
  assert.equal(await storage.get("keys", "stay"), undefined);
  storage.close();
  const change = (current: string, passphrase = "other words") => one.api.changePassphrase({ current, passphrase });
  assert.equal(await fault(change("secret words", "a")), "usage");
  assert.equal(await fault(change("not the words")), "wrong-passphrase");
  await change("secret words");
  await one.api.lock();
  assert.equal(await fault(one.api.unlock({ passphrase: "secret words", stay: false })), "wrong-passphrase");
  await one.api.unlock({ passphrase: "other words", stay: false });
  assert.equal((await one.api.me()).name, "Alice");
  await one.api.lock();
});

test("a message is stored before it is shown, and what is refused is not", async () => {
  const one = tab();
  await created(one, "Alice");
  const who = `${PAGE}#c=${writtenId(BOB)}&n=${encodeURIComponent("Bob \u00d6")}`;
  assert.equal(await one.api.add({ who, name: "" }), BOB);
  assert.equal((await conversation(one, BOB))?.name, "Bob \u00d6");
  one.updates.length = 0;
  const sent = await one.api.send({ peer: BOB, text: "hello", burn: false, expiresIn: 60_000 });
  assert.deepEqual([sent.kind, sent.text, sent.mark, sent.isMine], ["text", "hello", "waiting", true]);
  await until("updates", () => one.updates.some((update) => update.kind === "items" && update.peer === BOB));
  const told = one.updates.find((update) => update.kind === "conversations");
  assert.deepEqual(told?.kind === "conversations" && told.changed.map((changed) => changed.last?.text), ["hello"]);
  const long = "x".repeat(40_001);
  assert.equal(await fault(one.api.send({ peer: BOB, text: long, burn: false, expiresIn: null })), "too-long");
  assert.equal(await fault(one.api.send({ peer: "nobody", text: "a", burn: false, expiresIn: null })), "usage");
  assert.equal(await fault(one.api.add({ who: `${writtenId(BOB).slice(0, -1)}q`, name: "X" })), "usage");
  assert.deepEqual((await items(one, BOB)).map((item) => item.text), ["hello"]);
  await lockedAgain(one);
});

test("how long texts of a conversation last is remembered, until the conversation is removed", async () => {
  const one = tab();
  await created(one, "Alice");
  await one.api.add({ who: BOB, name: "Bob" });
  assert.equal((await conversation(one, BOB))?.expiresIn, null);
  await one.api.lasting({ peer: BOB, expiresIn: 60_000 });
  await one.api.lock();
  await one.api.unlock({ passphrase: "secret words", stay: false });
  assert.equal((await conversation(one, BOB))?.expiresIn, 60_000);
  await one.api.removeContact({ peer: BOB, history: true });
  await one.api.add({ who: BOB, name: "Bob" });
  assert.equal((await conversation(one, BOB))?.expiresIn, null);
  await lockedAgain(one);
});

test("a text of one's own that failed or waits can be deleted, and does not leave any more", async () => {
  const one = tab();
  await created(one, "Alice");
  await one.api.add({ who: BOB, name: "Bob" });
  const [first, second] = [await write(one, "waits"), await write(one, "fails")];
  await one.api.removeItem({ peer: BOB, id: first.id });
  assert.equal((await one.api.connection()).waiting, 1);
  await one.api.block({ peer: BOB, isBlocked: true });
  await one.api.block({ peer: BOB, isBlocked: false });
  assert.equal((await items(one, BOB))[1]?.mark, "failed");
  await one.api.removeItem({ peer: BOB, id: second.id });
  assert.deepEqual((await items(one, BOB)).map(({ kind, text, mark, burns }) => [kind, text, mark, burns]), [
    ["gone", "", null, false],
    ["gone", "", null, false],
  ]);
  assert.equal(await fault(one.api.sendAgain({ peer: BOB, id: second.id })), "usage");
  assert.equal(await fault(one.api.removeItem({ peer: BOB, id: "00000000-0000-4000-8000-000000000000" })), "usage");
  assert.deepEqual(await one.api.search({ text: "waits", peer: null, limit: 10 }), []);
  await lockedAgain(one);
});

function write(one: ReturnType<typeof tab>, text: string): Promise<Item> {
  return one.api.send({ peer: BOB, text, burn: true, expiresIn: null });
}

test("pages of a conversation, and a search in it", async () => {
  const one = tab();
  await created(one, "Alice");
  await one.api.add({ who: BOB, name: "Bob" });
  for (let number = 0; number < 150; number += 1) {
    const text = `text ${number} ${number % 50 === 0 ? "Caf\u00e9" : ""}`;
    await one.api.send({ peer: BOB, text, burn: false, expiresIn: null });
  }
  const last = await one.api.items({ peer: BOB, before: null, limit: 100 });
  const first = await one.api.items({ peer: BOB, before: last.items[0]?.position ?? null, limit: 100 });
  assert.deepEqual([last.items.length, last.hasOlder, first.items.length, first.hasOlder], [100, true, 50, false]);
  const texts = [...first.items, ...last.items].map((item) => Number(item.text.split(" ")[1]));
  assert.deepEqual(texts, [...Array(150).keys()]);
  const found = await one.api.search({ text: "CAFE\u0301", peer: null, limit: 10 });
  assert.deepEqual(found.map(({ item }) => item.text.split(" ")[1]), ["100", "50", "0"]);
  assert.equal((await one.api.search({ text: "caf", peer: BOB, limit: 2 })).length, 2);
  assert.deepEqual(await one.api.search({ text: " ", peer: null, limit: 2 }), []);
  await lockedAgain(one);
});

test("a second tab waits until the profile is taken over, and the first can store nothing more", async () => {
  const locks = fakeLocks();
  const [one, two] = [tab({ locks }), tab({ locks })];
  await created(one, "Alice");
  await begin(two);
  await two.api.unlock({ passphrase: "secret words", stay: false });
  assert.deepEqual(two.stage(), { at: "elsewhere" });
  await one.api.add({ who: BOB, name: "Bob" });
  await two.api.takeOver();
  assert.deepEqual(two.stage(), { at: "open" });
  await until("the first tab gives way", () => one.stage()?.at === "elsewhere");
  assert.equal(await fault(one.api.add({ who: BOB, name: "Robert" })), "usage");
  assert.equal((await conversation(two, BOB))?.name, "Bob");
  await one.api.takeOver();
  await until("the second tab gives way", () => two.stage()?.at === "elsewhere");
  assert.equal((await conversation(one, BOB))?.name, "Bob");
  await lockedAgain(one);
});

test("even without locks, whoever has opened the profile last is the only one who changes it", async () => {
  const [one, two] = [tab(), tab()];
  await created(one, "Alice");
  await begin(two);
  await two.api.unlock({ passphrase: "secret words", stay: false });
  assert.deepEqual(two.stage(), { at: "open" });
  await assert.rejects(one.api.add({ who: BOB, name: "Bob" }));
  await until("the first tab gives way", () => one.stage()?.at === "elsewhere");
  assert.equal(await conversation(two, BOB), undefined);
  await lockedAgain(two);
});

test("keys that the browser has deleted are missed, and a new identity is begun knowingly", async () => {
  const one = tab();
  await created(one, "Alice");
  const { userId } = await one.api.me();
  await lockedAgain(one);
  await clearDisk(["phantom"]);
  const again = tab();
  assert.deepEqual(await begin(again), { at: "evicted", userId });
  assert.deepEqual(await begin(tab()), { at: "evicted", userId });
  await clearDisk();
  const all = tab();
  assert.deepEqual(await begin(all, userId), { at: "evicted", userId });
  assert.equal(await fault(all.api.create({ name: "Alice", passphrase: "secret words", stay: false })), "usage");
  await all.api.forget();
  assert.deepEqual(all.stage(), { at: "first-run" });
  await all.api.create({ name: "Alice", passphrase: "secret words", stay: false });
  assert.notEqual((await all.api.me()).userId, userId);
  await lockedAgain(all);
});

test("a backup brings everything back but what burns and expires", async () => {
  const one = tab();
  await created(one, "Alice");
  const me = await one.api.me();
  await one.api.add({ who: BOB, name: "Bob" });
  await one.api.send({ peer: BOB, text: "plain", burn: false, expiresIn: null });
  await one.api.send({ peer: BOB, text: "burns", burn: true, expiresIn: null });
  await one.api.send({ peer: BOB, text: "expires", burn: false, expiresIn: 60_000 });
  await one.api.draft({ peer: BOB, text: "not finished" });
  await one.api.lasting({ peer: BOB, expiresIn: 3_600_000 });
  await one.api.settings({ typing: false });
  one.updates.length = 0;
  assert.equal(await fault(one.api.backup({ passphrase: "a" })), "usage");
  const file = await one.api.backup({ passphrase: "of the file" });
  assert.ok(((await one.api.me()).backupAt ?? 0) > 0);
  assert.ok(one.updates.some((update) => update.kind === "me" && update.me.backupAt !== null));
  assert.deepEqual(one.stage(), { at: "open" });
  const given = { file, filePassphrase: "of the file", passphrase: "new words", name: "Alice", stay: false };
  assert.equal(await fault(one.api.restore(given)), "usage");
  await lockedAgain(one);
  await clearDisk();
  const again = tab();
  await begin(again);
  assert.equal(await fault(again.api.restore({ ...given, passphrase: "new" })), "usage");
  assert.equal(await fault(again.api.restore({ ...given, filePassphrase: "another" })), "wrong-passphrase");
  assert.equal(await fault(again.api.restore({ ...given, file: file.slice(7) })), "damaged");
  assert.deepEqual(again.stage(), { at: "first-run" });
  await again.api.restore({ ...given, name: "" });
  const { userId, name } = await again.api.me();
  assert.deepEqual([userId, name], [me.userId, "Alice"], "the name is that of the file");
  const [talk] = await again.api.conversations();
  assert.deepEqual([talk?.draft, talk?.expiresIn], ["not finished", 3_600_000]);
  assert.deepEqual(await again.api.settings({}), { readReceipts: true, typing: false, presence: true });
  const found = (await items(again, BOB)).map((item) => [item.kind, item.text, item.mark]);
  assert.deepEqual(found, [["text", "plain", "waiting"], ["gone", "", "failed"], ["gone", "", "failed"]]);
  await lockedAgain(again);
});

test("a disk that is full is said, loses nothing, and is said to be no more", async () => {
  const one = tab();
  await created(one, "Alice");
  await one.api.add({ who: BOB, name: "Bob" });
  await one.api.send({ peer: BOB, text: "kept", burn: false, expiresIn: null });
  const { put } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.put = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  try {
    assert.equal(await fault(one.api.send({ peer: BOB, text: "lost", burn: false, expiresIn: null })), "storage-full");
    assert.ok(one.updates.some((update) => update.kind === "storage" && update.isFull));
  } finally {
    IDBObjectStore.prototype.put = put;
  }
  await until("it can be stored again", async () => {
    try {
      return await one.api.send({ peer: BOB, text: "later", burn: false, expiresIn: null });
    } catch {
      return null;
    }
  });
  assert.deepEqual((await items(one, BOB)).map((item) => item.text), ["kept", "later"]);
  await until("it is said", () => one.updates.some((update) => update.kind === "storage" && !update.isFull));
  await lockedAgain(one);
});

test("contacts: names, blocks, and removal with what was said", async () => {
  const one = tab();
  await created(one, "Alice");
  await one.api.add({ who: writtenId(BOB), name: "Bob" });
  assert.equal(await fault(one.api.add({ who: someId(67), name: "B\u043eb" })), "usage");
  await one.api.renameContact({ peer: BOB, name: "Robert" });
  assert.equal((await conversation(one, BOB))?.name, "Robert");
  assert.equal(await one.api.safetyNumber({ peer: BOB }), null);
  await one.api.send({ peer: BOB, text: "hello", burn: false, expiresIn: null });
  assert.equal((await conversation(one, BOB))?.notice?.code, "no-key");
  await one.api.block({ peer: BOB, isBlocked: true });
  assert.equal((await conversation(one, BOB))?.isBlocked, true);
  assert.equal(await fault(one.api.send({ peer: BOB, text: "no", burn: false, expiresIn: null })), "usage");
  const [failed] = await items(one, BOB);
  assert.deepEqual([failed?.mark, (failed?.fault ?? "") !== ""], ["failed", true]);
  await one.api.block({ peer: BOB, isBlocked: false });
  await one.api.sendAgain({ peer: BOB, id: failed?.id ?? "" });
  assert.deepEqual((await items(one, BOB)).map((item) => [item.mark, item.position]), [["waiting", failed?.position]]);
  await one.api.removeContact({ peer: BOB, history: false });
  const stranger = await conversation(one, BOB);
  assert.deepEqual([stranger?.name, stranger?.isRequest, (await items(one, BOB)).length], ["", false, 1]);
  one.updates.length = 0;
  await one.api.removeContact({ peer: BOB, history: true });
  const removed = (): boolean => one.updates.some((one) => one.kind === "conversations" && one.removed.includes(BOB));
  await until("it is said", removed);
  assert.equal(await conversation(one, BOB), undefined);
  assert.deepEqual(await items(one, BOB), []);
  await lockedAgain(one);
});

/** Change each record of a kind on the disk. */
async function damage(kind: string): Promise<void> {
  const db = await openDB("phantom");
  const tx = db.transaction("records", "readwrite");
  for (const record of (await tx.store.getAll()) as { kind: string; name: string; value: Uint8Array }[]) {
    if (record.kind === kind) {
      record.value[20] = (record.value[20] ?? 0) ^ 1;
      await tx.store.put(record, [record.kind, record.name]);
    }
  }
  await tx.done;
  db.close();
}

test("a damaged page is made again of the messages, and damaged settings tell nobody anything", async () => {
  const one = tab();
  await created(one, "Alice");
  await one.api.add({ who: BOB, name: "Bob" });
  for (const text of ["one", "two", "three"]) {
    await one.api.send({ peer: BOB, text, burn: false, expiresIn: null });
  }
  await one.api.settings({ typing: true, presence: false });
  await lockedAgain(one);
  await damage("page");
  await damage("settings");
  const again = tab();
  await begin(again);
  await again.api.unlock({ passphrase: "secret words", stay: false });
  assert.deepEqual((await items(again, BOB)).map((item) => item.text), ["one", "two", "three"]);
  assert.deepEqual(await again.api.settings({}), { readReceipts: false, typing: false, presence: false });
  assert.ok(again.updates.some((update) => update.kind === "warning" && update.notice.code === "damaged"));
});

test("an identity that cannot be read is as good as deleted: a backup is asked for", async () => {
  const one = tab();
  await created(one, "Alice");
  const { userId } = await one.api.me();
  const file = await one.api.backup({ passphrase: "of the file" });
  await lockedAgain(one);
  await damage("identity");
  const again = tab();
  await begin(again);
  await again.api.unlock({ passphrase: "secret words", stay: false });
  assert.deepEqual(again.stage(), { at: "evicted", userId });
  await again.api.restore({ file, filePassphrase: "of the file", passphrase: "new words", name: "Alice", stay: false });
  assert.equal((await again.api.me()).userId, userId);
});

test("nothing is told or answered before it is stored, and nothing of it if it is not", async () => {
  const one = tab();
  await created(one, "Alice");
  await one.api.add({ who: BOB, name: "Bob" });
  const { commit } = Storage.prototype;
  let open = (): void => undefined;
  let isGood = true;
  const gate = (): Promise<void> => new Promise((resolve) => (open = resolve));
  let waits = gate();
  Storage.prototype.commit = async function (this: Storage, batch) {
    await waits;
    if (!isGood) {
      throw new VaultFull("full");
    }
    await commit.call(this, batch);
  };
  try {
    one.updates.length = 0;
    let answers = 0;
    const sent = one.api.send({ peer: BOB, text: "first", burn: false, expiresIn: null }).then(() => (answers += 1));
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual([answers, one.updates.filter((update) => update.kind === "items")], [0, []]);
    open();
    await sent;
    await until("it is told", () => one.updates.some((update) => update.kind === "items"));
    one.updates.length = 0;
    waits = gate();
    isGood = false;
    const failed = fault(one.api.send({ peer: BOB, text: "second", burn: false, expiresIn: null }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    open();
    assert.equal(await failed, "storage-full");
  } finally {
    Storage.prototype.commit = commit;
    open();
  }
  const texts = await until("it can be stored again", async () => items(one, BOB).catch(() => null));
  assert.deepEqual(texts.map((item) => item.text), ["first"]);
  assert.deepEqual(one.updates.filter((update) => update.kind === "items"), []);
});

test("an insecure page, and a profile of a newer version, are not touched", async () => {
  const one = tab();
  assert.deepEqual(await one.api.begin({ relay: "ws://10.0.0.1/ws", page: PAGE, isSecure: false }), { at: "insecure" });
  const request = indexedDB.open("phantom", 9);
  const db = await new Promise<IDBDatabase>((resolve) => {
    request.onsuccess = () => resolve(request.result);
  });
  db.close();
  assert.deepEqual(await begin(tab()), { at: "newer-profile" });
});

test("two tabs that begin at once make one profile, and the second one destroys nothing", async () => {
  const [one, other] = [tab(), tab()];
  await begin(one);
  await begin(other);
  await one.api.create({ name: "Alice", passphrase: "secret words", stay: false });
  const { userId } = await one.api.me();
  assert.equal(await fault(other.api.create({ name: "Bob", passphrase: "other words", stay: false })), "internal");
  assert.deepEqual(other.stage(), { at: "first-run" });
  await one.api.send({ peer: BOB, text: "still mine", burn: false, expiresIn: null });
  await lockedAgain(one);
  const again = tab();
  assert.deepEqual(await begin(again), { at: "locked", name: "Alice", userId });
  await again.api.unlock({ passphrase: "secret words", stay: false });
  assert.deepEqual((await items(again, BOB)).map((item) => item.text), ["still mine"]);
  await lockedAgain(again);
});

test("a profile that was locked is locked in every tab: who takes it over needs the passphrase again", async () => {
  const locks = fakeLocks();
  const [one, other] = [tab({ locks }), tab({ locks })];
  await created(one, "Alice");
  await begin(other);
  await other.api.unlock({ passphrase: "secret words", stay: false });
  assert.deepEqual(other.stage(), { at: "elsewhere" });
  await lockedAgain(one);
  await other.api.takeOver();
  assert.equal(other.stage()?.at, "locked");
  assert.equal(await fault(other.api.conversations()), "usage");
  await other.api.unlock({ passphrase: "secret words", stay: false });
  assert.deepEqual(other.stage(), { at: "open" });
  await lockedAgain(other);
});

test("a profile that is taken over while a backup is made is not open here again", async () => {
  const locks = fakeLocks();
  const [one, other] = [tab({ locks }), tab({ locks })];
  await created(one, "Alice");
  await begin(other);
  await other.api.unlock({ passphrase: "secret words", stay: false });
  const { commit } = Storage.prototype;
  Storage.prototype.commit = async function (batch) {
    Storage.prototype.commit = commit;
    await other.api.takeOver();
    return commit.call(this, batch);
  };
  await assert.rejects(one.api.backup({ passphrase: "words of the file" }));
  await until("the first tab gives way", () => one.stage()?.at === "elsewhere");
  await one.api.takeOver();
  assert.deepEqual(one.stage(), { at: "open" });
  await lockedAgain(one);
});

async function deleting(deleteMs?: number): Promise<{ one: Tab; relay: FakeRelay; deletion: Promise<string> }> {
  const relay = new FakeRelay();
  const one = tab({ dial: relay.dial, ...(deleteMs === undefined ? {} : { deleteMs }) });
  await created(one, "Alice");
  await until("online", async () => (await one.api.connection()).state === "online");
  const deletion = fault(one.api.deleteAccount());
  deletion.catch(() => undefined);
  await until("it is asked for", () => relay.heard.some(({ type }) => type === "ACCOUNT_DELETE"));
  return { one, relay, deletion };
}

test("an account is deleted whenever the relay confirms it, and nothing stays here", async () => {
  const { one, relay, deletion } = await deleting(20);
  assert.equal(await deletion, "offline");
  assert.deepEqual(one.stage(), { at: "open" });
  relay.end.closed(1000, "", true);
  await until("it is deleted", () => one.stage()?.at === "deleted");
  assert.equal(relay.ends.length, 1);
  assert.deepEqual(await begin(tab()), { at: "first-run" });
});

for (const how of ["ends", "refuses"] as const) {
  const does = how === "ends" ? "does not confirm" : "refuses";
  test(`a deletion that the relay ${does} is said, and the client goes on`, async () => {
    const { one, relay, deletion } = await deleting();
    const asked = relay.heard.find(({ type }) => type === "ACCOUNT_DELETE");
    if (how === "ends") {
      relay.end.closed(1001, "", true);
    } else {
      relay.say("ERROR", { code: "RATE_LIMIT", message: "too many" }, asked?.id);
    }
    assert.equal(await deletion, "offline");
    const codes = one.updates.flatMap((update) => (update.kind === "warning" ? [update.notice.code] : []));
    assert.deepEqual(codes, ["not-deleted"]);
    if (how === "refuses") {
      relay.end.closed(1000, "", true); // of something else: it confirms nothing any more
    }
    await until("it connects again", () => relay.ends.length === 2);
    await until("online", async () => (await one.api.connection()).state === "online");
    assert.deepEqual(one.stage(), { at: "open" });
    await lockedAgain(one);
  });
}

test("an identity that cannot be read any more, while the page is open, leads to a backup", async () => {
  const one = tab();
  await created(one, "Alice");
  const { userId } = await one.api.me();
  const file = await one.api.backup({ passphrase: "of the file" });
  await damage("identity");
  const { commit } = Storage.prototype;
  Storage.prototype.commit = () => {
    Storage.prototype.commit = commit;
    return Promise.reject(new VaultFull("full")); // whatever makes the client begin anew
  };
  assert.equal(await fault(one.api.add({ who: BOB, name: "Bob" })), "storage-full");
  await until("a backup is asked for", () => one.stage()?.at === "evicted");
  assert.deepEqual(one.stage(), { at: "evicted", userId });
  assert.deepEqual(one.updates.filter((update) => update.kind === "warning" && update.notice.code === "internal"), []);
  await one.api.restore({ file, filePassphrase: "of the file", passphrase: "new words", name: "Alice", stay: false });
  assert.equal((await one.api.me()).userId, userId);
  await lockedAgain(one);
});
