/**
 * Persistent time: a clock that survives restarts, whatever is done to the wall clock.
 *
 * What is to expire in an hour expires after an hour of the device that keeps it, not when somebody sets a clock. In
 * one run of the worker, its own monotonic clock shows how much has passed (see `worker/clocks.ts` for which one that
 * is, and for time in which the device slept). Between runs, and after a reboot, only the wall clock is left to go by.
 */

/** One moment on all clocks, kept so that persistent time goes on after a restart. All times are milliseconds. */
export interface ClockSnapshot {
  /** Names the run in which `sinceBoot` counts, '' if unknown. */
  readonly boot: string;
  readonly sinceBoot: number;
  readonly wall: number;
  readonly persistent: number;
}

/**
 * Persistent time at a start, in milliseconds.
 *
 * In the same run it is exact. In another one what has passed is what the wall clock says; if that has gone back,
 * nothing has passed: what expires then lives longer, but none is lost early.
 *
 * @param kept the moment that was kept last; null if this is the first start
 */
export function resumed(kept: ClockSnapshot | null, now: Omit<ClockSnapshot, "persistent">): number {
  if (kept === null) {
    return now.wall;
  }
  if (now.boot !== "" && now.boot === kept.boot) {
    return kept.persistent + Math.max(0, now.sinceBoot - kept.sinceBoot);
  }
  return kept.persistent + Math.max(0, now.wall - kept.wall);
}
