/** Whole clients, as `protocol/vectors` lists them. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isPlayed, play } from "./scenes.ts";
import type { Scene } from "./scenes.ts";
import { vectors } from "./support.ts";

declare const PROJECT: string;

/**
 * What the clients of each file know, and how many steps there are at least. What a first device tells a new one has no
 * order, and this client's is another than in the file, so that part is not played.
 */
const FILES = [
  ["clients.json", { suite: 1 }, 300],
  ["suite2-clients.json", { suite: 2 }, 300],
  ["group-clients.json", { suite: 2, groups: true }, 400],
  ["device-clients.json", { suite: 2, groups: true, devices: true, clients: ["bob", "laptop"] }, 150],
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
    const [whole] = scenes;
    assert.ok(whole !== undefined);
    const first = { ...whole, steps: whole.steps.filter(({ client }) => isPlayed(knows, client)) };
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
