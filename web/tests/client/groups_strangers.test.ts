/** What those can do who know a group's id and are no members, who invite, or who want a sign of life: it is bounded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { GroupSaid } from "../../core/client/groups/contents.ts";
import { LinkLooks, LOOKS, LOOKS_MS, LOOKS_OF_ONE, Looks } from "../../core/client/groups/looks.ts";
import type { Moment } from "../../core/client/moment.ts";
import type { RoutedMessage } from "../../core/wire/frames.ts";
import { MAX_HELD } from "../../core/client/groups/holding.ts";
import { MAX_OF_ONE, stateOf } from "../../core/client/groups/store.ts";
import { groupOf, keyOf, Mallory, Member, membersOf, recipientsOf, withMallory } from "./members.ts";
import { random } from "./support.ts";
import type { Frame, Town } from "./town.ts";

const MINUTE = 60_000;

/** What somebody claims who knows more than there is. */
function ahead(group: Uint8Array, n: number): GroupSaid {
  return { kind: "group-text", group, revision: 900, head: random(32), n, body: "I know more" };
}

/** Of how many of these there is a session. */
function sessionsWith({ person }: Member, others: readonly Mallory[]): number {
  const { conversations } = person.messenger.stores;
  return others.filter(({ id }) => conversations.load(id).sending !== null).length;
}

/** How many of these wait as a request. */
function requestsOf({ person }: Member, others: readonly Mallory[]): number {
  return others.filter(({ id }) => person.messenger.stores.requests.waiting(id) > 0).length;
}

test("strangers who know a group are taken in while there is room; a newcomer's text is read after the change", () => {
  const [town, members, id] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const { group } = ada.groups.found(id).record;
  const most = MAX_HELD / MAX_OF_ONE;
  const others = Array.from({ length: most + 2 }, () => new Mallory(town));
  for (const one of others) {
    for (let n = 1; n <= MAX_OF_ONE; n += 1) one.says([ben], ahead(group, n));
    town.pass(1_000);
  }
  assert.deepEqual([sessionsWith(ben, others), requestsOf(ben, others)], [most, 2]);
  const newcomer = others.at(-1) as Mallory;
  ada.knows("Newcomer", newcomer as unknown as Member);
  ada.groups.add(id, [newcomer.id], "member");
  town.pass(5_000);
  assert.equal(ben.texts(id).length, MAX_OF_ONE);
  assert.equal(requestsOf(ben, others), 1);
});

for (const isMade of [false, true]) {
  test(`changes of a stranger${isMade ? " that prove themselves are taken: the control" : " from which nothing follows are a request"}`, () => {
    const [town, members, id] = groupOf(2);
    const [ada, ben] = members as [Member, Member];
    const eve = new Mallory(town);
    const { chain, record } = ada.groups.found(id);
    const next = { group: record.group, revision: chain.state.revision + 1, previous: chain.head };
    const made = ada.person.messenger["identity"];
    const change = isMade ? eve.signs({ ...next, ops: [{ op: "timer", ms: MINUTE }] }, made) : random(100);
    eve.says([ben], { kind: "group-changes", group: record.group, changes: [change], picture: new Uint8Array(), ordered: 0 });
    town.pass(1_000);
    assert.deepEqual([stateOf(ben.groups.found(id)).timer, requestsOf(ben, [eve])], isMade ? [MINUTE, 0] : [0, 1]);
  });
}

for (const isRight of [false, true]) {
  test(`a stranger with a ${isRight ? "token is added: the control" : "token of nobody is no request: there is nothing to read"}`, () => {
    const [town, [ada]] = membersOf(1) as [Town, [Member]];
    const id = ada.groups.create("Tea", []);
    const { token } = ada.groups.link(id, "wss://relay.test/ws", { uses: 5, lasts: MINUTE });
    const eve = new Mallory(town);
    eve.asksUnder(token, ada, isRight ? token : random(16));
    town.pass(5_000);
    assert.equal(stateOf(ada.groups.found(id)).members.has(eve.id), isRight);
    assert.equal(requestsOf(ada, [eve]), 0);
  });
}

