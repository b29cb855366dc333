"""What users want of a group, as ops of its changes."""

from collections.abc import Iterable
from typing import Final

from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.change import MAX_NAME_BYTES, MAX_OPS, Add, Op
from phantom_messenger.client.groups.state import Role
from phantom_messenger.client.groups.store import raw_of
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
