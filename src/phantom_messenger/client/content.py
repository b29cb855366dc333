"""What is inside an encrypted message: a small versioned structure that names both ends.

The recipient refuses it unless ids and keys are those of the session and the envelope,
so that nobody can be made to believe a message came from, or was for, somebody else.
"""

from typing import Annotated, Final, Literal

import msgspec

from phantom_messenger.client.errors import MessageTooLong
from phantom_messenger.crypto import padding
from phantom_messenger.crypto.errors import InvalidMessage

MAX_TEXT_BYTES: Final = 40_000
"""Longest text in bytes of UTF-8; with everything around it, it fits a MESSAGE."""

LEAST_PADDED: Final = 512
"""A receipt needs so much: with less, a short message would show that it is none."""

MAX_RECEIPTS: Final = 200
"""Message ids in one receipt: about 8 KB. More wait for the next one."""

LAST_TIME_MS: Final = 253_370_764_800_000
"""The first day of the year 9999: later times cannot be shown in every time zone."""

_FIXMAP: Final = 0x80
_MAP16: Final = 0xDE
"""How a MessagePack map begins; the third form is 0xDF."""

MessageIds = Annotated[list[Annotated[str, msgspec.Meta(min_length=36, max_length=36)]], msgspec.Meta(max_length=200)]


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", tag_field="kind"):
    """Version 1. Ids are raw user ids, keys raw Ed25519 keys, ``sent_at`` milliseconds since 1970."""

    version: Literal[1] = 1
    sent_at: Annotated[int, msgspec.Meta(ge=0, le=LAST_TIME_MS)]
    sender: bytes
    recipient: bytes
    sender_key: bytes
    recipient_key: bytes


class Text(Content, frozen=True, kw_only=True, tag="text"):
    """Something that a person wrote."""

    body: str


class Receipt(Content, frozen=True, kw_only=True, tag="receipt"):
    """What became of messages of the other side, by their ids.

    ``undecryptable`` asks for them again: they could not be read, and the session that this
    came in is to be used from now on.
    """

    delivered: MessageIds
    read: MessageIds
    burned: MessageIds
    undecryptable: MessageIds


def encode(content: Text | Receipt) -> bytes:
    """Encode (MessagePack) and pad."""
    return padding.pad(msgspec.msgpack.encode(content), LEAST_PADDED)


def decode(padded: bytes) -> Text | Receipt:
    """Undo ``encode``.

    Raises:
        InvalidMessage: not a content of a known version.
    """
    plain = padding.unpad(padded)
    try:
        found = msgspec.msgpack.decode(plain, type=Text | Receipt)
        names = len(msgspec.msgpack.decode(plain, type=dict[str, msgspec.Raw]))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidMessage("the content is not of a known version") from None
    if names != _entries(plain):
        raise InvalidMessage("the content has a field twice")
    if isinstance(found, Text) and len(found.body.encode()) > MAX_TEXT_BYTES:
        raise InvalidMessage("the text is longer than that of a message may be")
    return found


def _entries(plain: bytes) -> int:
    """How many entries a MessagePack map announces."""
    if plain[0] & 0xF0 == _FIXMAP:
        return plain[0] & 0x0F
    return int.from_bytes(plain[1:3] if plain[0] == _MAP16 else plain[1:5])


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
