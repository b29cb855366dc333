"""What the SDK raises, as a tree.

    PhantomError
     +-- UsageError              the call is wrong
     |    +-- InvalidUserId      not a user ID
     |    +-- UnknownContact     no contact has that name
     |    +-- ContactExists      the name or the user ID is taken
     |    +-- MessageTooLong     over the limit, which the error names
     |    +-- NoKeyYet           the contact's key has not been seen
     |    +-- KeyChanged         the contact's key has changed, and the user has not accepted it
     +-- ClientClosed            the client was closed
     +-- VaultError              the profile on this machine cannot be used
     |    +-- PassphraseNeeded   there is no passphrase to open it with
     |    +-- WrongPassphrase    the passphrase does not open it
     |    +-- VaultInUse         another process has it open
     |    +-- VaultDamaged       it cannot be read
     |    +-- VaultFull          the disk is full
     |    +-- NoProfile          it does not exist
     |    +-- ProfileExists      it already exists
     |    +-- BackupError        an exported file cannot be written or read
     +-- RelayError              the relay, or the way to it
          +-- RelayUnreachable   no connection within the time given
          |    +-- RelayBusy     the relay admits nobody at the moment
          +-- LoginRefused       the relay does not admit this identity
          +-- Replaced           the same identity has logged in elsewhere
          +-- DeliveryFailed     a message will not be delivered

The text of each error is one sentence for the user that says what to do. None holds a secret.
"""


class PhantomError(Exception):
    """The root of all errors of the SDK."""


class UsageError(PhantomError):
    """The call is wrong."""


class InvalidUserId(UsageError):
    """Not a user ID."""


class UnknownContact(UsageError):
    """No contact has that name."""


class ContactExists(UsageError):
    """The name or the user ID is taken."""


class MessageTooLong(UsageError):
    """The message is over the limit, which the error names."""


class NoKeyYet(UsageError):
    """The contact's key has not been seen."""


class KeyChanged(UsageError):
    """The contact's key has changed, and the user has not accepted it."""


class ClientClosed(PhantomError):
    """The client was closed, before the call or while it waited."""


class VaultError(PhantomError):
    """The profile on this machine cannot be used."""


class PassphraseNeeded(VaultError):
    """There is no passphrase to open the profile with."""


class WrongPassphrase(VaultError):
    """The passphrase does not open the profile."""


class VaultInUse(VaultError):
    """Another process has the profile open."""


class VaultDamaged(VaultError):
    """The profile cannot be read."""


class VaultFull(VaultError):
    """The disk is full."""


class NoProfile(VaultError):
    """The profile does not exist."""


class ProfileExists(VaultError):
    """The profile already exists."""


class BackupError(VaultError):
    """An exported file cannot be written or read."""


class RelayError(PhantomError):
    """The relay, or the way to it."""


class RelayUnreachable(RelayError):
    """No connection within the time given."""


class RelayBusy(RelayUnreachable):
    """The relay admits nobody at the moment, because of a limit or overload; the client retries.

    Args:
        message: for the user.
        retry_after: seconds until the client retries, None if unknown.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LoginRefused(RelayError):
    """The relay does not admit this identity."""


class Replaced(RelayError):
    """The same identity has logged in elsewhere."""


class DeliveryFailed(RelayError):
    """A message will not be delivered."""
