"""What becomes of a message before it has come: to this device it may be on its way, and another own one was faster."""

from enum import StrEnum
from typing import Final

from phantom_messenger.client.devices.records import EARLY, EarlyMessage, EarlyRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Transaction, Vault

KEEP_MS: Final = 30 * 86_400_000
MAX_EARLY: Final = 100
"""Messages of one person and one sort of which it is remembered: newer news takes the place of the oldest.

Nothing tells whether a message that is not here is still to come: of most it never will, for it was erased here, or is
from before this device was linked. One that is to come does so within seconds, unless its sender or the relay is away;
so the newest news is what is worth keeping."""

MAX_PERSONS: Final = 10_000
"""Records: one for each person and sort, and for each member of a group. A contact can make one of the first sort, with
receipts for what they were never sent; an own device all of them, and one that was stolen fills it."""


class Sort(StrEnum):
    """What kind of message it is. Both sides of a conversation choose ids: the same one may be there twice."""

    SENT = "sent"
    """It is to that person, and another own device has sent it."""
    READ = "read"
    """It is of that person, in the group that is named before them if one is, and was read on another own device."""


class Early:
    """Remembers it, until the message is there.

    Args:
        vault: holds it.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def note(self, tx: Transaction, sort: Sort, person: str, message_id: str, news: tuple[DeliveryState, int]) -> None:
        """A message is not there; ``news``: how far it has come, and when that is (persistent time)."""
        state, now = news
        known = self._messages(sort, person)
        if not known and self._vault.count(EARLY) >= MAX_PERSONS:
            return
        furthest = max([int(state), *(one.state for one in known if one.id == message_id)])
        others = [one for one in known if one.id != message_id and one.until > now]
        newest = EarlyMessage(id=message_id, state=furthest, until=now + KEEP_MS)
        self._put(tx, sort, person, [*others, newest][-MAX_EARLY:])

    def take(self, tx: Transaction, sort: Sort, person: str, message_id: str) -> DeliveryState | None:
        """It is there now: how far it has come; None if nothing is known."""
        known = self._messages(sort, person)
        found = next((one for one in known if one.id == message_id), None)
        if found is None:
            return None
        self._put(tx, sort, person, [one for one in known if one is not found])
        return DeliveryState(found.state)

    @staticmethod
    def drop(tx: Transaction, person: str) -> None:
        """Nothing of this person is remembered."""
        for sort in Sort:
            tx.delete(EARLY, _name(sort, person))

    @staticmethod
    def forget(tx: Transaction, now: int) -> None:
        """What never came is remembered no longer."""
        tx.delete_due(EARLY, now)

    def _messages(self, sort: Sort, person: str) -> list[EarlyMessage]:
        record = self._vault.find(EARLY, _name(sort, person), EarlyRecord)
        return [] if record is None else record.messages

    @staticmethod
    def _put(tx: Transaction, sort: Sort, person: str, messages: list[EarlyMessage]) -> None:
        if messages:
            tx.put(EARLY, _name(sort, person), EarlyRecord(messages=messages), due=messages[-1].until)
        else:
            tx.delete(EARLY, _name(sort, person))


def _name(sort: Sort, person: str) -> str:
    return f"{sort} {person}"
