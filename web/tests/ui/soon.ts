/** Waiting for what a busy browser does a little later. */
import { AssertionError } from "node:assert/strict";

/** How often is looked, with a pause between: for half a minute at least. */
const LOOKS = 600;
const PAUSE_MS = 50;

/** Asserts something until it holds; if it never does, the last look says why. Any other fault is one at once. */
export async function soon(check: () => Promise<void>, looks = LOOKS): Promise<void> {
  for (;;) {
    looks -= 1;
    try {
      return await check();
    } catch (error) {
      if (looks <= 0 || !(error instanceof AssertionError)) throw error;
    }
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}
