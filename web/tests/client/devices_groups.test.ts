/** Groups on several devices: linked ones learn of them from the first one, and write in them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { compare, toHex } from "../../core/bytes.ts";
import * as content2 from "../../core/client/content2.ts";
import { DEVICE_KINDS, fieldsOf, MAX_NAMED, type SyncedGroup } from "../../core/client/devices/kinds.ts";
import { UsageError } from "../../core/client/errors.ts";
import { withRecord } from "../../core/client/groups/store.ts";
import { GroupView } from "../../core/client/groups/view.ts";
import { SYNCED, SyncedRecord } from "../../core/client/records.ts";
import { MAX_PADDED } from "../../core/crypto/body.ts";
import { InvalidMessage } from "../../core/crypto/errors.ts";
import { pad, TooLong } from "../../core/crypto/padding.ts";
import { fromBase64 } from "../../core/wire/base64.ts";
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
    const isWritten = ["sync-group", "sync-devices", "sync-read", "sync-muted"].includes(read.said.kind);
    if (isWritten) {
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

/** The same, with Cleo, whom Ada does not know and Ben has added; `before`: what Ada's program does otherwise. */
function withCleo(before = (_: Member): void => undefined): readonly [Town, Member, Member, Member, string] {
  const [town, members, group] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const [laptop, cleo] = [new Member(town), new Member(town)];
  ben.knows("Cleo", cleo);
  cleo.knows("Ben", ben);
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(5_000);
  ben.groups.add(group, [cleo.id], "member");
  town.pass(5_000);
  cleo.groups.accept(group, "Cleo C.");
  town.pass(5_000);
  before(ada);
  link(town, ada.person, laptop.person);
  town.pass(5_000);
  return [town, ada, laptop, cleo, group];
}

/** What Cleo says that she is called, to somebody. */
function said(by: Member, cleo: Member, group: string): string {
  const view = new GroupView(by.person.messenger.stores, by.groups, by.id);
  const { members } = view.shown(by.groups.found(group), by.person.messenger.now());
  return members.find(({ peer }) => peer === cleo.id)?.says ?? "";
}

/** What a first device tells of a group, with these names. */
function naming(first: Member, group: string, ...names: readonly (readonly [string, string])[]): SyncedGroup {
  const found = first.groups.store.synced(group);
  assert.ok(found !== null);
  const named = names.map(([person, name]) => ({ id: fromBase64(person), name }));
  return { ...found, names: named.sort((one, other) => compare(one.id, other.id)) };
}

/** A linked device knows no name any more. */
function forget({ groups, person }: Member, group: string): void {
  person.vault.transaction((tx) => groups.store.put(tx, withRecord(groups.found(group), { names: new Map() })));
}

test("a new device knows what members call themselves", () => {
  const [town, ada, laptop, cleo, group] = withCleo();
  assert.deepEqual([said(ada, cleo, group), said(laptop, cleo, group)], ["Cleo C.", "Cleo C."]);
  assert.ok(ada.person.sent.every((frame) => !JSON.stringify(frame).includes("Cleo")), "the relay was told");
  forget(laptop, group);
  forgetTold(ada, group);
  assert.equal(said(laptop, cleo, group), "");
  ada.groups.rename(group, "We");
  town.pass(5_000);
  assert.equal(said(laptop, cleo, group), "Cleo C.", "one of before learns it with the next change");
});

/** The first device begins anew as one of before, which remembers of no names that they were told. */
function forgetTold(first: Member, group: string): void {
  const userId = `group ${group}`;
  first.person.vault.transaction((tx) => tx.put(SYNCED, userId, SyncedRecord.make({ userId, at: 0 })));
  first.beginAnew();
}

