/**
 * Messages to many leave: encrypted once, with a head for each recipient, in as few frames as may be.
 *
 * Ratchets, heads and what they are for are stored in one transaction before a frame is sent. Whoever cannot be written
 * to now, for lack of a session or because something is in flight to them, gets their copy later, under the same
 * message id. A relay that does not know MESSAGE_MANY gets a MESSAGE for each.
 */
import { concat, isEqual, NO_BYTES } from "../../bytes.ts";
import * as body from "../../crypto/body.ts";
import { begin } from "../../crypto/head.ts";
import { pad } from "../../crypto/padding.ts";
import { KEY_BYTES, NONCE_BYTES, sha256, TAG_BYTES } from "../../crypto/primitives.ts";
import { HEADER_BYTES } from "../../crypto/ratchet.ts";
import { SUITE } from "../../crypto/session2.ts";
import type { Session2 } from "../../crypto/session2.ts";
import { decodeBase64, encodeBase64 } from "../../wire/base64.ts";
import { encode } from "../../wire/codec.ts";
import { ErrorCode } from "../../wire/codes.ts";
import { Feature } from "../../wire/frames.ts";
import type { ErrorFrame, ManyResult, MessageMany } from "../../wire/frames.ts";
import { envelopeBytes } from "../../wire/signing.ts";
import { LEAST_PADDED } from "../content.ts";
import type { PeerState } from "../conversations.ts";
import type { ExtensionPorts } from "../extension.ts";
import type { Link } from "../link.ts";
import type { Moment } from "../moment.ts";
import * as notices from "../notices.ts";
import { reasonOf } from "../pacing.ts";
import { quoted } from "../sanitize.ts";
import type { Refusal } from "../sending.ts";
import { DeliveryState } from "../status.ts";
import type { Event } from "../status.ts";
import type { Transaction } from "../vault.ts";
import { againLast, hasRoom, isAgain } from "./again.ts";
import { Allowances } from "./allowances.ts";
import { expanded } from "./expanded.ts";
import type { Fetching } from "./fetching.ts";
import type { Listener, Ordered } from "./listener.ts";
import * as packing from "./packing.ts";
import type { CopyRecord, ManyRecord } from "./records.ts";
import { isUnordered, KEEP_MS, newMessage, withCopies } from "./store.ts";
import type { ManyMessage, ManyStore } from "./store.ts";

/**
 * How long a message waits for recipients to whom something is in flight: so that one frame is enough for all, now and
 * for what follows. With an order it waits for all who are busy, so that it reaches all mailboxes with the order; and
 * for anybody at all, if nobody can be written to. Then the revision goes to the relay alone, and the copies later.
 */
export const WAITS_MS = 5_000;

/** How long an answer is waited for: then a frame is sent again, which the relay takes for what it is. */
export const UNANSWERED_MS = 120_000;

const NO_ORDER = "the relay cannot keep the order of changes; it must be updated first";

/** Copies of a message that were sent in one frame; `at`: when, in monotonic milliseconds. */
interface Flight {
  readonly messageId: string;
  readonly peers: readonly string[];
  readonly at: number;
  readonly isOrdered: boolean;
}

/** How long what the relay has for an author's name is. */
const AUTHOR_BYTES = 16;

/** A recipient whose copy may leave now; `state` and `session` are null if it is encrypted already. */
interface Part {
  readonly copy: CopyRecord;
  readonly state: PeerState | null;
  readonly session: Session2 | null;
}

/** A refusal, and the relay's sentence. */
type Refused = Refusal & { readonly message: string };

/** Sends what waits for many. */
export class SendingMany {
  readonly #ports: ExtensionPorts;
  readonly #store: ManyStore;
  readonly #fetching: Fetching;
  readonly #listeners = new Map<string, Listener>();
  readonly #requests = new Map<string, Flight>();
  readonly allowances = new Allowances();
  /** Messages with an order that wait for somebody who is busy. */
  readonly #waitsSince = new Map<string, number>();

  constructor(ports: ExtensionPorts, store: ManyStore, fetching: Fetching) {
    this.#ports = ports;
    this.#store = store;
    this.#fetching = fetching;
  }

  /** Tell a part of the client of the messages that it sends; before any can be answered. */
  listen(purpose: string, listener: Listener): void {
    this.#listeners.set(purpose, listener);
  }

