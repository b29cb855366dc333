/**
 * Changes of this user on their way: signed anew from the newest state, until the relay has put one in order.
 *
 * One change of a group is under way at a time. The relay stores it for everybody or for nobody; if somebody else was
 * first, what is still to be said is said again once theirs has been read.
 */
import { compare, NO_BYTES } from "../../bytes.ts";
import { MalformedPack, unpack } from "../../msgpack.ts";
import { timeOf } from "../content.ts";
import type { ExtensionPorts } from "../extension.ts";
import type { Listener, Ordered } from "../many/listener.ts";
import { newMessageId } from "../message_ids.ts";
import type { Moment } from "../moment.ts";
import { labelOf } from "../status.ts";
import type { Event, WarningEvent } from "../status.ts";
import type { Transaction } from "../vault.ts";
import type { Arrivals } from "./arrivals.ts";
import { RefusedChange, unpackOps, write } from "./change.ts";
import type { Change, Op } from "./change.ts";
import type { Duties } from "./duties.ts";
import { memberOf } from "./naming.ts";
import { withLeaves } from "./outcomes.ts";
import { Persons } from "./persons.ts";
import { CHANGE } from "./speaking.ts";
import type { Speaking } from "./speaking.ts";
import { adminsOf, encodeState, MAX_AHEAD, orderOf, stateAfter, stillToSay } from "./state.ts";
import type { GroupState } from "./state.ts";
import { idOf, ownWishes, rawOf, stateOf, withRecord, withWishes } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";
import * as words from "./words.ts";

/** When a change is tried again whose place was taken, if the one that took it does not come. */
export const TRY_AGAIN_MS = 2_000;

const WHY: Readonly<Record<string, string>> = {
  bounds: "a group has at most 100 members, and from 1 to 16 admins",
  closed: "it is closed",
  author: "you are no admin of it",
};

/** Has this user's changes put in order; listens to what becomes of them. */
export class Orders implements Listener {
  readonly #ports: ExtensionPorts;
  readonly #persons: Persons;
  readonly #store: GroupStore;
  readonly #speaking: Speaking;
  readonly #arrivals: Arrivals;
  readonly #duties: Duties;
  /** Of which revision of the relay, by group, the user was told that it is waited for, and whether by their own. */
  readonly #told = new Map<string, readonly [number, boolean]>();
  /** When a group is tried again, in monotonic milliseconds, unless its revision has risen above the other. */
  readonly #notBefore = new Map<string, { readonly at: number; readonly revision: number }>();

  constructor(
    ports: ExtensionPorts,
    parts: {
      readonly store: GroupStore;
      readonly speaking: Speaking;
      readonly arrivals: Arrivals;
      readonly duties: Duties;
    },
  ) {
    this.#ports = ports;
    this.#persons = new Persons(ports);
    this.#store = parts.store;
    this.#speaking = parts.speaking;
    this.#arrivals = parts.arrivals;
    this.#duties = parts.duties;
  }

  /** Milliseconds until each thing that waits for a time. */
  waits(now: number): number[] {
    // What waits for something else, too, once its time has come, is not looked at again and again until then.
    return [...this.#notBefore.values()].map(({ at }) => at - now).filter((wait) => wait > 0);
  }

  /** Send what may be sent now. */
  step(now: Moment): Event[] {
    if (!this.#persons.isFirst) {
      return []; // only that device signs
    }
    // Nothing is on its way if all who were to get it were blocked before it left.
    const isFree = ({ carrier }: { readonly carrier: string }): boolean => !this.#speaking.isWaiting(carrier);
    const ready = this.#store.all().filter(({ record }) => record.wishes.length > 0 && isFree(record));
    return ready.flatMap((group) => {
      return this.#isTime(group, now) ? this.#goOn(this.#inTurn(group), now) : this.#waiting(group, now);
    });
  }

  /** Tell the user, once, that somebody else's change is waited for: by theirs, or before who has left is removed. */
  #waiting(group: Group, now: Moment): Event[] {
    const { leaving, ordered } = group.record;
    const wants = ownWishes(group).length > 0;
    const [told, wasOwn = false] = this.#told.get(idOf(group)) ?? [];
    const isTold = told === ordered && (wasOwn || !wants);
    if (!(wants || leaving.length > 0) || isTold || !this.#duties.waitsLong(group, now)) {
      return [];
    }
    this.#told.set(idOf(group), [ordered, wants]);
    const author = this.#duties.missingAuthor(group);
    const isOther = author !== "" && author !== this.#ports.ownId;
    const who = isOther ? labelOf(memberOf(group, this.#ports.stores.book.contact(author))) : author && "you";
    const message = words.waiting(who, words.title(stateOf(group).name), wants);
    return [{ kind: "group", news: "waiting", group: idOf(group), by: isOther ? author : "", message }];
  }

  /** The group, if its user appears offline with what they want themselves before what others want. */
  #inTurn(group: Group): Group {
    const own = ownWishes(group);
    const others = group.record.wishes.filter((wish) => !own.includes(wish));
    return this.#ports.presence.looksAbsent ? withWishes(group, [...own, ...others]) : group;
  }

  #isTime(group: Group, now: Moment): boolean {
    const { relation, doubt } = group.record;
    if (relation !== "member" || doubt !== "" || this.#duties.isSilent(idOf(group))) {
      return false;
    }
    const { at, revision } = this.#notBefore.get(idOf(group)) ?? { at: 0, revision: 0 };
    if (now.monotonic < at && stateOf(group).revision <= revision) {
      return false;
    }
    this.#notBefore.delete(idOf(group));
    return stateOf(group).members.size === 1 || this.#duties.knowsAll(group, now);
  }

