/** Persons with several devices, and how their users link them. */
import assert from "node:assert/strict";
import type { Devices } from "../../core/client/devices/devices.ts";
import type { LinkingEvent } from "../../core/client/status.ts";
import { type Person, Town } from "./town.ts";

export const RELAY = "wss://relay.test/ws";

export function devicesOf({ messenger }: Person): Devices {
  assert.ok(messenger.devices !== null);
  return messenger.devices;
}

/** How far linking has come for somebody. */
export function step(person: Person): LinkingEvent {
  const found = person.events.findLast((event) => event.kind === "linking");
  assert.ok(found?.kind === "linking", "nothing was said of linking");
  return found;
}

/** Until the digits are shown on the new device. */
export function begin(town: Town, first: Person, fresh: Person, history = false): void {
  const line = devicesOf(fresh).showCode(RELAY, "Laptop");
  devicesOf(first).linking.begin(line, { history });
  first.messenger.devicesChanged();
  town.pass(2_000);
}

/** Makes one of them the other's device, as their users do it. */
export function link(town: Town, first: Person, fresh: Person, history = false): void {
  begin(town, first, fresh, history);
  assert.equal(step(first).step, "answered");
  assert.equal(step(first).name, "Laptop");
  const { digits, person, step: at } = step(fresh);
  assert.deepEqual([at, person], ["digits", first.id]);
  assert.ok(devicesOf(first).linking.type(digits));
  devicesOf(fresh).linking.agree();
  fresh.messenger.devicesChanged();
  town.pass(5_000);
  assert.ok(fresh.events.some((event) => event.kind === "linking" && event.step === "linked"));
}

/** Alice's phone and laptop, and Bob. */
export function family(): readonly [Town, Person, Person, Person] {
  const town = new Town();
  const [phone, bob] = town.friends();
  const laptop = town.person();
  link(town, phone, laptop);
  return [town, phone, laptop, bob];
}

/** A conversation as it shows, oldest first: whether one has written it, and the text. */
export function said(person: Person, peer: Person): readonly (readonly [boolean, string | null])[] {
  const entries = [...person.messenger.stores.history.newest(peer.messenger.person)].reverse();
  return entries.flatMap((entry) => (entry.kind === "unreadable" ? [] : [[entry.kind === "sent", entry.record.text] as const]));
}

export function readAll(person: Person, peer: Person): void {
  const { inbox, history } = person.messenger.stores;
  for (const entry of history.newest(peer.messenger.person)) {
    if (entry.kind === "received" && inbox.isUnread(entry.record.sender, entry.record.messageId)) {
      person.messenger.markRead(entry.record.sender, entry.record.messageId);
    }
  }
}
