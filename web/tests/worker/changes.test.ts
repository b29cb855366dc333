/** What the page sees of people: who types, and who is in its list. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PassingState } from "../../worker/passing.ts";
import { Changes } from "../../worker/updates.ts";
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
