/** What somebody can do who is an admin for a minute: make up other admins, and sign what only later versions know. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, utf8 } from "../../core/bytes.ts";
import { read, VERSION, write } from "../../core/client/groups/change.ts";
import type { Op } from "../../core/client/groups/change.ts";
import { MAX_SHOWN } from "../../core/client/groups/doubts.ts";
import { stateOf, withRecord } from "../../core/client/groups/store.ts";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { pack } from "../../core/msgpack.ts";
import { keyOf, Mallory, type Member, withMallory } from "./members.ts";
import { random } from "./support.ts";
import type { Town } from "./town.ts";

const MINUTE = 60_000;
const MADE_UP = MAX_SHOWN + 2;

/** Ada and Ben, and Mallory, who is an admin as well; and somebody whom nobody knows. */
function withAdmin(): { town: Town; ada: Member; ben: Member; mallory: Mallory; stranger: Mallory; group: Uint8Array; id: string } {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  ada.groups.setRole(keyOf(group), mallory.id, "admin");
  town.pass(5_000);
  return { town, ada, ben, mallory, stranger: new Mallory(town), group, id: keyOf(group) };
}

function brings(one: Mallory, to: Member, change: Uint8Array): void {
  one.says([to], { kind: "group-changes", group: read(change).group, changes: [change], picture: new Uint8Array(), ordered: 0 });
  one.person.town.pass(1_000);
}

/** Whether nothing is sent; they go on. */
function isStopped(member: Member, id: string): boolean {
  const { doubt } = member.groups.found(id).record;
  member.groups.goOn(id);
  return doubt !== "";
}

/** What a client keeps of this is lost: the controls. */
function forgets(member: Member, id: string, late: number): void {
  const group = member.groups.found(id);
  const { shown } = group.record;
  const lost = withRecord(group, { rival: "", rivals: [], shown: late === 0 ? [] : shown.slice(-late) });
  member.person.messenger.stores.vault.transaction((tx) => void member.groups.store.put(tx, lost));
}

const madeUp = (count: number): OwnIdentity[] => Array.from({ length: count }, (_, n) => new OwnIdentity(new Uint8Array(32).fill(100 + n)));
const idOf = ({ peer }: OwnIdentity): string => Buffer.from(peer.userId).toString("base64");

/** A change that follows what somebody knows, and all others take up. */
function changes(ada: Member, id: string, mallory: Mallory, ops: readonly Op[], others: readonly Member[]): void {
  const { chain, record } = ada.groups.found(id);
  const next = { group: record.group, revision: chain.state.revision + 1, previous: chain.head };
  const change = mallory.signs({ ...next, ops });
  for (const one of [ada, ...others]) brings(mallory, one, change);
  assert.equal(stateOf(ada.groups.found(id)).revision, next.revision);
}

/** A change of a later version, which follows what somebody knows. */
function later(author: OwnIdentity, member: Member, id: string, text = ""): Uint8Array {
  const { chain, record } = member.groups.found(id);
  const signed = pack({
    version: VERSION + 1,
    group: record.group,
    revision: chain.state.revision + 1,
    previous: chain.head,
    at: 1,
    author: author.peer.userId,
    authorKey: author.peer.public,
    something: text,
  });
  return concat(signed, author.sign(concat(utf8("phantom/1 group-change\n"), signed)));
}

