/**
 * What devices make of messages: to whom they go, what lists say, and how one's own devices are kept in step.
 *
 * What is to be sent because of something that came is put into the outbox by `run`, once that step is over.
 */
import { CryptoError, InvalidMessage } from "../../crypto/errors.ts";
import type { OwnIdentity } from "../../crypto/keys.ts";
import { encodeBase64, fromBase64 } from "../../wire/base64.ts";
import { type Claim, type Marks, receiptOf, timeOf } from "../content.ts";
import * as content2 from "../content2.ts";
import { conversationId } from "../conversations.ts";
import { UsageError } from "../errors.ts";
import { shownName } from "../groups/naming.ts";
import { decodedId } from "../ids.ts";
import type { Arrived } from "../inbox.ts";
import type { Link } from "../link.ts";
import type { Outgoing, ToMany } from "../many/outgoing.ts";
import type { Moment } from "../moment.ts";
import * as records from "../records.ts";
import { DeviceRecord, floorOf, Strength } from "../records.ts";
import type { Sending } from "../sending.ts";
import { DeliveryState, reached, type Event } from "../status.ts";
import type { Stores } from "../stores.ts";
import { LIST, Unusable } from "../unusable.ts";
import type { Transaction } from "../vault.ts";
import type { Changed, DeviceBook } from "./book.ts";
import { type Device, type DeviceList, LIFE_MS, consent, parseList, signList } from "./device_list.ts";
import * as notices from "./device_notices.ts";
import { ForkedList, ListNotTaken } from "./errors.ts";
import { type DeviceSaid, MAX_READ, type Named, type ReadMessage, fieldsOf } from "./kinds.ts";
import { ASLEEP_MS, HERE_MS, RENEW_MS, following, isOverdue } from "./known_list.ts";
import { LateTexts } from "./late.ts";

/** The purpose of messages to several devices. */
export const TEXT = "text";
/** The purpose of what devices say to each other, of which nobody hears. */
export const AMONG_DEVICES = "devices";

/** How often the list of one person is asked for, or handed back to them. */
export const ASK_AGAIN_MS = 3_600_000;
export const GATHER_READ_MS = 1_000;
/** How often it is stored for how long own devices were silent. */
export const COUNT_MS = 60_000;
const ID_BYTES = 32;

/** What the desk works with. */
export interface DeskParts {
  readonly stores: Stores;
  readonly devices: DeviceBook;
  readonly sending: Sending;
  readonly outgoing: Outgoing;
  readonly identity: OwnIdentity;
  readonly moment: () => Moment;
}

type Also = (tx: Transaction) => void;
const nothing: Also = () => undefined;

