/**
 * Those who open a link that serves no more are told so: or they would wait for ever.
 *
 * Nothing here must survive: whoever was not told before the program ended is told when they ask again. Times are
 * monotonic milliseconds.
 */
import { encodeBase64, fromBase64 } from "../../wire/base64.ts";
import type { Moment } from "../moment.ts";
import type { Transaction } from "../vault.ts";
import type { Speaking } from "./speaking.ts";

/** How many are told in `IN_MS`: each costs a session, and everybody who has had the link can ask. */
export const MOST = 20;

export const IN_MS = 3_600_000;

/** Tells them, each once in `IN_MS`. */
export class TurningAway {
  readonly #waiting = new Set<string>();
  readonly #told = new Map<string, number>();

  /** Whether somebody can be told, or has been. */
  hasRoom(who: string, token: Uint8Array, now: number): boolean {
    for (const [one, at] of this.#told) {
      if (now - at >= IN_MS) this.#told.delete(one);
    }
    return this.#knows(nameOf(who, token)) || this.#waiting.size + this.#told.size < MOST;
  }

  #knows(name: string): boolean {
    return this.#waiting.has(name) || this.#told.has(name);
  }

  /** Somebody is to be told. */
  note(tx: Transaction, who: string, token: Uint8Array): void {
    const name = nameOf(who, token);
    if (!this.#knows(name)) tx.onCommit(() => this.#waiting.add(name));
  }

  /** Tell those who wait, unless this user appears offline. */
  step(speaking: Speaking, now: Moment, isHidden: boolean): void {
    for (const name of isHidden ? [] : [...this.#waiting]) {
      const [who = "", said = ""] = name.split(" ");
      const token = fromBase64(said);
      this.#waiting.delete(name);
      this.#told.set(name, now.monotonic);
      speaking.say(token, [who], { kind: "group-refuse", token }, now);
    }
  }
}

function nameOf(who: string, token: Uint8Array): string {
  return `${who} ${encodeBase64(token)}`;
}
