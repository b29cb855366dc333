/** Texts to groups are kept: those of others, of which their senders are told, and those of one's other devices. */
import { fromUtf8, utf8 } from "../../bytes.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import type { RoutedMessage } from "../../wire/frames.ts";
import { timeOf } from "../content.ts";
import { noteEarly, takeEarly } from "../devices/early.ts";
import type { ReadText } from "../devices/kinds.ts";
import type { ExtensionPorts } from "../extension.ts";
import { optionsOf } from "../inbox.ts";
import type { Moment } from "../moment.ts";
import * as coreRecords from "../records.ts";
import { DeliveryState, labelOf } from "../status.ts";
import type { Event } from "../status.ts";
import type { Transaction } from "../vault.ts";
import type { GroupHello, GroupLeave, GroupText } from "./contents.ts";
import { memberOf } from "./naming.ts";
import { Persons } from "./persons.ts";
import { GroupHeldRecord, GroupTextRecord } from "./records.ts";
import { MAX_TOLD } from "./speaking.ts";
import { idOf, MAX_MISSING, stateOf } from "./store.ts";
import type { Group, GroupStore } from "./store.ts";
import * as words from "./words.ts";

/** Texts of which it is remembered that their senders were told once more. */
const MAX_TOLD_AGAIN = 1_000;

/** Devices that are no member's any more, and whose texts are still counted, of one group. */
export const MAX_FORMER = 50;

/** Keeps them. */
export class Texts {
  readonly #ports: ExtensionPorts;
  readonly #persons: Persons;
  readonly #store: GroupStore;
  /** Texts of which their senders were told once more, each once until this program ends. */
  readonly #toldAgain = new Set<string>();

  constructor(ports: ExtensionPorts, store: GroupStore) {
    this.#ports = ports;
    this.#persons = new Persons(ports);
    this.#store = store;
  }

  /** Keep a member's text, and hand it out; what the user is to hear. */
  keep(tx: Transaction, group: Group, held: GroupHeldRecord, now: Moment): Event[] {
    const { messageId, n } = held;
    const sender = this.#persons.of(held.sender);
    const id = idOf(group);
    if (this.#store.text(group, sender, messageId) !== null) {
      return []; // from another device of theirs: what they have said stays as it was
    }
    if (group.record.relation === "invited" && !this.#keepEarly(tx, group, sender, held)) {
      this.#passOver(tx, group, held);
      return [];
    }
    const isPast = this.#store.past.has(id, sender, messageId); // it was handed over, and only its number is missing
    const read = this.#wasRead(tx, id, sender, messageId);
    if (!isPast) {
      this.#store.putText(tx, group, GroupTextRecord.make({ ...kept(held, now), sender, read }));
    }
    noteKept(tx, held, now);
    const isNews = !isPast && !read;
    if (isNews) {
      this.#store.handOut(tx, id, sender, messageId);
    }
    if (stateOf(group).members.size <= MAX_TOLD) {
      this.#store.tell(tx, { group: id, sender, messageId, status: "delivered" });
    }
    const gone = this.#count(tx, group, held.sender, n);
    if (group.record.relation !== "member") {
      return [];
    }
    const events: Event[] = [];
    const peer = memberOf(group, this.#ports.stores.book.contact(sender));
    if (gone > 0) {
      const message = words.missing(gone, labelOf(peer), words.title(stateOf(group).name));
      events.push({ kind: "warning", peer: null, code: "missing", message });
    }
    return isNews ? [...events, { kind: "group-message", messageId, group: id, peer }] : events;
  }

  /** Whether a text that has just come was read on another own device before. */
  #wasRead(tx: Transaction, group: string, sender: string, messageId: string): boolean {
    const { devices, vault } = this.#ports.stores;
    const isOne = devices === null || devices.own === null;
    return !isOne && takeEarly([vault, tx], coreRecords.EARLY_READ, `${group} ${sender}`, messageId) !== null;
  }

