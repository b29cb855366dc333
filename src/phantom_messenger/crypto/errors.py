"""What can go wrong, as a tree.

    CryptoError
     +-- InvalidKey            a public key that nobody should use
     +-- InvalidSignature      a signature that does not verify strictly
     +-- InvalidMessage        bytes that are not a message of this protocol
     +-- UndecryptableMessage  does not authenticate, or its key is gone
     +-- UnknownPreKey         made for a prekey that this side no longer has
     +-- UnknownSuite          made by a version that this one does not know
     +-- StaleBundle           signed, but too long ago, in the future, or before one that was seen

No error ever carries a secret.
"""


class CryptoError(Exception):
    """The root of all errors here."""


class InvalidKey(CryptoError):
    """A public key is malformed, of small order, or contributes nothing."""


class InvalidSignature(CryptoError):
    """A signature does not verify."""


class InvalidMessage(CryptoError):
    """The bytes are not a message."""


class UndecryptableMessage(CryptoError):
    """The message does not authenticate under this state; the state is unchanged."""


class UnknownPreKey(CryptoError):
    """The private half of a prekey that the message names does not exist (any more)."""


class UnknownSuite(CryptoError):
    """The message names a suite of another version."""


class StaleBundle(CryptoError):
    """A bundle is not of this time, or an older one than its owner has published since."""
