import assert from "node:assert/strict";
import { test } from "node:test";
import { resumed } from "../../core/client/clock.ts";
import { ExpiryClock, KEEP_MS } from "../../core/client/expiry.ts";
import { newVault } from "../../core/client/vault.ts";
import { sinceStart } from "../../worker/clocks.ts";
import { random } from "./support.ts";

test("after a restart what the wall clock says has passed counts, and never less than nothing", () => {
  const kept = { boot: "", sinceBoot: 5_000, wall: 1_000_000, persistent: 900_000 };
  assert.equal(resumed(null, { boot: "", sinceBoot: 1, wall: 7 }), 7);
  assert.equal(resumed(kept, { boot: "", sinceBoot: 1, wall: 1_060_000 }), 960_000);
  assert.equal(resumed(kept, { boot: "", sinceBoot: 1, wall: 10 }), 900_000);
  assert.equal(resumed({ ...kept, boot: "b" }, { boot: "b", sinceBoot: 6_000, wall: 10 }), 901_000);
});

test("persistent time goes on over restarts and is not moved by who sets the wall clock", () => {
  const vault = newVault(new Uint8Array(32), random);
  const clocks = { wall: 1_700_000_000_000, since: 0 };
  const sources = { wall: () => clocks.wall, sinceBoot: () => clocks.since, boot: "" };
  const first = new ExpiryClock(vault, sources);
  const begin = first.now();
  assert.equal(begin, clocks.wall);
  clocks.since += 60_000;
  clocks.wall += 10 * 86_400_000;
  assert.equal(first.now() - begin, 60_000);
  vault.transaction((tx) => first.keep(tx));
  clocks.since = 0;
  clocks.wall += 1_000;
  assert.equal(new ExpiryClock(vault, sources).now() - begin, 61_000);
});

test("the moment is kept each hour, and when the wall clock was set", () => {
  const vault = newVault(new Uint8Array(32), random);
  const clocks = { wall: 1_000, since: 0 };
  const clock = new ExpiryClock(vault, { wall: () => clocks.wall, sinceBoot: () => clocks.since, boot: "" });
  vault.takeBatch();
  const isKept = (): boolean => {
    vault.transaction((tx) => clock.keep(tx));
    return vault.takeBatch().puts.length > 0;
  };
  clocks.since += 1_000;
  clocks.wall += 1_000;
  assert.equal(isKept(), false);
  clocks.wall += 5_000;
  assert.equal(isKept(), true);
  clocks.since += KEEP_MS;
  clocks.wall += KEEP_MS;
  assert.equal(isKept(), true);
});

test("time in which the device slept counts, and a clock that was set back does not", () => {
  const clocks = { wall: 5_000_000, awake: 100 };
  const since = sinceStart({ wall: () => clocks.wall, awake: () => clocks.awake });
  const pass = (awake: number, wall: number): number => {
    clocks.awake += awake;
    clocks.wall += wall;
    return since();
  };
  assert.equal(pass(1_000, 1_003), 1_000);
  assert.equal(pass(1_000, 3_601_000), 3_602_003, "an hour of sleep");
  assert.equal(pass(1_000, -3_600_000), 3_603_003, "set back");
  assert.equal(pass(1_000, 61_000), 3_664_003, "a minute of sleep, after that");
  assert.equal(pass(1_000, 1_000), 3_665_003);
});
