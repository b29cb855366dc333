"""The files of a database: their one name, who has them, and whether they survive a power cut."""

import fcntl
import os
from pathlib import Path
from typing import Final

SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
"""A database and what SQLite keeps beside it."""


class DanglingLink(Exception):
    """A symbolic link leads to a file that does not exist."""

    def __init__(self, target: Path) -> None:
        super().__init__(str(target))
        self.target = target


def real_path(path: Path) -> Path:
    """The one name of a file, by which everybody finds the lock beside it.

    Raises:
        DanglingLink: there is no such file; SQLite would make a new one.
        OSError: the path cannot be followed.
    """
    real = path.resolve()
    if path.is_symlink() and not real.exists():
        raise DanglingLink(real)
    return real


def lock(path: Path) -> int:
    """Lock a file, which is made if it does not exist, until the returned handle is closed.

    Raises:
        BlockingIOError: somebody else has locked it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle


def make_folder(folder: Path) -> None:
    """Make a folder that survives a power cut: its entry is synced too."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def delete(database: Path) -> None:
    """Delete a database with what SQLite keeps beside it; idempotent."""
    for suffix in SUFFIXES:
        database.with_name(database.name + suffix).unlink(missing_ok=True)
