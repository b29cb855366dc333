/**
 * Encrypted sessions with peers: begin, seal, open. Synchronous, on one vault.
 *
 * Each step that changes a ratchet is part of the transaction that stores what it was for: so a message is never
 * encrypted twice with one key, and never acknowledged before it is stored.
 */
import { compare, isEqual } from "../bytes.ts";
import type { Random } from "../bytes.ts";
import { CryptoError, InvalidKey, InvalidSignature, UndecryptableMessage } from "../crypto/errors.ts";
import { encodeHandshake, respond as respond1 } from "../crypto/handshake.ts";
import type { HandshakeHeader } from "../crypto/handshake.ts";
import { respond as respond2 } from "../crypto/handshake2.ts";
import { PeerIdentity } from "../crypto/keys.ts";
import type { KeyPair, OwnIdentity } from "../crypto/keys.ts";
import type { PreKeyBundle } from "../crypto/prekeys.ts";
import { sha256 } from "../crypto/primitives.ts";
import { isChainOf, MAX_SKIPPED_KEYS, reach, skippedName } from "../crypto/ratchet.ts";
import * as session1 from "../crypto/session.ts";
import * as session2 from "../crypto/session2.ts";
import { decrypt, encrypt, parse, pendingOf } from "../crypto/suites.ts";
import type { AnyParsed, AnySession } from "../crypto/suites.ts";
import { encodeBase64, fromBase64 } from "../wire/base64.ts";
import { original, signedText } from "../wire/codec.ts";
import type { RoutedMessage } from "../wire/frames.ts";
import { envelopeBytes } from "../wire/signing.ts";
import type { AddressBook } from "./address_book.ts";
import { receiptOf } from "./content.ts";
import type { Between, Claim, Ends, Newer, Outcomes, Said } from "./content.ts";
import { NO_MORE_KINDS } from "./content2.ts";
import type { MoreKinds } from "./content2.ts";
import * as contentSuites from "./content_suites.ts";
import type { PreKeyStore } from "./prekey_store.ts";
import * as records from "./records.ts";
import { floorOf, hadBetter, isKnown, isSameContact, seenWith, Strength } from "./records.ts";
import type { ContactRecord, OutboxRecord } from "./records.ts";
import { Sessions } from "./sessions.ts";
import type { StoredSessions } from "./sessions.ts";
import type { Transaction, Vault } from "./vault.ts";

export { conversationId } from "./ids.ts";

/** Sessions kept with a peer: the one in use, and older ones for messages still under way. */
export const MAX_SESSIONS = 5;

/** The same for a stranger, whose messages must not make us try, and store, more. */
export const MAX_STRANGER_SESSIONS = 3;

/** Skipped keys kept of a stranger, and how far one of their messages may jump ahead. */
export const MAX_STRANGER_SKIPPED_KEYS = 50;

/** Sessions that a message is tried on, if its header does not say which one it is of. */
export const MAX_TRIES = 3;

/** For how long somebody who writes in suite 1 is believed not to know yet of the session of suite 2 with them. */
export const UNANSWERED_MS = 86_400_000;

/** Ids of this length certify their key; others are claimed, and bound to the first key that was seen. */
export const CERTIFIED_ID_BYTES = 32;

/** A claimed id has another key than before; nothing is sent until the user has accepted it. */
export class ChangedKey extends InvalidKey {}

/**
 * A bundle with which no session can begin that is safe enough, and the user has not said that one will do.
 *
 * `strength`: what it would be. `hadBetter`: this user's program had more before.
 */
export class WeakBundle extends CryptoError {
  readonly strength: Strength;
  readonly hadBetter: boolean;

  constructor(strength: Strength, { hadBetter }: { readonly hadBetter: boolean }) {
    super("the keys are weaker than they must be");
    this.strength = strength;
    this.hadBetter = hadBetter;
  }
}

/** A message that was decrypted and believed. */
export interface Opened {
  readonly content: Said | Between | Newer;
  /** Its sender's. */
  readonly key: Uint8Array;
  /** One that was written after it has come before it. */
  readonly late: boolean;
  /** It began a session. */
  readonly isNew: boolean;
  /** Its sender has the key that the user knows. */
  readonly isKnown: boolean;
  /** Of its session. */
  readonly strength: Strength;
  /** That is one that nothing may be sent in. */
  readonly isWeak: boolean;
  /** It is in suite 1, and its sender had written in suite 2 before. */
  readonly hasFallen: boolean;
  /** It is in suite 1, and its sender may not know yet that suite 2 was begun with them. */
  readonly lags: boolean;
}

