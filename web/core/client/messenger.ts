/**
 * A whole client, without input, output or time of its own: the parts together, and what applications ask of them.
 *
 * Fed with what a connection brings and with the passing of time, drained of texts to send and of events. What a step
 * has changed in the vault must be stored before the texts are sent and before anybody hears of the events. If it
 * cannot be stored, or a step throws anything else than a `UsageError`, the messenger is to be thrown away, and another
 * one made of what is stored.
 */
import { OwnIdentity } from "../crypto/keys.ts";
import { encodeBase64 } from "../wire/base64.ts";
import type { ErrorFrame, PresenceStatus } from "../wire/frames.ts";
import { Blocking } from "./blocking.ts";
import { ClockCheck } from "./clock_check.ts";
import type { Devices } from "./devices/devices.ts";
import { Contacts, selfOf } from "./contacts.ts";
import { timeOf } from "./content.ts";
import { NOTHING } from "./extension.ts";
import type { Extend, ExtensionPorts } from "./extension.ts";
import { ExpiryClock } from "./expiry.ts";
import { identityOf } from "./identity.ts";
import * as housekeeping from "./housekeeping.ts";
import { Housekeeping } from "./housekeeping.ts";
import { Link } from "./link.ts";
import type { LinkEvent, Unsent } from "./link.ts";
import { newMessageId } from "./message_ids.ts";
import type { Moment } from "./moment.ts";
import * as notices from "./notices.ts";
import { SOON_MS } from "./pacing.ts";
import { AMOUNTS } from "./prekey_store.ts";
import { PreKeyUpload } from "./prekey_upload.ts";
import { Presence } from "./presence.ts";
import { Receiving } from "./receiving.ts";
import { Reconnecting } from "./reconnecting.ts";
import * as records from "./records.ts";
import { OutboxRecord, SentRecord } from "./records.ts";
import type { ReceivedRecord } from "./records.ts";
import { Sending } from "./sending.ts";
import type { Settings } from "./settings.ts";
import { DeliveryState } from "./status.ts";
import type { Event } from "./status.ts";
import { storesOf } from "./stores.ts";
import type { Stores } from "./stores.ts";
import type { Surroundings } from "./surroundings.ts";
import { checkText } from "./text_check.ts";
import type { Transaction, Vault } from "./vault.ts";

/** For how long prekeys are made at each time; nobody is to notice. */
export const PUBLISH_MS = 5;

/** The core of the client. */
export class Messenger {
  readonly userId: string;
  readonly contacts: Contacts;
  /** What others may learn of what this user does. */
  readonly presence: Presence;
  /** Everything that the profile holds. */
  readonly stores: Stores;
  /** One's devices; null for a client that is not to know. */
  readonly devices: Devices | null;
  private readonly identity: OwnIdentity;
  private readonly clock: ExpiryClock;
  private readonly sending: Sending;
  private readonly receiving: Receiving;
  private readonly housekeeping: Housekeeping;
  private readonly blocking: Blocking;
  private readonly preKeyUpload: PreKeyUpload;
  private readonly reconnecting = new Reconnecting();
  private readonly clockCheck = new ClockCheck();
  private relay: string;
  private events: Event[] = [];
  private link: Link | null = null;

