"""What is said inside an encrypted message: values, whatever the version of the content that carries them.

``content1`` and ``content2`` write and read them; ``content_suites`` knows which of the two belongs to a session.
"""

from typing import Final, NamedTuple

import msgspec

from phantom_messenger.client.devices import kinds
from phantom_messenger.client.errors import MessageTooLong

MAX_TEXT_BYTES: Final = 40_000
"""Longest text in bytes of UTF-8; with everything around it, it fits a MESSAGE."""

MAX_RECEIPTS: Final = 200
"""Message ids in one receipt: about 8 KB. More wait for the next one."""

LEAST_PADDED: Final = 512
"""A receipt needs so much: with less, a short message would show that it is none."""

LAST_TIME_MS: Final = 253_370_764_800_000
"""The first day of the year 9999: later times cannot be shown in every time zone."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The newest device list that the sender knows of its own person: its revision, and its hash (32 bytes)."""

    revision: int
    hash: bytes


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What content 2 says besides, of persons with several devices (protocol/devices.md); None where it says nothing.

    ``to``: raw id of the person whom a text is for. ``device_list``: a list, as bytes.
    """

    to: bytes | None = None
    claim: Claim | None = None
    device_list: bytes | None = None


NO_MARKS: Final = Marks()


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person wrote; ``sent_at`` in milliseconds since 1970, by the sender's clock."""

    sent_at: int
    body: str
    marks: Marks = NO_MARKS


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of messages of the other side, by their ids.

    ``undecryptable`` asks for them again: they could not be read, and the session that this
    came in is to be used from now on.
    """

    sent_at: int
    delivered: list[str] = []
    read: list[str] = []
    burned: list[str] = []
    undecryptable: list[str] = []
    marks: Marks = NO_MARKS


class BetweenDevices(msgspec.Struct, frozen=True, kw_only=True):
    """Something that devices say to each other, of one of ``devices.kinds``."""

    sent_at: int
    said: kinds.Kind
    marks: Marks = NO_MARKS


class Newer(msgspec.Struct, frozen=True, kw_only=True):
    """Something of a kind or a version that is not known here; ``whole``: the content as it came, without padding."""

    sent_at: int
    whole: bytes
    marks: Marks = NO_MARKS


Said = Text | Receipt | BetweenDevices
"""What this version can write."""


class Ends(NamedTuple):
    """Who wrote to whom: raw user ids and Ed25519 keys."""

    sender: bytes
    sender_key: bytes
    recipient: bytes
    recipient_key: bytes


def time_of(wall: int) -> int:
    """``sent_at`` of what is written now, by a clock that may show anything."""
    return min(max(wall, 0), LAST_TIME_MS)


def check_length(text: str) -> None:
    """Refuse a message that would not fit.

    Raises:
        MessageTooLong: with the limit.
    """
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        raise MessageTooLong(f"the message has {size:,} bytes, and {MAX_TEXT_BYTES:,} is the limit; split it")
