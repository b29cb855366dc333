"""Messages and sessions of whichever suite: who holds sessions with a peer need not ask which one each is of.

The first byte of a message and the first member of a stored session say which module reads the rest.
"""

from typing import Final

import msgspec

from phantom_messenger.crypto import head, session, session2
from phantom_messenger.crypto.errors import InvalidMessage, UndecryptableMessage
from phantom_messenger.crypto.ratchet import Randomness
from phantom_messenger.crypto.session import Session
from phantom_messenger.crypto.session2 import Session2

AnySession = Session | Session2
AnyParsed = session.Parsed | head.Parsed


def suite_of(one: AnySession | AnyParsed) -> int:
    """The suite of a session, or of a message."""
    return session.SUITE if isinstance(one, Session | session.Parsed) else session2.SUITE


def parse(message: bytes) -> AnyParsed:
    """Take a message apart.

    Raises:
        UnknownSuite: made by another version.
        InvalidMessage: as ``session.parse`` and ``head.parse``.
    """
    return head.parse(message) if message[:1] == bytes((session2.SUITE,)) else session.parse(message)


def encrypt(one: AnySession, content: bytes, random: Randomness) -> tuple[AnySession, bytes]:
    """Encrypt one padded content; as ``session.encrypt`` and ``session2.encrypt``."""
    if isinstance(one, Session2):
        return session2.encrypt(one, content, random)
    return session.encrypt(one, content, random)


def decrypt(one: AnySession, message: AnyParsed, *, random: Randomness, now: int) -> tuple[AnySession, bytes]:
    """Decrypt one message; as ``session.decrypt`` and ``session2.decrypt``.

    Raises:
        UndecryptableMessage: also if the message is of another suite than the session.
    """
    if isinstance(one, Session) and isinstance(message, session.Parsed):
        return session.decrypt(one, message, random=random, now=now)
    if isinstance(one, Session2) and isinstance(message, head.Parsed):
        return session2.decrypt(one, message, random=random, now=now)
    raise UndecryptableMessage("it is of another suite than the session")


def forget_old(one: AnySession, now: int) -> AnySession:
    """The session without keys that are too old; the same object if there are none."""
    return session2.forget_old(one, now) if isinstance(one, Session2) else session.forget_old(one, now)


def dump(one: AnySession) -> bytes:
    """Serialise a session, secrets and all: for encrypted storage only."""
    return session2.dump(one) if isinstance(one, Session2) else session.dump(one)


class _Version(msgspec.Struct, array_like=True):
    """The first member of a stored session; what follows is ignored."""

    version: int


_VERSION: Final = msgspec.msgpack.Decoder(_Version)


def load(data: bytes) -> AnySession:
    """Undo ``dump``.

    Raises:
        InvalidMessage: not a session of a known version.
    """
    try:
        version = _VERSION.decode(data).version
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidMessage("a stored session cannot be read") from None
    return session2.load(data) if version == session2.STATE_VERSION else session.load(data)
