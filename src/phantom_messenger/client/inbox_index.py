"""Whose messages wait to be handled, in pages: so those of one sender are found without the others.

It follows behind together with the index of conversations: what is handled soon is never entered. Entries of messages
that were handled later stay until their page is cleaned up; they say nothing.
"""

from collections.abc import Callable, Iterator
from typing import Final

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.records import InboxPageRecord, InboxRecord
from phantom_messenger.client.vault import Transaction, Vault

PAGE: Final = 100
"""Messages of a page."""


class InboxIndex:
    """The pages of all senders.

    Args:
        vault: holds them, and the inbox.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._passed: dict[str, int] = {}
        """Below which page nothing of a sender waits any more."""
        self._to_clean_up: dict[str, None] = {}
        """Senders whose oldest page may hold nothing that waits any more."""
        self._is_damaged = False
        self.has_more = False
        """Whether there was no time to clean up everything."""

    def forget(self) -> None:
        """The pages are made anew, and numbered from 0: what was known of them says nothing any more."""
        self._passed.clear()
        self._to_clean_up.clear()
        self._is_damaged = self.has_more = False

    def enter(self, tx: Transaction, found: list[InboxRecord]) -> None:
        """Enter messages that wait.

        Raises:
            VaultDamaged: a page cannot be read.
        """
        pages: dict[str, InboxPageRecord] = {}
        for marker in found:
            sender = marker.sender
            page = pages[sender] if sender in pages else self._newest(sender)
            if len(page.messages) == PAGE:
                tx.put(records.INBOX_PAGE, _older(sender, page.number), page)
                page = InboxPageRecord(oldest=page.oldest, number=page.number + 1, messages=[])
            messages = [*page.messages, marker.message_id]
            pages[sender] = InboxPageRecord(oldest=page.oldest, number=page.number, messages=messages)
        for sender, page in pages.items():
            tx.put(records.INBOX_PAGE, sender, page)

    def of(self, sender: str, after: int) -> Iterator[tuple[int, InboxRecord]]:
        """What is entered of a sender and waits behind a position in the inbox, in order, each with its own.

        Raises:
            VaultDamaged: a page cannot be read.
        """
        newest = self._newest(sender)
        start = max(newest.oldest, self._passed.get(sender, 0))
        for number in range(start, newest.number + 1):
            page = newest if number == newest.number else self._page(sender, number)
            found = list(self._waiting(sender, page))
            if not found and number == start < newest.number:
                start = self._passed[sender] = number + 1
            yield from (one for one in found if one[0] > after)

    def damaged(self) -> None:
        """A page could not be read: ``clean_up`` will say so."""
        self._is_damaged = True

    def handled(self, sender: str) -> None:
        """Something of a sender was handled: look for pages to be erased."""
        if sender not in self._to_clean_up and self._vault.has(records.INBOX_PAGE, sender):
            self._to_clean_up[sender] = None

    def clean_up(self, tx: Transaction, has_time: Callable[[], bool]) -> None:
        """Erase pages in which nothing waits any more: some, and more while there is time.

        Raises:
            VaultDamaged: a page cannot be read, or could not be before.
        """
        if self._is_damaged:
            raise VaultDamaged(f"a page in {self._vault.path} cannot be read")
        left = list(self._to_clean_up)
        while left:
            if self._clean_page(tx, left[0], has_time):
                del left[0]
            if not has_time():
                break
        tx.on_commit(lambda: self._cleaned_up(left))

    def _clean_page(self, tx: Transaction, sender: str, has_time: Callable[[], bool]) -> bool:
        """Whether that was all there is to be erased."""
        newest = self._newest(sender)
        oldest = newest.oldest
        while has_more := oldest < newest.number and self._is_empty(sender, oldest):
            tx.delete(records.INBOX_PAGE, _older(sender, oldest))
            oldest += 1
            if not has_time():
                break
        if oldest == newest.number and not any(self._waiting(sender, newest)):
            tx.delete(records.INBOX_PAGE, sender)
            tx.on_commit(lambda: self._forget(sender))
        elif oldest != newest.oldest:
            after = InboxPageRecord(oldest=oldest, number=newest.number, messages=newest.messages)
            tx.put(records.INBOX_PAGE, sender, after)
        return not has_more

    def _is_empty(self, sender: str, number: int) -> bool:
        return number < self._passed.get(sender, 0) or not any(self._waiting(sender, self._page(sender, number)))

    def erase(self, tx: Transaction, sender: str) -> None:
        """Forget the pages of a sender."""
        try:
            newest = self._newest(sender)
        except VaultDamaged:
            tx.delete(records.INDEXED, "")  # all pages are made again
            return
        for number in range(newest.oldest, newest.number):
            tx.delete(records.INBOX_PAGE, _older(sender, number))
        tx.delete(records.INBOX_PAGE, sender)
        tx.on_commit(lambda: self._forget(sender))

    def _waiting(self, sender: str, page: InboxPageRecord) -> Iterator[tuple[int, InboxRecord]]:
        for message_id in page.messages:
            position = self._vault.position(records.INBOX, records.key(sender, message_id))
            if position:
                yield position, InboxRecord(message_id=message_id, sender=sender)

    def _newest(self, sender: str) -> InboxPageRecord:
        """The page that is not full yet."""
        found = self._vault.get(records.INBOX_PAGE, sender, InboxPageRecord)
        return found or InboxPageRecord(oldest=0, number=0, messages=[])

    def _page(self, sender: str, number: int) -> InboxPageRecord:
        found = self._vault.get(records.INBOX_PAGE, _older(sender, number), InboxPageRecord)
        if found is None:
            raise VaultDamaged(f"a page in {self._vault.path} is missing")
        return found

    def _cleaned_up(self, left: list[str]) -> None:
        self._to_clean_up = dict.fromkeys(left)
        self.has_more = bool(left)

    def _forget(self, sender: str) -> None:
        """There are no pages of this sender; the next one is the first."""
        self._passed.pop(sender, None)


def _older(sender: str, number: int) -> str:
    """The name of a full page."""
    return f"{sender} {number}"
