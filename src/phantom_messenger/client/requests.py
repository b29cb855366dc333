"""Message requests: what strangers write waits undecrypted, and nobody is notified, until the user accepts it.

Only what may be about a group, or open a link to one, is looked into before, and not without end: see ``Looks``.
Requests are acknowledged to the relay, so that strangers do not fill the mailbox; so each is on disk before that. What
is kept is bounded. What was not kept is sent again by its sender's program, which sees that it was passed over once a
later message was answered; but a request that was looked at and then gave way is lost for good.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.conversations import Conversations, Opened
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.client.inbox import AboutGroup, Inbox
from phantom_messenger.client.records import ReceivedRecord, RequestRecord
from phantom_messenger.client.status import Contact
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.wire import codec, frames

KEEP_MS: Final = 30 * 86_400_000
MAX_MESSAGES: Final = 20
MAX_BYTES: Final = 256 * 1024
"""Of one stranger; further messages are dropped, for the first ones begin the session."""

MAX_STRANGERS: Final = 200
MAX_TOTAL_BYTES: Final = 8 * 2**20
"""Of all; beyond, the oldest message of whoever has the most gives way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRequest:
    """A stranger has written: ``waiting`` messages wait, the oldest since ``since`` (milliseconds since 1970)."""

    contact: Contact
    waiting: int
    since: int


class _NotAboutGroup(Exception):
    """Nothing of it is to stay."""