/** How many sessions, and how many skipped keys, are kept of a user. */
interface Budget {
  readonly most: number;
  readonly mostSkipped: number;
}

/** What is known of a peer, and the sessions with them: loaded once for each step. */
export class PeerState {
  readonly contact: ContactRecord;
  readonly stored: StoredSessions;

  constructor(contact: ContactRecord, stored: StoredSessions) {
    this.contact = contact;
    this.stored = stored;
  }

  /** The sessions, the one in use first. */
  get sessions(): readonly AnySession[] {
    return this.stored.all;
  }

  /** The first that can send, that is with the key which the user knows, and as safe as it must be; or null. */
  get sending(): AnySession | null {
    const { key } = this.contact;
    for (const found of this.stored) {
      const isUsable = found.ratchet.cks !== null && (key.length === 0 || isEqual(key, found.peer.public));
      if (isUsable && strengthOf(found) >= floorOf(this.contact)) {
        return found;
      }
    }
    return null;
  }

  /** Whether a session is to begin with these keys: there is none, or it would be of a later suite. */
  beginsWith(bundle: PreKeyBundle): boolean {
    const current = this.sending;
    return current === null || (bundle.dated !== null && current.suite !== session2.SUITE);
  }

  get budget(): Budget {
    return isKnown(this.contact)
      ? { most: MAX_SESSIONS, mostSkipped: MAX_SKIPPED_KEYS }
      : { most: MAX_STRANGER_SESSIONS, mostSkipped: MAX_STRANGER_SKIPPED_KEYS };
  }
}

/** All sessions of one identity. Times are milliseconds of persistent time unless stated. */
export class Conversations {
  readonly #vault: Vault;
  readonly #book: AddressBook;
  readonly #identity: OwnIdentity;
  readonly #ownId: Uint8Array;
  readonly #prekeys: PreKeyStore;
  readonly #random: Random;
  readonly #sessions: Sessions;
  /** What every content says of one's own device list. */
  claim: () => Claim | null = () => null;
  /** What contents may be of besides. */
  more: MoreKinds = NO_MORE_KINDS;

  constructor(vault: Vault, book: AddressBook, identity: OwnIdentity, prekeys: PreKeyStore, random: Random) {
    this.#vault = vault;
    this.#book = book;
    this.#identity = identity;
    this.#ownId = identity.peer.userId;
    this.#prekeys = prekeys;
    this.#random = random;
    this.#sessions = new Sessions(vault);
  }

