/**
 * What the relay delivers: stored, acknowledged, and reported to the application.
 *
 * Everything that must survive is in the vault before it is acknowledged. What is returned is true; if something throws
 * anything else than a `CryptoError`, the whole step is to be undone; but for what waits here (`attempt`).
 */
import { NO_BYTES } from "../bytes.ts";
import { CryptoError, UndecryptableMessage, UnknownPreKey, UnknownSuite } from "../crypto/errors.ts";
import type { MessageAck, PresenceNotice, Receipt, RelayFrame, RoutedMessage } from "../wire/frames.ts";
import { receiptEntry } from "./batching.ts";
import type { DeviceArrivals } from "./devices/arrivals.ts";
import { VaultError } from "./errors.ts";
import type { Extra } from "./extension.ts";
import type { Arrived } from "./inbox.ts";
import type { Link } from "./link.ts";
import type { Moment } from "./moment.ts";
import * as notices from "./notices.ts";
import { Sightings } from "./presence.ts";
import { floorOf, hadBetter, Strength } from "./records.ts";
import type { ContactRecord, RequestRecord, SentRecord } from "./records.ts";
import { frameOf } from "./requests.ts";
import type { Sending } from "./sending.ts";
import { DeliveryState, reached } from "./status.ts";
import type { Contact, Event } from "./status.ts";
import type { Stores } from "./stores.ts";
import type { Transaction } from "./vault.ts";

const FIRST_SUITE = 1;

/** Undoes what a stranger's message has done: it waits, as what strangers write does. */
const OF_STRANGER = new Error("it is a stranger's");

/** What the relay's words mean for a message of one's own. */
const STATES: Readonly<Record<string, DeliveryState>> = {
  accepted: DeliveryState.ACCEPTED,
  delivered: DeliveryState.DELIVERED,
  read: DeliveryState.READ,
  burned: DeliveryState.BURNED,
  expired: DeliveryState.EXPIRED,
};

/** Handles what comes for this user. */
export class Receiving {
  /** Whether the user was warned, on this connection, that the relay delivers other people's mail. */
  private isRelayWrong = false;
  /** Users of whom was said that they write in suite 1 again. */
  private readonly fallen = new Set<string>();
  /** Whether the user was told that this client fails at something that waits. */
  private hasFailed = false;
  private readonly seen = new Sightings();
  /** Who is told of what comes from devices; null if nobody is. */
  devices: DeviceArrivals | null = null;

  /**
   * @param sending learns of what changes for it
   * @param userId one's own
   */
  constructor(
    private readonly stores: Stores,
    private readonly sending: Sending,
    private readonly userId: string,
  ) {}

  /** A new connection. */
  connected(): void {
    this.isRelayWrong = false;
    this.seen.clear();
  }

  /** Handle a frame; one that is of no concern here says nothing. */
  receive(link: Link, frame: RelayFrame, now: Moment): Event[] {
    if (this.isMisdirected(frame)) {
      const events = this.isRelayWrong ? [] : [notices.misdirected()];
      this.isRelayWrong = true;
      return events;
    }
    switch (frame.type) {
      case "MESSAGE":
        return this.message(link, frame, now);
      case "MESSAGE_ACK":
        return this.relayReceipt(link, frame, now);
      case "KEY_EXCHANGE_RESPONSE": {
        if (frame.signature === undefined) {
          this.sending.exchanges.answered(frame.id); // else the id is the peer's own
        }
        const events = this.sending.exchanges.receive(frame.payload, now);
        events.push(...(this.devices?.listCame(frame.payload.deviceList, now) ?? []));
        this.confirm(link, frame.seq, now);
        return events;
      }
      case "KEY_EXCHANGE_INIT":
        this.confirm(link, frame.seq, now);
        return [];
      case "MANY_RESULT":
      case "PREKEY_BUNDLES":
        return [...this.stores.slot.is.receive(frame, now), ...(this.devices?.bundlesCame(frame, now) ?? [])];
      case "PRESENCE":
        return this.presence(link, frame, now);
      case "ALLOWANCE":
        this.devices?.allowed(frame, now);
        return [];
      default:
        return [];
    }
  }

  /**
   * Whether it is for somebody else: before anything else is asked of it; nothing follows from it.
   *
   * Not acknowledged either: a relay that mixes up its mailboxes must not lose somebody's mail because of us.
   */
  private isMisdirected(frame: RelayFrame): boolean {
    switch (frame.type) {
      case "MESSAGE":
        return frame.payload.recipientId !== this.userId;
      case "KEY_EXCHANGE_INIT":
        return frame.payload.targetId !== this.userId;
      case "KEY_EXCHANGE_RESPONSE":
        return frame.payload.targetId !== undefined && frame.payload.targetId !== this.userId;
      default:
        return false;
    }
  }

