/**
 * When what may be sent: windows of one's own, and the pauses that the relay asked for.
 *
 * A client that knows the relay's limits stays below them, so that it is hardly ever refused: refusals cost time, and
 * ten in a minute the connection.
 */
import type { ErrorFrame } from "../wire/frames.ts";
import { RATE_WINDOW_MS, type RateClass } from "../wire/limits.ts";
import { Window } from "./rate_window.ts";

/** Window of one's own: a second more than the relay's, for what the network does to intervals. */
export const PACE_SPAN_MS = RATE_WINDOW_MS + 1_000;

/** How long to wait before asking again for somebody whom the relay does not know: they may be about to log in. */
export const UNKNOWN_USER_MS = 2_000;

/** The same for somebody of whom it gives wrong keys; after a wait like this, the user is told again of either. */
export const WRONG_KEYS_MS = 30_000;

/** Longest such wait; it doubles, so that absent people do not use up what others need. */
export const LONGEST_UNKNOWN_USER_MS = 120_000;

/** The shortest wait after a refusal, whatever the relay names. */
export const SOON_MS = 1_000;

/** How long a relay can keep a client from asking again, whatever it names. */
export const LONGEST_ASKED_MS = 600_000;

/** The same for a login. */
export const LONGEST_LOGIN_MS = 3_600_000;

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
] as const;

/** A length of time in words, rounded up. */
export function span(milliseconds: number): string {
  const seconds = Math.ceil(milliseconds / 1_000);
  for (const [unit, size] of UNITS) {
    if (seconds >= 2 * size) {
      return `${Math.ceil(seconds / size)} ${unit}s`;
    }
  }
  return seconds === 1 ? "1 second" : `${seconds} seconds`;
}

/** A length of time in words, to the nearest unit. */
export function about(milliseconds: number): string {
  const seconds = Math.max(1, Math.round(milliseconds / 1_000));
  const size = UNITS.find(([, one]) => seconds >= 2 * one)?.[1] ?? 1;
  return span(Math.round(seconds / size) * size * 1_000);
}

/** Milliseconds to wait: `retryAfter` of the relay, within reason, or `otherwise` if it named none. */
export function asked(retryAfter: number | null | undefined, otherwise: number, longest = LONGEST_ASKED_MS): number {
  return retryAfter === null || retryAfter === undefined ? otherwise : Math.min(retryAfter, longest);
}

/** `details.reason` of an error, '' if the relay does not say. */
export function reasonOf(error: ErrorFrame): string {
  const reason = error.payload.details?.["reason"];
  return typeof reason === "string" ? reason : "";
}

/** Windows and pauses; times are monotonic milliseconds. Windows outlive a connection, as the relay's do. */
export class Pacing {
  /** Users to whom nothing is written for another reason. */
  private readonly held = new Set<string>();
  private readonly windows = new Map<RateClass, Window>();
  private readonly fullUntil = new Map<RateClass, number>();
  private readonly pausedUntil = new Map<RateClass, number>();
  private readonly peers = new Map<string, number>();
  private readonly unknown = new Map<string, number>();

  /** Another relay, which has counted nothing yet. */
  reset(): void {
    for (const counted of [this.windows, this.fullUntil, this.pausedUntil, this.peers, this.unknown]) {
      counted.clear();
    }
  }

  /** Whether no pause holds for this class. */
  maySend(rate: RateClass, now: number): boolean {
    return now >= this.until(rate);
  }

  /** When the pause of this class ends, or has ended. */
  until(rate: RateClass): number {
    return Math.max(this.pausedUntil.get(rate) ?? 0, this.fullUntil.get(rate) ?? 0);
  }

  /** Whether no pause holds for this user. */
  mayReach(peer: string, now: number): boolean {
    return !this.held.has(peer) && now >= (this.peers.get(peer) ?? 0);
  }

  /** Write nothing to this user until they are released. */
  hold(peer: string): void {
    this.held.add(peer);
  }

  /** Write to this user again. */
  release(peer: string): void {
    this.held.delete(peer);
  }

  /**
   * Count a frame of a class, of which `limit` a minute are allowed; false, and a pause, if it has to wait.
   *
   * @param count so many at once, or none of them
   */
  acquire(rate: RateClass, limit: number | null, now: number, count = 1): boolean {
    if (!this.maySend(rate, now)) {
      return false;
    }
    if (limit === null) {
      return true;
    }
    let window = this.windows.get(rate);
    if (window === undefined || window.limit !== limit) {
      window = new Window(limit, PACE_SPAN_MS);
      this.windows.set(rate, window);
    }
    const wait = window.acquire(now, count);
    if (wait > 0) {
      this.fullUntil.set(rate, now + wait);
    }
    return wait === 0;
  }

  /** How many frames of a class may still be sent in this minute, of `limit`. */
  free(rate: RateClass, limit: number | null, now: number): number {
    if (limit === null) {
      return 1_000_000;
    }
    const window = this.windows.get(rate);
    return window === undefined ? limit : window.limit - window.used(now);
  }

  /** The relay wants nothing of a class before then. */
  pause(rate: RateClass, until: number): void {
    this.pausedUntil.set(rate, Math.max(until, this.pausedUntil.get(rate) ?? 0));
  }

  /** Send nothing to this user before then. */
  pausePeer(peer: string, until: number): void {
    this.peers.set(peer, until);
  }

  /** What a relay has asked for holds on its connection: another may be another relay's, or mean it no more. */
  disconnected(): void {
    this.pausedUntil.clear();
    for (const peer of [...this.peers.keys()]) {
      if (!this.unknown.has(peer)) {
        this.peers.delete(peer);
      }
    }
  }

  /** The relay does not know this user: ask again later, each time later; whether that is to be told. */
  unknownPeer(peer: string, now: number, atLeast = UNKNOWN_USER_MS): boolean {
    const before = this.unknown.get(peer);
    const wait = Math.max(Math.min(2 * (before ?? 0), LONGEST_UNKNOWN_USER_MS), atLeast);
    this.unknown.set(peer, wait);
    this.pausePeer(peer, now + wait);
    return before === undefined || before >= WRONG_KEYS_MS;
  }

  /** Whether the relay has said that it does not know this user. */
  isUnknown(peer: string): boolean {
    return this.unknown.has(peer);
  }

  /** This user is there, whatever the relay has said before. */
  exists(peer: string): void {
    if (this.unknown.has(peer)) {
      this.resetPeer(peer);
    }
  }

  /** Ask for this user at once. */
  resetPeer(peer: string): void {
    this.peers.delete(peer);
    this.unknown.delete(peer);
  }

  /** Milliseconds until each pause ends. */
  waits(now: number): number[] {
    const pauses = [...this.pausedUntil.values(), ...this.fullUntil.values(), ...this.peers.values()];
    return pauses.filter((until) => until > now).map((until) => until - now);
  }
}
