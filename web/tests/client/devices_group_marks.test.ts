/** What was read in a group, and whether a group is muted, is the same on all devices of a person. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { toHex } from "../../core/bytes.ts";
import * as content2 from "../../core/client/content2.ts";
import { MAX_EARLY } from "../../core/client/devices/early.ts";
import { laterMuted } from "../../core/client/devices/in_step.ts";
import { DEVICE_KINDS, type DeviceSaid, fieldsOf, MAX_MUTED, MAX_READ } from "../../core/client/devices/kinds.ts";
import { textsOf } from "../../core/client/groups/records.ts";
import { EARLY_READ, SYNCED } from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { InvalidMessage } from "../../core/crypto/errors.ts";
import { fromBase64 } from "../../core/wire/base64.ts";
import { raw } from "../crypto/base.ts";
import { devicesOf, link } from "./family.ts";
import { groupOf, Member, recipientsOf } from "./members.ts";
import type { Frame, Town } from "./town.ts";

interface Listed {
  readonly group: string;
  readonly at: number;
  readonly muted: boolean;
}

declare const PROJECT: string;

const FILE = join(PROJECT, "protocol", "vectors", "device-sync.json");
const vectors = JSON.parse(readFileSync(FILE, "utf8")) as {
  readonly muted: readonly { readonly name: string; readonly heard: readonly Listed[]; readonly expect: Listed }[];
};

for (const { expect, heard, name } of vectors.muted) {
  test(`which of two changes of a group counts: ${name}`, () => {
    const first = { group: raw(expect.group), at: 0, muted: false };
    const known = heard.map((one) => ({ ...one, group: raw(one.group) })).reduce(laterMuted, first);
    assert.deepEqual({ ...known, group: toHex(known.group) }, expect);
  });
}

/** Ada's phone and laptop, Ben and Cleo, who are in a group of Ada's that there was before the laptop. */
function people(): readonly [Town, Member, Member, Member, Member, string] {
  const [town, members, group] = groupOf(3);
  const [ada, ben, cleo] = members as [Member, Member, Member];
  const laptop = new Member(town);
  link(town, ada.person, laptop.person);
  town.pass(5_000);
  return [town, ada, laptop, ben, cleo, group];
}

/** What waits of a group: how many texts, and which. */
function unread({ groups, person }: Member, group: string): readonly [number, readonly (string | null)[]] {
  const { number } = groups.found(group).record;
  const all = [...person.vault.all(textsOf(number))].map(([, text]) => text);
  const waiting = all.filter(({ messageId, sender }) => groups.store.isUnread(group, sender, messageId));
  return [groups.store.unread(group), waiting.map(({ text }) => text)];
}

function readAll({ groups, person }: Member, group: string): void {
  for (const [, { messageId, sender }] of [...person.vault.all(textsOf(groups.found(group).record.number))]) {
    if (groups.store.isUnread(group, sender, messageId)) groups.markRead(group, sender, messageId);
  }
}

function isMuted({ groups }: Member, group: string): boolean {
  return groups.found(group).record.muted;
}

/** The relay keeps the next message of somebody for a member back; it comes once that is called. */
function keptBack({ person }: Member, sender: Member): () => void {
  let late: Frame | null = null;
  person.tamper = (frame) => {
    if (late !== null || frame.type !== "MESSAGE" || frame.payload["senderId"] !== sender.id) return [frame];
    late = frame;
    return [];
  };
  return () => {
    assert.ok(late !== null);
    person.get(late);
  };
}

function say(from: Member, to: Member, said: DeviceSaid): void {
  devicesOf(from.person).desk.say([to.id], said);
}

for (const reader of [0, 1]) {
  test(`what was read on the ${reader === 0 ? "phone" : "laptop"} is read on the other device`, () => {
    const [town, ada, laptop, ben, , group] = people();
    const [here, there] = reader === 0 ? [ada, laptop] : [laptop, ada];
    const id = ben.groups.sendText(group, "to all");
    town.pass(8_000);
    for (const one of [here, there]) assert.deepEqual(unread(one, group), [1, ["to all"]]);
    readAll(here, group);
    assert.deepEqual(unread(there, group), [1, ["to all"]], "the control: it is told");
    town.pass(8_000);
    for (const one of [here, there]) assert.deepEqual(unread(one, group), [0, []]);
    assert.equal(ben.groups.progress(id).get(ada.id), DeliveryState.READ);
    there.beginAnew();
    assert.deepEqual(unread(there, group), [0, []]);
    there.person.connect();
    ben.groups.sendText(group, "another");
    town.pass(8_000);
    assert.deepEqual(unread(there, group), [1, ["another"]]);
  });
}