  /** What was under way will not be answered. */
  disconnected(): void {
    this.allowances.disconnected();
    this.#requests.clear();
    this.#waitsSince.clear();
    this.#store.disconnected();
  }

  /** Milliseconds until each thing that waits for a time. */
  waits(now: number): number[] {
    const times = [...this.#waitsSince.values()].map((since) => since + WAITS_MS);
    const answers = [...this.#requests.values()].map(({ at }) => at + UNANSWERED_MS);
    const waits = [...times, ...answers].map((at) => at - now).filter((wait) => wait > 0);
    return [...waits, ...this.#fetching.waits(now)];
  }

  /** Store a message, and encrypt it for those to whom `send` would send it at once. */
  put(tx: Transaction, link: Link | null, record: ManyRecord, recipients: readonly string[], now: Moment): void {
    let message = newMessage(record, recipients, now.persistent);
    if (link?.relayFeatures.has(Feature.MANY) === true && record.order === null) {
      message = this.#seal(tx, message, this.#firstOnes(link, message, now));
    }
    this.#store.add(tx, message);
  }

  /** Of a new message, those to whom it would be sent at once. */
  #firstOnes(link: Link, message: ManyMessage, now: Moment): Part[] {
    const { sending, stores } = this.#ports;
    if (!sending.pacing.maySend("MESSAGE", now.monotonic) || this.#waitsForAnswers(message, now)) {
      return [];
    }
    const isFree = (peer: string): boolean => !stores.outbox.isWaitingFor(peer) && this.#store.count(peer) === 0;
    const room = sending.pacing.free("MESSAGE", link.limit("MESSAGE"), now.monotonic);
    const { parts } = this.#parts(message, [...message.copies.keys()].filter(isFree), now);
    return this.#frames(message, parts, now).slice(0, Math.max(0, room)).flat();
  }

  /** Send whatever may be sent now. */
  send(link: Link, now: Moment): Event[] {
    this.#giveUp(now);
    if (this.#store.count() === 0) {
      return [];
    }
    const events: Event[] = [];
    const { outbox } = this.#ports.stores;
    const { pacing } = this.#ports.sending;
    for (const [message, peers] of againLast(this.#store.ready((peer) => outbox.isAhead(peer)))) {
      if (!pacing.maySend("MESSAGE", now.monotonic) || (isAgain([message, peers]) && !hasRoom(pacing, link, now))) {
        break;
      }
      const isOver = message.expiresAt !== null && message.expiresAt <= now.persistent;
      if (!isOver) {
        events.push(...this.#send(link, message, peers, now));
      }
    }
    return events;
  }

  /** Wait no longer for answers that do not come: nothing else would go to these users while this lasts. */
  #giveUp(now: Moment): void {
    for (const [request, { at, messageId, peers }] of [...this.#requests]) {
      if (now.monotonic - at >= UNANSWERED_MS) {
        this.#requests.delete(request);
        this.#store.givenUp(messageId, peers);
      }
    }
  }

  // --- one message --------------------------------------------------------------

  #send(link: Link, message: ManyMessage, ready: readonly string[], now: Moment): Event[] {
    const knowsMany = link.relayFeatures.has(Feature.MANY);
    const events: Event[] = [];
    let peers = ready;
    if (isUnordered(message)) {
      if (!knowsMany) {
        return this.#settle(message, { is: "refused", reason: NO_ORDER }, now);
      }
      if ([...this.#requests.values()].some(({ messageId }) => messageId === message.record.messageId)) {
        return [];
      }
    } else {
      const gone = this.#forNobody(message, peers, now);
      events.push(...this.#dropped(message, gone, now));
      peers = peers.filter((peer) => !gone.includes(peer));
    }
    events.push(...this.#warnOfChanged(peers));
    if (this.#waitsForAnswers(message, now)) {
      return events;
    }
    const { parts, withoutSession } = this.#parts(message, peers, now);
    this.#fetching.want(link, withoutSession, now);
    if (isUnordered(message) && this.#waitsForSomebody(message, parts, now)) {
      return events;
    }
    if (!knowsMany) {
      this.#sendSingly(link, message, parts, now);
      return events;
    }
    const frames = this.#frames(message, parts, now);
    for (const together of frames.length === 0 && isUnordered(message) ? [[]] : frames) {
      if (!this.#maySend(link, together, now)) {
        break;
      }
      this.#sendFrame(link, message, together, now);
      if (isUnordered(message)) {
        break; // the rest only once the relay has taken the revision
      }
    }
    return events;
  }

  /** Those of these users whom the relay does not know, and for whom no copy need be kept, or not any longer. */
  #forNobody({ at, record: { conversationId, purpose } }: ManyMessage, peers: readonly string[], now: Moment): string[] {
    const listener = this.#listeners.get(purpose);
    const unknown = peers.filter((peer) => this.#ports.sending.pacing.isUnknown(peer));
    if (now.persistent - at >= KEEP_MS) {
      return unknown;
    }
    return unknown.filter((peer) => listener?.waitsFor?.(conversationId, peer) === false);
  }

  /** These are sent no copy any more. */
  #dropped({ record }: ManyMessage, peers: readonly string[], now: Moment): Event[] {
    if (peers.length === 0) {
      return [];
    }
    return this.#ports.stores.vault.transaction((tx) => {
      const failed = this.#store.failed(tx, record.messageId, peers);
      return this.#advanced(tx, record, failed, DeliveryState.FAILED, now);
    });
  }

  /** Whether an answer of the relay will soon let more recipients have their copies in the same frame. */
  #waitsForAnswers({ copies, record }: ManyMessage, now: Moment): boolean {
    const since = now.monotonic - WAITS_MS;
    return [...copies].some(([peer, { waits }]) => waits && this.#store.isSoonItsTurn(record.messageId, peer, since));
  }

  /**
   * Whether a message with an order waits a while: for those who are only busy now, or for anybody at all.
   *
   * Whom the relay does not know is not waited for: their account may be gone for good.
   */
  #waitsForSomebody({ copies, record }: ManyMessage, parts: readonly Part[], now: Moment): boolean {
    const { sending, stores } = this.#ports;
    const nowOnes = new Set(parts.map(({ copy }) => copy.peer));
    const isSoon = [...copies].some(
      ([peer, { waits }]) =>
        waits &&
        !nowOnes.has(peer) &&
        (sending.exchanges.isUnderWay(peer, now) ||
          (!sending.pacing.isUnknown(peer) &&
            (parts.length === 0 || stores.outbox.isAhead(peer) || this.#store.isBusy(peer)))),
    );
    const since = this.#waitsSince.get(record.messageId) ?? now.monotonic;
    this.#waitsSince.set(record.messageId, since);
    return isSoon && now.monotonic - since < WAITS_MS;
  }

  #warnOfChanged(peers: readonly string[]): Event[] {
    const { sending, stores } = this.#ports;
    const changed = peers.map((peer) => stores.book.contact(peer)).filter(({ trust }) => trust === "changed");
    return changed.flatMap((contact) => sending.exchanges.warnIfChanged(contact));
  }

  /** Those of these users whose copy may leave now, and those with whom there is no session for it. */
  #parts(message: ManyMessage, peers: readonly string[], now: Moment): { parts: Part[]; withoutSession: string[] } {
    const parts: Part[] = [];
    const withoutSession: string[] = [];
    for (const peer of peers) {
      const copy = message.copies.get(peer);
      if (copy === undefined || !this.#mayReach(copy, now)) {
        continue;
      }
      if (copy.head.length > 0) {
        parts.push({ copy, state: null, session: null });
        continue;
      }
      const state = this.#ports.stores.conversations.load(peer);
      const session = sendingToMany(state);
      if (session === null) {
        withoutSession.push(peer);
      } else {
        parts.push({ copy, state, session });
      }
    }
    return { parts, withoutSession };
  }

  #mayReach({ peer, resends }: CopyRecord, now: Moment): boolean {
    const { sending, stores } = this.#ports;
    return (
      sending.pacing.mayReach(peer, now.monotonic) &&
      stores.book.get(peer).trust !== "changed" &&
      !sending.exchanges.isToBeRenewed(peer) &&
      !(resends > 0 && sending.visibility.isHiddenFrom(peer) && !this.#store.isFor(peer))
    );
  }

  // --- frames -------------------------------------------------------------------

  /** Recipients divided into frames. */
  #frames(message: ManyMessage, parts: readonly Part[], now: Moment): Part[][] {
    const common = packing.base64Chars(bodyOf(message.record).length);
    const bare = {
      id: "0".repeat(20),
      payload: payloadOf(message, "", [], now),
      signature: "0".repeat(packing.SIGNATURE_CHARS),
      timestamp: Number.MAX_SAFE_INTEGER,
      type: "MESSAGE_MANY",
    } as const;
    const sized = parts.map((part) => {
      return [part, { head: packing.base64Chars(headBytes(part)), recipient: part.copy.peer.length }] as const;
    });
    return packing.packed(sized, { fixed: encode(bare).length + common, common });
  }

  /** Count a frame for these, unless the relay would refuse it now. */
  #maySend(link: Link, parts: readonly Part[], { monotonic }: Moment): boolean {
    const { pacing } = this.#ports.sending;
    const limit = link.limit("MESSAGE");
    const only = parts.length === 1 ? (parts[0]?.copy.peer ?? "") : "";
    return (
      pacing.maySend("MESSAGE", monotonic) &&
      (this.allowances.left(only, monotonic) > 0 || pacing.free("MESSAGE", limit, monotonic) > 0) &&
      pacing.acquire("RECIPIENTS", link.limit("RECIPIENTS"), monotonic, parts.length) &&
      (this.allowances.take(only, monotonic) || pacing.acquire("MESSAGE", limit, monotonic))
    );
  }

  /** The message with heads for these; their ratchets are stored here, the message by whoever calls. */
  #seal(tx: Transaction, message: ManyMessage, parts: readonly Part[]): ManyMessage {
    const digest = sha256(bodyOf(message.record));
    const changed = parts.flatMap(({ copy, state, session }) => {
      if (state === null || session === null) {
        return [];
      }
      const head = this.#ports.stores.conversations.sealHead(tx, state, session, message.record.key, digest);
      return [{ ...copy, head, key: session.peer.public }];
    });
    return changed.length > 0 ? withCopies(message, changed) : message;
  }

