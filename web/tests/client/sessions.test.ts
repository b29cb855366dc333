import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_SESSION_AGE_MS, Sessions } from "../../core/client/sessions.ts";
import { newVault } from "../../core/client/vault.ts";
import { begun } from "../crypto/begun.ts";
import { random, someId } from "./support.ts";

const BOB = someId(66);
const DAY = 86_400_000;

/** Of a peer with three sessions, those that are left after 30 days. */
function left(inUse: Uint8Array | null): readonly number[] {
  const vault = newVault(new Uint8Array(32).fill(7), random);
  const sessions = new Sessions(vault);
  vault.transaction((tx) => sessions.put(tx, sessions.load(BOB), begun, { most: 5, mostSkipped: 256 }));
  for (const now of [DAY, DAY + MAX_SESSION_AGE_MS + 1]) {
    vault.transaction((tx) => sessions.forgetOld(tx, BOB, now, inUse));
  }
  const ids = begun.map(({ id }) => id.join());
  return sessions.load(BOB).all.map(({ id }) => ids.indexOf(id.join()));
}

test("a session that is not in use any more ages; the one that is sent with does not, wherever it stands", () => {
  assert.deepEqual(left(null), [0]);
  assert.deepEqual(left(begun[2]?.id ?? null), [0, 2]);
});