for (const isRemembered of [true, false]) {
  test(`a text that comes after it was read elsewhere is ${isRemembered ? "read" : "unread if that is forgotten: the control"}`, () => {
    const [town, ada, laptop, ben, , group] = people();
    const comes = keptBack(laptop, ben);
    ben.groups.sendText(group, "late");
    town.pass(3_000);
    readAll(ada, group);
    town.pass(5_000);
    assert.equal(laptop.person.vault.count(EARLY_READ), 1);
    if (!isRemembered) laptop.person.vault.transaction((tx) => tx.deleteKind(EARLY_READ));
    laptop.person.events.length = 0;
    comes();
    town.pass(3_000);
    assert.deepEqual(laptop.texts(group), ["late"]);
    assert.deepEqual(unread(laptop, group), isRemembered ? [0, []] : [1, ["late"]]);
    assert.equal(laptop.person.events.some(({ kind }) => kind === "group-message"), !isRemembered);
    assert.equal(laptop.person.vault.count(EARLY_READ), 0);
  });
}

test("marks that wait are bounded for each who writes in a group, and go with it", () => {
  const [town, ada, laptop, ben, cleo, group] = people();
  const ids = Array.from({ length: MAX_READ }, (_, number) => String(number).padStart(36, "0"));
  for (const writer of [ben, cleo, ada]) { // of one's own texts nothing is remembered
    const inGroups = ids.map((id) => ({ group: fromBase64(group), from: fromBase64(writer.id), id }));
    say(laptop, ada, { kind: "sync-read", messages: [], inGroups });
  }
  town.pass(3_000);
  const { vault } = ada.person;
  const found = [...vault.all(EARLY_READ)].map(([, { messages }]) => messages.map(({ id }) => id));
  assert.deepEqual(found, [ids.slice(-MAX_EARLY), ids.slice(-MAX_EARLY)]);
  ada.groups.close(group);
  town.pass(5_000);
  ada.groups.forget(group);
  assert.equal(vault.count(EARLY_READ), 0);
});

test("a mark of another group or writer is not this one's", () => {
  const [town, ada, laptop, ben, cleo, group] = people();
  const id = ben.groups.sendText(group, "to all");
  town.pass(8_000);
  const mark = { group: fromBase64(group), from: fromBase64(ben.id), id };
  const wrong = [{ ...mark, group: new Uint8Array(32) }, { ...mark, from: fromBase64(cleo.id) }, { ...mark, from: fromBase64(ada.id) }];
  say(laptop, ada, { kind: "sync-read", messages: [], inGroups: wrong });
  town.pass(3_000);
  assert.deepEqual(unread(ada, group), [1, ["to all"]]);
  say(laptop, ada, { kind: "sync-read", messages: [], inGroups: [mark] });
  town.pass(3_000);
  assert.deepEqual(unread(ada, group), [0, []], "the control");
});

test("who opens it on the other device too tells nobody again", () => {
  const [town, ada, laptop, ben, , group] = people();
  const id = ben.groups.sendText(group, "to all");
  town.pass(8_000);
  readAll(laptop, group);
  town.pass(8_000);
  ada.person.sent.length = 0;
  ada.groups.markRead(group, ben.id, id);
  town.pass(10_000);
  assert.deepEqual(recipientsOf(ada), []);
});

for (const givesWay of [true, false]) {
  test(`of two on which it was read at once ${givesWay ? "the first tells" : "both would tell if neither gave way: the control"}`, () => {
    const [town, ada, laptop, ben, , group] = people();
    const { devices } = laptop.person.messenger.stores;
    if (!givesWay && devices !== null) devices.isBefore = () => false;
    const id = ben.groups.sendText(group, "to all");
    town.pass(8_000);
    for (const one of [ada, laptop]) {
      one.person.sent.length = 0;
      readAll(one, group);
    }
    town.pass(20_000);
    assert.equal(ben.groups.progress(id).get(ada.id), DeliveryState.READ);
    const told = [ada, laptop].map((one) => recipientsOf(one).filter((ids) => ids.includes(ben.id)).length);
    assert.deepEqual(told, givesWay ? [1, 0] : [1, 1]);
  });
}

