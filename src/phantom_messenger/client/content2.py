"""Content 2, inside messages of suite 2: one map that later versions can add to.

A field that is not known is ignored, and so is nothing else: what must not be overlooked is a kind of its own, and a
kind that is not known is kept whole, for a version that knows it. The recipient is not named, because the associated
data of the message's head binds it; the sender is, so that one body can go to many.
"""

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from phantom_messenger.client import strict_map
from phantom_messenger.client.content import (
    LAST_TIME_MS,
    MAX_RECEIPTS,
    MAX_TEXT_BYTES,
    NO_MARKS,
    BetweenDevices,
    Claim,
    Ends,
    Marks,
    Newer,
    Receipt,
    Said,
    Text,
)
from phantom_messenger.client.devices import kinds
from phantom_messenger.client.devices.kinds import Bytes32, ListBytes
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


class ClaimFields(msgspec.Struct, frozen=True, kw_only=True):
    """The field ``devices``, see ``content.Claim``."""

    revision: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
    hash: Bytes32


class MarksFields(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The fields of ``content.Marks``, which any kind may have."""

    to: Bytes32 | UnsetType = UNSET
    devices: ClaimFields | UnsetType = UNSET
    device_list: ListBytes | UnsetType = UNSET


class OfGroupFields(msgspec.Struct, frozen=True, kw_only=True):
    """The one of these that contents about groups have."""

    devices: ClaimFields | UnsetType = UNSET


class TextFields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of kind ``text``."""

    body: str


class ReceiptFields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of kind ``receipt``; one that is not there is empty."""

    delivered: _MessageIds = []
    read: _MessageIds = []
    burned: _MessageIds = []
    undecryptable: _MessageIds = []


KINDS: Final[dict[str, type[TextFields | ReceiptFields | GroupSaid | kinds.Kind]]] = {
    "text": TextFields,
    "receipt": ReceiptFields,
    **contents.KINDS,
    **kinds.KINDS,
}
"""The kinds of this version."""


def encode(said: Said, ends: Ends) -> bytes:
    """Encode (MessagePack), without padding."""
    fields: Any = said.said if isinstance(said, BetweenDevices) else said
    if not isinstance(said, BetweenDevices):
        fields = msgspec.convert(said, TextFields if isinstance(said, Text) else ReceiptFields, from_attributes=True)
    return _encoded(
        _kind_of(said), fields, sent_at=said.sent_at, sender=ends.sender, sender_key=ends.sender_key, marks=said.marks
    )


def encode_for_group(said: GroupSaid, *, sender: bytes, sender_key: bytes, claim: Claim | None = None) -> bytes:
    """Encode what is said about a group, without padding: one content for all who are to have it."""
    kind, marks = contents.KIND_OF[type(said)], NO_MARKS if claim is None else Marks(claim=claim)
    return _encoded(kind, said, sent_at=said.sent_at, sender=sender, sender_key=sender_key, marks=marks)


def _encoded(
    kind: str, fields: msgspec.Struct, *, sent_at: int, sender: bytes, sender_key: bytes, marks: Marks = NO_MARKS
) -> bytes:
    common = CommonFields(kind=kind, version=VERSION, sent_at=sent_at, sender=sender, sender_key=sender_key)
    members = {
        **msgspec.to_builtins(common, builtin_types=_BYTES),
        **msgspec.to_builtins(fields, builtin_types=_BYTES),
    }
    if marks != NO_MARKS:
        members |= msgspec.to_builtins(_fields_of(marks), builtin_types=_BYTES)
    return msgspec.msgpack.encode(members)


def _kind_of(said: Said) -> str:
    if isinstance(said, BetweenDevices):
        return kinds.NAMES[type(said.said)]
    return "text" if isinstance(said, Text) else "receipt"


def _fields_of(marks: Marks) -> MarksFields:
    claim = marks.claim
    return MarksFields(
        to=UNSET if marks.to is None else marks.to,
        devices=UNSET if claim is None else ClaimFields(revision=claim.revision, hash=claim.hash),
        device_list=UNSET if marks.device_list is None else marks.device_list,
    )


def decode(plain: bytes, ends: Ends) -> Said | Newer | GroupSaid:
    """What is said in a content without padding.

    Raises:
        InvalidMessage: it is not such a map, names another sender, or lacks what its kind must have.
    """
    members = strict_map.decode(plain)
    common = _converted(members, CommonFields)
    if (common.sender, common.sender_key) != (ends.sender, ends.sender_key):
        raise InvalidMessage("the content names another sender than its envelope")
    return _said(common, members, plain)


def claim_of(plain: bytes) -> Claim | None:
    """What a content that was decoded says of the devices of its sender's person; most say nothing.

    Raises:
        InvalidMessage: it says so in another way than it must.
    """
    if _DEVICES not in plain:
        return None
    found = _converted(strict_map.decode(plain), OfGroupFields).devices
    return None if found is UNSET else Claim(revision=found.revision, hash=found.hash)


_DEVICES: Final = b"devices"


def known() -> list[str]:
    """What this version can read: while it stays the same, what was kept cannot be read again."""
    return [str(VERSION), *sorted(KINDS)]


def read_again(whole: bytes) -> Said | Newer | GroupSaid:
    """What was kept because it was not known, and was the named sender's.

    Raises:
        InvalidMessage: its kind is known now, and it lacks what that must have.
    """
    members = strict_map.decode(whole)
    return _said(_converted(members, CommonFields), members, whole)


def _said(common: CommonFields, members: dict[str, Any], plain: bytes) -> Said | Newer | GroupSaid:
    kind = KINDS.get(common.kind) if common.version == VERSION else None
    if kind is None:
        return Newer(sent_at=common.sent_at, whole=plain)
    fields = _converted(members, kind)
    if isinstance(fields, GroupSaid):
        return _checked(fields)
    marks = _marks_in(members)
    if isinstance(fields, TextFields):
        if len(fields.body.encode()) > MAX_TEXT_BYTES:
            raise InvalidMessage("the text is longer than that of a message may be")
        return Text(sent_at=common.sent_at, body=fields.body, marks=marks)
    if isinstance(fields, ReceiptFields):
        return Receipt(sent_at=common.sent_at, **msgspec.structs.asdict(fields), marks=marks)
    return BetweenDevices(sent_at=common.sent_at, said=fields, marks=marks)


def _marks_in(members: dict[str, Any]) -> Marks:
    """What a content says of devices; most say nothing."""
    if not _MARKS & members.keys():
        return NO_MARKS
    found = _converted(members, MarksFields)
    claim = None if found.devices is UNSET else Claim(revision=found.devices.revision, hash=found.devices.hash)
    return Marks(to=found.to or None, claim=claim, device_list=found.device_list or None)


_MARKS: Final = {"to", "devices", "deviceList"}


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
