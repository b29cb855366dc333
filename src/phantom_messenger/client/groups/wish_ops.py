"""What users want of a group, as ops of its changes."""

from collections.abc import Iterable
from typing import Final

from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.change import MAX_NAME_BYTES, MAX_OPS, Add, Op, Remove
from phantom_messenger.client.groups.state import Role
from phantom_messenger.client.groups.store import MEMBER, Group, packed_ops, raw_of, written
from phantom_messenger.client.groups.strangers import MAX_ASKED
from phantom_messenger.client.ids import is_user_id
from phantom_messenger.client.names import normal_name

ROLES: Final = {Role.MEMBER: "member", Role.ADMIN: "admin"}


def added(people: Iterable[str], role: str) -> list[Op]:
    """People added in a role."""
    return [Add(person=raw_of(person), role=checked_role(role)) for person in dict.fromkeys(people)]


def parts(ops: list[Op]) -> list[list[Op]]:
    """Ops in changes that are not too large."""
    return [ops[at : at + MAX_OPS] for at in range(0, len(ops), MAX_OPS)]


def checked_role(role: str) -> str:
    """A role; raises ``UsageError`` if it is none."""
    if role not in ROLES.values():
        raise UsageError(f"'{role}' is no role; there are 'admin' and 'member'")
    return role


def checked_name(name: str) -> str:
    """A name of a group; raises ``UsageError`` if it cannot be one."""
    name = normal_name(name)
    if not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        raise UsageError(f"the name of a group has 1 to {MAX_NAME_BYTES} bytes; choose another")
    return name


def check_persons(people: Iterable[str], devices: DeviceBook, book: AddressBook) -> None:
    """See that these people can be added by this user.

    Raises:
        UsageError: one of them cannot, or is a device of somebody.
    """
    for one in people:
        check_people([one], devices.person)
        person = devices.person_of(one)
        if person != one:
            raise UsageError(f"this is the ID of a device of {book.contact(person).label}; add their own ID")


def check_people(people: Iterable[str], own_id: str) -> None:
    """See that these people can be added, or removed, by this user.

    Raises:
        UsageError: one of them cannot.
    """
    for person in people:
        if not is_user_id(person):
            raise UsageError("only users with an ID that certifies their key can be in a group")
        if person == own_id:
            raise UsageError("this is your own ID; to leave a group, use 'phantom groups leave GROUP'")


def wished(group: Group, op: Op, own: bytes) -> Group:
    """The group, if an admin's client is to do what a member may ask for, and it was not asked for already.

    Args:
        group: as it is.
        op: what it is to do.
        own: this user's raw id, if this is their first device; else b"".
    """
    wish, wishes = packed_ops([op]), group.record.wishes
    is_admin = group.state.members.get(own) is Role.ADMIN and group.record.relation == MEMBER
    is_new = is_admin and wish not in wishes and len(wishes) < MAX_ASKED
    return group.with_wishes([*wishes, wish], [*group.record.asked, wish]) if is_new else group


def with_leaves(group: Group, own: bytes) -> Group:
    """The same for all who have said that they leave, as far as there is room: there may have been none then."""
    for one in group.record.leaving:
        group = wished(group, Remove(person=raw_of(one)), own)
    return group


def check_may_leave(group: Group, own: str) -> None:
    """Refuse to leave a group that could not go on: there are others, and none of them is an admin.

    Raises:
        UsageError: it is so.
    """
    stay = set(group.people).difference(group.record.leaving, [own])
    admins = {written(person) for person in group.state.admins}
    if own in admins and stay and not stay & admins:
        raise UsageError("you are the last admin of this group; make somebody else an admin first, or close it")
