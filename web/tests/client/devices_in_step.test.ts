/** What own devices tell each other: people, settings, and what was said before one was linked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { contentOf, exportContent, putContent, readFile } from "../../core/client/backup.ts";
import { ConversationIndex } from "../../core/client/conversation_index.ts";
import { toHex } from "../../core/bytes.ts";
import { MAX_CHUNK_BYTES, MAX_INFLATED_BYTES, chunkBefore, readChunk } from "../../core/client/devices/chunks.ts";
import { newVault } from "../../core/client/vault.ts";
import { InvalidMessage } from "../../core/crypto/errors.ts";
import { inflate } from "../../core/inflate.ts";
import { type Packed, pack } from "../../core/msgpack.ts";
import { encodeBase64, fromBase64 } from "../../core/wire/base64.ts";
import { Messenger } from "../../core/client/messenger.ts";
import * as later from "../../worker/later.ts";
import * as records from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { begin, devicesOf, family, link, readAll, said, step } from "./family.ts";
import { random } from "./support.ts";
import { type Person, Town } from "./town.ts";

function contactOf(person: Person, userId: string): readonly [string, string, boolean] {
  const { blocked, name, trust } = person.messenger.contacts.of(userId);
  return [name, trust, blocked];
}

test("names, marks, blocks and removals are the same on all devices, whoever makes them", () => {
  const [town, phone, laptop, bob] = family();
  const carol = town.person();
  phone.messenger.contacts.add("Carol", carol.id);
  town.pass(3_000);
  assert.deepEqual(contactOf(laptop, carol.id), ["Carol", "unverified", false]);
  laptop.messenger.contacts.add("Carola", carol.id);
  laptop.messenger.contacts.setTrust(bob.id, "verified");
  town.pass(3_000);
  assert.deepEqual(contactOf(phone, carol.id), ["Carola", "unverified", false]);
  assert.deepEqual(contactOf(phone, bob.id), ["Bob", "verified", false]);
  laptop.messenger.block(carol.id);
  town.pass(3_000);
  assert.equal(contactOf(phone, carol.id)[2], true);
  laptop.messenger.unblock(carol.id);
  phone.messenger.contacts.remove(bob.id, { history: false });
  town.pass(3_000);
  for (const one of [phone, laptop]) {
    assert.equal(contactOf(one, carol.id)[2], false);
    assert.equal(one.messenger.stores.book.isKnown(bob.id), false);
  }
});

/** What somebody's devices are called on one of them. */
function called(person: Person): readonly (readonly [string, string])[] {
  return devicesOf(person).everybody().map(({ name, userId }) => [userId, name] as const);
}

test("all devices call each other as the first one does", () => {
  const [town, phone, laptop] = family();
  const tablet = town.person();
  link(town, phone, tablet);
  for (const one of [phone, laptop, tablet]) {
    assert.deepEqual(called(one), [[phone.id, ""], [laptop.id, "Laptop"], [tablet.id, "Laptop"]]);
  }
});

test("names of devices are taken from the first one alone, and for those on its list", () => {
  const [town, phone, laptop, bob] = family();
  const say = (from: Person, to: readonly string[], id: string, name: string): void => {
    devicesOf(from).desk.say(to, { kind: "sync-devices", names: [{ id: fromBase64(id), name }] });
    from.messenger.devicesChanged();
    town.pass(3_000);
  };
  say(laptop, [phone.id], laptop.id, "wrong");
  say(bob, [phone.id, laptop.id], laptop.id, "wrong");
  say(phone, [laptop.id], bob.id, "Bob's");
  for (const one of [phone, laptop]) assert.deepEqual(called(one), [[phone.id, ""], [laptop.id, "Laptop"]]);
  assert.equal(laptop.messenger.stores.devices?.names().has(bob.id), false);
  say(phone, [laptop.id], laptop.id, "wrong");
  assert.equal(called(laptop)[1]?.[1], "wrong", "the control");
});

/** What somebody has told the relay of these. */
function blocksOf(person: Person, ...others: readonly Person[]): unknown[] {
  const frames = person.sent.filter(({ type }) => type === "BLOCK").map(({ payload }) => payload);
  return others.map(({ id }) => frames.filter(({ userId }) => userId === id).map(({ blocked }) => blocked));
}

