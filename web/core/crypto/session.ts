/**
 * One session of suite 1 with one peer: a handshake, a ratchet, and messages as bytes (encryption.md, "Message").
 *
 * A message is `suite || flags || [handshake header] || ratchet header || ciphertext`. Everything before the ciphertext
 * is authenticated with it.
 */

import { NO_BYTES, type Random, concat, isEqual } from "../bytes.ts";
import { pack } from "../msgpack.ts";
import { InvalidMessage, UndecryptableMessage, UnknownSuite } from "./errors.ts";
import {
  type Agreement,
  type HandshakeHeader,
  type Ids,
  decodeHandshake,
  encodeHandshake,
  initiate,
} from "./handshake.ts";
import { type KeyPair, type OwnIdentity, PeerIdentity, keyPairFrom } from "./keys.ts";
import type { PreKeyBundle } from "./prekeys.ts";
import { KEY_BYTES, NONCE_BYTES } from "./primitives.ts";
import {
  HEADER_BYTES,
  type RatchetHeader,
  type RatchetState,
  type Reading,
  decodeHeader,
  encodeHeader,
  decrypt as ratchetDecrypt,
  encrypt as ratchetEncrypt,
  forgetOld as ratchetForgetOld,
  startInitiator,
  startResponder,
} from "./ratchet.ts";
import { dumpSkipped, membersOf, versionOf } from "./stored.ts";

export const SUITE = 1;
const HAS_HANDSHAKE = 0b01;
const HAS_KEM = 0b10;

/** The state of a session; `id` is the initiator's ephemeral key. */
export interface Session {
  readonly suite: 1;
  readonly id: Uint8Array;
  readonly peer: PeerIdentity;
  readonly associatedData: Uint8Array;
  readonly ratchet: RatchetState;
  /** The handshake header that an initiator repeats until it is answered. */
  readonly pending: HandshakeHeader | null;
  readonly initiated: boolean;
  /** The peer had no KEM prekey, so a quantum computer could read the session later. */
  readonly classical: boolean;
}

