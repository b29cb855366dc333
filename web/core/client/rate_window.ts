/** A sliding window: at most so many requests in any span of time, exact to the request. */

/** The recent requests of one class; times are monotonic milliseconds. */
export class Window {
  private times: number[] = [];

  /**
   * @param limit how many are allowed in a span
   * @param span milliseconds
   */
  constructor(
    readonly limit: number,
    readonly span: number,
  ) {}

  /**
   * Counts a request at `now` and returns 0 if it is allowed, otherwise the milliseconds until one will be.
   *
   * @param several so many at once; more than the limit count as that many
   */
  acquire(now: number, several = 1): number {
    const count = Math.min(several, this.limit);
    const over = this.used(now) + count - this.limit;
    if (over > 0) {
      return (this.times[over - 1] ?? now) + this.span - now;
    }
    for (let index = 0; index < count; index += 1) {
      this.times.push(now);
    }
    return 0;
  }

  /** How many requests count at `now`. */
  used(now: number): number {
    const first = this.times.findIndex((at) => at > now - this.span);
    this.times = first < 0 ? [] : first > 0 ? this.times.slice(first) : this.times;
    return this.times.length;
  }
}
