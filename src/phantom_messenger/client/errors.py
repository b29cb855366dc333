"""What the SDK raises, as a tree.

    PhantomError
     +-- UsageError              the call cannot be obeyed as it is
     |    +-- InvalidUserId      not the id of a Phantom user
     |    +-- UnknownContact     no contact of that name
     |    +-- ContactExists      the name or the id is taken
     |    +-- MessageTooLong        over the limit, which the message names
     |    +-- NoKeyYet           the contact's key has not been seen
     |    +-- KeyChanged         the contact's key is another one than before
     +-- ClientClosed            the client was closed while somebody waited on it
     +-- VaultError              the profile on this machine
     |    +-- PassphraseNeeded   there is no passphrase to open it with
     |    +-- WrongPassphrase    it does not open
     |    +-- VaultInUse         another process has it open
     |    +-- VaultDamaged       it cannot be read
     |    +-- VaultFull          the disk is full
     |    +-- NoProfile          it is not there
     |    +-- ProfileExists      it is there already
     |    +-- BackupError        an exported file cannot be written or read
     +-- RelayError              the relay, or the way to it
          +-- RelayUnreachable   no connection within the time given
          |    +-- RelayBusy     it is there, and lets nobody in just now
          +-- LoginRefused       the relay does not let this identity in
          +-- Replaced           the same identity logged in elsewhere
          +-- DeliveryFailed     a text will not be delivered

Each message is one sentence for people and says what to do next. None holds a secret.
"""


class PhantomError(Exception):
    """The root of all errors of the SDK."""


class UsageError(PhantomError):
    """The call cannot be obeyed as it is."""


class InvalidUserId(UsageError):
    """Not the id of a Phantom user."""


class UnknownContact(UsageError):
    """No contact of that name."""


class ContactExists(UsageError):
    """The name or the id is taken."""


class MessageTooLong(UsageError):
    """The text is over the limit."""


class NoKeyYet(UsageError):
    """The contact's key has not been seen."""


class KeyChanged(UsageError):
    """The contact's key is another one than before, and the user has not accepted it."""


class ClientClosed(PhantomError):
    """The client was closed while somebody waited on it, or before it was used."""


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
    """There is no room to write to the profile."""


class NoProfile(VaultError):
    """There is no such profile."""


class ProfileExists(VaultError):
    """There is such a profile already."""


class BackupError(VaultError):
    """An exported file cannot be written or read."""


class RelayError(PhantomError):
    """The relay, or the way to it."""


class RelayUnreachable(RelayError):
    """No connection within the time given."""


class RelayBusy(RelayUnreachable):
    """The relay is there and lets nobody in just now, for a limit or too much to do; the client goes on trying.

    Args:
        sentence: for people.
        retry_after: seconds until it tries again, None if it does not know.
    """

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class LoginRefused(RelayError):
    """The relay does not let this identity in."""


class Replaced(RelayError):
    """The same identity logged in elsewhere."""


class DeliveryFailed(RelayError):
    """A text will not be delivered."""