  /** The message with heads for these, stored. */
  #withHeads(message: ManyMessage, parts: readonly Part[]): ManyMessage {
    if (parts.every(({ copy }) => copy.head.length > 0)) {
      return message;
    }
    return this.#ports.stores.vault.transaction((tx) => {
      // Of the frames before, some may be in flight; what is stored is what memory holds.
      const sealed = this.#seal(tx, this.#store.waiting(message.record.messageId) ?? message, parts);
      this.#store.put(tx, sealed);
      return sealed;
    });
  }

  #sendFrame(link: Link, given: ManyMessage, parts: readonly Part[], now: Moment): void {
    const message = this.#withHeads(given, parts);
    const peers = parts.map(({ copy }) => copy.peer);
    const common = encodeBase64(bodyOf(message.record));
    const timestamp = link.relayTime(now.monotonic);
    const whole = payloadOf(message, common, [], now);
    const textFor = expanded(whole, timestamp);
    const recipients = peers.map((recipientId) => {
      const head = encodeBase64(message.copies.get(recipientId)?.head ?? new Uint8Array());
      const signature = this.#ports.identity.sign(envelopeBytes(textFor(head, recipientId)));
      return { head, recipientId, signature: encodeBase64(signature) };
    });
    const request = link.sendSigned({ type: "MESSAGE_MANY", payload: { ...whole, recipients } }, now.monotonic);
    this.#store.tookOff(message, peers, now.monotonic);
    const { messageId } = message.record;
    this.#requests.set(request, { messageId, peers, at: now.monotonic, isOrdered: isUnordered(message) });
  }

  /** One MESSAGE for each: what a relay makes of a MESSAGE_MANY. */
  #sendSingly(link: Link, given: ManyMessage, parts: readonly Part[], now: Moment): void {
    let message = given;
    for (const part of parts) {
      const { peer } = part.copy;
      if (!this.allowances.take(peer, now.monotonic) && !this.#ports.sending.maySend(link, "MESSAGE", now.monotonic)) {
        return;
      }
      message = this.#withHeads(message, [part]);
      const { conversationId, messageId, metadata } = payloadOf(message, "", [], now);
      const head = message.copies.get(peer)?.head ?? new Uint8Array();
      const encrypted = encodeBase64(concat(head, bodyOf(message.record)));
      const named = metadata === undefined ? {} : { metadata };
      const payload = { conversationId, encrypted, messageId, recipientId: peer, ...named };
      const request = link.sendSigned({ type: "MESSAGE", payload }, now.monotonic);
      this.#store.tookOff(message, [peer], now.monotonic);
      this.#requests.set(request, { messageId, peers: [peer], at: now.monotonic, isOrdered: false });
    }
  }

  // --- answers ------------------------------------------------------------------

  /** The relay has a copy that was sent by itself, and says so; what names another one answers nothing. */
  answered(request: string, messageId: string, peer: string): void {
    const flight = this.#requests.get(request);
    const isIts = flight?.messageId === messageId && flight.peers.length === 1 && flight.peers[0] === peer;
    if (isIts) this.#requests.delete(request);
  }

  /** The relay has a message, and has said for whom not. */
  result(frame: ManyResult, now: Moment): Event[] {
    const { messageId, refused } = frame.payload;
    const flight = this.#requests.get(frame.id ?? "")?.messageId === messageId ? this.#taken(frame.id) : null;
    if (flight === null) {
      return [];
    }
    const message = this.#store.waiting(messageId);
    const events: Event[] = [];
    if (message !== null && flight.isOrdered && isUnordered(message)) {
      events.push(...this.#settle(message, { is: "taken" }, now));
    }
    const parts = new Map(refused.map((part) => [part.recipientId, part]));
    const gone = flight.peers.filter((peer) => parts.has(peer));
    const taken = flight.peers.filter((peer) => !parts.has(peer));
    taken.forEach((peer) => this.#ports.sending.exists(peer));
    events.push(...this.accepted(messageId, taken, now));
    for (const peer of gone) {
      const { code = 0, reason = "", retryAfter } = parts.get(peer) ?? {};
      events.push(...this.#copyRefused(messageId, peer, { code, reason, message: reason, retryAfter }, now));
    }
    this.#store.landed(flight.peers);
    return events;
  }

  #taken(request: string | undefined): Flight | null {
    const flight = this.#requests.get(request ?? "") ?? null;
    this.#requests.delete(request ?? "");
    return flight;
  }

  /** The relay has the copies for these users. */
  accepted(messageId: string, peers: readonly string[], now: Moment): Event[] {
    const message = this.#store.waiting(messageId);
    if (message === null) {
      this.#store.landed(peers);
      return [];
    }
    const { stores } = this.#ports;
    const events = stores.vault.transaction((tx) => {
      const news = this.#store.accepted(tx, messageId, peers, now.persistent);
      if (!message.record.group) {
        for (const peer of peers) {
          stores.book.introduced(tx, peer);
        }
      }
      return this.#advanced(tx, message.record, news, DeliveryState.ACCEPTED, now);
    });
    this.#store.landed(peers);
    return events;
  }

  /** An error has come; null if it was for none of these. */
  refused(error: ErrorFrame, now: Moment): Event[] | null {
    const flight = this.#taken(error.id);
    if (flight === null) {
      return null;
    }
    this.#store.landed(flight.peers);
    const message = this.#store.waiting(flight.messageId);
    if (message === null) {
      return [];
    }
    const outcome = flight.isOrdered && isUnordered(message) ? outcomeOf(error) : null;
    if (outcome !== null) {
      return this.#settle(message, outcome, now);
    }
    const refusal = { ...error.payload, reason: reasonOf(error) };
    const peers = flight.peers.filter((peer) => message.copies.get(peer)?.waits === true);
    const [first] = flight.peers.length === 0 ? message.copies.keys() : peers;
    if (first === undefined) {
      return [];
    }
    if (peers.length === 1) {
      return this.#copyRefused(flight.messageId, first, refusal, now);
    }
    const events = this.#ports.sending.judge(first, refusal, now, { waitsForUser: false });
    return events ?? peers.flatMap((peer) => this.#copyFailed(flight.messageId, peer, refusal, now));
  }

  /** A recipient has said how far their copy has come. */
  follow(tx: Transaction, messageId: string, peer: string, state: DeliveryState, now: Moment): Event[] {
    const message = this.#store.advance(tx, messageId, peer, state);
    return message === null ? [] : this.#advanced(tx, message.record, [peer], state, now);
  }

  #advanced(
    tx: Transaction,
    { messageId, purpose }: ManyRecord,
    peers: readonly string[],
    state: DeliveryState,
    now: Moment,
  ): Event[] {
    const listener = this.#listeners.get(purpose);
    return peers.flatMap((peer) => listener?.advanced(tx, messageId, peer, state, now) ?? []);
  }

  /** The relay does not take a copy now, or for good; unless it has taken it, or its recipient has it. */
  #copyRefused(messageId: string, peer: string, refusal: Refused, now: Moment): Event[] {
    if (this.#store.waiting(messageId)?.copies.get(peer)?.waits !== true) {
      return [];
    }
    const events = this.#ports.sending.judge(peer, refusal, now, { waitsForUser: true });
    return events ?? this.#copyFailed(messageId, peer, refusal, now);
  }

  /** The relay will never take a copy. */
  #copyFailed(messageId: string, peer: string, refusal: Refused, now: Moment): Event[] {
    const message = this.#store.waiting(messageId);
    if (message === null) {
      return []; // it has failed for all of them by now
    }
    const { stores } = this.#ports;
    return stores.vault.transaction((tx) => {
      const failed = this.#store.failed(tx, messageId, [peer]);
      const events = this.#advanced(tx, message.record, failed, DeliveryState.FAILED, now);
      return [...events, ...failed.map((one) => notices.refused(stores.book.contact(one), refusal.message))];
    });
  }

  /** It is known what has become of a revision; the message goes, unless the relay has taken it. */
  #settle({ record }: ManyMessage, outcome: Ordered, now: Moment): Event[] {
    const events = this.#ports.stores.vault.transaction((tx) => {
      if (outcome.is === "taken") {
        this.#store.tookOrder(tx, record.messageId);
      } else {
        this.#store.remove(tx, record.messageId);
      }
      return this.#listeners.get(record.purpose)?.ordered(tx, record.messageId, outcome, now) ?? [];
    });
    this.#waitsSince.delete(record.messageId);
    return events;
  }
}

