/**
 * The head of a message of suite 2, and where it ends and the body begins (encryption.md, "Head and body").
 *
 * A head is `suite || part || [the part's bytes] || ratchet header || nonce || AES-256-GCM(message key, body key) ||
 * zeros`. There is one for each recipient; it is a message of the ratchet whose plaintext is the key of the body. The
 * second byte fixes its length. Nothing here has been authenticated yet.
 */

import { NO_BYTES, concat, isAllZero } from "../bytes.ts";
import { SUITE, checkForm, filled } from "./body.ts";
import { InvalidMessage, UnknownSuite } from "./errors.ts";
import { HANDSHAKE_BYTES, type HandshakeHeader, decodeHandshake, encodeHandshake } from "./handshake.ts";
import { KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_BYTES, KEY_BYTES, NONCE_BYTES, TAG_BYTES, sha256 } from "./primitives.ts";
import { HEADER_BYTES, type RatchetHeader, decodeHeader } from "./ratchet.ts";

export { SUITE };

/**
 * What all messages of a sending chain carry: nothing, the handshake header, an offered KEM key, or the answer to one.
 */
export type Part =
  | { readonly kind: "nothing" }
  | { readonly kind: "handshake"; readonly header: HandshakeHeader }
  | { readonly kind: "kem-key"; readonly public: Uint8Array }
  | { readonly kind: "kem-ciphertext"; readonly ciphertext: Uint8Array };

export const NOTHING: Part = { kind: "nothing" };

/** In the order of the second byte of a head. */
const KINDS = ["nothing", "handshake", "kem-key", "kem-ciphertext"] as const;
const PART_BYTES = [0, HANDSHAKE_BYTES + KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_BYTES, KEM_CIPHERTEXT_BYTES] as const;
const PART_STARTS = 2;
const SEALED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/** A message taken apart. */
export interface Parsed2 {
  readonly suite: 2;
  readonly part: Part;
  /** The handshake header, if this is what it carries. */
  readonly handshake: HandshakeHeader | null;
  readonly header: RatchetHeader;
  /** Everything before the nonce. */
  readonly authenticated: Uint8Array;
  /** Nonce, ciphertext and tag. */
  readonly sealed: Uint8Array;
  readonly body: Uint8Array;
}

/** What the head authenticates. */
export function aadOf(message: Parsed2, associatedData: Uint8Array): Uint8Array {
  return concat(associatedData, message.authenticated, sha256(message.body));
}

/** The second byte of a head, and the part's bytes. */
export function encodePart(part: Part): readonly [number, Uint8Array] {
  return [KINDS.indexOf(part.kind), bytesOf(part)];
}

function bytesOf(part: Part): Uint8Array {
  switch (part.kind) {
    case "nothing":
      return NO_BYTES;
    case "handshake":
      return encodeHandshake(part.header);
    case "kem-key":
      return part.public;
    case "kem-ciphertext":
      return part.ciphertext;
  }
}

/** Suite, part and the part's bytes. */
export function begin(part: Part): Uint8Array {
  const [kind, bytes] = encodePart(part);
  return concat(new Uint8Array([SUITE, kind]), bytes);
}

/** A whole head. */
export function finish(authenticated: Uint8Array, sealed: Uint8Array): Uint8Array {
  return filled(concat(authenticated, sealed));
}

/**
 * Takes a message (head and body) apart.
 *
 * @throws UnknownSuite Made by another version, by its first byte; the rest is not looked at.
 * @throws InvalidMessage Cut short, with a part that does not exist, or badly ended.
 */
export function parse(message: Uint8Array): Parsed2 {
  const [suite, kind] = message;
  if (suite === undefined) throw new InvalidMessage("a message is empty");
  if (suite !== SUITE) throw new UnknownSuite(`suite ${suite} is not known here`);
  if (kind === undefined) throw new InvalidMessage("a message is cut short");
  const size = PART_BYTES[kind];
  if (size === undefined) throw new InvalidMessage("a message has an unknown part");
  const headerStarts = PART_STARTS + size;
  const nonceStarts = headerStarts + HEADER_BYTES;
  const sealedEnds = nonceStarts + SEALED_BYTES;
  const headEnds = Math.ceil(sealedEnds / 3) * 3;
  if (message.length < headEnds) throw new InvalidMessage("a head is cut short");
  if (!isAllZero(message.subarray(sealedEnds, headEnds))) {
    throw new InvalidMessage("a head does not end with its zeros");
  }
  const body = message.slice(headEnds);
  checkForm(body);
  const part = partFrom(kind, message.slice(PART_STARTS, headerStarts));
  return {
    suite: SUITE,
    part,
    handshake: part.kind === "handshake" ? part.header : null,
    header: decodeHeader(message.subarray(headerStarts, nonceStarts)),
    authenticated: message.slice(0, nonceStarts),
    sealed: message.slice(nonceStarts, sealedEnds),
    body,
  };
}

/**
 * A part from its kind (the second byte of a head) and its bytes.
 *
 * @throws InvalidMessage It is none.
 */
export function decodePart(kind: number, data: Uint8Array): Part {
  if (PART_BYTES[kind] !== data.length) throw new InvalidMessage("a part is damaged");
  return partFrom(kind, data);
}

function partFrom(kind: number, data: Uint8Array): Part {
  switch (KINDS[kind]) {
    case "handshake": {
      const [header] = decodeHandshake(data, true);
      if (header.signedPrekeyId === 0) throw new InvalidMessage("a handshake header names no signed prekey");
      return { kind: "handshake", header };
    }
    case "kem-key":
      return { kind: "kem-key", public: data };
    case "kem-ciphertext":
      return { kind: "kem-ciphertext", ciphertext: data };
    default:
      return NOTHING;
  }
}
