"""What is known of people, one's settings, and which groups are muted are the same on all own devices.

Whatever changes what is known of somebody is noticed where that is written, in the same transaction, and told to the
other devices as soon as may be. Of two changes the later one counts on all of them. See protocol/devices.md.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

from msgspec import UnsetType
from msgspec.structs import replace

from phantom_messenger.client import content
from phantom_messenger.client.blocking import Blocking
from phantom_messenger.client.devices import kinds
from phantom_messenger.client.devices.desk import DeviceDesk
from phantom_messenger.client.devices.kinds import (
    KnownPerson,
    MutedGroup,
    SyncContacts,
    SyncGroup,
    SyncMuted,
    SyncSettings,
)
from phantom_messenger.client.devices.records import SYNCED, SyncedRecord
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import naming
from phantom_messenger.client.groups.records import GroupRecord
from phantom_messenger.client.groups.store import INVITED, MEMBER, Group, raw_of, written
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.names import checked_name
from phantom_messenger.client.presence import Presence
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Trust
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction

_SETTINGS: Final = ""
_GROUP: Final = "group "
_MUTED: Final = "muted "


def _entry(record: ContactRecord, at: int) -> KnownPerson:
    """What is known of a person, as devices tell each other."""
    return KnownPerson(
        id=base64.b64decode(record.user_id),
        at=at,
        name=record.name,
        verified=record.trust == Trust.VERIFIED,
        blocked=record.blocked,
        removed=not record.is_known,
    )


class InStep:
    """Tells the other own devices, and takes over what they tell.

    Args:
        stores: of the profile.
        desk: says something to devices.
        blocking: blocks and removes, and tells the relay.
        presence: has the settings.
        moment: what the clocks show.
    """

    def __init__(
        self,
        stores: Stores,
        desk: DeviceDesk,
        blocking: Blocking,
        presence: Presence,
        *,
        moment: Callable[[], Moment],
    ) -> None:
        self._stores = stores
        self._desk = desk
        self._blocking = blocking
        self._presence = presence
        self._moment = moment
        self._changed: list[str | None] = []
        self._known = {one.user_id: one for _, one in stores.vault.all(SYNCED, SyncedRecord)}
        self._is_taking = False
        self._is_telling = False
        stores.book.follower = self
        stores.groups.follower = self
        presence.follow(self)

    def take_changed(self) -> list[str | None]:
        """What is to be treated otherwise, as another own device has said: user ids, and None for the settings."""
        changed, self._changed = self._changed, []
        return changed

    # --- what changes here --------------------------------------------------------

    def contact_changed(self, tx: Transaction, before: ContactRecord, after: ContactRecord) -> None:
        """See ``address_book.Follower``."""
        devices = self._stores.devices
        if devices.own is None or self._is_taking or before.device_of or after.device_of or not devices.own_others():
            return
        if _is_person(after.user_id) and _entry(before, 0) != _entry(after, 0):
            self._note(tx, after.user_id)

    def settings_changed(self, tx: Transaction) -> None:
        """See ``settings.Follower``."""
        if not self._is_taking and self._stores.devices.own_others():
            self._note(tx, _SETTINGS)

    def group_changed(self, tx: Transaction, before: GroupRecord | None, after: GroupRecord | None) -> None:
        """A group was stored: linked devices learn what it is from the first one, and all whether it is muted."""
        if after is None:
            if before is not None:
                self._erased(tx, written(before.group))
            return
        devices, group = self._stores.devices, written(after.group)
        if devices.own is None:
            return
        has_others = bool(devices.own_others())
        if devices.is_first and has_others and (before is None or _differs(before, after)):
            name = f"{_GROUP}{group}"
            self._put(tx, replace(self._known.get(name) or SyncedRecord(user_id=name, at=0), waits=True))
        if before is None or not before.relation == after.relation == MEMBER:
            return  # whoever comes back is told nothing of it yet, see ``_mute_again``
        name = f"{_MUTED}{group}"
        if before.muted != after.muted and not self._is_taking and (has_others or name in self._known):
            self._note(tx, name, muted=after.muted)

    def _erased(self, tx: Transaction, group: str) -> None:
        """The user has erased a group: the others hear that it is muted no more, and then nothing of it stays here."""
        self._drop(tx, f"{_GROUP}{group}")
        name = f"{_MUTED}{group}"
        known = self._known.get(name)
        if known is not None and (known.muted or known.waits) and self._stores.devices.own_others():
            self._note(tx, name, muted=False)
        else:
            self._drop(tx, name)

    def _note(self, tx: Transaction, user_id: str, *, muted: bool | None = None) -> None:
        at = content.time_of(max(self._moment().wall, self._at(user_id) + 1))
        self._put(tx, SyncedRecord(user_id=user_id, at=at, waits=True, muted=muted))

    def _at(self, user_id: str) -> int:
        known = self._known.get(user_id)
        return 0 if known is None else known.at

    def _put(self, tx: Transaction, record: SyncedRecord) -> None:
        before = self._known.get(record.user_id)
        tx.put(SYNCED, record.user_id, record)
        self._known[record.user_id] = record
        tx.on_rollback(lambda: self._restore(record.user_id, before))

    def _drop(self, tx: Transaction, name: str) -> None:
        before = self._known.pop(name, None)
        if before is not None:
            tx.delete(SYNCED, name)
            tx.on_rollback(lambda: self._restore(name, before))

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
        self._mute_again()
        waiting = [one for one in self._known.values() if one.waits]
        if not waiting or not self._stores.devices.own_others():
            return
        self._is_telling = True
        try:
            for one in waiting:
                if one.user_id == _SETTINGS:  # first, so that a new device has them when it is told that it is ready
                    self._desk.say_to_own(self.settings(), also=lambda tx, one=one: self._told(tx, [one]))  # type: ignore[misc]
            people = [one for one in waiting if _is_of_person(one)]
            for start in range(0, len(people), kinds.MAX_CONTACTS):
                some = people[start : start + kinds.MAX_CONTACTS]
                said = SyncContacts(contacts=[self.person(one.user_id) for one in some])
                self._desk.say_to_own(said, also=lambda tx, some=some: self._told(tx, some))  # type: ignore[misc]
            for one in waiting:
                if one.user_id.startswith(_GROUP):
                    self._tell_group(one)
            muted = [one for one in waiting if one.muted is not None]
            for start in range(0, len(muted), kinds.MAX_MUTED):  # behind the groups, which are to be there
                some = muted[start : start + kinds.MAX_MUTED]
                groups = [_muted(one) for one in some]
                self._desk.say_to_own(SyncMuted(groups=groups), also=lambda tx, some=some: self._told(tx, some))  # type: ignore[misc]
        finally:
            self._is_telling = False

    def _tell_group(self, one: SyncedRecord) -> None:
        """What a group is now; nothing, if it is none, or the user has not accepted yet: that is told then.

        Of names, those that were not told before: all of them are larger than everything else.
        """
        group = self._group(one.user_id)
        if group is not None:
            names = {written(member.id): member.name for member in group.names}
            told = replace(one, waits=False, names=names)
            news = [member for member in group.names if member.name != one.names.get(written(member.id))]
            self._desk.say_to_own(replace(group, names=news), also=lambda tx: self._put(tx, told))
            return
        with self._stores.vault.transaction() as tx:
            self._told(tx, [one])

    def _told(self, tx: Transaction, some: list[SyncedRecord]) -> None:
        for one in some:
            if one.muted is False and self._stores.groups.get(one.user_id.removeprefix(_MUTED)) is None:
                self._drop(tx, one.user_id)
            else:
                self._put(tx, SyncedRecord(user_id=one.user_id, at=one.at, muted=one.muted))

    def person(self, user_id: str) -> KnownPerson:
        """What is known of somebody, for other devices."""
        return _entry(self._stores.book.get(user_id), self._at(user_id))

    def people(self) -> list[str]:
        """Everybody who is known or blocked."""
        book = self._stores.book
        return [
            contact.user_id
            for contact in book.everybody()
            if _is_person(contact.user_id) and (contact.blocked or book.get(contact.user_id).is_known)
        ]

    def tell_all(self, tx: Transaction, *, history: bool) -> None:
        """There is a new device: it is to be told of all these, of the settings, of groups, and which are muted.

        Of one that this user is in no more only if it shows ``history``, and has some; but that it is muted always.
        """
        store = self._stores.groups
        groups = [one for one in store.all() if one.record.relation == MEMBER or (history and store.has_texts(one))]
        for name in (*self.people(), _SETTINGS, *(f"{_GROUP}{one.id}" for one in groups)):
            self._put(tx, SyncedRecord(user_id=name, at=self._at(name), waits=True))
        heard = {name for name, one in self._known.items() if one.muted is not None}
        for name in sorted(heard | {f"{_MUTED}{one.id}" for one in store.all()}):
            said = self._is_muted(name)
            if said.at or said.muted:
                self._put(tx, SyncedRecord(user_id=name, at=said.at, waits=True, muted=said.muted))

    def _group(self, name: str) -> SyncGroup | None:
        """A group, for linked devices; None if it is none, or nothing to them yet."""
        group = self._stores.groups.get(name.removeprefix(_GROUP)) if name.startswith(_GROUP) else None
        if group is None or group.record.relation == INVITED:
            return None
        return SyncGroup(
            group=group.record.group,
            relation=group.record.relation,
            state=group.state.encode(),
            digest=group.chain.digest,
            picture=group.record.picture,
            name=group.record.own_name,
            names=naming.of_others(group) if group.record.relation == MEMBER else [],
        )

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
        is_new = user_id not in self._known and not before.is_known and not before.blocked
        if not is_new and later_of(self.person(user_id), person) is not person:
            return
        if person.at:
            self._put(tx, SyncedRecord(user_id=user_id, at=person.at))
        if person.removed:
            self._remove(tx, user_id, before)
        else:
            self._store(tx, person, before)
        if person.blocked != before.blocked:
            self._blocking.set(tx, user_id, blocked=person.blocked)
        tx.on_commit(lambda: self._changed.append(user_id))

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

    def take_muted(self, tx: Transaction, said: SyncMuted) -> None:
        """Another own device says which groups are muted; one that is not here, or not yet, will be so."""
        for heard in said.groups:
            name = f"{_MUTED}{written(heard.group)}"
            if later_muted(self._is_muted(name), heard) is heard:
                self._put(tx, SyncedRecord(user_id=name, at=heard.at, muted=heard.muted))
                self._mute(tx, self._known[name])

    def _is_muted(self, name: str) -> MutedGroup:
        """What is known of a group, here or once it is here."""
        known = self._known.get(name)
        if known is not None and known.muted is not None:
            return _muted(known)
        group = self._stores.groups.get(name.removeprefix(_MUTED))
        return MutedGroup(group=_raw(name), at=0, muted=group is not None and group.record.muted)

    def _member_of(self, name: str) -> Group | None:
        group = self._stores.groups.get(name.removeprefix(_MUTED))
        return group if group is not None and group.record.relation == MEMBER else None

    def _mute(self, tx: Transaction, one: SyncedRecord) -> None:
        group = self._member_of(one.user_id)
        if group is None or one.muted in {None, group.record.muted}:
            return
        self._is_taking = True
        try:
            self._stores.groups.put(tx, group.with_record(muted=one.muted))
        finally:
            self._is_taking = False

    def _mute_again(self) -> None:
        """Who has come into a group, or back, finds it muted if it is so on the other devices."""
        for one in [one for one in self._known.values() if one.muted is not None]:
            group = self._member_of(one.user_id)
            if group is not None and group.record.muted != one.muted:
                with self._stores.vault.transaction() as tx:
                    self._mute(tx, one)

    def take_settings(self, tx: Transaction, said: SyncSettings) -> None:
        """Another own device says what others are told."""
        own = self.settings()
        after = later_settings(own, said)
        if after is own:
            return
        self._is_taking = True
        try:
            self._put(tx, SyncedRecord(user_id=_SETTINGS, at=said.at))
            self._presence.take_over(tx, **{name: value is True for name, value in _values(after)})
        finally:
            self._is_taking = False
        tx.on_commit(lambda: self._changed.append(None))


def later_muted(known: MutedGroup, heard: MutedGroup) -> MutedGroup:
    """Which of two devices' knowledge of a group counts; ``known`` if it is the same."""
    return heard if (heard.at, heard.muted) > (known.at, known.muted) else known


