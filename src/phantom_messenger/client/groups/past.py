"""What was said in groups before this device was linked, as one's first device has handed it over: it only shows."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from phantom_messenger.client import records
from phantom_messenger.client.devices.records import HISTORY_IN
from phantom_messenger.client.groups.records import GroupPastRecord, GroupTextRecord
from phantom_messenger.client.records import IntValue
from phantom_messenger.client.vault import Transaction, Vault

NEWEST: Final = 1_000
"""Texts of one group among which one is looked for that comes from its writer as well."""

_NONE: Final = IntValue(0)
_ERASED: Final = IntValue(-1)


class GroupPast:
    """The pages of all groups, known here or not yet: each chunk that has come is one for each group in it.

    Args:
        vault: holds them.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._newest: dict[str, frozenset[str]] = {}
        """Names of the newest texts of each group, as far as they were looked for."""

    def put(self, tx: Transaction, group: str, texts: list[GroupTextRecord], names: dict[str, str]) -> None:
        """Keep texts that are older than all that were put before; ``names``: of writers, for ``names`` below."""
        number = self._count(group)
        tx.put(records.GROUP_PAST_PAGE, f"{group} {number}", GroupPastRecord(texts=texts, names=names))
        tx.put(records.GROUP_PAST, group, IntValue(number + 1))
        tx.on_commit(self._newest.clear)

    def of(self, group: str) -> Iterator[GroupTextRecord]:
        """The texts of a group, the newest first; damaged pages are left out."""
        for page in self._pages(group):
            yield from page.texts

    def names(self, group: str) -> dict[str, str]:
        """What writers call themselves, as far as it came before the group was known."""
        return {person: name for page in self._pages(group) for person, name in page.names.items()}

    def _pages(self, group: str) -> Iterator[GroupPastRecord]:
        for number in range(self._count(group)):
            page = self._vault.find(records.GROUP_PAST_PAGE, f"{group} {number}", GroupPastRecord)
            if page is not None:
                yield page

    def has(self, group: str, sender: str, message_id: str) -> bool:
        """Whether a text is among the newest of these; ``sender``: '' for an own one."""
        found = self._newest.get(group)
        if found is None:
            newest = islice(self.of(group), NEWEST)
            found = self._newest[group] = frozenset(records.key(one.sender, one.message_id) for one in newest)
        return records.key(sender, message_id) in found

    def erase(self, tx: Transaction, group: str) -> None:
        """Erase what was said in a group, and what of it is still to be handed over."""
        for number in range(self._count(group)):
            tx.delete(records.GROUP_PAST_PAGE, f"{group} {number}")
        tx.delete(records.GROUP_PAST, group)
        if self._vault.has(HISTORY_IN, ""):
            tx.put(records.GROUP_PAST, group, _ERASED)
        tx.on_commit(self._newest.clear)

    def is_erased(self, group: str) -> bool:
        """Whether the user has erased it while its texts were being handed over."""
        return self._value(group) < 0

    def _count(self, group: str) -> int:
        return max(0, self._value(group))

    def _value(self, group: str) -> int:
        return (self._vault.find(records.GROUP_PAST, group, IntValue) or _NONE).value
