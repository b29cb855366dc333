/**
 * The Double Ratchet (Signal, revision 1, section 3), as pure functions over a state that never changes.
 *
 * Names are the specification's: root key, sending and receiving chain, message keys, `PN`, `N`, skipped message keys.
 * A function returns a new state; what it was given stays, so a message that fails to authenticate changes nothing.
 */

import { type Random, concat, isEqual, readU32, toHex, u32, utf8 } from "../bytes.ts";
import { InvalidMessage, UndecryptableMessage } from "./errors.ts";
import { type KeyPair, keyPairFrom } from "./keys.ts";
import { KEY_BYTES, NONCE_BYTES, TAG_BYTES, hkdf, hmacSha256, seal, unseal, x25519 } from "./primitives.ts";

/** How far one message may jump ahead in a chain: each skipped key is computed and stored. */
export const MAX_SKIP = 256;
/** Skipped keys a session keeps, oldest out first: what a peer can make us store. */
export const MAX_SKIPPED_KEYS = 256;
/** Chains of the peer of which skipped keys are kept, the newest with gaps. */
export const MAX_RECEIVING_CHAINS = 5;
/** How long a skipped key is kept: its message was overtaken, so the relay has lost or withheld it. */
export const MAX_SKIPPED_AGE_MS = 30 * 86_400_000;
/** Largest message number that the header can carry. */
export const MAX_NUMBER = 2 ** 32 - 1;

const ROOT_INFO = utf8("phantom/1 ratchet root\n");
const MESSAGE_INFO = utf8("phantom/1 message key\n");
const NO_SALT = new Uint8Array(32);
const NEXT_CHAIN = new Uint8Array([2]);
const NEXT_MESSAGE = new Uint8Array([1]);

export const HEADER_BYTES = 40;

/** Section 3.1, HEADER: the sender's ratchet key, the length of its previous chain, the message's number. */
export interface RatchetHeader {
  readonly dh: Uint8Array;
  readonly pn: number;
  readonly n: number;
}

/** 40 bytes. */
export function encodeHeader(header: RatchetHeader): Uint8Array {
  return concat(header.dh, u32(header.pn), u32(header.n));
}

/**
 * Reads the first 40 bytes.
 *
 * @throws InvalidMessage Too short.
 */
export function decodeHeader(data: Uint8Array): RatchetHeader {
  if (data.length < HEADER_BYTES) throw new InvalidMessage("a ratchet header is cut short");
  return { dh: data.slice(0, 32), pn: readU32(data, 32), n: readU32(data, 36) };
}

/**
 * A skipped message key: of the peer's ratchet key `dh` and number `n`; `at` is when it was skipped (persistent ms).
 */
export interface Skipped {
  readonly dh: Uint8Array;
  readonly n: number;
  readonly mk: Uint8Array;
  readonly at: number;
}

/** By `skippedName`, oldest first. */
export type SkippedKeys = ReadonlyMap<string, Skipped>;

/** Where the key of a message is kept in `mkskipped`. */
export function skippedName({ dh, n }: { readonly dh: Uint8Array; readonly n: number }): string {
  return `${toHex(dh)}:${n}`;
}

/** Section 3.2: the state of one side. All byte strings are 32 bytes. */
export interface RatchetState {
  readonly dhs: KeyPair;
  readonly dhr: Uint8Array | null;
  readonly rk: Uint8Array;
  readonly cks: Uint8Array | null;
  readonly ckr: Uint8Array | null;
  readonly ns: number;
  readonly nr: number;
  readonly pn: number;
  readonly mkskipped: SkippedKeys;
}

const FRESH = { cks: null, ckr: null, ns: 0, nr: 0, pn: 0, mkskipped: new Map<string, Skipped>() } as const;

/** The state of an initiator, whatever its suite derives at first. */
export function startedBy(own: KeyPair, dhr: Uint8Array, rk: Uint8Array, cks: Uint8Array): RatchetState {
  return { ...FRESH, dhs: own, dhr, rk, cks };
}

/** Section 3.3, RatchetInitAlice; `peerRatchetKey` is the responder's signed prekey, `own` a fresh pair. */
export function startInitiator(secret: Uint8Array, peerRatchetKey: Uint8Array, own: KeyPair): RatchetState {
  const [rk, cks] = kdfRk(secret, x25519(own.private, peerRatchetKey));
  return startedBy(own, peerRatchetKey, rk, cks);
}

/** Section 3.3, RatchetInitBob; `own` is the signed prekey that the initiator used. */
export function startResponder(secret: Uint8Array, own: KeyPair): RatchetState {
  return { ...FRESH, dhs: own, dhr: null, rk: secret };
}

