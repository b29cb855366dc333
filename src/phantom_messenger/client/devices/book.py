"""Which devices belong to whom, on disk and in memory: one's own, and those of people one knows.

It alone writes device lists; ids are user ids in base64, as everywhere in the client.
"""

import base64
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.content import Claim
from phantom_messenger.client.devices.device_list import DeviceList
from phantom_messenger.client.devices.known_list import KnownList, take_up
from phantom_messenger.client.devices.records import GONE, GoneRecord
from phantom_messenger.client.devices.routing import Routing
from phantom_messenger.client.ids import is_user_id
from phantom_messenger.client.records import ContactRecord, DeviceRecord, DevicesRecord, PersonRecord
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.keys import OwnIdentity

MAX_GONE: Final = 32
"""Removed devices of one person that are remembered."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a list has changed: whose it is, and the devices that came and went, by user id.

    ``joined``: those of ``added`` that count as this person's. ``gone``: those of ``removed`` that are nobody's now;
    neither persons whom the user knows, nor another's devices.
    """

    person: str
    added: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class _People(Container[bytes]):
    """Whom the user knows as persons."""

    def __init__(self, book: AddressBook) -> None:
        self._book = book

    def __contains__(self, raw: object) -> bool:
        record = self._book.get(text(raw)) if isinstance(raw, bytes) else ContactRecord(user_id="")
        return record.is_known and not record.device_of