for (const isKnown of [true, false]) {
  const all = isKnown ? [["Cleo C."], [], ["Cleopatra"], [], ["Cleopatra"]] : [["Cleo C."], ["Cleo C."], ["Cleopatra"], ["Cleopatra"], ["Cleopatra"]];
  const name = isKnown ? "to a new device and when they have changed" : "each time if it is not known what was told: the control";

  test(`names are told ${name}`, () => {
    const found: string[][] = [];
    const listen = ({ person }: Member): void => {
      const { desk } = devicesOf(person);
      const say = desk.say.bind(desk);
      desk.say = (to, said) => {
        if (said.kind === "sync-group") found.push((said.names ?? []).map(({ name }) => name));
        return say(to, said);
      };
    };
    const [town, ada, , cleo, group] = withCleo(listen);
    for (const [title, called] of [["Cake", "Cleo C."], ["Pie", "Cleopatra"], ["Bread", "Cleopatra"]] as const) {
      cleo.groups.callMe(group, called);
      town.pass(5_000);
      if (!isKnown) {
        forgetTold(ada, group);
        listen(ada);
      }
      ada.groups.rename(group, title);
      town.pass(5_000);
    }
    link(town, ada.person, new Member(town).person);
    assert.deepEqual(found, all);
  });
}

for (const isKept of [true, false]) {
  test(`a name that was withdrawn ${isKept ? "does not come" : "comes, if that is not kept: the control,"} back with what was told before`, () => {
    const [town, ada, laptop, cleo, group] = withCleo();
    ada.groups.sendText(group, "by which Cleo hears of the laptop");
    town.pass(5_000);
    cleo.groups.callMe(group, "");
    town.pass(5_000);
    assert.deepEqual([said(ada, cleo, group), said(laptop, cleo, group)], ["", ""]);
    if (!isKept) forget(laptop, group);
    devicesOf(ada.person).desk.say([laptop.id], naming(ada, group, [cleo.id, "Cleo C."]));
    town.pass(5_000);
    assert.equal(said(laptop, cleo, group), isKept ? "" : "Cleo C.");
    cleo.groups.callMe(group, "Cleo again");
    town.pass(5_000);
    assert.deepEqual([said(ada, cleo, group), said(laptop, cleo, group)], ["Cleo again", "Cleo again"]);
  });
}

for (const isTold of [true, false]) {
  test(`what one is called in a group ${isTold ? "is told to linked devices at once" : "is not, if nobody is told: the control"}`, () => {
    const [town, ada, laptop, ben, group] = people();
    if (!isTold) ada.groups.store.follow(() => undefined);
    ada.groups.callMe(group, "Adele");
    town.settle();
    assert.equal(ben.groups.found(group).record.names.get(ada.id), "Adele");
    assert.equal(laptop.groups.found(group).record.ownName, isTold ? "Adele" : "");
  });
}

test("the control: told by a first device of before, it waits until they say it again", () => {
  const [town, ada, laptop, cleo, group] = withCleo(({ groups: { store } }) => {
    const synced = store.synced.bind(store);
    store.synced = (id) => {
      const { names: _, ...others } = synced(id) ?? assert.fail();
      return others;
    };
  });
  assert.deepEqual([said(ada, cleo, group), said(laptop, cleo, group)], ["Cleo C.", ""]);
  ada.groups.sendText(group, "who is this?"); // by which Cleo hears of the laptop
  town.pass(5_000);
  cleo.groups.sendText(group, "me");
  town.pass(5_000);
  assert.equal(said(laptop, cleo, group), "Cleo C.");
});

test("a name that a device has heard itself stays; of whom it knows none, it takes the first device's", () => {
  const [town, ada, laptop, cleo, group] = withCleo();
  const { desk } = devicesOf(ada.person);
  desk.say([laptop.id], naming(ada, group, [cleo.id, "Another"]));
  town.pass(5_000);
  assert.equal(said(laptop, cleo, group), "Cleo C.");
  forget(laptop, group);
  desk.say([laptop.id], naming(ada, group, [cleo.id, "Another"]));
  town.pass(5_000);
  assert.equal(said(laptop, cleo, group), "Another");
});

test("names are taken of other members of the state alone, and made safe as if these had said them", () => {
  const [town, ada, laptop, cleo, group] = withCleo();
  const nobody = Buffer.from(Uint8Array.from({ length: 32 }, (_, place) => place)).toString("base64");
  const cases = [["~Cleo (C.)", "Cleo C."], ["ph1qqqqqqqqqqqqqqq", ""], ["Cleo (ph1qqqqqqqqq)", ""], ["a\nb", ""], [" ", ""]] as const;
  for (const [name, shown] of cases) {
    forget(laptop, group);
    const names = [[cleo.id, name], [ada.id, "Me"], [laptop.id, "Laptop"], [nobody, "Nobody"]] as const;
    devicesOf(ada.person).desk.say([laptop.id], naming(ada, group, ...names));
    town.pass(5_000);
    assert.deepEqual([...laptop.groups.found(group).record.names], [[cleo.id, shown]]);
  }
});

