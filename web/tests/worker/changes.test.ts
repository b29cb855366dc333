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
  const shown = () => changes.conversations().find(({ peer }) => peer === bob.id)?.presence.status;
  const peer = alice.messenger.contacts.of(bob.id);
  changes.happened([{ kind: "presence", peer, status: "typing", lastSeen: null }]);
  bob.messenger.sendText(alice.id, "here it is");
  town.settle();
  changes.happened(alice.events.filter(({ kind }) => kind !== "message" && kind !== "presence"));
  assert.equal(shown(), "typing", "the control: nothing else ends it");
  changes.happened(alice.events.filter(({ kind }) => kind === "message"));
  assert.equal(shown(), "online");
});

test("who was only asked to let one into a group is not in the list of conversations, and is with the first text", () => {
  const town = new Town();
  const [alice] = town.friends();
  const [carol, dave] = [town.person(), town.person()];
  const { book, index } = alice.messenger.stores;
  const changes = new Changes(alice.vault, alice.messenger, new PassingState(), () => undefined);
  const isListed = (peer: string) => changes.conversations().some((one) => one.peer === peer);
  alice.vault.transaction((tx) => [carol.id, dave.id].forEach((peer) => book.admit(tx, peer)));
  assert.deepEqual([book.isKnown(carol.id), isListed(carol.id)], [true, false]);
  alice.messenger.sendText(carol.id, "hello");
  alice.vault.transaction((tx) => index.enterPast(tx, [{ peer: dave.id, isMine: false, messageId: "1", put: () => undefined }]));
  assert.deepEqual([isListed(carol.id), isListed(dave.id)], [true, true], "also what was said before a device was linked");
  alice.messenger.contacts.add("Dora", someId(7));
  assert.equal(isListed(someId(7)), true, "the control: who was added is");
});
