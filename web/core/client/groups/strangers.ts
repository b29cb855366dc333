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
import { UsageError } from "../errors.ts";
import type { ExtensionPorts } from "../extension.ts";
import { conversationId, isUserId } from "../ids.ts";
import type { Moment } from "../moment.ts";
import * as notices from "../notices.ts";
import { key, REQUEST } from "../records.ts";
import type { Event } from "../status.ts";
import type { Transaction } from "../vault.ts";
import { packOps, type Change } from "./change.ts";
import type { GroupHeard, GroupJoin, GroupRefuse } from "./contents.ts";
import { isOld, shownBy } from "./doubts.ts";
import { looked } from "./invitations.ts";
import type { JoinLink } from "./link.ts";
import { LinkLooks, Looks } from "./looks.ts";
import { isAdding, judge, MAX_ASKED } from "./outcomes.ts";
import { Persons } from "./persons.ts";
import type { GroupTokenRecord } from "./records.ts";
import { idOf, isLive, stateOf } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";
import { TurningAway } from "./turning_away.ts";

/** Judges it. */
export class Strangers {
  readonly #ports: ExtensionPorts;
  readonly #persons: Persons;
  readonly #store: GroupStore;
  readonly #looks = new Looks();
  readonly #links = new LinkLooks();
  readonly turningAway = new TurningAway();
  /** Groups, and who is on their way into one by a link: what is lost with the page is told in other words. */
  readonly #byLink = new Set<string>();

  constructor(ports: ExtensionPorts, store: GroupStore) {
    this.#ports = ports;
    this.#persons = new Persons(ports);
    this.#store = store;
  }

  /**
   * Whether a message of a stranger is looked into, as it may be about a group of this user; `isNew`: it has just come,
   * and somebody who is no member, and was none, may have that, too, a few times.
   */
  expects({ payload }: RoutedMessage, now: Moment, isNew: boolean): boolean {
    const { conversationId, messageId, senderId } = payload;
    const group = this.#store.ofConversation(conversationId);
    const isUnderLink = group === null && this.#store.isOfToken(conversationId);
    if (isUnderLink) return this.#links.take(senderId, key(senderId, messageId), now.monotonic);
    this.#links.last = "";
    if (group === null) return false;
    const person = this.#persons.of(senderId);
    const isIn = stateOf(group).members.has(person) || isAdding(group, person);
    const isOrWasIn = isIn || group.chain.removalOf(person, 0) !== null;
    if (isOrWasIn || !isNew) return isOrWasIn;
    return this.#takesLook(senderId, messageId, now);
  }

  /** Whether it may be a fellow member's, who could not read what was said in a group, or has another device. */
  mayAskAgain({ payload: { messageId, senderId } }: RoutedMessage, now: Moment): boolean {
    return this.#ports.stores.book.mayNotify(senderId) && this.#takesLook(senderId, messageId, now);
  }

