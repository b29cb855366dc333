/** Two histories of a group: a user is told of each once, whoever shows it again, and in turn with whomever. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { digestOf, read, write } from "../../core/client/groups/change.ts";
import type { Op } from "../../core/client/groups/change.ts";
import { Chain } from "../../core/client/groups/chain.ts";
import { afterChange, doubted, isOld, MAX_SHOWN, shownBy } from "../../core/client/groups/doubts.ts";
import { GroupRecord } from "../../core/client/groups/records.ts";
import { headOf, stateAfter } from "../../core/client/groups/state.ts";
import { stateOf, withRecord } from "../../core/client/groups/store.ts";
import type { Group } from "../../core/client/groups/store.ts";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { pack, unpack } from "../../core/msgpack.ts";
import { keyOf, Mallory, type Member, withMallory } from "./members.ts";
import { random } from "./support.ts";
import type { Town } from "./town.ts";

const MINUTE = 60_000;

/** What a client keeps of forks is lost: the controls. */
function forgets(member: Member, id: string, lost: Partial<GroupRecord>): void {
  const group = member.groups.found(id);
  member.person.messenger.stores.vault.transaction((tx) => void member.groups.store.put(tx, withRecord(group, lost)));
}

/** Whether somebody is stopped; they go on in spite of it. */
function isStopped(member: Member, id: string): boolean {
  const { doubt } = member.groups.found(id).record;
  member.groups.goOn(id);
  return doubt === "forked";
}

/** A group of Ada, Ben, Mallory and another one whose program does as it likes. */
function withTwo(): { town: Town; ada: Member; ben: Member; mallory: Mallory; other: Mallory; group: Uint8Array; id: string } {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const other = new Mallory(town);
  ada.person.messenger.contacts.add("Other", other.id);
  for (const one of [ada, ben]) other.person.messenger.contacts.add(one === ada ? "Ada" : "Ben", one.id);
  town.pass(2_000);
  ada.groups.add(keyOf(group), [other.id], "member");
  town.pass(5_000);
  return { town, ada, ben, mallory, other, group, id: keyOf(group) };
}

for (const isForgetful of [false, true]) {
  test(`two members who take turns stop a reader ${isForgetful ? "each time, if one name is kept: the control" : "once each"}`, () => {
    const { ada, ben, group, id, mallory, other, town } = withTwo();
    const { revision } = stateOf(ben.groups.found(id));
    let stops = 0;
    for (let n = 0; n < 6; n += 1) {
      if (isForgetful) forgets(ben, id, { rivals: [] });
      (n % 2 === 0 ? mallory : other).says([ben], { kind: "group-hello", group, revision, head: random(32) });
      town.pass(2_000);
      stops += Number(isStopped(ben, id));
    }
    assert.equal(stops, isForgetful ? 6 : 2);
    ada.groups.rename(id, "Coffee");
    town.pass(5_000);
    assert.deepEqual(ben.groups.found(id).record.rivals, []);
  });
}

/** Mallory was an admin and is removed; changes that they have signed against the state before, one for each name. */
function removed(names: readonly string[]): ReturnType<typeof withTwo> & { rivals: Uint8Array[] } {
  const scene = withTwo();
  const { ada, group, id, mallory, town } = scene;
  ada.groups.setRole(id, mallory.id, "admin");
  town.pass(5_000);
  const { chain } = ada.groups.found(id);
  const next = { group, revision: chain.state.revision + 1, previous: chain.head };
  const rivals = names.map((text) => mallory.signs({ ...next, ops: [{ op: "name", text }] }));
  ada.groups.remove(id, [mallory.id]);
  town.pass(5_000);
  assert.equal(stateOf(ada.groups.found(id)).members.has(mallory.id), false);
  return { ...scene, rivals };
}

/** Somebody shows others a change, as anybody may. */
function brings(one: Mallory, to: readonly Member[], change: Uint8Array): void {
  one.says(to, { kind: "group-changes", group: read(change).group, changes: [change], picture: new Uint8Array(), ordered: 0 });
  one.person.town.pass(3_000);
}

for (const isForgetful of [false, true]) {
  test(`somebody who was removed stops each member ${isForgetful ? "after each change, if nothing is kept: the control" : "once and no more"}`, () => {
    const { ada, ben, id, mallory, rivals, town } = removed(["Mallory's", "another one"]);
    const stops = [0, 0];
    for (let n = 1; n <= 3; n += 1) {
      for (const rival of rivals) {
        brings(mallory, [ada, ben], rival);
        for (const [index, one] of [ada, ben].entries()) {
          stops[index] = (stops[index] ?? 0) + Number(isStopped(one, id));
          if (isForgetful) forgets(one, id, { shown: [] });
        }
      }
      ada.groups.setTimer(id, n * MINUTE);
      town.pass(5_000);
    }
    assert.deepEqual(stops, isForgetful ? [3, 3] : [1, 1]);
  });
}

