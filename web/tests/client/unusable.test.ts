/** Device lists, changes of groups and invitations that are no good: nothing is changed, and a sentence says so. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LIFE_MS, NOTHING, consent, signList } from "../../core/client/devices/device_list.ts";
import type { Op } from "../../core/client/groups/change.ts";
import type { GroupChange } from "../../core/client/groups/contents.ts";
import { emptyState, encodeState, headOf } from "../../core/client/groups/state.ts";
import { stateOf } from "../../core/client/groups/store.ts";
import { DEVICES } from "../../core/client/records.ts";
import { INVITATION, LIST, MOST, Unusable } from "../../core/client/unusable.ts";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { devicesOf } from "./family.ts";
import { keyOf, Mallory, Member } from "./members.ts";
import { random } from "./support.ts";
import { Town } from "./town.ts";

const DAY_MS = 86_400_000;
const WHO = ["contact", "member", "stranger"] as const;
type Who = (typeof WHO)[number];

/** Ben, and who writes to him: Ada has made a group with Cleo and him; Eve is his contact, Dan is a stranger. */
interface Scene {
  readonly town: Town;
  readonly ben: Member;
  readonly ada: Member;
  readonly group: Uint8Array;
  readonly by: Readonly<Record<Who, Mallory>>;
}

function scene(): Scene {
  const town = new Town();
  const [ada, ben] = [new Member(town), new Member(town)];
  const by = { contact: new Mallory(town), member: new Mallory(town), stranger: new Mallory(town) };
  ada.knows("Ben", ben);
  ben.knows("Ada", ada);
  ada.person.messenger.contacts.add("Cleo", by.member.id);
  by.member.person.messenger.contacts.add("Ada", ada.id);
  ben.person.messenger.contacts.add("Eve", by.contact.id);
  for (const one of Object.values(by)) one.person.messenger.contacts.add("Ben", ben.id);
  town.pass(3_000);
  const id = ada.groups.create("Tea", [ben.id, by.member.id]);
  town.pass(5_000);
  ben.groups.accept(id);
  town.pass(10_000);
  const { group } = ben.groups.found(id).record;
  return { town, ben, ada, group, by };
}

/** The sentences about what cannot be used, without the marks around names. */
function told({ person }: Member): string[] {
  const found = person.events.filter((event) => event.kind === "warning" && event.code === "unusable");
  return found.map((event) => (event.kind === "warning" ? event.message.replaceAll(/[\u2068\u2069]/g, "") : ""));
}

/** All that lists, changes and invitations could change. */
function all({ groups, person: { messenger } }: Member): unknown {
  const { book, vault } = messenger.stores;
  const found = groups.store.all().map(({ chain, record }) => [encodeBase64(chain.head), record.relation, record.doubt]);
  return [found, [...vault.all(DEVICES)], book.everybody().map(({ userId }) => userId)];
}

function flipped(encoded: Uint8Array): Uint8Array {
  const found = encoded.slice();
  found[found.length - 1] = (found.at(-1) ?? 0) ^ 1;
  return found;
}

const label = ({ ben, by }: Scene, who: Who): string =>
  who === "contact" ? "Eve" : told(ben)[0]?.match(/from (ph1.{8}…)/)?.[1] ?? `nothing of ${by[who].id}`;

// --- changes ------------------------------------------------------------------------------------

function made({ ben, group }: Scene, mallory: Mallory, ops: readonly Op[], given: Partial<GroupChange> = {}): Uint8Array {
  const { chain } = ben.groups.found(keyOf(group));
  return mallory.signs({ group, revision: chain.state.revision + 1, previous: chain.head, ops, ...given });
}

const EVIL = "\u001b[2J“Evil” \u202e";
const NEW_GROUP = new Uint8Array(32).fill(5);
const NONE = { state: new Uint8Array(), base: new Uint8Array() };

const CHANGES: Readonly<Record<string, readonly [(at: Scene, mallory: Mallory) => Uint8Array, string]>> = {
  forged: [(at, one) => flipped(made(at, one, [{ op: "name", text: EVIL }])), "it is forged or damaged"],
  "of no form": [() => new Uint8Array(100).fill(0xc1), "it is forged or damaged"],
  "too small": [() => new Uint8Array(1), "it is forged or damaged"],
  "of another group": [(at, one) => made(at, one, [{ op: "close" }], { group: NEW_GROUP }), "it is of another group"],
  "by no admin": [(at, one) => made(at, one, [{ op: "name", text: EVIL }]), "it breaks the rules"],
};

