/** Everything that a user does with groups: in the vault when a method returns, sent as soon as may be. */
import { isEqual, NO_BYTES, utf8 } from "../../bytes.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import { MAX_EXPIRES_IN_MS } from "../../wire/limits.ts";
import { checkLength, timeOf } from "../content.ts";
import { UnknownContact, UsageError, VaultError } from "../errors.ts";
import type { ExtensionPorts } from "../extension.ts";
import type { Listener } from "../many/listener.ts";
import type { Many } from "../many/main.ts";
import type { CopyRecord } from "../many/records.ts";
import { newMessageId } from "../message_ids.ts";
import type { Moment } from "../moment.ts";
import { normalName } from "../names.ts";
import { groupsFailed } from "../notices.ts";
import * as coreRecords from "../records.ts";
import { DeliveryState } from "../status.ts";
import type { Contact, Event } from "../status.ts";
import type { Transaction } from "../vault.ts";
import { Arrivals, MAX_WISHES } from "./arrivals.ts";
import { Chain } from "./chain.ts";
import { MAX_NAME_BYTES, MAX_OPS, packOps, write } from "./change.ts";
import type { Op, Role } from "./change.ts";
import { Duties } from "./duties.ts";
import { linkText, MAX_LIFE_MS, MAX_USES, TOKEN_BYTES } from "./link.ts";
import type { JoinLink } from "./link.ts";
import { checkedOwnName } from "./naming.ts";
import { Orders } from "./orders.ts";
import { Persons } from "./persons.ts";
import { MAX_PICTURE_BYTES, typeOf } from "./picture.ts";
import { GroupRecord, GroupTextRecord } from "./records.ts";
import type { GroupTokenRecord } from "./records.ts";
import { toldOfLeaving } from "./rivals.ts";
import { CHANGE, Speaking, TEXT } from "./speaking.ts";
import { adminsOf, MAX_MEMBERS, mayInvite, mayWrite } from "./state.ts";
import { idOf, isLive, keyOf, peopleOf, rawOf, stateOf, withRecord, withWishes } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";
import * as words from "./words.ts";

const RANK: Readonly<Record<number, number>> = {
  [DeliveryState.QUEUED]: 0,
  [DeliveryState.ACCEPTED]: 1,
  [DeliveryState.EXPIRED]: 1,
  [DeliveryState.DELIVERED]: 2,
  [DeliveryState.READ]: 3,
  [DeliveryState.BURNED]: 3,
};

/** How often that is looked for. */
const LOOK_MS = 5_000;

/** The groups of a profile. */
export class Groups implements Listener {
  readonly arrivals: Arrivals;
  readonly store: GroupStore;
  readonly #ports: ExtensionPorts;
  readonly #persons: Persons;
  readonly #many: Many;
  readonly #speaking: Speaking;
  readonly #duties: Duties;
  readonly #orders: Orders;
  #isStepping = false;
  #hasFailed = false;
  /** When to look whether what came too early is in time now: new devices may be known. */
  #lookAt = 0;

