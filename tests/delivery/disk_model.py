"""A disk in memory under the real SQLite: it forgets what was not synced, and fails on demand.

A file has content that programs see and content that is *durable*; what was written since the last
sync is a list of operations. At a power cut each of these, on its own, is kept, lost or torn into
sectors that arrive, stay as they were or become rubbish: nothing is ordered, nothing is atomic.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self, cast

import apsw

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.commands import CommandFailed

SECTOR: Final = 512

_names = itertools.count(1)

Write = tuple[int, bytes | None]
"""Offset and content; a size and None for a truncation."""

Step = Callable[[str, str], None]
"""``step(operation, file)``: asked before each call from SQLite; may raise what the call is to fail with."""


class PowerCut(apsw.IOError):
    """There is no power (any more)."""


@dataclass
class Inode:
    """A file, with or without a name."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)

    def do(self, write: Write) -> None:
        _apply(self.seen, write)
        self.pending.append(write)

    def sync(self) -> None:
        for write in self.pending:
            _apply(self.durable, write)
        self.pending.clear()


class Disk(apsw.VFS):
    """A disk and its files; usable as a VFS of SQLite under ``name`` until it is left as a context.

    Args:
        seed: decides what a power cut leaves.
        power_safe: whether to promise SQLite that a torn write leaves alone the rest of its sectors,
            as the VFS for Linux does. It is so anyway; without the promise SQLite writes differently.
    """

    def __init__(self, seed: object = 0, *, power_safe: bool = True) -> None:
        self.name = f"disk-{next(_names)}"
        self.power_safe = power_safe
        self.power = 1
        """Counts how often there was power; handles of an earlier time are dead."""
        self.is_on = True
        self.step: Step = lambda _operation, _file: None
        self.lies_about: str | None = None
        """How the names of files end whose syncs do nothing."""
        self._random = Random(f"disk {seed}")  # noqa: S311 - chance that can be repeated
        self._changes_left = 0
        self._how = self.cut
        self._entries: dict[str, Inode] = {}
        self._durable_entries: dict[str, Inode] = {}
        super().__init__(self.name, "", maxpathname=1_024)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unregister()

    # --- what happens to a disk ---------------------------------------------------

    def cut_after(self, changes: int, how: Callable[[], None] | None = None) -> None:
        """Have the power cut right behind so many writes, syncs and the like; 0 for never."""
        self._changes_left = changes
        self._how = how or self.cut

    def kill(self) -> None:
        """The program ends, the power stays on: all that was written is there."""
        self.is_on = False

    def cut(self) -> None:
        """Switch the power off; what was not synced is kept, lost or torn."""
        self._fail(keep=self._random.choice((0.0, 0.5, 0.9, 0.98, 1.0)))

    def lose(self) -> None:
        """Switch the power off; whatever was not synced is lost."""
        self._fail(keep=None)

    def switch_on(self) -> None:
        self.power += 1
        self.is_on = True

    def copy_of_what_lasts(self) -> "Disk":
        """Another disk, as this one would be if it lost now all that was not synced."""
        other = Disk(power_safe=self.power_safe)
        for name, inode in self._durable_entries.items():
            other._entries[name] = Inode(bytearray(inode.durable), bytearray(inode.durable))
        other._durable_entries = dict(other._entries)
        return other

    def content(self, ending: str) -> bytes:
        """What programs see in the files whose names end so."""
        return b"".join(inode.seen for name, inode in self._entries.items() if name.endswith(ending))

    def sync_directory(self) -> None:
        self._durable_entries = dict(self._entries)

    def _fail(self, keep: float | None) -> None:
        self.is_on = False
        names = sorted({*self._entries, *self._durable_entries})
        if keep is not None:
            for name in names:
                self._survive(name)
        self._entries = dict(self._durable_entries)
        for inode in self._entries.values():
            if keep is not None:
                for write in inode.pending:
                    self._arrive(inode.durable, write, keep)
            inode.pending.clear()
            inode.seen = bytearray(inode.durable)

    def _survive(self, name: str) -> None:
        """Decide whether the directory has the new or the old entry."""
        if self._random.random() < 0.5:
            if name in self._entries:
                self._durable_entries[name] = self._entries[name]
            else:
                del self._durable_entries[name]

    def _arrive(self, content: bytearray, write: Write, keep: float) -> None:
        offset, data = write
        chance = self._random.random()
        if chance < keep:
            _apply(content, write)
        elif data is None:
            return
        elif chance < keep + (1 - keep) / 2:
            if self._random.random() < 0.2:  # the file's length arrives before its content
                _stretch(content, offset + len(data))
        else:
            self._tear(content, offset, data)

    def _tear(self, content: bytearray, offset: int, data: bytes) -> None:
        for sector in range(offset // SECTOR * SECTOR, offset + len(data), SECTOR):
            start, end = max(sector, offset), min(sector + SECTOR, offset + len(data))
            fate = self._random.random()
            if fate < 0.5:
                _apply(content, (start, data[start - offset : end - offset]))
            elif fate < 0.6:
                _apply(content, (start, self._random.randbytes(end - start)))

    # --- what SQLite calls --------------------------------------------------------

    def ask(self, operation: str, file: str) -> None:
        if not self.is_on:
            raise PowerCut("no power")
        self.step(operation, file)

    def changed(self) -> None:
        self._changes_left -= 1
        if self._changes_left == 0:
            self._how()
            raise PowerCut("the power was cut")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self.ask("open", path)
        found = self._entries.get(path)
        if found is None:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError("no such file")
            found = self._entries[path] = Inode()
            self.changed()
        flags[1] = flags[0]
        # As the VFS for Linux does it: the first sync of a log or journal is one of its directory too.
        is_log = bool(flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL))
        return DiskFile(self, path, found, syncs_directory=is_log)

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802, ARG002 - SQLite's name
        self.ask("access", pathname)
        return pathname in self._entries

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        self.ask("delete", filename)
        if self._entries.pop(filename, None) is None:
            raise with_code(apsw.IOError("no such file"), apsw.SQLITE_IOERR_DELETE_NOENT)
        if syncdir:
            self.sync_directory()
        self.changed()

    def xFullPathname(self, name: str) -> str:  # noqa: N802 - SQLite's name
        return name.rpartition("/")[2]  # a disk can be put below another folder


