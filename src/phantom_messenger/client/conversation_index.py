"""Which messages were exchanged with whom, in pages: so a conversation opens without reading the others.

It follows behind: messages are stored as they come, and as many of them as there is time for are entered
later, in the order of their positions. Up to which position that was done is stored with the
pages; what lies behind it is looked through. So nothing is lost to a program that dies, a
profile that was imported, or one that an older version has written to.
"""

from collections.abc import Callable, Iterator
from typing import Final

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.inbox_index import InboxIndex
from phantom_messenger.client.records import InboxRecord, IntValue, PageRecord, ReceivedRecord, SentRecord
from phantom_messenger.client.vault import Transaction, Vault

PAGE: Final = 100
"""Messages of a page: some 4 KB, of which one is written for each conversation that has gone on."""

BATCH: Final = 50
"""Records looked at in one step: some 5 ms if each is of another conversation."""

MOST_BEHIND: Final = 5_000
"""How many records behind its position may be looked through for a conversation: some 60 ms."""

_FAR: Final = 10_000
"""How far behind the stored position may be, if there was nothing to enter."""

_KINDS: Final = {records.SENT: SentRecord, records.RECEIVED: ReceivedRecord, records.INBOX: InboxRecord}

_SENT, _RECEIVED = "s", "r"
"""Before a message id: who has written it."""


class ConversationIndex:
    """The pages of all conversations.

    Args:
        vault: holds them, and the messages.
        inbox: pages of what waits to be handled, which are made along with these.
    """

    def __init__(self, vault: Vault, inbox: InboxIndex) -> None:
        self._vault = vault
        self._inbox = inbox
        self._reached = 0
        """Up to where there is nothing more to enter, which need not be stored each time."""
        self._is_at_end = False
        self._is_without_inbox = vault.has_kind(records.INDEXED_WITHOUT_INBOX)

    @property
    def has_more(self) -> bool:
        """Whether there may be more to do than what has come since ``extend`` was called."""
        return not self._is_at_end or self._inbox.has_more

    @property
    def position(self) -> int:
        """Up to which position in the vault all messages are entered; 0 after it was saved from damage."""
        if self._is_without_inbox:
            return 0
        found = self._vault.find(records.INDEXED, "", IntValue)
        return 0 if found is None else found.value

    def is_far_behind(self) -> bool:
        """Whether so much is not entered that it would take long to look through."""
        stored = self.position
        return self._vault.last_position() - (stored and max(stored, self._reached)) > MOST_BEHIND

    def extend(self, tx: Transaction, has_time: Callable[[], bool]) -> None:
        """Enter the next messages: some, and more while there is time."""
        stored = self.position
        if not stored:
            tx.on_commit(self._inbox.forget)
            if self._has_pages():
                self._start_over(tx)
                return
        try:
            self._extend(tx, stored, has_time)
        except VaultDamaged:
            tx.delete(records.INDEXED, "")  # from the beginning, then
            tx.on_commit(lambda: self._reach(0, is_at_end=False))

    def _has_pages(self) -> bool:
        return self._vault.has_kind(records.PAGE) or self._vault.has_kind(records.INBOX_PAGE)

    def _start_over(self, tx: Transaction) -> None:
        """Erase the pages first, some in each step."""
        tx.delete(records.INDEXED, "")
        tx.delete(records.INDEXED_WITHOUT_INBOX, "")
        tx.delete_some(records.PAGE, BATCH)
        tx.delete_some(records.INBOX_PAGE, BATCH)
        tx.on_commit(self._started_over)

    def _extend(self, tx: Transaction, stored: int, has_time: Callable[[], bool]) -> None:
        if stored:
            self._inbox.clean_up(tx, has_time)
        reached, has_entered, is_at_end = stored and max(stored, self._reached), False, False
        while True:
            found, after = self._vault.batch(_KINDS, after=reached, limit=BATCH)
            self._enter(tx, found)
            reached, has_entered, is_at_end = after, has_entered or bool(found), after == reached
            if is_at_end or not has_time():
                break
        if has_entered or not stored or reached - stored > _FAR:
            tx.put(records.INDEXED, "", IntValue(reached))
        tx.on_commit(lambda: self._reach(reached, is_at_end=is_at_end))

    def _enter(self, tx: Transaction, found: list[SentRecord | ReceivedRecord | InboxRecord]) -> None:
        self._inbox.enter(tx, [record for record in found if isinstance(record, InboxRecord)])
        pages: dict[str, PageRecord] = {}
        for record in found:
            if isinstance(record, InboxRecord):
                continue
            peer = record.peer if isinstance(record, SentRecord) else record.sender
            page = pages[peer] if peer in pages else self._newest_page(peer)
            if len(page.messages) == PAGE:
                tx.put(records.PAGE, _older(peer, page.number), page)
                page = PageRecord(number=page.number + 1, messages=[])
            entry = (_SENT if isinstance(record, SentRecord) else _RECEIVED) + record.message_id
            pages[peer] = PageRecord(number=page.number, messages=[*page.messages, entry])
        for peer, page in pages.items():
            tx.put(records.PAGE, peer, page)

    def names(self, peer: str) -> Iterator[tuple[str, str]]:
        """Kinds and names of the messages of a conversation that are entered, the newest first.

        Raises:
            VaultDamaged: a page cannot be read.
        """
        page = self._newest_page(peer)
        for number in range(page.number, -1, -1):
            found = page if number == page.number else self._vault.get(records.PAGE, _older(peer, number), PageRecord)
            if found is None:
                raise VaultDamaged(f"a page in {self._vault.path} is missing")
            for entry in reversed(found.messages):
                message_id = entry[1:]
                if entry.startswith(_SENT):
                    yield records.SENT, message_id
                else:
                    yield records.RECEIVED, records.key(peer, message_id)

    def erase(self, tx: Transaction, peer: str) -> None:
        """Forget a conversation."""
        try:
            count = self._newest_page(peer).number
        except VaultDamaged:
            tx.delete(records.INDEXED, "")  # all pages are made again, without this conversation
            return
        for number in range(count):
            tx.delete(records.PAGE, _older(peer, number))
        tx.delete(records.PAGE, peer)

    def _newest_page(self, peer: str) -> PageRecord:
        """The page that is not full yet."""
        return self._vault.get(records.PAGE, peer, PageRecord) or PageRecord(number=0, messages=[])

    def _started_over(self) -> None:
        self._is_without_inbox = False
        self._reach(0, is_at_end=False)

    def _reach(self, position: int, *, is_at_end: bool) -> None:
        self._reached, self._is_at_end = position, is_at_end


def _older(peer: str, number: int) -> str:
    """The name of a full page."""
    return f"{peer} {number}"
