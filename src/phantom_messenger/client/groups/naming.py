"""What members are called whom one has not added: by the names that they say of themselves.

A name of this kind proves nothing: anybody can say any. So it is never shown where a contact's name could stand
without what tells them apart, see ``Contact.label``.
"""

import re
import unicodedata
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Final

from msgspec import UnsetType

from phantom_messenger.client.address_book import AddressBook, public
from phantom_messenger.client.devices.kinds import NamedMember, SyncGroup
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.store import Group, raw_of, written
from phantom_messenger.client.ids import is_user_id
from phantom_messenger.client.names import checked_name, is_like_id, normal_name
from phantom_messenger.client.status import Contact

MAX_NAMES: Final = 200
"""Names of a group's members that are kept: of all who are in it, and of some who were."""

_BRACKETS: Final = frozenset({"Ps", "Pe"})
_LIKE_BRACKETS: Final = re.compile("[<>\u00ab\u00bb\u2039\u203a\uff1c\uff1e\u02c2\u02c3\u239b-\u23b1\u23dc-\u23e1]")
"""What stands around the id that is shown behind a name, by its category (opening and closing punctuation); and what is
no punctuation to Unicode, or no bracket, and looks like it."""


def shown(name: str) -> str:
    """A name as its owner says it, in the form in which it is shown; '' if it cannot be."""
    try:
        kept = (one for one in normal_name(name) if unicodedata.category(one) not in _BRACKETS)
        found = checked_name(_LIKE_BRACKETS.sub("", "".join(kept)).lstrip("~ "))
        return "" if is_like_id(found) else found
    except UsageError:
        return ""


def checked(name: str) -> str:
    """A name to call oneself by; '' for none.

    Raises:
        UsageError: others could not be shown it.
    """
    name = normal_name(name)
    if name and shown(name) != name:
        raise UsageError(
            "a name needs 1 to 64 printable characters, no brackets, nothing like an ID, and no '~' before it; choose"
            " another"
        )
    return name


def noted(group: Group, person: str, name: str | UnsetType) -> Group:
    """The group once a member has said a name; the same if they have said nothing of it, or the one that is known.

    That they are called nothing any more is kept, too: what was said before could come back by a late ``sync-group``.
    """
    if isinstance(name, UnsetType) or group.record.names.get(person) == (said := shown(name)):
        return group
    names = {one: known for one, known in group.record.names.items() if one != person}
    names[person] = said
    people = set(group.people)
    gone = [one for one in names if one not in people][: max(0, len(names) - MAX_NAMES)]
    return group.with_record(names={one: known for one, known in names.items() if one not in gone})


def of_others(group: Group) -> list[NamedMember]:
    """What members have said that they are called, for linked devices."""
    known = sorted((raw_of(person), name) for person, name in group.record.names.items())
    return [NamedMember(id=one, name=name) for one, name in known if name and one in group.state.members]


def taken_over(group: Group, said: SyncGroup, own: str, people: Container[bytes]) -> Group:
    """The group on a linked device once the first one has told the names in it.

    What this device has heard of others stays, a name that was withdrawn, too: it may be later than what is told. Of
    whoever is no member here any more the name is taken all the same: they may be added again, and it is told once.

    Args:
        group: as it is known here.
        said: what is told.
        own: this user's id.
        people: the members by what is told, which may be older than what is known here.
    """
    group = group.with_record(own_name=shown(said.name))
    for one in said.names:
        person = written(one.id)
        if one.id in people and person != own and person not in group.record.names:
            group = noted(group, person, one.name)
    return group


def handed_over(group: Group, names: Mapping[str, str], own: str) -> Group:
    """The group once the first device has told what those call themselves who have written: as ``taken_over``."""
    for person, name in names.items():
        if person != own and is_user_id(person) and person not in group.record.names:
            group = noted(group, person, name)
    return group


def member_of(group: Group, user_id: str, book: AddressBook) -> Contact:
    """Somebody in a group as applications see them: as who they are there, whosever list of devices has them."""
    contact = public(book.get(user_id))
    says = "" if contact.name else group.record.names.get(contact.user_id, "")
    return replace(contact, says=says) if says else contact
