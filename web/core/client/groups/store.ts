/**
 * The groups of a profile: what they are, what was said in them, and what is still to be said.
 *
 * Chains are held in memory, and follow what is stored when a transaction is through. Times are milliseconds of
 * persistent time.
 */
import { isEqual } from "../../bytes.ts";
import { encodeBase64, fromBase64 } from "../../wire/base64.ts";
import { dropEarly } from "../devices/early.ts";
import type { SyncedGroup } from "../devices/kinds.ts";
import type { GroupStored } from "../extension.ts";
import type { Moment } from "../moment.ts";
import * as records from "../records.ts";
import type { Transaction, Vault } from "../vault.ts";
import { Chain } from "./chain.ts";
import type { Step } from "./chain.ts";
import * as changes from "./change.ts";
import { Early, Holding, KEPT } from "./holding.ts";
import { Joins } from "./joins.ts";
import { GroupPast } from "./past.ts";
import {
  eventsOf,
  GROUP,
  GROUP_COUNTS,
  GROUP_INBOX,
  GROUP_JOIN,
  GROUP_LINK,
  GROUP_STEP,
  GROUP_TOLD,
  GroupCountsRecord,
  textsOf,
} from "./records.ts";
import type {
  GroupEventRecord,
  GroupHeldRecord,
  GroupRecord,
  GroupTextRecord,
  GroupTokenRecord,
  GroupToldRecord,
} from "./records.ts";
import { newsOf, syncedOf } from "./news.ts";
import { conversationOf, decodeState, emptyState, encodeState } from "./state.ts";
import type { GroupState } from "./state.ts";

/** Changes of a group that are kept, to judge by and to answer who asks. */
export const KEPT_STEPS = 1_000;

/** The same of a group to which this user is only invited: no more are taken up, and the rest is asked for later. */
export const KEPT_INVITED = 64;

/** Groups to which a user can be invited at once; further ones are not shown. */
export const MAX_INVITATIONS = 50;

/** Of these, those of one person. */
export const MAX_OF_ONE = 10;

/** Numbers of texts of one member that are remembered as missing. */
export const MAX_MISSING = 200;

/** Texts of one group, of whomever, among which own ones are looked for. */
const MAX_LOOKED_AT = 1_000;

/** What has happened to a group is remembered so often. */
export const MAX_EVENTS = 1_000;

/** How long a link is known that is too old: who opens it is told. */
const KEEP_TOKENS_MS = 30 * 86_400_000;

/** A group as it is known here. */
export interface Group {
  readonly record: GroupRecord;
  readonly chain: Chain;
}

/** Its id in base64. */
export function idOf(group: Group): string {
  return encodeBase64(group.record.group);
}

export function stateOf(group: Group): GroupState {
  return group.chain.state;
}

/** User ids of all members. */
export function peopleOf(group: Group): string[] {
  return [...group.chain.state.members.keys()];
}

/** Whether what comes for it is taken in. */
export function isLive({ record }: Group): boolean {
  return record.relation === "invited" || record.relation === "member";
}

/** Whether it has a picture which is not here. */
export function lacksPicture({ chain, record }: Group): boolean {
  return chain.state.picture.length > 0 && record.picture.length === 0;
}

/** The same with other fields of its record. */
export function withRecord(group: Group, changed: Partial<GroupRecord>): Group {
  return { ...group, record: { ...group.record, ...changed } };
}

/** The same with other wishes; `asked`: those that others have asked for, as before if it is not given. */
export function withWishes(group: Group, wishes: readonly Uint8Array[], asked = group.record.asked): Group {
  const isThere = (one: Uint8Array): boolean => wishes.some((wish) => isEqual(wish, one));
  return withRecord(group, { wishes: [...wishes], asked: asked.filter(isThere) });
}

/** Those of its wishes that are this user's own. */
export function ownWishes({ record }: Group): Uint8Array[] {
  return record.wishes.filter((wish) => !record.asked.some((one) => isEqual(one, wish)));
}

