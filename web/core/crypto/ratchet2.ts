/**
 * The ratchet of suite 2: the Double Ratchet of suite 1 with ML-KEM-768 in its root now and then (encryption.md).
 *
 * The shape is that of Apple's PQ3: at intervals one side offers a fresh KEM key, the other answers with a ciphertext,
 * and the secret goes into the root key beside the Diffie-Hellman result.
 *
 * Sending chains of the two sides strictly alternate, and every message of a chain carries the same part. So an offer
 * in one of my chains has reached whoever begins the next chain of the peer, and that chain must carry the answer. At
 * most one offer is open, loss and reordering need no special case, and who breaks the rule is refused.
 */

import { NO_BYTES, type Random, concat, utf8 } from "../bytes.ts";
import { UndecryptableMessage } from "./errors.ts";
import type { HandshakeHeader } from "./handshake.ts";
import { NOTHING, type Parsed2, type Part, aadOf } from "./head.ts";
import { type KeyPair, keyPairFrom } from "./keys.ts";
import {
  KEM_SEED_BYTES,
  KEY_BYTES,
  hkdf,
  kemDecapsulate,
  kemEncapsulate,
  kemPublic,
  sha256,
  x25519,
} from "./primitives.ts";
import {
  type RatchetState,
  type Reading,
  endChain,
  isChainOf,
  openSealed,
  spendSkipped,
  startResponder as startState,
  startedBy,
  takeKey,
} from "./ratchet.ts";

const ROOT_INFO = utf8("phantom/1 ratchet root 2\n");

/** Messages in both directions after which a KEM secret is due: PQ3's figure. */
export const OFFER_AFTER_MESSAGES = 50;
/** Time after which one is due, however little was said: a stolen state of a quiet conversation heals too. */
export const OFFER_AFTER_MS = 7 * 86_400_000;

/** What the ratchet of suite 2 holds beside that of suite 1. */
export interface KemState {
  /** What every message of the sending chain carries. */
  readonly carried: Part;
  /** The 64-byte private half if that is an offer, else empty. */
  readonly seed: Uint8Array;
  /** Sent and received since the last KEM secret, counted up to `OFFER_AFTER_MESSAGES`. */
  readonly messages: number;
  /** When that was, in milliseconds of persistent time. */
  readonly at: number;
}

/** One message later. */
export function counted(kem: KemState): KemState {
  return { ...kem, messages: Math.min(kem.messages + 1, OFFER_AFTER_MESSAGES) };
}

/** Whether a KEM secret is to be offered. */
function isDue(kem: KemState, now: number): boolean {
  // A time in the future comes from a clock that was wrong.
  return kem.messages >= OFFER_AFTER_MESSAGES || now < kem.at || now - kem.at >= OFFER_AFTER_MS;
}

/** The states of a new session. */
export type States = readonly [RatchetState, KemState];

/**
 * The states after a handshake that this side began; its first chain carries the handshake header.
 *
 * @param secret 32 bytes of the handshake.
 * @param peerRatchetKey The responder's signed prekey.
 * @param own A fresh pair.
 * @param now Milliseconds of persistent time.
 */
export function startInitiator(
  secret: Uint8Array,
  peerRatchetKey: Uint8Array,
  own: KeyPair,
  header: HandshakeHeader,
  now: number,
): States {
  const [rk, cks] = kdfRk(secret, x25519(own.private, peerRatchetKey), NO_SECRET);
  return [startedBy(own, peerRatchetKey, rk, cks), freshKem({ kind: "handshake", header }, now)];
}

/** The states after a handshake that the peer began; `own` is the signed prekey that it used. */
export function startResponder(secret: Uint8Array, own: KeyPair, now: number): States {
  return [startState(secret, own), freshKem(NOTHING, now)];
}

/**
 * Double Ratchet section 3.5 with a KEM: the states afterwards, and the key of the body.
 *
 * @param associatedData Of the session.
 * @param given `random` is asked for 32 bytes if the peer has taken a ratchet step, and then for 32 if that offers a
 * KEM key, or for 64 if an offer is due.
 * @throws UndecryptableMessage It does not authenticate, its key is gone, it jumps too far, or it carries another part
 * than a new chain must carry here.
 * @throws InvalidKey The peer's ratchet key contributes nothing, or the KEM key that it offers is malformed.
 */