for (const isForgetful of [false, true]) {
  const what = isForgetful ? "without end, if the first is forgotten for the last: the control" : "sixteen times and no more";
  test(`whoever has made up admins stops a group ${what}`, () => {
    const { town, ada, ben, mallory, stranger, group, id } = withAdmin();
    const people = madeUp(MADE_UP);
    const rivals: Uint8Array[] = [];
    for (const part of [people.slice(0, MADE_UP / 2), people.slice(MADE_UP / 2)]) {
      changes(ada, id, mallory, part.map((one) => ({ op: "add", person: idOf(one), role: "admin" })), [ben]);
      const { chain } = ada.groups.found(id);
      const next = { group, revision: chain.state.revision + 1, previous: chain.head, at: 1 };
      rivals.push(...part.map((one) => write(one, { ...next, ops: [{ op: "name", text: "theirs" }] }).encoded));
      changes(ada, id, mallory, part.map((one) => ({ op: "remove", person: idOf(one) })), [ben]);
    }
    ada.groups.remove(id, [mallory.id]);
    town.pass(5_000);
    assert.deepEqual([stateOf(ben.groups.found(id)).members.size, ben.groups.found(id).record.doubt], [2, ""]);
    const stops = [2, 1].map((rounds) => {
      let found = 0;
      for (const rival of Array.from({ length: rounds }, () => rivals).flat()) {
        if (isForgetful) forgets(ben, id, MAX_SHOWN - 1);
        brings(stranger, ben, rival);
        found += Number(isStopped(ben, id));
      }
      ada.groups.setTimer(id, MINUTE);
      town.pass(5_000);
      return found;
    });
    assert.deepEqual(stops, isForgetful ? [2 * MADE_UP, MADE_UP] : [MAX_SHOWN, 0]);
  });

  test(`a change of a later version stops ${isForgetful ? "each time, if nothing is kept: the control" : "nobody again who has gone on"}`, () => {
    const { ben, mallory, stranger, id } = withAdmin();
    const [one = random(1), other = random(1)] = ["one", "other"].map((text) => later(mallory.ports.identity, ben, id, text));
    const stops = ([[mallory, one], [stranger, one], [mallory, other]] as const).map(([who, change]) => {
      return [1, 2, 3].filter(() => {
        if (isForgetful) forgets(ben, id, 0);
        brings(who, ben, change);
        return isStopped(ben, id);
      }).length;
    });
    assert.deepEqual(stops, isForgetful ? [3, 3, 3] : [1, 0, 0]);
  });
}

test("made up admins stop a group with it once each", () => {
  const { ada, ben, mallory, stranger, id } = withAdmin();
  const people = madeUp(4);
  changes(ada, id, mallory, people.map((one) => ({ op: "add", person: idOf(one), role: "admin" })), [ben]);
  const all = ["one", "other"].flatMap((text) => people.map((one) => later(one, ben, id, text)));
  const stops = [...all, ...all].filter((change) => {
    brings(stranger, ben, change);
    return isStopped(ben, id);
  });
  assert.equal(stops.length, people.length);
});

test("it says what a user can do", () => {
  const { town, ada, ben, mallory, id } = withAdmin();
  brings(mallory, ben, later(mallory.ports.identity, ben, id));
  assert.throws(() => ben.groups.sendText(id, "to all"), /a newer version has changed .*; reload this page later, or go on with the members/);
  const [told = ""] = ben.events(id).slice(-1);
  assert.match(told, /^Mallory has changed “Tea” with a newer version of Phantom, so nothing is sent to it now;/);
  ben.groups.goOn(id);
  ben.groups.sendText(id, "to those whom I see");
  town.pass(5_000);
  assert.equal(ada.texts(id).at(-1), "to those whom I see");
});

for (const isRemoval of [true, false]) {
  test(`of a change of a known version that follows it, ${isRemoval ? "the removal of its author ends it" : "another one is a fork: others live in what its author has made"}`, () => {
    const { town, ada, ben, mallory, stranger, id } = withAdmin();
    const change = later(mallory.ports.identity, ben, id);
    for (const one of [ada, ben]) {
      brings(mallory, one, change);
      assert.equal(one.groups.found(id).record.doubt, "newer");
    }
    ada.groups.goOn(id);
    if (isRemoval) ada.groups.remove(id, [mallory.id]);
    else ada.groups.setTimer(id, MINUTE);
    town.pass(5_000);
    const { doubt, rival } = ben.groups.found(id).record;
    assert.deepEqual([ben.head(id), doubt, rival], [ada.head(id), ...(isRemoval ? ["", ""] : ["forked", mallory.id])]);
    ben.groups.goOn(id);
    for (const who of [mallory, stranger]) {
      brings(who, ben, change);
      assert.equal(ben.groups.found(id).record.doubt, "");
    }
  });
}

test("two histories are not made less by it", () => {
  const { ben, mallory, group, id } = withAdmin();
  const { revision } = stateOf(ben.groups.found(id));
  mallory.says([ben], { kind: "group-hello", group, revision, head: random(32) });
  mallory.person.town.pass(2_000);
  brings(mallory, ben, later(mallory.ports.identity, ben, id));
  assert.equal(ben.groups.found(id).record.doubt, "forked");
});
