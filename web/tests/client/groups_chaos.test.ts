/**
 * A group of which members come and go, and of whose texts the relay loses some and repeats others: in the end all have
 * one history, and every text. Changes arrive: a relay that loses those divides a group, which is noticed.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "../../core/client/errors.ts";
import { ManyStore } from "../../core/client/many/store.ts";
import { amount } from "../amounts.ts";
import { assertInStep, groupOf, type Member } from "./members.ts";
import type { Frame, Town } from "./town.ts";

const MINUTE = 60_000;
const TURNS = 30;
const FIRST = Number(process.env["PHANTOM_FIRST_SEED"] ?? 0);

/** Numbers from 0 to 1, the same for the same seed. */
function chanceOf(seed: number): () => number {
  let state = seed * 2_654_435_761 + 1;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_507) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

/** Whether one of them has had this put in order: it is a change. */
function isChange(members: readonly Member[], messageId: unknown): boolean {
  const isIts = ({ payload, type }: Frame): boolean =>
    type === "MESSAGE_MANY" && payload["order"] !== undefined && payload["messageId"] === messageId;
  return members.some(({ person }) => person.sent.some(isIts));
}

/** Of what comes for members the relay loses a tenth, but for changes, and repeats a twentieth. */
function beUnreliable(members: readonly Member[], seed: number): void {
  for (const [index, { person }] of members.entries()) {
    const chance = chanceOf(10 * seed + 1 + index);
    person.tamper = (frame) => {
      const dice = frame.type !== "MESSAGE" || isChange(members, frame.payload["messageId"]) ? 1 : chance();
      if (dice < 0.1) person.mailbox.splice(person.mailbox.indexOf(frame), 1);
      return dice < 0.1 ? [] : dice < 0.15 ? [frame, frame] : [frame];
    };
  }
}

/** One of them does something, if that is possible; the text, if it is one. */
function act(who: Member, admin: Member, group: string, turn: number, dice: number): string[] {
  const text = `text ${turn}`;
  try {
    if (dice < 0.5) {
      who.groups.sendText(group, text);
      return [text];
    }
    if (dice < 0.65) admin.groups.rename(group, `Name ${turn}`);
    else if (dice < 0.72) admin.groups.setTimer(group, turn % 2 === 0 ? 0 : 300 * 86_400_000);
    else if (dice < 0.8) who.beginAnew();
    else if (who.person.isOnline) who.person.disconnect();
    else who.person.connect();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
  }
  return [];
}

/** Everybody is there, nothing is lost any more, and each writes twice more; what they have written. */
function settle(town: Town, members: readonly Member[], group: string): string[] {
  for (const { person } of members) {
    person.tamper = (frame) => [frame];
    if (!person.isOnline) person.connect();
  }
  town.pass(MINUTE);
  const written: string[] = [];
  for (const round of ["first", "second"]) {
    for (const [index, { groups }] of members.entries()) {
      groups.sendText(group, `${round} of ${index}`);
      written.push(`${round} of ${index}`);
      town.pass(10_000);
    }
    town.pass(15 * MINUTE);
  }
  town.pass(30 * MINUTE);
  return written;
}

/** Plays it: the members, their group, and all texts. */
function play(seed: number): readonly [Member[], string, string[]] {
  const chance = chanceOf(10 * seed);
  const [town, members, group] = groupOf(3);
  const [ada, ben] = members as [Member, Member, Member];
  ada.groups.setRole(group, ben.id, "admin");
  town.pass(3_000);
  const texts: string[] = [];
  beUnreliable(members, seed);
  for (let turn = 0; turn < TURNS; turn += 1) {
    const who = members[Math.floor(chance() * members.length)] ?? ada;
    texts.push(...act(who, chance() < 0.5 ? ada : ben, group, turn, chance()));
    town.pass(Math.floor(chance() * 20_000));
  }
  texts.push(...settle(town, members, group));
  return [members, group, texts.sort()];
}

for (let seed = FIRST; seed < FIRST + amount(2, 200); seed += 1) {
  test(`all have one history and every text (seed ${seed})`, () => {
    const [members, group, texts] = play(seed);
    assertInStep(members, group);
    for (const one of members) assert.deepEqual(one.texts(group).toSorted(), texts);
  });
}

test("control: if nothing is sent again, texts are missing", (context) => {
  context.mock.method(ManyStore.prototype, "presumedLost", () => new Map());
  const [members, group, texts] = play(0);
  assert.ok(members.some((one) => one.texts(group).length < texts.length));
});
