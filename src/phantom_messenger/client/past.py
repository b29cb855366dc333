"""What was said before this device was linked, as another own device has handed it over: it only shows."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.devices.records import HISTORY_IN, PAST, PAST_ERASED, PAST_PAGE, PastRecord, Texts
from phantom_messenger.client.ids import is_user_id
from phantom_messenger.client.records import IntValue, ReceivedRecord, SentRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Transaction, Vault

NEWEST: Final = 1_000
"""Texts with one person among which one is looked for that comes from its writer as well: what does is new."""

_NONE: Final = IntValue(0)


class Past:
    """The pages of all persons: each chunk that has come is one for each person in it.

    Args:
        vault: holds them, and what was said since.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._newest: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        """Ids of what was sent to and received of each person, as far as they were looked for."""

    def put(self, tx: Transaction, texts: Texts) -> int:
        """Keep older texts than all that were put before; how many were not there yet."""
        pages: dict[str, tuple[list[SentRecord], list[ReceivedRecord]]] = {}
        count = 0
        persons = {one.peer for one in texts.sent} | {one.sender for one in texts.received}
        wanted = {one for one in persons if is_user_id(one) and not self._vault.has(PAST_ERASED, one)}
        for sent in texts.sent:
            if sent.peer in wanted and not self._vault.has(records.SENT, sent.message_id):
                pages.setdefault(sent.peer, ([], []))[0].append(_on_its_way(sent))
                count += 1
        for received in texts.received:
            name = records.key(received.sender, received.message_id)
            if received.sender in wanted and not self._vault.has(records.RECEIVED, name):
                pages.setdefault(received.sender, ([], []))[1].append(received)
                count += 1
        for person, (sent_ones, received_ones) in pages.items():
            number = self._count(person)
            tx.put(PAST_PAGE, f"{person} {number}", PastRecord(sent=sent_ones, received=received_ones))
            tx.put(PAST, person, IntValue(number + 1))
        tx.on_commit(self._newest.clear)
        return count

    def of(self, person: str) -> Iterator[PastRecord]:
        """The pages of one person, the newest first; damaged ones are left out."""
        for number in range(self._count(person)):
            page = self._vault.find(PAST_PAGE, f"{person} {number}", PastRecord)
            if page is not None:
                yield page

    def has_received(self, person: str, message_id: str) -> bool:
        """Whether a text of somebody is among the newest of these."""
        return message_id in self._newest_of(person)[1]

    def has_sent(self, person: str, message_id: str) -> bool:
        """Whether a text to somebody is among the newest of these."""
        return message_id in self._newest_of(person)[0]

    def _newest_of(self, person: str) -> tuple[frozenset[str], frozenset[str]]:
        """Ids of the newest texts to and of a person."""
        found = self._newest.get(person)
        if found is None:
            sent, received = set[str](), set[str]()
            for page in self.of(person):
                sent.update(one.message_id for one in page.sent)
                received.update(one.message_id for one in page.received)
                if len(sent) + len(received) >= NEWEST:
                    break
            found = self._newest[person] = frozenset(sent), frozenset(received)
        return found

    def erase(self, tx: Transaction, person: str) -> None:
        """Erase what was said with one person, and what of it is still to be handed over."""
        for number in range(self._count(person)):
            tx.delete(PAST_PAGE, f"{person} {number}")
        tx.delete(PAST, person)
        if self._vault.has(HISTORY_IN, ""):
            tx.put(PAST_ERASED, person, _NONE)
        tx.on_commit(self._newest.clear)

    @staticmethod
    def ended(tx: Transaction) -> None:
        """Nothing more is handed over, so nothing has to be kept away."""
        tx.delete_some(PAST_ERASED, -1)

    def _count(self, person: str) -> int:
        return (self._vault.find(PAST, person, IntValue) or _NONE).value


def _on_its_way(sent: SentRecord) -> SentRecord:
    """Another device sends it, if it still waits there."""
    return replace(sent, state=max(sent.state, int(DeliveryState.ACCEPTED)))


def everything(vault: Vault) -> Texts:
    """All of it, the oldest first."""
    pages = [page for _, page in vault.all(PAST_PAGE, PastRecord)][::-1]
    return Texts(
        sent=[text for page in pages for text in page.sent[::-1]],
        received=[text for page in pages for text in page.received[::-1]],
    )