for (const isBounded of [true, false]) {
  test(`what strangers write under the id of a link is looked into ${isBounded ? "a few times" : "without end: the control"}`, (context) => {
    const { take } = LinkLooks.prototype;
    if (!isBounded) {
      context.mock.method(LinkLooks.prototype, "take", function (this: LinkLooks, ...given: Parameters<typeof take>) {
        return take.apply(this, given) || true;
      });
    }
    const [town, [ada]] = membersOf(1) as [Town, [Member]];
    const id = ada.groups.create("Tea", []);
    const { token } = ada.groups.link(id, "wss://relay.test/ws", { uses: 5, lasts: MINUTE });
    const [eve, newcomer] = [new Mallory(town), new Mallory(town)];
    const { mock } = context.mock.method(ada.person.messenger.stores.inbox, "receive");
    for (let n = 0; n < 20; n += 1) eve.asksUnder(token, ada, random(16));
    town.pass(1_000);
    assert.equal(mock.callCount(), isBounded ? LOOKS_OF_ONE : 20);
    newcomer.asksUnder(token, ada, token);
    town.pass(5_000);
    assert.ok(stateOf(ada.groups.found(id)).members.has(newcomer.id));
    if (isBounded) assert.equal(mock.callCount(), LOOKS_OF_ONE + 1);
  });
}

test("those who ask to join by a link count for themselves alone", (context) => {
  const joined = (link: LinkLooks): number => {
    const people = Array.from({ length: 200 }, (_, number) => `person ${number}`);
    return people.filter((one) => {
      const isLookedInto = link.take(one, `${one} m`, 0);
      if (isLookedInto) link.asksToJoin();
      return isLookedInto;
    }).length;
  };
  const link = new LinkLooks();
  assert.equal(joined(link), 200);
  assert.deepEqual([link.take("person 0", "person 0 m", 0), link.take("eve", "m", 0), link.take("eve", "m", 0)], [true, true, false]);
  const others = Array.from({ length: LOOKS }, (_, number) => link.take(`stranger ${number}`, `${number}`, 0));
  assert.deepEqual(others, [...Array<boolean>(LOOKS - 1).fill(true), false]);
  context.mock.method(LinkLooks.prototype, "asksToJoin", () => {});
  assert.equal(joined(new LinkLooks()), LOOKS, "the control");
});

test("strangers have so many messages looked into in an hour", () => {
  const looked = new Looks();
  const taken = Array.from({ length: LOOKS + 2 }, () => looked.take(0));
  assert.deepEqual(taken, [...Array<boolean>(LOOKS).fill(true), false, false]);
  assert.deepEqual([looked.take(LOOKS_MS - 1), looked.take(LOOKS_MS)], [false, true]);
});

for (const isBounded of [true, false]) {
  test(`what strangers open in vain ${isBounded ? "waits as a request once so much was looked into" : "is looked into without end: the control"}`, (context) => {
    if (!isBounded) context.mock.method(Looks.prototype, "take", () => true);
    const [town, [ada]] = membersOf(1) as [Town, [Member]];
    // Of one stranger only the first can be read while nobody has accepted them.
    const others = [0, 1, 2, 3].map(() => new Mallory(town));
    const ask = (count: number): void => {
      for (let asked = 0; asked < count; asked += 1) others[asked % others.length]?.asksUnder(random(16), ada, random(16));
      town.settle();
    };
    const { requests } = ada.person.messenger.stores;
    const waiting = (): number => others.reduce((sum, { id }) => sum + requests.waiting(id), 0);
    ask(LOOKS);
    assert.equal(waiting(), 0);
    ask(2);
    assert.equal(waiting(), isBounded ? 2 : 0);
    town.clock.monotonic += LOOKS_MS;
    ask(1);
    assert.equal(waiting(), isBounded ? 2 : 0, "an hour later there is room again");
  });
}

const BOUNDED = {
  "so many are looked into, each once, and none again with a change": [60, 1],
  "all are without that bound: the control": [100, 101],
  "half as many are if one takes two looks: the control": [30, 1],
} as const;