  /** The relay need not keep an item of the mailbox. */
  private confirm(link: Link, seq: number | undefined, now: Moment): void {
    if (seq !== undefined && link.state === "open") {
      this.stores.acks.confirm(link, { seq, status: "delivered" }, now.monotonic);
    }
  }

  // --- messages -----------------------------------------------------------------

  private message(link: Link, frame: RoutedMessage, now: Moment): Event[] {
    const { book, inbox, requests, slot, vault } = this.stores;
    const { messageId, senderId: sender } = frame.payload;
    const events: Event[] = [];
    let isAbout = false;
    const ofRemoved = book.isBlocked(sender) ? [] : (this.devices?.ofRemoved(sender) ?? null);
    if (ofRemoved !== null) {
      events.push(...ofRemoved); // it is dropped unread
    } else if (requests.holds(sender) && this.devices?.isOffer(frame, now) === true) {
      events.push(...this.devices.offered());
    } else if (
      requests.holds(sender) &&
      !(isAbout = slot.is.expects(frame, now, true)) &&
      !slot.is.mayAskAgain(frame, now)
    ) {
      events.push(...this.request(frame, now));
    } else {
      if (!requests.holds(sender)) {
        events.push(...this.openRequests(sender, now));
      }
      if (inbox.hasSeen(sender, messageId)) {
        this.acknowledgeAgain(sender, messageId, now.persistent);
        slot.is.cameAgain(frame);
      } else {
        let said: Extra | null = null;
        try {
          const [opened, followed] = vault.transaction((tx) => {
            const opened = inbox.receive(tx, frame, now.persistent, { wall: now.wall });
            said = opened.extra;
            this.checkStranger(sender, opened, now);
            return [opened, this.follow(tx, frame, opened, now)] as const;
          });
          events.push(...followed, ...this.opened(sender, messageId, opened), ...(this.devices?.heard(sender, opened, now) ?? []));
          events.push(...this.changed(opened, now));
        } catch (error) {
          if (error !== OF_STRANGER && !(error instanceof CryptoError)) {
            throw error;
          }
          if (error instanceof CryptoError && (!requests.holds(sender) || (isAbout && book.mayNotify(sender)))) {
            return [...events, ...this.unreadable(link, sender, messageId, error, now)];
          }
          events.push(...this.request(frame, now, said));
        }
      }
    }
    this.confirmMessage(link, sender, messageId, now);
    return events;
  }

  /**
   * A stranger's waits here, so that it does not fill the mailbox, and nothing else is done.
   *
   * @param said if it was looked into, what it says of what is somebody else's business here; null if nothing
   */
  private request(frame: RoutedMessage, now: Moment, said?: Extra | null): Event[] {
    const { book, requests, slot, vault } = this.stores;
    const { messageId, senderId: sender } = frame.payload;
    const isNews = requests.receive(frame, now.persistent, now.wall);
    if (isNews && slot.is.isVain(frame, now, said)) {
      vault.transaction((tx) => requests.drop(tx, sender, messageId));
      return [];
    }
    return isNews ? [{ kind: "request", peer: book.contact(sender), waiting: requests.waiting(sender) }] : [];
  }

  /** Of a stranger nothing is taken in at once but what is somebody else's business here: a group's. */
  private checkStranger(sender: string, { content, extra }: Arrived, now: Moment): void {
    const { book, requests, slot } = this.stores;
    if (!requests.holds(sender) || (extra !== null && slot.is.concerns(sender, extra, now))) {
      return;
    }
    if (!book.mayNotify(sender) || !saysNothingElse(content)) {
      throw OF_STRANGER;
    }
  }

  /** The relay need not keep it. */
  private confirmMessage(link: Link, sender: string, messageId: string, now: Moment): void {
    const delivered: MessageAck["payload"] = { messageId, senderId: sender, status: "delivered" };
    this.stores.acks.confirm(link, delivered, now.monotonic);
  }

  /** A message came again: its sender may not know what became of it. */
  private acknowledgeAgain(sender: string, messageId: string, now: number): void {
    const { inbox, receipts, vault } = this.stores;
    const status = inbox.dueAgain(sender, messageId, now);
    if (status !== "") {
      vault.transaction((tx) => {
        receipts.put(tx, sender, messageId, status, now);
        inbox.acknowledgedAgain(tx, sender, messageId, now);
      });
    }
  }

