/** Plays `canonical.json`, `written-ids.json`, and the conversation ids of `user-ids.json`. */

import { conversationId, plainId, writtenId } from "../../core/client/ids.ts";
import { InvalidUserId } from "../../core/client/errors.ts";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { canonical, parseStrictly } from "../../core/wire/canonical.ts";
import { decodeClient, decodeRelay, encode, original, signedText } from "../../core/wire/codec.ts";
import { envelopeBytes } from "../../core/wire/signing.ts";
import { Differs, raw, same } from "../crypto/base.ts";

export function playValue({ text, expect }: { text: string; expect: { canonical: string } }): void {
  same(canonical(parseStrictly(text)), expect.canonical, "canonical form");
}

interface FrameCase {
  readonly text: string;
  readonly type: string;
  readonly seed: string;
  readonly public: string;
  readonly expect: {
    readonly canonical: string;
    readonly signed_bytes: string;
    readonly signature: string;
    readonly sent: string;
    readonly passed_on: { readonly text: string; readonly sender: string; readonly seq: number } | null;
  };
}

export function playFrame({ text, type, seed, public: key, expect }: FrameCase): void {
  const identity = new OwnIdentity(raw(seed));
  same(identity.peer.public, key, "key of the signer");
  const { frame, signedText: signed } = decodeClient(text);
  same(frame.type, type, "type");
  same(signed, expect.canonical, "what is signed");
  const bytes = envelopeBytes(signed);
  same(bytes, expect.signed_bytes, "bytes under the signature");
  same(identity.sign(bytes), expect.signature, "signature");
  identity.peer.verify(raw(expect.signature), bytes);
  same(encode(frame), expect.sent, "what is sent");
  same("signature" in frame ? frame.signature : "", encodeBase64(raw(expect.signature)), "signature in the frame");
  const isRouted = ["MESSAGE", "KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE"].includes(type);
  same(isRouted, expect.passed_on !== null, "whether it is passed on");
  if (expect.passed_on !== null) playPassedOn(expect.passed_on, signed);
}

function playPassedOn(passedOn: NonNullable<FrameCase["expect"]["passed_on"]>, signed: string): void {
  const got = decodeRelay(passedOn.text);
  const isRouted =
    got?.type === "MESSAGE" || got?.type === "KEY_EXCHANGE_INIT" || got?.type === "KEY_EXCHANGE_RESPONSE";
  if (!isRouted) throw new Differs("it is not a frame that is passed on");
  same([got.payload.senderId, got.seq], [passedOn.sender, passedOn.seq], "what the relay added");
  same(encode(got), passedOn.text, "written again");
  same(signedText(original(got)), signed, "what is signed, of what was passed on");
}

export function playPair({ ids, expect }: { ids: readonly string[]; expect: { conversation_id: string } }): void {
  const [one = "", other = ""] = ids.map((id) => encodeBase64(raw(id)));
  same(conversationId(one, other), expect.conversation_id, "conversation id");
  same(conversationId(other, one), expect.conversation_id, "conversation id from the other side");
}

export function playWritten({ user_id: hex, expect }: { user_id: string; expect: { written: string } }): void {
  const id = encodeBase64(raw(hex));
  const { written } = expect;
  same(writtenId(id), written, "written id");
  same([written, written.toUpperCase(), ` ${written}\n`].map(plainId), [id, id, id], "read again");
}

export function playMistaken({ written, expect }: { written: string; expect: { accepted: boolean } }): void {
  let isAccepted = true;
  try {
    plainId(written);
  } catch (error) {
    if (!(error instanceof InvalidUserId) || !error.message.includes("copy it again")) throw error;
    isAccepted = false;
  }
  same(isAccepted, expect.accepted, "whether it is accepted");
}