class DiskFile(apsw.VFSFile):
    """A file that SQLite has open."""

    def __init__(self, disk: Disk, name: str, inode: Inode, *, syncs_directory: bool) -> None:
        # Without super().__init__(): there is no file of another VFS below.
        self._disk = disk
        self._name = name
        self._inode = inode
        self._power = disk.power
        self._syncs_directory = syncs_directory

    def _ask(self, operation: str) -> None:
        if self._power != self._disk.power:
            raise PowerCut("opened before the power was cut")
        self._disk.ask(operation, self._name)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        self._ask("read")
        return bytes(self._inode.seen[offset : offset + amount])

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
        write = offset, bytes(data)
        try:
            self._ask("write")
        except PowerCut:
            raise
        except apsw.Error:
            self._inode.do((offset, write[1][: len(write[1]) // 2]))  # a write that fails has begun
            raise
        self._inode.do(write)
        self._disk.changed()

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._ask("truncate")
        self._inode.do((newsize, None))
        self._disk.changed()

    def xSync(self, flags: int) -> None:  # noqa: N802, ARG002 - SQLite's name
        try:
            self._ask("sync")
        except PowerCut:
            raise
        except apsw.Error:
            self._inode.pending.clear()  # Linux takes it for written: no later sync will write it
            raise
        if self._disk.lies_about is None or not self._name.endswith(self._disk.lies_about):
            self._inode.sync()
            if self._syncs_directory:
                self._disk.sync_directory()
                self._syncs_directory = False
        self._disk.changed()

    def xFileSize(self) -> int:  # noqa: N802 - SQLite's name
        self._ask("size")
        return len(self._inode.seen)

    def xLock(self, level: int) -> None:  # noqa: N802 - SQLite's name
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802 - SQLite's name
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802 - SQLite's name
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802, ARG002 - SQLite's name
        return False

    def xSectorSize(self) -> int:  # noqa: N802 - SQLite's name
        return SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802 - SQLite's name
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE if self._disk.power_safe else 0

    def xClose(self) -> None:  # noqa: N802 - SQLite's name
        pass


class _Connection:
    """A connection on which rolling back and closing cannot fail, as in SQLite."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statements: str, *arguments: Any) -> Any:
        with contextlib.suppress(apsw.Error) if statements == "ROLLBACK" else contextlib.nullcontext():
            return self._connection.execute(statements, *arguments)

    def close(self) -> None:
        with contextlib.suppress(apsw.Error):
            self._connection.close()


class DiskStore(SQLiteStore):
    """The real store on such a disk.

    SQLite ignores errors when it writes the log back by itself, rolls back or closes; apsw raises
    whatever a VFS in Python has raised. All three are put back to what they are on a VFS in C.

    Args:
        folder: for the lock and the reserve, which are real files.
        disk: for the database.
        checkpoint: pages in the log after which it is written back.
        cache: pages kept in memory, so that there is something to read; -2,000 is SQLite's way to say 2 MB.
    """

    def __init__(self, folder: Path, disk: Disk, *, checkpoint: int = 1_000, cache: int = -2_000) -> None:
        self._checkpoint = checkpoint
        self._cache = cache
        self.attempts: list[list[Any]] = []
        """For each transaction that was tried, whatever its jobs put here; nothing if not all were done."""
        super().__init__(folder, vfs=disk.name)

    def _prepare(self, place: str) -> None:
        self._connection = cast("apsw.Connection", _Connection(self._connection))
        super()._prepare(place)
        self._connection.pragma("cache_size", self._cache)
        self._connection.set_wal_hook(self._committed)

    def _committed(self, connection: apsw.Connection, database: str, pages: int) -> int:
        if pages >= self._checkpoint:
            with contextlib.suppress(apsw.Error):
                connection.wal_checkpoint(database)
        return apsw.SQLITE_OK

    def _run_batch(self, jobs: Sequence[Any], do: Any, deadline: float | None) -> list[Any] | CommandFailed:
        self.attempts.append([])
        results = super()._run_batch(jobs, do, deadline)
        if len(self.attempts[-1]) < len(jobs):
            self.attempts[-1].clear()
        return results


@contextlib.contextmanager
def opened(folder: Path, disk: Disk, **options: Any) -> Iterator[DiskStore]:
    """A store that is closed in the end."""
    store = DiskStore(folder, disk, **options)
    try:
        yield store
    finally:
        store.close()


def with_code(error: apsw.Error, code: int) -> apsw.Error:
    error.extendedresult = code  # type: ignore[attr-defined] # apsw reads it, its stubs leave it out
    return error


def _stretch(content: bytearray, size: int) -> None:
    if size > len(content):
        content.extend(bytes(size - len(content)))


def _apply(content: bytearray, write: Write) -> None:
    offset, data = write
    _stretch(content, offset)
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data