for (const first of [0, 1]) {
  test(`a group that is muted on the ${first === 0 ? "phone" : "laptop"} is so on the other device, and not any more`, () => {
    const [town, ada, laptop, ben, cleo, group] = people();
    const [here, there] = first === 0 ? [ada, laptop] : [laptop, ada];
    here.groups.mute(group, true);
    assert.equal(isMuted(there, group), false, "the control: it is told");
    town.pass(3_000);
    assert.equal(isMuted(there, group), true);
    there.groups.mute(group, false);
    town.pass(3_000);
    for (const one of [here, ben, cleo]) assert.equal(isMuted(one, group), false);
  });
}

test("of two changes without a connection the later one counts, and it outlives the page", () => {
  const [town, ada, laptop, , , group] = people();
  for (const one of [ada, laptop]) one.person.disconnect();
  ada.groups.mute(group, true);
  town.pass(3_000);
  laptop.groups.mute(group, true);
  laptop.groups.mute(group, false);
  laptop.beginAnew();
  for (const one of [ada, laptop]) one.person.connect();
  town.pass(5_000);
  for (const one of [ada, laptop]) assert.equal(isMuted(one, group), false);
});

test("a new device is told which groups are muted, also what was so before there were several", () => {
  const [town, members, group] = groupOf(2);
  const [ada] = members as [Member];
  ada.groups.mute(group, true);
  const [laptop, tablet] = [new Member(town), new Member(town)];
  link(town, ada.person, laptop.person);
  town.pass(5_000);
  assert.equal(isMuted(laptop, group), true);
  laptop.groups.mute(group, false);
  town.pass(3_000);
  laptop.groups.mute(group, true);
  town.pass(3_000);
  link(town, ada.person, tablet.person);
  town.pass(5_000);
  assert.equal(isMuted(tablet, group), true);
});

test("who comes back finds a group as they left it on all devices, and one that is not here yet will be so", () => {
  const [town, ada, laptop, ben, , group] = people();
  ada.groups.setRole(group, ben.id, "admin");
  laptop.groups.mute(group, true);
  town.pass(5_000);
  ada.groups.leave(group);
  town.pass(10_000);
  ben.groups.add(group, [ada.id], "member");
  town.pass(10_000);
  ada.groups.accept(group);
  town.pass(10_000);
  for (const one of [ada, laptop]) assert.deepEqual([one.relation(group), isMuted(one, group)], ["member", true]);
  const later = ben.groups.create("Later", [ada.id]);
  town.pass(5_000);
  say(ada, laptop, { kind: "sync-muted", groups: [{ group: fromBase64(later), at: 2 ** 40, muted: true }] });
  town.pass(3_000);
  assert.equal(laptop.relation(later), "");
  ada.groups.accept(later);
  town.pass(5_000);
  assert.equal(isMuted(laptop, later), true);
});

for (const muted of [true, false]) {
  test(`a group that was ${muted ? "muted and left" : "left"} before there were several devices is so on all who come back`, () => {
    const [town, members, group] = groupOf(2);
    const [ben, ada] = members as [Member, Member];
    ada.groups.mute(group, muted);
    ada.groups.leave(group);
    town.pass(10_000);
    const [laptop, tablet] = [new Member(town), new Member(town)];
    for (const fresh of [laptop, tablet]) {
      link(town, ada.person, fresh.person);
      town.pass(5_000);
    }
    ben.groups.add(group, [ada.id], "member");
    town.pass(10_000);
    ada.groups.accept(group);
    town.pass(10_000);
    assert.deepEqual([ada, laptop, tablet].map((one) => isMuted(one, group)), [muted, muted, muted]);
  });
}

test("a group that was muted before there were several devices is so again on all who come back", () => {
  const [town, members, group] = groupOf(2);
  const [ben, ada] = members as [Member, Member];
  ada.groups.mute(group, true);
  const laptop = new Member(town);
  link(town, ada.person, laptop.person);
  town.pass(5_000);
  ada.groups.leave(group);
  town.pass(10_000);
  ben.groups.add(group, [ada.id], "member");
  town.pass(10_000);
  ada.groups.accept(group);
  town.pass(10_000);
  assert.deepEqual([ada, laptop].map((one) => isMuted(one, group)), [true, true]);
});

