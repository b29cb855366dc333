/** Plays the vectors of suite 2: handshakes, bodies, transcripts, and what must be refused. */

import { NO_BYTES, concat, isEqual } from "../../core/bytes.ts";
import * as body from "../../core/crypto/body.ts";
import { type DatedBundle, signedBytes } from "../../core/crypto/bundle.ts";
import { InvalidMessage } from "../../core/crypto/errors.ts";
import {
  type HandshakeHeader,
  decodeHandshake,
  encodeHandshake,
  initiatorSecrets,
  responderSecrets,
} from "../../core/crypto/handshake.ts";
import { initiate, respond } from "../../core/crypto/handshake2.ts";
import { aadOf, encodePart, parse } from "../../core/crypto/head.ts";
import { OwnIdentity, PeerIdentity, keyPairFrom } from "../../core/crypto/keys.ts";
import { pad, unpad } from "../../core/crypto/padding.ts";
import { makeKemPreKey } from "../../core/crypto/prekeys.ts";
import { sha256 } from "../../core/crypto/primitives.ts";
import { type Reading, messageKey, nextKey } from "../../core/crypto/ratchet.ts";
import * as session2 from "../../core/crypto/session2.ts";
import type { Session2 } from "../../core/crypto/session2.ts";
import {
  Differs,
  type People,
  type Person,
  answerOf,
  endOf,
  errorOf,
  listed,
  member,
  raw,
  rawOrNull,
  same,
  sha256Hex,
  signedPreKey,
} from "./base.ts";
import { type State, described } from "./play_ratchet.ts";
import { type Derived, checkDerived, playLength } from "./play_small.ts";

/** When the bundles of the transcripts were made. */
const MADE_AT = 1_770_000_000_000;

interface ListedDated {
  readonly identity: string;
  readonly user_id: string;
  readonly made_at: number;
  readonly signed_prekey: string;
  readonly signed_prekey_id: number;
  readonly kem_prekey: string;
  readonly kem_prekey_id: number;
  readonly kem_prekey_signature: string | null;
  readonly last_resort_digest: string | null;
  readonly last_resort_id: number;
  readonly bundle_signature: string;
  readonly one_time_prekey: string | null;
  readonly one_time_prekey_id: number;
}

function bundleOf(given: ListedDated): DatedBundle {
  return {
    identity: new PeerIdentity(raw(given.identity)),
    userId: raw(given.user_id),
    madeAt: given.made_at,
    signedPrekey: raw(given.signed_prekey),
    signedPrekeyId: given.signed_prekey_id,
    kemPrekey: raw(given.kem_prekey),
    kemPrekeyId: given.kem_prekey_id,
    kemPrekeySignature: raw(given.kem_prekey_signature),
    lastResortDigest: rawOrNull(given.last_resort_digest),
    lastResortId: given.last_resort_id,
    signature: raw(given.bundle_signature),
    oneTimePrekey: rawOrNull(given.one_time_prekey),
    oneTimePrekeyId: given.one_time_prekey_id,
  };
}

interface Handshake2Case {
  readonly now: number;
  readonly newest: number;
  readonly initiator: Readonly<Record<"seed" | "user_id" | "ephemeral_private" | "kem_m", string>>;
  readonly responder: {
    readonly seed: string;
    readonly user_id: string;
    readonly signed_prekey_private: string;
    readonly one_time_prekey_private: string | null;
    readonly kem_prekey_seed: string;
  };
  readonly bundle: ListedDated;
  readonly expect: Derived & {
    readonly signed_bytes_sha256: string;
    readonly ephemeral_public: string;
    readonly kem_ciphertext: string;
    readonly ad: string;
    readonly header_sha256: string;
  };
}