class DeviceBook:
    """The device lists that were taken up.

    Args:
        vault: holds them.
        book: what is known of each device; changed along with the lists.
        identity: of this device.
    """

    def __init__(self, vault: Vault, book: AddressBook, identity: OwnIdentity) -> None:
        self._vault = vault
        self._book = book
        self._identity = identity
        self.device = text(identity.peer.user_id)
        """This device."""
        self._own = vault.find(records.PERSON, "", PersonRecord)
        self._known: dict[str, KnownList] = {}
        for _, record in vault.all(records.DEVICES, DevicesRecord):
            found = _of(record)
            if found is not None:
                self._known[record.person] = found
        self._gone = {record.person: record.devices for _, record in vault.all(GONE, GoneRecord)}
        self._routing = self._made()

    # --- who one is ---------------------------------------------------------------

    @property
    def person(self) -> str:
        """One's own person: the first device."""
        return self.device if self._own is None else self._own.person

    @property
    def person_key(self) -> bytes:
        """The key of one's own person, of which safety numbers are made."""
        known = self._known.get(self.person)
        if self.is_first or known is None:
            return self._identity.peer.public
        return known.newest.devices[0].key

    @property
    def is_first(self) -> bool:
        """Whether this device is the person."""
        return self.person == self.device

    @property
    def own(self) -> KnownList | None:
        """The newest list of one's own person; None if there never was a second device."""
        return self._known.get(self.person)

    @property
    def is_restored(self) -> bool:
        """Whether the next list must go far ahead."""
        return self._own is not None and self._own.is_restored

    def claim(self) -> Claim | None:
        """What every content says of one's own list."""
        own = self.own
        return None if own is None else Claim(revision=own.newest.revision, hash=own.newest.hash)

    def own_others(self) -> list[str]:
        """One's other devices."""
        return [text(one) for one in self._routing.own_others()]

    def own_ids(self) -> list[str]:
        """All of one's devices, the first one first."""
        return [] if self.own is None else [text(one) for one in self.own.usable]

    def is_before(self, device: str) -> bool:
        """Whether an own device stands before this one on the list."""
        own = self.own_ids()
        return device in own and self.device in own and own.index(device) < own.index(self.device)

    def names(self) -> dict[str, DeviceRecord]:
        """What is known of one's devices, by user id."""
        return {record.user_id: record for _, record in self._vault.all(records.DEVICE, DeviceRecord)}

    def silence_of(self, user_id: str) -> int:
        """For how many milliseconds nothing had come from an own device, or from this one, when last counted."""
        record = self._vault.find(records.DEVICE, user_id, DeviceRecord)
        return 0 if record is None else record.silent

    # --- whose a device is --------------------------------------------------------

    def known(self, person: str) -> KnownList | None:
        """The list that was taken up of somebody."""
        return self._known.get(person)

    def person_of(self, user_id: str) -> str:
        """Whose a message of this user is."""
        if not self._known:
            return user_id
        return text(self._routing.person_of(base64.b64decode(user_id)))

    def is_only_expected(self, user_id: str) -> bool:
        """Whether this user is no stranger only because a device is being linked."""
        return user_id in self._book.expected and not self._book.person(user_id).is_known

    def is_own(self, user_id: str) -> bool:
        """Whether this is one of one's other devices."""
        return user_id != self.device and bool(self._known) and self.person_of(user_id) == self.person

    def devices_of(self, person: str) -> list[str]:
        """The devices of somebody, the first one first."""
        if person not in self._known:
            return [person]
        return [text(one) for one in self._routing.devices_of(base64.b64decode(person))]

    def told(self, sender: str) -> list[str]:
        """All devices of the person whose device this is: they learn what becomes of its messages."""
        return self.devices_of(self.person_of(sender)) if self._known else [sender]

    def is_wide(self, person: str) -> bool:
        """Whether a message to somebody goes to more than one device: of whom copies can say that they are for them."""
        return bool(self._known) and is_user_id(person) and len(self.devices_of(person)) + len(self.own_others()) > 1

    def conversation_of(self, sender: str, to: bytes | None) -> str | None:
        """With whom a text was exchanged; None if it is to be refused."""
        if not self._known and to is None:
            return sender
        found = self._routing.conversation_of(base64.b64decode(sender), to)
        return None if found is None else text(found)

    # --- changes ------------------------------------------------------------------

    def belong(self, tx: Transaction, person: str, *, is_restored: bool = False) -> None:
        """This device is one of a person's: on the first one, it is that person."""
        record = PersonRecord(person=person, is_restored=is_restored)
        tx.put(records.PERSON, "", record)
        tx.on_commit(lambda: self._set_own(record))
        self._belong_to(tx, person, person)

    def signed(self, tx: Transaction) -> None:
        """The first device has signed a list after a restore: those that it may have signed before do not win."""
        if self._own is not None and self._own.is_restored:
            record = replace(self._own, is_restored=False)
            tx.put(records.PERSON, "", record)
            tx.on_commit(lambda: self._set_own(record))

    def published(self, tx: Transaction, hash_: bytes) -> None:
        """The relay has this list of one's own."""
        if self._own is not None and self._own.published != hash_:
            record = replace(self._own, published=hash_)
            tx.put(records.PERSON, "", record)
            tx.on_commit(lambda: self._set_own(record))

    def to_publish(self) -> DeviceList | None:
        """One's own list, if the relay does not have it."""
        own = self.own
        if own is None or self._own is None or self._own.published == own.newest.hash:
            return None
        return own.newest

    def name(self, tx: Transaction, user_id: str, name: str) -> None:
        """What an own device is called."""
        record = self._vault.find(records.DEVICE, user_id, DeviceRecord) or DeviceRecord(user_id=user_id)
        if record.name != name:
            tx.put(records.DEVICE, user_id, replace(record, name=name))

    def silent(self, tx: Transaction, user_id: str, duration: int) -> None:
        """For how many milliseconds nothing has come from an own device, or from this one."""
        record = self._vault.find(records.DEVICE, user_id, DeviceRecord) or DeviceRecord(user_id=user_id)
        tx.put(records.DEVICE, user_id, replace(record, silent=duration))

    def take_up(self, tx: Transaction, encoded: bytes, *, person: str, wall: int) -> Changed:
        """Take a list up, if it is one that goes ahead of what is known.

        Args:
            tx: stores it, and what is known of its devices.
            encoded: the list.
            person: whose it should be.
            wall: milliseconds since 1970, by the wall clock.

        Raises:
            CryptoError: it is not taken up.
        """
        found = DeviceList.parse(encoded)
        before = self._known.get(person)
        after = take_up(before, found, person=base64.b64decode(person), now=wall)
        if after is before:
            return Changed(person)
        usable = [text(one) for one in after.usable]
        tx.put(records.DEVICES, person, DevicesRecord(person=person, encoded=encoded, usable=usable))
        old = set() if before is None else {text(one) for one in before.usable}
        removed = tuple(sorted(old - set(usable)))
        added = tuple(one for one in usable if one not in old and one != person)
        for device in added:
            self._belong_to(tx, device, person)
        gone = tuple(device for device in removed if self._release(tx, device, person))
        tx.on_commit(lambda: self._set(person, after))
        self._set_gone(tx, person, [one for one in [*self._gone.get(person, ()), *gone] if one not in usable])
        routing = self._made({person: after})
        joined = tuple(one for one in added if routing.person_of(base64.b64decode(one)) == after.newest.person)
        return Changed(person, added, joined, removed, gone)

    def who_removed(self, device: str) -> str | None:
        """The person who has removed this device, if it is nobody else's and no person whom the user knows."""
        if not self._gone or self._book.get(device).is_known:
            return None
        return next((person for person, devices in self._gone.items() if device in devices), None)

    def _set_gone(self, tx: Transaction, person: str, devices: list[str]) -> None:
        before, after = self._gone.get(person, []), devices[-MAX_GONE:]
        if after == before:
            return
        if after:
            tx.put(GONE, person, GoneRecord(person=person, devices=after))
        else:
            tx.delete(GONE, person)
        tx.on_commit(lambda: self._gone.update({person: after}))

    def forget(self, tx: Transaction, person: str) -> list[str]:
        """Nothing is known of this person's devices any more; those there were, besides the first."""
        known = self._known.get(person)
        if known is None or person == self.person:
            return []
        tx.delete(records.DEVICES, person)
        self._set_gone(tx, person, [])
        tx.on_commit(lambda: self._set(person, None))
        return [one for one in map(text, known.usable) if one != person and self._release(tx, one, person)]

    def _release(self, tx: Transaction, device: str, person: str) -> bool:
        """A device is not this person's any more; whether it is nobody's now."""
        if self._book.get(device).device_of != person:
            return False
        self._book.delete(tx, device)
        raw = base64.b64decode(device)
        other = next((one for one, known in self._known.items() if one != person and raw in known.usable), None)
        if other is not None:
            self._belong_to(tx, device, other)
        return other is None

    def _belong_to(self, tx: Transaction, device: str, person: str) -> None:
        """Note whose a device is, unless the user knows it as a person, or it is another one's already."""
        record = self._book.get(device)
        if not record.is_known or person in {record.device_of, self.person}:
            greeted = record.greeted or device == self.device  # nobody introduces themselves
            self._book.put(tx, replace(record, device_of=person, accepted=True, greeted=greeted, name=""))

    # --- memory -------------------------------------------------------------------

    def _set(self, person: str, known: KnownList | None) -> None:
        if known is None:
            self._known.pop(person, None)
        else:
            self._known[person] = known
        self._routing = self._made()

    def _set_own(self, record: PersonRecord) -> None:
        self._own = record
        self._routing = self._made()

    def _made(self, after: Mapping[str, KnownList] | None = None) -> Routing:
        """What follows from all lists; ``after``: in place of those that are known of these persons."""
        everybody = {**self._known, **(after or {})}
        return Routing(
            person=base64.b64decode(self.person),
            device=self._identity.peer.user_id,
            usable={base64.b64decode(person): known.usable for person, known in everybody.items()},
            people=_People(self._book),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)


def text(raw: bytes) -> str:
    """A raw user id in base64."""
    return base64.b64encode(raw).decode()


def _of(record: DevicesRecord) -> KnownList | None:
    """What was stored; None if that is of a version that is not known here."""
    try:
        return KnownList(DeviceList.parse(record.encoded), tuple(base64.b64decode(one) for one in record.usable))
    except CryptoError:
        return None