class Requests:
    """The messages of strangers. Times are milliseconds of persistent time unless stated.

    Args:
        vault: holds them.
        book: who is no stranger.
        conversations: check and open them.
        inbox: where they go once they are opened.
        asks: whether strangers wait at all; else they are let in as they come.
    """

    def __init__(
        self, vault: Vault, book: AddressBook, conversations: Conversations, inbox: Inbox, *, asks: bool
    ) -> None:
        self._vault = vault
        self._book = book
        self._conversations = conversations
        self._inbox = inbox
        book.asks = asks
        self._kept: dict[str, dict[str, RequestRecord]] = {}
        """By sender and message id, without the messages themselves."""
        for _, record in vault.all(records.REQUEST, RequestRecord):
            self._remember(record)

    def holds(self, sender: str) -> bool:
        """Whether what somebody sends is to wait."""
        return self._book.asks and not self._book.is_known(sender)

    def receive(self, frame: frames.RoutedMessage, now: int, wall: int) -> bool:
        """Keep a stranger's message, if it is one and there is room; whether it is news.

        Only its signature is checked. It is on disk when this returns.

        Args:
            frame: as the relay delivered it.
            now: when it came.
            wall: the same in milliseconds since 1970, to be shown.
        """
        name = records.key(frame.payload.sender_id, frame.payload.message_id)
        if self._vault.has(records.REQUEST, name) or self._vault.has(records.SEEN, name):
            return False
        try:
            self._conversations.check(frame)
        except CryptoError:
            return False
        return self._put(frame, now, wall)

    def listed(self) -> list[MessageRequest]:
        """Who waits, the longest first."""
        return [
            MessageRequest(
                contact=self._book.contact(sender),
                waiting=len(kept),
                since=min(record.since for record in kept.values()),
            )
            for sender, kept in self._kept.items()
            if kept and self.holds(sender)
        ]

    def look(self, sender: str, now: int) -> list[ReceivedRecord]:
        """Decrypt what waits of a stranger, and notify nobody; what cannot be read goes on waiting."""
        for record in self.of(sender):
            frame = codec.decode_relay(record.frame) if record.frame else None
            if isinstance(frame, frames.RoutedMessage):
                with suppress(CryptoError), self._vault.transaction() as tx:
                    self._inbox.look(tx, frame, now, came=record.at, wall=record.since)
                    self._opened(tx, record)
        found = [self._inbox.looked_at(sender, record.message_id, now) for record in self.of(sender)]
        return [text for text in found if text is not None]

    def about_groups(self, sender: str, now: int) -> list[GroupSaid]:
        """What a stranger says about groups; all of it goes on waiting, and nobody is notified."""
        found = [self._about_group(record, now) for record in self.of(sender)]
        return [said for said in found if said is not None]

    def about_group(self, sender: str, message_id: str, now: int) -> GroupSaid | None:
        """What one message of a stranger says about a group; it goes on waiting, and nobody is notified."""
        record = self._vault.find(records.REQUEST, records.key(sender, message_id), RequestRecord)
        return None if record is None else self._about_group(record, now)

    def _about_group(self, record: RequestRecord, now: int) -> GroupSaid | None:
        frame = codec.decode_relay(record.frame) if record.frame else None
        if not isinstance(frame, frames.RoutedMessage):
            return None
        try:
            with self._vault.transaction() as tx:
                self._inbox.look(tx, frame, now, came=record.at, wall=record.since)
                raise _NotAboutGroup
        except AboutGroup as about:
            return about.said
        except (CryptoError, _NotAboutGroup):
            return None

    def open(self, tx: Transaction, record: RequestRecord, now: int) -> Opened | bool:
        """Receive what waited of somebody who is no stranger any more, and let it wait no longer.

        Args:
            tx: stores what follows from it, too.
            record: of ``of``.
            now: persistent time.

        Returns:
            What it says, False if it was received before; of a message that had been looked at, whether it is still
            there to be handed out.

        Raises:
            CryptoError: it cannot be read; roll back.
        """
        frame = codec.decode_relay(record.frame) if record.frame else None
        # In the transaction that keeps what it says: it can neither be lost in between nor be received twice.
        self.drop(tx, record.sender, record.message_id)
        if not isinstance(frame, frames.RoutedMessage):
            return self._inbox.let_in(tx, record.sender, record.message_id, now)
        if self._inbox.has_seen(record.sender, record.message_id):
            return False
        return self._inbox.receive(tx, frame, now, wall=record.since, came=record.at)

    def has(self, frame: frames.RoutedMessage) -> bool:
        """Whether a message waits."""
        return frame.payload.message_id in self._kept.get(frame.payload.sender_id, {})

    def senders(self) -> list[str]:
        """Who has written, the one who waits longest first."""
        return [sender for sender, kept in self._kept.items() if kept]

    def waiting(self, sender: str) -> int:
        """How many messages of somebody wait."""
        return len(self._kept.get(sender, {}))

    def _put(self, frame: frames.RoutedMessage, now: int, wall: int) -> bool:
        payload = frame.payload
        text = codec.encode(frame)
        kept = self._kept.get(payload.sender_id, {})
        if len(kept) >= MAX_MESSAGES or sum(one.size for one in kept.values()) + len(text) > MAX_BYTES:
            return False
        record = RequestRecord(
            message_id=payload.message_id,
            sender=payload.sender_id,
            at=now,
            due=now + min(payload.options.expires_in or KEEP_MS, KEEP_MS),
            since=wall,
            size=len(text),
            frame=text,
        )
        with self._vault.transaction() as tx:
            self._store(tx, record)
        # Behind the transaction, so that the new one counts as well: it may be the one that gives way.
        self._make_room()
        return payload.message_id in self._kept.get(payload.sender_id, {})

    def of(self, sender: str) -> list[RequestRecord]:
        """The messages of somebody, oldest first; what is damaged is lost."""
        names = list(self._kept.get(sender, {}))
        found = [self._vault.find(records.REQUEST, records.key(sender, name), RequestRecord) for name in names]
        return [record for record in found if record is not None]

    def _opened(self, tx: Transaction, record: RequestRecord) -> None:
        """It was decrypted, and is among the received messages now."""
        self._store(tx, msgspec.structs.replace(record, frame=b""))

    def _store(self, tx: Transaction, record: RequestRecord) -> None:
        tx.put(records.REQUEST, records.key(record.sender, record.message_id), record, due=record.due)
        tx.on_commit(lambda: self._remember(record))

    def drop(self, tx: Transaction, sender: str, message_id: str) -> None:
        """It does not wait any more."""
        tx.delete(records.REQUEST, records.key(sender, message_id))
        tx.on_commit(lambda: self._forget(sender, message_id))

    def drop_all(self, tx: Transaction, sender: str) -> None:
        """Nothing of somebody waits any more."""
        for message_id in list(self._kept.get(sender, {})):
            self.drop(tx, sender, message_id)

    def forget(self, tx: Transaction, now: int) -> None:
        """Erase what has waited too long."""
        for record in self._vault.overdue(records.REQUEST, now, RequestRecord):
            self._erase(tx, record.sender, record.message_id)

    def _erase(self, tx: Transaction, sender: str, message_id: str) -> None:
        """It does not wait any more, and nothing of it stays, though it was looked at."""
        self.drop(tx, sender, message_id)
        self._inbox.erase(tx, sender, message_id)

    def _make_room(self) -> None:
        while len(self.senders()) > MAX_STRANGERS or self._total() > MAX_TOTAL_BYTES:
            fullest = max(self.senders(), key=lambda sender: sum(one.size for one in self._kept[sender].values()))
            with self._vault.transaction() as tx:
                self._erase(tx, fullest, next(iter(self._kept[fullest])))

    def _total(self) -> int:
        return sum(one.size for kept in self._kept.values() for one in kept.values())

    def _remember(self, record: RequestRecord) -> None:
        bare = msgspec.structs.replace(record, frame=b"")
        self._kept.setdefault(record.sender, {})[record.message_id] = bare

    def _forget(self, sender: str, message_id: str) -> None:
        kept = self._kept.get(sender, {})
        kept.pop(message_id, None)
        if not kept:
            self._kept.pop(sender, None)