  constructor(ports: ExtensionPorts, many: Many, store: GroupStore) {
    this.#ports = ports;
    this.#persons = new Persons(ports);
    this.#many = many;
    this.store = store;
    this.#speaking = new Speaking(ports, many.outgoing);
    this.#duties = new Duties(ports, store, this.#speaking);
    this.arrivals = new Arrivals(ports, store, many, this.#duties);
    const parts = { store, speaking: this.#speaking, arrivals: this.arrivals, duties: this.#duties };
    this.#orders = new Orders(ports, parts);
    many.outgoing.listen(CHANGE, this.#orders);
    many.outgoing.listen(TEXT, this);
  }

  // --- time -------------------------------------------------------------------------

  /** Do what is due; whoever is told of something sent comes back here, and nothing is done twice. */
  step(): void {
    if (this.#isStepping || this.#hasFailed || this.store.size === 0) {
      return;
    }
    this.#isStepping = true;
    try {
      const now = this.#ports.now();
      if (this.store.hasHeld && now.monotonic >= this.#lookAt) {
        this.#lookAt = now.monotonic + LOOK_MS;
        this.#ports.report(this.#ports.stores.vault.transaction((tx) => this.arrivals.takeWaiting(tx, now)));
      }
      this.#ports.report(this.#orders.step(now));
      this.#duties.step(now);
      this.arrivals.strangers.turningAway.step(this.#speaking, now, this.#ports.presence.looksAbsent);
    } catch (error) {
      if (error instanceof VaultError) throw error;
      // What others say leads to what is done here: a fault must not keep the user from all other conversations.
      this.#hasFailed = true;
      this.#ports.report([groupsFailed()]);
    } finally {
      this.#isStepping = false;
    }
  }

  /** Milliseconds until each thing that waits for a time. */
  waits(now: number): number[] {
    return this.#hasFailed ? [] : [...this.#orders.waits(now), ...this.#duties.waits(now)];
  }

  /** Send receipts at once: the program is about to leave. */
  flush(): void {
    this.#duties.flush();
    this.step();
  }

  /** Whether changes of the user wait for one that the relay has in order, and that has not come for a while. */
  isWaiting(group: Group): boolean {
    return this.#duties.waitsLong(group, this.#ports.now());
  }

  /** Whether changes of a group are missing. */
  isBehind(group: Group): boolean {
    return this.#duties.isBehind(idOf(group));
  }

  // --- changing -----------------------------------------------------------------------

  /** Make a group, and have people added to it; its id. `ownName`: as of `callMe`. */
  create(name: string, people: readonly string[], ownName = ""): string {
    const { identity, random } = this.#ports;
    const ownId = this.#persons.own;
    this.#checkDevice();
    this.#persons.checkNew(people);
    if (people.length >= MAX_MEMBERS) {
      throw new UsageError(`a group has at most ${MAX_MEMBERS} members`);
    }
    const ops: readonly Op[] = [
      { op: "add", person: ownId, role: "admin" },
      { op: "name", text: checkedName(name) },
    ];
    const group = random(32);
    const start = Chain.of(group);
    const at = timeOf(this.#ports.now().wall);
    const change = write(identity, { group, revision: 1, previous: start.head, at, ops });
    const record = GroupRecord.make({
      group,
      number: this.store.newNumber(),
      relation: "member",
      state: NO_BYTES,
      digest: NO_BYTES,
      wishes: parts(added(people, "member")).map(packOps),
      ownName: checkedOwnName(ownName),
    });
    this.#transaction((tx) => {
      const made = this.store.put(tx, { record, chain: start.judge(change.encoded).chain });
      this.store.noteEvent(tx, made, { at, by: "", text: "You created the group" });
    });
    this.step();
    return encodeBase64(group);
  }

  /** Accept an invitation; `ownName`: as of `callMe`. */
  accept(id: string, ownName = ""): void {
    this.#checkDevice();
    const group = this.found(id);
    if (group.record.relation !== "invited") {
      const { relation } = group.record;
      const isOver = relation === "closed" || relation === "removed";
      const why = relation === "member" ? `you are in ${titleOf(group)} already` : `you are not invited to ${titleOf(group)}`;
      throw new UsageError(isOver ? words.over(titleOf(group), relation) : why);
    }
    const after = withRecord(group, { relation: "member", fresh: false, adminsThen: [], ownName: checkedOwnName(ownName) });
    this.#transaction((tx) => {
      this.store.put(tx, after);
      this.store.joins.decided(tx, stateOf(group));
    });
    this.#duties.accepted(group, this.#ports.now());
    this.step();
    this.#ports.sendPending();
  }

  /** Have people added; a member who is no admin asks the admins to do so. */
  add(id: string, people: readonly string[], role: Role): void {
    this.#checkDevice();
    this.#persons.checkNew(people);
    const group = this.#changeable(id);
    if (this.isAdmin(group)) {
      this.#want(group, added(people, role));
      return;
    }
    if (role !== "member" || !mayInvite(stateOf(group), this.#persons.own)) {
      throw new UsageError(`only admins add ${role}s to this group; ask one`);
    }
    for (const person of new Set(people)) {
      const proposal = { kind: "group-propose", group: group.record.group, person: rawOf(person) } as const;
      this.#speaking.say(group.record.group, adminsOf(stateOf(group)), proposal, this.#ports.now());
    }
  }

  /** Have people removed. */
  remove(id: string, people: readonly string[]): void {
    this.#persons.check(people);
    this.#want(this.#administered(id), [...new Set(people)].map((person) => ({ op: "remove", person })));
  }

  /** Make somebody an admin, or a member. */
  setRole(id: string, person: string, role: Role): void {
    const group = this.#administered(id);
    if (!stateOf(group).members.has(person)) {
      throw new UsageError("they are not a member of this group; add them first");
    }
    this.#want(group, [{ op: "role", person, role }]);
  }

  rename(id: string, name: string): void {
    this.#want(this.#administered(id), [{ op: "name", text: checkedName(name) }]);
  }

  /** Give a group another picture; empty: none. */
  setPicture(id: string, data: Uint8Array): void {
    if (data.length > 0 && typeOf(data) === "") {
      const most = MAX_PICTURE_BYTES.toLocaleString("en-US");
      throw new UsageError(`a picture of a group is a PNG, JPEG or WebP of at most ${most} bytes`);
    }
    this.#want(this.#administered(id), [{ op: "picture", data }]);
  }

  /** Have texts that are written from now on expire; 0: not any more. */
  setTimer(id: string, milliseconds: number): void {
    if (!(milliseconds >= 0 && milliseconds <= MAX_EXPIRES_IN_MS)) {
      throw new UsageError("texts can disappear after at most 365 days");
    }
    this.#want(this.#administered(id), [{ op: "timer", ms: milliseconds }]);
  }

  /** Say who may have others added, and who may write. */
  setRights(id: string, { invite, write: writers }: { readonly invite: Role; readonly write: Role }): void {
    this.#want(this.#administered(id), [{ op: "rights", invite, write: writers }]);
  }

  /** End a group, for everybody. */
  close(id: string): void {
    this.#want(this.#administered(id), [{ op: "close" }]);
  }

  /** Put it behind what is wanted already, and go on. */
  #want(group: Group, ops: readonly Op[]): void {
    const wanted = parts(ops).map(packOps);
    const wishes = [...group.record.wishes, ...wanted];
    if (wishes.length > MAX_WISHES) {
      throw new UsageError("many changes of this group still wait to be sent; wait for them first");
    }
    const asked = group.record.asked.filter((one) => !wanted.some((wish) => isEqual(wish, one)));
    this.#transaction((tx) => this.store.put(tx, withWishes(group, wishes, asked)));
    this.step();
  }

  /** Leave a group, or decline an invitation: nothing is sent to it, or taken in, any more. */
  leave(id: string): void {
    this.#checkDevice();
    const group = this.found(id);
    if (!isLive(group)) {
      throw new UsageError(`you are not a member of ${titleOf(group)}`);
    }
    if (!this.mayLeave(group)) {
      throw new UsageError("you are the last admin of this group; make somebody else an admin first, or close it");
    }
    const now = this.#ports.now();
    const events: Event[] = [];
    const note = (tx: Transaction): void => {
      const { carrier, relation } = group.record;
      const gone = { relation: "left", wishes: [], asked: [], flying: NO_BYTES, carrier: "" };
      const after = this.store.put(tx, withRecord(group, gone));
      const text = relation === "invited" ? "You declined the invitation" : "You left the group";
      this.store.noteEvent(tx, after, { at: timeOf(now.wall), by: "", text });
      events.push(...this.arrivals.left(tx, after, now));
      if (carrier !== "") this.#speaking.forget(tx, carrier);
    };
    const told = toldOfLeaving(group, this.#persons.own, this.store.held(id));
    const about = group.record.group;
    if (told.length > 0) {
      this.#speaking.say(about, told, { kind: "group-leave", group: about }, now, { also: note });
    } else {
      this.#transaction(note);
    }
    this.#ports.report(events);
  }

  /** Whether the group can go on without this user: there is another admin, or nobody else. */
  mayLeave(group: Group): boolean {
    const { leaving } = group.record;
    const stay = peopleOf(group).filter((person) => person !== this.#persons.own && !leaving.includes(person));
    const admins = adminsOf(stateOf(group));
    const isLast = this.isAdmin(group) && stay.length > 0 && !stay.some((person) => admins.includes(person));
    return isLive(group) && !isLast;
  }

  /** Erase a group that one has left, with all that was said in it. */
  forget(id: string): void {
    const group = this.found(id);
    if (isLive(group)) {
      throw new UsageError("leave this group first");
    }
    this.#transaction((tx) => this.store.erase(tx, group));
  }

  /** Note whether the user wants to be told of texts. */
  mute(id: string, muted: boolean): void {
    const group = this.found(id);
    this.#transaction((tx) => this.store.put(tx, withRecord(group, { muted })));
    this.#ports.sendPending();
  }

  /** Say to a group's members what one is called there; '' for nothing any more. */
  callMe(id: string, name: string): void {
    this.#checkDevice();
    const after = withRecord(this.#changeable(id), { ownName: checkedOwnName(name) });
    const others = peopleOf(after).filter((person) => person !== this.#persons.own);
    const also = (tx: Transaction): void => void this.store.put(tx, after);
    if (others.length > 0) {
      this.#speaking.greet(after, others, this.#ports.now(), { also, name: after.record.ownName });
      this.#duties.show(id);
    } else {
      this.#transaction(also);
      this.#ports.sendPending();
    }
  }

  /** Write to a group again whose history is in doubt, with the members that are known here. */
  goOn(id: string): void {
    const group = this.found(id);
    this.#transaction((tx) => this.store.put(tx, withRecord(group, { doubt: "", rivalHead: NO_BYTES, passed: group.record.ordered })));
    this.#duties.goesOn(id);
    this.step();
  }

  // --- links --------------------------------------------------------------------------

  /** A link with which others ask to be added: it serves `uses` people for `lasts` milliseconds. */
  link(id: string, server: string, given: { readonly uses: number; readonly lasts: number }): GroupTokenRecord {
    const { lasts, uses } = given;
    const group = this.#administered(id);
    if (!(uses >= 1 && uses <= MAX_USES) || !(lasts >= 1 && lasts <= MAX_LIFE_MS) || server === "") {
      throw new UsageError(`a link serves 1 to ${MAX_USES} people, and at most 30 days`);
    }
    const token = { group: idOf(group), token: this.#ports.random(TOKEN_BYTES), uses, until: this.#now + lasts };
    this.#transaction((tx) => this.store.putToken(tx, token));
    return token;
  }

  /** The text of a link. */
  linkText(token: GroupTokenRecord, server: string): string {
    return linkText({ relay: server, admin: this.#persons.own, token: token.token });
  }

  /** Links of a group that still serve. */
  links(id: string): GroupTokenRecord[] {
    return this.store.tokensOf(id).filter((one) => this.arrivals.strangers.serves(one, this.found(id), this.#ports.now()));
  }

  /** None of them serves any more; who opens one is told. */
  endLinks(id: string): void {
    this.#transaction((tx) => this.store.tokensOf(id).forEach((one) => this.store.putToken(tx, { ...one, uses: 0 })));
  }

  /** Ask to be added; the invitation that comes is accepted. `ownName`: as of `callMe`. */
  join({ admin, token }: JoinLink, ownName = ""): void {
    this.#checkDevice();
    const name = checkedOwnName(ownName);
    this.arrivals.strangers.checkLink({ admin, token });
    const now = this.#ports.now();
    this.#speaking.say(token, [admin], { kind: "group-join", token }, now, {
      also: (tx) => {
        this.#ports.stores.book.admit(tx, admin);
        this.store.joins.put(tx, { admin, at: now.persistent, name, token });
      },
    });
  }

  // --- texts --------------------------------------------------------------------------

  /** Write to a group; the message id. */
  sendText(id: string, text: string): string {
    const group = this.#changeable(id);
    if (text === "" || /\p{Surrogate}/u.test(text)) {
      throw new UsageError(text === "" ? "there is nothing to send" : "this text contains half a character; remove it");
    }
    checkLength(text);
    const state = stateOf(group);
    const others = peopleOf(group).filter((person) => person !== this.#persons.own);
    if (!mayWrite(state, this.#persons.own)) {
      throw new UsageError("only admins write to this group");
    }
    if (others.length === 0) {
      throw new UsageError("nobody else is in this group yet");
    }
    const now = this.#ports.now();
    const counts = this.store.counts(id);
    const messageId = newMessageId(this.#ports.random);
    const expiresIn = state.timer > 0 ? state.timer : null;
    const n = counts.own + 1;
    const { group: raw } = group.record;
    const named = { revision: state.revision, head: group.chain.head };
    const { ownName } = group.record;
    const called = ownName === "" ? {} : { name: ownName };
    const said = { kind: "group-text", group: raw, ...named, n, body: text, ...called } as const;
    const at = timeOf(now.wall);
    const record = GroupTextRecord.make({ messageId, sender: "", text, sentAt: at, keptAt: at, expiresIn });
    const also = (tx: Transaction): void => {
      this.store.putText(tx, group, record);
      this.store.putCounts(tx, id, { ...counts, own: n });
      tx.delete(coreRecords.DRAFT, keyOf(id));
    };
    this.#duties.show(id);
    return this.#speaking.say(raw, others, said, now, { purpose: TEXT, expiresIn, messageId, also });
  }

  /** The user has read a text: it is handled, and its sender is told if that is allowed. Idempotent. */
  markRead(id: string, sender: string, messageId: string): void {
    const group = this.found(id);
    const text = this.store.text(group, sender, messageId);
    if (text === null || text.read) {
      return;
    }
    this.#transaction((tx) => {
      this.store.putText(tx, group, { ...text, read: true });
      this.store.handled(tx, id, sender, messageId);
      if (this.#ports.presence.settings.readReceipts && group.record.relation === "member") {
        this.store.tell(tx, { group: id, sender, messageId, status: "read" });
      }
      this.arrivals.texts.syncRead(tx, { group: id, sender, messageId });
    });
    this.#ports.sendPending();
  }

  /** How far an own text has come with each member, by user id; nothing once that is 30 days ago. */
  progress(messageId: string): ReadonlyMap<string, DeliveryState> {
    return this.#reachedByEach(this.#many.store.get(messageId)?.copies.values() ?? []);
  }

  /** How far a text has come with each person but oneself: as far as with the device that is furthest. */
  #reachedByEach(copies: Iterable<CopyRecord>): Map<string, DeliveryState> {
    const found = new Map<string, DeliveryState>();
    for (const { peer, state } of copies) {
      const person = this.#persons.of(peer);
      const before = found.get(person);
      if (person !== this.#persons.own && (before === undefined || rankOf(before) < rankOf(state))) {
        found.set(person, state as DeliveryState);
      }
    }
    return found;
  }

  /** Erases an own text: one that failed, or that waits and that nobody has got. */
  erase(id: string, messageId: string): void {
    const group = this.found(id);
    const text = this.store.text(group, "", messageId);
    const message = this.#many.store.get(messageId);
    const copies = [...(message?.copies.values() ?? [])];
    const isOpen = (state: number): boolean => state === DeliveryState.QUEUED || state === DeliveryState.FAILED;
    const hasLeft = copies.some(({ head, state }) => head.length > 0 || !isOpen(state));
    if (text === null || hasLeft || !isOpen(text.state)) {
      throw new UsageError("this message may have been sent already");
    }
    this.#transaction((tx) => {
      this.store.putText(tx, group, { ...text, text: null, state: DeliveryState.FAILED });
      this.#many.outgoing.forget(tx, messageId);
    });
  }

  // --- what becomes of texts ------------------------------------------------------------

  advanced(tx: Transaction, messageId: string, _peer: string, _state: DeliveryState, now: Moment): Event[] {
    const message = this.#many.store.get(messageId);
    const group = message === null ? null : this.store.ofConversation(message.record.conversationId);
    const text = group === null ? null : this.store.text(group, "", messageId);
    if (message === null || group === null || text === null) {
      return [];
    }
    const state = reachedByAll([...this.#reachedByEach(message.copies.values()).values()]);
    const runs = text.expiresAt === null && text.expiresIn !== null && state !== DeliveryState.QUEUED;
    const expiresAt = runs ? now.persistent + (text.expiresIn ?? 0) : text.expiresAt;
    this.store.putText(tx, group, { ...text, state, expiresAt });
    return state === text.state ? [] : [{ kind: "delivery", messageId, peer: contactOf(group), state }];
  }

  /** Texts have no order. */
  ordered(): Event[] {
    return [];
  }

  // --- checks -------------------------------------------------------------------------

  /** A group by its id. */
  found(id: string): Group {
    const group = this.store.get(id);
    if (group === null) {
      throw new UnknownContact("this group is not here any more");
    }
    return group;
  }

  isAdmin(group: Group): boolean {
    return stateOf(group).members.get(this.#persons.own) === "admin";
  }

  #changeable(id: string): Group {
    const group = this.found(id);
    const { doubt, relation } = group.record;
    if (relation === "invited") {
      throw new UsageError(`accept the invitation to ${titleOf(group)} first`);
    }
    if (relation !== "member") {
      throw new UsageError(words.over(titleOf(group), relation));
    }
    if (doubt === "forked") {
      throw new UsageError(`${titleOf(group)} has two histories; compare its digits with the others first`);
    }
    if (doubt !== "") {
      throw new UsageError(`a newer version has changed ${titleOf(group)}; reload this page later, or go on with the members that are shown`);
    }
    return group;
  }

  #administered(id: string): Group {
    this.#checkDevice();
    const group = this.#changeable(id);
    if (!this.isAdmin(group)) {
      throw new UsageError("only admins can do that; ask one of them");
    }
    return group;
  }

  /** Groups know people by their first devices, which alone sign what changes them. */
  #checkDevice(): void {
    if (!this.#persons.isFirst) {
      throw new UsageError("groups are changed on your first device; do this there");
    }
  }

  get #now(): number {
    return this.#ports.now().persistent;
  }

  #transaction(action: (tx: Transaction) => void): void {
    this.#ports.stores.vault.transaction(action);
  }
}

/** A group in the place of a contact, in events. */
function contactOf(group: Group): Contact {
  const none = { trust: "unverified", key: null, classical: false, blocked: false } as const;
  return { name: stateOf(group).name, userId: keyOf(idOf(group)), ...none };
}

function titleOf(group: Group): string {
  return words.title(stateOf(group).name);
}

function rankOf(state: number): number {
  return RANK[state] ?? -1;
}

/** How far a text has come with all: accepted as soon as it is for one, and what all have reached beyond that. */
function reachedByAll(states: readonly number[]): DeliveryState {
  const ranks = states.filter((state) => state !== DeliveryState.FAILED).map((state) => RANK[state] ?? 0);
  if (ranks.length === 0) {
    return DeliveryState.FAILED;
  }
  const least = Math.min(...ranks);
  if (least >= 2) {
    return least >= 3 ? DeliveryState.READ : DeliveryState.DELIVERED;
  }
  return ranks.some((rank) => rank > 0) ? DeliveryState.ACCEPTED : DeliveryState.QUEUED;
}

function added(people: readonly string[], role: Role): Op[] {
  return [...new Set(people)].map((person) => ({ op: "add", person, role }));
}

/** Ops in changes that are not too large. */
function parts(ops: readonly Op[]): Op[][] {
  const found: Op[][] = [];
  for (let at = 0; at < ops.length; at += MAX_OPS) {
    found.push(ops.slice(at, at + MAX_OPS));
  }
  return found;
}

function checkedName(given: string): string {
  const name = normalName(given);
  const size = utf8(name).length;
  if (size < 1 || size > MAX_NAME_BYTES) {
    throw new UsageError(`the name of a group has 1 to ${MAX_NAME_BYTES} bytes; choose a shorter one`);
  }
  return name;
}