  /**
   * @param vault open; gets an identity if it has none
   * @param extend makes its further parts
   * @throws VaultDamaged it has lost its identity
   */
  constructor(
    private readonly vault: Vault,
    private readonly given: Surroundings,
    extend: Extend = given.later?.extend ?? (() => NOTHING),
  ) {
    const { monotonic, random, wall } = given;
    const record = identityOf(vault, random);
    this.relay = record.server;
    this.identity = new OwnIdentity(record.seed);
    this.userId = encodeBase64(this.identity.peer.userId);
    this.clock = new ExpiryClock(vault, { wall, sinceBoot: given.sinceBoot ?? monotonic, boot: given.boot ?? "" });
    this.stores = storesOf(vault, this.identity, random, {
      asks: given.strangers !== "accept",
      amounts: given.amounts ?? AMOUNTS,
      later: given.later ?? null,
    });
    this.contacts = new Contacts(vault, this.stores.book, selfOf(this.stores, this.identity, this));
    this.sending = new Sending(this.stores, this.identity, random);
    this.receiving = new Receiving(this.stores, this.sending, this.userId);
    this.housekeeping = new Housekeeping(this.stores, this.receiving, this.clock, monotonic);
    this.blocking = new Blocking(this.stores, this.sending);
    this.preKeyUpload = new PreKeyUpload(this.stores.prekeys);
    this.presence = new Presence(vault);
    this.sending.visibility.isAbsent = this.presence.looksAbsent;
    const { book, inbox, requests } = this.stores;
    inbox.handOutNewer((sender) => !requests.holds(sender) && !book.isBlocked(sender));
    const ports: ExtensionPorts = {
      stores: this.stores,
      sending: this.sending,
      identity: this.identity,
      ownId: this.userId,
      random,
      presence: this.presence,
      now: () => this.now(),
      openLink: () => this.openLink,
      report: (events) => void this.events.push(...events),
      sendPending: () => this.sendPending(),
    };
    this.stores.slot.is = extend(ports);
    const { preKeyUpload, receiving } = this;
    this.devices = given.later?.devicesOn(ports, {
      blocking: this.blocking,
      presence: this.presence,
      preKeyUpload,
      receiving,
      changed: (userId) => (userId === null ? this.presenceChanged() : this.contactChanged(userId)),
    }) ?? null;
  }

  /** One's user id as others see it: that of the first device. */
  get person(): string {
    return this.stores.devices?.person ?? this.userId;
  }

  /** This moment. */
  now(): Moment {
    return { monotonic: this.given.monotonic(), persistent: this.clock.now(), wall: this.given.wall() };
  }

  // --- profile ------------------------------------------------------------------

  /** The relay's URL, '' if none was set. */
  get server(): string {
    return this.relay;
  }

  /** Remember the relay, for the next connection; one that is there is not used any more. */
  setServer(url: string): void {
    if (url === this.relay) {
      return;
    }
    const isMove = this.relay !== "";
    this.vault.transaction((tx) => {
      tx.put(records.IDENTITY, "", { seed: this.identity.seed, server: url });
      if (isMove) {
        this.stores.book.moved(tx);
        this.blocking.moved(tx);
      }
    });
    this.relay = url;
    if (isMove) {
      const hasLeft = this.link !== null;
      if (hasLeft) {
        const reason = "another relay was chosen";
        this.events.push({ kind: "connection", state: "offline", reason, busy: false, retryAfter: null });
      }
      this.reconnecting.moved({ hasLeft });
      this.link = null;
      this.sending.moved();
    }
  }

  /** Whether the login is through. */
  get isOnline(): boolean {
    return this.openLink !== null;
  }

  private get openLink(): Link | null {
    return this.link !== null && this.link.state === "open" ? this.link : null;
  }

  /** Milliseconds to stay away, if more than after any outage: the relay has asked for it, or is at odds. */
  get retryAfter(): number | null {
    return this.reconnecting.retryAfter;
  }

  /** Whether the relay has confirmed that it forgot this identity. */
  get isDeleted(): boolean {
    return this.reconnecting.isDeleted;
  }

  /** How many messages wait in the outbox; for one user, if one is named. */
  waitingFor(peer?: string): number {
    return this.stores.outbox.texts(peer) + this.stores.slot.is.waiting(peer);
  }

  /** How many receipts and acknowledgements the relay does not have yet. */
  get pendingReceipts(): number {
    const { acks, book, outbox, receipts } = this.stores;
    return acks.size + receipts.senders().filter((sender) => book.mayNotify(sender)).length + outbox.batches();
  }

  /** How many users the relay is still to keep away, or no longer. */
  get unconfirmed(): number {
    return this.blocking.size;
  }

  /** Whether the relay has said that it has enough of this identity's prekeys. */
  get prekeysConfirmed(): boolean {
    return this.preKeyUpload.confirmed;
  }

  // --- what the application does ------------------------------------------------

