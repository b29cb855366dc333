/**
 * PQXDH with ML-KEM-768, and plain X3DH with a peer that has no KEM prekey (encryption.md, "Handshake").
 *
 * The handshake gives a wire header and a secret; it never sees a message.
 */

import { NO_BYTES, type Random, concat, readU32, u16, u32, utf8 } from "../bytes.ts";
import { InvalidMessage, UnknownPreKey } from "./errors.ts";
import { type KeyPair, type OwnIdentity, PeerIdentity } from "./keys.ts";
import { type KemPreKey, type PreKey, type PreKeyBundle, type SignedPreKey, verifyPreKeys } from "./prekeys.ts";
import {
  KEM_CIPHERTEXT_BYTES,
  hkdf,
  kemDecapsulate,
  kemEncapsulate,
  sha256,
  x25519,
} from "./primitives.ts";

const PQXDH_INFO = utf8("phantom/1 PQXDH X25519 SHA-256 ML-KEM-768\n");
const X3DH_INFO = utf8("phantom/1 X3DH X25519 SHA-256\n");
const ASSOCIATED_DATA = utf8("phantom/1 associated-data\n");

/** X3DH section 2.2: so that the input of the KDF is never the encoding of a curve point. */
const F = new Uint8Array(32).fill(0xff);
const NO_SALT = new Uint8Array(32);

/** Bytes of a handshake header without a KEM ciphertext. */
export const HANDSHAKE_BYTES = 76;

/**
 * What the responder needs, repeated with every message until it has answered. Ids are 0 where there is no such key.
 */
export interface HandshakeHeader {
  readonly identity: PeerIdentity;
  readonly ephemeral: Uint8Array;
  readonly signedPrekeyId: number;
  readonly oneTimePrekeyId: number;
  readonly kemPrekeyId: number;
  /** Empty without a KEM. */
  readonly kemCiphertext: Uint8Array;
}

/** 76 bytes, and 1,088 more with a KEM. */
export function encodeHandshake(header: HandshakeHeader): Uint8Array {
  return concat(
    header.identity.public,
    header.ephemeral,
    u32(header.signedPrekeyId),
    u32(header.oneTimePrekeyId),
    u32(header.kemPrekeyId),
    header.kemCiphertext,
  );
}

/**
 * Reads a header from the start of `data`; returns it and the rest.
 *
 * @throws InvalidMessage Too short, or it names a KEM key without its ciphertext or the other way round.
 */
export function decodeHandshake(data: Uint8Array, hasKem: boolean): readonly [HandshakeHeader, Uint8Array] {
  const end = HANDSHAKE_BYTES + (hasKem ? KEM_CIPHERTEXT_BYTES : 0);
  if (data.length < end) throw new InvalidMessage("a handshake header is cut short");
  const header: HandshakeHeader = {
    identity: new PeerIdentity(data.slice(0, 32)),
    ephemeral: data.slice(32, 64),
    signedPrekeyId: readU32(data, 64),
    oneTimePrekeyId: readU32(data, 68),
    kemPrekeyId: readU32(data, 72),
    kemCiphertext: data.slice(HANDSHAKE_BYTES, end),
  };
  if (hasKem !== header.kemPrekeyId > 0) {
    throw new InvalidMessage("a handshake header names a KEM key without its ciphertext, or the other way round");
  }
  return [header, data.slice(end)];
}

/** What both sides hold after the handshake: 32 secret bytes, and what they are bound to. */
export interface Agreement {
  readonly secret: Uint8Array;
  readonly associatedData: Uint8Array;
  /** A KEM secret is in it. */
  readonly postQuantum: boolean;
}

/** Who begins, and who answers: identity keys and raw user ids. */
export interface Sides {
  readonly initiator: PeerIdentity;
  readonly responder: PeerIdentity;
  readonly initiatorId: Uint8Array;
  readonly responderId: Uint8Array;
}

/** What every message of a session authenticates: who talks to whom (X3DH section 3.3, and user ids). */
export function associatedData(sides: Sides, label: Uint8Array = ASSOCIATED_DATA): Uint8Array {
  const { initiator, responder, initiatorId, responderId } = sides;
  return concat(
    label,
    initiator.public,
    responder.public,
    u16(initiatorId.length),
    initiatorId,
    u16(responderId.length),
    responderId,
  );
}

/** The raw user ids of both sides, as one side sees them. */
export interface Ids {
  readonly ownId: Uint8Array;
  readonly peerId: Uint8Array;
}

/**
 * Starts a session with the owner of a bundle.
 *
 * @param ephemeral Fresh, used for this session alone.
 * @param bundle The peer's prekeys; their signatures are checked here.
 * @param given `random` is asked for 32 bytes if there is a KEM key.
 * @throws InvalidSignature The peer did not sign its prekeys.
 * @throws InvalidKey One of the keys contributes nothing, or is malformed.
 */
