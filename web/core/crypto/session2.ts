/**
 * One session of suite 2 with one peer: handshake, ratchet with a KEM, and messages of head and body.
 *
 * It has the shape of a session of suite 1, so that whoever holds sessions need not ask which one it is.
 */

import { type Random, concat, isEqual } from "../bytes.ts";
import { pack } from "../msgpack.ts";
import { openSealed, seal as sealBody } from "./body.ts";
import type { DatedBundle } from "./bundle.ts";
import { InvalidMessage, UndecryptableMessage } from "./errors.ts";
import type { Agreement, HandshakeHeader } from "./handshake.ts";
import { type Initiation, initiate } from "./handshake2.ts";
import { type Parsed2, SUITE, begin, decodePart, encodePart, finish } from "./head.ts";
import { type KeyPair, type OwnIdentity, PeerIdentity, keyPairFrom } from "./keys.ts";
import { KEM_SEED_BYTES, KEY_BYTES, NONCE_BYTES, seal, sha256 } from "./primitives.ts";
import {
  type RatchetState,
  type Reading,
  encodeHeader,
  messageKey,
  nextKey,
  forgetOld as ratchetForgetOld,
} from "./ratchet.ts";
import { type KemState, counted, decrypt as ratchetDecrypt, startInitiator, startResponder } from "./ratchet2.ts";
import { dumpSkipped, membersOf, versionOf } from "./stored.ts";

export { SUITE };

/** The state of a session; `id` is the initiator's ephemeral key. */
export interface Session2 {
  readonly suite: 2;
  readonly id: Uint8Array;
  readonly peer: PeerIdentity;
  readonly associatedData: Uint8Array;
  readonly ratchet: RatchetState;
  readonly kem: KemState;
  readonly initiated: boolean;
  /** Never: there is no suite 2 without a KEM. */
  readonly classical: false;
}

/** The handshake header that an initiator repeats until it is answered. */
export function pendingOf(session: Session2): HandshakeHeader | null {
  return session.kem.carried.kind === "handshake" ? session.kem.carried.header : null;
}

/**
 * Begins a session with the owner of a bundle.
 *
 * @param ephemeral Fresh, used for this session alone.
 * @param bundle The peer's prekeys; checked here.
 * @param given `now` is the wall clock, by which the bundle's age is judged; `persistentNow` milliseconds of persistent
 * time, by which the KEM secret ages; `newest` the greatest `madeAt` accepted from this peer so far, or 0, afterwards
 * that of the bundle; `random` is asked for 32 bytes twice.
 * @throws InvalidSignature, StaleBundle, InvalidKey As `initiate` of `handshake2.ts`.
 */
export function start(
  own: OwnIdentity,
  bundle: DatedBundle,
  ephemeral: KeyPair,
  given: Initiation & { readonly persistentNow: number },
): Session2 {
  const [header, agreement] = initiate(own, ephemeral, bundle, given);
  const pair = keyPairFrom(given.random(KEY_BYTES));
  const [ratchet, kem] = startInitiator(agreement.secret, bundle.signedPrekey, pair, header, given.persistentNow);
  return {
    suite: SUITE,
    id: ephemeral.public,
    peer: bundle.identity,
    associatedData: agreement.associatedData,
    ratchet,
    kem,
    initiated: true,
    classical: false,
  };
}

/** Joins a session that a peer began; `agreement` is from `respond` of `handshake2.ts`, `now` persistent time. */
export function answer(header: HandshakeHeader, agreement: Agreement, signedPrekey: KeyPair, now: number): Session2 {
  const [ratchet, kem] = startResponder(agreement.secret, signedPrekey, now);
  return {
    suite: SUITE,
    id: header.ephemeral,
    peer: header.identity,
    associatedData: agreement.associatedData,
    ratchet,
    kem,
    initiated: false,
    classical: false,
  };
}

/**
 * Encrypts one padded content for one recipient; store the new session before the message is sent.
 *
 * @param content Padded to a multiple of 256 bytes, at most `MAX_PADDED` of `body.ts`.
 * @param random Asked for the 32 bytes of the body's key, then for 12 bytes.
 * @throws UndecryptableMessage There is no sending chain, or it is used up.
 */
