"""A disk that fails once, and a process that is killed in the middle of opening a store."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

PATIENCE: Final = 60.0

_CHILD: Final = """
import os, signal, sys
from pathlib import Path
import apsw
from phantom_messenger.engines.sqlite import SQLiteStore

calls = 0

def step():
    global calls
    calls += 1
    if calls == {kill_at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return False

apsw.connection_hooks.append(lambda connection: connection.set_progress_handler(step, {every}))
store = SQLiteStore(Path({folder!r}))
print(calls)
store.close()
"""


def open_in_a_process(folder: Path, *, kill_at: int = 0, every: int = 2_000) -> int | None:
    """Open a store in a process of its own.

    Args:
        folder: the store's.
        kill_at: at which step the process kills itself (-9); 0 for never.
        every: how many of SQLite's instructions are a step.

    Returns:
        How many steps it took; None if it was killed.
    """
    code = _CHILD.format(kill_at=kill_at, every=every, folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode == -9:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


class FailingDisk(apsw.VFS):
    """A file system whose Nth write or sync fails, once.

    Args:
        name: of the VFS.
        fails_at: which write or sync, from 1; 0 for none.
    """

    def __init__(self, name: str, fails_at: int) -> None:
        self.fails_at = fails_at
        self.has_failed = False
        self._count = 0
        super().__init__(name, "")

    def xOpen(  # noqa: N802 - apsw's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> "_File":
        return _File(self, name, flags)

    def used(self) -> None:
        """Count a write or sync, or fail."""
        self._count += 1
        if self._count == self.fails_at:
            self.has_failed = True
            raise apsw.IOError("disk I/O error")


class _File(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw's name
        self._disk.used()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - apsw's name
        self._disk.used()
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:  # noqa: N802 - apsw's name
        self._disk.used()
        super().xTruncate(size)


def version_of(folder: Path) -> int:
    """The step that a closed store's database is at, after SQLite's own recovery."""
    with closing(apsw.Connection(str(folder / "relay.db"))) as connection:
        return int(connection.pragma("user_version"))
