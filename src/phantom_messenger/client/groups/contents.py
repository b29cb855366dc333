"""What clients say to each other about groups: kinds of content 2. See protocol/groups.md, "Contents"."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from phantom_messenger.client.groups.change import ID_BYTES, MAX_CHANGE_BYTES, MAX_REVISION
from phantom_messenger.client.groups.picture import MAX_PICTURE_BYTES
from phantom_messenger.client.names import MAX_NAME

MAX_CHANGES: Final = 64
"""Changes in one answer."""

MAX_CHANGES_BYTES: Final = 30_000
"""Of all of them together: with everything around them, they fit a message."""

MAX_STATE_BYTES: Final = 4_096
MAX_RECEIPTS: Final = 200
TOKEN_BYTES: Final = 16

_Bytes32 = Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
_Revision = Annotated[int, msgspec.Meta(ge=1, le=MAX_REVISION)]
_Change = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_CHANGE_BYTES)]
_MessageId = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
_MessageIds = Annotated[list[_MessageId], msgspec.Meta(max_length=MAX_RECEIPTS)]


class GroupSaid(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A content about a group, of the kind of its subclass; ``sent_at`` is the common field of all contents."""

    sent_at: int = 0


class GroupChange(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-change``: a change; if it adds somebody and is not the first, with the state before it.

    ``base``: digest of the change that led to that state.
    """

    group: _Bytes32
    change: _Change
    state: Annotated[bytes, msgspec.Meta(max_length=MAX_STATE_BYTES)] = b""
    base: Annotated[bytes, msgspec.Meta(max_length=ID_BYTES)] = b""


class GroupChanges(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-changes``: what somebody has asked for, oldest first; with the picture, if that was asked for.

    ``ordered``: as in the ``group-ask`` that is answered.
    """

    group: _Bytes32
    changes: Annotated[list[_Change], msgspec.Meta(max_length=MAX_CHANGES)]
    picture: Annotated[bytes, msgspec.Meta(max_length=MAX_PICTURE_BYTES)] = b""
    ordered: Annotated[int, msgspec.Meta(ge=0, le=MAX_REVISION)] = 0


class GroupText(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-text``: what a person wrote to a group, as the ``n``-th of their texts to it; ``name``: see hello."""

    group: _Bytes32
    revision: _Revision
    head: _Bytes32
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_REVISION)]
    body: str
    name: _Name | UnsetType = UNSET


class GroupHello(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-hello``: its sender has accepted the invitation, or calls themselves otherwise.

    ``name``: what they call themselves, '' if nothing any more; without it nothing is said of that.
    """

    group: _Bytes32
    revision: _Revision
    head: _Bytes32
    name: _Name | UnsetType = UNSET


class GroupReceipt(GroupSaid, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """``group-receipt``: what became of texts, by their ids; each recipient takes from it what it has sent."""

    group: _Bytes32
    delivered: _MessageIds = []
    read: _MessageIds = []
    undecryptable: _MessageIds = []


class GroupAsk(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-ask``: its sender has the changes up to revision ``from``, and may lack later ones, or the picture.

    ``ordered``: the revision that the relay has, if the relay has refused a change of the sender's because of it.
    """

    group: _Bytes32
    since: Annotated[int, msgspec.Meta(ge=0, le=MAX_REVISION)] = msgspec.field(name="from")
    picture: bool = False
    ordered: Annotated[int, msgspec.Meta(ge=0, le=MAX_REVISION)] = 0


class GroupLeave(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-leave``: its sender has left, or declines."""

    group: _Bytes32


class GroupPropose(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-propose``: its sender would like somebody to be added."""

    group: _Bytes32
    person: _Bytes32


class GroupJoin(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-join``: its sender would like to be added to the group that a link is for."""

    token: Annotated[bytes, msgspec.Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]


class GroupRefuse(GroupSaid, frozen=True, kw_only=True, rename="camel"):
    """``group-refuse``: the link that was opened serves no more."""

    token: Annotated[bytes, msgspec.Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]


KINDS: Final[dict[str, type[GroupSaid]]] = {
    "group-change": GroupChange,
    "group-changes": GroupChanges,
    "group-text": GroupText,
    "group-hello": GroupHello,
    "group-receipt": GroupReceipt,
    "group-ask": GroupAsk,
    "group-leave": GroupLeave,
    "group-propose": GroupPropose,
    "group-join": GroupJoin,
    "group-refuse": GroupRefuse,
}
"""The kinds of this version."""

KIND_OF: Final = {type_: kind for kind, type_ in KINDS.items()}
