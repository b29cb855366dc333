/** What was said in groups before a device was linked goes over to it, as what was said between two persons does. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { toHex } from "../../core/bytes.ts";
import { contentOf, exportContent, putContent, readFile } from "../../core/client/backup.ts";
import { ConversationIndex } from "../../core/client/conversation_index.ts";
import { MAX_CHUNK_BYTES, type Texts, chunkBefore, countOf, readChunk } from "../../core/client/devices/chunks.ts";
import { takePast } from "../../core/client/groups/handed_over.ts";
import { GROUP_PAST, GROUP_PAST_PAGE, GroupTextRecord } from "../../core/client/groups/records.ts";
import { withRecord } from "../../core/client/groups/store.ts";
import { GroupView } from "../../core/client/groups/view.ts";
import { ReceivedRecord, SentRecord } from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { newVault } from "../../core/client/vault.ts";
import { InvalidMessage } from "../../core/crypto/errors.ts";
import { type Packed, pack } from "../../core/msgpack.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import type { Item } from "../../api.ts";
import { raw } from "../crypto/base.ts";
import { devicesOf, link } from "./family.ts";
import { groupOf, Member } from "./members.ts";
import { random } from "./support.ts";
import type { Town } from "./town.ts";

interface Chunk {
  readonly name: string;
  readonly texts: string;
  readonly expect: unknown;
}

declare const PROJECT: string;

const FILE = join(PROJECT, "protocol", "vectors", "device-sync.json");
const vectors = JSON.parse(readFileSync(FILE, "utf8")) as Readonly<Record<"chunks" | "refused_chunks", readonly Chunk[]>>;
const DAY = 86_400_000;

/** What is in a chunk, as the vectors have it. */
function plain({ groups, received, sent }: Texts): unknown {
  const bytes = (_: string, value: unknown): unknown => (value instanceof Uint8Array ? toHex(value) : value);
  const ofGroups = [...groups].map(([id, { names, texts }]) => {
    return [id, { texts: texts.map((one) => GroupTextRecord.write(one)), names: Object.fromEntries(names) }];
  });
  const found = { sent: sent.map((one) => SentRecord.write(one)), received: received.map((one) => ReceivedRecord.write(one)) };
  const all = ofGroups.length === 0 ? found : { ...found, groups: Object.fromEntries(ofGroups) as unknown };
  return JSON.parse(JSON.stringify(all, bytes));
}

for (const { expect, name, texts } of vectors.chunks) {
  test(`a chunk is read: ${name}`, () => assert.deepEqual(plain(readChunk(raw(texts))), expect));
}

for (const { name, texts } of vectors.refused_chunks) {
  test(`a chunk is refused: ${name}`, () => assert.throws(() => readChunk(raw(texts)), InvalidMessage));
}

/** Ada's phone, Ben and Cleo, who are in a group of Ben's, and a laptop that is to be Ada's. */
function people(): readonly [Town, Member, Member, Member, Member, string] {
  const [town, members, group] = groupOf(3);
  const [ben, ada, cleo] = members as [Member, Member, Member];
  return [town, ada, new Member(town), ben, cleo, group];
}

/** So many texts, as if they had been said: of these writers in turn, '' for one's own. */
function fill({ groups, person }: Member, id: string, writers: readonly string[], count: number, bytes = 60): void {
  const group = groups.found(id);
  const begin = person.messenger.now().wall;
  person.vault.transaction((tx) => {
    for (let turn = 0; turn < count; turn += 1) {
      const sender = writers[turn % writers.length] ?? "";
      const at = begin + turn;
      const said = { messageId: crypto.randomUUID(), sender, text: `${turn} ${encodeBase64(random(bytes))}`, sentAt: at };
      const state = sender === "" ? DeliveryState.READ : 0;
      groups.store.putText(tx, group, GroupTextRecord.make({ ...said, keptAt: at, read: true, state }));
    }
  });
}

/** The items of a group, oldest first, fetched as somebody does who looks back: so many at a time. */
function itemsOf({ groups, id, person }: Member, group: string, limit = 50): readonly Item[] {
  const view = new GroupView(person.messenger.stores, groups, id);
  let items: readonly Item[] = [];
  for (let hasOlder = true; hasOlder; ) {
    const page = view.page(groups.found(group), person.messenger.now(), { before: items[0]?.position ?? null, limit });
    items = [...page.items, ...items];
    hasOlder = page.hasOlder;
  }
  return items;
}

/** What was said, oldest first: whose it is, and the beginning of the text. */
function shown(by: Member, group: string): readonly string[] {
  const texts = itemsOf(by, group).filter(({ kind }) => kind === "text");
  return texts.map(({ group: about, text }) => `${about?.author?.peer.slice(0, 6) ?? "own"} ${text.slice(0, 12)}`);
}