  /** What is known of a peer now. */
  load(peer: string): PeerState {
    return new PeerState(this.#book.get(peer), this.#sessions.load(peer));
  }

  /** Whether something can be sealed for this peer now. */
  hasSession(peer: string): boolean {
    return this.load(peer).sending !== null;
  }

  /**
   * Start a session with the owner of a bundle, and use it from now on: of suite 2 if the bundle is dated.
   *
   * Throws ChangedKey if a claimed id has another key than before (`noteOffered` it); WeakBundle if the session would
   * be weaker than it must be with this peer; StaleBundle if the bundle is not of this time, or older than one that was
   * used before; another CryptoError if it is not this peer's, or not in order.
   *
   * @param ephemeral fresh, for this session alone
   * @param now persistent time, and `wall` milliseconds since 1970
   */
  begin(
    tx: Transaction,
    state: PeerState,
    bundle: PreKeyBundle,
    ephemeral: KeyPair,
    now: { readonly now: number; readonly wall: number },
  ): void {
    const { contact } = state;
    checkCertified(contact.userId, bundle.identity);
    const started = this.#started(contact, bundle, ephemeral, now);
    if (contact.key.length > 0 && !isEqual(contact.key, bundle.identity.public)) {
      throw new ChangedKey("the key behind this id is another one than before");
    }
    const strength = strengthOf(started);
    if (strength < floorOf(contact)) {
      throw new WeakBundle(strength, { hadBetter: hadBetter(contact, strength) });
    }
    const dated = bundle.dated === null ? contact : { ...contact, newest: bundle.dated.madeAt };
    this.#noteKey(tx, dated, bundle.identity.public, { inUse: started, seen: strength });
    this.#store(tx, state, [started, ...state.sessions]);
  }

  #started(
    contact: ContactRecord,
    bundle: PreKeyBundle,
    ephemeral: KeyPair,
    { now, wall }: { readonly now: number; readonly wall: number },
  ): AnySession {
    const ends = { ownId: this.#ownId, random: this.#random };
    if (bundle.dated === null) {
      return session1.start(this.#identity, bundle, ephemeral, { ...ends, peerId: fromBase64(contact.userId) });
    }
    // A claimed id with another key is another user, whose clock may be another, too.
    const newest = isEqual(contact.key, bundle.identity.public) ? contact.newest : 0;
    return session2.start(this.#identity, bundle.dated, ephemeral, { ...ends, now: wall, persistentNow: now, newest });
  }

  /** Remember the other key of a claimed id, for the user to look at. */
  noteOffered(tx: Transaction, peer: string, key: Uint8Array): void {
    this.#noteKey(tx, this.#book.get(peer), key, { inUse: null, seen: Strength.CLASSICAL });
  }

  /**
   * Encrypt an entry of the outbox; the caller stores the result in the same transaction.
   *
   * Throws UndecryptableMessage if there is no session to send with.
   *
   * @param receipts what a receipt says: message ids by status
   */
  seal(
    tx: Transaction,
    state: PeerState,
    entry: OutboxRecord,
    receipts: Partial<Outcomes> = {},
  ): OutboxRecord {
    const chosen = state.sending;
    if (chosen === null) {
      throw new UndecryptableMessage("there is no session with this peer");
    }
    const { madeAt: sentAt, text } = entry;
    const claim = this.claim();
    const marks = claim === null ? {} : { marks: { claim } };
    const said: Said =
      text === null ? receiptOf(sentAt, receipts, marks) : { kind: "text", sentAt, body: text, ...marks };
    const ends: Ends = {
      sender: this.#ownId,
      senderKey: this.#identity.peer.public,
      recipient: fromBase64(entry.peer),
      recipientKey: chosen.peer.public,
    };
    const padded = contentSuites.encode(said, ends, chosen.suite);
    const [after, message] = encrypt(chosen, padded, this.#random);
    this.#sessions.renew(tx, state.stored, chosen, after, state.budget);
    return { ...entry, sealed: message, key: chosen.peer.public };
  }

  /** Encrypt the key of a body, of this digest, for one of those who are to read it, in a session of theirs; as `seal`. */
  sealHead(tx: Transaction, state: PeerState, chosen: session2.Session2, key: Uint8Array, digest: Uint8Array): Uint8Array {
    const [after, head] = session2.encryptHead(chosen, key, digest, this.#random);
    this.#sessions.renew(tx, state.stored, chosen, after, state.budget);
    return head;
  }

  /**
   * Decrypt a message; the caller stores what it says in the same transaction.
   *
   * Throws a CryptoError if it is not to be believed: undo the transaction.
   */
  open(tx: Transaction, frame: RoutedMessage, now: number): Opened {
    const sender = frame.payload.senderId;
    const message = parse(fromBase64(frame.payload.encrypted));
    const state = this.load(sender);
    let contact = state.contact;
    let sessions = state.sessions;
    const begins = message.handshake;
    const isNew = begins !== null && !sessions.some((known) => isEqual(known.id, begins.ephemeral));
    const signed = signedBytes(frame);
    const signer = checkSignature(state, message, frame.signature, signed);
    if (isNew) {
      sessions = this.#answered(tx, contact, message, begins, sessions, now);
    }
    const { before, after, plaintext } = this.#decrypt(message, sessions, now, state.budget.mostSkipped);
    if (!isEqual(signer.public, after.peer.public)) {
      after.peer.verify(fromBase64(frame.signature), signed);
    }
    const ends: Ends = {
      sender: fromBase64(sender),
      senderKey: after.peer.public,
      recipient: this.#ownId,
      recipientKey: this.#identity.peer.public,
    };
    const content = contentSuites.decode(plaintext, ends, after.suite, this.more);
    // Who asks for something again has lost the other sessions, perhaps also the one that would win.
    const isAsking = content.kind === "receipt" && content.undecryptable.length > 0;
    const isFirst = isAsking || !stays(inUseOf(sessions, floorOf(contact)) ?? before, before);
    sessions = renewed(sessions, before, after, isFirst);
    this.#store(tx, state, sessions);
    const strength = strengthOf(after);
    const isWeak = strength < floorOf(contact);
    const inUse = inUseOf(sessions, floorOf(contact));
    contact = this.#noteKey(tx, contact, after.peer.public, { inUse, seen: strength });
    const later = sessions.filter((one) => one.suite === session2.SUITE);
    return {
      content,
      key: after.peer.public,
      late: before.ratchet.mkskipped.has(skippedName(message.header)),
      isNew,
      isKnown: isEqual(contact.key, after.peer.public),
      strength,
      isWeak,
      hasFallen: strength < Strength.SUITE_2 && later.some((one) => one.ratchet.ckr !== null),
      lags: strength === Strength.SUITE_1 && later.length > 0 && later.every((one) => mayBeUnknown(one, now)),
    };
  }

  /**
   * Whether a message is signed by its sender: all that is done for a stranger's.
   *
   * Throws a CryptoError if it is not, or if it is no message of this version.
   */
  check(frame: RoutedMessage): void {
    const message = parse(fromBase64(frame.payload.encrypted));
    checkSignature(this.load(frame.payload.senderId), message, frame.signature, signedBytes(frame));
  }

  /** Erase keys with a peer that are too old to be kept. */
  forgetOld(tx: Transaction, peer: string, now: number): void {
    this.#sessions.forgetOld(tx, peer, now, this.load(peer).sending?.id ?? null);
  }

  /** Erase all sessions with a peer. */
  forget(tx: Transaction, peer: string): void {
    this.#sessions.forget(tx, peer);
  }

  /** The sessions with the one that a message's handshake begins. */
  #answered(
    tx: Transaction,
    contact: ContactRecord,
    message: AnyParsed,
    header: HandshakeHeader,
    sessions: readonly AnySession[],
    now: number,
  ): readonly AnySession[] {
    const fingerprint = encodeBase64(sha256(encodeHandshake(header)));
    if (this.#vault.has(records.HANDSHAKE, fingerprint)) {
      throw new UndecryptableMessage("this handshake was seen before");
    }
    const fresh = this.#joined(contact.userId, header, message.suite, now);
    this.#prekeys.consume(tx, header);
    tx.put(records.HANDSHAKE, fingerprint, { at: now }, { due: now });
    return ordered(fresh, sessions, floorOf(contact));
  }

  /** The session that a handshake of a suite begins. */
  #joined(peer: string, header: HandshakeHeader, suite: 1 | 2, now: number): AnySession {
    const named = this.#prekeys.namedIn(header);
    const given = { ...named, ownId: this.#ownId, peerId: fromBase64(peer) };
    if (suite === 1) {
      return session1.answer(header, respond1(this.#identity, header, given), named.signedPrekey.pair);
    }
    const { kemPrekey } = named;
    if (kemPrekey === null) {
      throw new UndecryptableMessage("a handshake of suite 2 names no KEM prekey");
    }
    const agreement = respond2(this.#identity, header, { ...given, kemPrekey });
    return session2.answer(header, agreement, named.signedPrekey.pair, now);
  }

  /** The session that opened it, before and after, and the plaintext; at most so many keys are derived for it. */
  #decrypt(
    message: AnyParsed,
    sessions: readonly AnySession[],
    now: number,
    most: number,
  ): { readonly before: AnySession; readonly after: AnySession; readonly plaintext: Uint8Array } {
    let last: CryptoError = new UndecryptableMessage("there is no session with this peer");
    let left = most;
    for (const before of candidates(message, sessions)) {
      const jump = reach(before.ratchet, message.header);
      if (jump === null || jump > left) {
        last = new UndecryptableMessage("its key was used already, or it jumps too far ahead");
        continue;
      }
      left -= jump;
      try {
        const [after, plaintext] = decrypt(before, message, { random: this.#random, now });
        return { before, after, plaintext };
      } catch (error) {
        if (!(error instanceof CryptoError)) {
          throw error;
        }
        last = error;
      }
    }
    throw last;
  }

  /**
   * Remember the key of a peer; if another one is known, only the user can give it that place.
   *
   * @param contact the peer, as known until now; what else has changed in it is stored, too
   * @param inUse the session with this key that is used
   * @param seen what the peer has shown now that their program can do
   */
  #noteKey(
    tx: Transaction,
    contact: ContactRecord,
    key: Uint8Array,
    { inUse, seen }: { readonly inUse: AnySession | null; readonly seen: Strength },
  ): ContactRecord {
    const classical = inUse?.classical === true;
    const isSame = contact.key.length === 0 || isEqual(contact.key, key);
    const after: ContactRecord = isSame
      ? seenWith(contact, seen, { key, classical })
      : { ...this.#book.get(contact.userId), offered: key, trust: "changed", offeredClassical: classical };
    if (!isSameContact(after, this.#book.get(contact.userId))) {
      this.#book.put(tx, after);
    }
    return after;
  }

  #store(tx: Transaction, state: PeerState, sessions: readonly AnySession[]): void {
    this.#sessions.put(tx, state.stored, sessions, state.budget);
  }
}

/** How safe a session is. */
export function strengthOf(one: AnySession): Strength {
  if (one.suite === session2.SUITE) {
    return Strength.SUITE_2;
  }
  return one.classical ? Strength.CLASSICAL : Strength.SUITE_1;
}

/** Whether a session was begun here lately, and the peer has not written in it. */
function mayBeUnknown(one: session2.Session2, now: number): boolean {
  return one.ratchet.ckr === null && now >= one.kem.at && now - one.kem.at < UNANSWERED_MS;
}

/** The sessions that a message can be of: the one that its header names, or else a few that may follow. */
function candidates(message: AnyParsed, sessions: readonly AnySession[]): readonly AnySession[] {
  const alike = sessions.filter((known) => known.suite === message.suite);
  const { handshake, header } = message;
  if (handshake !== null) {
    return alike.filter((known) => isEqual(known.id, handshake.ephemeral));
  }
  const named = alike.find(
    (known) => isChainOf(known.ratchet, header) || known.ratchet.mkskipped.has(skippedName(header)),
  );
  if (named !== undefined) {
    return [named];
  }
  return alike.filter((known) => reach(known.ratchet, header) !== null).slice(0, MAX_TRIES);
}

/** What the signature of a message covers. */
function signedBytes(frame: RoutedMessage): Uint8Array {
  return envelopeBytes(signedText(original(frame)));
}

/**
 * Before any work: the envelope is signed by somebody with whom there is a session, or begins one; returns who that is.
 *
 * Throws InvalidSignature if it is not (nobody's message was lost), UndecryptableMessage if nothing is known to check
 * it with.
 */
function checkSignature(state: PeerState, message: AnyParsed, signature: string, signed: Uint8Array): PeerIdentity {
  const raw = fromBase64(signature);
  let keys: readonly PeerIdentity[];
  if (message.handshake === null) {
    const known = [...state.sessions.map((found) => found.peer.public), state.contact.key];
    const distinct = new Map(known.filter((key) => key.length > 0).map((key) => [encodeBase64(key), key]));
    keys = [...distinct.values()].map((key) => new PeerIdentity(key));
  } else {
    checkCertified(state.contact.userId, message.handshake.identity);
    keys = [message.handshake.identity];
  }
  if (keys.length === 0) {
    throw new UndecryptableMessage("there is no session with this peer");
  }
  const signer = keys.find((key) => isSignedBy(key, raw, signed));
  if (signer === undefined) {
    throw new InvalidSignature("the envelope is not signed by its sender");
  }
  return signer;
}

function isSignedBy(key: PeerIdentity, signature: Uint8Array, signed: Uint8Array): boolean {
  try {
    key.verify(signature, signed);
    return true;
  } catch (error) {
    if (error instanceof InvalidSignature) {
      return false;
    }
    throw error;
  }
}

/** Refuse a key that is not that of a certified id: throws InvalidKey. */
function checkCertified(peer: string, identity: PeerIdentity): void {
  const raw = fromBase64(peer);
  if (raw.length === CERTIFIED_ID_BYTES && !isEqual(identity.userId, raw)) {
    throw new InvalidKey("the key is not this user's");
  }
}

/**
 * The first that is as safe as it must be; the first of all if none is, or null.
 *
 * Weaker ones that were read in since are passed over, and keep their place: they are in use at once if the user says
 * that the peer's program knows no better.
 */
function inUseOf(sessions: readonly AnySession[], floor: Strength): AnySession | null {
  return sessions.find((one) => strengthOf(one) >= floor) ?? sessions[0] ?? null;
}

/**
 * Whether both sides began at once and `current` is the one to stay, although `other` was read in last.
 *
 * Both then hold both sessions; the one with the smaller id (ephemeral key) is used by both, without a further message.
 */
function stays(current: AnySession, other: AnySession): boolean {
  const isRival = current.suite === other.suite && current.initiated && pendingOf(current) !== null;
  return isRival && compare(current.id, other.id) < 0;
}

/** Where a session that a peer began belongs: first, unless the one in use stays. */
function ordered(fresh: AnySession, sessions: readonly AnySession[], floor: Strength): readonly AnySession[] {
  const current = inUseOf(sessions, floor);
  if (current !== null && stays(current, fresh)) {
    return [current, fresh, ...sessions.filter((one) => one !== current)];
  }
  return [fresh, ...sessions];
}

/** The sessions with one renewed, in its place or first. */
function renewed(
  sessions: readonly AnySession[],
  before: AnySession,
  after: AnySession,
  isFirst: boolean,
): readonly AnySession[] {
  return isFirst
    ? [after, ...sessions.filter((found) => found !== before)]
    : sessions.map((found) => (found === before ? after : found));
}