  /**
   * Put a message into the outbox.
   *
   * @param peer user id
   * @param text at most `MAX_TEXT_BYTES` bytes of UTF-8
   * @param given `burn`: the recipient's copy goes once it was read; `expiresIn`: milliseconds, at the relay after
   * acceptance, here after that is known, there after receipt
   * @throws InvalidUserId, MessageTooLong, UsageError it cannot be sent as it is
   * @throws KeyChanged the user must look at the key of this contact first
   */
  sendText(
    to: string,
    text: string,
    given: { readonly burn?: boolean; readonly expiresIn?: number | null } = {},
  ): OutboxRecord {
    const { burn = false, expiresIn = null } = given;
    const { book, devices, outbox } = this.stores;
    const peer = devices?.personOf(to) ?? to;
    checkText(book, [this.userId, this.person], { peer, text, expiresIn });
    const now = this.now();
    const messageId = newMessageId(this.given.random);
    const said = { messageId, peer, text, burn, expiresIn, madeAt: timeOf(now.wall) };
    const entry = OutboxRecord.make(said);
    const isNew = !book.isKnown(peer);
    const keep = (tx: Transaction, isAlone = true): void => {
      tx.put(records.SENT, messageId, SentRecord.make({ ...said, state: DeliveryState.QUEUED }));
      if (isAlone) {
        outbox.put(tx, entry);
      }
      book.admit(tx, peer);
      if (isAlone && this.openLink !== null) {
        this.sending.sealNow(tx, this.openLink, entry, now);
      }
    };
    const wide = { messageId, burn, expiresIn, also: keep };
    if (this.devices?.send(peer, { sentAt: entry.madeAt, body: text }, wide) !== true) {
      this.vault.transaction(keep);
    }
    if (isNew) {
      this.contactChanged(peer);
    }
    this.show(peer);
    this.sendPending();
    return entry;
  }

  /** Let somebody know that one is there. */
  private show(person: string): void {
    for (const device of this.stores.devices?.devicesOf(person) ?? [person]) {
      this.sending.visibility.show(device);
    }
  }

  /** How far a message of one's own has come. */
  stateOf(messageId: string): DeliveryState | null {
    return (this.stores.outbox.sent(messageId)?.state ?? null) as DeliveryState | null;
  }

  /** Decrypt what waits of a stranger; nobody is notified. */
  look(peer: string): ReceivedRecord[] {
    return this.stores.requests.look(peer, this.clock.now());
  }

  /** The application is done with a received message; it will not be handed out again. */
  handled(sender: string, messageId: string): void {
    this.stores.inbox.handled(sender, messageId);
  }

  /**
   * The user has read a message: it is handled, and burns if asked; its sender is notified if that is allowed.
   *
   * Idempotent.
   */
  markRead(sender: string, messageId: string): void {
    const quiet = !this.presence.settings.readReceipts;
    const isRead = this.stores.inbox.markRead(sender, messageId, this.clock.now(), { quiet });
    if (isRead && !quiet) {
      this.show(sender);
    }
    this.sendPending();
  }

  /** Send receipts at once: the program is about to exit. */
  flush(): void {
    this.sending.flush();
    this.stores.slot.is.flush();
    this.sendPending();
  }

  /** What one wants to be shown as from now on: over connections too, and as soon as the relay takes it. */
  tellPresence(status: Exclude<PresenceStatus, "typing">): void {
    this.presence.want(status);
    this.presenceChanged();
  }

  /** Change what others may learn. */
  changeSettings(changes: Partial<Settings>): Settings {
    const after = this.presence.change(changes);
    this.presenceChanged();
    return after;
  }

  private presenceChanged(): void {
    this.sending.visibility.isAbsent = this.presence.looksAbsent;
    this.sendPending();
  }

  /** Say that one is writing to somebody. Lost while offline, for then it means nothing. */
  tellTyping(peer: string): void {
    const [link, now] = [this.openLink, this.given.monotonic()];
    const typing = this.presence.typing(this.person, this.stores.devices?.personOf(peer) ?? peer);
    // It leaves room for what matters more.
    if (link !== null && typing !== null && this.sending.hasRoom(link, "PRESENCE", now)) {
      this.sendPresence(link, typing, now);
    }
  }

  /** Ask for somebody's key, although one looks absent. */
  wantKey(peer: string): void {
    this.sending.visibility.introduce(peer);
    this.sendPending();
  }

