"""Which errors of SQLite mean that there is no room, and which that it has forgotten something."""

from typing import Final

import apsw

_READING: Final = {
    apsw.SQLITE_IOERR_READ,
    apsw.SQLITE_IOERR_SHORT_READ,
    apsw.SQLITE_IOERR_CORRUPTFS,
    apsw.SQLITE_IOERR_DATA,
}


def is_no_room(error: BaseException) -> bool:
    """Whether writing failed: the disk is full, or broken."""
    return isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and not is_damage(error))


def is_damage(error: BaseException) -> bool:
    """Whether what was read is not what was written, or cannot be read."""
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) in _READING
    return isinstance(error, apsw.CorruptError)