test("all devices of somebody are blocked at the relay, and unblocked; of one that was removed it forgets all", () => {
  const [town, phone, laptop, bob] = family();
  bob.messenger.block(phone.id);
  town.pass(3_000);
  assert.deepEqual(blocksOf(bob, phone, laptop), [[true], [true]]);
  bob.messenger.unblock(phone.id);
  town.pass(3_000);
  assert.deepEqual(blocksOf(bob, phone, laptop), [[true, false], [true, false]]);
  bob.sent.length = 0;
  devicesOf(phone).desk.remove(laptop.id);
  phone.messenger.devicesChanged();
  town.pass(5_000);
  assert.deepEqual(blocksOf(bob, phone, laptop), [[], [true, false]]);
  assert.deepEqual(blocksOf(phone, laptop), [[true, false]]);
  bob.sent.length = 0;
  bob.messenger.contacts.remove(phone.id, { history: false });
  town.pass(3_000);
  assert.deepEqual(blocksOf(bob, phone, laptop), [[true, false], []]);
});

test("of two changes the later one counts, on both devices", () => {
  const [town, phone, laptop, bob] = family();
  for (const one of [phone, laptop]) one.disconnect();
  phone.messenger.contacts.add("Robert", bob.id);
  town.clock.wall += 10;
  laptop.messenger.contacts.add("Bobby", bob.id);
  for (const one of [phone, laptop]) one.connect();
  town.pass(5_000);
  assert.deepEqual([phone, laptop].map((one) => contactOf(one, bob.id)[0]), ["Bobby", "Bobby"]);
});

test("settings are the same on all devices; those that say less count if both are of one time", () => {
  const [town, phone, laptop] = family();
  laptop.messenger.changeSettings({ readReceipts: false });
  town.pass(3_000);
  assert.equal(phone.messenger.presence.settings.readReceipts, false);
  for (const one of [phone, laptop]) one.disconnect();
  phone.messenger.changeSettings({ readReceipts: true, typing: false });
  laptop.messenger.changeSettings({ readReceipts: true });
  for (const one of [phone, laptop]) one.connect();
  town.pass(5_000);
  for (const one of [phone, laptop]) {
    assert.deepEqual(one.messenger.presence.settings, { readReceipts: true, typing: false, presence: true });
  }
});

test("what becomes of a message on another device before it has come here holds for it", () => {
  const [town, phone, laptop, bob] = family();
  const { stores } = laptop.messenger;
  const withoutThoseOf = ({ id }: Person, action: () => void): void => {
    laptop.tamper = (frame) => (frame.payload["senderId"] === id ? [] : [frame]);
    action();
    town.pass(10_000);
    laptop.tamper = (frame) => [frame];
    laptop.disconnect();
    laptop.connect();
    town.pass(5_000);
  };
  withoutThoseOf(bob, () => {
    bob.messenger.sendText(phone.id, "burns", { burn: true });
    bob.messenger.sendText(phone.id, "stays");
    town.pass(5_000);
    readAll(phone, bob);
  });
  assert.deepEqual(said(laptop, bob).slice(-2).map(([, text]) => text), [null, "stays"]);
  assert.equal(stores.inbox.unread(bob.id), 0);
  withoutThoseOf(phone, () => {
    phone.messenger.sendText(bob.id, "from the phone");
    town.pass(5_000);
    readAll(bob, phone);
  });
  const [last] = [...stores.history.newest(bob.id)];
  assert.equal(last?.kind === "sent" && last.record.state, DeliveryState.READ);
  // What was said before it was linked never comes.
  assert.deepEqual([records.EARLY_READ, records.EARLY_SENT].map((kind) => laptop.vault.count(kind)), [1, 1]);
  // The control: what comes late, and was not read elsewhere, is unread.
  withoutThoseOf(bob, () => void bob.messenger.sendText(phone.id, "unread"));
  assert.equal(stores.inbox.unread(bob.id), 1);
});

