/** Plays `suite2-sessions.json`: several sessions of suite 2 between two users, through a client's conversations. */

import { AddressBook } from "../../core/client/address_book.ts";
import { LEAST_PADDED, type Ends } from "../../core/client/content.ts";
import * as content2 from "../../core/client/content2.ts";
import { encode } from "../../core/client/content_suites.ts";
import { Conversations, conversationId } from "../../core/client/conversations.ts";
import type { PreKeyStore } from "../../core/client/prekey_store.ts";
import { ContactRecord, OutboxRecord } from "../../core/client/records.ts";
import { type Vault, newVault } from "../../core/client/vault.ts";
import { type Random, isEqual, toHex } from "../../core/bytes.ts";
import { UnknownPreKey } from "../../core/crypto/errors.ts";
import type { HandshakeHeader, NamedPreKeys } from "../../core/crypto/handshake.ts";
import { OwnIdentity, PeerIdentity, keyPairFrom } from "../../core/crypto/keys.ts";
import { pad, unpad } from "../../core/crypto/padding.ts";
import { ed25519Public } from "../../core/crypto/primitives.ts";
import { type AnySession, dump } from "../../core/crypto/suites.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { signedText } from "../../core/wire/codec.ts";
import type { Message } from "../../core/wire/frames.ts";
import { envelopeBytes } from "../../core/wire/signing.ts";
import { Differs, type People, type Person, errorOf, listed, member, raw, repeated, same, sha256Hex } from "./base.ts";
import { type Flipped, arrived, datedBundle } from "./play_suite2.ts";

const NUMBER = "00000000-0000-4000-8000-000000000001";
const MADE_AT = 1_770_000_000_000;

type Name = "alice" | "bob";
const OTHER = { alice: "bob", bob: "alice" } as const;

interface After {
  readonly order?: readonly string[];
}

type Step = { readonly by: Name; readonly expect: After } & (
  | {
      readonly op: "start";
      readonly session: string;
      readonly now: number;
      readonly ephemeral_private: string;
      readonly kem_m: string;
      readonly ratchet_private: string;
    }
  | {
      readonly op: "send";
      readonly message: string;
      readonly content: string;
      readonly key: string;
      readonly nonce: string;
      readonly expect: { readonly session: string; readonly message_sha256: string };
    }
  | { readonly op: "lose"; readonly count: number }
  | ({
      readonly op: "receive";
      readonly message: string;
      readonly now: number;
      readonly ratchet_private?: string;
      readonly expect: { readonly error?: string; readonly session?: string; readonly plaintext_sha256?: string };
    } & Flipped)
  | { readonly op: "lose-sessions" }
);

export interface SessionsTranscript {
  readonly name: string;
  readonly user_ids: Readonly<Record<Name, string>>;
  readonly steps: readonly Step[];
}

/** An identity under an id that need not certify it. */
class UnderId extends OwnIdentity {
  override readonly peer: PeerIdentity;

  constructor(seed: Uint8Array, id: Uint8Array) {
    super(seed);
    this.peer = Object.defineProperty(new PeerIdentity(ed25519Public(seed)), "userId", { value: id });
  }
}

/** A user, under the id that they use; of the prekeys that last none is ever used up. */
class Side {
  readonly #own: Person;
  readonly #peer: Person;
  readonly #peerId: string;
  readonly #vault: Vault;
  readonly #conversations: Conversations;
  #random: Random = listed();

