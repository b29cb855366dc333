/** What the page sees of people: who types, and who is in its list. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PassingState } from "../../worker/passing.ts";
import { Changes } from "../../worker/updates.ts";
import { someId } from "../client/support.ts";
import { Town } from "../client/town.ts";

test("whoever has sent a text types no more", () => {
  const town = new Town();
  const [alice, bob] = town.friends();
  const passing = new PassingState();
  const changes = new Changes(alice.vault, alice.messenger, passing, () => undefined);
  const peer = alice.messenger.contacts.of(bob.id);
  changes.happened([{ kind: "presence", peer, status: "typing", lastSeen: null }]);
  changes.happened([{ kind: "request", peer, waiting: 1 }]);
  assert.equal(passing.presence.get(bob.id)?.status, "typing", "the control: nothing else ends it");
  bob.messenger.sendText(alice.id, "here it is");
  town.settle();
  changes.happened(alice.events.filter(({ kind }) => kind === "message"));
  assert.equal(passing.presence.get(bob.id)?.status, "online");
});

test("whoever was only asked for something is not in the list of conversations, and is as soon as there is a text", () => {
  const town = new Town();
  const [alice] = town.friends();
  const carol = town.person();
  const changes = new Changes(alice.vault, alice.messenger, new PassingState(), () => undefined);
  const listed = (): boolean => changes.conversations().some(({ peer }) => peer === carol.id);
  const { book } = alice.messenger.stores;
  alice.vault.transaction((tx) => book.admit(tx, carol.id));
  assert.equal(book.isKnown(carol.id), true);
  assert.equal(listed(), false);
  alice.messenger.sendText(carol.id, "hello");
  assert.equal(listed(), true);
  alice.messenger.contacts.add("Dora", someId(7));
  assert.ok(changes.conversations().some(({ name }) => name === "Dora"), "the control: who was added is");
});