  /** The user has read a text here: the other own devices are to learn of it, if there are any. */
  syncRead(tx: Transaction, record: coreRecords.SyncRecord): void {
    if ((this.#ports.stores.devices?.ownOthers().length ?? 0) > 0) {
      tx.put(coreRecords.SYNC, coreRecords.syncName(record), record);
    }
  }

  /** Another own device has read a text, and tells its sender. */
  readElsewhere(tx: Transaction, { from, group: raw, id: messageId }: ReadText, device: string): void {
    const { devices, vault } = this.#ports.stores;
    const [id, sender] = [encodeBase64(raw), encodeBase64(from)];
    if (sender === this.#persons.own) {
      return;
    }
    const group = this.#store.get(id);
    const text = group === null ? null : this.#store.text(group, sender, messageId);
    if (group === null || text === null) {
      const now = this.#ports.now().persistent;
      const news = { person: `${id} ${sender}`, messageId, state: DeliveryState.READ, now };
      noteEarly([vault, tx], coreRecords.EARLY_READ, news);
    } else if (!text.read) {
      this.#store.putText(tx, group, { ...text, read: true });
      this.#store.handled(tx, id, sender, messageId);
    } else if (devices?.isBefore(device) === true) {
      // Read on both before either had heard of the other: the first of them tells, and no other one.
      this.#store.withdrawRead(tx, { group: id, sender, messageId });
    }
  }

  /** Whether a text is kept in a group to which this user is only invited, where others write without end. */
  #keepEarly(tx: Transaction, group: Group, sender: string, { content, messageId }: GroupHeldRecord): boolean {
    const size = content.length;
    if (!this.#store.early.hasRoom(sender, size)) return false;
    this.#store.early.note(tx, { group: idOf(group), sender, messageId, size });
    return true;
  }

  /** A device's text is not kept: the next one that is has it missing, be it the first of theirs. */
  #passOver(tx: Transaction, group: Group, { n, sender }: GroupHeldRecord): void {
    const counts = this.#store.counts(idOf(group));
    if (!counts.others.has(sender)) {
      const others = new Map([...this.#stillCounted(group, counts.others), [sender, { last: n - 1, missing: [] }]]);
      this.#store.putCounts(tx, idOf(group), { ...counts, others });
    }
  }

  /** Keep a text that was written on another own device. */
  keepOwn(tx: Transaction, group: Group, held: GroupHeldRecord, now: Moment): void {
    noteKept(tx, held, now);
    if (this.#store.text(group, "", held.messageId) !== null || this.#store.past.has(idOf(group), "", held.messageId)) {
      return;
    }
    const { expiresIn } = held;
    const text = { ...kept(held, now), sender: "", expiresIn, state: DeliveryState.ACCEPTED };
    this.#store.putText(tx, group, GroupTextRecord.make(text));
  }

  /** A text that is here already has come again: its sender may not know that, and is told once more. */
  cameAgain({ payload }: RoutedMessage): void {
    const { conversationId, messageId, senderId } = payload;
    const group = this.#store.ofConversation(conversationId);
    if (group === null || group.record.relation !== "member" || stateOf(group).members.size > MAX_TOLD) {
      return;
    }
    const sender = this.#persons.of(senderId);
    const name = `${sender} ${messageId}`;
    const isHere = this.#store.text(group, sender, messageId) !== null;
    if (this.#toldAgain.has(name) || !(isHere || this.#store.past.has(idOf(group), sender, messageId))) {
      return;
    }
    if (this.#store.told().some((one) => one.sender === sender && one.messageId === messageId)) {
      return; // what is to be told says as much, or that it was read
    }
    if (this.#toldAgain.size >= MAX_TOLD_AGAIN) {
      this.#toldAgain.clear();
    }
    this.#toldAgain.add(name);
    this.#ports.stores.vault.transaction((tx) => {
      this.#store.tell(tx, { group: idOf(group), sender, messageId, status: "delivered" });
    });
  }

  /** Note the number of a device's text; how many before it have not come, as far as that is news. */
  #count(tx: Transaction, group: Group, sender: string, n: number): number {
    const counts = this.#store.counts(idOf(group));
    const known = counts.others.get(sender);
    const others = known === undefined ? this.#stillCounted(group, counts.others) : counts.others;
    let after = { last: n, missing: [] as readonly number[] };
    let gone = 0;
    if (known !== undefined && n > known.last) {
      gone = n - known.last - 1;
      const first = Math.max(known.last + 1, n - MAX_MISSING);
      const missing = Array.from({ length: n - first }, (_, index) => first + index);
      after = { last: n, missing: [...known.missing, ...missing].slice(-MAX_MISSING) };
    } else if (known !== undefined) {
      after = { last: known.last, missing: known.missing.filter((one) => one !== n) };
    }
    this.#store.putCounts(tx, idOf(group), { ...counts, others: new Map([...others, [sender, after]]) });
    return gone;
  }

  /** All devices of members, and a few of those that are members' no more, who may come back. */
  #stillCounted<T>(group: Group, others: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
    const former = [...others.keys()].filter((one) => !stateOf(group).members.has(this.#persons.of(one)));
    const forgotten = new Set(former.slice(0, -MAX_FORMER));
    return new Map([...others].filter(([one]) => !forgotten.has(one)));
  }
}

/** What is kept of a text, whoever has written it; its time runs from when it came, though it may have waited. */
function kept({ at, content, expiresIn, messageId, sentAt }: GroupHeldRecord, now: Moment) {
  const expiresAt = expiresIn === null ? null : at + expiresIn;
  return { messageId, text: fromUtf8(content), sentAt, keptAt: timeOf(now.wall), expiresAt };
}

/** A text as it is kept if it comes too early. */
export function heldOf(frame: RoutedMessage, said: GroupText & { readonly sentAt: number }, now: Moment): GroupHeldRecord {
  const { messageId, senderId: sender } = frame.payload;
  const { body, head, n, name = null, revision, sentAt } = said;
  const named = { group: encodeBase64(said.group), revision, head, n, name };
  const { expiresIn } = optionsOf(frame);
  return GroupHeldRecord.make({ ...named, at: now.persistent, sender, messageId, content: utf8(body), sentAt, expiresIn });
}

/** A greeting, or a goodbye, as it is kept if it comes before its sender is a member. */
export function heldWordOf({ payload }: RoutedMessage, said: GroupHello | GroupLeave, now: Moment): GroupHeldRecord {
  const { messageId, senderId: sender } = payload;
  const word = { group: encodeBase64(said.group), at: now.persistent, sender, messageId };
  if (said.kind === "group-leave") return GroupHeldRecord.make({ ...word, kind: "leave" });
  const { head, name = null, revision } = said;
  return GroupHeldRecord.make({ ...word, revision, head, name, kind: "hello" });
}

/** A text is kept: its id is remembered for good, that of one that nobody is shown for a while. */
function noteKept(tx: Transaction, { messageId, sender }: GroupHeldRecord, now: Moment): void {
  tx.put(coreRecords.SEEN, coreRecords.key(sender, messageId), { at: now.persistent });
}
