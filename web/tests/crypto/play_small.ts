/** Plays identities, prekeys, handshakes of suite 1, padding and safety numbers. */

import { concat, isEqual } from "../../core/bytes.ts";
import {
  type Agreement,
  type HandshakeHeader,
  decodeHandshake,
  encodeHandshake,
  initiate,
  initiatorSecrets,
  respond,
  responderSecrets,
} from "../../core/crypto/handshake.ts";
import { OwnIdentity, PeerIdentity, keyPairFrom } from "../../core/crypto/keys.ts";
import { pad, unpad } from "../../core/crypto/padding.ts";
import { type PreKeyBundle, makeKemPreKey, verifyPreKeys } from "../../core/crypto/prekeys.ts";
import { hkdf, x25519Public } from "../../core/crypto/primitives.ts";
import { grouped, safetyNumber } from "../../core/crypto/safety.ts";
import { USER_ID } from "../../core/labels.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { certifiedUserId, kemPrekeyBytes, signedPrekeyBytes } from "../../core/wire/signing.ts";
import { type ListedPerson, listed, personOf, raw, rawOrNull, same, sha256Hex, signedPreKey } from "./base.ts";

interface IdentityCase {
  readonly seed: string;
  readonly expect: Readonly<Record<string, string>>;
}

export function playIdentity({ seed, expect }: IdentityCase): void {
  const identity = new OwnIdentity(raw(seed));
  const key = identity.peer.public;
  const found = {
    public: key,
    x25519_private: identity.agreementKey,
    x25519_public: identity.peer.agreementKey,
    hashed: concat(USER_ID, key),
    user_id: identity.peer.userId,
    user_id_base64: certifiedUserId(key),
  };
  same(found, expect, "identity");
  same(x25519Public(identity.agreementKey), identity.peer.agreementKey, "halves of the X25519 image");
  same(encodeBase64(raw(expect["user_id"])), certifiedUserId(key), "user id in base64");
}

export function playPerson(one: ListedPerson): void {
  const { expect } = one;
  const person = personOf(one);
  const { identity, signed } = person;
  const found = {
    public: identity.peer.public,
    seed: identity.seed,
    x25519_private: identity.agreementKey,
    x25519_public: identity.peer.agreementKey,
  };
  same(found, expect.identity, "identity");
  same(person.id, expect.user_id, "user id");
  same(signed.pair.public, expect.signed_prekey.public, "signed prekey");
  same(signed.signature, expect.signed_prekey.signature, "its signature");
  same(signedPrekeyBytes(signed.pair.public), expect.signed_prekey.signed_bytes, "what it signs");
  same(person.oneTime.pair.public, expect.one_time_prekey.public, "one-time prekey");
  const kems = [
    [person.kems["one-time"], expect.kem_prekey],
    [person.kems["last-resort"], expect.last_resort_kem_prekey],
  ] as const;
  for (const [kem, given] of kems) {
    same(kem.public, given.public, "KEM prekey");
    same(kem.signature, given.signature, "its signature");
    same(kemPrekeyBytes(kem.public), given.signed_bytes, "what it signs");
  }
}

export interface ListedBundle {
  readonly identity: string;
  readonly signed_prekey: string;
  readonly signed_prekey_signature: string;
  readonly signed_prekey_id: number;
  readonly one_time_prekey: string | null;
  readonly one_time_prekey_id: number;
  readonly kem_prekey: string | null;
  readonly kem_prekey_signature: string;
  readonly kem_prekey_id: number;
}

export function bundleOf(given: ListedBundle): PreKeyBundle {
  return {
    identity: new PeerIdentity(raw(given.identity)),
    signedPrekey: raw(given.signed_prekey),
    signedPrekeySignature: raw(given.signed_prekey_signature),
    signedPrekeyId: given.signed_prekey_id,
    oneTimePrekey: rawOrNull(given.one_time_prekey),
    oneTimePrekeyId: given.one_time_prekey_id,
    kemPrekey: rawOrNull(given.kem_prekey),
    kemPrekeySignature: raw(given.kem_prekey_signature),
    kemPrekeyId: given.kem_prekey_id,
    dated: null,
  };
}

/** What is between the keys and the secret. */
export interface Derived {
  readonly dh1: string;
  readonly dh2: string;
  readonly dh3: string;
  readonly dh4: string | null;
  readonly ss: string | null;
  readonly ikm: string;
  readonly info: string;
  readonly sk: string;
}

/** Compares the Diffie-Hellman results of one side, and what is derived from them. */
export function checkDerived(found: readonly Uint8Array[], expect: Derived): void {
  const dhs = [expect.dh1, expect.dh2, expect.dh3, expect.dh4].filter((one) => one !== null);
  same(found, dhs, "Diffie-Hellman");
  same(`${"ff".repeat(32)}${dhs.join("")}${expect.ss ?? ""}`, expect.ikm, "ikm");
  const given = { salt: new Uint8Array(32), info: raw(expect.info), length: 32 };
  same(hkdf(raw(expect.ikm), given), expect.sk, "what comes of ikm and info");
}