export function playHandshake2(given: Handshake2Case): void {
  const { initiator: one, responder: other, expect, now, newest } = given;
  const [initiator, responder] = [new OwnIdentity(raw(one.seed)), new OwnIdentity(raw(other.seed))];
  const bundle = bundleOf(given.bundle);
  same(bundle.identity.public, responder.peer.public, "identity of the responder");
  same(sha256Hex(signedBytes(bundle)), expect.signed_bytes_sha256, "what the bundle's signature covers");
  const ephemeral = keyPairFrom(raw(one.ephemeral_private));
  const random = listed(one.kem_m);
  const [header, agreement] = initiate(initiator, ephemeral, bundle, { ownId: raw(one.user_id), now, newest, random });
  same(header.ephemeral, expect.ephemeral_public, "ephemeral key");
  same(header.kemCiphertext, expect.kem_ciphertext, "KEM ciphertext");
  same(sha256Hex(encodeHandshake(header)), expect.header_sha256, "hash of the header");
  same([agreement.secret, agreement.associatedData], [expect.sk, expect.ad], "SK and AD");
  const dhs = initiatorSecrets(initiator, ephemeral, bundle.identity, bundle.signedPrekey, bundle.oneTimePrekey);
  checkDerived(dhs, expect);

  const [received] = decodeHandshake(encodeHandshake(header), true);
  const secret = other.one_time_prekey_private;
  const named = {
    signedPrekey: signedPreKey(bundle.signedPrekeyId, other.signed_prekey_private),
    oneTimePrekey: secret === null ? null : { id: bundle.oneTimePrekeyId, pair: keyPairFrom(raw(secret)) },
    kemPrekey: makeKemPreKey(responder, header.kemPrekeyId, raw(other.kem_prekey_seed)),
  };
  const ids = { ownId: raw(other.user_id), peerId: raw(one.user_id) };
  same(respond(responder, received, { ...named, ...ids }), agreement, "the other side");
  checkDerived(responderSecrets(responder, received, named), expect);
}

interface BodyCase {
  readonly content: string;
  readonly key: string;
  readonly expect: { readonly commitment: string; readonly body_key: string; readonly body: string };
}

export function playBody({ content, key: hex, expect }: BodyCase): void {
  const key = raw(hex);
  const made = body.seal(pad(raw(content), undefined, body.MAX_PADDED), key);
  const { commitment, bodyKey } = body.derive(key);
  same({ commitment, body_key: bodyKey, body: made }, expect, "body");
  body.checkForm(made);
  same(unpad(body.openSealed(made, key)), content, "opened");
}

export function playLength2(given: Parameters<typeof playLength>[0]): void {
  const padded = playLength(given, body.MAX_PADDED);
  const key = new Uint8Array(32);
  const sealed = body.seal(padded, key);
  body.checkForm(sealed);
  same(isEqual(body.openSealed(sealed, key), padded), true, "opened");
}

// --- refusals ----------------------------------------------------------------------------------

export interface Refusal {
  readonly operation: string;
  readonly input: unknown;
  readonly expect: { readonly error?: string; readonly accepted?: true };
}

export function playRefusal2(people: People, { operation, input, expect }: Refusal): void {
  const act = OPERATIONS[operation];
  if (act === undefined) throw new Differs(`there is no operation ${operation}`);
  same(endOf(() => act(input, people)), expect, "end");
}

const OPERATIONS: Readonly<Record<string, (input: unknown, people: People) => unknown>> = {
  initiate(input) {
    const given = input as {
      readonly initiator: string;
      readonly initiator_id: string;
      readonly ephemeral_private: string;
      readonly now: number;
      readonly newest: number;
      readonly bundle: ListedDated;
    };
    const ephemeral = keyPairFrom(raw(given.ephemeral_private));
    return initiate(new OwnIdentity(raw(given.initiator)), ephemeral, bundleOf(given.bundle), {
      ownId: raw(given.initiator_id),
      now: given.now,
      newest: given.newest,
      random: (size) => new Uint8Array(size),
    });
  },
  respond(input, people) {
    const given = input as { readonly header: string; readonly initiator_id: string };
    const some = body.seal(new Uint8Array(256), new Uint8Array(32));
    const { handshake } = parse(concat(new Uint8Array([2, 1]), raw(given.header), new Uint8Array(100), some));
    if (handshake === null) throw new Differs("there is no handshake header");
    const bob = member(people, "bob");
    return answerOf(bob, handshake, { ownId: bob.id, peerId: raw(given.initiator_id) }, 2);
  },
  "open-body"(input) {
    const given = input as { readonly body: string; readonly key: string };
    body.checkForm(raw(given.body));
    return body.openSealed(raw(given.body), raw(given.key));
  },
  pad(input) {
    const { length } = input as { readonly length: number };
    return pad(new Uint8Array(length).fill(0x61), undefined, body.MAX_PADDED);
  },
};

// --- transcripts -------------------------------------------------------------------------------

type Name = "alice" | "bob";
const OTHER = { alice: "bob", bob: "alice" } as const;

