"""Disk space kept back for the day on which there is no more.

Even a removal needs room in the write-ahead log. When the disk is full the reserve becomes room in
the log, so that reading, acknowledging and burning go on; it is taken again when there is room.
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

_LEAST: Final = 16_384
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


class Reserve:
    """A file that takes up space.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        disk = os.statvfs(path.parent)
        self.size = min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // _SHARE_OF_SMALL_DISK)

    def take(self) -> bool:
        """Take the space; False if there is not enough, and then what there is."""
        return _allocate(self._path, self.size)

    def give_up(self) -> bool:
        """Give the space back to the disk; whether there was any."""
        try:
            held = self._path.stat().st_size
        except FileNotFoundError:
            return False
        os.truncate(self._path, 0)
        return held > 0

    def move_to(self, log: Path) -> None:
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