/**
 * Section 3.4, RatchetEncrypt.
 *
 * The nonce is random and travels with the message, although a message key is meant to be used once: a state restored
 * from a copy would use it again, and under GCM a repeated pair of key and nonce reveals both plaintexts.
 *
 * @param state With a sending chain; a responder has one after the first message it received.
 * @param plaintext Already padded.
 * @param associated Authenticated together with the header.
 * @param nonce 12 random bytes.
 * @returns The new state, the header, and nonce || ciphertext || tag.
 * @throws UndecryptableMessage There is no sending chain, or it is used up.
 */
export function encrypt(
  state: RatchetState,
  plaintext: Uint8Array,
  associated: Uint8Array,
  nonce: Uint8Array,
): readonly [RatchetState, RatchetHeader, Uint8Array] {
  const [after, header, mk] = nextKey(state);
  const sealed = seal(messageKey(mk), nonce, plaintext, concat(associated, encodeHeader(header)));
  return [after, header, concat(nonce, sealed)];
}

/** Randomness and the time of a message that is read: milliseconds of persistent time. */
export interface Reading {
  readonly random: Random;
  readonly now: number;
}

/**
 * Section 3.5, RatchetDecrypt.
 *
 * @param sealed nonce || ciphertext || tag.
 * @param associated As for `encrypt`.
 * @param given `random` is asked for 32 bytes if the peer has taken a ratchet step.
 * @throws UndecryptableMessage It does not authenticate, its key is gone, or it jumps too far.
 * @throws InvalidKey The peer's ratchet key contributes nothing.
 */
export function decrypt(
  state: RatchetState,
  header: RatchetHeader,
  sealed: Uint8Array,
  associated: Uint8Array,
  given: Reading,
): readonly [RatchetState, Uint8Array] {
  const [after, mk] = spendSkipped(state, header) ?? stepped(state, header, given);
  return [after, openSealed(mk, sealed, concat(associated, encodeHeader(header)))];
}

function stepped(state: RatchetState, header: RatchetHeader, given: Reading): readonly [RatchetState, Uint8Array] {
  const isKnown = isChainOf(state, header);
  const chain = isKnown ? state : dhRatchet(endChain(state, header, given.now), header, given.random);
  return takeKey(chain, header.n, given.now);
}

// --- the parts that do not depend on the suite -------------------------------------------------

/** Whether a message belongs to the receiving chain that there is. */
export function isChainOf(state: RatchetState, header: RatchetHeader): boolean {
  return state.dhr !== null && isEqual(state.dhr, header.dh);
}

/**
 * The next message key of the sending chain, and the header that goes with it.
 *
 * @throws UndecryptableMessage As for `encrypt`.
 */
export function nextKey(state: RatchetState): readonly [RatchetState, RatchetHeader, Uint8Array] {
  if (state.cks === null) throw new UndecryptableMessage("nothing was received yet, so there is no sending chain");
  if (state.ns >= MAX_NUMBER) throw new UndecryptableMessage("the sending chain is used up until the peer answers");
  const [cks, mk] = kdfCk(state.cks);
  return [{ ...state, cks, ns: state.ns + 1 }, { dh: state.dhs.public, pn: state.pn, n: state.ns }, mk];
}

/** Section 3.5, TrySkippedMessageKeys: the state without the key, and the key, if it was skipped. */
export function spendSkipped(state: RatchetState, header: RatchetHeader): readonly [RatchetState, Uint8Array] | null {
  const name = skippedName(header);
  const skipped = state.mkskipped.get(name);
  if (skipped === undefined) return null;
  const mkskipped = new Map(state.mkskipped);
  mkskipped.delete(name);
  return [{ ...state, mkskipped }, skipped.mk];
}

/**
 * The state in which the keys that are missing at the end of the receiving chain are skipped.
 *
 * @throws UndecryptableMessage With those of the next chain they are too many; no key was derived.
 */
export function endChain(state: RatchetState, header: RatchetHeader, now: number): RatchetState {
  if (Math.max(0, header.pn - state.nr) + header.n > MAX_SKIP) throw tooFar();
  return skip(state, header.pn, now);
}

/**
 * The state after the message of number `n` in the receiving chain, and its key; those before it are skipped.
 *
 * @throws UndecryptableMessage Its key was used, it jumps too far, or there is no chain.
 */
export function takeKey(state: RatchetState, n: number, now: number): readonly [RatchetState, Uint8Array] {
  if (n < state.nr) throw new UndecryptableMessage("its key was used already");
  const reached = skip(state, n, now);
  if (reached.ckr === null) throw new UndecryptableMessage("there is no receiving chain");
  const [ckr, mk] = kdfCk(reached.ckr);
  return [{ ...reached, ckr, nr: reached.nr + 1 }, mk];
}

