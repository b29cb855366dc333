/** One moment on all clocks of a device: read once for each step, and handed on. Milliseconds. */
export interface Moment {
  /** Since some start, for pauses and timeouts; nobody can set it. */
  readonly monotonic: number;
  /** Of the clock that survives restarts and that nobody can set, by which what is kept grows old. */
  readonly persistent: number;
  /** Since 1970, however wrong, to be shown. */
  readonly wall: number;
}

/** What the wall clock shows at another moment of the persistent clock, for people. */
export function wallAt(now: Moment, persistent: number): number {
  return persistent - now.persistent + now.wall;
}
