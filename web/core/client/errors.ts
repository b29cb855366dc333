/**
 * What the client's core raises, as a tree.
 *
 *     PhantomError
 *      +-- UsageError              the call is wrong
 *      |    +-- InvalidUserId      not a user id
 *      |    +-- UnknownContact     no contact has that name
 *      |    +-- ContactExists      the name or the user id is taken
 *      |    +-- MessageTooLong     over the limit, which the error names
 *      |    +-- NoKeyYet           the contact's key has not been seen
 *      |    +-- KeyChanged         the contact's key has changed, and the user has not accepted it
 *      +-- VaultError              the profile in this browser cannot be used
 *           +-- WrongPassphrase    the passphrase does not open it
 *           +-- VaultDamaged       it cannot be read
 *           +-- BackupError        an exported file cannot be written or read
 *
 * The message of each is one sentence for the user that says what to do. None holds a secret.
 */

/** The root. */
export class PhantomError extends Error {
  override readonly name: string = "PhantomError";
}

/** The call is wrong. */
export class UsageError extends PhantomError {
  override readonly name: string = "UsageError";
}

/** Not a user id. */
export class InvalidUserId extends UsageError {
  override readonly name: string = "InvalidUserId";
}

/** No contact has that name. */
export class UnknownContact extends UsageError {
  override readonly name: string = "UnknownContact";
}

/** The name or the user id is taken. */
export class ContactExists extends UsageError {
  override readonly name: string = "ContactExists";
}

/** The message is over the limit, which the error names. */
export class MessageTooLong extends UsageError {
  override readonly name: string = "MessageTooLong";
}

/** The contact's key has not been seen. */
export class NoKeyYet extends UsageError {
  override readonly name: string = "NoKeyYet";
}

/** The contact's key has changed, and the user has not accepted it. */
export class KeyChanged extends UsageError {
  override readonly name: string = "KeyChanged";
}

/** The profile in this browser cannot be used. */
export class VaultError extends PhantomError {
  override readonly name: string = "VaultError";
}

/** The passphrase does not open the profile, or the file. */
export class WrongPassphrase extends VaultError {
  override readonly name: string = "WrongPassphrase";
}

/** The profile cannot be read. */
export class VaultDamaged extends VaultError {
  override readonly name: string = "VaultDamaged";
}

/** An exported file cannot be written or read. */
export class BackupError extends VaultError {
  override readonly name: string = "BackupError";
}