test("a new device shows what was said before, in its order, and before what is said since", () => {
  const [town, ada, laptop, ben, cleo, group] = people();
  fill(ada, group, [ben.id, "", cleo.id], 300);
  link(town, ada.person, laptop.person, true);
  ben.groups.sendText(group, "since");
  town.pass(60_000);
  assert.equal(devicesOf(laptop.person).historyIn.isComing, false);
  assert.equal(shown(laptop, group).length, 301);
  assert.deepEqual(shown(laptop, group), shown(ada, group));
  assert.equal(laptop.groups.store.unread(group), 1);
  const positions = itemsOf(laptop, group).map(({ position }) => position);
  assert.deepEqual(positions, positions.toSorted((one, other) => one - other));
  assert.equal(new Set(positions).size, positions.length);
  for (const limit of [7, 63, 64, 65, 999]) {
    assert.deepEqual(itemsOf(laptop, group, limit).map(({ id }) => id), itemsOf(laptop, group).map(({ id }) => id));
  }
  const view = new GroupView(laptop.person.messenger.stores, laptop.groups, laptop.id);
  const found = [...view.search(laptop.groups.found(group), (text) => text.startsWith("7 "), laptop.person.messenger.now())];
  assert.deepEqual(found.flatMap((item) => item?.text.slice(0, 2) ?? []), ["7 "]);
  const told = laptop.person.events.flatMap((event) => (event.kind === "linking" && event.texts !== undefined ? [event] : []));
  assert.deepEqual([told.at(-1)?.step, told.at(-1)?.texts], ["complete", 300 + textsOfTwo(ada)]);
});

/** How many texts Ada has exchanged with one person each. */
function textsOfTwo({ person }: Member): number {
  const { history, book } = person.messenger.stores;
  return book.everybody().reduce((count, { userId }) => count + [...history.newest(userId)].length, 0);
}

test("what was handed over stays in a new program, and in a backup; who erases the group erases it", () => {
  const [town, ada, laptop, ben, cleo, group] = people();
  fill(ada, group, [ben.id, "", cleo.id], 200);
  ada.groups.leave(group);
  town.pass(10_000);
  link(town, ada.person, laptop.person, true);
  town.pass(60_000);
  assert.equal(laptop.relation(group), "left");
  laptop.beginAnew();
  town.pass(5_000);
  assert.deepEqual(shown(laptop, group), shown(ada, group));
  const file = exportContent(contentOf(laptop.person.vault), "words", random, {
    cost: { memoryKib: 64, passes: 1, lanes: 1 },
  });
  const restored = newVault(new Uint8Array(32), random);
  new ConversationIndex(restored);
  restored.transaction((tx) => putContent(tx, readFile(file, "words"), null));
  const ofFile = readFile(file, "words").groups ?? [];
  assert.deepEqual(
    ofFile.flatMap(({ texts }) => texts.map(({ text }) => text?.slice(0, 12))),
    shown(ada, group).map((line) => line.slice(line.indexOf(" ") + 1)),
  );
  laptop.groups.forget(group);
  assert.equal(laptop.person.vault.hasKind(GROUP_PAST_PAGE), false);
  assert.equal(laptop.person.vault.hasKind(GROUP_PAST), false);
});

for (const history of [true, false]) {
  test(`a group that one was removed from comes ${history ? "with what was said in it" : "not without it: the control"}`, () => {
    const [town, ada, laptop, ben, cleo, group] = people();
    cleo.groups.callMe(group, "Cleo C.");
    ben.groups.sendText(group, "from Ben");
    town.pass(10_000);
    cleo.groups.sendText(group, "from Cleo");
    town.pass(10_000);
    ben.groups.remove(group, [cleo.id]);
    town.pass(10_000);
    ben.groups.remove(group, [ada.id]);
    town.pass(10_000);
    link(town, ada.person, laptop.person, history);
    town.pass(30_000);
    assert.equal(laptop.relation(group), history ? "removed" : "");
    if (!history) return;
    assert.deepEqual(shown(laptop, group), shown(ada, group));
    // Who is a member no more is called what they called themselves.
    const name = (by: Member): string => by.groups.found(group).record.names.get(cleo.id) ?? "";
    assert.deepEqual([name(ada), name(laptop)], ["Cleo C.", "Cleo C."]);
  });
}

