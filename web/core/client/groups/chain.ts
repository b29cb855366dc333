/**
 * Which changes are everybody's: judges what arrives against what was taken up before (groups.md, "Chain").
 *
 * The first valid change for a place is final. A change that all refuse is skipped, one that divides the group is
 * reported, and neither moves anything.
 */

import { isEqual, NO_BYTES } from "../../bytes.ts";
import * as changes from "./change.ts";
import { type Change, type Code, MAX_REVISION, NONE, RefusedChange } from "./change.ts";
import { adminsOf, decodeState, emptyState, type GroupState, headOf, stateAfter } from "./state.ts";

/** A change that was taken up, and the state before it, with the digest of the change that led to that. */
export interface Step {
  readonly change: Change;
  readonly before: GroupState;
  readonly base: Uint8Array;
}

/**
 * applied: taken up. known: it was already. skipped: nobody takes it up. stale: it is older than what is remembered.
 * behind: changes before it are missing. fork: an admin has signed another history than the one that is known here.
 * newer: an admin has made a change of a later version, so what the group is now cannot be known.
 */
export type Verdict = "applied" | "known" | "skipped" | "stale" | "behind" | "fork" | "newer";

export interface Judged {
  readonly verdict: Verdict;
  /** Afterwards. */
  readonly chain: Chain;
  /** Why a change is skipped, else ''. */
  readonly code: Code | "";
  /** Of a fork: the other head; empty if that cannot be known. */
  readonly rival: Uint8Array;
}

/**
 * How the head that somebody names stands to one's own. older: they have not seen all changes yet. ahead: there are
 * changes that are not known here. unknown: it is older than what is remembered.
 */
export type Standing = "same" | "older" | "ahead" | "fork" | "unknown";

/** A group as far as it is known: its state, the digest of the change that led to it, and the steps before. */
export class Chain {
  #head: Uint8Array | null = null;

  constructor(
    readonly state: GroupState,
    readonly digest: Uint8Array = NONE,
    readonly steps: readonly Step[] = [],
  ) {}

  /** A group without changes. */
  static of(group: Uint8Array): Chain {
    return new Chain(emptyState(group));
  }

  /**
   * The group as an invitation tells of it.
   *
   * @param state before the change that adds us; empty if that is the first
   * @param base digest of the change that led to that state
   * @param encoded the change that adds us
   * @throws CryptoError The change or the state is not valid, or the change follows another head.
   */
  static joined(state: Uint8Array, base: Uint8Array, encoded: Uint8Array): Chain {
    const change = changes.read(encoded);
    const isFirst = state.length === 0;
    const before = isFirst ? emptyState(change.group) : decodeState(state);
    const start = new Chain(before, isFirst ? NONE : base);
    if (!isEqual(change.previous, start.head)) throw new RefusedChange("previous");
    return start.#with(change, stateAfter(before, change));
  }

  /** What messages name, and people compare. */
  get head(): Uint8Array {
    this.#head ??= headOf(this.digest, this.state);
    return this.#head;
  }

  /** The same with at most so many steps, the newest. */
  withSteps(most: number): Chain {
    return this.steps.length > most ? new Chain(this.state, this.digest, this.steps.slice(-most)) : this;
  }

  #with(change: Change, after: GroupState): Chain {
    const step = { change, before: this.state, base: this.digest };
    return new Chain(after, changes.digestOf(change), [...this.steps, step]);
  }

  #is(verdict: Verdict, code: Code | "" = "", rival: Uint8Array = NO_BYTES): Judged {
    return { verdict, chain: this, code, rival };
  }

  /** What comes of a change that has arrived. */
  judge(encoded: Uint8Array): Judged {
    let change: Change;
    try {
      change = changes.read(encoded);
    } catch (error) {
      return this.#is("skipped", codeOf(error));
    }
    if (!isEqual(change.group, this.state.group)) return this.#is("skipped", "group");
    return change.revision <= this.state.revision ? this.#judgePast(change) : this.#judgeNext(change);
  }

  /** A change in whose place, or beyond it, there is one already. */
  #judgePast(change: Change): Judged {
    const [first] = this.steps;
    if (first === undefined || change.revision <= first.before.revision) return this.#is("stale");
    const left = this.#stepFrom(change.previous);
    if (left === undefined) return this.#is("skipped", "previous");
    return changes.isSame(left.change, change) ? this.#is("known") : this.#rival(left.before, change);
  }

  /** The step that was taken from a head. */
  #stepFrom(head: Uint8Array): Step | undefined {
    return this.steps.find((step) => isEqual(step.change.previous, head));
  }

  /** It would have been taken up, had it come first; so somebody else may have done so. */
  #rival(before: GroupState, change: Change): Judged {
    try {
      return this.#is("fork", "", headOf(changes.digestOf(change), stateAfter(before, change)));
    } catch (error) {
      const code = codeOf(error);
      return code === "newer" ? this.#is("fork") : this.#is("skipped", code);
    }
  }

  #judgeNext(change: Change): Judged {
    if (!isEqual(change.previous, this.head)) return this.#judgeElsewhere(change);
    try {
      return this.#with(change, stateAfter(this.state, change)).#is("applied");
    } catch (error) {
      const code = codeOf(error);
      return code === "newer" ? this.#is("newer") : this.#is("skipped", code);
    }
  }

  /** A change that follows another head than ours. */
  #judgeElsewhere(change: Change): Judged {
    if (this.state.isClosed) return this.#is("skipped", "closed");
    const left = this.#stepFrom(change.previous);
    // With whatever revision: an admin who divides a group may leave numbers out.
    if (left !== undefined) return this.#rival(left.before, change);
    if (change.revision > this.state.revision + 1) return this.#is("behind");
    const isAdmin = adminsOf(this.state).includes(change.author);
    return isAdmin ? this.#is("fork", "", change.previous) : this.#is("skipped", "previous");
  }

  /** How what a message names stands to this chain. */
  compare(revision: number, head: Uint8Array): Standing {
    if (revision === this.state.revision) return isEqual(head, this.head) ? "same" : "fork";
    if (revision > this.state.revision) return "ahead";
    const step = this.steps.find(({ before }) => before.revision === revision);
    if (step !== undefined) return isEqual(step.change.previous, head) ? "older" : "fork";
    const [first] = this.steps;
    return first !== undefined && revision > first.before.revision ? "fork" : "unknown";
  }

  /** Changes behind a revision, oldest first, as many as fit into so many bytes; none behind `until`. */
  since(revision: number, given: { readonly most: number; readonly until?: number }): Uint8Array[] {
    const { most, until = MAX_REVISION } = given;
    const found: Uint8Array[] = [];
    let left = most;
    for (const { change } of this.steps) {
      if (change.revision <= revision || change.revision > until) continue;
      left -= change.encoded.length;
      if (left < 0) break;
      found.push(change.encoded);
    }
    return found;
  }

  /** The first revision behind another one whose change has removed a person; null if there is none. */
  removalOf(person: string, since: number): number | null {
    const removes = ({ revision, ops }: Change): boolean =>
      revision > since && (ops ?? []).some((op) => op.op === "remove" && op.person === person);
    return this.steps.find(({ change }) => removes(change))?.change.revision ?? null;
  }

  /** The last revision whose change has removed a person; null if none is kept. */
  lastRemovalOf(person: string): number | null {
    const removes = ({ ops }: Change): boolean => (ops ?? []).some((op) => op.op === "remove" && op.person === person);
    return this.steps.findLast(({ change }) => removes(change))?.change.revision ?? null;
  }
}

function codeOf(error: unknown): Code {
  if (error instanceof RefusedChange) return error.code;
  throw error;
}