/** A parsed message; nothing in it has been authenticated yet. */
export interface Parsed {
  readonly suite: 1;
  readonly handshake: HandshakeHeader | null;
  readonly header: RatchetHeader;
  readonly prefix: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/**
 * Parses a message.
 *
 * @throws UnknownSuite Made by another version, by its first byte; the rest is not looked at.
 * @throws InvalidMessage Cut short, or with flags that do not exist.
 */
export function parse(message: Uint8Array): Parsed {
  const [suite, flags] = message;
  if (suite === undefined) throw new InvalidMessage("a message is empty");
  if (suite !== SUITE) throw new UnknownSuite(`suite ${suite} is not known here`);
  if (flags === undefined) throw new InvalidMessage("a message is cut short");
  if (flags > (HAS_HANDSHAKE | HAS_KEM) || flags === HAS_KEM) throw new InvalidMessage("a message has unknown flags");
  let rest: Uint8Array = message.slice(2);
  let handshake: HandshakeHeader | null = null;
  if ((flags & HAS_HANDSHAKE) !== 0) [handshake, rest] = decodeHandshake(rest, (flags & HAS_KEM) !== 0);
  const header = decodeHeader(rest);
  const prefix = message.slice(0, message.length - rest.length);
  return { suite: SUITE, handshake, header, prefix, ciphertext: rest.slice(HEADER_BYTES) };
}

/**
 * Begins a session with the owner of a bundle; arguments and errors as `initiate` of `handshake.ts`.
 *
 * @param given `random` is asked for 32 bytes if there is a KEM key, and for 32.
 */
export function start(
  own: OwnIdentity,
  bundle: PreKeyBundle,
  ephemeral: KeyPair,
  given: Ids & { readonly random: Random },
): Session {
  const [header, agreement] = initiate(own, ephemeral, bundle, given);
  const pair = keyPairFrom(given.random(KEY_BYTES));
  return {
    suite: SUITE,
    id: ephemeral.public,
    peer: bundle.identity,
    associatedData: agreement.associatedData,
    ratchet: startInitiator(agreement.secret, bundle.signedPrekey, pair),
    pending: header,
    initiated: true,
    classical: !agreement.postQuantum,
  };
}

/** Joins a session that a peer began; `agreement` is from `respond` of `handshake.ts`. */
export function answer(header: HandshakeHeader, agreement: Agreement, signedPrekey: KeyPair): Session {
  return {
    suite: SUITE,
    id: header.ephemeral,
    peer: header.identity,
    associatedData: agreement.associatedData,
    ratchet: startResponder(agreement.secret, signedPrekey),
    pending: null,
    initiated: false,
    classical: !agreement.postQuantum,
  };
}

/** Encrypts one padded content; `random` is asked for 12 bytes. Store the new session before the message is sent. */
export function encrypt(session: Session, plaintext: Uint8Array, random: Random): readonly [Session, Uint8Array] {
  const { pending } = session;
  const flags = pending === null ? 0 : HAS_HANDSHAKE | (pending.kemCiphertext.length > 0 ? HAS_KEM : 0);
  const prefix = concat(new Uint8Array([SUITE, flags]), pending === null ? NO_BYTES : encodeHandshake(pending));
  const associated = concat(session.associatedData, prefix);
  const [ratchet, header, sealed] = ratchetEncrypt(session.ratchet, plaintext, associated, random(NONCE_BYTES));
  return [{ ...session, ratchet }, concat(prefix, encodeHeader(header), sealed)];
}

/**
 * Decrypts one message; store the new session and the plaintext together.
 *
 * @param message As returned by `parse`.
 * @throws UndecryptableMessage, InvalidKey As `decrypt` of `ratchet.ts`; the session is unchanged.
 */
export function decrypt(session: Session, message: Parsed, given: Reading): readonly [Session, Uint8Array] {
  if (message.handshake !== null && !isEqual(message.handshake.identity.public, session.peer.public)) {
    throw new UndecryptableMessage("it is from another identity");
  }
  const associated = concat(session.associatedData, message.prefix);
  const [ratchet, plaintext] = ratchetDecrypt(session.ratchet, message.header, message.ciphertext, associated, given);
  // The peer has answered: it knows the handshake.
  return [{ ...session, ratchet, pending: null }, plaintext];
}

/** The session without keys that are too old; the same object if there is nothing to do. */
export function forgetOld(session: Session, now: number): Session {
  const ratchet = ratchetForgetOld(session.ratchet, now);
  return ratchet === session.ratchet ? session : { ...session, ratchet };
}

// --- storage -----------------------------------------------------------------------------------

/** Versions are counted over all suites, so that the first member tells how to read the rest. */
export const STATE_VERSION = 2;
const MEMBERS = 17;

/** Serialises a session, secrets and all: for encrypted storage only. */
export function dump(session: Session): Uint8Array {
  const state = session.ratchet;
  return pack([
    STATE_VERSION,
    session.id,
    session.peer.public,
    session.associatedData,
    state.dhs.private,
    state.dhr,
    state.rk,
    state.cks,
    state.ckr,
    state.ns,
    state.nr,
    state.pn,
    dumpSkipped(state),
    session.pending === null ? null : encodeHandshake(session.pending),
    session.initiated,
    session.classical,
    state.dhs.public,
  ]);
}

/**
 * Undoes `dump`.
 *
 * @throws InvalidMessage Not a session of a known version.
 */
export function load(data: Uint8Array): Session {
  if (versionOf(data) !== STATE_VERSION) throw new InvalidMessage("a stored session is of another version");
  const read = membersOf(data, MEMBERS);
  const id = read.key();
  const peer = new PeerIdentity(read.key());
  const associatedData = read.bytes();
  const secret = read.key();
  const chains = {
    dhr: read.keyOrNull(),
    rk: read.key(),
    cks: read.keyOrNull(),
    ckr: read.keyOrNull(),
    ns: read.number(),
    nr: read.number(),
    pn: read.number(),
    mkskipped: read.skipped(),
  };
  const pending = read.bytesOrNull();
  const initiated = read.flag();
  const classical = read.flag();
  return {
    suite: SUITE,
    id,
    peer,
    associatedData,
    ratchet: { dhs: { private: secret, public: read.key() }, ...chains },
    pending: pending === null ? null : pendingFrom(pending, !classical),
    initiated,
    classical,
  };
}

function pendingFrom(data: Uint8Array, hasKem: boolean): HandshakeHeader {
  const [header, rest] = decodeHandshake(data, hasKem);
  if (rest.length > 0) throw new InvalidMessage("a stored session is damaged");
  return header;
}
