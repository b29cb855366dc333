/** Messages that are not here yet but are spoken of, and devices that somebody else's list names, too. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_EARLY, dropEarly, forgetEarly, noteEarly, takeEarly } from "../../core/client/devices/early.ts";
import { LIFE_MS, consent, signList } from "../../core/client/devices/device_list.ts";
import type { DeviceList } from "../../core/client/devices/device_list.ts";
import { linkLine } from "../../core/client/devices/link_code.ts";
import * as records from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import { RELAY, begin, devicesOf, family, link, step } from "./family.ts";
import { random } from "./support.ts";
import { type Person, Town } from "./town.ts";

const { EARLY_READ, EARLY_SENT } = records;
const DAY = 86_400_000;

/** What is noted of messages here, and what was. */
function early(person: Person) {
  const { vault } = person.messenger.stores;
  return {
    note: (kind: typeof EARLY_SENT, whose: string, messageId: string, now = 0, state: DeliveryState = DeliveryState.READ) =>
      vault.transaction((tx) => noteEarly([vault, tx], kind, { messageId, now, person: whose, state })),
    take: (kind: typeof EARLY_SENT, whose: string, messageId: string) =>
      vault.transaction((tx) => takeEarly([vault, tx], kind, whose, messageId)),
  };
}

test("one person takes the place of no other, and their newest stay", () => {
  const { note, take } = early(new Town().person());
  note(EARLY_SENT, "bob", "early");
  for (let at = 0; at < MAX_EARLY + 10; at += 1) note(EARLY_SENT, "mallory", String(at));
  assert.equal(take(EARLY_SENT, "bob", "early"), DeliveryState.READ);
  assert.equal(take(EARLY_SENT, "mallory", "9"), null);
  assert.equal(take(EARLY_SENT, "mallory", "10"), DeliveryState.READ);
  assert.equal(take(EARLY_SENT, "mallory", String(MAX_EARLY + 9)), DeliveryState.READ);
});

test("what is said of one's own and of theirs is kept apart, the furthest counts, and it ends", () => {
  const person = new Town().person();
  const { vault } = person.messenger.stores;
  const { note, take } = early(person);
  note(EARLY_SENT, "bob", "same", 0, DeliveryState.BURNED);
  note(EARLY_SENT, "bob", "same", 0, DeliveryState.DELIVERED);
  assert.equal(take(EARLY_READ, "bob", "same"), null);
  assert.equal(take(EARLY_SENT, "bob", "same"), DeliveryState.BURNED);
  assert.equal(vault.count(EARLY_SENT), 0);
  note(EARLY_READ, "carol", "old");
  note(EARLY_READ, "carol", "new", 30 * DAY);
  assert.equal(take(EARLY_READ, "carol", "old"), null);
  note(EARLY_SENT, "carol", "x");
  vault.transaction((tx) => forgetEarly(tx, 31 * DAY));
  assert.deepEqual([vault.count(EARLY_READ), vault.count(EARLY_SENT)], [1, 0]);
  vault.transaction((tx) => dropEarly(tx, "carol"));
  assert.equal(vault.count(EARLY_READ), 0);
});

/** A list that somebody signs, with the consent of all. */
function listed(owner: Person, others: readonly Person[], before?: DeviceList): DeviceList {
  const identity = owner.messenger["identity"];
  const at = owner.messenger.now().wall;
  const devices = [owner, ...others].map(({ messenger }) => ({
    key: messenger["identity"].peer.public,
    added: at,
    consent: consent(messenger["identity"], identity.peer.userId),
  }));
  const revision = (before?.revision ?? 0) + 1;
  return signList(identity, { revision, previous: before?.hash ?? new Uint8Array(32), at, until: at + LIFE_MS, devices });
}

function takeUp(person: Person, list: DeviceList): void {
  devicesOf(person).desk.listCame(list.encoded, person.messenger.now());
}

test("a person whom a list names no more keeps what waits for them", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  const carol = town.person();
  alice.messenger.contacts.add("Carol", carol.id);
  const first = listed(carol, [bob]);
  takeUp(alice, first);
  alice.disconnect();
  alice.messenger.sendText(bob.id, "to a person");
  takeUp(alice, listed(carol, [], first));
  alice.connect();
  town.pass(3_000);
  assert.deepEqual(bob.received().slice(-1), ["to a person"]);
});

