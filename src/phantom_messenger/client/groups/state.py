"""What a group is after a change: its name, its members and their roles, and the head that everybody compares.

See protocol/groups.md, "State". A state is only made by the changes that lead to it, or read from an invitation
whose change names its head.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, Self, TypeVar

import msgspec

from phantom_messenger.client.groups import picture
from phantom_messenger.client.groups.change import (
    ID_BYTES,
    MAX_NAME_BYTES,
    NONE,
    Add,
    Change,
    Close,
    Op,
    RefusedChange,
    Remove,
    SetName,
    SetPicture,
    SetRights,
    SetRole,
    SetTimer,
)
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS

MAX_MEMBERS: Final = 100
MAX_ADMINS: Final = 16
"""As many as the relay lets write one order."""

MAX_AHEAD: Final = 1_024
"""How far a revision may be ahead of the last one: what was refused in between, or lost by a relay, is left out."""

DIGIT_ROUNDS: Final = 100_000
"""How often the head is hashed for people: twenty digits are few, and so each try costs an attacker more."""

_PLAIN, _WITH_PICTURE = 1, 2
_HEAD: Final = b"phantom/1 group-head\n"
_DIGITS: Final = b"phantom/1 group-digits\n"
_CONVERSATION: Final = b"phantom/1 group conversation\n"
_ORDER: Final = b"phantom/1 order\n"
_DIGIT_BYTES: Final = 5


S = TypeVar("S", bound="GroupState")


class Role(IntEnum):
    """What a member is."""

    MEMBER = 1
    ADMIN = 2


_ROLES: Final = {"member": Role.MEMBER, "admin": Role.ADMIN}


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """A group after its change ``revision``; before the first one, 0 and no members.

    ``group``: 32 bytes. ``timer``: milliseconds after which texts expire, 0: not. ``invite``, ``write``: what one must
    be for it, at least. ``picture``: the name of its picture, 32 bytes, or nothing. ``members``: their role, by raw
    user id, in the order of the ids.
    """

    group: bytes
    revision: int = 0
    name: str = ""
    timer: int = 0
    invite: Role = Role.ADMIN
    write: Role = Role.MEMBER
    is_closed: bool = False
    picture: bytes = b""
    members: dict[bytes, Role] = {}

    def __repr__(self) -> str:
        return f"GroupState(revision={self.revision}, members={len(self.members)})"

    @property
    def admins(self) -> list[bytes]:
        """Who may change the group, in the order of the ids."""
        return [person for person, role in self.members.items() if role is Role.ADMIN]

    def may_write(self, person: bytes) -> bool:
        """Whether texts of this person are shown now."""
        return not self.is_closed and self.members.get(person, 0) >= self.write

    def may_invite(self, person: bytes) -> bool:
        """Whether this person may have others invited now."""
        return not self.is_closed and self.members.get(person, 0) >= self.invite

    def encode(self) -> bytes:
        """The one form of this state, in bytes."""
        name = self.name.encode()
        parts = [
            bytes((_WITH_PICTURE if self.picture else _PLAIN,)),
            self.group,
            self.revision.to_bytes(4),
            self.timer.to_bytes(8),
            bytes((self.invite, self.write, self.is_closed, len(name))),
            name,
            self.picture,
            bytes((len(self.members),)),
            *(person + bytes((role,)) for person, role in self.members.items()),
        ]
        return b"".join(parts)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Read a state.

        Raises:
            InvalidMessage: these bytes are no state, or not in the one form that it has.
        """
        try:
            found = cls._read(encoded)
            is_good = found.encode() == encoded and _fits(found) and found.revision > 0
        except (ValueError, OverflowError, IndexError):
            is_good = False
        if not is_good:
            raise InvalidMessage("the state of the group is not valid")
        return found

    @classmethod
    def _read(cls, encoded: bytes) -> Self:
        """What the bytes say; what they say too much, or in another order, shows when they are written again."""
        fixed = 1 + ID_BYTES + 4 + 8
        invite, write, is_closed, length = encoded[fixed : fixed + 4]
        named = fixed + 4 + length
        start = named + (ID_BYTES if encoded[0] == _WITH_PICTURE else 0)
        people = encoded[start + 1 :]
        members = {
            people[at : at + ID_BYTES]: Role(people[at + ID_BYTES])
            for at in range(0, encoded[start] * (ID_BYTES + 1), ID_BYTES + 1)
        }
        return cls(
            group=encoded[1 : 1 + ID_BYTES],
            revision=int.from_bytes(encoded[1 + ID_BYTES : 5 + ID_BYTES]),
            name=encoded[fixed + 4 : named].decode(),
            timer=int.from_bytes(encoded[5 + ID_BYTES : fixed]),
            invite=Role(invite),
            write=Role(write),
            is_closed={0: False, 1: True}.get(is_closed, False),
            picture=encoded[named:start],
            members=dict(sorted(members.items())),
        )

    def after(self, change: Change) -> Self:
        """The state that a change leads to, whatever head it follows.

        Raises:
            RefusedChange: ``group``, ``closed``, ``revision``, ``author``, ``newer``, ``ops`` or ``bounds``.
        """
        self._check_may(change)
        if change.ops is None:
            raise RefusedChange("newer")
        _check_clear(change.ops)
        members, changed = dict(self.members), self
        for op in change.ops:
            _apply(members, op)
            changed = _with(changed, op)
        changed = msgspec.structs.replace(changed, revision=change.revision, members=dict(sorted(members.items())))
        if not self.revision and changed.members.get(change.author) is not Role.ADMIN:
            raise RefusedChange("author")
        if not _fits(changed):
            raise RefusedChange("bounds")
        return changed

    def _check_may(self, change: Change) -> None:
        first = self.revision + 1
        last = 1 if not self.revision else self.revision + MAX_AHEAD
        if change.group != self.group:
            raise RefusedChange("group")
        if self.is_closed:
            raise RefusedChange("closed")
        if not first <= change.revision <= last:
            raise RefusedChange("revision")
        if self.revision and self.members.get(change.author) is not Role.ADMIN:
            raise RefusedChange("author")