test("it makes no difference who brings it", () => {
  const { ada, id, mallory, other, rivals, town } = removed(["Mallory's", "another one"]);
  brings(mallory, [ada], rivals[0] ?? random(100));
  assert.equal(isStopped(ada, id), true);
  ada.groups.setTimer(id, MINUTE);
  town.pass(5_000);
  const stranger = new Mallory(town);
  for (const rival of rivals) {
    for (const one of [other, stranger]) {
      brings(one, [ada], rival);
      assert.equal(isStopped(ada, id), false);
    }
  }
  assert.equal(ada.person.messenger.stores.requests.waiting(stranger.id), rivals.length);
});

test("what was shown is remembered, and a group that was changed in spite of it counts as gone on", () => {
  const { ada, ben, id, mallory, rivals: [rival = random(100)], town } = removed(["Mallory's"]);
  brings(mallory, [ben], rival);
  assert.equal(ben.groups.found(id).record.doubt, "forked");
  ada.groups.setTimer(id, MINUTE);
  town.pass(5_000);
  assert.equal(ben.groups.found(id).record.doubt, "");
  ben.beginAnew();
  town.pass(2_000);
  assert.equal(ben.groups.found(id).record.shown.length, 1);
  brings(mallory, [ben], rival);
  assert.equal(ben.groups.found(id).record.doubt, "");
});

test("a member who lives in the other history is noticed by the heads that they name", () => {
  const { ada, group, id, mallory, other, rivals: [first = random(100), second = random(100)], town } = removed(["one", "two"]);
  brings(mallory, [ada], first);
  assert.equal(isStopped(ada, id), true);
  ada.groups.setTimer(id, MINUTE);
  town.pass(5_000);
  brings(mallory, [ada], second);
  assert.equal(ada.groups.found(id).record.doubt, "");
  const change = read(second);
  const before = ada.groups.found(id).chain.steps.find((step) => step.change.revision === change.revision)?.before;
  assert.ok(before !== undefined);
  const head = headOf(digestOf(change), stateAfter(before, change));
  other.says([ada], { kind: "group-hello", group, revision: change.revision, head });
  town.pass(2_000);
  const { doubt, rival } = ada.groups.found(id).record;
  assert.deepEqual([doubt, rival], ["forked", other.id]);
});

// --- what ends it -------------------------------------------------------------------------------

/** Mallory has divided a group, which Ben is shown by Ada. */
function divided(): ReturnType<typeof withTwo> & { tells: (to: Member, op: Op, by?: Mallory) => void } {
  const scene = withTwo();
  const { ada, ben, group, id, mallory, town } = scene;
  ada.groups.setRole(id, mallory.id, "admin");
  town.pass(5_000);
  const tells = (to: Member, op: Op, by = mallory): void => {
    const { chain } = to.groups.found(id);
    const change = by.signs({ group, revision: chain.state.revision + 1, previous: chain.head, ops: [op] });
    mallory.says([to], { kind: "group-change", group, change, state: new Uint8Array(), base: new Uint8Array() });
    town.pass(3_000);
  };
  tells(ada, { op: "timer", ms: MINUTE });
  tells(ben, { op: "timer", ms: 2 * MINUTE });
  ada.groups.sendText(id, "hello");
  town.pass(3_000);
  const { doubt, rival } = ben.groups.found(id).record;
  assert.deepEqual([doubt, rival], ["forked", ada.id]);
  return { ...scene, tells };
}

for (const isForgetful of [false, true]) {
  test(`an admin who has divided a group ends ${isForgetful ? "it by one more change, if who was shown is not kept: the control" : "nothing by one more change"}`, () => {
    const { ada, ben, id, other, tells } = divided();
    const { rivalHead } = ben.groups.found(id).record;
    if (isForgetful) forgets(ben, id, { rival: "" });
    tells(ben, { op: "role", person: other.id, role: "admin" });
    tells(ben, { op: "timer", ms: 3 * MINUTE }, other);
    const { chain, record } = ben.groups.found(id);
    assert.equal(chain.state.timer, 3 * MINUTE);
    assert.equal(record.doubt, isForgetful ? "" : "forked");
    if (isForgetful) return;
    assert.deepEqual([record.rival, record.rivalHead], [ada.id, rivalHead]);
    assert.throws(() => ben.groups.sendText(id, "to whom?"), /two histories/);
    ben.groups.goOn(id);
    ben.groups.sendText(id, "to these, then");
  });
}

test("a change that removes who was shown ends it", () => {
  const { ada, ben, group, id, other, town } = withTwo();
  const { revision } = stateOf(ben.groups.found(id));
  other.says([ben], { kind: "group-hello", group, revision, head: random(32) });
  town.pass(2_000);
  ada.groups.rename(id, "Coffee");
  town.pass(5_000);
  assert.equal(ben.groups.found(id).record.doubt, "forked");
  ada.groups.remove(id, [other.id]);
  town.pass(5_000);
  assert.deepEqual([ben.groups.found(id).record.doubt, ben.groups.found(id).record.rival], ["", ""]);
  ben.groups.sendText(id, "without them, then");
  town.pass(5_000);
  assert.equal(ada.texts(id).at(-1), "without them, then");
});

// --- what is remembered -------------------------------------------------------------------------

const ADA = new OwnIdentity(new Uint8Array(32).fill(1));
const ID = new Uint8Array(32).fill(9);