test("for how long a linked device was silent is kept, so it says that it is there in the end", () => {
  const [town, phone, laptop] = family();
  const silent = (): number => laptop.vault.find(records.DEVICE, laptop.id)?.silent ?? 0;
  const heardAt = (): number => devicesOf(phone).everybody()[1]?.heardAt ?? 0;
  const before = heardAt();
  laptop.beginAnew();
  town.pass(130_000);
  assert.ok(silent() >= 60_000);
  assert.equal(heardAt(), before, "the control: it says nothing else");
  const record = records.DeviceRecord.make({ userId: laptop.id, silent: 7 * 86_400_000 - 30_000 });
  laptop.vault.transaction((tx) => tx.put(records.DEVICE, laptop.id, record));
  laptop.beginAnew();
  town.pass(130_000);
  assert.ok(heardAt() > before);
  assert.ok(silent() < 130_000);
});

test("a device that a list could not bring in any more was not removed by it", () => {
  const town = new Town();
  const [phone] = town.friends();
  const laptop = town.person();
  begin(town, phone, laptop);
  assert.ok(devicesOf(phone).linking.type(step(laptop).digits));
  devicesOf(laptop).linking.agree();
  laptop.messenger.devicesChanged();
  // What links it comes after half a year by its clock.
  laptop.tamper = (frame) => {
    if (frame.type === "MESSAGE" && phone.isOnline) {
      phone.disconnect();
      town.clock.wall += 180 * 86_400_000;
    }
    return [frame];
  };
  phone.messenger.devicesChanged();
  town.pass(5_000);
  assert.equal(laptop.messenger.person, phone.id);
  assert.equal(laptop.messenger.stores.devices?.own?.usable.length, 1, "the control");
  assert.equal(laptop.messenger.stores.devices?.isRemoved, false);
});

test("a device that was closed after its user had agreed is linked all the same", () => {
  const town = new Town();
  const [phone, bob] = town.friends();
  const laptop = town.person();
  begin(town, phone, laptop);
  const { digits } = step(laptop);
  devicesOf(laptop).linking.agree();
  laptop.messenger.devicesChanged();
  town.settle();
  laptop.disconnect();
  assert.ok(devicesOf(phone).linking.type(digits));
  phone.messenger.devicesChanged();
  town.pass(400_000);
  laptop.beginAnew();
  town.pass(5_000);
  assert.equal(laptop.messenger.person, phone.id);
  assert.equal(laptop.messenger.contacts.find("Bob").userId, bob.id);
});

// --- history --------------------------------------------------------------------------------------

/** The same, short enough to be printed. */
function shortly(lines: readonly (readonly [boolean, string | null])[]): readonly string[] {
  return lines.map(([isMine, text]) => `${isMine ? ">" : "<"} ${(text ?? "-").slice(0, 9)}`);
}

/** A text of which little can be compressed. */
function longText(turn: number): string {
  return `text ${turn} ${encodeBase64(random(900))}`;
}

/** Alice's phone and Bob, who have said so much, and a laptop that is linked then. */
function withHistory(count: number): readonly [Town, Person, Person, Person] {
  const town = new Town();
  const [phone, bob] = town.friends();
  for (let turn = 0; turn < count; turn += 1) {
    town.clock.wall += 1;
    (turn % 2 === 0 ? phone : bob).messenger.sendText((turn % 2 === 0 ? bob : phone).id, longText(turn));
    if (turn % 20 === 19) town.pass(1_000);
  }
  phone.messenger.sendText(bob.id, "burns", { burn: true });
  town.pass(10_000);
  const laptop = town.person();
  link(town, phone, laptop, true);
  return [town, phone, laptop, bob];
}

