/** What surrounds the core of the client: it has no clock and no chance of its own. */
import type { Random } from "../bytes.ts";
import type { DEVICE_KINDS, DeviceBook, devicesOn } from "./devices/devices.ts";
import type { Extend } from "./extension.ts";
import type { Amounts } from "./prekey_store.ts";

/** Parts of the client that are a file of their own, loaded before a profile is opened. */
export interface Later {
  readonly DeviceBook: typeof DeviceBook;
  readonly DEVICE_KINDS: typeof DEVICE_KINDS;
  readonly devicesOn: typeof devicesOn;
  readonly extend: Extend;
}

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
  /** Null for a client that is made only to see who it is. */
  readonly later?: Later | null;
}