/** How a message arrives: as it was sent, or as it was changed on the way. */
export interface Flipped {
  readonly bytes?: string;
  /** As it was sent, but for the bits `mask` of the byte `at`. */
  readonly flipped?: { readonly at: number; readonly mask: number };
}

export function arrived({ bytes, flipped }: Flipped, sent: Uint8Array): Uint8Array {
  if (bytes !== undefined) return raw(bytes);
  if (flipped === undefined) return sent;
  return sent.map((byte, at) => (at === flipped.at ? byte ^ flipped.mask : byte));
}

interface State2 extends State {
  readonly part: number;
}

interface Drawn {
  readonly ratchet_private?: string;
  readonly offer_seed?: string;
  readonly kem_m?: string;
}

type Step2 = { readonly by: Name } & (
  | ({
      readonly op: "start";
      readonly now: number;
      readonly with_one_time_prekey: boolean;
      readonly with_one_time_kem_prekey: boolean;
      readonly ephemeral_private: string;
      readonly expect: { readonly sk: string; readonly ad: string; readonly header: string; readonly state: State2 };
    } & Required<Omit<Drawn, "offer_seed">>)
  | {
      readonly op: "send";
      readonly content: string;
      readonly key: string;
      readonly nonce: string;
      readonly message: string;
      readonly expect: { readonly head: string; readonly state: State2 };
    }
  | { readonly op: "lose"; readonly count: number; readonly expect: { readonly state: State2 } }
  | ({
      readonly op: "receive";
      readonly message: string;
      readonly now: number;
      readonly expect: { readonly error?: string; readonly plaintext_sha256: string; readonly state: State2 };
    } & Drawn &
      Flipped)
  | { readonly op: "copy"; readonly as: string }
  | { readonly op: "restore"; readonly from: string; readonly expect: { readonly state: State2 } }
  | { readonly op: "forget"; readonly now: number; readonly expect: { readonly state: State2 } }
);

export interface Transcript2 {
  readonly name: string;
  readonly steps: readonly Step2[];
}

type Op<K extends Step2["op"]> = Extract<Step2, { readonly op: K }>;

export function playTranscript2(people: People, transcript: Transcript2): void {
  const play = new Play2(people);
  for (const [number, step] of transcript.steps.entries()) {
    try {
      play.play(step);
    } catch (error) {
      throw new Differs(`step ${number} (${step.op}): ${String(error)}`, { cause: error });
    }
  }
}

function checkState(state: Session2, expect: State2): void {
  const { ratchet, kem } = session2.load(session2.dump(state));
  const [part, carried] = encodePart(kem.carried);
  const own = { part, carried_sha256: sha256Hex(carried), messages: kem.messages, at: kem.at };
  same({ ...described(ratchet, expect), ...own }, expect, "state");
}

/** A conversation in suite 2; each side has one session. */
class Play2 {
  readonly #people: People;
  readonly #states = new Map<Name, Session2>();
  readonly #messages = new Map<string, Uint8Array>();
  readonly #plaintexts = new Map<string, Uint8Array>();
  readonly #copies = new Map<string, Uint8Array>();

  constructor(people: People) {
    this.#people = people;
  }