export interface HandshakeExpect extends Derived {
  readonly ephemeral_public: string;
  readonly kem_ciphertext: string;
  readonly ad: string;
  readonly post_quantum: boolean;
  readonly header: string;
  readonly header_sha256: string;
}

export function checkHandshake(header: HandshakeHeader, agreement: Agreement, expect: HandshakeExpect): void {
  const encoded = encodeHandshake(header);
  same(encoded, expect.header, "header");
  same(sha256Hex(encoded), expect.header_sha256, "hash of the header");
  same(header.ephemeral, expect.ephemeral_public, "ephemeral key");
  same(header.kemCiphertext, expect.kem_ciphertext, "KEM ciphertext");
  same(agreement.secret, expect.sk, "SK");
  same(agreement.associatedData, expect.ad, "AD");
  same(agreement.postQuantum, expect.post_quantum, "whether there is a KEM secret");
  same(expect.ss === null, expect.kem_ciphertext === "", "a KEM secret with its ciphertext");
}

interface HandshakeCase {
  readonly initiator: {
    readonly seed: string;
    readonly user_id: string;
    readonly ephemeral_private: string;
    readonly kem_m: string | null;
  };
  readonly responder: {
    readonly seed: string;
    readonly user_id: string;
    readonly signed_prekey_private: string;
    readonly one_time_prekey_private: string | null;
    readonly kem_prekey_seed: string | null;
  };
  readonly bundle: ListedBundle;
  readonly expect: HandshakeExpect;
}

export function playHandshake({ initiator: one, responder: other, bundle: given, expect }: HandshakeCase): void {
  const [initiator, responder] = [new OwnIdentity(raw(one.seed)), new OwnIdentity(raw(other.seed))];
  const ids = { ownId: raw(one.user_id), peerId: raw(other.user_id) };
  const bundle = bundleOf(given);
  same(bundle.identity.public, responder.peer.public, "identity of the responder");
  verifyPreKeys(bundle);
  const ephemeral = keyPairFrom(raw(one.ephemeral_private));
  const [header, agreement] = initiate(initiator, ephemeral, bundle, { ...ids, random: listed(one.kem_m) });
  checkHandshake(header, agreement, expect);
  const oneTime = header.oneTimePrekeyId > 0 ? bundle.oneTimePrekey : null;
  checkDerived(initiatorSecrets(initiator, ephemeral, bundle.identity, bundle.signedPrekey, oneTime), expect);

  const [received, rest] = decodeHandshake(encodeHandshake(header), header.kemCiphertext.length > 0);
  same(rest.length, 0, "what is behind a header");
  const secret = other.one_time_prekey_private;
  const named = {
    signedPrekey: signedPreKey(given.signed_prekey_id, other.signed_prekey_private),
    oneTimePrekey: secret === null ? null : { id: given.one_time_prekey_id, pair: keyPairFrom(raw(secret)) },
    kemPrekey:
      other.kem_prekey_seed === null ? null : makeKemPreKey(responder, given.kem_prekey_id, raw(other.kem_prekey_seed)),
  };
  const swapped = { ownId: ids.peerId, peerId: ids.ownId };
  same(respond(responder, received, { ...named, ...swapped }), agreement, "the other side");
  checkDerived(responderSecrets(responder, received, named), expect);
}

export function playPadding({ content, expect }: { content: string; expect: { padded: string } }): void {
  same(pad(raw(content)), expect.padded, "padded");
  same(unpad(raw(expect.padded)), content, "unpadded");
}

interface LengthCase {
  readonly length: number;
  readonly expect: { readonly padded_length: number; readonly padded_sha256: string };
}

export function playLength({ length, expect }: LengthCase, most?: number): Uint8Array {
  const bare = new Uint8Array(length).fill(0x61);
  const padded = most === undefined ? pad(bare) : pad(bare, undefined, most);
  same(padded.length, expect.padded_length, "padded length");
  same(sha256Hex(padded), expect.padded_sha256, "hash of the padded content");
  same(isEqual(unpad(padded), bare), true, "unpadded");
  return padded;
}

interface SafetyCase {
  readonly own: { readonly key: string; readonly id: string };
  readonly peer: { readonly key: string; readonly id: string };
  readonly expect: { readonly digits: string; readonly shown: string };
}

export function playSafety({ own, peer, expect }: SafetyCase): void {
  const [one, other] = [own, peer].map(({ key, id }) => ({ key: raw(key), id: raw(id) }));
  if (one === undefined || other === undefined) return;
  same(safetyNumber(one, other), expect.digits, "digits");
  same(safetyNumber(other, one), expect.digits, "digits from the other side");
  same(grouped(expect.digits).join(" "), expect.shown, "groups");
}
