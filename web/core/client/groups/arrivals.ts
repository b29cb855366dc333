/**
 * What arrives about groups: changes are judged, texts kept, and what others want is done if they may want it.
 *
 * Everything here happens in the transaction that keeps what has arrived. What is to be sent because of it is left to
 * `duties.ts`.
 */
import { isEqual, NO_BYTES } from "../../bytes.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import type { RoutedMessage } from "../../wire/frames.ts";
import { timeOf } from "../content.ts";
import type { SyncedGroup } from "../devices/kinds.ts";
import type { ExtensionPorts } from "../extension.ts";
import type { Many } from "../many/main.ts";
import type { Moment } from "../moment.ts";
import { labelOf } from "../status.ts";
import type { Event, GroupEvent } from "../status.ts";
import { CHANGE as CHANGED, INVITATION, Unusable } from "../unusable.ts";
import type { Transaction } from "../vault.ts";
import type { Chain, Judged, Standing } from "./chain.ts";
import type { Op } from "./change.ts";
import type { GroupChange, GroupHeard, GroupJoin, Invitation } from "./contents.ts";
import { doubted, forkedBy, isOld, shownBy, shownByAnswer } from "./doubts.ts";
import type { Answered, Doubt, Rival } from "./doubts.ts";
import type { Duties } from "./duties.ts";
import { followed } from "./followed.ts";
import { noLongerIn, withNames } from "./handed_over.ts";
import { KEPT } from "./holding.ts";
import { begun, faultIn, readInvitation, wasNoAdmin, writtenAt } from "./invitations.ts";
import { memberOf, noted, takenOver } from "./naming.ts";
import { applied, chainOf, isAdding, isFull, judge, mayBeOfMember, wished, withLeaves, withPicture } from "./outcomes.ts";
import { Persons } from "./persons.ts";
import { pictureName, typeOf } from "./picture.ts";
import { GroupHeldRecord, GroupRecord } from "./records.ts";
import { heard, isOver, saidIn } from "./rivals.ts";
import { CHANGE, MAX_TOLD } from "./speaking.ts";
import { conversationOf, mayInvite, mayWrite } from "./state.ts";
import { idOf, isLive, lacksPicture, peopleOf, stateOf, withRecord } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";
import { Strangers } from "./strangers.ts";
import { heldOf, heldWordOf, Texts } from "./texts.ts";
import * as words from "./words.ts";

/** Changes that wait to be sent. */
export const MAX_WISHES = 50;

/** Whose changes are judged, and the picture that came with them. */
interface Source {
  readonly sender: string;
  readonly now: Moment;
  /** It may be the group's. */
  readonly picture?: Uint8Array;
  /** The change may invite this user back. */
  readonly invites?: GroupChange;
  /** Whoever knows others than these tells it by that. */
  readonly isAnswer?: boolean;
}

/** Takes in what others say about groups. */
export class Arrivals {
  readonly #ports: ExtensionPorts;
  readonly #persons: Persons;
  readonly #store: GroupStore;
  readonly #many: Many;
  readonly #duties: Duties;
  readonly texts: Texts;
  readonly #unusable: Unusable;
  readonly strangers: Strangers;
  /** What has happened in this step. */
  #events: Event[] = [];

  constructor(ports: ExtensionPorts, store: GroupStore, many: Many, duties: Duties) {
    this.#ports = ports;
    this.#persons = new Persons(ports);
    this.#store = store;
    this.#many = many;
    this.#duties = duties;
    this.texts = new Texts(ports, store);
    this.#unusable = new Unusable(ports.stores);
    this.strangers = new Strangers(ports, store);
  }

  /** Take in what somebody says, who is believed to be its sender; what is of no concern says nothing. */
  take(tx: Transaction, frame: RoutedMessage, said: GroupHeard, now: Moment): Event[] {
    return this.#gathered(() => this.#take(tx, frame, said, now));
  }

