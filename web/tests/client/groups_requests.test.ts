/** What somebody has said in a group before they were known to be in it waits as a request, and no longer than that. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Looks } from "../../core/client/groups/looks.ts";
import { stateOf } from "../../core/client/groups/store.ts";
import { GroupView } from "../../core/client/groups/view.ts";
import { UndecryptableMessage } from "../../core/crypto/errors.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { link } from "./family.ts";
import { Member } from "./members.ts";
import { type Frame, Town } from "./town.ts";

const MINUTE = 60_000;

/** Ada, Ben and Cleo in a group that Ada has made: she knows both, and they know her alone. */
function strangers(): readonly [Town, Member, Member, Member, string] {
  const town = new Town();
  const [ada, ben, cleo] = [new Member(town), new Member(town), new Member(town)];
  makeContact(ada, "Ben", ben);
  makeContact(ada, "Cleo", cleo);
  town.pass(3_000);
  const id = ada.groups.create("Tea", [ben.id, cleo.id]);
  town.pass(5_000);
  for (const one of [ben, cleo]) one.groups.accept(id);
  town.pass(10_000);
  return [town, ada, ben, cleo, id];
}

function makeContact(ada: Member, name: string, other: Member): void {
  ada.knows(name, other);
  other.knows("Ada", ada);
}

/** All that may be looked into of strangers in this hour was. */
function withoutLooks(context: TestContext): void {
  context.mock.method(Looks.prototype, "take", () => false);
}

/** Nothing that waits is looked at for the sake of a group. */
function neverLooksAt({ person }: Member, context: TestContext): void {
  context.mock.method(person.messenger["receiving"], "openAboutGroups", () => []);
}

/** The relay keeps back what these write to somebody; it is put here. */
function keepBack({ person }: Member, ...senders: Member[]): Frame[] {
  const late: Frame[] = [];
  person.tamper = (frame) => {
    const isHeld = frame.type === "MESSAGE" && senders.some(({ id }) => id === frame.payload["senderId"]);
    if (isHeld) late.push(frame);
    return isHeld ? [] : [frame];
  };
  return late;
}

function letCome({ person }: Member, late: readonly Frame[] = []): void {
  person.tamper = (frame) => [frame];
  for (const frame of late) person.get(frame);
}

const requestsOf = ({ person }: Member): string[] => person.messenger.stores.requests.senders();
const isIn = (id: string, one: Member, by: Member): boolean => stateOf(by.groups.found(id)).members.has(one.id);

/** Ada has added Dan, and Ben has not heard of it; Dan has written. */
function grown(): readonly [Town, Member, Member, Member, string] {
  const [town, ada, ben, , id] = strangers();
  const dan = new Member(town);
  makeContact(ada, "Dan", dan);
  town.pass(2_000);
  keepBack(ben, ada);
  ada.groups.add(id, [dan.id], "member");
  town.pass(2_000);
  dan.groups.accept(id);
  dan.groups.sendText(id, "I am Dan");
  town.pass(2_000);
  assert.deepEqual([requestsOf(ben), ben.texts(id), isIn(id, dan, ben)], [[dan.id], [], false]);
  return [town, ada, ben, dan, id];
}

