"""Content 1, inside messages of suite 1: a small versioned structure that names both ends.

The recipient refuses it unless ids and keys are those of the session and the envelope,
so that nobody can be made to believe a message came from, or was for, somebody else.
"""

from typing import Annotated, Final, Literal

import msgspec

from phantom_messenger.client import content
from phantom_messenger.client.content import LAST_TIME_MS, LEAST_PADDED, MAX_RECEIPTS, MAX_TEXT_BYTES, Ends
from phantom_messenger.crypto import padding
from phantom_messenger.crypto.errors import InvalidMessage

_FIXMAP: Final = 0x80
_MAP16: Final = 0xDE
"""How a MessagePack map begins; the third form is 0xDF."""

MessageId = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
MessageIds = Annotated[list[MessageId], msgspec.Meta(max_length=MAX_RECEIPTS)]


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
    """As ``content.Receipt``."""

    delivered: MessageIds
    read: MessageIds
    burned: MessageIds
    undecryptable: MessageIds


def encode(written: Text | Receipt) -> bytes:
    """Encode (MessagePack) and pad."""
    return padding.pad(msgspec.msgpack.encode(written), LEAST_PADDED)


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


def of(said: content.Text | content.Receipt, ends: Ends) -> Text | Receipt:
    """What is said between two ends, as this version writes it."""
    if isinstance(said, content.Text):
        return Text(sent_at=said.sent_at, body=said.body, **ends._asdict())
    return Receipt(
        sent_at=said.sent_at,
        delivered=said.delivered,
        read=said.read,
        burned=said.burned,
        undecryptable=said.undecryptable,
        **ends._asdict(),
    )


def said(found: Text | Receipt, ends: Ends) -> content.Text | content.Receipt:
    """What is said, if it names the ends of its session and its envelope.

    Raises:
        InvalidMessage: it names others.
    """
    if (found.sender, found.sender_key, found.recipient, found.recipient_key) != ends:
        raise InvalidMessage("the content names other people than its envelope")
    if isinstance(found, Text):
        return content.Text(sent_at=found.sent_at, body=found.body)
    return content.Receipt(
        sent_at=found.sent_at,
        delivered=found.delivered,
        read=found.read,
        burned=found.burned,
        undecryptable=found.undecryptable,
    )