for (const who of WHO) {
  test(`a change of a ${who} that cannot be used changes nothing, and is told of who is known`, () => {
    for (const [make, why] of Object.values(CHANGES)) {
      const at = scene();
      const { ben, by, group, town } = at;
      const before = all(ben);
      by[who].says([ben], { kind: "group-change", group, change: make(at, by[who]), ...NONE });
      town.pass(5_000);
      assert.deepEqual(all(ben), before);
      const expected = [`a change of “Tea” from ${label(at, who)} cannot be used: ${why}; nothing was changed`];
      assert.deepEqual(told(ben), who === "stranger" ? [] : expected);
    }
  });
}

// --- invitations --------------------------------------------------------------------------------

function invitation(mallory: Mallory, to: Member, name = EVIL): GroupChange {
  const base = new Uint8Array(32).fill(7);
  const before = { ...emptyState(NEW_GROUP), revision: 1, name, members: new Map([[mallory.id, "admin"] as const]) };
  const add = { op: "add", person: to.id, role: "member" } as const;
  const change = mallory.signs({ group: NEW_GROUP, revision: 2, previous: headOf(base, before), ops: [add] });
  return { kind: "group-change", group: NEW_GROUP, change, state: encodeState(before), base };
}

const FORGED_INVITATIONS: Readonly<Record<string, readonly [(given: GroupChange) => GroupChange, string]>> = {
  forged: [(said) => ({ ...said, change: flipped(said.change) }), "it is forged or damaged"],
  "of another state": [(said) => ({ ...said, base: NEW_GROUP }), "it is forged or damaged"],
  "without state": [(said) => ({ ...said, ...NONE }), "it is forged or damaged"],
  "to another group": [(said) => ({ ...said, group: new Uint8Array(32) }), "it is of another group"],
};

for (const who of ["contact", "stranger"] as const) {
  test(`an invitation of a ${who} that cannot be used changes nothing, and is told of who is known`, () => {
    for (const [change, why] of Object.values(FORGED_INVITATIONS)) {
      const { ben, by, town } = scene();
      const before = all(ben);
      by[who].says([ben], change(invitation(by[who], ben)));
      town.pass(5_000);
      assert.deepEqual(all(ben), before);
      const expected = [`an invitation to a group from Eve cannot be used: ${why}; nothing was changed`];
      assert.deepEqual(told(ben), who === "stranger" ? [] : expected);
    }
  });
}

test("an invitation that somebody else has signed is none", () => {
  const { ben, by, town } = scene();
  by.contact.says([ben], invitation(by.stranger, ben));
  town.pass(5_000);
  const expected = "an invitation to a group from Eve cannot be used: it is somebody else's; nothing was changed";
  assert.deepEqual(told(ben), [expected]);
});

test("what is larger than a message may bring it is told as unreadable", () => {
  for (const change of [{ change: new Uint8Array(8_193) }, { state: new Uint8Array(4_097) }]) {
    const { ben, by, group, town } = scene();
    const before = all(ben);
    by.contact.says([ben], { ...invitation(by.contact, ben), group, ...change });
    town.pass(5_000);
    assert.deepEqual(all(ben), before);
    assert.deepEqual([ben.person.warnings, told(ben)], [["unreadable"], []]);
  }
});

test("what is good is taken up, and nothing is told: the control", () => {
  const { ada, ben, by, group, town } = scene();
  by.contact.says([ben], invitation(by.contact, ben, "Chess"));
  ada.groups.rename(keyOf(group), "Coffee");
  town.pass(5_000);
  assert.deepEqual(ben.groups.store.all().map((one) => stateOf(one).name).toSorted(), ["Chess", "Coffee"]);
  assert.deepEqual(told(ben), []);
});

test("changes that come late, twice or to one who has just left change nothing, and are not told", () => {
  const { ada, ben, by, group, town } = scene();
  for (const name of ["Coffee", "Cocoa"]) {
    ada.groups.rename(keyOf(group), name);
    town.pass(5_000);
  }
  const before = all(ben);
  const { chain } = ben.groups.found(keyOf(group));
  const again = (): void => {
    for (const { change } of chain.steps) {
      by.member.says([ben], { kind: "group-change", group, change: change.encoded, ...NONE });
    }
    town.pass(5_000);
  };
  again();
  assert.deepEqual(all(ben), before);
  ben.groups.leave(keyOf(group));
  town.pass(5_000);
  again();
  assert.deepEqual(ben.person.warnings, []);
});

// --- lists --------------------------------------------------------------------------------------

function listOf(identity: OwnIdentity, at: number, revision = 1): Uint8Array {
  const first = { key: identity.peer.public, added: at, consent: consent(identity, identity.peer.userId) };
  return signList(identity, { revision, previous: NOTHING, at, until: at + LIFE_MS, devices: [first] }).encoded;
}

