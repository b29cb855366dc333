/**
 * What somebody has sent, and nothing can follow from: a device list, a change of a group, an invitation to one.
 *
 * It is told of people whom the user knows, and of fellow members. Of strangers nothing is: they could say it without
 * end, under ever new ids, and what they send is none of the user's business before they are let in.
 */
import { DAY_MS } from "./devices/device_list.ts";
import { stateOf } from "./groups/store.ts";
import type { Group } from "./groups/store.ts";
import { title } from "./groups/words.ts";
import type { Moment } from "./moment.ts";
import { warning } from "./notices.ts";
import { labelOf } from "./status.ts";
import type { WarningEvent } from "./status.ts";
import type { Stores } from "./stores.ts";

export const LIST = "a list of devices";
export const CHANGE = "a change";
export const INVITATION = "an invitation to a group";

const FORGED = "it is forged or damaged";
const NEWER = "it needs a newer version; reload this page";
const BREAKS_RULES = "it breaks the rules";
/**
 * Why something cannot be used, by the code of a change that is skipped, the name of what speaks against a list, or
 * another word.
 *
 * No client that keeps to the protocol sends what is told. Of the other codes some can come of two histories, which are
 * told by themselves; and an old list of two that have crossed on their way.
 */
const WHY: Readonly<Partial<Record<string, string>>> = {
  size: FORGED,
  form: FORGED,
  key: FORGED,
  signature: FORGED,
  group: "it is of another group",
  author: BREAKS_RULES,
  ops: BREAKS_RULES,
  bounds: BREAKS_RULES,
  person: "it is somebody else's",
  newer: NEWER,
  NewerList: NEWER,
  EarlyList: "it is dated in the future",
};

/** How much is told in a day: members could be made up, too. */
export const MOST = 30;

/** Tells of it: of each person and kind once a day. */
export class Unusable {
  readonly #stores: Pick<Stores, "book" | "devices">;
  /** Of whom what was told, and when, in monotonic milliseconds. */
  readonly #told = new Map<string, number>();

  constructor(stores: Pick<Stores, "book" | "devices">) {
    this.#stores = stores;
  }

  /**
   * Say that something cannot be used, and that nothing was changed by it.
   *
   * @param sender who has sent it, '' for the relay
   * @param code why, see `WHY`; nothing is told of another one
   * @param group of which it is a change
   */
  tell(sender: string, what: string, code: string, { monotonic: now }: Moment, group?: Group): WarningEvent[] {
    const { book, devices } = this.#stores;
    const why = WHY[code];
    const person = sender && (devices?.personOf(sender) ?? sender);
    const isOwn = person === devices?.person;
    const isNobody = !sender || isOwn;
    if (!why || !(isNobody || book.mayNotify(sender)) || !this.#isNews(person + what, now)) return [];
    const peer = book.contact(person);
    const about = group === undefined ? what : `${what} of ${title(stateOf(group).name)}`;
    const who = isOwn ? "a device of yours" : sender ? labelOf(peer) : "the relay";
    const from = `${about} from ${who}`;
    return [warning(isNobody ? null : peer, "unusable", `${from} cannot be used: ${why}; nothing was changed`)];
  }

  #isNews(key: string, now: number): boolean {
    this.#told.forEach((at, one) => now - at >= DAY_MS && this.#told.delete(one));
    return !this.#told.has(key) && this.#told.size < MOST && this.#told.set(key, now).has(key);
  }
}
