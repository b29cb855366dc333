/**
 * What a client does for its groups by itself, when it is time: asks for what it lacks, answers, and reports receipts.
 *
 * Nothing here must survive: what is lost with the program is asked for again. Times are monotonic milliseconds unless
 * stated.
 */
import { concat, isEqual, NO_BYTES, utf8 } from "../../bytes.ts";
import { sha256 } from "../../crypto/primitives.ts";
import type { ExtensionPorts } from "../extension.ts";
import { MAX_RECEIPTS } from "../content.ts";
import type { Moment } from "../moment.ts";
import { Window } from "../rate_window.ts";
import type { Transaction } from "../vault.ts";
import { AnswerBudget } from "./answer_budget.ts";
import { MAX_REVISION } from "./change.ts";
import { MAX_CHANGES, MAX_CHANGES_BYTES } from "./contents.ts";
import type { GroupAsk, GroupChanges } from "./contents.ts";
import { isFull } from "./outcomes.ts";
import { Persons } from "./persons.ts";
import type { GroupToldRecord } from "./records.ts";
import type { Speaking } from "./speaking.ts";
import { orderOf } from "./state.ts";
import { idOf, isLive, lacksPicture, ownWishes, peopleOf, stateOf } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";
import { ANSWER } from "../many/store.ts";

/**
 * How many who join are told in `WELCOMES_MS` what this user is called, each once: an admin can add and remove people
 * without end, and the relay takes 60 messages a minute.
 */
export const WELCOMES = 64;

export const WELCOMES_MS = 3_600_000;

/** How long changes that are missing are waited for, before somebody is asked. */
export const ASK_AFTER_MS = 5_000;

export const ASK_AGAIN_MS = 60_000;
export const MAX_ASKS = 10;

/** How often all are asked for what the relay has put in order before it is once an hour: who has it may be away for long. */
const MAX_ASKS_OF_ALL = 3;
const ASK_SELDOM_MS = 3_600_000;

/** How long an answer of who has written what is missing is waited for before the user is told. */
const WAITING_TOLD_MS = 5_000;

/**
 * How many members are asked for changes that somebody claims to know, before one's own changes wait no longer: any
 * member can claim it, and the relay refuses what comes too late.
 */
export const BELIEVED_ASKS = 2;

/** How many members are asked, once in `ASK_SELDOM_MS`, if only somebody who is no member claims to know changes. */
export const CLAIMED_ASKS = 3;

/** How often one member is answered. */
export const ANSWER_AGAIN_MS = 10_000;

/** How many answers are given in `ANSWERS_MS`: the relay takes 60 messages a minute, and most are to be texts. */
export const ANSWERS = 12;
const ANSWERS_MS = 60_000;

/** How often somebody who was removed and speaks is told. */
export const MAX_REMOVED_TOLD = 3;

/** How long receipts of a group are gathered: else each text would cost each member a message. */
export const GATHER_MS = 5_000;

/** In how many messages of a minute groups are told that texts have come or were read: others are to be texts. */
export const RECEIPTS = 24;
const RECEIPTS_MS = 60_000;

/** How long what the relay has for an author's name is. */
const AUTHOR_BYTES = 16;

/** How many members it is remembered of that they were answered. */
const MAX_ANSWERED = 1_000;

/**
 * A group whose changes up to `revision` are missing, who says that they have them (`whom`), and who was asked; `without`:
 * who has said that there is none of what the relay has in order. `isClaimed`: only somebody who is no member says that
 * there are any; they may have been added by one, and nothing waits for it.
 */
interface Lack {
  revision: number;
  readonly whom: string[];
  readonly asked: Set<string>;
  readonly without: Set<string>;
  readonly isClaimed: boolean;
  asks: number;
  due: number;
}

/**
 * From which revision on somebody lacks changes, up to which one they may know, and whether they lack the picture.
 * `ordered`: the revision of the relay that they lack, if it has told them.
 */
interface Question {
  readonly group: string;
  readonly sender: string;
  readonly since: number;
  readonly until: number;
  readonly picture: boolean;
  readonly ordered: number;
}

