"""Texts that were written before it was known here that their recipient has a further device: that one gets them, too.

A first device names, in all that it says, the newest list that it knows of its own person. So what it has reported
under a list without the new device, it had before it linked that one, and may have handed it over itself. The new
device never had the others: those of which the first one has reported nothing yet, and those of which it did so under
a list that was not known here. See protocol/devices.md.
"""

import base64
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Final, NamedTuple

from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.content import Claim, Receipt
from phantom_messenger.client.conversations import Opened
from phantom_messenger.client.devices.book import Changed
from phantom_messenger.client.devices.records import LATE, LateRecord, LateText
from phantom_messenger.client.groups.contents import GroupReceipt, GroupSaid
from phantom_messenger.client.groups.records import GroupTextRecord
from phantom_messenger.client.groups.store import MEMBER
from phantom_messenger.client.many.store import ManyMessage
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import CopyRecord, SentRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction

MAX_LATE: Final = 200
"""Texts that a new device is sent at most, the newest, and of which it is remembered that they were reported so."""

MAX_GIVEN: Final = 1_000
"""Copies that new devices of one person are sent in a day: so many for five devices, however often they are others."""

DAY_MS: Final = 86_400_000
MAX_AGE_MS: Final = 7 * DAY_MS
"""How old they may be, by the clock that has dated them."""

MAX_LOOKED_AT: Final = 1_000
"""Texts of one group, of whomever, among which they are looked for."""

SOON_MS: Final = 600_000
"""Where nobody reports that a text arrives, in large groups and to own devices: since when the relay may have it."""

_OPEN: Final = frozenset({DeliveryState.QUEUED, DeliveryState.ACCEPTED})


class Missed(NamedTuple):
    """A text that a new device is to get; ``sent``: it was written to its person alone."""

    message_id: str
    written_at: int
    sent: SentRecord | None