test("what was said before goes over, in its order, and stands before what is said since", () => {
  const [town, phone, laptop, bob] = withHistory(200);
  bob.messenger.sendText(phone.id, "since");
  town.pass(120_000);
  assert.equal(devicesOf(laptop).historyIn.isComing, false);
  const expected = said(phone, bob).filter(([, text]) => text !== "burns");
  assert.equal(expected.length, 203);
  assert.deepEqual(shortly(said(laptop, bob)), shortly(expected));
  // It only shows: nothing is unread but what is new.
  assert.equal(laptop.messenger.stores.inbox.unread(bob.id), 1);
  const { stores } = laptop.messenger;
  const newest = [...stores.history.newest(bob.id)];
  assert.deepEqual(newest.map(({ position }) => position), newest.map(({ position }) => position).toSorted((a, b) => b - a));
  for (const [place, { position }] of newest.entries()) {
    assert.equal([...stores.history.newest(bob.id, { before: position })].length, newest.length - 1 - place);
  }
  // And it stays, in a new program and in a backup.
  const file = exportContent(contentOf(laptop.vault), "words", random, { cost: { memoryKib: 64, passes: 1, lanes: 1 } });
  const restored = newVault(new Uint8Array(32), random);
  new ConversationIndex(restored);
  restored.transaction((tx) => putContent(tx, readFile(file, "words"), null));
  const { clock } = town;
  const again = new Messenger(restored, { wall: () => clock.wall, monotonic: () => clock.monotonic, random, later });
  assert.equal(again.person, phone.id);
  const shown = [...again.stores.history.newest(bob.id)].reverse();
  const texts = shown.map((one) => [one.kind === "sent", one.kind === "unreadable" ? null : one.record.text] as const);
  assert.deepEqual(shortly(texts), shortly(expected));
  laptop.messenger.contacts.remove(bob.id, { history: true });
  assert.deepEqual(said(laptop, bob), []);
});

for (const history of [true, false]) {
  const what = history ? "erased while it is handed over does not come back" : "not erased goes on: the control";
  test(`a conversation that is ${what}`, () => {
    const [town, phone, laptop, bob] = withHistory(20);
    const carol = town.person();
    town.pass(60_000);
    const { historyIn } = devicesOf(laptop);
    const came = (from: number, next: number | null, texts: Packed): void => {
      const place = next === null ? null : Uint8Array.of(next);
      const data = deflateSync(pack(texts));
      historyIn.came({ kind: "history", from: Uint8Array.of(from), texts: data, next: place, left: 0 }, laptop.messenger.now());
    };
    laptop.vault.transaction((tx) => historyIn.begin(tx, Uint8Array.of(1), laptop.messenger.now()));
    laptop.messenger.contacts.remove(bob.id, { history });
    const kept = said(laptop, bob).length;
    const received = { text: "older", sent_at: 1, received_at: 1, burn: false, expires_at: null };
    const sent = { message_id: "3", peer: bob.id, text: "to him", made_at: 1, burn: false, state: 0 };
    came(1, 2, { received: [{ ...received, message_id: "1", sender: bob.id }, { ...received, message_id: "2", sender: carol.id }] });
    came(2, 3, { sent: [sent] });
    assert.equal(kept > 0, !history);
    assert.equal(said(laptop, bob).length, history ? 0 : kept + 2);
    assert.deepEqual(said(laptop, carol), [[false, "older"]]);
    const waits = [...laptop.messenger.stores.history.newest(bob.id)].filter((one) => one.kind === "sent" && one.record.state === 0);
    assert.deepEqual(waits, [], "what waits on the first device does not wait here");
    assert.equal(laptop.vault.hasKind(records.PAST_ERASED), history);
    came(3, null, {});
    assert.equal(laptop.vault.hasKind(records.PAST_ERASED), false);
    assert.ok(said(phone, bob).length > 0, "on the first device nothing was erased");
  });
}

test("without leave nothing goes over, whoever asks", () => {
  const town = new Town();
  const [phone, bob] = town.friends();
  phone.messenger.sendText(bob.id, "from before");
  town.pass(5_000);
  const laptop = town.person();
  link(town, phone, laptop, false);
  devicesOf(laptop).desk.say([phone.id], { kind: "history-ask", from: new Uint8Array(8).fill(1), chunks: 16 });
  laptop.messenger.devicesChanged();
  town.pass(10_000);
  assert.deepEqual(said(laptop, bob), []);
});

test("a chunk that is lost, or comes twice, does no harm", () => {
  const town = new Town();
  const [phone, bob] = town.friends();
  for (let turn = 0; turn < 100; turn += 1) phone.messenger.sendText(bob.id, longText(turn));
  town.pass(10_000);
  const laptop = town.person();
  let [count, lost] = [0, 0];
  laptop.tamper = (frame) => {
    if (frame.type !== "MESSAGE" || laptop.messenger.person !== phone.id) return [frame];
    count += 1;
    const isLost = count % 3 === 0;
    lost += isLost ? 1 : 0;
    return isLost ? [] : [frame, frame];
  };
  link(town, phone, laptop, true);
  town.pass(900_000);
  assert.ok(lost > 0, "the control: something was lost");
  assert.deepEqual(shortly(said(laptop, bob)), shortly(said(phone, bob)));
});

