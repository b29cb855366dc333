"""Corruption in the store: rows that cannot be read, and the errors that show it."""

import math
from collections.abc import Callable
from typing import Final

import apsw

from phantom_messenger.sqlite import errors

INDEX_SECONDS: Final = 60.0
MOST_INDEX_SECONDS: Final = 3_600.0
"""After new indexes of a table, until they may be made again; the longest, while they do not help."""

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


class IndexPause:
    """How long no indexes of a table are made anew: it takes long, and does not help against every corruption."""

    def __init__(self) -> None:
        self._seconds = INDEX_SECONDS
        self._made_at = -math.inf
        self._has_helped = True

    def ends(self, now: float) -> bool:
        """Whether they are to be made at this moment, because something has failed.

        What fails in the pause shows that they have not helped: the next one is twice as long, an hour at most.
        """
        if now - self._made_at < self._seconds:
            self._has_helped = False
            return False
        self._seconds = INDEX_SECONDS if self._has_helped else min(2 * self._seconds, MOST_INDEX_SECONDS)
        self._made_at, self._has_helped = now, True
        return True


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