/** Applies the rules of devices to a profile. */
export class DeviceDesk {
  readonly #parts: DeskParts;
  readonly #unusable: Unusable;
  /** Knows what a device misses that others did not know yet. */
  readonly late: LateTexts;
  #todo: (() => void)[] = [];
  /** What one's other devices say goes there. */
  between: (sender: string, said: DeviceSaid, now: Moment) => Event[] = () => [];
  /** Has the relay forget a device that is nobody's any more. */
  forgetDevice: (tx: Transaction, device: string) => void = () => undefined;
  /** Persons whose list was asked for, and when. */
  readonly #wanted = new Map<string, number>();
  readonly #handed = new Map<string, number>();
  /** Persons whose list is to be asked for. */
  readonly #open = new Set<string>();
  #readSince: number | null = null;
  #countedAt: number | null = null;
  /** Own devices from which something has come since that was last counted. */
  readonly #heard = new Set<string>();
  /** For how long this device was connected since it wrote to the first one; kept, for pages are opened and closed. */
  #spoke: number;
  #lookedAt: number | null = null;
  /** Persons of whom was said that their list has run out. */
  readonly #overdue = new Set<string>();

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.#unusable = new Unusable(parts.stores);
    this.late = new LateTexts(parts.stores, parts.devices, parts.outgoing);
    this.#spoke = parts.devices.names().get(parts.devices.device)?.silent ?? 0;
    const ordered = (): Event[] => []; // no message of a person has an order
    parts.outgoing.listen(TEXT, { advanced: (...given) => this.#advanced(...given), ordered });
    parts.outgoing.listen(AMONG_DEVICES, { advanced: (tx, _, peer) => this.#amongAdvanced(tx, peer), ordered });
  }

  // --- texts --------------------------------------------------------------------

  /**
   * Puts a message to all devices of somebody, and one's own others, into the outbox.
   *
   * @param also stores what else belongs to it
   */
  send(
    peer: string,
    text: { readonly sentAt: number; readonly body: string },
    given: { readonly messageId: string; readonly burn: boolean; readonly expiresIn: number | null; readonly also: Also },
  ): void {
    const { devices } = this.#parts;
    const { also, burn, expiresIn, messageId } = given;
    const said = { kind: "text", ...text, marks: { ...this.#marks(), to: fromBase64(peer) } } as const;
    const theirs = this.goesAlone(peer) ? [] : devices.devicesOf(peer);
    const recipients = [...theirs, ...devices.ownOthers()];
    this.#put(peer, { recipients, said: content2.encode(said, this.#writer), purpose: TEXT, messageId, burn, expiresIn, also });
  }

  /** Whether somebody's own copy goes as a message to one: their program knows suite 1 only, or may. */
  goesAlone(peer: string): boolean {
    const { devices, stores } = this.#parts;
    return devices.known(peer) === null && floorOf(stores.book.get(peer)) < Strength.SUITE_2;
  }

  /** The copy of one device has come further: the message is as far as the furthest of its recipient's. */
  #advanced(tx: Transaction, messageId: string, peer: string, said: DeliveryState, now: Moment): Event[] {
    const { devices, outgoing, sending, stores } = this.#parts;
    const person = devices.personOf(peer);
    const sent = stores.outbox.sent(messageId, person);
    if (sent === null || (said === DeliveryState.FAILED && peer !== person)) return [];
    const state = reached(said, sent.burn);
    const isNews = stores.outbox.advanceCopy(tx, sent, state, now.persistent);
    if (state === DeliveryState.ACCEPTED && peer === person) {
      stores.book.introduced(tx, person);
      sending.accepted(person);
    }
    if (state === DeliveryState.BURNED) outgoing.forget(tx, messageId);
    return isNews ? [{ kind: "delivery", messageId, peer: stores.book.contact(person), state }] : [];
  }

  // --- what comes ---------------------------------------------------------------

  /** Something was received from a user: what it says of devices. */
  noted(sender: string, { content, extra, isKnown }: Arrived, now: Moment): Event[] {
    const { devices } = this.#parts;
    const isOwn = devices.isOwn(sender);
    const { claim, deviceList } = extra === null ? (content.marks ?? {}) : { claim: extra.claim ?? undefined };
    if (!isKnown || (claim === undefined && deviceList === undefined && !isOwn)) return [];
    if (isOwn) this.#hear(sender, now);
    const events = deviceList === undefined ? [] : this.listCame(deviceList, now, sender);
    const whose = devices.personOf(sender);
    if (claim !== undefined && this.#isOfInterest(whose)) this.#compare(sender, whose, claim, now);
    if (content.kind !== "between" || !devices.isOwn(sender)) return events;
    return [...events, ...this.between(sender, content.said, now)];
  }

  /** Something has come from an own device. */
  #hear(device: string, now: Moment): void {
    const { devices, stores } = this.#parts;
    this.#heard.add(device);
    const record = devices.names().get(device) ?? DeviceRecord.make({ userId: device });
    if (now.wall - (record.heardAt ?? 0) < COUNT_MS) return;
    stores.vault.transaction((tx) => tx.put(records.DEVICE, device, { ...record, heardAt: timeOf(now.wall) }));
  }

  /** Whether lists of somebody are taken up. */
  #isOfInterest(person: string): boolean {
    const { devices, stores } = this.#parts;
    return person === devices.person || stores.book.mayNotify(person);
  }

  /** Somebody names the newest list that they know of their person: ask for it, or hand a newer one back. */
  #compare(sender: string, person: string, claim: Claim, now: Moment): void {
    const { devices } = this.#parts;
    const known = devices.known(person);
    if ((known === null || known.newest.revision < claim.revision) && person !== devices.device) {
      this.#open.add(person);
    } else if (known !== null && known.newest.revision > claim.revision && this.#mayHand(sender, now)) {
      this.#handed.set(sender, now.monotonic);
      this.#todo.push(() => this.tellList(known.newest, [sender]));
    }
  }

  /** Whether somebody may be handed a list back now: nobody hides from their own devices. */
  #mayHand(sender: string, now: Moment): boolean {
    const { devices, sending } = this.#parts;
    const isSeen = devices.isOwn(sender) || !sending.visibility.isHiddenFrom(sender);
    return isSeen && isDue(this.#handed.get(sender), now);
  }

  /** Whether somebody's list may be asked for. */
  #mayAsk(person: string): boolean {
    return this.#isSelf(person) || this.#parts.sending.visibility.mayIntroduce(person);
  }

  /** A device list has come, from whomever; `sender`: who has brought it, '' for the relay. */
  listCame(encoded: Uint8Array, now: Moment, sender = ""): Event[] {
    const { devices, outgoing, stores } = this.#parts;
    let person = "";
    try {
      const { person: raw, revision } = parseList(encoded);
      person = encodeBase64(raw);
      if (!this.#isOfInterest(person)) return this.#unusable.tell(sender, LIST, sender && "person", now);
      const wasRemoved = devices.isRemoved;
      const changed = stores.vault.transaction((tx) => {
        const found = devices.takeUp(tx, encoded, person, now.wall);
        this.#drop(tx, found.gone);
        const others = found.removed.filter((device) => !found.gone.includes(device));
        outgoing.withdraw(tx, conversationId(devices.person, person), others);
        this.#sendLate(tx, found, revision, now);
        return found;
      });
      return devices.isRemoved && !wasRemoved ? [notices.deviceRemoved()] : this.#told(changed);
    } catch (error) {
      if (error instanceof ForkedList) return [notices.devicesForked(stores.book.contact(person), this.#isSelf(person))];
      if (!(error instanceof CryptoError)) throw error;
      return this.#unusable.tell(sender, LIST, error instanceof ListNotTaken ? error.name : "form", now);
    }
  }

  /** Sends new devices of somebody what was written before they were known: the first one alone got it. */
  #sendLate(tx: Transaction, changed: Changed, revision: number, now: Moment): void {
    const { devices, outgoing } = this.#parts;
    const { joined: recipients, person } = changed;
    for (const { messageId, sent } of this.late.missed(tx, changed, revision, now)) {
      const message = outgoing.find(messageId);
      if (message !== null) {
        outgoing.sendFurther(tx, recipients, message);
      } else if (sent !== null) {
        const { burn, expiresAt, expiresIn, madeAt, text } = sent;
        const marks = { ...this.#marks(), to: fromBase64(person) };
        const said = content2.encode({ kind: "text", sentAt: madeAt, body: text ?? "", marks }, this.#writer);
        const talk = conversationId(devices.person, person);
        outgoing.sendAnew(tx, { recipients, said, purpose: TEXT, messageId, burn, expiresIn, conversationId: talk }, expiresAt);
      }
    }
  }

  #isSelf(person: string): boolean {
    return person === this.#parts.devices.person;
  }

  #told({ added, person, removed }: Changed): Event[] {
    // Who links this device is no contact, and had their devices before it heard of any.
    if ((added.length === 0 && removed.length === 0) || this.#parts.devices.isOnlyExpected(person)) return [];
    const contact = this.#parts.stores.book.contact(person);
    return [notices.devicesChanged(contact, added.length, removed.length, this.#isSelf(person))];
  }

  /** These devices are nobody's any more: nothing is sent to them, and nothing of them can be read. */
  #drop(tx: Transaction, gone: readonly string[]): void {
    const { devices, stores } = this.#parts;
    for (const device of gone.filter((one) => one !== devices.device)) {
      this.#silence(tx, device);
      stores.conversations.forget(tx, device);
      this.forgetDevice(tx, device);
    }
  }

  /** Nothing of what waits is sent to a device. */
  #silence(tx: Transaction, device: string): void {
    const { sending, stores } = this.#parts;
    stores.outbox.drop(tx, device);
    stores.slot.is.drop(tx, device);
    stores.receipts.drop(tx, device);
    stores.recovery.drop(tx, device);
    stores.acks.drop(tx, device);
    tx.onCommit(() => sending.drop(device));
  }

  /** What devices say to each other was accepted: with one that is removed by it, nothing else is said. */
  #amongAdvanced(tx: Transaction, peer: string): Event[] {
    const { devices, stores } = this.#parts;
    if (!stores.book.has(peer) && !stores.book.expected.has(peer) && devices.own !== null) {
      stores.conversations.forget(tx, peer);
    }
    return [];
  }

  /** Another own device has read these. */
  readElsewhere(messages: readonly ReadMessage[]): void {
    const { inbox, vault } = this.#parts.stores;
    const now = this.#parts.moment().persistent;
    vault.transaction((tx) => {
      for (const { from, id } of messages) inbox.readElsewhere(tx, encodeBase64(from), id, now);
    });
  }

  /** The first device says what it calls the others. */
  takeNames(named: readonly Named[]): void {
    const { devices, stores } = this.#parts;
    const onList = devices.own?.newest.ids.map(encodeBase64) ?? [];
    stores.vault.transaction((tx) => {
      for (const { id, name } of named) {
        const shown = shownName(name);
        if (shown !== "" && onList.includes(encodeBase64(id))) devices.name(tx, encodeBase64(id), shown);
      }
    });
  }

  // --- what is to be sent -------------------------------------------------------

  /** Do it once this step is over. */
  later(action: () => void): void {
    this.#todo.push(action);
  }

  /** Puts into the outbox what follows from what has come, and asks for lists. */
  run(link: Link | null, now: Moment): void {
    for (const action of this.#todo.splice(0)) action();
    this.#sendRead(now);
    if (link === null) return;
    for (const person of [...this.#open]) {
      if (!isDue(this.#wanted.get(person), now)) {
        this.#open.delete(person);
      } else if (this.#mayAsk(person) && this.#parts.sending.exchanges.want(link, person, now)) {
        this.#wanted.set(person, now.monotonic);
        this.#open.delete(person);
      }
    }
  }

  /** Tells the other own devices what was read here. */
  #sendRead(now: Moment): void {
    const { devices, stores } = this.#parts;
    if (devices.ownOthers().length === 0 || !stores.vault.hasKind(records.SYNC)) return;
    this.#readSince ??= now.monotonic;
    if (now.monotonic - this.#readSince < GATHER_READ_MS) return;
    this.#readSince = null;
    const found = [...stores.vault.all(records.SYNC)].slice(0, MAX_READ).map(([, record]) => record);
    const named = found
      .map(({ group, messageId, sender }) => ({ group, from: decodedId(sender), id: messageId }))
      .filter(({ from }) => from.length === ID_BYTES);
    const messages = named.filter(({ group }) => group === "").map(({ from, id }) => ({ from, id }));
    const inGroups = named
      .filter(({ group }) => group !== "")
      .map(({ from, group, id }) => ({ group: fromBase64(group), from, id }));
    this.say(devices.ownOthers(), { kind: "sync-read", messages, inGroups }, (tx) => {
      for (const record of found) tx.delete(records.SYNC, records.syncName(record));
    });
  }

  /** Milliseconds until there is something to do. */
  waits(now: number): number[] {
    return this.#readSince === null ? [] : [Math.max(0, this.#readSince + GATHER_READ_MS - now)];
  }

  /** Says something to devices; `also` stores what else belongs to it. */
  say(recipients: readonly string[], said: DeviceSaid, also: Also = nothing, purpose = AMONG_DEVICES): void {
    this.#spoke = 0;
    const fields = { ...fieldsOf(said), ...content2.marked(this.#marks()) };
    this.#putAmong(recipients, content2.encodeFields(said.kind, this.#sentAt, this.#writer, fields), also, purpose);
  }

  /** Sends a device list: in an empty receipt, which means nothing to programs that know no devices. */
  tellList(found: DeviceList, recipients: readonly string[]): void {
    const said = receiptOf(this.#sentAt, {}, { marks: { ...this.#marks(), deviceList: found.encoded } });
    if (recipients.length > 0) this.#putAmong(recipients, content2.encode(said, this.#writer));
  }

  #putAmong(recipients: readonly string[], said: Uint8Array, also = nothing, purpose = AMONG_DEVICES): void {
    this.#put(this.#parts.devices.person, { recipients, said, purpose, group: true, also });
  }

  #put(peer: string, given: Omit<ToMany, "conversationId">): void {
    const { devices, outgoing } = this.#parts;
    outgoing.sendMany({ ...given, conversationId: conversationId(devices.person, peer) });
  }

  #marks(): Marks {
    const claim = this.#parts.devices.claim();
    return claim === null ? {} : { claim };
  }

  get #writer(): content2.Writer {
    const { peer } = this.#parts.identity;
    return { sender: peer.userId, senderKey: peer.public };
  }

  get #sentAt(): number {
    return timeOf(this.#parts.moment().wall);
  }

  // --- one's own list -----------------------------------------------------------

  /**
   * Makes the next list of one's own, on the first device; contacts and devices get it with `spread`.
   *
   * @param others all devices besides the first one
   * @throws InvalidMessage This is not the first device, or there are too many.
   */
  sign(others: readonly Device[]): Changed {
    const { devices, identity: own, moment, stores } = this.#parts;
    if (!devices.isFirst) throw new InvalidMessage("only the first device can add and remove devices");
    const before = devices.own?.newest ?? null;
    const { wall } = moment();
    const at = timeOf(wall);
    const first = before?.devices[0] ?? { key: own.peer.public, added: at, consent: consent(own, own.peer.userId) };
    const next = following(before, devices.isRestored);
    const made = signList(own, { ...next, at, until: at + LIFE_MS, devices: [first, ...others] });
    return stores.vault.transaction((tx) => {
      if (before === null) devices.belong(tx, devices.device);
      else devices.signed(tx);
      return devices.takeUp(tx, made.encoded, devices.device, wall);
    });
  }

  /** Sends one's newest list to all contacts with whom there is a session, and to all own devices. */
  spread({ removed }: Pick<Changed, "removed">): void {
    const { devices, stores } = this.#parts;
    const { own } = devices;
    if (own === null) return;
    const contacts = stores.book
      .everybody()
      .map(({ userId }) => userId)
      .filter((one) => stores.book.mayNotify(one) && stores.conversations.load(one).sending?.suite === 2);
    const theirs = contacts.flatMap((person) => devices.devicesOf(person));
    this.tellList(own.newest, [...new Set([...devices.ownOthers(), ...theirs, ...removed])]);
    if (devices.ownOthers().length === 0) return;
    const names = devices.names();
    const named = own.newest.ids.map((id) => ({ id, name: names.get(encodeBase64(id))?.name ?? "" }));
    this.say(devices.ownOthers(), { kind: "sync-devices", names: named.filter(({ name }) => name !== "") });
  }

  /** Signs the same devices again: they are the user's, whatever was changed since a backup. */
  renew(): void {
    const { own } = this.#parts.devices;
    if (own === null) throw new UsageError("this is your only device");
    this.spread(this.sign(own.newest.devices.slice(1)));
  }

  /** Removes one of one's devices, on the first one; everybody is told. */
  remove(device: string): Changed {
    const { devices, stores } = this.#parts;
    const { own } = devices;
    const place = own?.newest.ids.findIndex((one) => encodeBase64(one) === device) ?? -1;
    if (own === null || place < 1) throw new UsageError("this is none of your other devices");
    const left = own.newest.devices.filter((_, at) => at > 0 && at !== place);
    const changed = this.sign(left);
    stores.vault.transaction((tx) => {
      this.#silence(tx, device);
      this.forgetDevice(tx, device);
    });
    this.spread(changed); // to the removed one, too: it is to erase itself
    return changed;
  }

  // --- now and then -------------------------------------------------------------

  /** Renews the list, counts how long devices were silent, and says that one is there. */
  tick(now: Moment, isOnline: boolean): Event[] {
    return [...this.#lookForOverdue(now), ...this.#keepUp(now, isOnline)];
  }

  /** Says once until this program ends whose list has run out: its person has not renewed it. */
  #lookForOverdue(now: Moment): Event[] {
    if (this.#lookedAt !== null && now.monotonic - this.#lookedAt < ASK_AGAIN_MS) return [];
    this.#lookedAt = now.monotonic;
    const { devices, stores } = this.#parts;
    const found = devices.persons().filter((person) => !this.#overdue.has(person) && this.#isOverdue(person, now));
    return found.map((person) => {
      this.#overdue.add(person);
      return notices.devicesOverdue(stores.book.contact(person), this.#isSelf(person));
    });
  }

  #isOverdue(person: string, now: Moment): boolean {
    const known = this.#parts.devices.known(person);
    return known !== null && person !== this.#parts.devices.device && isOverdue(known, now.wall);
  }

  #keepUp(now: Moment, isOnline: boolean): Event[] {
    const { devices } = this.#parts;
    const { own } = devices;
    if (own === null || devices.isRemoved) return [];
    const passed = this.#countedAt === null || !isOnline ? 0 : Math.max(0, now.monotonic - this.#countedAt);
    if (this.#countedAt !== null && isOnline && passed < COUNT_MS) return [];
    this.#countedAt = isOnline ? now.monotonic : null;
    const counted = Math.min(passed, 2 * COUNT_MS);
    if (!devices.isFirst) {
      this.#spoke += counted;
      if (this.#spoke >= HERE_MS) this.say([devices.person], { kind: "sync-here" });
      if (counted > 0) this.#keepSpoke();
      return [];
    }
    // After a restore the list may name a device that was removed since: its user is to look at it first.
    if (devices.isRestored) return [];
    const events = counted > 0 ? this.#count(counted) : [];
    if (now.wall - own.newest.at >= RENEW_MS) this.renew();
    return events;
  }

  #keepSpoke(): void {
    const { devices, stores } = this.#parts;
    const record = devices.names().get(devices.device) ?? DeviceRecord.make({ userId: devices.device });
    stores.vault.transaction((tx) => tx.put(records.DEVICE, devices.device, { ...record, silent: this.#spoke }));
  }

  /** How long each device was silent while this one was connected; who sleeps too long is removed. */
  #count(passed: number): Event[] {
    const { devices, stores } = this.#parts;
    const known = devices.names();
    const asleep: string[] = [];
    stores.vault.transaction((tx) => {
      for (const device of devices.ownOthers()) {
        const record = known.get(device) ?? DeviceRecord.make({ userId: device });
        const silent = passed + (this.#heard.has(device) ? 0 : record.silent);
        tx.put(records.DEVICE, device, { ...record, silent });
        if (silent >= ASLEEP_MS) asleep.push(device);
      }
    });
    this.#heard.clear();
    return asleep.flatMap((device) => this.#told(this.remove(device)));
  }
}

/** Whether enough time has passed since it was done last, if it was. */
function isDue(last: number | undefined, now: Moment): boolean {
  return last === undefined || now.monotonic - last >= ASK_AGAIN_MS;
}