test("a chunk that bursts, or has more in it than texts that stay, is refused", () => {
  const map = (one: Packed): Uint8Array => deflateSync(pack(one));
  const received = { message_id: "m", sender: "s", text: "t", sent_at: 1, received_at: 1, burn: false, expires_at: null };
  assert.equal(readChunk(map({ received: [received] })).received.length, 1, "the control");
  for (const changed of [{ burn: true }, { text: null }, { expires_at: 5 }, { newer: Uint8Array.of(1) }, { sender: 1 }]) {
    assert.throws(() => readChunk(map({ received: [{ ...received, ...changed }] })), InvalidMessage);
  }
  assert.throws(() => readChunk(map({ sent: 5 })), InvalidMessage);
  assert.throws(() => readChunk(map([])), InvalidMessage);
  assert.throws(() => readChunk(new Uint8Array(10)), InvalidMessage);
  assert.throws(() => readChunk(deflateSync(new Uint8Array(MAX_INFLATED_BYTES + 1))), InvalidMessage);
});

/** All chunks of somebody's vault, and the texts in them. */
function chunksOf({ vault }: Person): readonly { readonly size: number; readonly plain: number; readonly ids: readonly string[] }[] {
  const found = [];
  for (let below: number | null = vault.lastPosition() + 1; below !== null; ) {
    const chunk = chunkBefore(vault, [], below);
    const { received, sent } = readChunk(chunk.data);
    const ids = [...received, ...sent].map(({ messageId }) => messageId);
    assert.equal(chunk.texts, ids.length);
    found.push({ size: chunk.data.length, plain: inflate(chunk.data, MAX_INFLATED_BYTES).length, ids });
    below = chunk.below;
  }
  return found;
}

test("chunks have all texts, each once, and none that is too long", () => {
  const [, phone] = withHistory(150);
  const chunks = chunksOf(phone);
  const found = chunks.flatMap(({ ids }) => ids);
  assert.ok(chunks.length > 2, `${chunks.length} chunks`);
  assert.ok(chunks.every(({ size }) => size <= MAX_CHUNK_BYTES));
  assert.equal(new Set(found).size, found.length);
  assert.equal(found.length, 152);
});

test("chunks of many short texts are full, and compressed to less than a third", () => {
  const phone = new Town().person();
  phone.vault.transaction((tx) => {
    for (let at = 0; at < 3_000; at += 1) {
      const messageId = crypto.randomUUID();
      const text = `${at}: ${toHex(random(20))}`;
      const given = { messageId, peer: "somebody", text, madeAt: at * 7_919, burn: false, state: DeliveryState.READ };
      tx.put(records.SENT, messageId, records.SentRecord.make({ ...given, expiresIn: null, expiresAt: null }));
    }
  });
  const chunks = chunksOf(phone);
  assert.equal(new Set(chunks.flatMap(({ ids }) => ids)).size, 3_000);
  const full = chunks.slice(0, -1);
  assert.ok(full.length > 2, `${full.length} chunks`);
  for (const { plain, size } of full) {
    assert.ok(size > 0.95 * MAX_CHUNK_BYTES && size <= MAX_CHUNK_BYTES, `${size} bytes`);
    assert.ok(plain > 3 * size, `${plain} in ${size} bytes`);
  }
});

test("one text that does not fit stays where it is, and those behind it go over", () => {
  const phone = new Town().person();
  const texts = ["before", encodeBase64(random(60_000)), "after"];
  phone.vault.transaction((tx) => {
    texts.forEach((text, at) => {
      const given = { messageId: `${at}`, peer: "somebody", text, madeAt: at, burn: false, state: DeliveryState.READ };
      tx.put(records.SENT, `${at}`, records.SentRecord.make({ ...given, expiresIn: null, expiresAt: null }));
    });
  });
  const chunks = chunksOf(phone);
  assert.deepEqual(chunks.flatMap(({ ids }) => ids), ["2", "0"]);
  assert.ok(chunks.every(({ size }) => size <= MAX_CHUNK_BYTES));
});
