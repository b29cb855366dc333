"""What is kept of groups for want of something else, and how much of it may be: what came too early, and early texts.

What must be known to judge whether there is room is in memory, and follows each transaction as it goes: others decide
how often that is asked, and what is kept is large.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from phantom_messenger.client import records
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.records import GroupEarlyRecord, GroupHeldRecord
from phantom_messenger.client.vault import Transaction, Vault

MAX_HELD: Final = 40
"""Contents of a group that came too early and are kept."""

MAX_EARLY: Final = 100
"""Of these, in groups in which this user is no member."""

MAX_HELD_OF_ONE: Final = 10
"""Of these, those of one person, on however many devices: nobody takes the room of all others."""

HELD_MS: Final = 86_400_000
KEPT: Final = "invitation"
"""The kind of what is held that is an invitation to another group of an id than the one that is known."""

KEPT_MS: Final = 30 * 86_400_000
MAX_INVITED_OF_ONE: Final = 20
"""Texts of one person that are kept of all groups to which this user is only invited: as many as of a request."""

MAX_INVITED_BYTES: Final = 8 * 2**20
"""Of all persons, with what is held of these groups."""

ROWS_BYTES: Final = 1_024
"""What a text counts for beyond its own bytes: its rows are larger than a short one."""


class _Held(NamedTuple):
    """What is to be known of a record that is held."""

    sender: str
    is_change: bool
    size: int
    due: int


T = TypeVar("T")


class Notes(Generic[T]):
    """What is known of records, by group and name, in the order of the vault."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, T]] = {}

    def of(self, group: str) -> dict[str, T]:
        """Those of a group, by name."""
        return self._found.get(group, {})

    def all(self) -> Iterable[tuple[str, dict[str, T]]]:
        """Those of all groups that have some."""
        return self._found.items()

    def put(self, group: str, name: str, note: T, tx: Transaction | None = None) -> None:
        """Know one more; ``tx``: that stores it, if it was not stored already."""
        if tx is None:
            self._found.setdefault(group, {})[name] = note
        else:
            self._set(group, {**self.of(group), name: note}, tx)

    def drop(self, tx: Transaction, group: str, gone: Iterable[str]) -> None:
        """Know some no longer."""
        left = set(gone)
        self._set(group, {name: note for name, note in self.of(group).items() if name not in left}, tx)

    def _set(self, group: str, found: dict[str, T], tx: Transaction | None) -> None:
        before = self._found.pop(group, {})
        if found:
            self._found[group] = found
        if tx is not None:
            tx.on_rollback(lambda: self._set(group, before, None))