for (const isLookedAt of [true, false]) {
  const name = isLookedAt ? "is read" : "is not, if nothing looks at it: the control";

  test(`once the list says whose a device is, what it has written ${name}`, (context) => {
    withoutLooks(context);
    const [town, , ben, cleo, id] = strangers();
    const tablet = new Member(town);
    keepBack(ben, cleo);
    link(town, cleo.person, tablet.person);
    town.pass(5_000);
    tablet.groups.sendText(id, "from a tablet");
    town.pass(5_000);
    assert.deepEqual([requestsOf(ben), ben.texts(id)], [[tablet.id], []]);
    if (!isLookedAt) neverLooksAt(ben, context);
    const { devices } = cleo.person.messenger.stores;
    const withPreKeys = encodeBase64(devices?.own?.newest.encoded ?? assert.fail());
    ben.person.messenger["receiving"].devices?.listCame(withPreKeys, ben.person.messenger.now());
    assert.equal(ben.person.messenger.stores.devices?.personOf(tablet.id), cleo.id);
    assert.deepEqual([requestsOf(ben), ben.texts(id)], isLookedAt ? [[], ["from a tablet"]] : [[tablet.id], []]);
  });

  test(`once somebody has told the changes, what a new member has written ${name}`, (context) => {
    withoutLooks(context);
    const [town, ada, ben, dan, id] = grown();
    if (!isLookedAt) neverLooksAt(ben, context);
    letCome(ben);
    ada.groups.sendText(id, "welcome, Dan");
    town.pass(10_000);
    assert.ok(isIn(id, dan, ben));
    assert.deepEqual([requestsOf(ben), ben.texts(id).includes("I am Dan")], isLookedAt ? [[], true] : [[dan.id], false]);
  });

  test(`once the first device has told of them, on a linked one what a new member has written ${name}`, (context) => {
    withoutLooks(context);
    const [town, ada, ben, , id] = strangers();
    const [laptop, dan] = [new Member(town), new Member(town)];
    link(town, ben.person, laptop.person);
    makeContact(ada, "Dan", dan);
    town.pass(5_000);
    const late = keepBack(laptop, ada, ben);
    ada.groups.add(id, [dan.id], "member");
    town.pass(2_000);
    dan.groups.accept(id);
    town.pass(5_000);
    const told = late.filter(({ payload }) => payload["senderId"] === ben.id);
    ben.groups.sendText(id, "by which Dan hears of the laptop");
    town.pass(5_000);
    dan.groups.sendText(id, "I am Dan");
    town.pass(2_000);
    assert.deepEqual([requestsOf(laptop).includes(dan.id), laptop.texts(id), isIn(id, dan, laptop)], [true, [], false]);
    if (!isLookedAt) neverLooksAt(laptop, context);
    letCome(laptop, told);
    assert.ok(isIn(id, dan, laptop));
    assert.deepEqual([requestsOf(laptop).includes(dan.id), laptop.texts(id).includes("I am Dan")], [!isLookedAt, isLookedAt]);
  });
}

for (const isNoted of [true, false]) {
  const name = isNoted ? "is asked for" : "is only let go, if it is not noted: the control";

  test(`what cannot be read of a new member, once they are known to be one, ${name}`, (context) => {
    withoutLooks(context);
    const [town, ada, ben, dan, id] = grown();
    dan.knows("Ben", ben); // or his question would wait there as a request
    const { conversations, recovery, requests } = ben.person.messenger.stores;
    const open = conversations.open.bind(conversations);
    context.mock.method(conversations, "open", (...given: Parameters<typeof open>) => {
      const isOfDan = given[1].payload.senderId === dan.id;
      if (isOfDan && requests.waiting(dan.id) > 0) throw new UndecryptableMessage("the prekeys that it names are gone");
      return open(...given);
    });
    if (!isNoted) context.mock.method(recovery, "note", () => false);
    letCome(ben);
    ada.groups.sendText(id, "welcome, Dan");
    town.pass(MINUTE);
    assert.deepEqual([requestsOf(ben), isIn(id, dan, ben)], [[], true]);
    assert.equal(ben.texts(id).includes("I am Dan"), isNoted);
    assert.equal(ben.person.warnings.includes("waiting"), isNoted);
  });
}

test("of a stranger's request it is said whether they invite, write in a group of others, or neither", (context) => {
  withoutLooks(context);
  const [town, , ben, dan] = grown();
  const [eve, fay] = [new Member(town), new Member(town)];
  for (const one of [eve, fay]) one.knows("Ben", ben);
  eve.person.messenger.sendText(ben.id, "hello");
  fay.groups.create("Chess", [ben.id]);
  town.pass(5_000);
  const view = new GroupView(ben.person.messenger.stores, ben.groups, ben.id);
  const invitations = (by: Member): readonly string[] | undefined => {
    return view.invitationsOf(by.id, ben.person.messenger.now())?.map(({ name }) => name);
  };
  assert.deepEqual([dan, eve, fay].map(invitations), [undefined, [], ["Chess"]]);
});
