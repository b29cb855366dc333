"""A change of a group: written and signed by an admin, read strictly, and named by its hash.

See protocol/groups.md, "Changes". What a change does to a group is the business of ``state``.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from phantom_messenger import labels
from phantom_messenger.client import strict_map
from phantom_messenger.client.content import LAST_TIME_MS
from phantom_messenger.client.groups import picture
from phantom_messenger.crypto.errors import CryptoError, InvalidMessage
from phantom_messenger.crypto.keys import OwnIdentity, PeerIdentity
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS

VERSION: Final = 1

MAX_CHANGE_BYTES: Final = 8_192
"""Signature included; with a snapshot of the group and 100 heads, one frame of the relay holds it."""

MAX_OPS: Final = 64
MAX_NAME_BYTES: Final = 128
"""Of the name of a group, in UTF-8."""

ID_BYTES: Final = 32
NONE: Final = bytes(32)
"""What the first change names as the head before it."""

MAX_REVISION: Final = 2**32 - 1

_SIGNATURE_BYTES: Final = 64
_HASH: Final = b"phantom/1 group-hash\n"
_BYTES: Final = (bytes,)
"""What is bytes already, or a text would pass for base64."""

_Bytes32 = Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
_Rank = Annotated[str, msgspec.Meta(pattern=r"^(member|admin)\Z")]


class RefusedChange(InvalidMessage):
    """A change that nobody may take up. ``code``: why, in the words of protocol/groups.md."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the change of the group is not valid ({code})")
        self.code = code


class _Op(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """One thing that a change does."""


class Add(_Op, frozen=True, kw_only=True, tag="add"):
    """Somebody is a member from now on; ``role``: "member" or "admin"."""

    person: _Bytes32
    role: _Rank


class Remove(_Op, frozen=True, kw_only=True, tag="remove"):
    """Somebody is no member any more."""

    person: _Bytes32


class SetRole(_Op, frozen=True, kw_only=True, tag="role"):
    """A member has another role; ``role``: "member" or "admin"."""

    person: _Bytes32
    role: _Rank


class SetName(_Op, frozen=True, kw_only=True, tag="name"):
    """The group has another name."""

    text: Annotated[str, msgspec.Meta(min_length=1)]


class SetTimer(_Op, frozen=True, kw_only=True, tag="timer"):
    """Texts that are written from now on expire after so many milliseconds; 0: not."""

    ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_EXPIRES_IN_MS)]


class SetRights(_Op, frozen=True, kw_only=True, tag="rights"):
    """What a member needs to be to have others invited, and to write: "member" or "admin"."""

    invite: _Rank
    write: _Rank


class SetPicture(_Op, frozen=True, kw_only=True, tag="picture"):
    """The group has another picture; ``data``: a PNG, JPEG or WebP of at most 4,096 bytes, empty for none."""

    data: bytes


class Close(_Op, frozen=True, kw_only=True, tag="close"):
    """The group ends: nobody writes to it, and nothing about it changes any more."""


Op = Add | Remove | SetRole | SetName | SetTimer | SetRights | SetPicture | Close


class _Common(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What changes of every version have."""

    version: Annotated[int, msgspec.Meta(ge=VERSION)]
    group: _Bytes32
    revision: Annotated[int, msgspec.Meta(ge=1, le=MAX_REVISION)]
    previous: _Bytes32
    at: Annotated[int, msgspec.Meta(ge=0, le=LAST_TIME_MS)]
    author: _Bytes32
    author_key: _Bytes32


class _Signed(_Common, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A change of this version, as it is signed."""

    ops: Annotated[list[Op], msgspec.Meta(min_length=1, max_length=MAX_OPS)]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change whose author has signed it; whether the author may is judged by ``state`` and ``chain``.

    ``group``, ``previous``, ``author``: 32 bytes. ``at``: milliseconds since 1970, by the author's clock.
    ``ops``: None if the change is of a later version. ``encoded``: as it came.
    """

    group: bytes
    revision: int
    previous: bytes
    at: int
    author: bytes
    ops: tuple[Op, ...] | None
    encoded: bytes

    def __repr__(self) -> str:
        return f"Change(revision={self.revision})"

    def adds(self, person: bytes) -> bool:
        """Whether somebody is a member by it who was none."""
        return any(isinstance(op, Add) and op.person == person for op in self.ops or ())

    @property
    def digest(self) -> bytes:
        """The 32 bytes by which a head names it."""
        return hashlib.sha256(_HASH + self.encoded).digest()


def write(author: OwnIdentity, *, group: bytes, revision: int, previous: bytes, at: int, ops: Sequence[Op]) -> Change:
    """Sign a change.

    Args:
        author: an admin.
        group: 32 bytes.
        revision: from 1 on.
        previous: the head that it follows, 32 bytes.
        at: milliseconds since 1970.
        ops: at most ``MAX_OPS``.

    Raises:
        RefusedChange: ``size`` or ``form``: it cannot be written like this.
    """
    fields = {
        "version": VERSION,
        "group": group,
        "revision": revision,
        "previous": previous,
        "at": at,
        "author": author.peer.user_id,
        "authorKey": author.peer.public,
        "ops": [msgspec.to_builtins(op, builtin_types=_BYTES) for op in ops],
    }
    signed = msgspec.msgpack.encode(fields)
    return read(signed + author.sign(labels.GROUP_CHANGE + signed))


def read(encoded: bytes) -> Change:
    """Read a change, and check who has signed it.

    Raises:
        RefusedChange: ``size``, ``form``, ``key`` or ``signature``.
    """
    if not _SIGNATURE_BYTES < len(encoded) <= MAX_CHANGE_BYTES:
        raise RefusedChange("size")
    signed, signature = encoded[:-_SIGNATURE_BYTES], encoded[-_SIGNATURE_BYTES:]
    try:
        members = strict_map.decode(signed)
        common, ops = _parsed(members)
    except (InvalidMessage, msgspec.ValidationError):
        raise RefusedChange("form") from None
    author = PeerIdentity(common.author_key)
    if author.user_id != common.author:
        raise RefusedChange("key")
    try:
        author.verify(signature, labels.GROUP_CHANGE + signed)
    except CryptoError:
        raise RefusedChange("signature") from None
    return _change(common, ops, encoded)


def read_own(encoded: bytes) -> Change:
    """Read a change that was checked before, and kept by this client."""
    common, ops = _parsed(strict_map.decode(encoded[:-_SIGNATURE_BYTES]))
    return _change(common, ops, encoded)


def _change(common: _Common, ops: tuple[Op, ...] | None, encoded: bytes) -> Change:
    return Change(
        group=common.group,
        revision=common.revision,
        previous=common.previous,
        at=common.at,
        author=common.author,
        ops=ops,
        encoded=encoded,
    )


def _parsed(members: dict[str, Any]) -> tuple[_Common, tuple[Op, ...] | None]:
    common = msgspec.convert(members, _Common, builtin_types=_BYTES)
    if common.version > VERSION:
        return common, None
    ops = msgspec.convert(members, _Signed, builtin_types=_BYTES).ops
    if any(isinstance(op, SetName) and len(op.text.encode()) > MAX_NAME_BYTES for op in ops):
        raise InvalidMessage("the name of the group is longer than it may be")
    if any(isinstance(op, SetPicture) and op.data and not picture.type_of(op.data) for op in ops):
        raise InvalidMessage("the picture of the group is none, or larger than it may be")
    return common, tuple(ops)


def picture_after(before: bytes, change: Change) -> bytes:
    """The picture of a group after a change."""
    return next((op.data for op in change.ops or () if isinstance(op, SetPicture)), before)
