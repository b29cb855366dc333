/** Plays `refused.json`: what must be rejected, and what differs only slightly and must not be. */

import * as content1 from "../../core/client/content1.ts";
import { decodeHandshake, initiate } from "../../core/crypto/handshake.ts";
import { PeerIdentity, keyPairFrom } from "../../core/crypto/keys.ts";
import { pad, unpad } from "../../core/crypto/padding.ts";
import { x25519 } from "../../core/crypto/primitives.ts";
import * as session from "../../core/crypto/session.ts";
import { decodeClient } from "../../core/wire/codec.ts";
import { RequestError } from "../../core/wire/codes.ts";
import { Differs, type People, answerOf, endOf, member, raw, repeated, same } from "./base.ts";
import { playOpen } from "./play_open.ts";
import { Play, type Transcript } from "./play_ratchet.ts";
import { type ListedBundle, bundleOf } from "./play_small.ts";

const NOW = 1_770_000_000_000;

export interface RefusedCase {
  readonly operation: string;
  readonly input: unknown;
  readonly expect: { readonly error?: string; readonly reason?: string; readonly accepted?: true };
}

/** What the cases stand on. */
export interface Ground {
  readonly people: People;
  readonly conversations: ReadonlyMap<string, Transcript>;
}

export function playRefused({ operation, input, expect }: RefusedCase, ground: Ground): void {
  if (operation === "open") return same(playOpen(ground.people, input), expect, "end");
  const act = OPERATIONS[operation];
  if (act === undefined) throw new Differs(`there is no operation ${operation}`);
  if (expect.error === "Refused") return same(reasonOf(() => act(input, ground)), expect.reason, "reason");
  same(endOf(() => act(input, ground)), expect, "end");
}

function reasonOf(act: () => unknown): string | null {
  try {
    act();
    return null;
  } catch (error) {
    if (error instanceof RequestError) return error.reason;
    throw error;
  }
}

type Hex<Names extends string> = Readonly<Record<Names, string>>;

const OPERATIONS: Readonly<Record<string, (input: unknown, ground: Ground) => unknown>> = {
  verify(input) {
    const given = input as Hex<"public" | "signature" | "signed_bytes">;
    new PeerIdentity(raw(given.public)).verify(raw(given.signature), raw(given.signed_bytes));
  },
  x25519(input) {
    const given = input as Hex<"private" | "public">;
    return x25519(raw(given.private), raw(given.public));
  },
  "agreement-key"(input) {
    return new PeerIdentity(raw((input as Hex<"public">).public)).agreementKey;
  },
  initiate(input, { people }) {
    const given = input as Hex<"initiator" | "ephemeral_private" | "responder_id"> & { readonly bundle: ListedBundle };
    const own = member(people, given.initiator);
    return initiate(own.identity, keyPairFrom(raw(given.ephemeral_private)), bundleOf(given.bundle), {
      ownId: own.id,
      peerId: raw(given.responder_id),
      random: (size) => new Uint8Array(size),
    });
  },
  respond(input, { people }) {
    const given = input as Hex<"header" | "responder" | "initiator_id"> & { readonly has_kem: boolean };
    const [header, rest] = decodeHandshake(raw(given.header), given.has_kem);
    same(rest.length, 0, "what is behind a header");
    const own = member(people, given.responder);
    return answerOf(own, header, { ownId: own.id, peerId: raw(given.initiator_id) }, 1);
  },
  parse(input) {
    return session.parse(raw((input as Hex<"bytes">).bytes));
  },
  receive(input, { people, conversations }) {
    const given = input as Hex<"conversation" | "bytes"> & {
      readonly by: "alice" | "bob";
      readonly ratchet_private?: string | null;
    };
    const side = new Play(people, member(conversations, given.conversation)).sides[given.by];
    const dumped = (): readonly Uint8Array[] => side.sessions.map((one) => session.dump(one));
    const before = dumped();
    try {
      side.read(session.parse(raw(given.bytes)), { random: repeated(given.ratchet_private), now: NOW });
    } catch (error) {
      same(dumped(), before, "nothing changes");
      throw error;
    }
  },
  unpad(input) {
    return unpad(raw((input as Hex<"padded">).padded));
  },
  pad(input) {
    return pad(new Uint8Array((input as { readonly length: number }).length).fill(0x61));
  },
  content(input) {
    return content1.read(raw((input as Hex<"padded">).padded));
  },
  "decode-frame"(input) {
    return decodeClient((input as Hex<"text">).text);
  },
};