export function encrypt(session: Session2, content: Uint8Array, random: Random): readonly [Session2, Uint8Array] {
  const key = random(KEY_BYTES);
  const body = sealBody(content, key);
  const [after, head] = encryptHead(session, key, sha256(body), random);
  return [after, concat(head, body)];
}

/**
 * The head with which this session's peer can read a body; the message is the head and then the body.
 *
 * @param key Of the body.
 * @param digest SHA-256 of the body as `seal` of `body.ts` made it; the head is bound to it.
 * @param random Asked for 12 bytes. The nonce is random as in suite 1: a state restored from a copy uses its message
 * keys again.
 */
export function encryptHead(
  session: Session2,
  key: Uint8Array,
  digest: Uint8Array,
  random: Random,
): readonly [Session2, Uint8Array] {
  const [ratchet, header, mk] = nextKey(session.ratchet);
  const authenticated = concat(begin(session.kem.carried), encodeHeader(header));
  const nonce = random(NONCE_BYTES);
  const aad = concat(session.associatedData, authenticated, digest);
  const sealed = concat(nonce, seal(messageKey(mk), nonce, key, aad));
  return [{ ...session, ratchet, kem: counted(session.kem) }, finish(authenticated, sealed)];
}

/**
 * Decrypts one message; store the new session and the padded content together.
 *
 * @param message As returned by `parse` of `head.ts`.
 * @throws UndecryptableMessage, InvalidKey As `decrypt` of `ratchet2.ts`, or the body is not the one of this head; the
 * session is unchanged.
 */
export function decrypt(session: Session2, message: Parsed2, given: Reading): readonly [Session2, Uint8Array] {
  if (message.handshake !== null && !isEqual(message.handshake.identity.public, session.peer.public)) {
    throw new UndecryptableMessage("it is from another identity");
  }
  const [ratchet, kem, key] = ratchetDecrypt(session.ratchet, session.kem, message, session.associatedData, given);
  return [{ ...session, ratchet, kem }, openSealed(message.body, key)];
}

/** The session without keys that are too old; the same object if there is nothing to do. */
export function forgetOld(session: Session2, now: number): Session2 {
  const ratchet = ratchetForgetOld(session.ratchet, now);
  return ratchet === session.ratchet ? session : { ...session, ratchet };
}

// --- storage -----------------------------------------------------------------------------------

/** Versions below it are sessions of suite 1. */
export const STATE_VERSION = 3;
const MEMBERS = 20;

/** Serialises a session, secrets and all: for encrypted storage only. */
export function dump(session: Session2): Uint8Array {
  const state = session.ratchet;
  const [part, carried] = encodePart(session.kem.carried);
  return pack([
    STATE_VERSION,
    session.id,
    session.peer.public,
    session.associatedData,
    state.dhs.private,
    state.dhs.public,
    state.dhr,
    state.rk,
    state.cks,
    state.ckr,
    state.ns,
    state.nr,
    state.pn,
    dumpSkipped(state),
    part,
    carried,
    session.kem.seed,
    session.kem.messages,
    session.kem.at,
    session.initiated,
  ]);
}

/**
 * Undoes `dump`.
 *
 * @throws InvalidMessage Not a session of a known version.
 */
export function load(data: Uint8Array): Session2 {
  if (versionOf(data) !== STATE_VERSION) throw new InvalidMessage("a stored session is of another version");
  const read = membersOf(data, MEMBERS);
  // Members are read in the order in which `dump` writes them.
  const session = {
    suite: SUITE as 2,
    id: read.key(),
    peer: new PeerIdentity(read.key()),
    associatedData: read.bytes(),
    ratchet: {
      dhs: { private: read.key(), public: read.key() },
      dhr: read.keyOrNull(),
      rk: read.key(),
      cks: read.keyOrNull(),
      ckr: read.keyOrNull(),
      ns: read.number(),
      nr: read.number(),
      pn: read.number(),
      mkskipped: read.skipped(),
    },
    kem: {
      carried: decodePart(read.number(), read.bytes()),
      seed: read.bytes(),
      messages: read.number(),
      at: read.time(),
    },
    initiated: read.flag(),
    classical: false as const,
  };
  const { carried, seed } = session.kem;
  if (seed.length !== (carried.kind === "kem-key" ? KEM_SEED_BYTES : 0)) {
    throw new InvalidMessage("a stored session is damaged");
  }
  return session;
}
