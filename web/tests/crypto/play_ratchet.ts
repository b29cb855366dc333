/** Plays `ratchet.json`, `ratchet-limits.json` and the conversations of `refused.json`: suite 1, several sessions. */

import { NO_BYTES, compare, concat, isEqual, toHex, u32 } from "../../core/bytes.ts";
import { UndecryptableMessage } from "../../core/crypto/errors.ts";
import { type Agreement, initiate, initiatorSecrets } from "../../core/crypto/handshake.ts";
import { keyPairFrom } from "../../core/crypto/keys.ts";
import { pad } from "../../core/crypto/padding.ts";
import { type RatchetState, type Reading, kdfCk, messageKey } from "../../core/crypto/ratchet.ts";
import * as session from "../../core/crypto/session.ts";
import type { Parsed, Session } from "../../core/crypto/session.ts";
import {
  Differs,
  type KemName,
  type People,
  type Person,
  answerOf,
  bundleFrom,
  errorOf,
  listed,
  member,
  raw,
  repeated,
  same,
  sha256Hex,
} from "./base.ts";
import { type HandshakeExpect, checkDerived, checkHandshake } from "./play_small.ts";

type Name = "alice" | "bob";
const OTHER = { alice: "bob", bob: "alice" } as const;

export interface State {
  readonly skipped?: readonly { readonly dh: string; readonly n: number; readonly mk: string }[];
}

interface Step {
  readonly by: Name;
}

interface Start extends Step {
  readonly op: "start";
  readonly session: string;
  readonly with_one_time_prekey: boolean;
  readonly with_kem_prekey: KemName | null;
  readonly ephemeral_private: string;
  readonly kem_m: string | null;
  readonly ratchet_private: string;
  readonly expect: HandshakeExpect & { readonly order: readonly string[]; readonly state: State };
}

interface Send extends Step {
  readonly op: "send";
  readonly content: string;
  readonly nonce: string;
  readonly message: string;
  readonly expect: {
    readonly session: string;
    readonly plaintext: string;
    readonly bytes: string;
    readonly pn: number;
    readonly n: number;
    readonly state: State;
  };
}

interface Lose extends Step {
  readonly op: "lose";
  readonly count: number;
  readonly expect: { readonly state: State };
}

interface Receive extends Step {
  readonly op: "receive";
  readonly message: string;
  readonly bytes?: string;
  readonly now: number;
  readonly ratchet_private?: string;
  readonly expect: {
    readonly error?: string;
    readonly order: readonly string[];
    readonly session: string;
    readonly plaintext_sha256: string;
    readonly begins?: { readonly sk: string; readonly ad: string };
    readonly state: State;
  };
}

interface Copy extends Step {
  readonly op: "copy";
  readonly as: string;
}

interface Restore extends Step {
  readonly op: "restore";
  readonly from: string;
  readonly expect: { readonly order: readonly string[] };
}

interface Forget extends Step {
  readonly op: "forget";
  readonly now: number;
  readonly expect: { readonly state: State };
}

export interface Transcript {
  readonly name: string;
  readonly user_ids: Readonly<Record<Name, string>>;
  readonly is_padded: boolean;
  readonly steps: readonly (Start | Send | Lose | Receive | Copy | Restore | Forget)[];
}

/** One person's sessions with the other, the current one first. */
export class Side {
  sessions: readonly Session[] = [];
  readonly person: Person;
  readonly ownId: Uint8Array;
  readonly peerId: Uint8Array;

  constructor(person: Person, ownId: Uint8Array, peerId: Uint8Array) {
    this.person = person;
    this.ownId = ownId;
    this.peerId = peerId;
  }

  sending(): Session {
    const found = this.sessions.find((one) => one.ratchet.cks !== null);
    if (found === undefined) throw new Differs("no session can send");
    return found;
  }

  renew(before: Session, after: Session): void {
    this.sessions = this.sessions.map((one) => (one === before ? after : one));
  }

