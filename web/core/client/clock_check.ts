/** Whether this machine's clock agrees with the relay's. Nothing else hangs on that but what is signed. */
import * as notices from "./notices.ts";
import type { WarningEvent } from "./status.ts";

/** How far this machine's clock may be from the relay's without a warning: signed frames may be 5 minutes off. */
export const CLOCK_WARNING_MS = 180_000;

/** Compares the clocks at each login, and warns of a difference once. */
export class ClockCheck {
  /** How far the relay's clock was ahead when the user was last warned of it. */
  private warned: number | null = null;

  /** @param ahead milliseconds by which the relay's clock is ahead of this machine's */
  compared(ahead: number): readonly WarningEvent[] {
    if (Math.abs(ahead) < CLOCK_WARNING_MS) {
      this.warned = null;
      return [];
    }
    if (this.warned !== null && Math.abs(ahead - this.warned) < CLOCK_WARNING_MS) {
      return [];
    }
    this.warned = ahead;
    return [notices.clock(ahead)];
  }
}