  /**
   * Take in something that waits here. What this client fails at stays where it is, for a version that does not; the
   * user is told once, and everything else goes on. Null then.
   */
  private attempt<R>(events: Event[], take: () => R): R | null {
    try {
      return take();
    } catch (error) {
      if (error instanceof VaultError) {
        throw error;
      }
      if (!this.hasFailed) {
        events.push(notices.setAside());
      }
      this.hasFailed = true;
      return null;
    }
  }

  /** What waited of somebody who is no stranger any more is received now. */
  openRequests(sender: string, now: Moment): Event[] {
    const { book, requests } = this.stores;
    const events: Event[] = [];
    let wasLookedAt = false;
    for (const record of requests.of(sender)) {
      const found = this.attempt(events, () => this.openRequest(record, now, events));
      wasLookedAt = wasLookedAt || found === true;
    }
    if (wasLookedAt) {
      events.push(...lookedAt(book.get(sender), book.contact(sender)));
    }
    return events;
  }

  /** Receive one; whether it was looked at before. */
  private openRequest(record: RequestRecord, now: Moment, events: Event[]): boolean {
    const { book, requests, vault } = this.stores;
    const { messageId, sender } = record;
    try {
      const [opened, followed] = vault.transaction((tx) => {
        const opened = requests.open(tx, record, now.persistent);
        return [opened, typeof opened === "boolean" ? [] : this.follow(tx, opened.frame, opened, now)] as const;
      });
      events.push(...followed);
      if (typeof opened !== "boolean") {
        events.push(...this.opened(sender, messageId, opened), ...this.changed(opened, now));
      } else if (opened) {
        events.push({ kind: "message", messageId, peer: book.contact(sender) });
      }
      return opened === true;
    } catch (error) {
      if (!(error instanceof CryptoError)) {
        throw error;
      }
      events.push(...this.unreadableRequest(record, error, now));
      return false;
    }
  }

  /** What waited cannot be read. The relay has it no more, so it is asked for if that helps. */
  private unreadableRequest({ messageId, sender }: RequestRecord, error: CryptoError, now: Moment): Event[] {
    const { requests, vault } = this.stores;
    const isNews = vault.transaction((tx) => {
      requests.drop(tx, sender, messageId);
      return this.noteUnreadable(tx, sender, messageId, error, now);
    });
    return isNews ? [this.unreadableNotice(sender, error)] : [];
  }

  /** Somebody may have changed a group, or told of changes. */
  private changed({ extra }: Arrived, now: Moment): Event[] {
    return extra?.kind === "group-change" || extra?.kind === "group-changes" ? this.openAboutGroups(now) : [];
  }

  /** A group, or who is in it, may be known now: what strangers have said in it before waits no longer. */
  openAboutGroups(now: Moment): Event[] {
    const { requests } = this.stores;
    const events: Event[] = [];
    for (const record of requests.senders().flatMap((sender) => requests.of(sender))) {
      this.attempt(events, () => events.push(...this.openAboutGroup(record, now)));
    }
    return events;
  }

  private openAboutGroup(record: RequestRecord, now: Moment): Event[] {
    const { book, requests, slot, vault } = this.stores;
    const frame = frameOf(record);
    if (frame === null || !slot.is.expects(frame, now, false)) {
      return [];
    }
    try {
      return vault.transaction((tx) => {
        const opened = requests.open(tx, record, now.persistent);
        if (typeof opened === "boolean") {
          return [];
        }
        this.checkStranger(record.sender, opened, now);
        return this.follow(tx, opened.frame, opened, now);
      });
    } catch (error) {
      if (error === OF_STRANGER) {
        return [];
      }
      if (!(error instanceof CryptoError)) {
        throw error;
      }
      return book.mayNotify(record.sender) ? this.unreadableRequest(record, error, now) : [];
    }
  }

