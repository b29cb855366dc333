/**
 * The clocks of a device, as far as a browser shows them.
 *
 * `performance.now()` cannot be set by anybody, but on most systems it stands still while the device sleeps, and
 * nothing names the start of the machine. So the worker notices by the wall clock: where that has gone ahead by much
 * more than `performance.now()`, the device has slept (or somebody has set the clock: then what expires does so early,
 * on this device alone, as after a reboot). A wall clock that was set back changes nothing.
 */

/** A difference between the two clocks that is smaller is a clock that is being corrected. */
const SLEPT_MS = 10_000;

/** What is read. */
export interface ClockSources {
  /** Milliseconds since 1970. */
  readonly wall: () => number;
  /** Milliseconds since some start, those of sleep left out. */
  readonly awake: () => number;
}

/** Milliseconds since the start of this worker, those in which the device slept included. */
export function sinceStart({ wall, awake }: ClockSources): () => number {
  const start = awake();
  let began = wall();
  let slept = 0;
  return () => {
    const passed = Math.round(awake() - start) + slept;
    const ahead = wall() - began - passed;
    if (ahead > SLEPT_MS) {
      slept += ahead;
      return passed + ahead;
    }
    if (ahead < -SLEPT_MS) {
      began += ahead;
    }
    return passed;
  };
}
