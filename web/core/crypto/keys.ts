/** Identity keys. The user's own and a peer's are different types, and secrets do not print. */

import { concat } from "../bytes.ts";
import { USER_ID } from "../labels.ts";
import {
  ed25519Public,
  ed25519Signer,
  ed25519ToX25519Private,
  ed25519ToX25519Public,
  ed25519Verify,
  sha256,
  x25519Public,
} from "./primitives.ts";

/** Somebody's long-term Ed25519 public key, 32 bytes. */
export class PeerIdentity {
  readonly public: Uint8Array;

  constructor(key: Uint8Array) {
    this.public = key;
  }

  /** The 32-byte user id that certifies this key. */
  get userId(): Uint8Array {
    return sha256(concat(USER_ID, this.public));
  }

  /**
   * Its X25519 image, for Diffie-Hellman.
   *
   * @throws InvalidKey Nobody should use this key.
   */
  get agreementKey(): Uint8Array {
    return ed25519ToX25519Public(this.public);
  }

  /**
   * Checks a signature of this identity, strictly.
   *
   * @throws InvalidSignature It does not verify.
   */
  verify(signature: Uint8Array, message: Uint8Array): void {
    ed25519Verify(this.public, signature, message);
  }
}

/** The user's own long-term key pair, made from 32 random bytes: they are the identity. */
export class OwnIdentity {
  readonly #seed: Uint8Array;
  #signer: ((message: Uint8Array) => Uint8Array) | null = null;
  /** The half that others may know. */
  readonly peer: PeerIdentity;

  constructor(seed: Uint8Array) {
    this.#seed = seed;
    this.peer = new PeerIdentity(ed25519Public(seed));
  }

  /** The secret itself, to be stored encrypted and shown to nobody. */
  get seed(): Uint8Array {
    return this.#seed;
  }

  /** The X25519 private key that belongs to `peer.agreementKey`. */
  get agreementKey(): Uint8Array {
    return ed25519ToX25519Private(this.#seed);
  }

  /** The 64-byte signature of bytes that begin with a label for their purpose. */
  sign(message: Uint8Array): Uint8Array {
    this.#signer ??= ed25519Signer(this.#seed);
    return this.#signer(message);
  }
}

/** An X25519 key pair with its private half: an ephemeral, a prekey, or a ratchet step. */
export interface KeyPair {
  readonly private: Uint8Array;
  readonly public: Uint8Array;
}

/** The pair of 32 random bytes. */
export function keyPairFrom(secret: Uint8Array): KeyPair {
  return { private: secret, public: x25519Public(secret) };
}