  /** A message was decrypted and kept. */
  private opened(sender: string, messageId: string, opened: Arrived): Event[] {
    const record = this.stores.book.get(sender);
    const peer = this.stores.book.contact(sender);
    const events: Event[] = [];
    this.sending.exists(sender);
    if (opened.isNew && peer.trust === "changed") {
      events.push(notices.keyChanged(peer));
    }
    if (opened.isWeak && !opened.lags && (opened.isNew || this.hasFallen(sender, opened))) {
      events.push(notices.weakSession(peer, opened.strength, { hadBetter: hadBetter(record, opened.strength) }));
    } else if (opened.isNew) {
      events.push(...notices.allowedSession(peer, floorOf(record)));
    }
    if (opened.extra !== null) {
      return events;
    }
    if (opened.content.kind === "receipt") {
      if (opened.isWeak && opened.content.undecryptable.length > 0) {
        this.sending.exchanges.renew(sender);
      }
      return events;
    }
    if (opened.content.kind === "between" || this.stores.devices?.isOwn(sender) === true) {
      return events;
    }
    events.push({ kind: "message", messageId, peer });
    if (opened.late) {
      events.push(notices.late(peer));
    }
    return events;
  }

  /** Whether somebody who has written in suite 2 writes in suite 1 again: once until this program ends. */
  private hasFallen(sender: string, opened: Arrived): boolean {
    const isNews = opened.hasFallen && !this.fallen.has(sender);
    if (isNews) {
      this.fallen.add(sender);
    }
    return isNews;
  }

  /** It is not acknowledged: it stays with the relay until the same one comes readable. */
  private unreadable(link: Link, sender: string, messageId: string, error: CryptoError, now: Moment): Event[] {
    const { book, recovery, vault } = this.stores;
    const isNews = vault.transaction((tx) => this.noteUnreadable(tx, sender, messageId, error, now));
    if (!recovery.keeps(sender, messageId, { known: book.mayNotify(sender) })) {
      // So many would fill the mailbox for good. They can be asked for all the same.
      this.confirmMessage(link, sender, messageId, now);
    }
    return isNews ? [this.unreadableNotice(sender, error)] : [];
  }

  /** Remember it, so that it is asked for if that helps; whether it is news. */
  private noteUnreadable(tx: Transaction, sender: string, id: string, error: CryptoError, now: Moment): boolean {
    return this.stores.recovery.note(tx, sender, id, now.persistent, { recoverable: isRecoverable(error) });
  }

  private unreadableNotice(sender: string, error: CryptoError): Event {
    return notices.unreadable(this.stores.book.contact(sender), {
      isKnown: this.stores.book.mayNotify(sender),
      isRecoverable: isRecoverable(error),
      isNewer: error instanceof UnknownSuite,
    });
  }

  // --- what became of our messages ----------------------------------------------

  /** What a receipt of their recipient changes; of one whose key is another than the known one, nothing. */
  private follow(tx: Transaction, frame: RoutedMessage, opened: Arrived, now: Moment): Event[] {
    const sender = frame.payload.senderId;
    const extension = this.stores.slot.is;
    this.devices?.reported(tx, sender, opened);
    if (opened.extra !== null && opened.isKnown) {
      return extension.take(tx, frame, opened.extra, now);
    }
    if (opened.content.kind !== "receipt" || !opened.isKnown) {
      return [];
    }
    const { outbox, receipts } = this.stores;
    const { burned, delivered, read, undecryptable } = opened.content;
    if (this.stores.requests.holds(sender)) {
      // A fellow member: nothing of theirs concerns what was written to them alone.
      if (undecryptable.length > 0) extension.unseal(tx, sender);
      return this.resend(tx, sender, undecryptable.filter((one) => extension.isOfGroupTo(one, sender)), now);
    }
    outbox.suspect(sender, [...delivered, ...read, ...burned], now.monotonic);
    if (undecryptable.length > 0) {
      outbox.unseal(tx, sender);
      extension.unseal(tx, sender);
    }
    const events: Event[] = [];
    for (const [state, messageIds] of [
      [DeliveryState.DELIVERED, delivered],
      [DeliveryState.READ, read],
      [DeliveryState.BURNED, burned],
    ] as const) {
      for (const messageId of messageIds) {
        const followed = extension.follow(tx, messageId, sender, state, now);
        events.push(...(followed ?? []));
        const whose = this.stores.devices?.personOf(sender) ?? sender;
        const sent = followed === null ? outbox.sent(messageId, whose) : null;
        if (sent !== null) {
          events.push(...this.advance(tx, sent, state, now));
        } else if (followed === null) {
          this.stores.inbox.toldEarly(tx, whose, messageId, state, now.persistent);
        }
      }
    }
    for (const messageId of undecryptable) {
      if (receipts.mayResend(tx, sender, messageId)) {
        outbox.put(tx, receiptEntry(messageId, sender, now, { again: true }), { first: true });
      }
    }
    return [...events, ...this.resend(tx, sender, undecryptable, now)];
  }