for (const isIn of [true, false]) {
  for (const isKept of [true, false]) {
    test(`a name of then is there if its group, ${isIn ? "in which" : "where"} one is ${isIn ? "" : "no more, "}comes later${isKept ? "" : ", and only if it is kept: the control"}`, () => {
      const [town, ada, laptop, ben, cleo, group] = people();
      cleo.groups.callMe(group, "Cleo C.");
      ben.groups.sendText(group, "from Ben");
      town.pass(10_000);
      cleo.groups.sendText(group, "from Cleo");
      town.pass(10_000);
      ben.groups.remove(group, [cleo.id]);
      town.pass(10_000);
      if (!isIn) ada.groups.leave(group);
      town.pass(10_000);
      const { arrivals, store } = laptop.groups;
      const synced = arrivals.synced.bind(arrivals);
      const late: (() => void)[] = [];
      arrivals.synced = (_, said, now) => {
        late.push(() => laptop.person.vault.transaction((tx) => synced(tx, said, now)));
        return [];
      };
      link(town, ada.person, laptop.person, true);
      town.pass(30_000);
      assert.equal(laptop.relation(group), "");
      if (!isKept) store.past.names = () => new Map();
      for (const one of late) one();
      assert.equal(laptop.relation(group), isIn ? "member" : "left");
      assert.deepEqual(shown(laptop, group), shown(ada, group));
      assert.equal(laptop.groups.found(group).record.names.get(cleo.id), isKept ? "Cleo C." : undefined);
    });
  }
}

test("what expires stays where it is, and so does what was said in a group to which one is only invited", () => {
  const [town, ada, laptop, ben, , group] = people();
  ben.groups.sendText(group, "stays");
  town.pass(10_000);
  ben.groups.setTimer(group, DAY);
  town.pass(10_000);
  ben.groups.sendText(group, "expires");
  ada.groups.sendText(group, "expires, too");
  const cake = ben.groups.create("Cake", [ada.id]);
  town.pass(10_000);
  ben.groups.sendText(cake, "before she accepts");
  town.pass(10_000);
  assert.equal(shown(ada, group).length, 3);
  link(town, ada.person, laptop.person, true);
  town.pass(30_000);
  assert.deepEqual(shown(laptop, group).map((line) => line.split(" ")[1]), ["stays"]);
  assert.equal(laptop.relation(cake), "");
  const pages = [...laptop.person.vault.all(GROUP_PAST_PAGE)].flatMap(([, { texts }]) => texts);
  assert.deepEqual(pages.map(({ text }) => text), ["stays"]);
});

test("chunks that are lost, or come twice, and programs that die do no harm", () => {
  const [town, ada, laptop, ben, cleo, group] = people();
  fill(ada, group, [ben.id, "", cleo.id], 300, 900);
  let [count, lost] = [0, 0];
  laptop.person.tamper = (frame) => {
    if (frame.type !== "MESSAGE" || laptop.person.messenger.person !== ada.person.id) return [frame];
    count += 1;
    const isLost = count % 3 === 0;
    lost += isLost ? 1 : 0;
    return isLost ? [] : [frame, frame];
  };
  link(town, ada.person, laptop.person, true);
  for (let turn = 0; turn < 30; turn += 1) {
    town.pass(30_000);
    if (turn % 7 === 3) ada.beginAnew();
    if (turn % 5 === 2) laptop.beginAnew();
  }
  assert.ok(lost > 0, "the control: something was lost");
  assert.equal(devicesOf(laptop.person).historyIn.isComing, false);
  assert.equal(shown(laptop, group).length, 300);
  assert.deepEqual(shown(laptop, group), shown(ada, group));
});

test("a text that its writer sends as well shows once, whichever comes first", () => {
  const [town, ada, laptop, ben, cleo, group] = people();
  ben.groups.sendText(group, "from Ben");
  ada.groups.sendText(group, "from Ada");
  town.pass(10_000);
  link(town, ada.person, laptop.person, true);
  town.pass(30_000);
  const before = shown(laptop, group);
  const { store } = laptop.groups;
  const known = laptop.groups.found(group);
  const [own, theirs] = [true, false].map((isOwn) => {
    return [...store.past.newest(group)].map(([, text]) => text).find(({ sender }) => (sender === "") === isOwn);
  });
  assert.ok(own !== undefined && theirs !== undefined);
  const held = { group, at: 1, change: new Uint8Array(), state: new Uint8Array(), base: new Uint8Array() };
  const more = { content: new Uint8Array(), sentAt: 1, revision: 1, head: new Uint8Array(), n: 1, expiresIn: null, name: null };
  const again = (sender: string, messageId: string) => ({ ...held, ...more, sender, messageId, kind: "" });
  const { texts } = laptop.groups.arrivals;
  const { vault, messenger } = laptop.person;
  vault.transaction((tx) => {
    assert.deepEqual(texts.keep(tx, known, again(ben.id, theirs.messageId), messenger.now()), []);
    texts.keepOwn(tx, known, again(ada.id, own.messageId), messenger.now());
  });
  assert.deepEqual(shown(laptop, group), before);
  assert.equal(store.unread(group), 0);
  assert.ok(store.told().some(({ messageId }) => messageId === theirs.messageId), "it is reported");
  // The control, and the other way round: what has come by itself is left out of what is handed over.
  const other = crypto.randomUUID();
  vault.transaction((tx) => {
    assert.equal(texts.keep(tx, known, again(cleo.id, other), messenger.now()).length, 1);
  });
  assert.equal(store.unread(group), 1);
  const past = new Map([[group, { texts: [{ ...theirs, sender: cleo.id, messageId: other }], names: new Map<string, string>() }]]);
  assert.equal(vault.transaction((tx) => takePast(store, tx, past, ada.id)), 0);
});