/** Does it. */
export class Duties {
  readonly #ports: ExtensionPorts;
  readonly #persons: Persons;
  readonly #store: GroupStore;
  readonly #speaking: Speaking;
  /** Of others, and of own devices: neither takes anything away from the other. */
  readonly #budget = new AnswerBudget();
  readonly #ownBudget = new AnswerBudget();
  readonly #lacks = new Map<string, Lack>();
  /** Groups whose pictures are not here: nothing but the picture waits for that. */
  readonly #withoutPicture = new Map<string, Lack>();
  readonly #toAnswer = new Map<string, Question>();
  readonly #answered = new Map<string, number>();
  /** When the last answers were given. */
  #answers: readonly number[] = [];
  /** How often those who were removed were told, by group and person. */
  readonly #removedTold = new Map<string, number>();
  /** Members who have claimed to know changes and did not show them: by group, until there is a change. */
  readonly #void = new Map<string, Set<string>>();
  /** From when on the word of somebody who is no member has others asked again, by group. */
  readonly #claimsFrom = new Map<string, number>();
  readonly #toGreet = new Set<string>();
  /** Who has just said that they are there: they do not know yet what this user is called. */
  readonly #newcomers = new Map<string, { readonly group: string; readonly newcomer: string }>();
  /** Who was told, and when. */
  #welcomed = new Map<string, number>();
  #receiptsDue = new Map<string, number>();
  readonly #receipts = new Window(RECEIPTS, RECEIPTS_MS);
  /** When there is room for one more. */
  #receiptsFrom = 0;
  #isFlushing = false;
  /** Groups whose members may see, in the next step, that a user is there who appears offline. */
  readonly #shown = new Set<string>();
  /** Up to which revision of the relay a member has said, since, that there is nothing more. */
  readonly #confirmed = new Map<string, number>();
  /** Revisions of the relay that are not known here, and for which somebody was asked. */
  readonly #doubted = new Map<string, number>();

  constructor(ports: ExtensionPorts, store: GroupStore, speaking: Speaking) {
    this.#ports = ports;
    this.#persons = new Persons(ports);
    this.#store = store;
    this.#speaking = speaking;
  }

  // --- who may see that one is there ------------------------------------------------

  /** Whether nothing is said in a group that its user has not caused: nobody can ask them for a sign of life. */
  isSilent(name: string): boolean {
    if (!this.#ports.presence.looksAbsent || this.#shown.has(name)) {
      return false;
    }
    const group = this.#store.get(name);
    return group === null || ownWishes(group).length === 0;
  }

  /** Whether somebody may be asked, once one has accepted: nobody hides from their own devices. */
  #mayAsk(name: string): boolean {
    if (this.#store.get(name)?.record.relation === "invited") return false;
    return this.#persons.hasOthers || !this.isSilent(name);
  }

  /** Whether somebody may be answered; who has had much waits. */
  #mayAnswer({ group, sender }: Question, now: number): boolean {
    const person = this.#persons.of(sender);
    return (person === this.#persons.own || !this.isSilent(group)) && this.#budgetOf(person).hasRoom(person, now);
  }

