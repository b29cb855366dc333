/** Key exchanges under way: a peer's prekeys are asked for, and a session is begun with them. */
import type { Random } from "../bytes.ts";
import { CryptoError, StaleBundle } from "../crypto/errors.ts";
import { keyPairFrom } from "../crypto/keys.ts";
import type { KeyPair, OwnIdentity } from "../crypto/keys.ts";
import type { PreKeyBundle } from "../crypto/prekeys.ts";
import { encodeBase64, fromBase64 } from "../wire/base64.ts";
import { ErrorCode } from "../wire/codes.ts";
import type { ErrorFrame, RoutedKeyExchangeResponse } from "../wire/frames.ts";
import { bundleOf } from "./bundles.ts";
import { ChangedKey, WeakBundle } from "./conversations.ts";
import type { PeerState } from "./conversations.ts";
import type { Link } from "./link.ts";
import type { Moment } from "./moment.ts";
import * as notices from "./notices.ts";
import { WARN_AGAIN_MS } from "./notices.ts";
import type { PauseNotices } from "./notices.ts";
import { asked, reasonOf, SOON_MS, WRONG_KEYS_MS } from "./pacing.ts";
import type { Pacing } from "./pacing.ts";
import { floorOf, mayLearn } from "./records.ts";
import type { Contact, Event, WarningEvent } from "./status.ts";
import type { Stores } from "./stores.ts";
import { unknown } from "./unknown.ts";

/** How long a key exchange may stay unanswered before it is begun again. */
export const EXCHANGE_MS = 20_000;

/** The same at first; it doubles. Somebody who begins at the same moment has published nothing yet. */
export const FIRST_EXCHANGE_MS = 2_000;

/** How long to wait before asking again for the keys of somebody of whom the relay gave weaker ones, or old ones. */
export const WEAK_AGAIN_MS = 600_000;

/**
 * A KEY_EXCHANGE_INIT or PREKEY_FETCH under way; `recovers`: for what could not be read, although there is a session.
 * `introduces`: the relay learns by it that we write to them. `toMany`: for a message to many, so that a session of
 * suite 1 is not enough.
 */
interface Exchange {
  readonly ephemeral: KeyPair;
  readonly since: number;
  /** How long it may stay unanswered. */
  readonly patience: number;
  readonly recovers: boolean;
  readonly introduces: boolean;
  readonly toMany: boolean;
}

/** What prekeys are asked for, beside a first session. */
export interface Wanted {
  readonly recovers?: boolean;
  readonly toMany?: boolean;
}

/** Asks for prekeys, and begins sessions. */
export class KeyExchanges {
  private readonly underWay = new Map<string, Exchange>();
  /** Users by the request that is under way. */
  private readonly requests = new Map<string, string>();
  /** Users of whom the relay gave weaker keys than must be, or old ones: when they are asked for again. */
  private readonly weakUntil = new Map<string, number>();
  /** What of that was said of these users; until better keys come, or the user does something. */
  private readonly told = new Map<string, Set<string>>();
  /** Users of whom the relay gave no keys of suite 2: when they are asked for again for a message to many. */
  private readonly olderUntil = new Map<string, number>();
  /** Users whose changed key was told. */
  private readonly warned = new Set<string>();
  /** Users who have lost the session that one writes to them in. */
  private readonly renewed = new Set<string>();

  /**
   * @param pacing counts frames
   * @param pauses warns of what waits
   */
  constructor(
    private readonly stores: Stores,
    private readonly identity: OwnIdentity,
    private readonly pacing: Pacing,
    private readonly pauses: PauseNotices,
    private readonly random: Random,
  ) {}

  /** What was under way will not be answered. */
  disconnected(): void {
    this.underWay.clear();
    this.requests.clear();
  }

  /** Milliseconds until each exchange under way is begun again, if it is not answered. */
  waits(now: number): number[] {
    return [...this.underWay.values()].map((one) => one.since + one.patience - now).filter((wait) => wait > 0);
  }

  /** Something about this user has changed: try again at once. */
  reset(peer: string): void {
    this.warned.delete(peer);
    this.olderUntil.delete(peer);
    this.noLongerWeak(peer);
  }

  /** What was begun for this user is of no use any more. */
  drop(peer: string): void {
    this.underWay.delete(peer);
    this.renewed.delete(peer);
  }

  /** They have lost the session that one writes to them in: nothing is sent until there is a new one. */
  renew(peer: string): void {
    this.renewed.add(peer);
  }

  /** Users with whom a new session is to be begun. */
  toRenew(): string[] {
    return [...this.renewed];
  }