def _check_clear(ops: tuple[Op, ...]) -> None:
    """Nothing is said twice: so the order of what a change does makes no difference.

    Raises:
        RefusedChange: ``ops``.
    """
    people = Counter(op.person for op in ops if isinstance(op, Add | Remove | SetRole))
    others = Counter(type(op) for op in ops if not isinstance(op, Add | Remove | SetRole))
    if any(count > 1 for count in (*people.values(), *others.values())):
        raise RefusedChange("ops")


def _apply(members: dict[bytes, Role], op: Op) -> None:
    match op:
        case Add():
            if op.person in members:
                raise RefusedChange("ops")
            members[op.person] = _ROLES[op.role]
        case Remove():
            if op.person not in members:
                raise RefusedChange("ops")
            del members[op.person]
        case SetRole():
            if op.person not in members:
                raise RefusedChange("ops")
            members[op.person] = _ROLES[op.role]
        case _:
            pass


def _with(state: S, op: Op) -> S:
    match op:
        case SetName():
            return msgspec.structs.replace(state, name=op.text)
        case SetTimer():
            return msgspec.structs.replace(state, timer=op.ms)
        case SetRights():
            return msgspec.structs.replace(state, invite=_ROLES[op.invite], write=_ROLES[op.write])
        case SetPicture():
            return msgspec.structs.replace(state, picture=picture.name_of(op.data))
        case Close():
            return msgspec.structs.replace(state, is_closed=True)
        case _:
            return state


def _fits(state: GroupState) -> bool:
    return (
        len(state.members) <= MAX_MEMBERS
        and 1 <= len(state.admins) <= MAX_ADMINS
        and len(state.name.encode()) <= MAX_NAME_BYTES
        and state.timer <= MAX_EXPIRES_IN_MS
    )


def head_of(digest: bytes, state: GroupState) -> bytes:
    """What everybody compares: 32 bytes that name a change and all that the group is after it."""
    return NONE if not state.revision else hashlib.sha256(_HEAD + digest + state.encode()).digest()


def digits_of(head: bytes) -> str:
    """A head as 20 digits in groups of five, for people to compare. Takes some hundredths of a second."""
    found = hashlib.sha512(_DIGITS + head).digest()
    for _ in range(DIGIT_ROUNDS):
        found = hashlib.sha512(found + head).digest()
    chunks = (found[at : at + _DIGIT_BYTES] for at in range(0, 4 * _DIGIT_BYTES, _DIGIT_BYTES))
    return " ".join(f"{int.from_bytes(chunk) % 100_000:05d}" for chunk in chunks)


def conversation_of(group: bytes) -> bytes:
    """The conversation id of a group's messages at the relay, before base64."""
    return hashlib.sha256(_CONVERSATION + group).digest()


def order_of(group: bytes) -> bytes:
    """The name under which the relay puts a group's changes in order, before base64."""
    return hashlib.sha256(_ORDER + group).digest()


def still_to_say(ops: Iterable[Op], state: GroupState) -> list[Op]:
    """What of some ops would still change a group: others may have done it meanwhile, or made it impossible."""
    return [op for op in ops if _says_something(op, state)]


def _says_something(op: Op, state: GroupState) -> bool:
    match op:
        case Add():
            return op.person not in state.members
        case Remove():
            return op.person in state.members
        case SetRole():
            return state.members.get(op.person, _ROLES[op.role]) is not _ROLES[op.role]
        case _:
            return _with(state, op) != state