  /** What has happened in a step. */
  #gathered(step: () => void): Event[] {
    this.#events = [];
    step();
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #take(tx: Transaction, frame: RoutedMessage, said: GroupHeard, now: Moment): void {
    const { senderId: device } = frame.payload;
    const sender = this.#persons.of(device);
    if (said.kind === "group-join") {
      this.#join(tx, device, said, now);
      return;
    }
    if (said.kind === "group-refuse") {
      this.#events.push(...this.strangers.refused(tx, sender, said));
      return;
    }
    const group = this.#store.get(encodeBase64(said.group));
    if (sender === this.#persons.own) {
      this.#ofOwnDevice(tx, group, frame, said, now);
      return;
    }
    if (group === null || !isLive(group)) {
      if (said.kind === "group-change" && this.#persons.isFirst) {
        this.#invited(tx, group, sender, said, now);
        // What waited, and is looked at again, is not told: others' may be behind it.
        const why = this.#events.length === 0 ? faultIn(said, sender, this.#persons.own) : "";
        this.#events.push(...this.#unusable.tell(sender, INVITATION, why, now));
      } else if (said.kind === "group-text") {
        this.#store.holdEarly(tx, group, heldOf(frame, said, now));
      }
      return;
    }
    const isMember = stateOf(group).members.has(sender);
    switch (said.kind) {
      case "group-change":
        if (!this.#takeChanges(tx, group, [said.change], { sender, now, invites: said })) {
          this.#invitedElsewhere(tx, group, sender, said, now);
        }
        return;
      case "group-changes":
        this.#duties.answered(group, device, said, now);
        // A linked device may know a group from a later state on than its person does.
        this.#takeChanges(tx, group, said.changes, { sender, now, picture: said.picture, isAnswer: sender === device });
        return;
      case "group-text":
        this.#text(tx, group, heldOf(frame, said, now), now);
        return;
      case "group-hello":
      case "group-leave":
        this.#word(tx, group, heldWordOf(frame, said, now), now);
        return;
      case "group-receipt":
        if (isMember) this.#events.push(...followed(this.#many, tx, device, said, now));
        return;
      case "group-ask":
        if (isMember) this.#duties.asked(idOf(group), device, said, now);
        return;
      case "group-propose":
        if (sender === device && mayInvite(stateOf(group), sender) && this.#persons.isPerson(encodeBase64(said.person))) {
          this.#store.put(tx, this.#wished(group, { op: "add", person: encodeBase64(said.person), role: "member" }));
        }
    }
  }

  /** What another device of this user's says, or has said to all. */
  #ofOwnDevice(tx: Transaction, group: Group | null, frame: RoutedMessage, said: GroupHeard, now: Moment): void {
    const sender = this.#persons.own;
    if (group === null || !isLive(group)) {
      if (said.kind === "group-text") {
        this.#store.holdEarly(tx, group, heldOf(frame, said, now));
      }
      return;
    }
    switch (said.kind) {
      case "group-change":
        this.#takeChanges(tx, group, [said.change], { sender, now });
        break;
      case "group-changes":
        this.#takeChanges(tx, group, said.changes, { sender, now, picture: said.picture });
        break;
      case "group-text":
        this.texts.keepOwn(tx, group, heldOf(frame, said, now), now);
        break;
      case "group-ask":
        this.#duties.asked(idOf(group), frame.payload.senderId, said, now);
        break;
    }
  }

  // --- own devices ------------------------------------------------------------------

  /** On a linked device: the first one says what a group is to this user now. */
  synced(tx: Transaction, said: SyncedGroup, now: Moment): Event[] {
    return this.#gathered(() => {
      const { relation } = said;
      const chain = chainOf(said);
      const group = this.#store.get(encodeBase64(said.group));
      if (chain === null || this.#persons.isFirst) {
        return;
      }
      if (relation === "member") {
        if (chain.state.members.has(this.#persons.own)) {
          this.#takeSynced(tx, group, chain, said, now);
        }
      } else {
        noLongerIn(this.#store, tx, group, chain, said, this.#persons.own);
      }
    });
  }

  #takeSynced(tx: Transaction, before: Group | null, chain: Chain, said: SyncedGroup, now: Moment): void {
    const { group: id, revision } = chain.state;
    const put = (group: Group, given = {}): Group => {
      const shown = withPicture(group, said.picture ?? NO_BYTES);
      const named = takenOver(shown, said, this.#persons.own, chain.state);
      const { past } = this.#store;
      return this.#store.put(tx, isMember ? named : withNames(named, past.names(idOf(group)), this.#persons.own), given);
    };
    const waiting = this.#store.held(encodeBase64(id));
    const isMember = before?.record.relation === "member";
    if (!isMember) {
      const number = before?.record.number ?? this.#store.newNumber();
      const nothing = { state: NO_BYTES, digest: NO_BYTES };
      const record = GroupRecord.make({ group: id, number, relation: "member", ...nothing, ordered: revision });
      const early = waiting.filter((one) => one.revision >= revision);
      const first = put({ record, chain }, { afresh: true });
      this.#happened(tx, first, "joined", "", "You are in this group now", now);
      this.#store.put(tx, this.#takeHeld(tx, first, now, early));
    } else if (revision < stateOf(before).revision || isEqual(chain.head, before.chain.head)) {
      put(before);
    } else {
      const { ordered } = before.record;
      const known = { doubt: "", rival: "", rivalHead: NO_BYTES, rivals: [], ordered: Math.max(ordered, revision) };
      const after = put({ chain, record: { ...before.record, ...known } });
      this.#duties.caughtUp(idOf(after), revision);
      this.#withdraw(tx, before, after);
      this.#store.put(tx, this.#takeHeld(tx, after, now, waiting));
    }
  }

  // --- invitations ------------------------------------------------------------------

  /** Somebody invites; `held`: what is kept for such a group. */
  #invited(
    tx: Transaction,
    before: Group | null,
    sender: string,
    said: Invitation,
    now: Moment,
    held: readonly GroupHeldRecord[] = this.#store.held(encodeBase64(said.group)),
  ): void {
    const chain = readInvitation(said, sender, this.#persons.own);
    // Whoever chose the id of a person wants to be taken for them.
    if (chain === null || this.#ports.stores.book.has(encodeBase64(said.group)) || isOver(before, said.change)) {
      return;
    }
    const join = this.#store.joins.take(tx, sender, now.persistent);
    if (join === null && !this.#store.mayBeInvited(sender)) {
      return;
    }
    const others = held.filter((one) => one.kind === KEPT && one.sender !== sender);
    const number = before?.record.number ?? this.#store.newNumber();
    const inviters = others.map((one) => one.sender);
    const record = { ...begun(chain, number, before, join, writtenAt(said, now)), inviters };
    let group = this.#store.put(tx, { record, chain }, { afresh: true });
    others.forEach((one) => this.#store.hold(tx, one));
    if (record.relation === "member") {
      this.#store.joins.decided(tx, chain.state);
      tx.onCommit(() => this.#duties.greet(idOf(group)));
      this.#happened(tx, group, "joined", sender, `${this.#label(group, sender)} added you`, now);
    } else {
      this.#happened(tx, group, "invited", sender, words.invited(this.#label(group, sender), wasNoAdmin(record)), now);
    }
    const first = group;
    for (const early of held.filter(({ change, revision }) => change.length === 0 && revision >= chain.state.revision)) {
      group = this.#heldSaid(tx, group, early, now);
    }
    if (group !== first) {
      this.#store.put(tx, group);
    }
  }

  #invitedElsewhere(tx: Transaction, before: Group, sender: string, said: Invitation, now: Moment): void {
    const group = this.#store.get(idOf(before));
    const isStranger = this.#ports.stores.requests.holds(sender); // whose invitation waits as a request
    const from = { sender, own: this.#persons.own, now };
    if (group !== null && !isStranger && heard(tx, this.#store, group, said, from)) {
      const told = this.#store.put(tx, withRecord(group, { inviters: [...group.record.inviters, sender] }));
      const said = words.invitesElsewhere(this.#label(told, sender), this.#label(told, told.record.inviter));
      this.#happened(tx, told, "forked", sender, said, now);
    }
  }

  #join(tx: Transaction, sender: string, said: GroupJoin, now: Moment): void {
    const [token, group] = this.strangers.joining(sender, said, now) ?? [null, null];
    if (token === null) {
      this.strangers.turnAway(tx, sender, said, now);
      return;
    }
    const after = this.#wished(group, { op: "add", person: sender, role: "member" });
    if (after !== group) {
      this.#store.put(tx, after);
      this.#store.putToken(tx, { ...token, uses: token.uses - 1 });
      this.strangers.letIn(tx, idOf(group), sender);
    }
  }

  // --- changes ----------------------------------------------------------------------

  /** Judge changes in a row, then what was held back for want of them; whether something has happened by it. */
  #takeChanges(tx: Transaction, before: Group, encoded: readonly Uint8Array[], source: Source): boolean {
    const { sender, now, picture = NO_BYTES, isAnswer = false } = source;
    const count = this.#events.length;
    let group = before;
    const answered: Answered[] = [];
    for (const one of encoded) {
      const [after, judged] = this.#judge(tx, group, one, sender, now);
      group = after;
      answered.push([one, judged]);
      this.#events.push(...this.#unusable.tell(sender, CHANGED, judged.code, now, group));
      if (judged.verdict === "behind") this.#holdChange(tx, group, one, source);
    }
    const rival = isAnswer && !isFull(group) ? shownByAnswer(group, sender, answered) : null;
    if (rival !== null) group = this.#fork(tx, group, rival, now);
    const isMoved = !isEqual(group.chain.head, before.chain.head);
    const held = isMoved ? this.#store.held(idOf(group)) : [];
    if (isMoved) {
      group = this.#takeHeld(tx, group, now, held);
    }
    const isMissing = lacksPicture(group) && typeOf(picture) !== "";
    if (isMissing && isEqual(pictureName(picture), stateOf(group).picture)) {
      group = withRecord(group, { picture });
    }
    this.#withdraw(tx, before, group);
    // A group that is closed has no use for what was held for it; where one was removed, that waits on.
    const waiting = group.record.relation === "closed" || isLive(group) ? held : this.#store.held(idOf(group));
    if (group.record.fresh && !isLive(group)) {
      this.#store.erase(tx, group); // invited and removed again, however often somebody does it: nothing of it is left
    } else {
      this.#store.put(tx, group);
    }
    if (!isLive(group)) {
      this.#invitedBack(tx, group.record.fresh ? null : group, group, waiting, now);
    }
    return this.#events.length > count;
  }

  /** The user has left a group, or declined it: who invites to another one of that id is heard now. */
  left(tx: Transaction, group: Group, now: Moment): Event[] {
    this.#store.joins.decided(tx, stateOf(group));
    return this.#gathered(() => this.#invitedBack(tx, group, group, this.#store.held(idOf(group)), now));
  }

  /** Whoever adds somebody again may be heard before whoever has removed them; `before`: what is stored. */
  #invitedBack(
    tx: Transaction,
    before: Group | null,
    group: Group,
    waiting: readonly GroupHeldRecord[],
    now: Moment,
  ): void {
    const [count, { requests }] = [this.#events.length, this.#ports.stores];
    for (const one of this.#persons.isFirst ? waiting : []) {
      const isRequest = requests.holds(one.sender) && !stateOf(group).members.has(one.sender); // what strangers say is one
      if (one.state.length > 0 && !isRequest && !isOver(group, one.change) && this.#events.length === count) {
        this.#invited(tx, before, one.sender, saidIn(one), now, waiting);
      }
    }
  }

  /** Who is no member any more is sent nothing that still waits for them, but the changes themselves. */
  #withdraw(tx: Transaction, before: Group, { chain }: Group): void {
    const gone = peopleOf(before).filter((person) => !chain.state.members.has(person));
    if (gone.length > 0) {
      const devices = this.#persons.devicesOf(gone);
      this.#many.store.withdraw(tx, conversationOf(before.record.group), devices, CHANGE);
    }
  }

  /** A change of this user that the relay has put in order; what others say in it may have come before. */
  takeOwn(tx: Transaction, before: Group, encoded: Uint8Array, now: Moment): Event[] {
    return this.#gathered(() => {
      const [after, { verdict }] = this.#judge(tx, before, encoded, this.#persons.own, now);
      let group = verdict === "applied" ? this.#takeHeld(tx, after, now) : after;
      if (verdict !== "applied" && verdict !== "known") {
        group = this.#fork(tx, group, { who: "" }, now); // the relay has told others something else
      }
      this.#withdraw(tx, before, group);
      this.#store.put(tx, group);
      if (!isLive(group)) this.#invitedBack(tx, group, group, this.#store.held(idOf(group)), now);
    });
  }

  /** Devices may be known now of whom nothing was known: what they have said waits, and may be a member's. */
  takeWaiting(tx: Transaction, now: Moment): Event[] {
    return this.#gathered(() => {
      for (const group of this.#store.all().filter(isLive)) {
        if (this.#store.holdsOfMembers(group)) this.#store.put(tx, this.#takeHeld(tx, group, now));
      }
    });
  }

  #judge(tx: Transaction, group: Group, encoded: Uint8Array, sender: string, now: Moment): readonly [Group, Judged] {
    const judged = judge(group, encoded);
    switch (judged.verdict) {
      case "applied":
        return [this.#applied(tx, group, judged.chain, now), judged];
      case "fork":
        return [this.#fork(tx, group, shownBy(group, sender, encoded, judged.rival), now), judged];
      case "newer":
        return [this.#fork(tx, group, shownBy(group, "", encoded), now, "newer"), judged];
      default:
        return [group, judged];
    }
  }

  #applied(tx: Transaction, group: Group, chain: Chain, now: Moment): Group {
    const { record } = group;
    const change = chain.steps.at(-1)?.change;
    if (change === undefined) return group; // there is one: it was applied
    const after = applied(group, chain, change, this.#persons.own);
    const { relation } = after.record;
    this.#duties.caughtUp(idOf(after), chain.state.revision);
    const isInvited = relation === "invited" && record.relation !== "invited";
    const news = relation === "removed" || relation === "closed" ? relation : isInvited ? "invited" : "changed";
    const byLink = this.strangers.isByLink(tx, idOf(group), change);
    const said = words.done(change, (person) => this.#label(after, person), record, byLink);
    this.#happened(tx, after, news, change.author, said, now);
    return withLeaves(after, this.#signer);
  }

  /** Nothing is sent any more, until that is cleared up or the user goes on. */
  #fork(tx: Transaction, group: Group, rival: Rival, now: Moment, doubt: Doubt = "forked"): Group {
    if (group.record.doubt === "forked" || group.record.doubt === doubt || isOld(group, rival)) {
      return group;
    }
    const who = rival.who === "" ? "the relay" : this.#label(group, rival.who);
    this.#happened(tx, group, doubt, rival.who, words[doubt](who, words.title(stateOf(group).name)), now);
    return doubted(group, rival, doubt);
  }

  /** A member has named a head. */
  #names(tx: Transaction, group: Group, standing: Standing, rival: Rival, now: Moment): Group {
    return standing === "fork" ? this.#fork(tx, group, rival, now) : group;
  }

  #holdChange(tx: Transaction, group: Group, change: Uint8Array, { sender, now, invites }: Source): void {
    const { state = NO_BYTES, base = NO_BYTES } = invites ?? {};
    const held = GroupHeldRecord.make({ group: idOf(group), at: now.persistent, sender, change, state, base });
    // What is held already may be an invitation, of which only a part has come again.
    if (state.length > 0 || !this.#store.isHeld(held)) this.#store.hold(tx, held);
    this.#duties.behind(group, sender, stateOf(group).revision + 1, now);
  }

  /** What came too early may be in time now. */
  #takeHeld(tx: Transaction, before: Group, now: Moment, held = this.#store.held(idOf(before))): Group {
    let group = before;
    let waiting = held;
    for (let isNew = true; isNew; ) {
      isNew = false;
      for (const one of waiting.filter(({ change, kind }) => change.length > 0 && kind !== KEPT)) {
        const [after, judged] = this.#judge(tx, group, one.change, one.sender, now);
        group = after;
        this.#events.push(...this.#unusable.tell(one.sender, CHANGED, judged.code, now, group));
        if (judged.verdict !== "behind") {
          waiting = waiting.filter((other) => other !== one);
          isNew ||= judged.verdict === "applied";
        }
      }
    }
    this.#store.dropHeld(tx, idOf(group));
    for (const one of waiting) {
      if (one.change.length > 0) {
        this.#store.hold(tx, one);
      } else {
        group = this.#heldSaid(tx, group, one, now);
      }
    }
    return group;
  }

  // --- texts ------------------------------------------------------------------------

  #text(tx: Transaction, group: Group, held: GroupHeldRecord, now: Moment): void {
    const { head, revision } = held;
    const sender = this.#persons.of(held.sender);
    const standing = group.chain.compare(revision, head);
    if (standing === "ahead") {
      this.#duties.behind(group, sender, revision, now);
    }
    if (!stateOf(group).members.has(sender)) {
      if (mayBeOfMember(standing)) {
        this.#store.hold(tx, held);
      }
      this.#duties.tellRemoved(group, sender, revision, now);
      return;
    }
    const after = this.#names(tx, noted(group, sender, held.name), standing, { who: sender, head }, now);
    if (after !== group) {
      this.#store.put(tx, after);
    }
    if (mayWrite(stateOf(group), sender)) {
      this.#events.push(...this.texts.keep(tx, after, held, now));
    }
  }

  #heldText(tx: Transaction, group: Group, held: GroupHeldRecord, now: Moment): Group {
    const { head, revision } = held;
    const standing = group.chain.compare(revision, head);
    const who = this.#persons.of(held.sender);
    if (who === this.#persons.own) {
      this.texts.keepOwn(tx, group, held, now);
      return group;
    }
    const isMember = stateOf(group).members.has(who);
    const after = isMember ? this.#names(tx, noted(group, who, held.name), standing, { who, head }, now) : group;
    if (mayWrite(stateOf(after), who)) {
      this.#events.push(...this.texts.keep(tx, after, held, now));
    } else if (!isMember && mayBeOfMember(standing)) {
      this.#store.hold(tx, held);
    }
    return after;
  }

  // --- what else members say ----------------------------------------------------------

  /** Somebody says that they are there, or leave; `held`: that, as it is kept if it comes too early. */
  #word(tx: Transaction, group: Group, held: GroupHeldRecord, now: Moment): void {
    const after = this.#heldSaid(tx, group, held, now);
    if (after !== group) this.#store.put(tx, after);
  }

  #heldSaid(tx: Transaction, group: Group, held: GroupHeldRecord, now: Moment): Group {
    const { head, kind, revision } = held;
    if (kind === "") return this.#heldText(tx, group, held, now);
    const sender = this.#persons.of(held.sender);
    // What changes who is in it is said by their first devices alone.
    if (kind === "leave" && sender !== held.sender) return group;
    if (stateOf(group).members.has(sender)) {
      return kind === "leave" ? this.#leaves(tx, group, sender, now) : this.#hello(tx, group, sender, held, now);
    }
    const isAhead = kind === "hello" && group.chain.compare(revision, head) === "ahead";
    if (isAhead || isAdding(group, sender)) {
      this.#store.hold(tx, held);
    }
    if (kind === "hello") this.#duties.tellRemoved(group, sender, revision, now);
    return group;
  }

  #hello(tx: Transaction, before: Group, sender: string, said: GroupHeldRecord, now: Moment): Group {
    const standing = before.chain.compare(said.revision, said.head);
    const known = noted(before, sender, said.name);
    const rival = { who: sender, head: said.head };
    const isIn = known.record.relation === "member"; // who is only invited is shown nothing of it
    const group = isIn ? this.#names(tx, known, standing, rival, now) : forkedBy(known, standing, rival);
    if (standing === "ahead") this.#duties.behind(group, sender, said.revision, now);
    if (!group.record.absent.includes(sender)) return group;
    if (group.record.ownName !== "" && stateOf(group).members.size <= MAX_TOLD) {
      tx.onCommit(() => this.#duties.welcome(idOf(before), sender));
    }
    if (isIn) this.#happened(tx, group, "joined", sender, `${this.#label(group, sender)} has joined`, now);
    return withRecord(group, { absent: group.record.absent.filter((one) => one !== sender) });
  }

  #leaves(tx: Transaction, before: Group, sender: string, now: Moment): Group {
    const { leaving, relation } = before.record;
    const isKnown = leaving.includes(sender);
    const group = isKnown ? before : withRecord(before, { leaving: [...leaving, sender] });
    if (!isKnown && relation === "member") {
      this.#happened(tx, group, "left", sender, `${this.#label(group, sender)} has left`, now);
    }
    return this.#wished(group, { op: "remove", person: sender });
  }

  #wished(group: Group, op: Op): Group {
    return wished(group, op, this.#signer);
  }

  /** This user, if this device may sign what changes a group. */
  get #signer(): string {
    return this.#persons.isFirst ? this.#persons.own : "";
  }

  // --- words ------------------------------------------------------------------------

  #label(group: Group, person: string): string {
    return person === this.#persons.own ? "you" : labelOf(memberOf(group, this.#ports.stores.book.contact(person)));
  }

  /** Remember it, and tell it. */
  #happened(tx: Transaction, group: Group, news: GroupEvent["news"], by: string, message: string, now: Moment): void {
    const author = by === this.#persons.own ? "" : by;
    const said = words.capital(message);
    this.#store.noteEvent(tx, group, { at: timeOf(now.wall), by: author, text: said });
    this.#events.push({ kind: "group", news, group: idOf(group), by: author, message: said });
  }
}
