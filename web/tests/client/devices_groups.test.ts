/** Groups on several devices: linked ones learn of them from the first one, and write in them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { toHex } from "../../core/bytes.ts";
import * as content2 from "../../core/client/content2.ts";
import { DEVICE_KINDS, fieldsOf } from "../../core/client/devices/kinds.ts";
import { UsageError } from "../../core/client/errors.ts";
import { GroupView } from "../../core/client/groups/view.ts";
import { SYNCED } from "../../core/client/records.ts";
import { InvalidMessage } from "../../core/crypto/errors.ts";
import { raw } from "../crypto/base.ts";
import { devicesOf, link } from "./family.ts";
import { groupOf, Mallory, Member } from "./members.ts";
import type { Town } from "./town.ts";

interface Case {
  readonly name: string;
  readonly encoded: string;
}

interface Vectors {
  readonly sender: string;
  readonly sender_key: string;
  readonly contents: readonly (Case & { readonly expect: { readonly kind: string } })[];
  readonly refused_contents: readonly Case[];
}

declare const PROJECT: string;

const FILE = join(PROJECT, "protocol", "vectors", "device-sync.json");
const vectors = JSON.parse(readFileSync(FILE, "utf8")) as Vectors;
const WRITER = { sender: raw(vectors.sender), senderKey: raw(vectors.sender_key) };
const ENDS = { ...WRITER, recipient: WRITER.sender, recipientKey: WRITER.senderKey };

/** Ada's phone and laptop, and Ben, who are in a group of Ada's that there was before the laptop. */
function people(): readonly [Town, Member, Member, Member, string] {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const laptop = new Member(town);
  link(town, ada.person, laptop.person);
  town.pass(5_000);
  return [town, ada, laptop, ben, group];
}

for (const { encoded, expect, name } of vectors.contents) {
  test(`what devices say to each other is read: ${name}`, () => {
    const read = content2.decode(raw(encoded), ENDS, DEVICE_KINDS);
    assert.ok(read.kind === "between");
    assert.equal(read.said.kind, expect.kind);
    if (read.said.kind === "sync-group" || read.said.kind === "sync-devices") {
      assert.equal(toHex(content2.encodeFields(read.said.kind, read.sentAt, WRITER, fieldsOf(read.said))), encoded);
    }
  });
}

for (const { encoded, name } of vectors.refused_contents) {
  test(`what devices say to each other is refused: ${name}`, () => {
    assert.throws(() => content2.decode(raw(encoded), ENDS, DEVICE_KINDS), InvalidMessage);
  });
}

test("a linked device knows the group, shows what is said in it, and writes as its person", () => {
  const [town, ada, laptop, ben, group] = people();
  assert.deepEqual([laptop.relation(group), laptop.head(group)], ["member", ada.head(group)]);
  ben.groups.sendText(group, "hello all");
  town.pass(5_000);
  laptop.groups.sendText(group, "from the laptop");
  town.pass(5_000);
  ada.groups.sendText(group, "from the phone");
  town.pass(5_000);
  for (const one of [ada, laptop, ben]) {
    assert.deepEqual(one.texts(group), ["hello all", "from the laptop", "from the phone"]);
  }
  assert.deepEqual(ben.events(group).filter((text) => text.includes("laptop")), []);
});

test("what another own device wrote shows when that was, however late it comes; what others wrote, when it came", () => {
  const [town, ada, laptop, ben, group] = people();
  for (const one of [laptop, ben]) one.person.disconnect();
  const writtenAt = town.clock.wall;
  laptop.groups.sendText(group, "from the laptop");
  ben.groups.sendText(group, "from Ben");
  town.pass(600_000);
  const cameAfter = town.clock.wall;
  for (const one of [laptop, ben]) one.person.connect();
  town.pass(5_000);
  const view = new GroupView(ada.person.messenger.stores, ada.groups, ada.id);
  const { items } = view.page(ada.groups.found(group), ada.person.messenger["now"](), { before: null, limit: 10 });
  const at = (text: string) => items.find((item) => item.text === text)?.at ?? 0;
  assert.equal(at("from the laptop"), writtenAt);
  assert.ok(at("from Ben") >= cameAfter);
});

test("who opens a link to a group is no request on a linked device: the first one answers; who writes is one", () => {
  const [town, , laptop] = people();
  const { requests } = laptop.person.messenger.stores;
  const [eve, mia] = [new Mallory(town), town.person()];
  eve.asksUnder(new Uint8Array(16), laptop, new Uint8Array(16));
  mia.messenger.sendText(laptop.person.id, "hello");
  town.pass(5_000);
  assert.deepEqual([eve, mia].map(({ id }) => requests.waiting(id)), [0, 1]);
});

test("changes reach linked devices, and are made on the first one alone", () => {
  const [town, ada, laptop, ben, group] = people();
  const own = laptop.groups;
  const acts = [() => own.rename(group, "We"), () => own.create("More", [ben.id]), () => own.leave(group)];
  for (const act of acts) assert.throws(act, UsageError);
  ada.groups.rename(group, "We");
  town.pass(5_000);
  assert.equal(laptop.groups.found(group).chain.state.name, "We");
  for (const one of [laptop, ben]) assert.equal(one.head(group), ada.head(group));
});

test("a group that is joined later comes to linked devices, with what was said before, and goes with the first one", () => {
  const [town, ada, laptop, ben] = people();
  const later = ben.groups.create("Later", [ada.id]);
  town.pass(5_000);
  ben.groups.sendText(later, "before anybody accepted");
  town.pass(5_000);
  assert.equal(laptop.relation(later), "");
  ada.groups.accept(later);
  town.pass(5_000);
  assert.equal(laptop.relation(later), "member");
  for (const one of [ada, laptop]) assert.deepEqual(one.texts(later), ["before anybody accepted"]);
  ada.groups.leave(later);
  town.pass(5_000);
  assert.equal(laptop.relation(later), "left");
});

test("what a group is is taken from the first device alone", () => {
  const [town, ada, laptop, , group] = people();
  const said = ada.groups.store.synced(group);
  assert.ok(said !== null);
  devicesOf(laptop.person).desk.say([ada.id], { ...said, relation: "removed" });
  town.pass(5_000);
  assert.equal(ada.relation(group), "member");
  // Nor is what is no state.
  devicesOf(ada.person).desk.say([laptop.id], { ...said, state: Uint8Array.of(1) });
  town.pass(5_000);
  assert.deepEqual([laptop.relation(group), laptop.head(group)], ["member", ada.head(group)]);
});

test("a person with one device says nothing of groups to devices", () => {
  const [town, members, group] = groupOf(2);
  town.pass(5_000);
  for (const { person } of members) {
    assert.equal(person.vault.hasKind(SYNCED), false);
  }
  assert.equal(members[0]?.relation(group), "member");
});