  /** Whether this is one of `toRenew`. */
  isToBeRenewed(peer: string): boolean {
    return this.renewed.has(peer);
  }

  /** Whether the user was warned that this peer's key has changed, and has not decided yet. */
  hasChanged(peer: string): boolean {
    return this.warned.has(peer);
  }

  /** That the key of this user has changed, said once. */
  warnIfChanged(peer: Contact): WarningEvent[] {
    if (this.warned.has(peer.userId)) {
      return [];
    }
    this.warned.add(peer.userId);
    return [notices.keyChanged(peer)];
  }

  /** Ask a user with whom suite 1 is in use for dated prekeys, seldom: their program may have been updated. */
  learn(link: Link, peer: string, now: Moment): void {
    const { book, vault } = this.stores;
    const record = book.get(peer);
    if (!link.relayFeatures.has("suite2") || !mayLearn(record, now.persistent)) {
      return;
    }
    if (this.want(link, peer, now)) {
      vault.transaction((tx) => book.put(tx, { ...record, askedAt: now.persistent }));
    }
  }

  /**
   * Ask for the prekeys of a user, as soon as that may be; whether they are asked for now.
   *
   * Somebody whom the user does not know, and who is in a group with them, becomes no contact by it.
   */
  want(link: Link, peer: string, now: Moment, { recovers = false, toMany = false }: Wanted = {}): boolean {
    const exchange = this.underWay.get(peer);
    if (exchange !== undefined && this.isUnderWay(peer, now)) {
      this.underWay.set(peer, { ...exchange, recovers: exchange.recovers || recovers });
      return false;
    }
    if (
      !this.mayAsk(peer, now, { toMany }) ||
      !this.pacing.acquire("KEY_EXCHANGE", link.limit("KEY_EXCHANGE"), now.monotonic)
    ) {
      return false;
    }
    if (!this.stores.book.isKnown(peer) && this.stores.slot.is.askFor(link, peer, now)) {
      this.began(peer, now, { recovers, toMany, introduces: false });
      return true;
    }
    const ephemeral = this.began(peer, now, { recovers, toMany, introduces: true });
    const payload = {
      ephemeralKey: encodeBase64(ephemeral.public),
      identityKey: encodeBase64(this.identity.peer.public),
      targetId: peer,
    };
    for (const [request, asked] of this.requests) {
      if (asked === peer) {
        this.answered(request); // it never was
      }
    }
    this.requests.set(link.sendSigned({ type: "KEY_EXCHANGE_INIT", payload }, now.monotonic), peer);
    return true;
  }

  /** Whether a user's prekeys were asked for, and may still come. */
  isUnderWay(peer: string, now: Moment): boolean {
    const exchange = this.underWay.get(peer);
    return exchange !== undefined && now.monotonic - exchange.since < exchange.patience;
  }

  /** Whether a user's prekeys may be asked for now. */
  mayAsk(peer: string, now: Moment, { toMany }: { readonly toMany: boolean }): boolean {
    const isDue = (until: ReadonlyMap<string, number>): boolean => now.monotonic >= (until.get(peer) ?? now.monotonic);
    return isDue(this.weakUntil) && (!toMany || isDue(this.olderUntil)) && this.pacing.mayReach(peer, now.monotonic);
  }

  /** A user is asked for their prekeys, the more patiently the more often it was in vain; returns a key pair for it. */
  began(peer: string, now: Moment, what: Pick<Exchange, "recovers" | "toMany" | "introduces">): KeyPair {
    const before = this.underWay.get(peer);
    const ephemeral = keyPairFrom(this.random(32));
    const patience = before === undefined ? FIRST_EXCHANGE_MS : Math.min(2 * before.patience, EXCHANGE_MS);
    this.underWay.set(peer, { ephemeral, since: now.monotonic, patience, ...what });
    return ephemeral;
  }

  /** It was answered, and nothing has come of it; whether it was under way. */
  ended(peer: string): boolean {
    return this.underWay.delete(peer);
  }

