/** Whether and when to reconnect, and the connection events for the application. */
import { CloseCode, RECONNECT_AFTER } from "../wire/codes.ts";
import type { LoginFailed } from "./link.ts";
import { asked, LONGEST_LOGIN_MS, span } from "./pacing.ts";
import { oneLine } from "./sanitize.ts";
import type { ConnectionEvent } from "./status.ts";

/** After these a client connects again late (protocol/phantom.md, Close codes). */
const AT_ODDS: ReadonlySet<number> = new Set<number>(
  Object.values(CloseCode).filter(
    (code) => !RECONNECT_AFTER.has(code) && code !== CloseCode.NORMAL && code !== CloseCode.POLICY_VIOLATION,
  ),
);

/**
 * How long to stay away from a relay that is at odds with this client, or does not know its own name: twice as long
 * each time. It passes only when somebody repairs it.
 */
export const FIRST_LATE_MS = 60_000;
export const LONGEST_LATE_MS = 300_000;

const REFUSALS: ReadonlyMap<string, string> = new Map([
  ["audience", "the relay does not answer to the host name you used; ask its operator for the right address"],
  ["rate", "there were too many logins from here"],
  ["overload", "the relay is overloaded"],
  ["storage", "the relay cannot store logins at the moment"],
  ["identity", "the relay says that your ID belongs to another key"],
  ["signature", "the relay does not accept this device's signature"],
  ["key", "the relay does not accept this device's key"],
  ["unsigned", "the relay says that the login was not signed"],
]);
const BUSY: ReadonlySet<string> = new Set(["rate", "overload", "storage", "quota"]);

/** How a connection has ended, or could not be made. */
export interface Ended {
  /** Of the close frame, null if there was none. */
  readonly code: number | null;
  /** A sentence for people. */
  readonly reason: string;
  /** Whether the login was through. */
  readonly isIn: boolean;
}

/** What the last connections have shown of this relay. */
export class Reconnecting {
  /** Milliseconds to stay away, if more than after any outage: the relay has asked for it, or is at odds. */
  retryAfter: number | null = null;
  /** The request that the relay forget this identity, on this connection; null if it was not asked. */
  deletion: string | null = null;
  /** Whether it has confirmed that it did. */
  isDeleted = false;
  private late = 0;
  /** Whether this relay has let this identity in, since the program has started. */
  private wasIn = false;
  private isRefused = false;
  /** Whether the application has heard why this connection fails. */
  private isReported = false;

  /** An attempt to connect begins. */
  dialling(): ConnectionEvent {
    this.retryAfter = null;
    return { kind: "connection", state: "connecting", reason: "", busy: false, retryAfter: null };
  }

  /** There is a connection. */
  connected(): void {
    this.retryAfter = null;
    this.isRefused = this.isReported = false;
  }

  /** The relay has let this identity in. */
  loggedIn(): ConnectionEvent {
    this.wasIn = true;
    this.late = 0;
    return { kind: "connection", state: "online", reason: "", busy: false, retryAfter: null };
  }

  /** Another relay was chosen; `hasLeft`: a connection was given up, and its event was raised. */
  moved({ hasLeft }: { readonly hasLeft: boolean }): void {
    this.wasIn = false;
    this.late = 0;
    this.retryAfter = null;
    this.isReported = this.isReported || hasLeft;
  }

  /** The connection is given up; `reason` is a sentence for people. */
  left(reason: string): ConnectionEvent {
    this.isReported = true;
    return this.offline(reason);
  }

  /** Only a refusal of this identity is the end; of a relay that names no reason, one that never let it in. */
  loginFailed(event: LoginFailed): ConnectionEvent {
    this.isRefused = event.isFinal ?? !this.wasIn;
    const reason = REFUSALS.get(event.code) ?? event.reason;
    if (this.isRefused) {
      return { kind: "connection", state: "refused", reason, busy: false, retryAfter: null };
    }
    const isBusy = BUSY.has(event.code) || event.retryAfter !== null;
    const wait = event.retryAfter;
    this.retryAfter = wait === null ? this.later() : asked(wait, wait, LONGEST_LOGIN_MS);
    this.isReported = true;
    return this.offline(reason, isBusy);
  }

  /**
   * The connection is gone, or could not be made.
   *
   * @returns whether to connect again, and the events to raise
   */
  disconnected({ code, reason, isIn }: Ended): readonly [boolean, readonly ConnectionEvent[]] {
    // Before the login such a close is somebody's on the way, or for a login that came too late.
    const isReplaced = isIn && code === CloseCode.POLICY_VIOLATION;
    this.isDeleted = code === CloseCode.NORMAL && this.deletion !== null;
    if (code !== null && AT_ODDS.has(code) && this.retryAfter === null && !this.isRefused) {
      this.retryAfter = this.later();
    }
    this.deletion = null; // only the connection on which it was asked for confirms it
    const events: ConnectionEvent[] = [];
    if (isReplaced) {
      const why = "the same identity logged in elsewhere";
      events.push({ kind: "connection", state: "replaced", reason: why, busy: false, retryAfter: null });
    } else if (!this.isRefused && !this.isReported) {
      events.push(this.offline(oneLine(reason), code === CloseCode.RATE_LIMITED));
    }
    this.isReported = false;
    // Once the relay has forgotten this identity, logging in would bring it back.
    return [!(isReplaced || this.isDeleted || this.isRefused), events];
  }

  private later(): number {
    this.late = Math.min(2 * this.late || FIRST_LATE_MS, LONGEST_LATE_MS);
    return this.late;
  }

  private offline(reason: string, busy = false): ConnectionEvent {
    const wait = this.retryAfter;
    const why = wait === null || wait === 0 ? reason : `${reason}; retrying in ${span(wait)}`;
    return { kind: "connection", state: "offline", reason: why, busy, retryAfter: wait };
  }
}