class Holding:
    """What came too early.

    Args:
        vault: holds it.
        devices: knows whose a device is; None: each is a person.
    """

    def __init__(self, vault: Vault, devices: DeviceBook | None) -> None:
        self._vault = vault
        self._devices = devices
        self._notes = Notes[_Held]()
        for _, record in vault.all(records.GROUP_HELD, GroupHeldRecord):
            self._notes.put(record.group, _name_of(record), _note_of(record))

    def put(self, tx: Transaction, record: GroupHeldRecord) -> None:
        """Keep it."""
        name, note = _name_of(record), _note_of(record)
        tx.put(records.GROUP_HELD, f"{record.group} {name}", record, due=note.due)
        self._notes.put(record.group, name, note, tx)

    def of(self, group: str) -> list[GroupHeldRecord]:
        """What is kept, in the order in which it came."""
        names = [f"{group} {name}" for name in self._notes.of(group)]
        found = self._vault.several(records.GROUP_HELD, names, GroupHeldRecord) if names else []
        return [one for one in found if one is not None]

    def drop(self, tx: Transaction, group: str, gone: Iterable[str] | None = None) -> None:
        """Keep nothing of a group any more, or nothing of these names."""
        names = list(self._notes.of(group) if gone is None else gone)
        for name in names:
            tx.delete(records.GROUP_HELD, f"{group} {name}")
        if names:
            self._notes.drop(tx, group, names)

    def has(self, record: GroupHeldRecord) -> bool:
        """Whether something of this name is kept."""
        return _name_of(record) in self._notes.of(record.group)

    def drop_one(self, tx: Transaction, record: GroupHeldRecord) -> None:
        """Keep this no more."""
        self.drop(tx, record.group, [_name_of(record)])

    def forget_overdue(self, tx: Transaction, now: int) -> None:
        """Erase what has waited too long."""
        for group, notes in list(self._notes.all()):
            self.drop(tx, group, [name for name, note in notes.items() if note.due <= now])
        tx.delete_due(records.GROUP_HELD, now)

    def has_room(self, group: str, sender: str) -> bool:
        """Whether something of this sender would be kept of a group."""
        return self._is_room(sender, list(self._notes.of(group).values()), MAX_HELD)

    def has_room_early(self, sender: str, is_live: Callable[[str], bool]) -> bool:
        """Whether something of this sender would be kept of a group in which this user is no member."""
        early = [note for group, notes in self._notes.all() if not is_live(group) for note in notes.values()]
        return self._is_room(sender, early, MAX_EARLY)

    def _is_room(self, sender: str, held: list[_Held], most: int) -> bool:
        person = self._person_of(sender)
        return len(held) < most and sum(self._person_of(one.sender) == person for one in held) < MAX_HELD_OF_ONE

    def _person_of(self, device: str) -> str:
        return device if self._devices is None else self._devices.person_of(device)

    def has_said(self, group: str, is_theirs: Callable[[str], bool]) -> bool:
        """Whether something is kept that is no change, of devices of which this is true."""
        return any(not note.is_change and is_theirs(note.sender) for note in self._notes.of(group).values())

    def size_of(self, is_meant: Callable[[str], bool]) -> int:
        """How many bytes are kept of groups of which this is true."""
        return sum(note.size for group, notes in self._notes.all() if is_meant(group) for note in notes.values())


class Early:
    """Texts in groups to which this user is only invited: nothing of them is shown, and whoever invites is heard.

    Args:
        vault: holds what they are.
        holding: what else is kept of these groups.
    """

    def __init__(self, vault: Vault, holding: Holding) -> None:
        self._holding = holding
        self._notes = Notes[GroupEarlyRecord]()
        for _, record in vault.all(records.GROUP_EARLY, GroupEarlyRecord):
            self._notes.put(record.group, _early_name(record), record)

    def note(self, tx: Transaction, record: GroupEarlyRecord) -> None:
        """A text is kept."""
        tx.put(records.GROUP_EARLY, f"{record.group} {_early_name(record)}", record)
        self._notes.put(record.group, _early_name(record), record, tx)

    def of(self, group: str) -> list[GroupEarlyRecord]:
        """Which were kept of a group since the invitation."""
        return list(self._notes.of(group).values())

    def drop(self, tx: Transaction, group: str) -> None:
        """The user has accepted, or never will."""
        names = list(self._notes.of(group))
        for name in names:
            tx.delete(records.GROUP_EARLY, f"{group} {name}")
        if names:
            self._notes.drop(tx, group, names)

    def has_room(self, person: str, size: int, is_invited: Callable[[str], bool]) -> bool:
        """Whether a text of somebody is kept; ``is_invited``: whether this user is only invited to a group."""
        theirs = sum(one.sender == person for _, notes in self._notes.all() for one in notes.values())
        return theirs < MAX_INVITED_OF_ONE and self.has_bytes(is_invited, size + ROWS_BYTES)

    def has_bytes(self, is_invited: Callable[[str], bool], size: int = 0) -> bool:
        """Whether there is room for so much of all of them."""
        texts = sum(one.size + ROWS_BYTES for _, notes in self._notes.all() for one in notes.values())
        return texts + self._holding.size_of(is_invited) + size <= MAX_INVITED_BYTES


def _note_of(record: GroupHeldRecord) -> _Held:
    size = len(record.content) + len(record.change) + len(record.state) + ROWS_BYTES
    return _Held(record.sender, bool(record.change), size, record.at + (KEPT_MS if record.kind == KEPT else HELD_MS))


def _name_of(record: GroupHeldRecord) -> str:
    """What is kept is named by what it is, so that it is kept once."""
    if record.change:
        return base64.b64encode(changes.read_own(record.change).digest).decode()
    return records.key(record.sender, record.message_id)


def _early_name(record: GroupEarlyRecord) -> str:
    return records.key(record.sender, record.message_id)
