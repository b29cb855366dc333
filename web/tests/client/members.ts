/** People with groups at a relay in memory. */
import assert from "node:assert/strict";
import { toHex } from "../../core/bytes.ts";
import { extendAnd } from "../../core/client/extend.ts";
import type { Extend, ExtensionPorts } from "../../core/client/extension.ts";
import { write } from "../../core/client/groups/change.ts";
import type { Draft } from "../../core/client/groups/change.ts";
import type { GroupSaid } from "../../core/client/groups/contents.ts";
import type { Groups } from "../../core/client/groups/groups.ts";
import { eventsOf, textsOf } from "../../core/client/groups/records.ts";
import { Speaking } from "../../core/client/groups/speaking.ts";
import { manyOf } from "../../core/client/many/main.ts";
import { Town } from "./town.ts";
import type { Person } from "./town.ts";

/** Somebody with groups. */
export class Member {
  #groups: Groups | null = null;
  readonly person: Person;

  constructor(readonly town: Town) {
    this.person = town.person(this.#extend());
  }

  #extend(): Extend {
    return extendAnd((groups) => (this.#groups = groups));
  }

  /** The program ends, and is begun anew. */
  beginAnew(): void {
    this.person.beginAnew(this.#extend());
  }

  get id(): string {
    return this.person.id;
  }

  get groups(): Groups {
    assert.ok(this.#groups !== null);
    return this.#groups;
  }

  /** The texts of a group that this member can read, in their order. */
  texts(group: string): (string | null)[] {
    const { number } = this.groups.found(group).record;
    return [...this.person.vault.all(textsOf(number))].map(([, { text }]) => text);
  }

  /** What has happened to a group, as sentences without the marks around names. */
  events(group: string): string[] {
    const { number } = this.groups.found(group).record;
    return [...this.person.vault.all(eventsOf(number))].map(([, { text }]) => text.replaceAll(/[\u2068\u2069]/g, ""));
  }

  head(group: string): string {
    return toHex(this.groups.found(group).chain.head);
  }

  relation(group: string): string {
    return this.groups.store.get(group)?.record.relation ?? "";
  }

  knows(name: string, other: Member): void {
    this.person.messenger.contacts.add(name, other.id);
  }
}

/** Members who know each other by the names Ada, Ben, Cleo, Dan. */
export function membersOf(count: number): [Town, Member[]] {
  const town = new Town();
  const names = ["Ada", "Ben", "Cleo", "Dan"];
  const members = Array.from({ length: count }, () => new Member(town));
  for (const one of members) {
    for (const [index, other] of members.entries()) {
      if (one !== other) one.knows(names[index] ?? "", other);
    }
  }
  town.pass(3_000);
  return [town, members];
}

/** A group of all of them, who have accepted. */
export function groupOf(count: number): [Town, Member[], string] {
  const [town, members] = membersOf(count);
  const [ada, ...others] = members as [Member, ...Member[]];
  const group = ada.groups.create("Tea", others.map(({ id }) => id));
  town.pass(5_000);
  for (const one of others) one.groups.accept(group);
  town.pass(10_000);
  return [town, members, group];
}

/** A group of Ada and Ben, and Mallory who is a member of it, too; all know each other. */
export function withMallory(): [Town, Member[], Mallory, Uint8Array] {
  const [town, members, id] = groupOf(2);
  const [ada] = members as [Member, Member];
  const mallory = new Mallory(town);
  for (const one of members) {
    one.person.messenger.contacts.add("Mallory", mallory.id);
    mallory.person.messenger.contacts.add(`Friend ${members.indexOf(one)}`, one.id);
  }
  town.pass(2_000);
  ada.groups.add(id, [mallory.id], "member");
  town.pass(5_000);
  return [town, members, mallory, ada.groups.found(id).record.group];
}

export const keyOf = (group: Uint8Array): string => Buffer.from(group).toString("base64");

/** To whom messages to many went that somebody has sent, each by the ids of its recipients. */
export function recipientsOf({ person }: Member): string[][] {
  const frames = person.sent.filter(({ type }) => type === "MESSAGE_MANY");
  return frames.map(({ payload }) => {
    return (payload["recipients"] as readonly { readonly recipientId: string }[]).map(({ recipientId }) => recipientId);
  });
}

/** They have one head, and nobody is behind or in doubt. */
export function assertInStep(members: readonly Member[], group: string): void {
  const [first, ...others] = members.map((one) => one.head(group));
  assert.deepEqual(others, others.map(() => first));
  for (const { groups } of members) {
    const { record } = groups.found(group);
    assert.deepEqual([record.doubt, groups.isBehind(groups.found(group)), record.wishes.length], ["", false, 0]);
  }
}

/** Somebody whose program does as it likes. */
export class Mallory {
  readonly person: Person;
  #ports: ExtensionPorts | null = null;
  #speaking: Speaking | null = null;

  constructor(town: Town) {
    this.person = town.person((ports) => {
      const many = manyOf(ports);
      this.#ports = ports;
      this.#speaking = new Speaking(ports, many.outgoing);
      return many.extension;
    });
  }

  get id(): string {
    return this.person.id;
  }

  get ports(): ExtensionPorts {
    assert.ok(this.#ports !== null);
    return this.#ports;
  }

  /** @param messageId a UUID, if it is to be a certain one */
  says(to: readonly Member[], said: GroupSaid, messageId?: string): void {
    const about = "group" in said ? said.group : said.token;
    const recipients = to.map(({ id }) => id);
    const given = messageId === undefined ? {} : { messageId };
    this.#speaking?.say(about, recipients, said, this.ports.now(), given);
  }

  /** Asks to be added under the conversation id of a link, with that token or another. */
  asksUnder(link: Uint8Array, admin: Member, token: Uint8Array): void {
    this.#speaking?.say(link, [admin.id], { kind: "group-join", token }, this.ports.now());
  }

  /** A change that this one has signed, or somebody else. */
  signs(given: Omit<Draft, "at">, identity = this.ports.identity): Uint8Array {
    return write(identity, { at: 1_800_000_000_000, ...given }).encoded;
  }
}
