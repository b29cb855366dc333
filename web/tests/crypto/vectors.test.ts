/** Every vector that judges wire and crypto, played in Node. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FILES, type Case, casesOf, listsIn, spoilt } from "../vectors.ts";
import { amount } from "../amounts.ts";
import { filesOnDisk } from "./files.ts";

const files = filesOnDisk();
const cases = casesOf(files);

/** How many values of a case are changed, one at a time: each change costs a whole play. */
const CHANGES = amount(2, 6);

for (const file of FILES) {
  describe(file, () => {
    const own = cases.filter(({ list }) => list.startsWith(`${file}/`));
    test("all cases", () => {
      for (const one of own) assert.doesNotThrow(() => one.play(one.listed), `${one.list}: ${one.name}`);
    });
    test("a changed byte is noticed", () => {
      for (const one of firstOfEachList(own)) {
        for (const { where, listed } of some([...spoilt(one)])) {
          assert.throws(() => one.play(listed), Error, `${one.list}: ${one.name}: ${where}`);
        }
      }
    });
  });
}

test("no case is skipped", () => {
  const listed = [...listsIn(files)].map(([list, all]) => [list, all.length]);
  const played = listed.map(([list]) => [list, cases.filter((one) => one.list === list).length]);
  assert.deepEqual(played, listed);
  assert.ok(cases.length >= 650, `${cases.length} cases`);
  assert.ok(FILES.every((file) => cases.some(({ list }) => list.startsWith(`${file}/`))));
});

function firstOfEachList(all: readonly Case[]): readonly Case[] {
  return [...new Map([...all].reverse().map((one) => [one.list, one])).values()];
}

/** Some of them, spread over all, the last one too. */
function some<T>(all: readonly T[]): readonly T[] {
  if (all.length <= CHANGES) return all;
  const group = (index: number): number => Math.floor((index * CHANGES) / all.length);
  return all.filter((_, index) => group(index) !== group(index + 1));
}
