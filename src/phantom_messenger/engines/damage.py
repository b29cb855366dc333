"""Which errors of SQLite mean that the disk has no room, and which that it has forgotten something."""

from collections.abc import Callable
from typing import Final

import apsw

_READING: Final = {
    apsw.SQLITE_IOERR_READ,
    apsw.SQLITE_IOERR_SHORT_READ,
    apsw.SQLITE_IOERR_CORRUPTFS,
    apsw.SQLITE_IOERR_DATA,
}


class DamagedRows(Exception):
    """Rows that a job needs cannot be read.

    A transaction that met them cannot be committed. ``find``, called outside of one, finds out
    which they are, so that the next attempt does without them.
    """

    def __init__(self, find: Callable[[], None]) -> None:
        super().__init__("damaged rows")
        self.find = find


def is_no_room(error: BaseException) -> bool:
    """Whether writing failed: the disk is full, or broken."""
    return isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and not is_damage(error))


def is_damage(error: BaseException) -> bool:
    """Whether what was read is not what was written, or cannot be read."""
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) in _READING
    return isinstance(error, apsw.CorruptError | DamagedRows)
