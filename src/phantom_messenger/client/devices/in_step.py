"""What is known of people, and one's settings, are kept the same on all own devices; see protocol/devices.md.

Whatever changes what is known of somebody is noticed where that is written, in the same transaction, and told to the
other devices as soon as may be. Of two changes the later one counts on all of them.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import NamedTuple

from msgspec import UnsetType
from msgspec.structs import replace

from phantom_messenger.client import content
from phantom_messenger.client.blocking import Blocking
from phantom_messenger.client.devices import kinds
from phantom_messenger.client.devices.desk import DeviceDesk
from phantom_messenger.client.devices.kinds import KnownPerson, SyncContacts, SyncSettings
from phantom_messenger.client.devices.records import SYNCED, SyncedRecord
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.names import checked_name
from phantom_messenger.client.presence import Presence
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Trust
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction

_SETTINGS = ""


class _Known(NamedTuple):
    """What counts of a person, in the order in which it decides if two changes are of the same time."""

    at: int
    blocked: bool
    removed: bool
    verified: bool
    name: bytes

    @classmethod
    def of(cls, record: ContactRecord, at: int) -> "_Known":
        return cls(at, record.blocked, not record.is_known, record.trust == Trust.VERIFIED, record.name.encode())


class InStep:
    """Tells the other own devices, and takes over what they tell.

    Args:
        stores: of the profile.
        desk: says something to devices.
        blocking: blocks and removes, and tells the relay.
        presence: has the settings.
        moment: what the clocks show.
        changed: to be called when something is to be treated otherwise: with a user id, or None for the settings.
    """

    def __init__(
        self,
        stores: Stores,
        desk: DeviceDesk,
        blocking: Blocking,
        presence: Presence,
        *,
        moment: Callable[[], Moment],
        changed: Callable[[str | None], None],
    ) -> None:
        self._stores = stores
        self._desk = desk
        self._blocking = blocking
        self._presence = presence
        self._moment = moment
        self._changed = changed
        self._known = {one.user_id: one for _, one in stores.vault.all(SYNCED, SyncedRecord)}
        self._is_taking = False
        self._is_telling = False
        stores.book.follow = self._noticed
        presence.follow(self._settings_changed)

    # --- what changes here --------------------------------------------------------

    def _noticed(self, tx: Transaction, before: ContactRecord, after: ContactRecord) -> None:
        """Something of a user was stored."""
        devices = self._stores.devices
        if devices.own is None or self._is_taking or before.device_of or after.device_of or not devices.own_others():
            return
        if _Known.of(before, 0) != _Known.of(after, 0) and _is_person(after.user_id):
            self._note(tx, after.user_id)

    def _settings_changed(self, tx: Transaction) -> None:
        if not self._is_taking and self._stores.devices.own_others():
            self._note(tx, _SETTINGS)

    def _note(self, tx: Transaction, user_id: str) -> None:
        at = content.time_of(max(self._moment().wall, self._at(user_id) + 1))
        self._put(tx, SyncedRecord(user_id=user_id, at=at, waits=True))

    def _at(self, user_id: str) -> int:
        known = self._known.get(user_id)
        return 0 if known is None else known.at

    def _put(self, tx: Transaction, record: SyncedRecord) -> None:
        before = self._known.get(record.user_id)
        tx.put(SYNCED, record.user_id, record)
        self._known[record.user_id] = record
        tx.on_rollback(lambda: self._restore(record.user_id, before))

    def _restore(self, user_id: str, before: SyncedRecord | None) -> None:
        if before is None:
            self._known.pop(user_id, None)
        else:
            self._known[user_id] = before

    # --- what is told -------------------------------------------------------------

    def run(self) -> None:
        """Tell the other devices what has changed."""
        if not self._known or self._is_telling:
            return
        waiting = [one for one in self._known.values() if one.waits]
        if not waiting or not self._stores.devices.own_others():
            return
        self._is_telling = True
        try:
            people = [one for one in waiting if one.user_id != _SETTINGS]
            for start in range(0, len(people), kinds.MAX_CONTACTS):
                some = people[start : start + kinds.MAX_CONTACTS]
                said = SyncContacts(contacts=[self.person(one.user_id) for one in some])
                self._desk.say_to_own(said, also=lambda tx, some=some: self._told(tx, some))  # type: ignore[misc]
            if len(people) < len(waiting):
                own = self._known[_SETTINGS]
                self._desk.say_to_own(self.settings(), also=lambda tx: self._told(tx, [own]))
        finally:
            self._is_telling = False

    def _told(self, tx: Transaction, some: list[SyncedRecord]) -> None:
        for one in some:
            self._put(tx, SyncedRecord(user_id=one.user_id, at=one.at))

    def person(self, user_id: str) -> KnownPerson:
        """What is known of somebody, for other devices."""
        known = _Known.of(self._stores.book.get(user_id), self._at(user_id))
        return KnownPerson(
            id=base64.b64decode(user_id),
            at=known.at,
            name=known.name.decode(),
            verified=known.verified,
            blocked=known.blocked,
            removed=known.removed,
        )

    def people(self) -> list[str]:
        """Everybody who is known or blocked."""
        book = self._stores.book
        return [
            contact.user_id
            for contact in book.everybody()
            if _is_person(contact.user_id) and (contact.blocked or book.get(contact.user_id).is_known)
        ]

    def tell_all(self, tx: Transaction) -> None:
        """There is a new device: it is to be told of all these, and of the settings."""
        for user_id in (*self.people(), _SETTINGS):
            self._put(tx, SyncedRecord(user_id=user_id, at=self._at(user_id), waits=True))

    def settings(self) -> SyncSettings:
        """The settings, for other devices."""
        return SyncSettings(at=self._at(_SETTINGS), **asdict(self._presence.settings))

    # --- what others tell ---------------------------------------------------------

    def take_contacts(self, tx: Transaction, said: SyncContacts) -> None:
        """Another own device says what it knows of people."""
        self._is_taking = True
        try:
            for person in said.contacts:
                self._take(tx, person)
        finally:
            self._is_taking = False

    def _take(self, tx: Transaction, person: KnownPerson) -> None:
        user_id = base64.b64encode(person.id).decode()
        stores = self._stores
        if user_id in {stores.devices.device, stores.devices.person} or stores.devices.is_own(user_id):
            return
        before = stores.book.get(user_id)
        theirs = _Known(person.at, person.blocked, person.removed, person.verified, person.name.encode())
        is_new = user_id not in self._known and not before.is_known and not before.blocked
        if not is_new and theirs <= _Known.of(before, self._at(user_id)):
            return
        if person.at:
            self._put(tx, SyncedRecord(user_id=user_id, at=person.at))
        if person.removed:
            self._remove(tx, user_id, before)
        else:
            self._store(tx, person, before)
        if person.blocked != before.blocked:
            self._blocking.set(tx, user_id, blocked=person.blocked)
        tx.on_commit(lambda: self._changed(user_id))

    def _remove(self, tx: Transaction, user_id: str, before: ContactRecord) -> None:
        if before.is_known:
            self._blocking.forget(tx, user_id, history=False)

    def _store(self, tx: Transaction, person: KnownPerson, before: ContactRecord) -> None:
        book, user_id = self._stores.book, before.user_id
        is_usable = not person.name or (_is_name(person.name) and book.named(person.name) in {None, user_id})
        trust = before.trust
        if before.trust != Trust.CHANGED:
            trust = str(Trust.VERIFIED if person.verified else Trust.UNVERIFIED)
        after = replace(before, name=person.name if is_usable else before.name, trust=trust, accepted=True)
        if after != before:
            book.put(tx, after)

    def take_settings(self, tx: Transaction, said: SyncSettings) -> None:
        """Another own device says what others are told."""
        own = asdict(self._presence.settings)
        theirs = {name: own[name] if isinstance(value, UnsetType) else value for name, value in _values(said)}
        # What says less to others counts if both are of the same time.
        mine_in_turn = (self._at(_SETTINGS), *(not value for value in own.values()))
        if (said.at, *(not value for value in theirs.values())) <= mine_in_turn:
            return
        self._is_taking = True
        try:
            self._put(tx, SyncedRecord(user_id=_SETTINGS, at=said.at))
            self._presence.take_over(tx, **theirs)
        finally:
            self._is_taking = False
        tx.on_commit(lambda: self._changed(None))


def _values(said: SyncSettings) -> Iterator[tuple[str, bool | UnsetType]]:
    yield "read_receipts", said.read_receipts
    yield "typing", said.typing
    yield "presence", said.presence


def _is_person(user_id: str) -> bool:
    """Whether it can be named to other devices: it certifies its key."""
    return len(base64.b64decode(user_id)) == kinds.ID_BYTES


def _is_name(name: str) -> bool:
    """Whether a contact may be called so."""
    try:
        return checked_name(name) == name
    except UsageError:
        return False