export function decrypt(
  state: RatchetState,
  kem: KemState,
  message: Parsed2,
  associatedData: Uint8Array,
  given: Reading,
): readonly [RatchetState, KemState, Uint8Array] {
  const { header } = message;
  const aad = aadOf(message, associatedData);
  const spent = spendSkipped(state, header);
  if (spent !== null || isChainOf(state, header)) {
    const [after, mk] = spent ?? takeKey(state, header.n, given.now);
    return [after, counted(kem), openSealed(mk, message.sealed, aad)];
  }
  checkPart(state, kem, message.part);
  const chain = beginReceiving(endChain(state, header, given.now), kem, message);
  const [received, mk] = takeKey(chain, header.n, given.now);
  const key = openSealed(mk, message.sealed, aad);
  // Only now: for a forged message no key is made.
  return [...beginSending(received, header.dh, kem, message.part, given), key];
}

/** A KEM secret, and SHA-256(EK || CT) of it: bound, against re-encapsulation. Both empty without one. */
interface KemSecret {
  readonly shared: Uint8Array;
  readonly bound: Uint8Array;
}

const NO_SECRET: KemSecret = { shared: NO_BYTES, bound: NO_BYTES };

/** The next root key, and a chain key. */
function kdfRk(rk: Uint8Array, dh: Uint8Array, { shared, bound }: KemSecret): readonly [Uint8Array, Uint8Array] {
  const out = hkdf(concat(dh, shared), { salt: rk, info: concat(ROOT_INFO, bound), length: 64 });
  return [out.slice(0, 32), out.slice(32)];
}

function freshKem(carried: Part, now: number): KemState {
  return { carried, seed: NO_BYTES, messages: 0, at: now };
}

/** Refuses a new chain that carries something else than it must. */
function checkPart(state: RatchetState, kem: KemState, part: Part): void {
  if ((part.kind === "handshake") !== (state.dhr === null)) {
    throw new UndecryptableMessage("a handshake header stands in the first chain of its session, and in no other");
  }
  if ((part.kind === "kem-ciphertext") !== (kem.carried.kind === "kem-key")) {
    throw new UndecryptableMessage("an offered KEM key is answered by the next chain, and nothing else is");
  }
}

/** The first half of DHRatchet (section 3.5): the peer's new chain. */
function beginReceiving(state: RatchetState, kem: KemState, message: Parsed2): RatchetState {
  const { part, header } = message;
  let secret = NO_SECRET;
  if (part.kind === "kem-ciphertext" && kem.carried.kind === "kem-key") {
    const shared = kemDecapsulate(kem.seed, part.ciphertext);
    secret = { shared, bound: sha256(concat(kem.carried.public, part.ciphertext)) };
  }
  const [rk, ckr] = kdfRk(state.rk, x25519(state.dhs.private, header.dh), secret);
  return { ...state, dhr: header.dh, rk, ckr, nr: 0 };
}

/** The second half of DHRatchet: one's own new chain, and what it carries. */
function beginSending(state: RatchetState, dhr: Uint8Array, kem: KemState, part: Part, given: Reading): States {
  const dhs = keyPairFrom(given.random(KEY_BYTES));
  const [after, secret] = nextKem(kem, part, given);
  const [rk, cks] = kdfRk(state.rk, x25519(dhs.private, dhr), secret);
  return [{ ...state, dhs, rk, cks, pn: state.ns, ns: 0 }, after];
}

function nextKem(kem: KemState, part: Part, { random, now }: Reading): readonly [KemState, KemSecret] {
  if (part.kind === "kem-key") {
    const [shared, ciphertext] = kemEncapsulate(part.public, random);
    const bound = sha256(concat(part.public, ciphertext));
    return [freshKem({ kind: "kem-ciphertext", ciphertext }, now), { shared, bound }];
  }
  if (part.kind === "kem-ciphertext") return [freshKem(NOTHING, now), NO_SECRET];
  return [offered(counted(kem), random, now), NO_SECRET];
}

/** A new chain that answers nothing: it carries an offer if one is due, else nothing. */
function offered(kem: KemState, random: Random, now: number): KemState {
  if (!isDue(kem, now)) return { ...kem, carried: NOTHING };
  const seed = random(KEM_SEED_BYTES);
  return { ...kem, carried: { kind: "kem-key", public: kemPublic(seed) }, seed };
}