  /** Sign what is wanted first, and send it. */
  #goOn(group: Group, now: Moment): Event[] {
    const { identity, ownId } = this.#ports;
    const state = stateOf(group);
    const ops = stillToSay(wishOf(group), state);
    if (ops.length === 0 || state.members.get(ownId) !== "admin") {
      return this.#dropWish(group, "");
    }
    if (group.record.ordered >= state.revision + MAX_AHEAD) {
      // Nothing is missing (see `#isTime`), and nobody would take up what the relay would.
      return this.#giveUp(withRecord(group, { ordered: 0 }), "the relay has counted further than changes may go");
    }
    const revision = Math.max(state.revision, group.record.ordered) + 1;
    const previous = group.chain.head;
    let change: Change;
    let after: GroupState;
    try {
      change = write(identity, { group: group.record.group, revision, previous, at: timeOf(now.wall), ops });
      after = stateAfter(state, change);
    } catch (error) {
      if (error instanceof RefusedChange) {
        return this.#dropWish(group, WHY[error.code] ?? "it is not possible");
      }
      throw error;
    }
    const people = [...new Set([...state.members.keys(), ...after.members.keys()])].filter((one) => one !== ownId);
    if (people.length === 0) {
      // Nobody else is there to be told, or to be in the way.
      return this.#ports.stores.vault.transaction((tx) => {
        return this.#arrivals.takeOwn(tx, withoutWish(group), change.encoded, now);
      });
    }
    people.sort((one, other) => compare(rawOf(one), rawOf(other)));
    this.#send(group, change, after, people, now);
    return [];
  }

  #send(group: Group, change: Change, after: GroupState, people: readonly string[], now: Moment): void {
    const { group: id } = group.record;
    const adds = (change.ops ?? []).some(({ op }) => op === "add");
    const state = adds ? encodeState(stateOf(group)) : NO_BYTES;
    const base = adds ? group.chain.digest : NO_BYTES;
    const said = { kind: "group-change", group: id, change: change.encoded, state, base } as const;
    const admins = adminsOf(after);
    const writers = admins.length > 0 ? admins : [this.#ports.ownId];
    const carrier = newMessageId(this.#ports.random);
    this.#speaking.say(id, people, said, now, {
      purpose: CHANGE,
      order: { name: orderOf(id), revision: change.revision, writers },
      messageId: carrier,
      also: (tx) => void this.#store.put(tx, withRecord(group, { flying: change.encoded, carrier })),
    });
  }

  /** It is done already, or cannot be done, and leaves room; `why`: '' if nobody need know. */
  #dropWish(group: Group, why: string): Event[] {
    return this.#put(withLeaves(withoutWish(group), this.#ports.ownId), why);
  }

  /** It could be done, and the relay does not let it; what is made anew of what was said would fare as badly. */
  #giveUp(group: Group, why: string): Event[] {
    return this.#put(withoutWish(group), why);
  }

  #put(group: Group, why: string): Event[] {
    this.#ports.stores.vault.transaction((tx) => this.#store.put(tx, group));
    return why === "" ? [] : [refused(group, why)];
  }

  // --- what becomes of them ---------------------------------------------------------

  /**
   * Whoever was removed, and whose account is gone, is not waited for. Somebody of whom nothing was ever seen has none
   * yet: what they were invited by may wait for them with others, and they are to learn that it is over.
   */
  waitsFor(conversationId: string, peer: string): boolean {
    const group = this.#store.ofConversation(conversationId);
    const person = this.#persons.of(peer);
    const isMember = group !== null && stateOf(group).members.has(person);
    return isMember || (group !== null && this.#ports.stores.book.get(person).key.length === 0);
  }

  /** Of a change only its order counts. */
  advanced(): Event[] {
    return [];
  }

  ordered(tx: Transaction, messageId: string, outcome: Ordered, now: Moment): Event[] {
    const group = this.#store.all().find(({ record }) => record.carrier === messageId);
    if (group === undefined) {
      return [];
    }
    const { flying, ordered } = group.record;
    const landed = withRecord(group, { flying: NO_BYTES, carrier: "" });
    switch (outcome.is) {
      case "taken":
        return this.#arrivals.takeOwn(tx, withoutWish(landed), flying, now);
      case "stale": {
        const { author, revision } = outcome;
        const isNews = revision !== null && revision >= ordered;
        this.#store.put(tx, isNews ? withRecord(landed, { ordered: revision, orderedBy: author }) : landed);
        const wait = { at: now.monotonic + TRY_AGAIN_MS, revision: stateOf(group).revision };
        tx.onCommit(() => this.#notBefore.set(idOf(group), wait));
        return [];
      }
      case "denied":
        this.#store.put(tx, withoutWish(landed));
        return [refused(group, "the relay knows other admins than you do")];
      case "refused":
        this.#store.put(tx, withoutWish(landed));
        return [refused(group, outcome.reason)];
    }
  }
}

/** What is wanted first; nothing, if there can be no change of it. */
function wishOf({ record }: Group): readonly Op[] {
  const [first] = record.wishes;
  try {
    return first === undefined ? [] : unpackOps(unpack(first));
  } catch (error) {
    if (error instanceof MalformedPack || error instanceof RefusedChange) return [];
    throw error;
  }
}

function withoutWish(group: Group): Group {
  return withWishes(group, group.record.wishes.slice(1));
}

function refused(group: Group, why: string): WarningEvent {
  const message = `${words.title(stateOf(group).name)} could not be changed: ${why}`;
  return { kind: "warning", peer: null, code: "group", message };
}