  /** Prekeys of a peer have come. */
  receive(payload: RoutedKeyExchangeResponse["payload"], now: Moment): Event[] {
    const peer = payload.senderId;
    const exchange = this.underWay.get(peer);
    this.underWay.delete(peer);
    if (exchange === undefined) {
      return [];
    }
    const contact = this.stores.book.contact(peer);
    const state = this.stores.conversations.load(peer);
    let begins = false;
    let isOlder = false;
    try {
      const bundle = bundleOf(payload);
      isOlder = exchange.toMany && bundle.dated === null;
      begins = exchange.recovers || state.beginsWith(bundle);
      this.begin(state, begins ? bundle : null, exchange, now);
    } catch (error) {
      if (error instanceof ChangedKey) {
        return this.offered(payload, now);
      }
      if (error instanceof WeakBundle) {
        return this.putOff(notices.weakBundle(contact, error.strength, { hadBetter: error.hadBetter }), peer, now);
      }
      if (error instanceof StaleBundle) {
        return this.putOff(notices.staleBundle(contact), peer, now);
      }
      if (!(error instanceof CryptoError)) {
        throw error;
      }
      if (exchange.recovers || exchange.toMany || state.sending === null) {
        this.pacing.unknownPeer(peer, now.monotonic, WRONG_KEYS_MS);
      }
      return [notices.wrongBundle(contact, error.message)];
    }
    this.pacing.exists(peer);
    this.pauses.accepted(peer);
    this.noLongerWeak(peer);
    const events = isOlder ? this.tooOld(peer, now) : [];
    if (!begins) {
      return events;
    }
    this.renewed.delete(peer);
    return [...notices.allowedSession(this.stores.book.contact(peer), floorOf(this.stores.book.get(peer))), ...events];
  }

  /** No message to many can go to this user: ask again later, and say so the first time. */
  private tooOld(peer: string, now: Moment): Event[] {
    const isNews = !this.olderUntil.has(peer);
    this.olderUntil.set(peer, now.monotonic + WEAK_AGAIN_MS);
    return isNews ? [notices.tooOld(this.stores.book.contact(peer))] : [];
  }

  /** Keys have come that are not good enough now: ask again later, and say so the first time. */
  private putOff(warning: WarningEvent, peer: string, now: Moment): Event[] {
    this.weakUntil.set(peer, now.monotonic + WEAK_AGAIN_MS);
    const told = this.told.get(peer) ?? new Set();
    this.told.set(peer, told);
    if (told.has(warning.code)) {
      return [];
    }
    told.add(warning.code);
    return [warning];
  }

  /** This user may be asked for at once, and what is wrong then is news. */
  private noLongerWeak(peer: string): void {
    this.weakUntil.delete(peer);
    this.told.delete(peer);
  }

  /** Note that the relay has seen the exchange, and begin a session if there is a bundle for that. */
  private begin(state: PeerState, bundle: PreKeyBundle | null, exchange: Exchange, now: Moment): void {
    const { book, conversations, recovery, vault } = this.stores;
    const peer = state.contact.userId;
    vault.transaction((tx) => {
      if (bundle !== null) {
        conversations.begin(tx, state, bundle, exchange.ephemeral, { now: now.persistent, wall: now.wall });
      }
      if (exchange.recovers) {
        recovery.began(tx, peer, now.persistent, now.monotonic);
      }
      if (exchange.introduces && book.isKnown(peer)) {
        book.introduced(tx, peer); // whoever is asked by itself is no contact
      }
    });
  }

  /** Another key has come under a claimed id: the user must look at it first. */
  private offered(payload: RoutedKeyExchangeResponse["payload"], now: Moment): Event[] {
    const { book, conversations, vault } = this.stores;
    const peer = payload.senderId;
    vault.transaction((tx) => conversations.noteOffered(tx, peer, fromBase64(payload.identityKey)));
    this.warned.add(peer);
    this.pacing.pausePeer(peer, now.monotonic + WARN_AGAIN_MS);
    return [notices.keyChanged(book.contact(peer))];
  }

  /** A request was answered directly, so it will not be refused. */
  answered(request: string | undefined): void {
    if (request !== undefined) {
      this.requests.delete(request);
    }
  }

  /** An error has come; null if it was for none of these. */
  refused(error: ErrorFrame, now: Moment): Event[] | null {
    const peer = this.requests.get(error.id ?? "");
    if (peer === undefined) {
      return null;
    }
    this.answered(error.id);
    this.underWay.delete(peer);
    const wait = Math.max(asked(error.payload.retryAfter, EXCHANGE_MS), SOON_MS);
    if (error.payload.code === ErrorCode.USER_NOT_FOUND) {
      const isNews = this.pacing.unknownPeer(peer, now.monotonic);
      return isNews ? [unknown(this.stores, peer)] : [];
    }
    if (error.payload.code === ErrorCode.RATE_LIMITED && reasonOf(error) !== "backlog") {
      this.pacing.pause("KEY_EXCHANGE", now.monotonic + wait);
    } else {
      this.pacing.pausePeer(peer, now.monotonic + wait);
    }
    return this.pauses.refused(peer, this.stores.outbox.texts(peer), wait, now.monotonic);
  }
}
