/** What surrounds the worker, in a browser or in a test. */
import type { Update } from "../api.ts";
import type { Cost } from "../core/client/vault.ts";
import type * as later from "./later.ts";
import type { Locks } from "./locks.ts";
import type { Dial } from "./socket.ts";

/** What surrounds the worker. */
export interface Platform {
  readonly post: (update: Update) => void;
  readonly locks: Locks;
  readonly dial: Dial;
  readonly random: (size: number) => Uint8Array;
  /** Milliseconds since 1970. */
  readonly wall: () => number;
  /** Milliseconds that never go back, for pauses and timeouts. */
  readonly monotonic: () => number;
  /** The same with the time in which the device slept, see `clocks.ts`. */
  readonly sinceStart: () => number;
  /** A number from 0 to 1. */
  readonly chance: () => number;
  readonly isOnline: () => boolean;
  /** Whether the browser has promised to keep what is stored; null if it does not say. */
  readonly isKept: () => Promise<boolean | null>;
  /** What is loaded later of the core; rejects if it cannot be. */
  readonly later: () => Promise<typeof later>;
  /** What new passphrases cost to open. */
  readonly cost: Cost;
  /** How long the call that deletes the account waits for the relay; milliseconds. */
  readonly deleteMs?: number;
}
