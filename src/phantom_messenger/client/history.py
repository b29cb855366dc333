"""What was said with somebody, sent and received, in the order in which this device has sent and got it.

Each record is decrypted once, the newest first, and no more of them than were asked for: a
profile of years opens as fast as a new one.
"""

import heapq
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from phantom_messenger.client import records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.conversation_index import ConversationIndex
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.past import Past
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.client.status import Contact, DeliveryState
from phantom_messenger.client.vault import Transaction, Vault

_KINDS: Final[dict[str, type[SentRecord | ReceivedRecord]]] = {
    records.SENT: SentRecord,
    records.RECEIVED: ReceivedRecord,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A past message, or what is left of one.

    ``peer``: the other side's user id. ``sender``: who has written it; of an own one, yourself. ``is_own``: it was sent
    from here. ``text``: None if there is nothing to show;
    ``gone`` then says why: 'burned', 'expired', 'sealed' for one that will burn once it has been marked as read, or
    'newer' for one that a newer version of this program has sent and this one cannot show.
    ``sent_at``: when it was written, as the sender says; ``kept_at``: when this device got it; both in milliseconds
    since 1970. ``state``: how far your own message has come; None for received ones. ``is_waiting``: a received
    message that ``messages`` has not handed out and seen handled yet.
    """

    message_id: str
    peer: str
    sender: Contact
    is_own: bool
    text: str | None
    gone: str
    sent_at: int
    kept_at: int
    state: DeliveryState | None
    is_waiting: bool
    burn_after_read: bool
    expires_at: int | None


class History:
    """Looks back.

    Args:
        vault: holds what was sent and received.
        index: of conversations.
        past: what was said before this device was linked.
        book: what is known of everybody.
        devices: whose device this is.
    """

    def __init__(
        self,
        vault: Vault,
        index: ConversationIndex,
        past: Past,
        book: AddressBook,
        devices: DeviceBook,
    ) -> None:
        self._vault = vault
        self._index = index
        self._past = past
        self._book = book
        self._devices = devices

    def with_peer(
        self, peer: str, now: Moment, *, since: int | None = None, search: str | None = None, limit: int | None = None
    ) -> list[HistoryEntry]:
        """The messages of one conversation, the oldest first.

        Args:
            peer: user id.
            now: what has expired by then is not shown.
            since: leave out what this device got or wrote earlier, in milliseconds since 1970.
            search: only messages in which this stands, in whatever case and normal form.
            limit: no more than the last so many.
        """
        wanted = None if search is None else _folded(search)
        try:
            return self._found(self._newest(peer, now, self._index.position), since, wanted, limit)
        except VaultDamaged:
            return self._found(self._newest(peer, now, 0), since, wanted, limit)

    def sent_to(self, peer: str, limit: int) -> list[SentRecord]:
        """The last so many messages to somebody that were sent since this device was linked, the newest first."""
        try:
            return list(islice(self._sent(peer, self._index.position), limit))
        except VaultDamaged:
            return list(islice(self._sent(peer, 0), limit))

    def has(self, peer: str) -> bool:
        """Whether anything of one conversation is kept, be it what is left of a message."""
        try:
            found = any(True for _ in self._since(0, peer, self._index.position))
        except VaultDamaged:
            found = any(True for _ in self._since(0, peer, 0))
        return found or any(True for _ in self._past.of(peer))

    def erase(self, tx: Transaction, peer: str) -> None:
        """Erase one conversation."""
        try:
            names = list(self._index.names(peer))
            position = self._index.position
        except VaultDamaged:
            names, position = [], 0
        for kind, name in names:
            tx.delete(kind, name)
        for sent in self._vault.newest(records.SENT, SentRecord, above=position):
            if sent.peer == peer:
                tx.delete(records.SENT, sent.message_id)
        for received in self._vault.newest(records.RECEIVED, ReceivedRecord, above=position):
            if received.sender == peer:
                tx.delete(records.RECEIVED, records.key(peer, received.message_id))
        self._index.erase(tx, peer)
        self._past.erase(tx, peer)

    def _found(
        self, entries: Iterator[HistoryEntry], since: int | None, wanted: str | None, limit: int | None
    ) -> list[HistoryEntry]:
        found = (
            entry
            for entry in entries
            if (since is None or entry.kept_at >= since)
            and (wanted is None or (entry.text is not None and wanted in _folded(entry.text)))
        )
        return list(islice(found, None if limit is None else min(limit, sys.maxsize)))[::-1]

    def _newest(self, peer: str, now: Moment, indexed: int) -> Iterator[HistoryEntry]:
        """All of one conversation, the newest first, in the vault's order, which no clock changes.

        Raises:
            VaultDamaged: the index of what is up to the position ``indexed`` cannot be read.
        """
        apart = self._vault.position(records.IN_ORDER, "") or sys.maxsize
        yield from (self._entry(record, now) for record in self._since(apart, peer, indexed))
        sent = self._before(apart, peer, indexed, records.SENT)
        received = self._before(apart, peer, indexed, records.RECEIVED)
        yield from self._in_turn(sent, received, now)
        for page in self._past.of(peer):
            yield from self._in_turn(page.sent, page.received, now)

    def _in_turn(
        self, sent: Iterable[SentRecord | ReceivedRecord], received: Iterable[SentRecord | ReceivedRecord], now: Moment
    ) -> Iterator[HistoryEntry]:
        """Texts that were kept apart, sent and received ones each the newest first: in the order of their times."""
        some, others = (self._entry(one, now) for one in sent), (self._entry(one, now) for one in received)
        return heapq.merge(some, others, key=lambda entry: entry.kept_at, reverse=True)

    def _since(self, first: int, peer: str, indexed: int) -> Iterator[SentRecord | ReceivedRecord]:
        """What was said from a position on, the newest first."""
        below, above = self._vault.last_position() + 1, max(indexed, first)
        for _, _, record in self._vault.before(_KINDS, below=below, above=above):
            if peer == _peer_of(record):
                yield record
        for kind, name in self._index.names(peer) if indexed else ():
            if self._vault.position(kind, name) < first:
                break
            yield from self._find(kind, name)

    def _before(self, first: int, peer: str, indexed: int, kind: str) -> Iterator[SentRecord | ReceivedRecord]:
        """What was sent, or received, before a position, the newest first."""
        if first > indexed:
            below = min(first, self._vault.last_position() + 1)
            for _, _, record in self._vault.before({kind: _KINDS[kind]}, below=below, above=indexed):
                if peer == _peer_of(record):
                    yield record
        for of, name in self._index.names(peer) if indexed else ():
            if of == kind and self._vault.position(kind, name) < first:
                yield from self._find(kind, name)

    def _find(self, kind: str, name: str) -> Iterator[SentRecord | ReceivedRecord]:
        found = self._vault.find(kind, name, _KINDS[kind])
        if found is not None:
            yield found

    def _sent(self, peer: str, indexed: int) -> Iterator[SentRecord]:
        newest = self._before(sys.maxsize, peer, indexed, records.SENT)
        return (one for one in newest if isinstance(one, SentRecord))

    def _entry(self, record: SentRecord | ReceivedRecord, now: Moment) -> HistoryEntry:
        return self._of_sent(record, now) if isinstance(record, SentRecord) else self._of_received(record, now)

    def _of_received(self, record: ReceivedRecord, now: Moment) -> HistoryEntry:
        name = records.key(record.sender, record.message_id)
        is_over = record.expires_at is not None and record.expires_at <= now.persistent
        if not record.is_there:
            gone = "burned" if record.burn and record.read else "expired"
        elif is_over:
            gone = "expired"
        elif record.text is None:
            gone = "newer"
        else:
            gone = "sealed" if record.burn else ""
        return HistoryEntry(
            message_id=record.message_id,
            peer=record.sender,
            sender=self._book.contact(record.sender),
            is_own=False,
            text=None if gone else record.text,
            gone=gone,
            sent_at=record.sent_at,
            kept_at=record.received_at,
            state=None,
            is_waiting=self._vault.has(records.INBOX, name),
            burn_after_read=record.burn,
            expires_at=None if record.expires_at is None else now.wall_at(record.expires_at),
        )

    def _of_sent(self, record: SentRecord, now: Moment) -> HistoryEntry:
        state = DeliveryState(record.state)
        is_over = record.expires_at is not None and record.expires_at <= now.persistent
        gone = (
            "" if record.text is not None and not is_over else "burned" if state is DeliveryState.BURNED else "expired"
        )
        return HistoryEntry(
            message_id=record.message_id,
            peer=record.peer,
            sender=self._book.contact(self._devices.person),
            is_own=True,
            text=None if gone else record.text,
            gone=gone,
            sent_at=record.made_at,
            kept_at=record.made_at,
            state=state,
            is_waiting=False,
            burn_after_read=record.burn,
            expires_at=None if record.expires_at is None else now.wall_at(record.expires_at),
        )


def _peer_of(record: SentRecord | ReceivedRecord) -> str:
    return record.peer if isinstance(record, SentRecord) else record.sender


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
