/** Faults of this program at what others have sent: they must not keep its user from everything else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Person, Town } from "./town.ts";

/** The program of somebody fails at a message once it has taken it in. */
function failAt({ messenger }: Person, poison: string): void {
  const { requests } = messenger.stores;
  const open = requests.open.bind(requests);
  requests.open = (tx, record, now) => {
    const opened = open(tx, record, now);
    if (record.messageId === poison) throw new TypeError("a fault");
    return opened;
  };
}

test("a stranger's message that the page fails at stays where it is, at each start; everything else goes on", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  alice.toleratesFaults = true;
  const eve = town.person();
  eve.messenger.contacts.add("Alice", alice.id);
  for (const text of ["poison", "and then"]) eve.messenger.sendText(alice.id, text);
  town.pass(3_000);
  const told = () => alice.warnings.filter((code) => code === "aside").length;
  const waiting = () => alice.messenger.stores.requests.waiting(eve.id);
  assert.equal(waiting(), 2);
  const poison = alice.messenger.stores.requests.of(eve.id)[0]?.messageId ?? "";
  failAt(alice, poison);
  alice.messenger.contacts.add("Eve", eve.id);
  town.pass(12_000);
  assert.deepEqual([alice.received(), waiting(), told()], [["and then"], 1, 1]);
  alice.beginAnew();
  failAt(alice, poison);
  bob.messenger.sendText(alice.id, "of somebody else");
  eve.messenger.sendText(alice.id, "later");
  town.pass(12_000);
  assert.deepEqual([alice.received().sort(), waiting(), told()], [["and then", "later", "of somebody else"], 1, 2]);
  alice.beginAnew(); // a version that does not fail at it
  town.pass(12_000);
  assert.deepEqual([alice.received().includes("poison"), waiting(), told()], [true, 0, 2]);
});
