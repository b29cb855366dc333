/** How long a text stays in a group whose texts expire, whatever its writer's program says: it names no time here. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { keyOf, Mallory, withMallory } from "./members.ts";
import type { Member } from "./members.ts";
import type { Town } from "./town.ts";

const MINUTE = 60_000;

for (const timer of [MINUTE, 0]) {
  test(`a text for which no time is named ${timer > 0 ? "expires with the others of the group" : "stays where there is no timer: the control"}`, () => {
    const [town, [ada, ben], mallory, raw] = withMallory() as [Town, [Member, Member], Mallory, Uint8Array];
    const id = keyOf(raw);
    ada.groups.setTimer(id, timer);
    town.pass(5_000);
    const { head, state } = ben.groups.found(id).chain;
    mallory.says([ben], { kind: "group-text", group: raw, revision: state.revision, head, n: 1, body: "hello" });
    town.pass(30_000);
    assert.deepEqual(ben.texts(id), ["hello"]);
    town.pass(40_000);
    assert.deepEqual(ben.texts(id).filter((text) => text !== null), timer > 0 ? [] : ["hello"]);
  });
}