test("what cannot be shown is left out, and a group that was erased meanwhile does not come back", () => {
  const [town, ada, laptop, ben, , group] = people();
  link(town, ada.person, laptop.person, true);
  town.pass(30_000);
  const { store } = laptop.groups;
  const good = { messageId: "1", sender: ben.id, text: "x", sentAt: 1, keptAt: 1, expiresAt: null, expiresIn: null, read: true, state: 0 };
  const take = (id: string, changed: Partial<typeof good> = {}): number => {
    const said = new Map([[id, { texts: [{ ...good, ...changed }], names: new Map([["nobody", "x"], [ada.id, "Me"]]) }]]);
    return laptop.person.vault.transaction((tx) => takePast(store, tx, said, ada.id));
  };
  assert.equal(take("no group"), 0);
  for (const changed of [{ sender: "nobody" }, { sentAt: -1 }, { keptAt: 253_370_764_800_001 }]) assert.equal(take(group, changed), 0);
  assert.equal(laptop.groups.found(group).record.names.size, 0);
  assert.equal(take(group, { sender: "" }), 1);
  assert.equal([...store.past.newest(group)][0]?.[1].state, DeliveryState.ACCEPTED);
  laptop.person.vault.transaction((tx) => {
    store.put(tx, withRecord(laptop.groups.found(group), { relation: "left" }));
    devicesOf(laptop.person).historyIn.begin(tx, Uint8Array.of(1), laptop.person.messenger.now());
  });
  laptop.groups.forget(group);
  assert.equal(take(group), 0);
  assert.equal(laptop.person.vault.hasKind(GROUP_PAST_PAGE), false);
});

test("a chunk with a text of a group that does not stay is refused", () => {
  const map = (one: Packed): Uint8Array => deflateSync(pack(one));
  const good = { message_id: "m", sender: "", text: "t", sent_at: 1, kept_at: 1, state: 1 };
  const chunk = (changed: Record<string, Packed>): Uint8Array => map({ groups: { g: { texts: [good, { ...good, ...changed }] } } });
  assert.equal(countOf(readChunk(chunk({}))), 2, "the control");
  for (const changed of [{ text: null }, { expires_at: 5 }, { expires_in: 5 }, { state: 99 }, { sender: 1 }]) {
    assert.throws(() => readChunk(chunk(changed)), InvalidMessage);
  }
  assert.throws(() => readChunk(map({ groups: [] })), InvalidMessage);
});

test("chunks have all texts, and are none too large, though many writers have long names", () => {
  const [, ada, , ben, , group] = people();
  const writers = Array.from({ length: 199 }, () => encodeBase64(random(32)));
  const names = new Map(writers.map((writer) => [writer, "\u{1f600}".repeat(64)]));
  ada.person.vault.transaction((tx) => ada.groups.store.put(tx, withRecord(ada.groups.found(group), { names })));
  fill(ada, group, [...writers, ben.id, ""], 1_500);
  fill(ada, group, [...writers, ""], 3_000, 0);
  const told = ada.person.messenger.stores.slot.is.synced?.told() ?? [];
  const found: string[] = [];
  for (let below: number | null = ada.person.vault.lastPosition() + 1; below !== null; ) {
    const chunk = chunkBefore(ada.person.vault, told, below);
    const read = readChunk(chunk.data); // refuses one that is too large
    assert.ok(chunk.data.length <= MAX_CHUNK_BYTES);
    assert.equal(chunk.texts, countOf(read));
    const said = read.groups.get(group);
    const there = new Set(said?.texts.map(({ sender }) => sender));
    assert.deepEqual([...(said?.names.keys() ?? [])].sort(), [...there].filter((one) => names.has(one)).sort());
    found.push(...(said?.texts ?? []).map(({ messageId }) => messageId));
    below = chunk.below;
  }
  assert.equal(found.length, 4_500);
  assert.equal(new Set(found).size, 4_500);
});