/** All groups of a profile. */
export class GroupStore {
  readonly #vault: Vault;
  readonly joins: Joins;
  readonly #personOf: (device: string) => string;
  readonly #holding: Holding;
  /** Texts in groups to which this user is only invited. */
  readonly early: Early;
  readonly #groups = new Map<string, Group>();
  /** Groups by the conversation ids of their messages. */
  readonly #conversations = new Map<string, string>();
  readonly #tokens = new Map<string, GroupTokenRecord>();
  /** Names of texts that the user has not seen, by group. */
  readonly #unread = new Map<string, Set<string>>();
  #lastNumber = 0;
  /** What was said before this device was linked. */
  readonly past: GroupPast;
  /** Is told what is new of a group, null if it is erased, so that one's other devices learn of it. */
  #changed: (tx: Transaction, group: string, news: GroupStored | null) => void = () => undefined;
  /** Receipts that are still to be sent, by the name of their record. */
  readonly #told = new Map<string, GroupToldRecord>();

  /** @param personOf whose a message of a device is, as far as that is known */
  constructor(vault: Vault, personOf: (device: string) => string = (device) => device) {
    this.#vault = vault;
    this.joins = new Joins(vault);
    this.past = new GroupPast(vault);
    this.#personOf = personOf;
    this.#holding = new Holding(vault, personOf);
    this.early = new Early(vault, this.#holding, (group) => this.#isInvited(group));
    for (const [, record] of vault.all(GROUP)) {
      this.#set({ record, chain: this.#chainOf(record) });
    }
    for (const [, token] of vault.all(GROUP_LINK)) {
      this.#tokens.set(encodeBase64(token.token), token);
    }
    for (const [, { group, sender, messageId }] of vault.all(GROUP_INBOX)) {
      this.#unreadOf(group).add(records.key(sender, messageId));
    }
    for (const [, told] of vault.all(GROUP_TOLD)) {
      this.#told.set(nameOf(told), told);
    }
  }

  #chainOf(record: GroupRecord): Chain {
    const group = encodeBase64(record.group);
    let steps: Step[] = [];
    for (const revision of record.steps) {
      const found = this.#vault.find(GROUP_STEP, `${group} ${revision}`);
      if (found === null) {
        steps = []; // what is before a hole is of no use
        continue;
      }
      const before = found.before.length > 0 ? decodeState(found.before) : emptyState(record.group);
      steps.push({ change: changes.readOwn(found.change), before, base: found.base });
    }
    return new Chain(decodeState(record.state), record.digest, steps);
  }

