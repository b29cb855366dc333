"""What an error of SQLite means: out of space, or corruption."""

from typing import Final

import apsw

_READ_ERRORS: Final = {
    apsw.SQLITE_IOERR_READ,
    apsw.SQLITE_IOERR_SHORT_READ,
    apsw.SQLITE_IOERR_CORRUPTFS,
    apsw.SQLITE_IOERR_DATA,
}


def is_out_of_space(error: BaseException) -> bool:
    """Whether writing failed: the disk is full, or broken."""
    return isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and not is_corruption(error))


def is_corruption(error: BaseException) -> bool:
    """Whether what was read is not what was written, or cannot be read."""
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) in _READ_ERRORS
    return isinstance(error, apsw.CorruptError)