class LateTexts:
    """Knows which they are.

    Args:
        stores: of the profile.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def noted(self, tx: Transaction, sender: str, opened: Opened) -> None:
        """A receipt has come; before what it reports is noted anywhere else."""
        said, devices = opened.content, self._stores.devices
        claim = opened.claim if isinstance(said, GroupSaid) else said.marks.claim
        if claim is None or not isinstance(said, Receipt | GroupReceipt) or not self._is_ahead(sender, claim):
            return
        if devices.person_of(sender) != sender:
            return
        found = [
            LateText(id=one, revision=claim.revision)
            for one in dict.fromkeys([*said.delivered, *said.read])
            if self._is_open(one, sender)
        ]
        if found:
            known = self._noted(sender)
            self._put(tx, replace(known, texts=[*known.texts, *found][-MAX_LATE:]))

    def _is_ahead(self, person: str, claim: Claim) -> bool:
        known = self._stores.devices.known(person)
        return known is None or claim.revision > known.newest.revision

    def missed(self, tx: Transaction, changed: Changed, revision: int, now: Moment) -> list[Missed]:
        """A list was taken up: which texts the devices that it brings in are to get, the oldest first."""
        noted, joined = self._noted(changed.person), len(changed.joined)
        if now.persistent - noted.since >= DAY_MS:
            noted = replace(noted, given=0, since=now.persistent)
        late = {one.id for one in noted.texts if one.revision <= revision}
        found = self._found(changed.person, late, now) if joined else []
        room = min(MAX_LATE, (MAX_GIVEN - noted.given) // joined) if joined else 0
        found = found[-room:] if room > 0 else []
        if late or found:
            left = [one for one in noted.texts if one.id not in late]
            self._put(tx, replace(noted, texts=left, given=noted.given + joined * len(found)))
        return found

    def _found(self, person: str, late: set[str], now: Moment) -> list[Missed]:
        """All that a new device of a person has not got, as far as that is looked for, the oldest first."""
        is_own = person == self._stores.devices.person
        written = self._to_anybody(now) if is_own else self._to_person(person, late, now)
        found = [*written, *self._in_groups(person, late, now)]
        found.reverse()  # of what was written in the same millisecond, too, the oldest comes first
        return sorted(found, key=lambda one: one.written_at)

    # --- which they are -------------------------------------------------------------

    def _to_person(self, person: str, late: set[str], now: Moment) -> Iterator[Missed]:
        key = self._stores.book.contact(person).key or b""
        for sent in self._stores.history.sent_to(person, MAX_LATE):
            is_over = sent.expires_at is not None and sent.expires_at <= now.persistent
            is_gone = sent.text is None or sent.state == DeliveryState.FAILED or is_over
            if is_gone or now.wall - sent.made_at > MAX_AGE_MS or sent.key not in {b"", key}:
                continue
            if sent.message_id in late or self._is_open(sent.message_id, person):
                yield Missed(sent.message_id, sent.made_at, sent)

    def _to_anybody(self, now: Moment) -> Iterator[Missed]:
        """Those of which another own device is to get a copy: the first one reports nothing of its own."""
        for sent in islice(self._stores.vault.newest(records.SENT, SentRecord), MAX_LATE):
            message = self._stores.many.get(sent.message_id) if sent.text is not None else None
            copy = None if message is None else message.copies.get(self._stores.devices.person)
            is_over = sent.expires_at is not None and sent.expires_at <= now.persistent
            if message is not None and copy is not None and not is_over and self._is_open_by(message, copy, now):
                yield Missed(sent.message_id, sent.made_at, None)

    def _in_groups(self, person: str, late: set[str], now: Moment) -> Iterator[Missed]:
        stores, raw = self._stores, base64.b64decode(person)
        for group in stores.groups.all():
            if group.record.relation != MEMBER or raw not in group.state.members:
                continue
            newest = takewhile(lambda one: now.wall - one.kept_at <= MAX_AGE_MS, stores.groups.texts(group))
            for text in islice(newest, MAX_LOOKED_AT):
                if self._is_missed(text, person, late, now):
                    yield Missed(text.message_id, text.sent_at, None)

    def _is_missed(self, text: GroupTextRecord, person: str, late: set[str], now: Moment) -> bool:
        """Whether a text to a group is one that this device has written, and which is to be sent to a new one."""
        is_over = text.expires_at is not None and text.expires_at <= now.persistent
        message = self._stores.many.get(text.message_id) if not text.sender and text.text is not None else None
        copy = None if message is None else message.copies.get(person)
        if message is None or copy is None or is_over or copy.state == DeliveryState.FAILED:
            return False
        return text.message_id in late or self._is_open_by(message, copy, now)

    def _is_open_by(self, message: ManyMessage, copy: CopyRecord, now: Moment) -> bool:
        """Whether it says something that a first device has reported nothing, or the relay has its copy since now."""
        if copy.state != DeliveryState.ACCEPTED:
            return copy.state == DeliveryState.QUEUED
        is_told = message.record.answered is True and copy.peer != self._stores.devices.person
        return is_told or now.persistent - message.at <= SOON_MS

    def _is_open(self, message_id: str, person: str) -> bool:
        """Whether this device has sent a text to somebody's first device, which has not reported it."""
        stores, message = self._stores, self._stores.many.get(message_id)
        copy = None if message is None else message.copies.get(person)
        if copy is not None:
            return DeliveryState(copy.state) in _OPEN
        waits = stores.outbox.waits(message_id) or stores.vault.has(records.UNANSWERED, message_id)
        return waits and stores.outbox.sent(message_id, person) is not None

    # --- what was reported ------------------------------------------------------------

    def _noted(self, person: str) -> LateRecord:
        return self._stores.vault.find(LATE, person, LateRecord) or LateRecord(person=person)

    @staticmethod
    def _put(tx: Transaction, record: LateRecord) -> None:
        if record.texts or record.given:
            tx.put(LATE, record.person, record)
        else:
            tx.delete(LATE, record.person)