  /** Whether one more message may be looked into; what waits has had its look. */
  #takesLook(sender: string, messageId: string, now: Moment): boolean {
    return !this.#ports.stores.vault.has(REQUEST, key(sender, messageId)) && this.#looks.take(now.monotonic);
  }

  /**
   * Whether what a stranger says is taken in.
   *
   * What is said in a group that was left is of no interest, and no request either, unless it may be an invitation.
   */
  concerns(sender: string, said: GroupHeard, now: Moment): boolean {
    if (said.kind === "group-join") {
      if (this.#opened(sender, said, now) !== null) this.#links.asksToJoin();
      return this.joining(sender, said, now) !== null || this.#isLate(sender, said, now);
    }
    if (said.kind === "group-refuse") return false;
    const group = this.#store.get(encodeBase64(said.group));
    if (group === null || (!isLive(group) && said.kind === "group-change")) return false;
    const person = this.#persons.of(sender);
    const isIn = stateOf(group).members.has(person) || isAdding(group, person);
    if (isIn || group.chain.removalOf(person, 0) !== null) return true;
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
    const { doubt } = group.record;
    return encoded.some((one) => {
      switch (judge(group, one).verdict) {
        case "applied":
          return true;
        case "behind":
          return this.#store.hasRoom(idOf(group), sender);
        case "fork":
        case "newer":
          return doubt === "" && !isOld(group, shownBy(group, sender, one));
        default:
          return false;
      }
    });
  }

  /** The link that somebody has opened, and its group; null if they are not to be added to one now. */
  joining(sender: string, said: GroupJoin, now: Moment): readonly [GroupTokenRecord, Group] | null {
    const found = this.#opened(sender, said, now);
    const hasRoom = found !== null && (found[1].record.wishes.length < MAX_ASKED || letsIn(found[1], sender));
    return hasRoom ? found : null;
  }

  /** The same, also if there is no room for it now; null if nothing will ever come of it. */
  #opened(sender: string, said: GroupJoin, now: Moment): readonly [GroupTokenRecord, Group] | null {
    const [token, group] = this.#linkOf(said);
    // A person joins with their first device, and an id that certifies their key.
    const isPerson = this.#persons.of(sender) === sender && isUserId(sender);
    if (token === null || group === null || !this.serves(token, group, now) || !isPerson) return null;
    return stateOf(group).members.has(sender) ? null : [token, group];
  }

  /**
   * Whether a stranger, whose message waits, has opened a link to a group and is not to be let in here: there is nothing to
   * read. On a further device nobody is, as the first one answers. `given`: what it says, if it was looked into.
   */
  asksInVain({ payload }: RoutedMessage, now: Moment, given?: GroupHeard | null): boolean {
    const { conversationId: conversation, messageId, senderId } = payload;
    if (conversation === conversationId(this.#persons.own, senderId)) return false; // of persons: it is not looked into
    if (given === undefined && this.#store.isOfToken(conversation)) return false; // it waits for a look of its own
    const said = given === undefined ? this.#look(senderId, messageId, now) : given;
    return said?.kind === "group-join" && (!this.#persons.isFirst || this.#opened(senderId, said, now) === null);
  }

  /** What a message that waits says; null if it cannot be read, or may not be looked into. */
  #look(sender: string, messageId: string, now: Moment): GroupHeard | null {
    if (!this.#looks.take(now.monotonic)) return null;
    const { stores } = this.#ports;
    const record = stores.vault.find(REQUEST, key(sender, messageId));
    return record === null ? null : looked(stores, record, now.persistent);
  }

  #linkOf({ token }: GroupJoin | GroupRefuse): readonly [GroupTokenRecord | null, Group | null] {
    const found = this.#store.token(token);
    return [found, found === null ? null : this.#store.get(found.group)];
  }

  /** Somebody is to be added because they have opened a link. */
  letIn(tx: Transaction, group: string, person: string): void {
    tx.onCommit(() => this.#byLink.add(group + person));
  }

  /** Whether a change of this user's does nothing else than add one of them; it is asked once. */
  isByLink(tx: Transaction, group: string, { author, ops }: Change): boolean {
    const [op] = ops ?? [];
    const name = op?.op === "add" ? group + op.person : "";
    tx.onCommit(() => this.#byLink.delete(name));
    return ops?.length === 1 && author === this.#persons.own && this.#byLink.has(name);
  }

  serves({ until, uses }: GroupTokenRecord, group: Group, now: Moment): boolean {
    const isAdmin = stateOf(group).members.get(this.#persons.own) === "admin";
    return uses > 0 && until > now.persistent && group.record.relation === "member" && isAdmin;
  }

  /** Whether somebody has opened a link of this user's that serves no more, and can be told. */
  #isLate(sender: string, said: GroupJoin, now: Moment): boolean {
    const [token, group] = this.#linkOf(said);
    if (token === null || group === null || this.serves(token, group, now)) return false;
    const isIn = stateOf(group).members.has(sender) || letsIn(group, sender);
    const isPerson = this.#persons.of(sender) === sender;
    return !isIn && isPerson && this.turningAway.hasRoom(sender, said.token, now.monotonic);
  }

  /** Have somebody told that the link serves no more, if that is so. */
  turnAway(tx: Transaction, sender: string, said: GroupJoin, now: Moment): void {
    if (this.#isLate(sender, said, now)) this.turningAway.note(tx, sender, said.token);
  }

  /** Throws UsageError if a link cannot serve: it is one's own, or its admin has said that it does no more. */
  checkLink({ admin, token }: Pick<JoinLink, "admin" | "token">): void {
    if (admin === this.#persons.own) throw new UsageError("this is a link of your own; give it to others");
    if (this.#store.joins.wasRefused(token)) {
      throw new UsageError(notices.linkRefused(this.#ports.stores.book.contact(admin)).message);
    }
  }

  /** The link that this user has opened serves no more. */
  refused(tx: Transaction, admin: string, { token }: GroupRefuse): Event[] {
    const [{ joins }, { persistent: now }] = [this.#store, this.#ports.now()];
    const join = joins.find(admin, now);
    if (join === null || !isEqual(join.token, token)) return [];
    joins.refused(tx, join, now);
    return [notices.linkRefused(this.#ports.stores.book.contact(admin))];
  }
}

/** Whether somebody is on their way into a group. */
function letsIn(group: Group, person: string): boolean {
  const wish = packOps([{ op: "add", person, role: "member" }]);
  return group.record.wishes.some((one) => isEqual(one, wish));
}