/** The session with a peer that has bodies which others can read, too: one of suite 2; null if there is none. */
function sendingToMany({ contact, stored }: PeerState): Session2 | null {
  for (const found of stored) {
    const isUsable = found.ratchet.cks !== null && (contact.key.length === 0 || isEqual(contact.key, found.peer.public));
    if (found.suite === SUITE && isUsable) {
      return found;
    }
  }
  return null;
}

/** How long the head of a part is, or will be. */
function headBytes({ copy, session }: Part): number {
  const fixed = HEADER_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
  return session === null ? copy.head.length : begin(session.kem.carried).length + fixed;
}

/** What an error says of an order; null if the frame may be sent again. */
function outcomeOf(error: ErrorFrame): Ordered | null {
  const { code, details, message } = error.payload;
  const reason = reasonOf(error);
  if (code === ErrorCode.INVALID_MESSAGE && reason === "order") {
    const revision = details?.["revision"];
    const isRevision = typeof revision === "number" && Number.isInteger(revision) && revision > 0 && revision < 2 ** 32;
    const author = details?.["author"];
    const known = typeof author === "string" ? decodeBase64(author) : null;
    return { is: "stale", revision: isRevision ? revision : null, author: known?.length === AUTHOR_BYTES ? known : NO_BYTES };
  }
  if (code === ErrorCode.UNAUTHORIZED && (reason === "order" || reason === "writer")) {
    return { is: "denied" };
  }
  const isLater = code === ErrorCode.RATE_LIMITED || code === ErrorCode.INTERNAL_ERROR || reason === "clock";
  return isLater ? null : { is: "refused", reason: quoted(message) };
}

/** The body, the same whenever it is made: of one content under one key. */
function bodyOf({ content, key }: ManyRecord): Uint8Array {
  return body.seal(pad(content, LEAST_PADDED, body.MAX_PADDED), key);
}

function payloadOf(
  message: ManyMessage,
  common: string,
  recipients: MessageMany["payload"]["recipients"],
  now: Moment,
): MessageMany["payload"] {
  const { record, expiresAt } = message;
  const { conversationId, messageId, group, order, burn, expiresIn } = record;
  // Once somebody has the message, its time runs for all.
  const left = expiresAt === null ? expiresIn : Math.max(1, expiresAt - now.persistent);
  const metadata = { ...(burn ? { burnAfterRead: true } : {}), ...(left === null ? {} : { expiresIn: left }) };
  const brings = isUnordered(message) && order !== null ? { order: { ...order, name: encodeBase64(order.name) } } : {};
  return {
    common,
    conversationId,
    messageId,
    ...(group ? { group } : {}),
    ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
    ...brings,
    recipients,
  };
}
