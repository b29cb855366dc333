"""Content 2, inside messages of suite 2: one map that later versions can add to.

A field that is not known is ignored, and so is nothing else: what must not be overlooked is a kind of its own, and a
kind that is not known is kept whole, for a version that knows it. The recipient is not named, because the associated
data of the message's head binds it; the sender is, so that one body can go to many.
"""

from typing import Annotated, Any, Final, TypeVar

import msgspec

from phantom_messenger.client import strict_map
from phantom_messenger.client.content import (
    LAST_TIME_MS,
    MAX_RECEIPTS,
    MAX_TEXT_BYTES,
    Ends,
    Newer,
    Receipt,
    Text,
)
from phantom_messenger.client.groups import contents
from phantom_messenger.client.groups.contents import GroupChanges, GroupSaid, GroupText
from phantom_messenger.crypto.errors import InvalidMessage

VERSION: Final = 2

_BYTES: Final = (bytes,)
"""What is bytes already, or a text would pass for base64."""

_MessageId = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
_MessageIds = Annotated[list[_MessageId], msgspec.Meta(max_length=MAX_RECEIPTS)]


class CommonFields(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What every kind has, in this version and in all later ones: so that what is not known can be kept and shown."""

    kind: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,64}\Z")]
    version: Annotated[int, msgspec.Meta(ge=VERSION)]
    sent_at: Annotated[int, msgspec.Meta(ge=0, le=LAST_TIME_MS)]
    sender: bytes
    sender_key: bytes


class TextFields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of kind ``text``."""

    body: str


class ReceiptFields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of kind ``receipt``; one that is not there is empty."""

    delivered: _MessageIds = []
    read: _MessageIds = []
    burned: _MessageIds = []
    undecryptable: _MessageIds = []


KINDS: Final[dict[str, type[TextFields | ReceiptFields | GroupSaid]]] = {
    "text": TextFields,
    "receipt": ReceiptFields,
    **contents.KINDS,
}
"""The kinds of this version."""


def encode(said: Text | Receipt, ends: Ends) -> bytes:
    """Encode (MessagePack), without padding."""
    kind = "text" if isinstance(said, Text) else "receipt"
    fields = msgspec.convert(said, TextFields if isinstance(said, Text) else ReceiptFields, from_attributes=True)
    return _encoded(kind, fields, sent_at=said.sent_at, sender=ends.sender, sender_key=ends.sender_key)


def encode_for_group(said: GroupSaid, *, sender: bytes, sender_key: bytes) -> bytes:
    """Encode what is said about a group, without padding: one content for all who are to have it."""
    return _encoded(contents.KIND_OF[type(said)], said, sent_at=said.sent_at, sender=sender, sender_key=sender_key)


def _encoded(kind: str, fields: msgspec.Struct, *, sent_at: int, sender: bytes, sender_key: bytes) -> bytes:
    common = CommonFields(kind=kind, version=VERSION, sent_at=sent_at, sender=sender, sender_key=sender_key)
    members = {
        **msgspec.to_builtins(common, builtin_types=_BYTES),
        **msgspec.to_builtins(fields, builtin_types=_BYTES),
    }
    return msgspec.msgpack.encode(members)


def decode(plain: bytes, ends: Ends) -> Text | Receipt | Newer | GroupSaid:
    """What is said in a content without padding.

    Raises:
        InvalidMessage: it is not such a map, names another sender, or lacks what its kind must have.
    """
    members = strict_map.decode(plain)
    common = _converted(members, CommonFields)
    if (common.sender, common.sender_key) != (ends.sender, ends.sender_key):
        raise InvalidMessage("the content names another sender than its envelope")
    return _said(common, members, plain)


def known() -> list[str]:
    """What this version can read: while it stays the same, what was kept cannot be read again."""
    return [str(VERSION), *sorted(KINDS)]


def read_again(whole: bytes) -> Text | Receipt | Newer | GroupSaid:
    """What was kept because it was not known, and was the named sender's.

    Raises:
        InvalidMessage: its kind is known now, and it lacks what that must have.
    """
    members = strict_map.decode(whole)
    return _said(_converted(members, CommonFields), members, whole)


def _said(common: CommonFields, members: dict[str, Any], plain: bytes) -> Text | Receipt | Newer | GroupSaid:
    kind = KINDS.get(common.kind) if common.version == VERSION else None
    if kind is None:
        return Newer(sent_at=common.sent_at, whole=plain)
    fields = _converted(members, kind)
    if isinstance(fields, GroupSaid):
        return _checked(fields)
    if isinstance(fields, TextFields):
        if len(fields.body.encode()) > MAX_TEXT_BYTES:
            raise InvalidMessage("the text is longer than that of a message may be")
        return Text(sent_at=common.sent_at, body=fields.body)
    return Receipt(sent_at=common.sent_at, **msgspec.structs.asdict(fields))


def _checked(said: GroupSaid) -> GroupSaid:
    """What is said about a group, if all of it is within its bounds."""
    is_long = (isinstance(said, GroupText) and len(said.body.encode()) > MAX_TEXT_BYTES) or (
        isinstance(said, GroupChanges) and sum(map(len, said.changes)) > contents.MAX_CHANGES_BYTES
    )
    if is_long:
        raise InvalidMessage("the content about a group is longer than it may be")
    return said


T = TypeVar("T", bound=msgspec.Struct)


def _converted(members: dict[str, Any], type_: type[T]) -> T:
    try:
        return msgspec.convert(members, type_, builtin_types=_BYTES)
    except msgspec.ValidationError:
        raise InvalidMessage("the content has not the fields that it must have") from None
