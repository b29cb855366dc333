/** What surrounds the core of the client: it has no clock and no chance of its own. */
import type { Random } from "../bytes.ts";
import type { Amounts } from "./prekey_store.ts";

/** The clocks and the randomness of a device. */
export interface Surroundings {
  /** Milliseconds since 1970, however wrong. */
  readonly wall: () => number;
  /** Milliseconds that never go back. */
  readonly monotonic: () => number;
  readonly random: Random;
  /** Milliseconds since the machine was started, those in which it slept included; as `monotonic` if it is missing. */
  readonly sinceBoot?: () => number;
  /** What names this start of the machine, '' if unknown. */
  readonly boot?: string;
  /** "ask" if what strangers write waits until the user lets them in. */
  readonly strangers?: "ask" | "accept";
  /** How many prekeys are published. */
  readonly amounts?: Amounts;
}