test("a device on two lists is the first one's, and then the other's", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  const [carol, tablet] = [town.person(), town.person()];
  alice.messenger.contacts.add("Carol", carol.id);
  const [ofBob, ofCarol] = [listed(bob, [tablet]), listed(carol, [tablet])];
  const whose = (): readonly (string | undefined)[] => [
    alice.messenger.stores.devices?.personOf(tablet.id),
    alice.messenger.stores.book.person(tablet.id).userId,
  ];
  takeUp(alice, ofBob);
  takeUp(alice, ofCarol);
  assert.deepEqual(whose(), [bob.id, bob.id]);
  takeUp(alice, listed(bob, [], ofBob));
  assert.deepEqual(whose(), [carol.id, carol.id]);
  takeUp(alice, listed(carol, [], ofCarol));
  assert.deepEqual(whose(), [tablet.id, tablet.id]);
  assert.equal(alice.messenger.stores.book.has(tablet.id), false);
});

test("an offer without the code ends no link, however late it comes", () => {
  const town = new Town();
  const [phone, fresh, thief] = [town.person(), town.person(), town.person()];
  begin(town, phone, fresh);
  const { linking } = devicesOf(fresh);
  assert.equal(linking.isUnused, true, "whoever links it does not make it used");
  town.clock.wall += 400_000;
  town.clock.monotonic += 400_000;
  devicesOf(thief).linking.begin(linkLine({ relay: RELAY, id: fresh.messenger["identity"].peer.userId, secret: random(16) }));
  thief.messenger.devicesChanged();
  town.pass(3_000);
  assert.deepEqual([step(fresh).step, linking.isOpen], ["digits", true]);
});

test("beginning another link ends the one that is open", () => {
  const town = new Town();
  const [phone, fresh, tablet] = [town.person(), town.person(), town.person()];
  begin(town, phone, fresh);
  begin(town, phone, tablet);
  assert.equal(step(fresh).step, "ended");
  assert.equal(devicesOf(fresh).linking.isOpen, false);
  assert.equal(step(tablet).step, "digits");
});

test("the end of an earlier link does not end the next one", () => {
  const town = new Town();
  const [phone, fresh] = [town.person(), town.person()];
  begin(town, phone, fresh);
  phone.disconnect();
  devicesOf(phone).linking.cancel();
  const line = devicesOf(fresh).showCode(RELAY, "Laptop"); // the relay has its link-end for the phone
  fresh.messenger.devicesChanged();
  town.pass(2_000);
  devicesOf(phone).linking.begin(line);
  phone.connect();
  phone.messenger.devicesChanged();
  town.pass(3_000);
  assert.equal(step(phone).step, "answered");
});

for (const [which, revision] of [
  ["an older list", 1],
  ["a newer list", 99],
] as const) {
  test(`who appears offline says nothing to a contact who names ${which}, and something to own devices`, () => {
    const [town, phone, laptop, bob] = family();
    const tablet = town.person();
    link(town, bob, tablet);
    for (const one of [phone, bob]) devicesOf(one).desk.renew();
    town.pass(5_000);
    const namedBy = (one: Person): readonly string[] => {
      const { devices } = one.messenger.stores;
      const list = devices?.own?.newest;
      assert.ok(devices !== null && list !== undefined);
      devices.claim = () => ({ revision, hash: new Uint8Array(32) });
      const before = phone.sent.length;
      devicesOf(one).desk.tellList(list, [phone.id]);
      one.messenger.devicesChanged();
      town.pass(20_000);
      const about = phone.sent.slice(before).filter((frame) => JSON.stringify(frame).includes(one.id));
      return about.map(({ type }) => type).filter((type) => type === "MESSAGE_MANY" || type === "KEY_EXCHANGE_INIT");
    };
    phone.messenger.changeSettings({ presence: false });
    town.pass(5_000);
    assert.deepEqual(namedBy(bob), []);
    // The first device has signed all lists there are: of a newer one it need not ask.
    assert.equal(namedBy(laptop).length > 0, revision === 1);
    phone.messenger.changeSettings({ presence: true });
    town.pass(3_700_000);
    assert.notDeepEqual(namedBy(bob), [], "the control");
  });
}
