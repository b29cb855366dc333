"""Which content belongs to which suite: the only place where a session's suite decides on what is inside."""

from typing import Final

from phantom_messenger.client import content1, content2
from phantom_messenger.client.content import LEAST_PADDED, BetweenDevices, Claim, Ends, Newer, Said
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.crypto import body, padding, session

FIRST_SUITE: Final = session.SUITE
"""The suite whose messages have content 1; those of later ones have content 2."""


def encode(said: Said, ends: Ends, *, suite: int) -> bytes:
    """What is said, as padded content for a session of a suite; devices say nothing to each other in the first."""
    if suite == FIRST_SUITE and not isinstance(said, BetweenDevices):
        return content1.encode(content1.of(said, ends))
    return padding.pad(content2.encode(said, ends), LEAST_PADDED, body.MAX_PADDED)


def decode(padded: bytes, ends: Ends, *, suite: int) -> Said | Newer | GroupSaid:
    """What a message says that was decrypted in a session of a suite.

    Args:
        padded: the decrypted content.
        ends: who wrote to whom, by the session and the envelope.
        suite: of the session.

    Raises:
        InvalidMessage: it is no content of that suite, or names other people.
    """
    if suite == FIRST_SUITE:
        return content1.said(content1.decode(padded), ends)
    return content2.decode(padding.unpad(padded), ends)


def claim_of(padded: bytes) -> Claim | None:
    """What a content of suite 2 about a group says of its sender's devices; errors as ``content2.claim_of``."""
    return content2.claim_of(padding.unpad(padded))