  #set(group: Group): void {
    this.#groups.set(idOf(group), group);
    this.#conversations.set(conversationOf(group.record.group), idOf(group));
  }

  #unreadOf(group: string): Set<string> {
    const found = this.#unread.get(group) ?? new Set();
    this.#unread.set(group, found);
    return found;
  }

  // --- groups ---------------------------------------------------------------------

  /** Tell what is new of which group. */
  follow(listener: (tx: Transaction, group: string, news: GroupStored | null) => void): void {
    this.#changed = listener;
  }

  /** A group, for linked devices; null if it is none, or nothing to them yet. */
  synced(id: string): SyncedGroup | null {
    const found = this.#vault.find(GROUP, id);
    return found === null ? null : syncedOf(found);
  }

  #isInvited(group: string): boolean {
    return this.get(group)?.record.relation === "invited";
  }

  get size(): number {
    return this.#groups.size;
  }

  /** All of them, the oldest first. */
  all(): Group[] {
    return [...this.#groups.values()];
  }

  get(group: string): Group | null {
    return this.#groups.get(group) ?? null;
  }

  /** The same, if this user is a member. */
  memberOf(id: string): Group | null {
    const group = this.get(id);
    return group?.record.relation === "member" ? group : null;
  }

  /** Another own device says whether it is muted. */
  mute(tx: Transaction, id: string, muted: boolean): void {
    const group = this.memberOf(id);
    if (group !== null) this.put(tx, withRecord(group, { muted }));
  }

  /** The group whose messages have this conversation id, whatever it is to this user. */
  ofConversation(conversationId: string): Group | null {
    return this.get(this.#conversations.get(conversationId) ?? "");
  }

  /** Whether messages of this conversation id may ask to be added by a link of this user. */
  isOfToken(conversationId: string): boolean {
    return [...this.#tokens.values()].some(({ token }) => conversationOf(token) === conversationId);
  }

  /** Whether somebody is in a group with this user. */
  isFellow(userId: string): boolean {
    return this.all().some(({ chain, record }) => record.relation === "member" && chain.state.members.has(userId));
  }

  /** Whether there is room for one more invitation of somebody. */
  mayBeInvited(inviter: string): boolean {
    const found = this.all().filter(({ record }) => record.relation === "invited");
    const theirs = found.filter(({ record }) => record.inviter === inviter);
    return found.length < MAX_INVITATIONS && theirs.length < MAX_OF_ONE;
  }

  /** The number of the next group; none that was given before, though that group is forgotten. */
  newNumber(): number {
    this.#lastNumber = Math.max(this.#lastNumber, ...this.all().map(({ record }) => record.number)) + 1;
    return this.#lastNumber;
  }

  /**
   * Store a group as it is now, with the steps that its chain has gained.
   *
   * @param afresh it was left before and is another one now: nothing of what is known of it stays but texts
   */
  put(tx: Transaction, group: Group, { afresh = false } = {}): Group {
    const id = idOf(group);
    const chain = group.chain.withSteps(KEPT_STEPS);
    const steps = chain.steps.map(({ change }) => change.revision);
    const record: GroupRecord = { ...group.record, state: encodeState(chain.state), digest: chain.digest, steps };
    const known = this.#vault.find(GROUP, id);
    let had = new Set(known?.steps ?? []);
    if (afresh) {
      this.#forgetSteps(tx, id, had);
      this.dropHeld(tx, id);
      tx.delete(GROUP_COUNTS, id);
      had = new Set();
    }
    for (const { change, before, base } of chain.steps) {
      if (!had.delete(change.revision)) {
        const state = before.revision > 0 ? encodeState(before) : new Uint8Array();
        tx.put(GROUP_STEP, `${id} ${change.revision}`, { change: change.encoded, before: state, base });
      }
    }
    this.#forgetSteps(tx, id, had);
    tx.put(GROUP, id, record);
    const after = { record, chain };
    if (record.relation !== "invited") {
      this.#endInvitation(tx, after, known?.relation === "invited");
    }
    tx.onCommit(() => this.#set(after));
    this.#changed(tx, id, newsOf(known, record));
    return after;
  }

  /** The user has accepted, or never will: nothing that was said since the invitation is shown then. */
  #endInvitation(tx: Transaction, group: Group, wasInvited: boolean): void {
    const [id, { fresh, number, relation }] = [idOf(group), group.record];
    if (relation !== "member" && wasInvited) {
      for (const one of this.held(id)) if (one.kind !== KEPT) this.drop(tx, one);
    }
    if (relation !== "member" && fresh && wasInvited) { // nothing of it is from before
      for (const name of this.#unreadOf(id)) tx.delete(GROUP_INBOX, `${id} ${name}`);
      tx.deleteKind(textsOf(number));
      tx.delete(GROUP_COUNTS, id);
      tx.onCommit(() => this.#unread.delete(id));
    } else if (relation !== "member") {
      for (const { messageId, sender } of this.early.of(id)) {
        this.handled(tx, id, sender, messageId);
        tx.delete(textsOf(number), records.key(sender, messageId));
      }
    }
    this.early.drop(tx, id);
  }

  #forgetSteps(tx: Transaction, group: string, revisions: Iterable<number>): void {
    for (const revision of revisions) {
      tx.delete(GROUP_STEP, `${group} ${revision}`);
    }
  }

  /** Forget a group, and all that was said in it. */
  erase(tx: Transaction, group: Group): void {
    const id = idOf(group);
    const { number, steps } = group.record;
    tx.delete(GROUP, id);
    tx.delete(GROUP_COUNTS, id);
    this.#forgetSteps(tx, id, steps);
    this.dropHeld(tx, id);
    this.early.drop(tx, id);
    for (const name of this.#unreadOf(id)) {
      tx.delete(GROUP_INBOX, `${id} ${name}`);
    }
    for (const told of this.told().filter((one) => one.group === id)) {
      this.wasTold(tx, told);
    }
    for (const token of this.tokensOf(id)) {
      this.dropToken(tx, token);
    }
    tx.delete(records.DRAFT, keyOf(id));
    const then = group.chain.steps.flatMap(({ before }) => [...before.members.keys()]);
    for (const person of new Set([...then, ...peopleOf(group)])) dropEarly(tx, `${id} ${person}`);
    tx.deleteKind(textsOf(number));
    this.past.erase(tx, id);
    tx.deleteKind(eventsOf(number));
    this.#changed(tx, id, null);
    tx.onCommit(() => {
      this.#groups.delete(id);
      this.#unread.delete(id);
      this.#conversations.delete(conversationOf(group.record.group));
    });
  }

  // --- numbers of texts -------------------------------------------------------------

  /** How many texts of whom there were. */
  counts(group: string): GroupCountsRecord {
    return this.#vault.find(GROUP_COUNTS, group) ?? GroupCountsRecord.make({});
  }

  putCounts(tx: Transaction, group: string, counts: GroupCountsRecord): void {
    tx.put(GROUP_COUNTS, group, counts);
  }

  // --- texts ------------------------------------------------------------------------

  /** Store a text as it is now. */
  putText(tx: Transaction, { record }: Group, text: GroupTextRecord): void {
    const due = text.text === null ? null : text.expiresAt;
    tx.put(textsOf(record.number), records.key(text.sender, text.messageId), text, { due });
  }

  /** A text; `sender`: '' for an own one. */
  text({ record }: Group, sender: string, messageId: string): GroupTextRecord | null {
    return this.#vault.find(textsOf(record.number), records.key(sender, messageId));
  }

  /**
   * What this user has written in groups of which a person is a member, as far as it is there and no older than that;
   * the newest first, among the newest of each group.
   */
  *written(person: string, now: Moment, maxAge: number): Generator<GroupTextRecord> {
    for (const group of this.all()) {
      if (group.record.relation !== "member" || !stateOf(group).members.has(person)) continue;
      let left = MAX_LOOKED_AT;
      for (const text of this.#vault.newest(textsOf(group.record.number))) {
        if (now.wall - text.keptAt > maxAge || left === 0) break;
        left -= 1;
        const isOver = text.text === null || (text.expiresAt !== null && text.expiresAt <= now.persistent);
        if (text.sender === "" && !isOver) yield text;
      }
    }
  }

  /** Where it stands. */
  position({ record }: Group, sender: string, messageId: string): number {
    return this.#vault.position(textsOf(record.number), records.key(sender, messageId));
  }

  /** Note what has happened to a group, to be shown; the number of that event. */
  noteEvent(tx: Transaction, { record }: Group, event: GroupEventRecord): string {
    const kind = eventsOf(record.number);
    const first = this.#vault.count(kind) >= MAX_EVENTS ? this.#oldestEvent(kind) : null;
    if (first !== null) {
      tx.delete(kind, first);
    }
    const name = String(this.#vault.lastPosition() + 1);
    tx.put(kind, name, event);
    return name;
  }

  #oldestEvent(kind: ReturnType<typeof eventsOf>): string | null {
    for (const [position] of this.#vault.all(kind)) {
      return String(position);
    }
    return null;
  }

  /** A text waits for the user. */
  handOut(tx: Transaction, group: string, sender: string, messageId: string): void {
    const name = records.key(sender, messageId);
    tx.put(GROUP_INBOX, `${group} ${name}`, { group, sender, messageId });
    tx.onCommit(() => this.#unreadOf(group).add(name));
  }

  /** Whether the user has not seen a text. */
  isUnread(group: string, sender: string, messageId: string): boolean {
    return this.#unread.get(group)?.has(records.key(sender, messageId)) === true;
  }

  /** How many texts of a group the user has not seen. */
  unread(group: string): number {
    return this.#unread.get(group)?.size ?? 0;
  }

  /** The sender of an unread text; null if it is not unread, or nobody's. */
  senderOf(group: string, messageId: string): string | null {
    for (const name of this.#unread.get(group) ?? []) {
      const [sender = "", id = ""] = name.split(" ");
      if (id === messageId) {
        return sender;
      }
    }
    return null;
  }

  /** The user has seen that a text is there. */
  handled(tx: Transaction, group: string, sender: string, messageId: string): void {
    const name = records.key(sender, messageId);
    tx.delete(GROUP_INBOX, `${group} ${name}`);
    tx.onCommit(() => this.#unread.get(group)?.delete(name));
  }

  /** Erase the texts whose time has come, and what is too old to be of use. */
  forgetExpired(tx: Transaction, now: number): void {
    for (const group of this.all()) {
      for (const text of this.#vault.overdue(textsOf(group.record.number), now)) {
        this.putText(tx, group, { ...text, text: null });
        this.handled(tx, idOf(group), text.sender, text.messageId);
      }
    }
    this.#holding.forgetOverdue(tx, now);
    tx.deleteDue(GROUP_JOIN, now);
    for (const token of this.#tokens.values()) {
      if (token.until + KEEP_TOKENS_MS <= now) {
        this.dropToken(tx, token);
      }
    }
  }

  // --- receipts ---------------------------------------------------------------------

  /** A sender is to learn what became of a text; in place of what was to be told before. */
  tell(tx: Transaction, told: GroupToldRecord): void {
    tx.put(GROUP_TOLD, nameOf(told), told);
    tx.onCommit(() => this.#told.set(nameOf(told), told));
  }

  /** What is to be told. */
  told(): GroupToldRecord[] {
    return [...this.#told.values()];
  }

  /** A sender is not to learn that a text was read, if that waits. */
  withdrawRead(tx: Transaction, told: Omit<GroupToldRecord, "status">): void {
    const found = this.#told.get(nameOf(told));
    if (found?.status === "read") this.wasTold(tx, found);
  }

  /** It is on its way. */
  wasTold(tx: Transaction, told: GroupToldRecord): void {
    tx.delete(GROUP_TOLD, nameOf(told));
    tx.onCommit(() => this.#told.delete(nameOf(told)));
  }

  // --- what came too early ------------------------------------------------------------

  /** Keep it, if there is room. */
  hold(tx: Transaction, held: GroupHeldRecord): void {
    if (this.hasRoom(held.group, held.sender)) {
      this.#holding.put(tx, held);
    }
  }

  /** Keep what is said in a group whose invitation has not come yet, if there is room: others have read theirs before. */
  holdEarly(tx: Transaction, before: Group | null, held: GroupHeldRecord): void {
    if (before !== null && held.revision <= stateOf(before).revision) {
      return;
    }
    const isEarly = (group: string): boolean => {
      const found = this.get(group);
      return found === null || !isLive(found);
    };
    if (this.#holding.hasRoomEarly(held.sender, isEarly)) {
      this.hold(tx, held);
    }
  }

  /** Whether something of this sender would be kept. */
  hasRoom(group: string, sender: string): boolean {
    return (!this.#isInvited(group) || this.early.hasBytes()) && this.#holding.hasRoom(group, sender);
  }

  /** Whether anything is kept. */
  get hasHeld(): boolean {
    return !this.#holding.isEmpty;
  }

  /** What is kept, in the order in which it came. */
  held(group: string): GroupHeldRecord[] {
    return this.#holding.of(group);
  }

  /** Whether something is kept that a member has said. */
  holdsOfMembers(group: Group): boolean {
    const { members } = stateOf(group);
    return this.#holding.hasSaid(idOf(group), (device) => members.has(this.#personOf(device)));
  }

  /** Keep nothing of it any more. */
  dropHeld(tx: Transaction, group: string): void {
    this.#holding.drop(tx, group);
  }

  /** Whether something of this name is kept. */
  isHeld(held: GroupHeldRecord): boolean {
    return this.#holding.has(held);
  }

  /** Keep this no more. */
  drop(tx: Transaction, held: GroupHeldRecord): void {
    this.#holding.dropOne(tx, held);
  }

  // --- links ------------------------------------------------------------------------

  /** Store a link's token. */
  putToken(tx: Transaction, token: GroupTokenRecord): void {
    const name = encodeBase64(token.token);
    tx.put(GROUP_LINK, name, token);
    tx.onCommit(() => this.#tokens.set(name, token));
  }

  /** A token, whether it still serves or not. */
  token(token: Uint8Array): GroupTokenRecord | null {
    return this.#tokens.get(encodeBase64(token)) ?? null;
  }

  /** The tokens of a group, whether they still serve or not. */
  tokensOf(group: string): GroupTokenRecord[] {
    return [...this.#tokens.values()].filter((one) => one.group === group);
  }

  /** A token serves no more. */
  dropToken(tx: Transaction, { token }: GroupTokenRecord): void {
    const name = encodeBase64(token);
    tx.delete(GROUP_LINK, name);
    tx.onCommit(() => this.#tokens.delete(name));
  }
}

/** A group's conversation, as the page names it. */
export function keyOf(group: string): `group:${string}` {
  return `group:${group}`;
}

/** The id of a group from its key; '' if it is none. */
export function groupOf(key: string): string {
  return key.startsWith("group:") ? key.slice("group:".length) : "";
}

function nameOf({ group, sender, messageId }: Omit<GroupToldRecord, "status">): string {
  return `${group} ${records.key(sender, messageId)}`;
}

/** The raw id of a person. */
export function rawOf(person: string): Uint8Array {
  return fromBase64(person);
}
