"""Corruption in the store: rows that cannot be read, and the errors that show it."""

from collections.abc import Callable
from typing import Final

import apsw

from phantom_messenger.sqlite import errors

MAX_PAST_REPAIR: Final = 4_096
"""Rows that are remembered as such."""


class CorruptRows(Exception):
    """Rows that a command needs cannot be read.

    A transaction that met them cannot be committed. ``find``, called outside of one, finds out
    which they are, so that the next attempt does without them.
    """

    def __init__(self, find: Callable[[], None]) -> None:
        super().__init__("corrupt rows")
        self.find = find


def is_corruption(error: BaseException) -> bool:
    """Whether what was read is not what was written, or cannot be read."""
    return isinstance(error, CorruptRows) or errors.is_corruption(error)


class AccountIndexDamaged(apsw.CorruptError):
    """The index of accounts says something else than their rows."""


class PastRepair:
    """Entries of rows for which new indexes have not helped, so that none are made for them again.

    To make them takes as long as the table is large, and keeps everybody waiting. When too many are known, all others
    count among them: so much is damaged that no end of new indexes would come.
    """

    def __init__(self) -> None:
        self._entries: set[int] = set()

    def __contains__(self, entry: int) -> bool:
        return entry in self._entries or len(self._entries) >= MAX_PAST_REPAIR

    def add(self, entry: int) -> None:
        """Note one."""
        if len(self._entries) < MAX_PAST_REPAIR:
            self._entries.add(entry)
