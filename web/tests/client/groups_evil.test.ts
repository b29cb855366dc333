/** Groups among members and outsiders who say what they like: nothing counts that was not signed by who may. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../core/bytes.ts";
import { Chain } from "../../core/client/groups/chain.ts";
import { write } from "../../core/client/groups/change.ts";
import type { Op } from "../../core/client/groups/change.ts";
import { decodeSaid, encodeSaid } from "../../core/client/groups/contents.ts";
import type { GroupSaid } from "../../core/client/groups/contents.ts";
import { GROUP_HELD } from "../../core/client/groups/records.ts";
import { decodeState, encodeState } from "../../core/client/groups/state.ts";
import { MAX_EVENTS, MAX_OF_ONE, stateOf } from "../../core/client/groups/store.ts";
import { CryptoError } from "../../core/crypto/errors.ts";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { assertInStep, keyOf, Mallory, Member, membersOf, withMallory } from "./members.ts";
import { random } from "./support.ts";
import type { Town } from "./town.ts";

test("a member changes nothing, and a change of theirs divides nobody", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada] = members as [Member, Member];
  const { chain } = ada.groups.found(keyOf(group));
  const ops: readonly (readonly Op[])[] = [
    [{ op: "role", person: mallory.id, role: "admin" }],
    [{ op: "remove", person: ada.id }],
    [{ op: "name", text: "Mine" }],
    [{ op: "close" }],
  ];
  for (const [index, one] of ops.entries()) {
    for (const previous of [chain.head, new Uint8Array(32), random(32)]) {
      const change = mallory.signs({ group, revision: chain.state.revision + 1 + index, previous, ops: one });
      mallory.says(members, { kind: "group-change", group, change, state: encodeState(chain.state), base: chain.digest });
      town.pass(2_000);
    }
  }
  town.pass(10_000);
  const heads = (): string[] => members.map((one) => one.head(keyOf(group)));
  const doubts = (): string[] => members.map((one) => one.groups.found(keyOf(group)).record.doubt);
  assert.deepEqual([heads(), doubts()], [members.map(() => toHex(chain.head)), members.map(() => "")]);
  // Who answers with such a change says that it is theirs, as with the head of a text, and is shown to be elsewhere.
  const change = mallory.signs({ group, revision: chain.state.revision + 1, previous: random(32), ops: [{ op: "close" }] });
  mallory.says(members, { kind: "group-changes", group, changes: [change], picture: new Uint8Array(), ordered: 0 });
  town.pass(2_000);
  assert.deepEqual([heads(), doubts()], [members.map(() => toHex(chain.head)), members.map(() => "forked")]);
  for (const one of members) assert.equal(one.groups.found(keyOf(group)).record.rival, mallory.id);
});

test("a member who claims changes that there are none of does not stop those of an admin", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  for (let minute = 0; minute < 3; minute += 1) {
    mallory.says(members, { kind: "group-text", group, revision: 900, head: random(32), n: 1 + minute, body: "later" });
    if (minute === 0) ada.groups.remove(id, [mallory.id]);
    town.pass(60_000);
  }
  for (const one of [ada, ben]) {
    assert.equal(stateOf(one.groups.found(id)).members.has(mallory.id), false);
  }
});

test("who may not write, invite or tell is not heard", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  ada.groups.setRights(id, { invite: "admin", write: "admin" });
  town.pass(3_000);
  const { chain } = ben.groups.found(id);
  const named = { revision: chain.state.revision, head: chain.head };
  const outsider = new Member(town);
  mallory.says(members, { kind: "group-text", group, ...named, n: 1, body: "psst" });
  mallory.says([ada], { kind: "group-propose", group, person: random(32) });
  const text = ada.groups.sendText(id, "mine");
  town.pass(3_000);
  ada.groups.remove(id, [mallory.id]);
  town.pass(3_000);
  mallory.says([ada], { kind: "group-receipt", group, delivered: [], read: [text], undecryptable: [] });
  mallory.says(members, { kind: "group-hello", group, ...named });
  mallory.says([ada], { kind: "group-leave", group });
  town.pass(10_000);
  assert.deepEqual([ada.texts(id), ben.texts(id)], [["mine"], ["mine"]]);
  assert.deepEqual([...stateOf(ada.groups.found(id)).members.keys()].sort(), [ada.id, ben.id].sort());
  assert.equal(ada.groups.progress(text).get(mallory.id), 2, "they had it before they were removed, and no more");
  assert.equal(ada.groups.found(id).record.wishes.length, 0);
  assert.equal(outsider.relation(id), "");
  assertInStep(members, id);
});

test("another history is told at once, with who has it, and stops what is sent", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  const { revision } = stateOf(ben.groups.found(id));
  mallory.says([ben], { kind: "group-text", group, revision, head: random(32), n: 1, body: "in another world" });
  town.pass(2_000);
  const { record } = ben.groups.found(id);
  assert.deepEqual([record.doubt, record.rival], ["forked", mallory.id]);
  assert.throws(() => ben.groups.sendText(id, "to whom?"), /two histories/);
  ben.groups.goOn(id);
  mallory.says([ben], { kind: "group-text", group, revision, head: random(32), n: 2, body: "still" });
  town.pass(2_000);
  assert.equal(ben.groups.found(id).record.doubt, "", "they stop nobody twice");
  ada.groups.rename(id, "Cleared up");
  town.pass(3_000);
  assert.deepEqual([ben.groups.found(id).record.doubt, ben.groups.found(id).record.rival], ["", ""]);
});

test("nobody fills the store: early texts, invitations, questions and events are bounded", () => {
  const [town, [ada]] = membersOf(1) as [Town, [Member]];
  const mallory = new Mallory(town);
  ada.person.messenger.contacts.add("Mallory", mallory.id);
  mallory.person.messenger.contacts.add("Ada", ada.id);
  town.pass(2_000);
  for (let index = 0; index < MAX_OF_ONE + 5; index += 1) {
    const group = random(32);
    mallory.says([ada], { kind: "group-text", group, revision: 5, head: random(32), n: 1, body: "early" });
    const ops: readonly Op[] = [
      { op: "add", person: mallory.id, role: "admin" },
      { op: "add", person: ada.id, role: "member" },
    ];
    const invited = random(32);
    const change = mallory.signs({ group: invited, revision: 1, previous: new Uint8Array(32), ops });
    mallory.says([ada], { kind: "group-change", group: invited, change, state: new Uint8Array(), base: new Uint8Array() });
  }
  town.pass(5_000);
  assert.equal(ada.groups.store.size, MAX_OF_ONE);
  assert.equal(ada.person.vault.count(GROUP_HELD), MAX_OF_ONE);
  assert.ok(MAX_EVENTS <= 1_000);
});

test("a group that somebody asks about again and again answers once in a while", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada] = members as [Member, Member];
  ada.person.sent.length = 0;
  for (let index = 0; index < 50; index += 1) {
    mallory.says([ada], { kind: "group-ask", group, from: 0, picture: true, ordered: 0 });
  }
  town.pass(5_000);
  const answers = ada.person.sent.filter(({ payload, type }) => {
    return type === "MESSAGE_MANY" && (payload["recipients"] as readonly unknown[]).length === 1;
  });
  assert.equal(answers.length, 1);
});

// --- mutations ------------------------------------------------------------------------

/** Something with one byte changed, cut, or longer. */
function mutated(bytes: Uint8Array, index: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const at = (index * 7919) % bytes.length;
  switch (index % 4) {
    case 0:
      return copy.slice(0, at);
    case 1:
      return Uint8Array.from([...copy, index & 0xff]);
    default:
      copy[at] = (copy[at] ?? 0) ^ (1 << index % 8);
      return copy;
  }
}

test("of 1,200 changed changes, states and contents none counts, and none makes a program fail", () => {
  const author = new OwnIdentity(new Uint8Array(32).fill(3));
  const person = Buffer.from(author.peer.userId).toString("base64");
  const group = new Uint8Array(32).fill(9);
  const ops: readonly Op[] = [
    { op: "add", person, role: "admin" },
    { op: "name", text: "Tea" },
  ];
  const start = Chain.of(group);
  const { encoded } = write(author, { group, revision: 1, previous: start.head, at: 5, ops });
  const { state, head } = start.judge(encoded).chain;
  const said: GroupSaid = { kind: "group-text", group, revision: 1, head, n: 1, body: "hello" };
  const ends = { sentAt: 5, sender: author.peer.userId, senderKey: author.peer.public };
  const whole = encodeSaid(said, ends);
  for (let index = 0; index < 1_200; index += 1) {
    const change = mutated(encoded, index);
    assert.notEqual(start.judge(change).verdict, "applied");
    orRefused(() => decodeState(mutated(encodeState(state), index)));
    orRefused(() => decodeSaid(mutated(whole, index)));
  }
  assert.equal(start.judge(encoded).verdict, "applied", "the control");
});

function orRefused(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof CryptoError)) throw error;
  }
}
