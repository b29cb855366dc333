/** Whole clients, as `protocol/vectors` lists them. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { play } from "./scenes.ts";
import type { Scene } from "./scenes.ts";
import { vectors } from "./support.ts";

declare const PROJECT: string;

/** What the clients of each file know, and how many steps there are at least. */
const FILES = [
  ["clients.json", { suite: 1 }, 300],
  ["suite2-clients.json", { suite: 2 }, 300],
  ["group-clients.json", { suite: 2, groups: true }, 400],
] as const;

for (const [file, knows, least] of FILES) {
  const isThere = existsSync(join(PROJECT, "protocol", "vectors", file));
  test(`whole clients do what is listed in ${file}`, { skip: !isThere }, () => {
    const { scenes } = vectors(file) as { readonly scenes: readonly Scene[] };
    const played = play(knows, scenes);
    assert.ok(played >= least, `${played} steps`);
  });
  test(`a step that is not listed so in ${file} is noticed`, { skip: !isThere }, () => {
    const { scenes } = vectors(file) as { readonly scenes: readonly Scene[] };
    const [first] = scenes;
    assert.ok(first !== undefined);
    for (const [what, other] of [
      [/"status":"delivered"/, '"status":"read"'],
      [/"event":"(group-)?text"/, '"event":"read"'],
      [/"purpose":"nonce","value":"\w{24}"/, `"purpose":"nonce","value":"${"00".repeat(12)}"`],
    ] as const) {
      const spoilt = JSON.stringify(first).replace(what, other);
      assert.notEqual(spoilt, JSON.stringify(first));
      assert.throws(() => play(knows, [JSON.parse(spoilt) as Scene]), what.source);
    }
  });
}