  #budgetOf(person: string): AnswerBudget {
    return person === this.#persons.own ? this.#ownBudget : this.#budget;
  }

  /** How much somebody has been told in this hour, on all devices. */
  #had({ sender }: Question): number {
    const person = this.#persons.of(sender);
    return this.#budgetOf(person).had(person);
  }

  /** The user has said something in a group: what waits there may be said, too. */
  show(group: string): void {
    this.#shown.add(group);
  }

  // --- what is noted --------------------------------------------------------------

  /** A member lacks changes, or the picture; `sender`: the device that asks, and is answered. */
  asked(group: string, sender: string, { from, picture, ordered }: GroupAsk, now: Moment): void {
    if (this.#store.get(group)?.record.relation === "member") {
      this.#noteQuestion({ group, sender, since: from, until: MAX_REVISION, picture, ordered }, now);
    }
  }

  /**
   * Somebody speaks who was removed: they may not know, and are told all up to that; nothing to anybody else.
   *
   * `since`: the revision that they name. Who names a later one may live where nobody has removed them.
   */
  tellRemoved(group: Group, sender: string, since: number, now: Moment): void {
    const until = group.chain.removalOf(sender, since) ?? group.chain.lastRemovalOf(sender);
    if (until !== null && (this.#removedTold.get(`${idOf(group)} ${sender}`) ?? 0) < MAX_REMOVED_TOLD) {
      const from = Math.min(since, until - 1);
      this.#noteQuestion({ group: idOf(group), sender, since: from, until, picture: false, ordered: 0 }, now);
    }
  }

  #noteQuestion(question: Question, now: Moment): void {
    const name = `${question.group} ${question.sender}`;
    const last = this.#answered.get(name);
    if (last === undefined || now.monotonic - last >= ANSWER_AGAIN_MS) {
      this.#toAnswer.set(name, question);
    }
  }

  /** Somebody knows changes that are not known here, or says so; of who is no member little follows. */
  behind(group: Group, whom: string, revision: number, { monotonic }: Moment): void {
    const id = idOf(group);
    if (this.#void.get(id)?.has(whom) === true) return;
    if (stateOf(group).members.has(whom)) {
      this.#believe(id, whom, revision, monotonic);
    } else if (!this.#lacks.has(id) && monotonic >= (this.#claimsFrom.get(id) ?? monotonic)) {
      this.#claimsFrom.set(id, monotonic + ASK_SELDOM_MS);
      this.#lacks.set(id, { ...lackOf(revision, monotonic + ASK_AFTER_MS), isClaimed: true });
    }
  }

  #believe(group: string, whom: string, revision: number, now: number): void {
    const lack = this.#believed(group) ?? lackOf(revision, now + ASK_AFTER_MS);
    this.#lacks.set(group, lack);
    lack.revision = Math.max(lack.revision, revision);
    if (!lack.whom.includes(whom)) {
      lack.whom.push(whom);
    }
  }

  /** What is missing of a group, unless only somebody who is no member says so. */
  #believed(group: string): Lack | undefined {
    const lack = this.#lacks.get(group);
    return lack?.isClaimed === true ? undefined : lack;
  }

  /** Changes up to a revision are known. */
  caughtUp(group: string, revision: number): void {
    this.#void.delete(group);
    const lack = this.#lacks.get(group);
    if (lack === undefined) {
      return;
    }
    if (revision >= lack.revision) {
      this.goesOn(group);
    } else if (revision >= (this.#doubted.get(group) ?? Number.POSITIVE_INFINITY)) {
      // The rest is what somebody claims, who need not be believed for as long as the relay is.
      this.#doubted.delete(group);
      this.#lacks.set(group, { ...lackOf(lack.revision, 0), whom: lack.whom });
    }
  }

  /**
   * Somebody has said which changes there are.
   *
   * That there is none of what the relay has in order is known once all say so: its author may have been restored from a
   * backup, and anybody may be the only one who has it.
   */
  answered(group: Group, device: string, { changes, ordered }: GroupChanges, now: Moment): void {
    const id = idOf(group);
    const [doubted, lack] = [this.#doubted.get(id), this.#lacks.get(id)];
    if (doubted === undefined || lack === undefined || ordered < doubted || !stateOf(group).members.has(device)) {
      return;
    }
    if (changes.length > 0) {
      lack.due = Math.min(lack.due, now.monotonic + ANSWER_AGAIN_MS + 1_000); // there may be more than fits one answer
      return;
    }
    lack.without.add(device);
    if (lack.asks === 1) {
      lack.due = now.monotonic; // only the author was asked until now
    }
    if (this.#whoMayKnow(group).every((one) => lack.without.has(one))) {
      this.#confirmed.set(id, doubted);
      this.goesOn(id);
    }
  }

  /** Of whom each may be the only one who has a change: all who have accepted, if there is anybody. */
  #whoMayKnow(group: Group): string[] {
    const others = this.#others(group);
    const joined = others.filter((one) => !group.record.absent.includes(one));
    return joined.length > 0 ? joined : others;
  }

  /** Who has written the relay's last revision, perhaps this user; '' if that is not known. */
  missingAuthor(group: Group): string {
    return peopleOf(group).find((one) => isEqual(authorOf(group, one), group.record.orderedBy)) ?? "";
  }

  /**
   * Whether everything is known that the relay has put in order; if not, a member is asked.
   *
   * A revision may be missing because it is this device's own, of which it does not know that it was stored: one that
   * goes beyond it without having it would follow a head that the others have left.
   */
  knowsAll(group: Group, now: Moment): boolean {
    const id = idOf(group);
    const { ordered } = group.record;
    const lack = this.#believed(id);
    if (lack !== undefined && (this.#doubted.has(id) || lack.asks <= BELIEVED_ASKS)) {
      return false;
    }
    if (Math.max(stateOf(group).revision, this.#confirmed.get(id) ?? 0, group.record.passed) >= ordered) {
      return true;
    }
    this.#doubted.set(id, ordered);
    this.#lacks.set(id, { ...lackOf(ordered, now.monotonic), whom: lack?.whom ?? [] });
    return false;
  }

  /** What is missing is waited for no longer: it has come, or the user does not want to. */
  goesOn(group: string): void {
    this.#doubted.delete(group);
    this.#lacks.delete(group);
  }

  /** Whether an answer about the relay's last revision has not come for a while. */
  waitsLong(group: Group, now: Moment): boolean {
    const lack = this.#lacks.get(idOf(group));
    if (lack === undefined || !this.#doubted.has(idOf(group))) {
      return false;
    }
    return lack.asks > 1 || (lack.asks === 1 && now.monotonic >= toldAt(lack));
  }

  /** Whether changes are missing. */
  isBehind(group: string): boolean {
    return this.#believed(group) !== undefined;
  }

  /** Say to all members that one is there. */
  greet(group: string): void {
    this.#toGreet.add(group);
  }

  /** The user accepts: say so to all members, and ask for the changes that were not taken up before. */
  accepted(group: Group, now: Moment): void {
    this.greet(idOf(group));
    if (isFull(group)) this.#believe(idOf(group), group.record.inviter, stateOf(group).revision + 1, now.monotonic);
  }

  /** Tell somebody what one is called, who has just joined. */
  welcome(group: string, newcomer: string): void {
    this.#newcomers.set(`${group} ${newcomer}`, { group, newcomer });
  }

  /** Gather receipts no longer: the program is about to leave. */
  flush(): void {
    this.#isFlushing = true;
  }

  // --- what is done ---------------------------------------------------------------

  /** Milliseconds until each thing that waits for a time. */
  waits(now: number): number[] {
    const pictures = [...this.#withoutPicture].filter(([, { asks }]) => asks < MAX_ASKS);
    const lacking = [...this.#lacks, ...pictures].filter(([name]) => this.#mayAsk(name));
    const told = [...this.#lacks.values()].filter(({ asks }) => asks === 1).map(toldAt);
    const dues = [...lacking.map(([, { due }]) => due), ...told.filter((at) => at > now)];
    const isAsked = [...this.#toAnswer.values()].some((question) => this.#mayAnswer(question, now));
    const answers = isAsked ? this.#answers.slice(0, 1).map((at) => at + ANSWERS_MS) : [];
    const receipts = [...this.#receiptsDue.values()].map((due) => Math.max(due, this.#receiptsFrom));
    return [...dues, ...answers, ...receipts].map((at) => Math.max(0, at - now));
  }

  /** Do what is due. */
  step(now: Moment): void {
    for (const group of [...this.#toGreet]) {
      this.#toGreet.delete(group);
      this.#greet(group, null, now);
    }
    this.#welcomeAll(now);
    this.#answerAll(now);
    for (const [name, lack] of [...this.#lacks]) {
      if (now.monotonic >= lack.due && this.#mayAsk(name)) {
        this.#ask(name, lack, now);
      }
    }
    this.#askForPictures(now);
    this.#tell(now);
    this.#shown.clear();
  }

  #others(group: Group): string[] {
    return peopleOf(group).filter((person) => person !== this.#persons.own);
  }

  /** All others, those last who have not accepted yet: they do not answer. */
  #askable(group: Group): string[] {
    const others = this.#others(group);
    const isAbsent = (person: string): boolean => group.record.absent.includes(person);
    return [...others.filter((one) => !isAbsent(one)), ...others.filter(isAbsent)];
  }

  /** Say to all members that one is there, or to one of them alone. */
  #greet(name: string, whom: string | null, now: Moment): void {
    const group = this.#store.get(name);
    const others = group === null ? [] : this.#others(group).filter((person) => whom === null || person === whom);
    if (group?.record.relation === "member" && others.length > 0) {
      const { ownName } = group.record;
      this.#speaking.greet(group, others, now, ownName === "" ? {} : { name: ownName });
    }
  }

  #welcomeAll(now: Moment): void {
    this.#welcomed = new Map([...this.#welcomed].filter(([, at]) => now.monotonic - at < WELCOMES_MS));
    for (const [name, { group, newcomer }] of [...this.#newcomers].filter(([, { group }]) => !this.isSilent(group))) {
      this.#newcomers.delete(name);
      if (!this.#welcomed.has(name) && this.#welcomed.size < WELCOMES) {
        this.#welcomed.set(name, now.monotonic);
        this.#greet(group, newcomer, now);
      }
    }
  }

  #answerAll(now: Moment): void {
    this.#answers = this.#answers.filter((at) => now.monotonic - at < ANSWERS_MS);
    while (this.#answers.length < ANSWERS) {
      const ready = [...this.#toAnswer].filter(([, question]) => this.#mayAnswer(question, now.monotonic));
      // Who has had least, or one with many groups or devices would keep all others waiting.
      const [first] = ready.toSorted(([, one], [, other]) => this.#had(one) - this.#had(other));
      if (first === undefined) return;
      const [name, question] = first;
      this.#toAnswer.delete(name);
      if (this.#answer(name, question, now)) this.#answers = [...this.#answers, now.monotonic];
    }
  }

  /** Whether there is anything to say. */
  #answer(name: string, { group: of, sender, since, until, picture, ordered }: Question, now: Moment): boolean {
    const group = this.#store.get(of);
    const isMember = group !== null && stateOf(group).members.has(this.#persons.of(sender));
    if (group === null || group.record.relation !== "member" || (!isMember && until === MAX_REVISION)) {
      return false;
    }
    const found = group.chain.since(since, { until, most: MAX_CHANGES_BYTES }).slice(0, MAX_CHANGES);
    if (this.#answered.size >= MAX_ANSWERED) {
      this.#answered.clear();
    }
    this.#answered.set(name, now.monotonic);
    if (!isMember) {
      this.#removedTold.set(name, (this.#removedTold.get(name) ?? 0) + 1);
    }
    const shown = picture ? group.record.picture : NO_BYTES;
    const { group: id } = group.record;
    const size = found.reduce((sum, one) => sum + one.length, shown.length);
    const person = this.#persons.of(sender);
    this.#budgetOf(person).count(person, size, now.monotonic);
    const answer = { kind: "group-changes", group: id, changes: found, picture: shown, ordered } as const;
    this.#speaking.say(id, [sender], answer, now, { purpose: ANSWER, alone: true });
    return true;
  }

  #ask(name: string, lack: Lack, now: Moment): void {
    const group = this.#store.get(name);
    if (group === null || !isLive(group)) {
      this.#lacks.delete(name);
    } else if (this.#doubted.has(name)) {
      this.#askAll(group, lack, now);
    } else {
      const inVain = lack.whom.filter((one) => lack.asked.has(one));
      this.#void.set(name, new Set([...(this.#void.get(name) ?? []), ...inVain]));
      if (lack.asks >= (lack.isClaimed ? CLAIMED_ASKS : MAX_ASKS)) {
        this.#lacks.delete(name);
      } else {
        this.#sayAsk(group, lack, now, { picture: false });
      }
    }
  }

  /** Ask for what the relay has in order: its author first, who is most likely to have it, then everybody. */
  #askAll(group: Group, lack: Lack, now: Moment): void {
    const { group: id, ordered } = group.record;
    const others = this.isSilent(idOf(group)) ? [] : this.#others(group);
    const left = others.filter((one) => !lack.without.has(one));
    const author = lack.asks === 0 ? left.filter((one) => one === this.missingAuthor(group)) : [];
    lack.asks += 1;
    lack.due = now.monotonic + (lack.asks < MAX_ASKS_OF_ALL ? ASK_AGAIN_MS : ASK_SELDOM_MS);
    this.#doubted.set(idOf(group), ordered);
    const whom = [...(author.length > 0 ? author : left), ...(this.#persons.hasOthers ? [this.#persons.own] : [])];
    if (whom.length > 0) {
      const from = stateOf(group).revision;
      this.#speaking.say(id, whom, { kind: "group-ask", group: id, from, picture: false, ordered }, now);
    }
  }

  #sayAsk(group: Group, lack: Lack, now: Moment, { picture }: { readonly picture: boolean }): void {
    const others = this.isSilent(idOf(group)) ? [] : this.#askable(group);
    // Who is no member has no change that members lack, whatever they say, and is not to learn who is still there. One's
    // own devices are asked like a member.
    const { own } = this.#persons;
    const mates = this.#persons.hasOthers ? [...others, own] : others;
    const claiming = lack.whom.filter((one) => mates.includes(one));
    const askable = [...claiming, ...(others.length > 0 ? others : mates).filter((one) => !claiming.includes(one))];
    const asked = askable[lack.asks % Math.max(1, askable.length)];
    lack.asks += 1;
    lack.due = now.monotonic + ASK_AGAIN_MS;
    if (asked !== undefined) {
      lack.asked.add(asked);
      const { group: id } = group.record;
      const from = stateOf(group).revision;
      this.#speaking.say(id, [asked], { kind: "group-ask", group: id, from, picture, ordered: 0 }, now);
    }
  }

  /** Members who were added since it was set did not get it with a change. */
  #askForPictures(now: Moment): void {
    for (const group of this.#store.all()) {
      const id = idOf(group);
      if (!lacksPicture(group) || group.record.relation !== "member" || this.#others(group).length === 0) {
        this.#withoutPicture.delete(id);
        continue;
      }
      const lack = this.#withoutPicture.get(id) ?? lackOf(0, now.monotonic);
      this.#withoutPicture.set(id, lack);
      if (now.monotonic >= lack.due && lack.asks < MAX_ASKS && this.#mayAsk(id)) {
        this.#sayAsk(group, lack, now, { picture: true });
      }
    }
  }

  // --- receipts -------------------------------------------------------------------

  #tell(now: Moment): void {
    const waiting = new Map<string, GroupToldRecord[]>();
    for (const told of this.#store.told()) {
      // Whoever has not accepted tells nothing yet.
      if (this.#store.get(told.group)?.record.relation !== "invited") {
        waiting.set(told.group, [...(waiting.get(told.group) ?? []), told]);
      }
    }
    const isHidden = this.#ports.presence.looksAbsent;
    const dues = [...waiting.keys()].map((group) => {
      return [group, this.#receiptsDue.get(group) ?? now.monotonic + GATHER_MS] as const;
    });
    this.#receiptsDue = new Map(isHidden ? [] : dues);
    for (const [group, due] of [...this.#receiptsDue].sort(([, one], [, other]) => one - other)) {
      if (!this.#isFlushing && !this.#mayTell(due, now.monotonic)) break;
      this.#receiptsDue.delete(group);
      this.#tellGroup(group, (waiting.get(group) ?? []).slice(0, MAX_RECEIPTS), now);
    }
    this.#isFlushing &&= isHidden;
  }

  /** Whether it is time, and there is room; then it counts. */
  #mayTell(due: number, now: number): boolean {
    if (now < Math.max(due, this.#receiptsFrom)) return false;
    this.#receiptsFrom = now + this.#receipts.acquire(now);
    return this.#receiptsFrom === now;
  }

  #tellGroup(name: string, found: readonly GroupToldRecord[], now: Moment): void {
    const group = this.#store.get(name);
    const forget = (tx: Transaction): void => found.forEach((told) => this.#store.wasTold(tx, told));
    const named = new Set(found.map(({ sender }) => sender));
    const members = group?.record.relation === "member" ? peopleOf(group) : [];
    const senders = members.filter((person) => named.has(person)).sort();
    if (group === null || senders.length === 0) {
      this.#ports.stores.vault.transaction(forget);
      return;
    }
    const ids = (status: string): string[] => found.filter((one) => one.status === status).map((one) => one.messageId);
    const outcomes = { delivered: ids("delivered"), read: ids("read"), undecryptable: [] };
    const receipt = { kind: "group-receipt", group: group.record.group, ...outcomes } as const;
    this.#speaking.say(group.record.group, senders, receipt, now, { also: forget });
  }
}

function lackOf(revision: number, due: number): Lack {
  return { revision, whom: [], asked: new Set(), without: new Set(), isClaimed: false, asks: 0, due };
}

/** When the user is told that the first answer has not come. */
function toldAt({ due }: Lack): number {
  return due - ASK_AGAIN_MS + WAITING_TOLD_MS;
}

/** How the relay names a user in the order of a group. */
function authorOf({ record }: Group, person: string): Uint8Array {
  return sha256(concat(orderOf(record.group), utf8(`\n${person}`))).subarray(0, AUTHOR_BYTES);
}
