"""Disk space kept back for the day on which there is no more.

Even a deletion needs room in the write-ahead log. When the disk is full the reserve is donated to the
log, so that reading, acknowledging and burning still work; it is acquired again when there is room.
"""

import errno
import os
from pathlib import Path
from typing import Final

from phantom_messenger.events import Event, log

RESERVE_BYTES: Final = 8 * 1024 * 1024
"""More than the log ever holds: 1,000 pages of 4 KiB and one batch."""

_SHARE_OF_SMALL_DISK: Final = 8
"""On a disk below 64 MiB the reserve is an eighth of it."""

_LOG_PAGES: Final = 1_000
"""Length of the write-ahead log at which it is checkpointed."""

_PAGE_BYTES: Final = 4_096
_STEP_BYTES: Final = 1024 * 1024
_STEP_SHARE: Final = 8
"""What is deleted in one step: overwriting it takes as much of the log, so at most a share of the reserve."""

_GROWTH_SHARE: Final = 16
"""Of the reserve, for the pages that a deletion can need: taking out a cell may split its neighbours."""

_LEAST: Final = 16_384
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


class Reserve:
    """A file that takes up space, and what follows from its size.

    Args:
        path: of the file; None for a database in memory, which needs no reserve.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.size = 0
        if path is not None:
            disk = os.statvfs(path.parent)
            self.size = min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // _SHARE_OF_SMALL_DISK)

    @property
    def log_pages(self) -> int:
        """Length of the log at which it is checkpointed: half of the reserve, at most."""
        return min(_LOG_PAGES, self.size // 2 // _PAGE_BYTES) or _LOG_PAGES

    @property
    def step_bytes(self) -> int:
        """How many bytes of mail are deleted in one step."""
        return min(_STEP_BYTES, self.size // _STEP_SHARE) or _STEP_BYTES

    @property
    def growth_pages(self) -> int:
        """How many pages the database may grow by while there is no room."""
        return self.size // _GROWTH_SHARE // _PAGE_BYTES

    def acquire(self) -> bool:
        """Take up the space; False if there is not enough of it, and then what there is."""
        return self._path is None or _allocate(self._path, self.size)

    def release(self) -> bool:
        """Give the space back to the disk; whether there was any."""
        if self._path is None:
            return False
        try:
            held = self._path.stat().st_size
        except FileNotFoundError:
            return False
        os.truncate(self._path, 0)
        return held > 0

    def donate_to(self, log: Path) -> None:
        """Make the space part of the log, before somebody else takes it."""
        if log.exists():
            # SQLite ends a log at the first frame that has no valid checksum: zeros behind it do not count.
            _allocate(log, self.size)


def _allocate(path: Path, size: int) -> bool:
    """Make a file take up so much space, or as much as there is; whether it is all."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    taken, step = 0, size
    try:
        while taken < size and step >= _LEAST:
            try:
                os.posix_fallocate(handle, 0, taken + step)
                taken += step
            except OSError as error:
                if error.errno not in _FULL:
                    log(Event.NO_RESERVE, error=errno.errorcode.get(error.errno or 0, "?"))
                    return True
                step //= 2
    finally:
        os.close(handle)
    return taken == size