for (const [name, [most, again]] of Object.entries(BOUNDED)) {
  test(`of messages of strangers who know a group ${name}`, (context) => {
    const [town, members, id] = groupOf(2);
    const [ada, ben] = members as [Member, Member];
    const { group } = ada.groups.found(id).record;
    const { strangers } = ben.groups.arrivals;
    if (most === 100) context.mock.method(strangers, "expects", () => true);
    if (most === 30) {
      const ask = strangers.asksInVain.bind(strangers);
      context.mock.method(strangers, "asksInVain", (frame: RoutedMessage, now: Moment) => ask(frame, now));
    }
    const { mock } = context.mock.method(ben.person.messenger.stores.inbox, "receive");
    for (const one of Array.from({ length: 5 }, () => new Mallory(town))) {
      for (let n = 0; n < 20; n += 1) one.says([ben], { kind: "group-hello", group, revision: 1, head: random(32), name: `${n}` });
      town.pass(2_000);
    }
    const came = mock.callCount();
    assert.equal(came, most);
    ada.groups.rename(id, "Coffee");
    town.pass(5_000);
    assert.equal(mock.callCount() - came, again);
  });
}

for (const isKnown of [true, false]) {
  test(`a message that ${isKnown ? "waits takes no look" : "is not known to wait takes one: the control,"} when it comes again`, (context) => {
    const [town, members, id] = groupOf(2);
    const [, ben] = members as [Member, Member];
    const eve = new Mallory(town);
    const { mock } = context.mock.method(Looks.prototype, "take");
    let came: Frame | null = null;
    ben.person.tamper = (frame) => {
      if (frame.payload["senderId"] === eve.id) came = frame;
      return [frame];
    };
    eve.says([ben], { kind: "group-hello", group: ben.groups.found(id).record.group, revision: 1, head: random(32) });
    town.pass(1_000);
    assert.ok(came !== null);
    assert.deepEqual([mock.callCount(), requestsOf(ben, [eve])], [1, 1]);
    if (!isKnown) context.mock.method(ben.person.vault, "has", () => false);
    ben.person.get(came);
    assert.equal(mock.callCount(), isKnown ? 1 : 2);
  });
}

test("what cannot be read of a stranger who knows a group is told to nobody, and of a member it is: the control", () => {
  const [town, members, id] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const { group } = ada.groups.found(id).record;
  const eve = new Mallory(town);
  ben.person.tamper = (frame) => [frame.type === "MESSAGE" ? { ...frame, payload: { ...frame.payload, encrypted: "AAAA" } } : frame];
  eve.says([ben], { kind: "group-hello", group, revision: 1, head: random(32) });
  town.pass(2_000);
  assert.deepEqual(ben.person.warnings, []);
  ada.groups.sendText(id, "hello");
  town.pass(2_000);
  assert.notDeepEqual(ben.person.warnings, []);
});

test("nothing is left of an invitation that is taken back, unless its user was a member before", () => {
  const [town, members] = membersOf(2);
  const [ada, ben] = members as [Member, Member];
  for (let n = 0; n < 3; n += 1) {
    const id = ada.groups.create(`Spam ${n}`, [ben.id]);
    town.pass(5_000);
    assert.equal(ben.relation(id), "invited");
    ada.groups.remove(id, [ben.id]);
    town.pass(5_000);
  }
  assert.equal(ben.groups.store.size, 0);
  ben.beginAnew();
  assert.equal(ben.groups.store.size, 0);
  const id = ada.groups.create("Tea", [ben.id]);
  town.pass(5_000);
  ben.groups.accept(id);
  town.pass(5_000);
  for (const relation of ["removed", "invited", "removed"]) {
    if (relation === "removed") ada.groups.remove(id, [ben.id]);
    else ada.groups.add(id, [ben.id], "member");
    town.pass(5_000);
    assert.equal(ben.relation(id), relation);
  }
});

