"""Disk space kept back for the day on which there is no more.

Even a removal needs room in the write-ahead log. When the disk is full the reserve is given up to
it, so that reading, acknowledging and burning go on; it is taken again when there is room.
"""

import os
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 8 * 1024 * 1024
"""More than the log ever holds: 1,000 pages of 4 KiB and one batch."""

_SHARE_OF_SMALL_DISK: Final = 8
"""On a disk below 64 MiB the reserve is an eighth of it."""


class Reserve:
    """A file that takes up space.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        disk = os.statvfs(path.parent)
        self.size = min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // _SHARE_OF_SMALL_DISK)
        self.is_held = False

    def take(self) -> bool:
        """Take the space; False, and nothing taken, if it is not there."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, self.size)
        except OSError:
            os.ftruncate(handle, 0)
        else:
            self.is_held = True
        finally:
            os.close(handle)
        return self.is_held

    def give_up(self) -> None:
        """Give the space back to the disk."""
        self.is_held = False
        if self._path.exists():
            os.truncate(self._path, 0)
