"""Everybody who is known, in memory as on disk: found by id, by name, and by what a name looks like.

It is asked many times for each message and read once, when the profile is opened: so
nothing that is done for one contact costs more with many.
"""

from collections.abc import Container, Iterable
from typing import Protocol

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.ids import is_user_id
from phantom_messenger.client.names import normal_name, skeleton
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import Contact, Trust
from phantom_messenger.client.vault import Transaction, Vault


class Follower(Protocol):
    """Whoever stores something along with what is known of people: the other own devices are to know."""

    def contact_changed(self, tx: Transaction, before: ContactRecord, after: ContactRecord) -> None:
        """What is known of a user is stored, as it was and as it is."""


class AddressBook:
    """The records of all contacts, and of strangers who have written.

    What a transaction changes is seen at once, also inside of it, and undone if it fails.

    Args:
        vault: holds them.
    """

    def __init__(self, vault: Vault) -> None:
        self.fellows: Container[str] = ()
        """Who is in a group with this user: they may learn that we are there, known or not."""
        self._load(record for _, record in vault.all(records.CONTACT, ContactRecord))
        self.expected: set[str] = set()
        """Users with whom a device is being linked: they are no strangers, and no contacts."""
        self.follower: Follower | None = None
        self.asks = False
        """Whether what strangers send is to wait until the user has accepted them: nothing shows them before."""

    def everybody(self) -> list[Contact]:
        """Everybody, in the order in which they came."""
        return [public(record) for record in self._records.values() if not record.device_of]

    def listed(self) -> list[Contact]:
        """The same without those whom no user has let in: a session with them may be there all the same."""
        return [one for one in self.everybody() if one.blocked or not self.asks or self.is_known(one.user_id)]

    def user_ids(self) -> list[str]:
        """The ids of everybody, in the same order."""
        return list(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def has(self, user_id: str) -> bool:
        """Whether there is a record."""
        return user_id in self._records

    def get(self, user_id: str) -> ContactRecord:
        """The record of a user; an empty one if there is none."""
        return self._records.get(user_id) or ContactRecord(user_id=user_id)

    def contact(self, user_id: str) -> Contact:
        """A user, known or not, as applications see them; of a device, the person it belongs to."""
        return public(self.person(user_id))

    def person(self, user_id: str) -> ContactRecord:
        """The record of a user; of a device, that of the person it belongs to."""
        record = self.get(user_id)
        return self.get(record.device_of) if record.device_of else record

    def named(self, name: str) -> str | None:
        """The id of the contact with this name."""
        return self._by_name.get(normal_name(name))

    def alike(self, name: str) -> list[tuple[str, str]]:
        """Ids and names of contacts whose names look like this one."""
        return [(user_id, self.get(user_id).name) for user_id in self._by_look.get(skeleton(name), {})]

    def may_notify(self, user_id: str) -> bool:
        """Whether somebody may learn that we are there: they were added or written to, and have the key we know."""
        record = self.person(user_id)
        is_known = self.is_known(user_id) or record.user_id in self.fellows
        return is_known and not record.blocked and record.trust != Trust.CHANGED

    def is_known(self, user_id: str) -> bool:
        """Whether the user has added them, written to them or let them in; else they are a stranger."""
        return self.person(user_id).is_known or user_id in self.expected

    def is_blocked(self, user_id: str) -> bool:
        """Whether what this user sends is dropped unread."""
        return self.person(user_id).blocked

    def blocked(self) -> list[str]:
        """Ids of those whose messages are dropped unread."""
        return [record.user_id for record in self._records.values() if record.blocked]

    def can_be(self, user_id: str, own_id: str) -> bool:
        """Whether this is the id of somebody else: one that certifies its key, or a contact's."""
        return (self.has(user_id) or is_user_id(user_id)) and user_id != own_id

    def to_introduce(self) -> list[str]:
        """Ids of those let in whom the relay does not yet know as such; of devices, if their person was."""
        return [user_id for user_id in self._to_introduce if self.is_known(user_id)]

    # --- changes ------------------------------------------------------------------

    def put(self, tx: Transaction, record: ContactRecord) -> None:
        """Store what is known of a user."""
        before = self._records.get(record.user_id)
        tx.put(records.CONTACT, record.user_id, record)
        self._set(record)
        tx.on_rollback(lambda: self._drop(record.user_id) if before is None else self._set(before))
        if self.follower is not None:
            self.follower.contact_changed(tx, before or ContactRecord(user_id=record.user_id), record)

    def delete(self, tx: Transaction, user_id: str) -> None:
        """Forget a user."""
        before = dict(self._records)
        tx.delete(records.CONTACT, user_id)
        self._drop(user_id)
        tx.on_rollback(lambda: self._load(before.values()))
        if self.follower is not None and user_id in before:
            self.follower.contact_changed(tx, before[user_id], ContactRecord(user_id=user_id))

    def admit(self, tx: Transaction, user_id: str) -> None:
        """They are no stranger any more."""
        record = self.get(user_id)
        if not record.is_known:
            self.put(tx, msgspec.structs.replace(record, accepted=True))

    def introduced(self, tx: Transaction, user_id: str) -> None:
        """The relay has seen us write to this user."""
        record = self.get(user_id)
        if user_id in self.expected and not record.is_known:
            return  # it may come to nothing
        if not record.greeted or record.moved:
            self.put(tx, msgspec.structs.replace(record, greeted=True, moved=False))

    def moved(self, tx: Transaction) -> None:
        """Another relay was chosen, which knows nobody: all are to be introduced again."""
        for record in list(self._records.values()):
            if record.greeted and not record.moved:
                self.put(tx, msgspec.structs.replace(record, moved=True))

    def set_blocked(self, tx: Transaction, user_id: str, *, blocked: bool) -> None:
        """Note it, and that the relay forgets that we wrote to them."""
        record = msgspec.structs.replace(self.get(user_id), blocked=blocked, greeted=False, moved=False)
        if record == ContactRecord(user_id=user_id):
            self.delete(tx, user_id)
        else:
            self.put(tx, record)

    def forget(self, tx: Transaction, user_id: str) -> None:
        """Forget all but that they are blocked, if they are."""
        if self.is_blocked(user_id):
            self.put(tx, ContactRecord(user_id=user_id, blocked=True))
        else:
            self.delete(tx, user_id)

    # --- memory -------------------------------------------------------------------

    def _load(self, found: Iterable[ContactRecord]) -> None:
        self._records: dict[str, ContactRecord] = {}
        self._by_name: dict[str, str] = {}
        self._by_look: dict[str, dict[str, None]] = {}
        self._to_introduce: dict[str, None] = {}
        for record in found:
            self._set(record)

    def _set(self, record: ContactRecord) -> None:
        user_id, before = record.user_id, self.get(record.user_id)
        self._records[user_id] = record
        if before.name != record.name:
            self._forget_name(before)
            if record.name:
                self._by_name[normal_name(record.name)] = user_id
                self._by_look.setdefault(skeleton(record.name), {})[user_id] = None
        if not record.is_to_be_introduced:
            self._to_introduce.pop(user_id, None)
        else:
            self._to_introduce.setdefault(user_id)

    def _drop(self, user_id: str) -> None:
        before = self._records.pop(user_id, None)
        if before is not None:
            self._forget_name(before)
        self._to_introduce.pop(user_id, None)

    def _forget_name(self, record: ContactRecord) -> None:
        if record.name:
            if self._by_name.get(normal_name(record.name)) == record.user_id:
                del self._by_name[normal_name(record.name)]
            self._by_look.get(skeleton(record.name), {}).pop(record.user_id, None)


def public(record: ContactRecord) -> Contact:
    """A contact as applications see them."""
    return Contact(
        name=record.name,
        user_id=record.user_id,
        trust=Trust(record.trust),
        key=record.offered or record.key or None,
        classical=record.classical,
        blocked=record.blocked,
    )