for (const isErased of [true, false]) {
  test(`of a group that is ${isErased ? "erased nothing stays, and it" : "only left it is remembered (the control), and it"} is the same on all devices`, () => {
    const [town, ada, laptop, ben, , group] = people();
    ada.groups.setRole(group, ben.id, "admin");
    laptop.groups.mute(group, true);
    town.pass(5_000);
    ada.groups.leave(group);
    town.pass(10_000);
    if (isErased) ada.groups.forget(group);
    town.pass(10_000);
    const kept = [...ada.person.vault.all(SYNCED)].filter(([, { userId }]) => userId.endsWith(group));
    assert.equal(kept.length > 0, !isErased);
    ben.groups.add(group, [ada.id], "member");
    town.pass(10_000);
    ada.groups.accept(group);
    town.pass(10_000);
    assert.deepEqual([ada, laptop].map((one) => isMuted(one, group)), [!isErased, !isErased]);
  });
}

test("what was undone without other devices does not come back", () => {
  const [town, ada, laptop, , , group] = people();
  laptop.groups.mute(group, true);
  town.pass(3_000);
  devicesOf(ada.person).desk.remove(laptop.id);
  ada.person.messenger.devicesChanged();
  town.pass(3_000);
  ada.groups.mute(group, false);
  town.pass(3_000);
  const tablet = new Member(town);
  link(town, ada.person, tablet.person);
  town.pass(5_000);
  for (const one of [ada, tablet]) assert.equal(isMuted(one, group), false);
});

for (const who of ["contact", "writer", "removed", "own"]) {
  test(`own devices alone may say so: ${who === "own" ? "the control" : who}`, () => {
    const [town, ada, laptop, ben, cleo, group] = people();
    const id = ben.groups.sendText(group, "to all");
    town.pass(8_000);
    if (who === "removed") {
      laptop.person.tamper = (frame) => (frame.type === "MESSAGE" ? [] : [frame]); // its thief lets it hear of nothing
      devicesOf(ada.person).desk.remove(laptop.id);
      ada.person.messenger.devicesChanged();
      town.pass(5_000);
    }
    const says = who === "contact" ? cleo : who === "writer" ? ben : laptop;
    const marks = [{ group: fromBase64(group), from: fromBase64(ben.id), id }];
    say(says, ada, { kind: "sync-read", messages: [], inGroups: marks });
    say(says, ada, { kind: "sync-muted", groups: [{ group: fromBase64(group), at: 2 ** 45, muted: true }] });
    says.person.messenger.devicesChanged();
    town.pass(8_000);
    const isOwn = who === "own";
    assert.deepEqual(unread(ada, group), isOwn ? [0, []] : [1, ["to all"]]);
    assert.equal(isMuted(ada, group), isOwn);
    assert.equal(ada.person.vault.count(EARLY_READ), 0);
  });
}

test("what else is said of a person is ignored", () => {
  const ends = { sender: new Uint8Array(32), senderKey: new Uint8Array(32), recipient: new Uint8Array(32), recipientKey: new Uint8Array(32) };
  const read = (more: object): unknown => {
    const contacts = [{ id: new Uint8Array(32), at: 1, name: "Bob", ...more }];
    return content2.decode(content2.encodeFields("sync-contacts", 1, ends, { contacts }), ends, DEVICE_KINDS);
  };
  assert.deepEqual(read({ lasting: 5, muted: true, later: "x" }), read({}));
  assert.notDeepEqual(read({ blocked: true }), read({}), "the control");
});

test("no more is read of one content than it may name", () => {
  const ends = { sender: new Uint8Array(32), senderKey: new Uint8Array(32), recipient: new Uint8Array(32), recipientKey: new Uint8Array(32) };
  const read = (said: DeviceSaid) =>
    content2.decode(content2.encodeFields(said.kind, 1, ends, fieldsOf(said)), ends, DEVICE_KINDS);
  const mark = { group: new Uint8Array(32), from: new Uint8Array(32), id: "x".repeat(36) };
  const muted = { group: new Uint8Array(32), at: 1, muted: true };
  const marks = (count: number): DeviceSaid => ({ kind: "sync-read", messages: [], inGroups: Array.from({ length: count }, () => mark) });
  const mutes = (count: number): DeviceSaid => ({ kind: "sync-muted", groups: Array.from({ length: count }, () => muted) });
  for (const said of [marks(MAX_READ), mutes(MAX_MUTED)]) assert.equal(read(said).kind, "between");
  for (const said of [marks(MAX_READ + 1), mutes(MAX_MUTED + 1)]) assert.throws(() => read(said), InvalidMessage);
});