  /** Put messages back into the outbox that their recipient could not read, or never got. */
  resend(tx: Transaction, peer: string, messageIds: readonly string[], now: Moment): Event[] {
    const { book, outbox } = this.stores;
    const contact = book.contact(peer);
    const count =
      outbox.resend(tx, peer, messageIds, now.persistent, contact.key) +
      this.stores.slot.is.resend(tx, peer, messageIds, now.persistent, contact.key ?? NO_BYTES);
    return count > 0 ? [notices.resent(contact, count)] : [];
  }

  /** The relay is believed in what it alone knows: that it has a message, or that its time has come. */
  private relayReceipt(link: Link, frame: Receipt, now: Moment): Event[] {
    const { outbox, receipts, vault } = this.stores;
    const { messageId, recipientId } = frame.payload;
    const state = STATES[frame.payload.status];
    if (state === DeliveryState.ACCEPTED) this.sending.answered(frame.id, messageId, recipientId);
    const followed = this.stores.slot.is.accepted(messageId, recipientId, now, state === DeliveryState.ACCEPTED);
    if (followed !== null) {
      this.confirm(link, frame.seq, now);
      return followed;
    }
    const sent = outbox.sent(messageId, recipientId);
    const events = vault.transaction((tx) => {
      if (sent !== null) {
        const isExpired = state === DeliveryState.EXPIRED && sent.expiresIn !== null;
        return state === DeliveryState.ACCEPTED || isExpired ? this.advance(tx, sent, state, now) : [];
      }
      if (state === DeliveryState.ACCEPTED) {
        outbox.remove(tx, messageId, recipientId);
      } else {
        receipts.acknowledged(tx, recipientId, messageId);
      }
      return [];
    });
    this.confirm(link, frame.seq, now);
    return events;
  }

  /** The relay will never take a message. */
  failed(messageId: string, now: Moment): Event[] {
    const sent = this.stores.outbox.sent(messageId);
    if (sent === null) {
      return [];
    }
    return this.stores.vault.transaction((tx) => this.advance(tx, sent, DeliveryState.FAILED, now));
  }

  /** A message of one's own has come further. */
  private advance(tx: Transaction, sent: SentRecord, said: DeliveryState, now: Moment): Event[] {
    const { book, outbox } = this.stores;
    const { messageId, peer } = sent;
    const state = reached(said, sent.burn);
    const isNews = outbox.advance(tx, sent, state, now.persistent);
    if (state === DeliveryState.ACCEPTED) {
      book.introduced(tx, peer);
      this.sending.accepted(peer);
    }
    return isNews ? [{ kind: "delivery", messageId, peer: book.contact(peer), state }] : [];
  }

  // --- presence -----------------------------------------------------------------

  private presence(link: Link, frame: PresenceNotice, now: Moment): Event[] {
    const { lastSeen, status, userId } = frame.payload;
    const { book, devices } = this.stores;
    const person = devices?.personOf(userId) ?? userId;
    if (!book.isKnown(userId) || book.isBlocked(userId) || person === (devices?.person ?? this.userId)) {
      return []; // a relay tells of contacts; of one's own other devices nothing is shown
    }
    // No honest relay has seen the future.
    const isSeen = lastSeen !== undefined && lastSeen <= link.relayTime(now.monotonic);
    const all = devices?.devicesOf(person) ?? [person];
    const [shown, at] = this.seen.note(userId, status, isSeen ? lastSeen : null, all);
    return [{ kind: "presence", peer: book.contact(person), status: shown, lastSeen: at }];
  }
}

/** Whose messages were read as a stranger's is known now: what was not said then is said now. */
function lookedAt(record: ContactRecord, peer: Contact): Event[] {
  const floor = floorOf(record);
  if (record.key.length > 0 && record.suite === FIRST_SUITE && floor === Strength.SUITE_2) {
    const strength = record.classical ? Strength.CLASSICAL : Strength.SUITE_1;
    return [notices.weakSession(peer, strength, { hadBetter: false })];
  }
  return record.classical ? notices.allowedSession(peer, floor) : [];
}

/** Whether a content asks for what could not be read, or brings a device list, and says nothing else. */
function saysNothingElse(said: Arrived["content"]): boolean {
  return said.kind === "receipt" && said.delivered.length + said.read.length + said.burned.length === 0;
}

/** Whether it helps to send a message again. */
function isRecoverable(error: CryptoError): boolean {
  return error instanceof UndecryptableMessage || error instanceof UnknownPreKey;
}