/** Whose identity a list is made with, when, what becomes of it, and what is told. */
const LISTS: readonly (readonly [string, number, (list: Uint8Array) => Uint8Array, string])[] = [
  ["own", 0, flipped, "it is forged or damaged"],
  ["own", 0, (list) => Uint8Array.of(...list, ...new Uint8Array(1_000)), "it is forged or damaged"],
  ["a spy's", 0, (list) => list, "it is somebody else's"],
  ["own", 2 * DAY_MS, (list) => list, "it is dated in the future"],
  ["own", 0, (list) => Uint8Array.of(2, ...list.subarray(1)), "it needs a newer version; reload this page"],
];

for (const who of WHO) {
  test(`a list of devices of a ${who} that cannot be used changes nothing, and is told of who is known`, () => {
    const at = scene();
    const { ben, by, town } = at;
    for (const [whose, later, change, why] of LISTS) {
      town.clock.monotonic += DAY_MS;
      ben.person.events.length = 0;
      const before = all(ben);
      const identity = whose === "own" ? by[who].ports.identity : new OwnIdentity(random(32));
      const encoded = change(listOf(identity, town.clock.wall + later));
      const { desk } = devicesOf(ben.person);
      ben.person.events.push(...desk.listCame(encoded, ben.person.messenger.now(), by[who].id));
      assert.deepEqual(all(ben), before);
      const expected = [`a list of devices from ${label(at, who)} cannot be used: ${why}; nothing was changed`];
      assert.deepEqual(told(ben), who === "stranger" ? [] : expected);
    }
  });
}

test("a list comes with who has sent it", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  const { desk } = devicesOf(alice);
  const encoded = listOf(new OwnIdentity(random(32)), town.clock.wall);
  desk.tellList({ encoded } as Parameters<typeof desk.tellList>[0], [bob.id]);
  town.pass(3_000);
  const sentences = bob.events.flatMap((event) => (event.kind === "warning" ? [[event.peer?.userId, event.code]] : []));
  assert.deepEqual(sentences, [[alice.id, "unusable"]]);
});

test("a list that is old, or comes again, changes nothing, and is not told; a newer one is taken up: the control", () => {
  const { ben, by, town } = scene();
  const { identity } = by.contact.ports;
  const { desk } = devicesOf(ben.person);
  const revisions = [3, 2, 3, 5].map((revision) => {
    const said = desk.listCame(listOf(identity, town.clock.wall, revision), ben.person.messenger.now(), by.contact.id);
    assert.deepEqual(said, []);
    return ben.person.messenger.stores.devices?.known(by.contact.id)?.newest.revision;
  });
  assert.deepEqual(revisions, [3, 3, 3, 5]);
});

test("the relay is named if it hands out a list that is forged, and not if it is a stranger's", () => {
  const { ben, by, town } = scene();
  const { desk } = devicesOf(ben.person);
  const list = listOf(by.contact.ports.identity, town.clock.wall);
  ben.person.events.push(...desk.listCame(listOf(by.stranger.ports.identity, town.clock.wall), ben.person.messenger.now()));
  assert.deepEqual(told(ben), []);
  ben.person.events.push(...desk.listCame(flipped(list), ben.person.messenger.now()));
  const expected = "a list of devices from the relay cannot be used: it is forged or damaged; nothing was changed";
  assert.deepEqual(told(ben), [expected]);
});

// --- how much is told ---------------------------------------------------------------------------

test("each kind is told once a day of each person, and of those who are made up no more than so much", () => {
  const { ben } = scene();
  const { stores } = ben.person.messenger;
  const now = ben.person.messenger.now();
  stores.book.mayNotify = () => true;
  const telling = new Unusable(stores);
  const count = (people: number, later: number): number => {
    const at = { ...now, monotonic: now.monotonic + later };
    const ids = Array.from({ length: people }, (_, index) => encodeBase64(new Uint8Array(32).fill(index)));
    return ids.flatMap((id) => [LIST, INVITATION].flatMap((what) => telling.tell(id, what, "form", at))).length;
  };
  assert.deepEqual([count(2, 0), count(2, DAY_MS - 1), count(2, DAY_MS)], [4, 0, 4]);
  assert.deepEqual([count(200, DAY_MS), count(200, 2 * DAY_MS), count(200, 2 * DAY_MS)], [MOST - 4, MOST, 0]);
  assert.equal(telling.tell(ben.id, LIST, "previous", now).length, 0, "nothing else is told");
});

test("nothing of what was sent is in the sentence", () => {
  const { ben, by, group, town } = scene();
  by.member.says([ben], { kind: "group-change", group, change: CHANGES["forged"]?.[0](scene(), by.member) ?? group, ...NONE });
  by.contact.says([ben], { ...invitation(by.contact, ben), base: NEW_GROUP });
  town.pass(5_000);
  assert.equal(told(ben).length, 2);
  for (const sentence of told(ben)) assert.match(sentence, /^[\w “”…:;]+$/);
});