export function initiate(
  own: OwnIdentity,
  ephemeral: KeyPair,
  bundle: PreKeyBundle,
  given: Ids & { readonly random: Random },
): readonly [HandshakeHeader, Agreement] {
  verifyPreKeys(bundle);
  // A key without an id cannot be named in the header, so the peer would never find it.
  const oneTimePrekey = bundle.oneTimePrekeyId > 0 ? bundle.oneTimePrekey : null;
  const kemPrekey = bundle.kemPrekeyId > 0 ? bundle.kemPrekey : null;
  const secrets = initiatorSecrets(own, ephemeral, bundle.identity, bundle.signedPrekey, oneTimePrekey);
  let kemCiphertext = NO_BYTES;
  let info = X3DH_INFO;
  if (kemPrekey !== null) {
    const [shared, ciphertext] = kemEncapsulate(kemPrekey, given.random);
    secrets.push(shared);
    kemCiphertext = ciphertext;
    info = concat(PQXDH_INFO, sha256(concat(kemPrekey, ciphertext)));
  }
  const header: HandshakeHeader = {
    identity: own.peer,
    ephemeral: ephemeral.public,
    signedPrekeyId: bundle.signedPrekeyId,
    oneTimePrekeyId: oneTimePrekey === null ? 0 : bundle.oneTimePrekeyId,
    kemPrekeyId: kemPrekey === null ? 0 : bundle.kemPrekeyId,
    kemCiphertext,
  };
  const bound = associatedData({
    initiator: own.peer,
    responder: bundle.identity,
    initiatorId: given.ownId,
    responderId: given.peerId,
  });
  return [header, { secret: deriveSecret(secrets, info), associatedData: bound, postQuantum: kemPrekey !== null }];
}

/** The prekeys that a header names. */
export interface NamedPreKeys {
  readonly signedPrekey: SignedPreKey;
  readonly oneTimePrekey: PreKey | null;
  readonly kemPrekey: KemPreKey | null;
}

/**
 * Joins a session that a peer started.
 *
 * @throws UnknownPreKey The header names other prekeys.
 * @throws InvalidKey One of the peer's keys contributes nothing.
 */
export function respond(own: OwnIdentity, header: HandshakeHeader, given: NamedPreKeys & Ids): Agreement {
  const { kemPrekey } = given;
  checkNamed(header, given);
  const secrets = responderSecrets(own, header, given);
  let info = X3DH_INFO;
  if (kemPrekey !== null) {
    secrets.push(kemDecapsulate(kemPrekey.seed, header.kemCiphertext));
    info = concat(PQXDH_INFO, sha256(concat(kemPrekey.public, header.kemCiphertext)));
  }
  const bound = associatedData({
    initiator: header.identity,
    responder: own.peer,
    initiatorId: given.peerId,
    responderId: given.ownId,
  });
  return { secret: deriveSecret(secrets, info), associatedData: bound, postQuantum: kemPrekey !== null };
}

// --- the parts that do not depend on the suite -------------------------------------------------

/**
 * DH1 to DH3, and DH4 if there is a one-time prekey (X3DH section 3.3).
 *
 * @throws InvalidKey One of the peer's keys contributes nothing.
 */
export function initiatorSecrets(
  own: OwnIdentity,
  ephemeral: KeyPair,
  peer: PeerIdentity,
  signedPrekey: Uint8Array,
  oneTimePrekey: Uint8Array | null,
): Uint8Array[] {
  const secrets = [
    x25519(own.agreementKey, signedPrekey),
    x25519(ephemeral.private, peer.agreementKey),
    x25519(ephemeral.private, signedPrekey),
  ];
  if (oneTimePrekey !== null) secrets.push(x25519(ephemeral.private, oneTimePrekey));
  return secrets;
}

/** The same from the other side. */
export function responderSecrets(own: OwnIdentity, header: HandshakeHeader, named: NamedPreKeys): Uint8Array[] {
  const signed = named.signedPrekey.pair.private;
  const secrets = [
    x25519(signed, header.identity.agreementKey),
    x25519(own.agreementKey, header.ephemeral),
    x25519(signed, header.ephemeral),
  ];
  if (named.oneTimePrekey !== null) secrets.push(x25519(named.oneTimePrekey.pair.private, header.ephemeral));
  return secrets;
}

/**
 * Refuses prekeys that are not those which a header names.
 *
 * @throws UnknownPreKey They are others.
 */
export function checkNamed(header: HandshakeHeader, named: NamedPreKeys): void {
  const isNamed =
    named.signedPrekey.id === header.signedPrekeyId &&
    (named.oneTimePrekey?.id ?? 0) === header.oneTimePrekeyId &&
    (named.kemPrekey?.id ?? 0) === header.kemPrekeyId;
  if (!isNamed) throw new UnknownPreKey("the handshake names other prekeys");
}

/** SK: X3DH section 2.2, with all secrets of the agreement. */
export function deriveSecret(secrets: readonly Uint8Array[], info: Uint8Array): Uint8Array {
  return hkdf(concat(F, ...secrets), { salt: NO_SALT, info, length: 32 });
}