for (const wasMember of [true, false]) {
  test(`a name is taken of whoever was a member by what is told${wasMember ? "" : ", and of nobody else: the control"}`, () => {
    const [town, ada, laptop, cleo, group] = withCleo();
    const told = naming(ada, group, [cleo.id, "Cleo C."]);
    forget(laptop, group);
    ada.groups.remove(group, [cleo.id]);
    town.pass(5_000);
    assert.equal(laptop.groups.found(group).chain.state.members.has(cleo.id), false);
    const later = naming(ada, group, [cleo.id, "Cleo C."]);
    devicesOf(ada.person).desk.say([laptop.id], wasMember ? told : later);
    town.pass(5_000);
    assert.equal(laptop.groups.found(group).record.names.get(cleo.id), wasMember ? "Cleo C." : undefined);
  });
}

test("a content in which a name is none that may be is refused as a whole", () => {
  const [town, ada, laptop, cleo, group] = withCleo();
  const tell = (name: string): void => {
    devicesOf(ada.person).desk.say([laptop.id], { ...naming(ada, group, [cleo.id, name]), relation: "removed" });
    town.pass(5_000);
  };
  for (const name of ["", "x".repeat(65)]) {
    tell(name);
    assert.deepEqual([laptop.relation(group), said(laptop, cleo, group)], ["member", "Cleo C."]);
  }
  tell("x".repeat(64)); // the control
  assert.equal(laptop.relation(group), "removed");
});

test("names of those who have gone are not told, nor those of a group that was left", () => {
  const [town, ada, , cleo, group] = withCleo();
  assert.deepEqual(ada.groups.store.synced(group)?.names, [{ id: fromBase64(cleo.id), name: "Cleo C." }]);
  ada.groups.remove(group, [cleo.id]);
  town.pass(5_000);
  assert.equal(ada.groups.found(group).record.names.get(cleo.id), "Cleo C.");
  assert.equal(ada.groups.store.synced(group)?.names, undefined);
});

test("names are told in the order of ids", () => {
  const [, ada, , , group] = withCleo();
  const others = [...ada.groups.found(group).chain.state.members.keys()].filter((person) => person !== ada.id);
  for (const people of [others, [...others].reverse()]) {
    const names = new Map(people.map((person) => [person, "x"]));
    ada.person.vault.transaction((tx) => ada.groups.store.put(tx, withRecord(ada.groups.found(group), { names })));
    const ids = (ada.groups.store.synced(group)?.names ?? []).map(({ id }) => toHex(id));
    assert.equal(ids.length, 2);
    assert.deepEqual(ids, [...ids].sort());
  }
});

test("what says as much of a group as may be fits a content; of more members it would not", () => {
  const long = "\u{1f98a}".repeat(64);
  const largest = (members: number): Uint8Array => {
    const names = Array.from({ length: members }, (_, place) => ({ id: new Uint8Array(32).fill(place), name: long }));
    const [id, large] = [new Uint8Array(32), new Uint8Array(4_096)];
    const marks = { to: id, claim: { revision: 2 ** 32 - 1, hash: id }, deviceList: new Uint8Array(2_048) };
    const fields = { group: id, relation: "removed", state: large, digest: id, picture: large, name: long, names };
    return content2.encodeFields("sync-group", 2 ** 47, WRITER, { ...fields, ...content2.marked(marks) });
  };
  const encoded = largest(MAX_NAMED);
  assert.equal(pad(encoded, 256, MAX_PADDED).length % 256, 0);
  const read = content2.decode(encoded, ENDS, DEVICE_KINDS);
  assert.ok(read.kind === "between" && read.said.kind === "sync-group");
  assert.equal(read.said.names?.length, MAX_NAMED);
  assert.throws(() => pad(largest(120), 256, MAX_PADDED), TooLong);
});

test("a person with one device says nothing of groups to devices", () => {
  const [town, members, group] = groupOf(2);
  town.pass(5_000);
  for (const { person } of members) {
    assert.equal(person.vault.hasKind(SYNCED), false);
  }
  assert.equal(members[0]?.relation(group), "member");
});