  /** Reads a message as encryption.md says under "Several sessions". */
  read(message: Parsed, given: Reading): readonly [Session, Uint8Array, Agreement | null] {
    const { handshake } = message;
    let known = this.sessions;
    let agreement: Agreement | null = null;
    if (handshake !== null && known.every((one) => !isEqual(one.id, handshake.ephemeral))) {
      agreement = answerOf(this.person, handshake, this, 1);
      known = ordered(session.answer(handshake, agreement, this.person.signed.pair), known);
    }
    const [before, after, plaintext] = firstThatOpens(known, message, given);
    const [current] = known;
    const isFirst = current === undefined || !stays(current, before);
    this.sessions = isFirst
      ? [after, ...known.filter((one) => one !== before)]
      : known.map((one) => (one === before ? after : one));
    return [after, plaintext, agreement];
  }
}

function stays(current: Session, other: Session): boolean {
  return current.initiated && current.pending !== null && compare(current.id, other.id) < 0;
}

function ordered(fresh: Session, [current, ...rest]: readonly Session[]): readonly Session[] {
  if (current === undefined) return [fresh];
  return stays(current, fresh) ? [current, fresh, ...rest] : [fresh, current, ...rest];
}

function firstThatOpens(
  known: readonly Session[],
  message: Parsed,
  given: Reading,
): readonly [Session, Session, Uint8Array] {
  let last: unknown = new UndecryptableMessage("there is no session");
  for (const before of known) {
    if (message.handshake !== null && !isEqual(message.handshake.ephemeral, before.id)) continue;
    try {
      return [before, ...session.decrypt(before, message, given)];
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

/** What the vectors list of a ratchet. */
export function described(state: RatchetState, expect: State): object {
  const skipped = [...state.mkskipped.values()];
  const hashed = concat(...skipped.flatMap(({ dh, n, mk }) => [dh, u32(n), mk]));
  const { dhs, dhr, rk, cks, ckr, ns, nr, pn } = state;
  const all = { dhs: dhs.public, dhr, rk, cks, ckr, ns, nr, pn };
  const counted = { skipped_count: skipped.length, skipped_sha256: sha256Hex(hashed) };
  const shown = { skipped: skipped.map(({ dh, n, mk }) => ({ dh, n, mk })) };
  return { ...all, ...counted, ...("skipped" in expect ? shown : {}) };
}

function checkState(state: Session, expect: State): void {
  same(described(session.load(session.dump(state)).ratchet, expect), expect, "state");
}

/** A transcript that is being played; `sides` as they are in the end. */
export class Play {
  readonly sides: Readonly<Record<Name, Side>>;
  readonly #people: People;
  readonly #isPadded: boolean;
  readonly #labels = new Map<string, string>();
  readonly #messages = new Map<string, Uint8Array>();
  readonly #plaintexts = new Map<string, Uint8Array>();
  readonly #copies = new Map<string, readonly Uint8Array[]>();

  constructor(people: People, transcript: Transcript) {
    const side = (name: Name): Side => {
      const ids = transcript.user_ids;
      return new Side(member(people, name), raw(ids[name]), raw(ids[OTHER[name]]));
    };
    this.sides = { alice: side("alice"), bob: side("bob") };
    this.#people = people;
    this.#isPadded = transcript.is_padded;
    for (const [number, step] of transcript.steps.entries()) {
      try {
        this.#play(step, this.sides[step.by]);
      } catch (error) {
        throw new Differs(`step ${number} (${step.op}): ${String(error)}`, { cause: error });
      }
    }
  }

  #play(step: Transcript["steps"][number], side: Side): void {
    switch (step.op) {
      case "start":
        return this.#start(step, side);
      case "send":
        return this.#send(step, side);
      case "lose":
        return this.#lose(step, side);
      case "receive":
        return this.#receive(step, side);
      case "copy":
        this.#copies.set(step.as, side.sessions.map((one) => session.dump(one)));
        return;
      case "restore":
        side.sessions = member(this.#copies, step.from).map((one) => session.load(one));
        return same(this.#order(side), step.expect.order, "order");
      case "forget":
        side.sessions = side.sessions.map((one) => session.forgetOld(one, step.now));
        return checkState(current(side), step.expect.state);
    }
  }

  #order(side: Side): readonly (string | undefined)[] {
    return side.sessions.map((one) => this.#labels.get(toHex(one.id)));
  }

  #start(step: Start, side: Side): void {
    const own = side.person.identity;
    const bundle = bundleFrom(member(this.#people, OTHER[step.by]), step.with_one_time_prekey, step.with_kem_prekey);
    const ephemeral = keyPairFrom(raw(step.ephemeral_private));
    const ids = { ownId: side.ownId, peerId: side.peerId };
    const [header, agreement] = initiate(own, ephemeral, bundle, { ...ids, random: listed(step.kem_m) });
    checkHandshake(header, agreement, step.expect);
    const dhs = initiatorSecrets(own, ephemeral, bundle.identity, bundle.signedPrekey, bundle.oneTimePrekey);
    checkDerived(dhs, step.expect);
    const random = listed(step.kem_m, step.ratchet_private);
    const state = session.start(own, bundle, ephemeral, { ...ids, random });
    same(state.classical, !step.expect.post_quantum, "classical");
    this.#labels.set(toHex(state.id), step.session);
    side.sessions = [state, ...side.sessions];
    checkState(state, step.expect.state);
    same(this.#order(side), step.expect.order, "order");
  }

  #send(step: Send, side: Side): void {
    const { expect } = step;
    const before = side.sending();
    const content = raw(step.content);
    const plaintext = this.#isPadded ? pad(content) : content;
    const [after, message] = session.encrypt(before, plaintext, listed(step.nonce));
    const { header, ciphertext } = session.parse(message);
    const [, mk] = kdfCk(before.ratchet.cks ?? NO_BYTES);
    const found = {
      session: this.#labels.get(toHex(before.id)),
      plaintext,
      bytes: message,
      ciphertext,
      ...header,
      mk,
      message_key: messageKey(mk),
      aad: concat(before.associatedData, message.slice(0, message.length - ciphertext.length)),
    };
    same({ ...found, state: expect.state }, expect, "message");
    side.renew(before, after);
    checkState(after, expect.state);
    this.#messages.set(step.message, message);
    this.#plaintexts.set(step.message, plaintext);
  }

  #lose(step: Lose, side: Side): void {
    const before = side.sending();
    let after = before;
    for (let count = 0; count < step.count; count += 1) {
      [after] = session.encrypt(after, NO_BYTES, (size) => new Uint8Array(size));
    }
    side.renew(before, after);
    checkState(after, step.expect.state);
  }

  #receive(step: Receive, side: Side): void {
    const { expect } = step;
    const message = step.bytes === undefined ? member(this.#messages, step.message) : raw(step.bytes);
    const before = side.sessions;
    const given = { random: repeated(step.ratchet_private), now: step.now };
    let found: ReturnType<Side["read"]> | null = null;
    const error = errorOf(() => (found = side.read(session.parse(message), given)));
    same(error, expect.error ?? null, "error");
    same(this.#order(side), expect.order, "order");
    if (found === null) return same(side.sessions === before, true, "nothing changes");
    const [after, plaintext, agreement] = found as ReturnType<Side["read"]>;
    same(plaintext, member(this.#plaintexts, step.message), "plaintext");
    same(sha256Hex(plaintext), expect.plaintext_sha256, "hash of the plaintext");
    same(this.#labels.get(toHex(after.id)), expect.session, "session");
    const begins = agreement === null ? null : { sk: agreement.secret, ad: agreement.associatedData };
    same(begins, expect.begins ?? null, "what begins");
    checkState(after, expect.state);
  }
}

function current(side: Side): Session {
  const [first] = side.sessions;
  if (first === undefined) throw new Differs("there is no session");
  return first;
}
