/** What can go wrong in `crypto`. No error ever carries a secret. */

/** The root of all errors here. `name` is the word that the vectors use. */
export class CryptoError extends Error {
  override readonly name: string = "CryptoError";
}

/** A public key is malformed, of small order, or contributes nothing. */
export class InvalidKey extends CryptoError {
  override readonly name = "InvalidKey";
}

/** A signature does not verify strictly. */
export class InvalidSignature extends CryptoError {
  override readonly name = "InvalidSignature";
}

/** The bytes are not a message of this protocol. */
export class InvalidMessage extends CryptoError {
  override readonly name = "InvalidMessage";
}

/** The message does not authenticate, or its key is gone; the state is unchanged. */
export class UndecryptableMessage extends CryptoError {
  override readonly name = "UndecryptableMessage";
}

/** The private half of a prekey that the message names does not exist (any more). */
export class UnknownPreKey extends CryptoError {
  override readonly name = "UnknownPreKey";
}

/** The message names a suite of another version. */
export class UnknownSuite extends CryptoError {
  override readonly name = "UnknownSuite";
}

/** A bundle is too old, in the future, or older than one that its owner has published since. */
export class StaleBundle extends CryptoError {
  override readonly name = "StaleBundle";
}