/**
 * What was sealed under a message key; `sealed` is nonce || ciphertext || tag.
 *
 * @throws UndecryptableMessage It does not authenticate.
 */
export function openSealed(mk: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new UndecryptableMessage("it is cut short");
  return unseal(messageKey(mk), sealed.subarray(0, NONCE_BYTES), sealed.subarray(NONCE_BYTES), aad);
}

/** Section 5.2: HMAC with the chain key over one constant byte. The next chain key, and the message key. */
export function kdfCk(ck: Uint8Array): readonly [Uint8Array, Uint8Array] {
  return [hmacSha256(ck, NEXT_CHAIN), hmacSha256(ck, NEXT_MESSAGE)];
}

/** The AEAD key of one message. */
export function messageKey(mk: Uint8Array): Uint8Array {
  return hkdf(mk, { salt: NO_SALT, info: MESSAGE_INFO, length: KEY_BYTES });
}

/**
 * How many keys would be derived to skip to a message; null if this state cannot read it, whatever it contains.
 *
 * It derives nothing, so the cost of trying is known beforehand.
 */
export function reach(state: RatchetState, header: RatchetHeader): number | null {
  if (state.mkskipped.has(skippedName(header))) return 0;
  if (isChainOf(state, header)) return state.ckr !== null && header.n >= state.nr ? header.n - state.nr : null;
  // `PN` counts what the peer had sent in the chain before: not fewer than came, and none where there was none.
  if (header.pn < state.nr || (state.ckr === null && header.pn > 0)) return null;
  return header.pn - state.nr + header.n;
}

/** The state without skipped keys older than `MAX_SKIPPED_AGE_MS`; the same object if there is nothing to do. */
export function forgetOld(state: RatchetState, now: number): RatchetState {
  const all = [...state.mkskipped];
  if (all.every(([, { at }]) => now >= at && now - at <= MAX_SKIPPED_AGE_MS)) return state;
  // A time in the future comes from a clock that was wrong.
  const kept = all
    .filter(([, { at }]) => now - at <= MAX_SKIPPED_AGE_MS)
    .map(([name, one]) => [name, one.at > now ? { ...one, at: now } : one] as const);
  return { ...state, mkskipped: new Map(kept) };
}

/** Section 3.5, DHRatchet. */
function dhRatchet(state: RatchetState, header: RatchetHeader, random: Random): RatchetState {
  const [root, ckr] = kdfRk(state.rk, x25519(state.dhs.private, header.dh));
  const dhs = keyPairFrom(random(KEY_BYTES));
  const [rk, cks] = kdfRk(root, x25519(dhs.private, header.dh));
  return { ...state, dhs, dhr: header.dh, rk, cks, ckr, pn: state.ns, ns: 0, nr: 0 };
}

/** Section 3.5, SkipMessageKeys. The jump is bounded before any key is derived. */
function skip(state: RatchetState, until: number, now: number): RatchetState {
  if (until - state.nr > MAX_SKIP) throw tooFar();
  const { dhr } = state;
  if (state.ckr === null || dhr === null || until <= state.nr) return state;
  const skipped = new Map(state.mkskipped);
  let { ckr } = state;
  for (let n = state.nr; n < until; n += 1) {
    const [next, mk] = kdfCk(ckr);
    ckr = next;
    skipped.set(skippedName({ dh: dhr, n }), { dh: dhr, n, mk, at: now });
  }
  return { ...state, ckr, nr: until, mkskipped: bounded(skipped) };
}

/** The newest of them: at most `MAX_RECEIVING_CHAINS` chains, and at most `MAX_SKIPPED_KEYS` keys. */
function bounded(skipped: SkippedKeys): SkippedKeys {
  const all = [...skipped];
  const chains = [...new Set(all.map(([, { dh }]) => toHex(dh)))];
  const kept = new Set(chains.slice(-MAX_RECEIVING_CHAINS));
  return new Map(all.filter(([, { dh }]) => kept.has(toHex(dh))).slice(-MAX_SKIPPED_KEYS));
}

/** Section 5.2: HKDF with the root key as salt. */
function kdfRk(rk: Uint8Array, dh: Uint8Array): readonly [Uint8Array, Uint8Array] {
  const out = hkdf(dh, { salt: rk, info: ROOT_INFO, length: 64 });
  return [out.slice(0, 32), out.slice(32)];
}

function tooFar(): UndecryptableMessage {
  return new UndecryptableMessage(`it jumps more than ${MAX_SKIP} messages ahead`);
}
