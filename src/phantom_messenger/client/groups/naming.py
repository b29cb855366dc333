"""What members are called whom one has not added: by the names that they say of themselves.

A name of this kind proves nothing: anybody can say any. So it is never shown where a contact's name could stand
without what tells them apart, see ``Contact.label``.
"""

from dataclasses import replace
from typing import Final

from msgspec import UnsetType

from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.store import Group
from phantom_messenger.client.names import checked_name, normal_name
from phantom_messenger.client.status import Contact

MAX_NAMES: Final = 200
"""Names of a group's members that are kept: of all who are in it, and of some who were."""

_BRACKETS: Final = str.maketrans("", "", "()\uff08\uff09\ufe59\ufe5a")
"""What stands around the id that is shown behind a name."""


def shown(name: str) -> str:
    """A name as its owner says it, in the form in which it is shown; '' if it cannot be."""
    try:
        return checked_name(normal_name(name).translate(_BRACKETS).lstrip("~ "))
    except UsageError:
        return ""


def checked(name: str) -> str:
    """A name to call oneself by; '' for none.

    Raises:
        UsageError: others could not be shown it.
    """
    name = normal_name(name)
    if name and shown(name) != name:
        raise UsageError("a name needs 1 to 64 printable characters, no brackets, and no '~' before it; choose another")
    return name


def noted(group: Group, person: str, name: str | UnsetType) -> Group:
    """The group once a member has said a name; the same if they have said none, or the one that is known."""
    if isinstance(name, UnsetType) or group.record.names.get(person, "") == (said := shown(name)):
        return group
    names = {one: known for one, known in group.record.names.items() if one != person}
    if said:
        names[person] = said
    people = set(group.people)
    gone = [one for one in names if one not in people][: max(0, len(names) - MAX_NAMES)]
    return group.with_record(names={one: known for one, known in names.items() if one not in gone})


def member_of(group: Group, user_id: str, book: AddressBook) -> Contact:
    """Somebody in a group as applications see them."""
    contact = book.contact(user_id)
    says = "" if contact.name else group.record.names.get(contact.user_id, "")
    return replace(contact, says=says) if says else contact
