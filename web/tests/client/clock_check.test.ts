/** The warning of a wrong clock: once for each time that it has become wrong. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CLOCK_WARNING_MS, ClockCheck } from "../../core/client/clock_check.ts";

test("a clock that is about right is nothing to speak of", () => {
  const check = new ClockCheck();
  assert.deepEqual(check.compared(CLOCK_WARNING_MS - 1), []);
  assert.deepEqual(check.compared(1 - CLOCK_WARNING_MS), []);
});

test("a wrong clock is spoken of once, and again when it has moved or was right meanwhile", () => {
  const check = new ClockCheck();
  assert.equal(check.compared(CLOCK_WARNING_MS)[0]?.code, "clock");
  assert.deepEqual(check.compared(CLOCK_WARNING_MS + 5_000), []);
  assert.equal(check.compared(-CLOCK_WARNING_MS).length, 1, "it is wrong the other way");
  assert.deepEqual(check.compared(0), []);
  assert.equal(check.compared(CLOCK_WARNING_MS).length, 1);
});