test("of a rival change that strangers bring its author is named, once", () => {
  const [town, members, id] = groupOf(2);
  const [ada, ben] = members as [Member, Member];
  const { chain, record } = ada.groups.found(id);
  const next = { group: record.group, revision: chain.state.revision + 1, previous: chain.head };
  const rival = new Mallory(town).signs({ ...next, ops: [{ op: "timer", ms: MINUTE }] }, ada.person.messenger["identity"]);
  ada.groups.rename(id, "Coffee");
  town.pass(5_000);
  const doubts = [0, 1, 2].map(() => {
    const changes = { kind: "group-changes", group: record.group, changes: [rival], picture: new Uint8Array(), ordered: 0 } as const;
    new Mallory(town).says([ben], changes);
    town.pass(1_000);
    const { doubt, rival: by } = ben.groups.found(id).record;
    ben.groups.goOn(id);
    return doubt === "" ? "" : by;
  });
  assert.deepEqual(doubts, [ada.id, "", ""]);
});

// --- who appears offline ------------------------------------------------------------------------

const QUESTIONS: Record<string, (group: Uint8Array) => GroupSaid> = {
  asks: (group) => ({ kind: "group-ask", group, from: 0, picture: false, ordered: 0 }),
  "is ahead": (group) => ahead(group, 1),
  "greets ahead": (group) => ({ kind: "group-hello", group, revision: 900, head: random(32) }),
  leaves: (group) => ({ kind: "group-leave", group }),
};

for (const [name, question] of Object.entries(QUESTIONS)) {
  for (const isAbsent of [true, false]) {
    test(`a member who ${name} gets ${isAbsent ? "no" : "a"} sign of life${isAbsent ? " of who appears offline" : ": the control"}`, () => {
      const [town, members, mallory, group] = withMallory();
      const [ada] = members as [Member, Member];
      if (isAbsent) ada.person.messenger.changeSettings({ presence: false });
      town.pass(1_000);
      ada.person.sent.length = 0;
      mallory.says([ada], question(group));
      town.pass(2 * MINUTE);
      assert.equal(recipientsOf(ada).length === 0, isAbsent);
      assert.ok(ada.person.messenger.nextTick() > 0);
    });
  }
}

test("what members want is done once the user writes, and what the user wants before it", () => {
  const [town, members, mallory, group] = withMallory();
  const [ada, ben] = members as [Member, Member];
  const id = keyOf(group);
  ada.person.messenger.changeSettings({ presence: false });
  mallory.says([ada], { kind: "group-leave", group });
  town.pass(MINUTE);
  ada.groups.rename(id, "Coffee");
  town.pass(5_000);
  assert.equal(stateOf(ben.groups.found(id)).name, "Coffee");
  assert.ok(stateOf(ben.groups.found(id)).members.has(mallory.id));
  ada.groups.sendText(id, "I am here");
  town.pass(5_000);
  assert.equal(stateOf(ben.groups.found(id)).members.has(mallory.id), false);
});

for (const isKnown of [true, false]) {
  test(`what strangers have said in a group is read with ${isKnown ? "the invitation" : "an invitation that waited as a request itself"}`, () => {
    const [town, members, id] = groupOf(2);
    const [ada, ben] = members as [Member, Member];
    const cleo = new Member(town);
    const late: Frame[] = [];
    if (isKnown) {
      cleo.knows("Ada", ada);
      // The invitation is late.
      cleo.person.tamper = (frame) => {
        const isOfAda = frame.type === "MESSAGE" && frame.payload["senderId"] === ada.id;
        if (isOfAda) late.push(frame);
        return isOfAda ? [] : [frame];
      };
    }
    ada.knows("Cleo", cleo);
    town.pass(2_000);
    ada.groups.add(id, [cleo.id], "member");
    town.pass(3_000);
    ben.groups.sendText(id, "welcome");
    town.pass(3_000);
    const { requests } = cleo.person.messenger.stores;
    assert.deepEqual(requests.senders().includes(ben.id), true, "the control: it waits");
    if (isKnown) {
      cleo.person.tamper = (frame) => [frame];
      for (const frame of late) cleo.person.get(frame);
    } else {
      cleo.knows("Ada", ada);
    }
    town.pass(2_000);
    assert.deepEqual(requests.senders(), []);
    cleo.groups.accept(id);
    assert.deepEqual(cleo.texts(id), ["welcome"]);
  });
}
