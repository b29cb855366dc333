/**
 * What of a stranger's words about groups is taken in, instead of waiting as a request.
 *
 * The conversation id of a group, or of a link, is no secret: the relay sees it, and whoever was removed knows it.
 * Taking in what somebody says costs a session, a record of them and a place; so it is taken in if they are known to the
 * group, or if there is room for what has to wait. Everything else waits as what strangers write does, which is bounded.
 */
import { isEqual } from "../../bytes.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import type { RoutedMessage } from "../../wire/frames.ts";
import type { ExtensionPorts } from "../extension.ts";
import type { Moment } from "../moment.ts";
import { packOps, read } from "./change.ts";
import type { GroupHeard, GroupJoin } from "./contents.ts";
import { Persons } from "./persons.ts";
import type { GroupTokenRecord } from "./records.ts";
import { idOf, isLive, stateOf } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";

/** Of the changes that wait to be sent, those that others ask an admin's client for: the rest is the user's own. */
export const MAX_ASKED = 40;

/** Judges it. */
export class Strangers {
  readonly #persons: Persons;
  readonly #store: GroupStore;

  constructor(ports: ExtensionPorts, store: GroupStore) {
    this.#persons = new Persons(ports);
    this.#store = store;
  }

  /** Whether a message of a stranger may be about a group of this user: then it is looked into. */
  expects(frame: RoutedMessage): boolean {
    const { conversationId } = frame.payload;
    return this.#store.ofConversation(conversationId) !== null || this.#store.isOfToken(conversationId);
  }

  /**
   * Whether what a stranger says is taken in.
   *
   * What is said in a group that was left is of no interest, and no request either, unless it may be an invitation.
   */
  concerns(sender: string, said: GroupHeard, now: Moment): boolean {
    if (said.kind === "group-join") return this.joining(sender, said, now) !== null;
    const group = this.#store.get(encodeBase64(said.group));
    if (group === null || (!isLive(group) && said.kind === "group-change")) return false;
    const person = this.#persons.of(sender);
    if (stateOf(group).members.has(person) || group.chain.removalOf(person, 0) !== null) return true;
    switch (said.kind) {
      case "group-text":
        return this.#store.hasRoom(idOf(group), sender);
      case "group-change":
        return this.#moves(group, [said.change], sender);
      case "group-changes":
        return isLive(group) && this.#moves(group, said.changes, sender);
      default:
        return false;
    }
  }

  /** Whether something follows from changes that anybody may pass on: they prove themselves. */
  #moves(group: Group, encoded: readonly Uint8Array[], sender: string): boolean {
    let { chain } = group;
    const { doubt, rival } = group.record;
    return encoded.some((one) => {
      const judged = chain.judge(one);
      ({ chain } = judged);
      switch (judged.verdict) {
        case "applied":
          return true;
        case "behind":
          return this.#store.hasRoom(idOf(group), sender);
        case "fork":
          return doubt === "" && rival !== read(one).author;
        case "newer":
          return doubt === "";
        default:
          return false;
      }
    });
  }

  /** The link that somebody has opened, and its group; null if they are not to be added to one. */
  joining(sender: string, said: GroupJoin, now: Moment): readonly [GroupTokenRecord, Group] | null {
    const token = this.#store.token(said.token, now.persistent);
    const group = token === null ? null : this.#store.get(token.group);
    // A person joins with their first device.
    if (token === null || group?.record.relation !== "member" || this.#persons.of(sender) !== sender) return null;
    const { members } = stateOf(group);
    if (members.get(this.#persons.own) !== "admin" || members.has(sender)) return null;
    const { wishes } = group.record;
    const wish = packOps([{ op: "add", person: sender, role: "member" }]);
    return wishes.length < MAX_ASKED || wishes.some((one) => isEqual(one, wish)) ? [token, group] : null;
  }
}

/**
 * Who is said to have another history, of a change that shows it: a member who sends it, or who has signed it.
 *
 * Not anybody who sends it: of one whom the user has gone on in spite of, nothing is asked again, and others could come
 * without end.
 */
export function rivalOf(group: Group, sender: string, encoded: Uint8Array): string {
  return stateOf(group).members.has(sender) ? sender : read(encoded).author;
}