function idOf({ peer }: OwnIdentity): string {
  return Buffer.from(peer.userId).toString("base64");
}

function following(chain: Chain, author: OwnIdentity, ops: readonly Op[]): Uint8Array {
  return write(author, { group: ID, revision: chain.state.revision + 1, previous: chain.head, at: 1, ops }).encoded;
}

/** A group of one admin, and rival changes of so many others who were admins once. */
function groupWith(count: number): [Group, Uint8Array[]] {
  let chain = Chain.of(ID);
  const changes = (ops: readonly Op[]): void => void ({ chain } = chain.judge(following(chain, ADA, ops)));
  changes([{ op: "add", person: idOf(ADA), role: "admin" }]);
  const rivals = Array.from({ length: count }, (_, n) => {
    const other = new OwnIdentity(new Uint8Array(32).fill(100 + n));
    changes([{ op: "add", person: idOf(other), role: "admin" }]);
    const rival = following(chain, other, [{ op: "timer", ms: 1 }]);
    changes([{ op: "role", person: idOf(other), role: "member" }]);
    return rival;
  });
  const nothing = { state: new Uint8Array(), digest: new Uint8Array() };
  return [{ record: GroupRecord.make({ group: ID, number: 1, relation: "member", ...nothing }), chain }, rivals];
}

const changed = (group: Group): Group => ({ ...group, record: afterChange(group.record, stateOf(group)) });

/** The user has gone on. */
const goneOn = (group: Group): Group => withRecord(group, { doubt: "" });

/** A group once somebody has shown these, with a change after each, and those of which its user was told. */
function afterAll(start: Group, rivals: readonly Uint8Array[], remembered = Infinity): [Group, Uint8Array[]] {
  let group = start;
  const told: Uint8Array[] = [];
  for (const rival of rivals) {
    if (group.record.shown.length > remembered) group = withRecord(group, { shown: group.record.shown.slice(-remembered) });
    const shown = shownBy(group, "", rival);
    if (isOld(group, shown)) continue;
    told.push(rival);
    group = changed(goneOn(doubted(group, shown)));
  }
  return [group, told];
}

test("of sixteen who are no admins any more one change is told, and of further ones none", () => {
  const [start, rivals] = groupWith(MAX_SHOWN + 2);
  const [group, told] = afterAll(start, [...rivals, ...rivals, ...[...rivals].reverse()]);
  assert.deepEqual(told, rivals.slice(0, MAX_SHOWN));
  const authors = group.record.shown.map((one) => Buffer.from(one.subarray(0, 32)).toString("base64"));
  assert.deepEqual(authors, told.map((rival) => read(rival).author));
});

test("control: whoever forgets the first for the last is told of all again and again", () => {
  const [start, rivals] = groupWith(MAX_SHOWN + 2);
  assert.equal(afterAll(start, [...rivals, ...rivals], MAX_SHOWN - 1)[1].length, 2 * rivals.length);
});

test("an admin of now, and a member who names a head, are told of all the same", () => {
  const [start, rivals] = groupWith(MAX_SHOWN + 2);
  const [group] = afterAll(start, rivals);
  const { chain } = group.chain.judge(following(group.chain, ADA, [{ op: "timer", ms: 5 }]));
  const [one, other] = [1, 2].map((ms) => following(group.chain, ADA, [{ op: "timer", ms }]));
  assert.ok(one !== undefined && other !== undefined);
  const [after, told] = afterAll({ ...group, chain }, [one, one, other, ...rivals]);
  assert.deepEqual(told, [one, other]);
  assert.equal(after.record.shown.length, MAX_SHOWN + 1);
  assert.equal(isOld(after, { who: read(rivals[3] ?? one).author, head: random(32) }), false);
});

test("of an admin of now another change is news, and the same one is not", () => {
  const [group] = groupWith(0);
  const { chain } = groupWith(1)[0];
  const [one, other] = [1, 2].map((ms) => shownBy({ ...group, chain }, "", following(group.chain, ADA, [{ op: "timer", ms }])));
  assert.ok(one !== undefined && other !== undefined);
  const after = changed(goneOn(doubted({ ...group, chain }, one)));
  assert.deepEqual([isOld(after, one), isOld(after, other)], [true, false]);
});

test("groups of before open: nothing was shown in them, and who was gone on in spite of is old until the next change", () => {
  const [group, [rival = new Uint8Array()]] = groupWith(1);
  const stored = GroupRecord.write(group.record);
  assert.ok("shown" in stored && "rivals" in stored);
  const { rivals: _, shown: __, ...before } = stored;
  const record = GroupRecord.read(unpack(pack(before)));
  assert.deepEqual([record.shown, record.rivals], [[], []]);
  const shown = shownBy(group, "", rival);
  const old = withRecord({ ...group, record }, { rival: shown.who });
  assert.deepEqual([isOld(old, shown), isOld(changed(old), shown)], [true, false]);
  const kept = doubted(group, shown).record;
  assert.deepEqual(GroupRecord.read(unpack(pack(GroupRecord.write(kept)))).shown, kept.shown, "a file carries it");
});