def later_of(known: KnownPerson, heard: KnownPerson) -> KnownPerson:
    """Which of two devices' knowledge of a person counts; ``known`` if it is the same."""
    return heard if _place(heard) > _place(known) else known


def _place(one: KnownPerson) -> tuple[int, bool, bool, bool, bytes]:
    return one.at, one.blocked, one.removed, one.verified, one.name.encode()


def later_settings(known: SyncSettings, heard: SyncSettings) -> SyncSettings:
    """The settings after another device has told its own; ``known`` itself, which has all, if that changes nothing."""
    own = {name: value is True for name, value in _values(known)}
    theirs = {name: own[name] if isinstance(value, UnsetType) else value for name, value in _values(heard)}
    # What says less to others counts if both are of the same time.
    is_later = (heard.at, *(not one for one in theirs.values())) > (known.at, *(not one for one in own.values()))
    return SyncSettings(at=heard.at, **theirs) if is_later else known


def _values(said: SyncSettings) -> Iterator[tuple[str, bool | UnsetType]]:
    for name in ("read_receipts", "typing", "presence"):
        yield name, getattr(said, name)


def _is_of_person(one: SyncedRecord) -> bool:
    return one.user_id != _SETTINGS and not one.user_id.startswith((_GROUP, _MUTED))


def _differs(before: GroupRecord, after: GroupRecord) -> bool:
    """Whether a linked device is to learn of it."""

    def seen(record: GroupRecord) -> tuple[object, ...]:
        return record.relation, record.digest, record.picture, record.own_name

    return seen(before) != seen(after)


def _raw(name: str) -> bytes:
    return raw_of(name.removeprefix(_MUTED))


def _muted(one: SyncedRecord) -> MutedGroup:
    """Whether a group is muted, as devices tell each other."""
    return MutedGroup(group=_raw(one.user_id), at=one.at, muted=one.muted is True)


def _is_person(user_id: str) -> bool:
    """Whether it can be named to other devices: it certifies its key."""
    return len(base64.b64decode(user_id)) == kinds.ID_BYTES


def _is_name(name: str) -> bool:
    """Whether a contact may be called so."""
    try:
        return checked_name(name) == name
    except UsageError:
        return False