  /** Ask what a contact is doing; the answer is an event. */
  askPresence(peer: string): void {
    const [link, now] = [this.openLink, this.given.monotonic()];
    for (const one of this.stores.devices?.devicesOf(peer) ?? [peer]) {
      if (link !== null) this.sendPresence(link, this.presence.question(one), now);
    }
  }

  /** Keep a user away; see `Blocking`. */
  block(peer: string): void {
    this.blocking.block(peer);
    this.contactChanged(peer);
  }

  /** Keep a user away no longer. */
  unblock(peer: string): void {
    this.blocking.unblock(peer);
    this.contactChanged(peer);
  }

  /** Forget a user, and what was said if `history`. */
  remove(peer: string, given: { readonly history: boolean }): void {
    this.blocking.remove(peer, given);
    this.contactChanged(peer);
  }

  /** Somebody was added, or is to be treated otherwise than before: what waits for that is done. */
  contactChanged(userId: string): void {
    this.sending.resetBackoff(userId);
    if (!this.stores.requests.holds(userId)) {
      this.events.push(...this.receiving.openRequests(userId, this.now()));
    }
    this.sendPending();
  }

  /** Something was done with one's devices. */
  devicesChanged(): void {
    this.sendPending();
  }

  /** Ask the relay to forget this identity; it closes the connection once it has. False if offline. */
  deleteAccount(): boolean {
    const link = this.openLink;
    if (link === null) {
      return false;
    }
    const payload = { audience: link.audience, challenge: link.challenge };
    this.reconnecting.deletion = link.sendSigned({ type: "ACCOUNT_DELETE", payload }, this.given.monotonic());
    return true;
  }

  // --- the connection -----------------------------------------------------------

  /** An attempt to connect begins. */
  dialling(): void {
    this.events.push(this.reconnecting.dialling());
  }

  /** A WebSocket connection to the relay is open; `audience` is host[:port] as dialled. */
  connected(audience: string): void {
    this.reconnecting.connected();
    this.receiving.connected();
    const absent = this.presence.connected();
    const { monotonic, wall } = this.given;
    const { features } = this.stores.slot.is;
    const start = { userId: this.userId, audience, now: monotonic(), wall: wall(), absent, features };
    this.link = new Link(this.identity, start);
  }

  /**
   * The connection is gone, or could not be made.
   *
   * @param code of the close frame, null if there was none
   * @param reason a sentence for people
   * @returns whether to connect again
   */
  disconnected(code: number | null, reason: string): boolean {
    const isIn = this.isOnline;
    const wasDeleting = this.reconnecting.deletion !== null;
    this.link = null;
    this.sending.disconnected();
    const [again, events] = this.reconnecting.disconnected({ code, reason, isIn });
    this.events.push(...events);
    if (wasDeleting && !this.isDeleted) {
      this.events.push(notices.notDeleted());
    }
    return again;
  }

  /** Whether the connection is to be dropped: it is dead or was refused. */
  get isLost(): boolean {
    return this.link?.state === "failed";
  }

  /** The connection may have died unnoticed: unless the relay gives a sign of life soon, it counts as lost. */
  check(): void {
    const now = this.given.monotonic();
    if (this.openLink?.mayPing(now, SOON_MS) === true) {
      this.openLink.ping(now);
    }
  }

  /** A WebSocket message has come. */
  receive(text: string | Uint8Array): void {
    if (this.link !== null) {
      this.handle(this.link, this.link.receive(text, this.given.monotonic()));
    }
  }

  /** The texts to be sent. */
  drain(): string[] {
    return this.link?.drain() ?? [];
  }

  /** What the application is to hear. */
  drainEvents(): Event[] {
    const events = this.events;
    this.events = [];
    return events;
  }

  /** Time has passed. */
  tick(): void {
    this.events.push(...this.housekeeping.tick(this.now()));
    this.stores.slot.is.step();
    this.events.push(...(this.devices?.desk.tick(this.now(), this.isOnline) ?? []));
    if (this.link !== null) {
      this.handle(this.link, this.link.tick(this.given.monotonic()));
    }
    if (this.openLink !== null) {
      this.publish(this.openLink);
    }
    this.sendPending();
  }