  constructor(own: Person, peer: Person) {
    let count = 0;
    const fresh = (size: number): Uint8Array => new Uint8Array(size).fill((count += 1));
    this.#own = own;
    this.#peer = peer;
    this.#peerId = encodeBase64(peer.id);
    this.#vault = newVault(new Uint8Array(32).fill(7), fresh);
    const book = new AddressBook(this.#vault);
    this.#vault.transaction((tx) => book.put(tx, ContactRecord.make({ userId: this.#peerId, name: "peer" })));
    const prekeys = { namedIn: (header: HandshakeHeader) => this.#namedIn(header), consume: () => undefined };
    const drawn: Random = (size) => this.#random(size);
    const identity = new UnderId(own.identity.seed, own.id);
    this.#conversations = new Conversations(this.#vault, book, identity, prekeys as unknown as PreKeyStore, drawn);
  }

  #namedIn(header: HandshakeHeader): NamedPreKeys {
    const { signed, kems } = this.#own;
    if (header.signedPrekeyId !== signed.id || header.kemPrekeyId !== kems["last-resort"].id) {
      throw new UnknownPreKey("there is no such prekey");
    }
    return { signedPrekey: signed, oneTimePrekey: null, kemPrekey: kems["last-resort"] };
  }

  get sessions(): readonly AnySession[] {
    return this.#conversations.load(this.#peerId).sessions;
  }

  /** Begins a session; returns its id. */
  begin(step: Extract<Step, { op: "start" }>): Uint8Array {
    const { now } = step;
    const dated = datedBundle(this.#peer, false, false);
    const bundle = { ...dated, signedPrekeySignature: this.#peer.signed.signature, dated };
    const ephemeral = keyPairFrom(raw(step.ephemeral_private));
    this.#random = listed(step.kem_m, step.ratchet_private);
    this.#vault.transaction((tx) => {
      this.#conversations.begin(tx, this.#conversations.load(this.#peerId), bundle, ephemeral, { now, wall: now });
    });
    return ephemeral.public;
  }

  /** The session that was used, the content, and the message. */
  write(text: string, random: Random): readonly [AnySession, Uint8Array, Uint8Array] {
    this.#random = random;
    const state = this.#conversations.load(this.#peerId);
    const used = state.sending;
    if (used === null) throw new Differs("no session can send");
    const given = { messageId: NUMBER, peer: this.#peerId, text, burn: false, expiresIn: null, madeAt: MADE_AT };
    const { sealed } = this.#vault.transaction((tx) => this.#conversations.seal(tx, state, OutboxRecord.make(given)));
    const content = content2.encode({ kind: "text", sentAt: MADE_AT, body: text }, endsOf(this.#own, this.#peer));
    return [used, content, sealed];
  }

  /** The session in which a message was read that stands in an envelope which somebody has signed, and its content. */
  read(message: Uint8Array, signer: OwnIdentity, now: number, random: Random): readonly [AnySession, Uint8Array] {
    this.#random = random;
    const before = this.sessions;
    const frame = envelope(message, encodeBase64(this.#own.id), this.#peerId, signer);
    const routed = { ...frame, seq: 1, payload: { ...frame.payload, senderId: this.#peerId } };
    const { content } = this.#vault.transaction((tx) => this.#conversations.open(tx, routed, now));
    if (content.kind === "newer" || content.kind === "between") throw new Differs("it is newer");
    const used = this.sessions.find((one) => before.every((other) => !isEqual(dump(other), dump(one))));
    if (used === undefined) throw new Differs("no session has changed");
    return [used, encode(content, endsOf(this.#peer, this.#own), 2)];
  }

  loseSessions(): void {
    this.#vault.transaction((tx) => this.#conversations.forget(tx, this.#peerId));
  }
}

function endsOf(from: Person, to: Person): Ends {
  const [sender, recipient] = [from, to].map((one) => ({ id: one.id, key: one.identity.peer.public }));
  if (sender === undefined || recipient === undefined) throw new Differs("nobody");
  return { sender: sender.id, senderKey: sender.key, recipient: recipient.id, recipientKey: recipient.key };
}

function envelope(message: Uint8Array, recipientId: string, senderId: string, signer: OwnIdentity): Message {
  const payload = {
    conversationId: conversationId(senderId, recipientId),
    encrypted: encodeBase64(message),
    messageId: NUMBER,
    recipientId,
  };
  const bare: Message = { type: "MESSAGE", timestamp: 0, signature: "", payload };
  return { ...bare, signature: encodeBase64(signer.sign(envelopeBytes(signedText(bare)))) };
}

/** Plays one transcript. */
export function playSessions2(people: People, transcript: SessionsTranscript): void {
  const own = (name: Name): Person => ({ ...member(people, name), id: raw(transcript.user_ids[name]) });
  const [alice, bob] = [own("alice"), own("bob")];
  const sides = { alice: new Side(alice, bob), bob: new Side(bob, alice) };
  const play = new Play(people, sides);
  for (const [number, step] of transcript.steps.entries()) {
    try {
      play.play(step);
    } catch (error) {
      throw new Differs(`step ${number} (${step.op}): ${String(error)}`, { cause: error });
    }
  }
}

class Play {
  readonly #people: People;
  readonly #sides: Readonly<Record<Name, Side>>;
  readonly #labels = new Map<string, string>();
  readonly #messages = new Map<string, Uint8Array>();

  constructor(people: People, sides: Readonly<Record<Name, Side>>) {
    this.#people = people;
    this.#sides = sides;
  }

  play(step: Step): void {
    const side = this.#sides[step.by];
    const found = this.#found(step, side);
    const order = side.sessions.map((one) => this.#label(one));
    same({ ...found, order }, { order, ...step.expect }, "result");
  }

  #found(step: Step, side: Side): object {
    switch (step.op) {
      case "start":
        this.#labels.set(toHex(side.begin(step)), step.session);
        return {};
      case "send": {
        const [used, content, message] = side.write(step.message, listed(step.key, step.nonce));
        same(content, step.content, "content");
        this.#messages.set(step.message, message);
        return { session: this.#label(used), message_sha256: sha256Hex(message) };
      }
      case "lose":
        for (let count = 0; count < step.count; count += 1) side.write("", (size) => new Uint8Array(size));
        return {};
      case "receive":
        return this.#receive(step, side);
      case "lose-sessions":
        side.loseSessions();
        return {};
    }
  }

  #receive(step: Extract<Step, { op: "receive" }>, side: Side): object {
    const message = arrived(step, member(this.#messages, step.message));
    let found: ReturnType<Side["read"]> | null = null;
    const signer = this.#signerOf(step, message);
    const error = errorOf(() => (found = side.read(message, signer, step.now, repeated(step.ratchet_private))));
    if (found === null) return { error };
    const [used, padded] = found as ReturnType<Side["read"]>;
    same(pad(unpad(padded), LEAST_PADDED), padded, "padding");
    return { session: this.#label(used), plaintext_sha256: sha256Hex(padded) };
  }

  /** The key in the header if it is somebody's, else the sender's. */
  #signerOf(step: Step, message: Uint8Array): OwnIdentity {
    const key = message.slice(2, 34);
    const named = [...this.#people.values()].find(({ identity }) => isEqual(identity.peer.public, key));
    return (named ?? member(this.#people, OTHER[step.by])).identity;
  }

  #label(one: AnySession): string {
    return this.#labels.get(toHex(one.id)) ?? "";
  }
}