  play(step: Step2): void {
    switch (step.op) {
      case "start":
        return this.#start(step);
      case "send":
        return this.#send(step);
      case "receive":
        return this.#receive(step);
      case "lose":
        for (let count = 0; count < step.count; count += 1) {
          const [after] = session2.encrypt(this.#state(step.by), new Uint8Array(256), (size) => new Uint8Array(size));
          this.#states.set(step.by, after);
        }
        return checkState(this.#state(step.by), step.expect.state);
      case "copy":
        this.#copies.set(step.as, session2.dump(this.#state(step.by)));
        return;
      case "restore":
        this.#states.set(step.by, session2.load(member(this.#copies, step.from)));
        return checkState(this.#state(step.by), step.expect.state);
      case "forget":
        this.#states.set(step.by, session2.forgetOld(this.#state(step.by), step.now));
        return checkState(this.#state(step.by), step.expect.state);
    }
  }

  #state(who: Name): Session2 {
    return member(this.#states, who);
  }

  #start(step: Op<"start">): void {
    const own = member(this.#people, step.by);
    const bundle = datedBundle(
      member(this.#people, OTHER[step.by]),
      step.with_one_time_prekey,
      step.with_one_time_kem_prekey,
    );
    const ephemeral = keyPairFrom(raw(step.ephemeral_private));
    const given = { ownId: own.id, now: step.now, newest: 0, persistentNow: step.now };
    const [header, agreement] = initiate(own.identity, ephemeral, bundle, { ...given, random: listed(step.kem_m) });
    const found = { sk: agreement.secret, ad: agreement.associatedData, header: encodeHandshake(header) };
    same({ ...found, state: step.expect.state }, step.expect, "handshake");
    const random = listed(step.kem_m, step.ratchet_private);
    const state = session2.start(own.identity, bundle, ephemeral, { ...given, random });
    checkState(state, step.expect.state);
    this.#states.set(step.by, state);
  }

  #send(step: Op<"send">): void {
    const { expect } = step;
    const before = this.#state(step.by);
    const plaintext = pad(raw(step.content));
    const [after, message] = session2.encrypt(before, plaintext, listed(step.key, step.nonce));
    const parsed = parse(message);
    const [, , mk] = nextKey(before.ratchet);
    const found = {
      head: message.slice(0, message.length - parsed.body.length),
      body_sha256: sha256Hex(parsed.body),
      aad_sha256: sha256Hex(aadOf(parsed, before.associatedData)),
      mk,
      message_key: messageKey(mk),
    };
    same({ ...found, state: expect.state }, expect, "message");
    checkState(after, expect.state);
    this.#states.set(step.by, after);
    this.#messages.set(step.message, message);
    this.#plaintexts.set(step.message, plaintext);
  }

  #receive(step: Op<"receive">): void {
    const { expect } = step;
    const message = arrived(step, member(this.#messages, step.message));
    const before = this.#dumped();
    // An offer is answered with m, or a seed is drawn for an own one; never both.
    const given = { random: listed(step.ratchet_private, step.kem_m, step.offer_seed), now: step.now };
    let plaintext: Uint8Array | null = null;
    const error = errorOf(() => (plaintext = this.#read(step.by, message, given)));
    same(error, expect.error ?? null, "error");
    if (plaintext === null) return same(this.#dumped(), before, "nothing changes");
    same(plaintext, member(this.#plaintexts, step.message), "plaintext");
    same(sha256Hex(plaintext), expect.plaintext_sha256, "hash of the plaintext");
    checkState(this.#state(step.by), expect.state);
  }

  #read(who: Name, message: Uint8Array, given: Reading): Uint8Array {
    const parsed = parse(message);
    const state = this.#states.get(who) ?? this.#answered(who, parsed.handshake, given.now);
    const [after, plaintext] = session2.decrypt(state, parsed, given);
    this.#states.set(who, after);
    return plaintext;
  }

  #answered(who: Name, header: HandshakeHeader | null, now: number): Session2 {
    if (header === null) throw new InvalidMessage("nobody has begun");
    const own = member(this.#people, who);
    const ids = { ownId: own.id, peerId: member(this.#people, OTHER[who]).id };
    return session2.answer(header, answerOf(own, header, ids, 2), own.signed.pair, now);
  }

  #dumped(): readonly (readonly [Name, Uint8Array])[] {
    return [...this.#states].map(([name, state]) => [name, session2.dump(state)]);
  }
}

/** What the relay hands out of somebody's prekeys for suite 2. */
export function datedBundle(own: Person, oneTime: boolean, oneTimeKem: boolean): DatedBundle {
  const lastResort = own.kems["last-resort"];
  const kem = oneTimeKem ? own.kems["one-time"] : lastResort;
  const unsigned: DatedBundle = {
    identity: own.identity.peer,
    userId: own.id,
    madeAt: MADE_AT,
    signedPrekey: own.signed.pair.public,
    signedPrekeyId: own.signed.id,
    kemPrekey: kem.public,
    kemPrekeyId: kem.id,
    kemPrekeySignature: kem.signature,
    lastResortDigest: oneTimeKem ? sha256(lastResort.public) : null,
    lastResortId: oneTimeKem ? lastResort.id : 0,
    signature: NO_BYTES,
    oneTimePrekey: oneTime ? own.oneTime.pair.public : null,
    oneTimePrekeyId: oneTime ? own.oneTime.id : 0,
  };
  return { ...unsigned, signature: own.identity.sign(signedBytes(unsigned)) };
}