  /** Milliseconds until `tick` has something to do; at most five seconds. */
  nextTick(): number {
    const now = this.given.monotonic();
    const times = [
      housekeeping.INTERVAL_MS,
      ...this.sending.waits(now),
      ...this.blocking.waits(now),
      ...this.housekeeping.waits(now),
      ...(this.devices?.waits(now) ?? []),
    ];
    if (this.link !== null) {
      times.push(this.link.nextTick(now), this.stores.acks.wait(now) ?? housekeeping.INTERVAL_MS);
    }
    if (this.isOnline) {
      times.push(this.preKeyUpload.wait(now));
    }
    return Math.max(10, Math.min(...times));
  }

  // --- in one place -------------------------------------------------------------

  private handle(link: Link, found: readonly LinkEvent[]): void {
    for (const event of found) {
      switch (event.kind) {
        case "logged-in":
          this.loggedIn(link);
          break;
        case "login-failed":
          this.events.push(this.reconnecting.loginFailed(event));
          break;
        case "lost":
          this.events.push(this.reconnecting.left(event.reason));
          break;
        case "pong":
          this.stores.acks.answered(event.request);
          break;
        case "frame":
          this.frame(link, event.frame);
          break;
      }
    }
    this.stores.slot.is.step();
    this.sendPending();
  }

  private frame(link: Link, frame: Extract<LinkEvent, { readonly kind: "frame" }>["frame"]): void {
    switch (frame.type) {
      case "PREKEY_STATUS":
        this.preKeyUpload.handle(frame, this.now());
        this.publish(link);
        break;
      case "BLOCK":
        this.blocking.done(frame, this.given.monotonic());
        break;
      case "ERROR":
        this.refused(frame);
        break;
      default:
        this.events.push(...this.receiving.receive(link, frame, this.now()));
    }
  }

  private loggedIn(link: Link): void {
    this.events.push(this.reconnecting.loggedIn());
    this.events.push(...this.clockCheck.compared(link.offset));
    this.housekeeping.hasten(); // what has expired meanwhile is erased now
    const [takesDates, takesLists] = [link.relayFeatures.has("suite2"), link.relayFeatures.has("devices")];
    this.preKeyUpload.connected(this.given.monotonic(), { takesDates, takesLists });
    this.stores.acks.connected();
    this.blocking.connected();
  }

  /** Go on with a publication of prekeys, if one is being made. */
  private publish(link: Link): void {
    const end = this.given.monotonic() + PUBLISH_MS;
    this.preKeyUpload.publish(link, this.given.monotonic(), () => this.given.monotonic() < end);
  }

  /** Each part knows its own requests. */
  private refused(error: ErrorFrame): void {
    const now = this.now();
    if (error.id !== undefined && error.id === this.reconnecting.deletion) {
      this.reconnecting.deletion = null;
      this.events.push(notices.notDeleted());
      return;
    }
    const refusal = this.sending.refused(error, now);
    if (refusal !== null) {
      if (refusal.failed !== null) {
        this.events.push(...this.receiving.failed(refusal.failed.messageId, now));
      }
      this.events.push(...refusal.events);
      return;
    }
    const warnings = this.blocking.refused(error, now.monotonic);
    if (warnings !== null) {
      this.events.push(...warnings);
    } else if (this.preKeyUpload.refused(error, now.monotonic)) {
      this.events.push(notices.prekeysRefused(error.payload.message));
    } else {
      this.stores.acks.refused(error, now.monotonic);
    }
  }

  /** Send whatever may be sent now. */
  private sendPending(): void {
    const link = this.openLink;
    const now = this.now();
    this.events.push(...(this.devices?.run(link, now) ?? []));
    if (link === null) {
      return;
    }
    this.preKeyUpload.tick(link, now.monotonic);
    const announcement = this.presence.toAnnounce();
    if (announcement !== null && this.sendPresence(link, announcement, now.monotonic)) {
      this.presence.announced();
    }
    this.stores.acks.tick(link, now.monotonic);
    this.blocking.tick(link, now.monotonic);
    this.events.push(...this.sending.sendPending(link, now));
  }

  /** Send it unless there were too many; whether it was sent. */
  private sendPresence(link: Link, frame: Extract<Unsent, { readonly type: "PRESENCE" }>, now: number): boolean {
    if (!this.sending.maySend(link, "PRESENCE", now)) {
      return false;
    }
    link.send(frame, now);
    return true;
  }
}
