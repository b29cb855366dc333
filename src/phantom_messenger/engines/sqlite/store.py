"""The embedded store: SQLite through apsw, one writer thread, WAL, every commit synced.

``synchronous=FULL`` makes a commit wait for the disk; ``secure_delete`` overwrites what
is removed. The relay runs this on one thread; a batch of jobs is one transaction, each
job a savepoint in it.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from phantom_messenger.engines.sqlite.corruption import CorruptRows, is_corruption
from phantom_messenger.engines.sqlite.execute import execute
from phantom_messenger.engines.sqlite.folder import (
    StoreError,
    cannot_use,
    is_new,
    lock_folder,
    own_database,
)
from phantom_messenger.engines.sqlite.migrations import migrate
from phantom_messenger.engines.sqlite.reserve import Reserve
from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.events import Event, log
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.ports import Job
from phantom_messenger.sqlite import files
from phantom_messenger.sqlite.database import NewerVersion, new_file, set_pragmas
from phantom_messenger.sqlite.errors import is_out_of_space
from phantom_messenger.sqlite.scrub import Scrubber

__all__ = ["SQLiteStore", "StoreError"]

_WAL_BUG: Final = ((3, 7, 0), (3, 51, 2))
"""SQLite versions in which a WAL reset can corrupt the database (sqlite.org/wal.html, 3.51.3 mended it)."""

_WAL_PAGES: Final = 1_000
"""Length of the write-ahead log at which it is written back."""

_PAGE_BYTES: Final = 4_096
_BUSY_MS: Final = 5_000
_CLOSE_SECONDS: Final = 1.0
"""How long a stop may take to erase what was removed; the next start looks at all that is left."""

_ATTEMPTS: Final = 64
"""At a job that meets damage; each leaves out what the one before has found."""

_FORGET_SECONDS: Final = 600.0
"""How often what is remembered of people for speed is forgotten."""

_MEND_SECONDS: Final = 60.0
"""How often indexes may be built anew: it takes a while, and does not help against every damage."""

_STEP_BYTES: Final = 1024 * 1024
_STEP_SHARE: Final = 8
"""What is removed in one step: to overwrite it takes as much of the log, so at most a share of the reserve."""

_GROWTH_SHARE: Final = 16
"""Of the reserve, for the pages that a removal can need: to take a cell out may split its neighbours."""

_MARGIN_BYTES: Final = 8 * _PAGE_BYTES
"""Free pages left over by whatever is added while cramped: its index entries take some."""

_UNBOUNDED: Final = 0xFFFF_FFFE
"""The largest ``max_page_count`` there is."""

_DAMAGED: Final = (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, apsw.ConstraintError)
_NO_ROOM: Final = (apsw.FullError, apsw.IOError)


class SQLiteStore:
    """A store in a folder, or in memory alone; see ``relay.ports`` for the contracts.

    When a commit fails for want of room, the store lives on in a *cramped* state: each job is a
    transaction of its own, the reserve is given up to the log, and the database may grow by no more
    than a removal can need. So what removes goes on, what adds fits into what was removed or
    fails, and ``tidy`` ends the state when the disk has room again.

    Args:
        folder: made if it is not there, readable by its owner only; None keeps all in memory.
        vfs: the SQLite VFS to go through; one without shared memory will do.
        mailbox_bytes: of one mailbox, about; None if that is not limited.

    Raises:
        StoreError: the folder cannot be written, is in use, or is from a newer version.
    """

    def __init__(self, folder: Path | None, *, vfs: str | None = None, mailbox_bytes: int | None = None) -> None:
        _refuse_broken_sqlite()
        self._lock: int | None = None
        self._reserve: Reserve | None = None
        self._is_cramped = False
        self._has_job_failed = False
        self._is_log_kept = False
        self._mended_at = -_MEND_SECONDS
        self._forgot_at = time.monotonic()
        self._vfs = vfs
        self._log: Path | None = None
        self._erasure: Scrubber | None = None
        self._place: tuple[Path, int] | None = None
        self._connection: apsw.Connection
        if folder is None:
            self._connection = apsw.Connection(":memory:")
            self._prepare("in memory")
        else:
            self._open(folder)
        self.tables = Tables(
            self._connection,
            has_room=self._has_room,
            step_bytes=_step_bytes(self._reserve),
            mailbox_bytes=mailbox_bytes,
        )

    @property
    def is_cramped(self) -> bool:
        """Whether the disk was full, or broken, when it was last written to."""
        return self._is_cramped

    @property
    def _log_pages(self) -> int:
        """Length of the log at which it is written back: half of the reserve, at most."""
        size = 0 if self._reserve is None else self._reserve.size
        return min(_WAL_PAGES, size // 2 // _PAGE_BYTES) or _WAL_PAGES

    def _open(self, folder: Path) -> None:
        database = folder / "relay.db"
        try:
            files.make_folder(folder)
            if self._vfs is None:
                database = own_database(database)
            self._lock = lock_folder(database.parent)
        except OSError as error:
            raise cannot_use(folder, error) from None
        try:
            if self._vfs is None and is_new(database):
                _create(database)
            self._reserve = Reserve(database.with_name("reserve"))
            try:
                self._connect(database)
            except (*_NO_ROOM, apsw.CantOpenError):
                if not self._reserve.give_up():
                    raise
                self._connect(database)
            if not self._reserve.take():
                self._cramp()
        except BaseException as error:
            self.close()
            if isinstance(error, _DAMAGED):
                reason = str(error).partition("\n")[0]
                raise StoreError(f"{database} is damaged ({reason}); restore it from a backup") from None
            if isinstance(error, apsw.Error | OSError):
                raise cannot_use(folder, error) from None
            raise

    def _connect(self, database: Path) -> None:
        self._connection = apsw.Connection(str(database), vfs=self._vfs)
        try:
            if self._vfs is None:
                database.chmod(0o600)
                self._log = database.with_name(f"{database.name}-wal")
                self._place = database, database.stat().st_ino
                if not self._connection.pragma("user_version"):
                    raise StoreError(f"{database} holds nothing of a relay; restore it from a backup")
            self._prepare(str(database.parent))
            # What a killed relay wrote to its log may not be synced yet, and is read all the same.
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            if self._vfs is None:
                self._erasure = Scrubber(self._connection, database, self._log_pages)
                self._look(self._erasure, database)
                with contextlib.suppress(*_NO_ROOM):
                    self._erasure.part()
        except BaseException:
            self._connection.close()
            if self._erasure is not None:
                self._erasure.close()
                self._erasure = None
            raise

    def _look(self, erasure: Scrubber, database: Path) -> None:
        """Refuse a database of which a whole table cannot be read; what is damaged further down is left out later.

        It takes a page of each table, however large they are, and the two rows that each start needs.
        """
        for name, root in self._connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0"):
            if not erasure.is_tree(int(str(root))):
                raise StoreError(f"{database} is damaged ({name} cannot be read); restore it from a backup")
        for table in ("relay_time", "relay_limits"):
            self._connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - names of ours

    def run(self, jobs: Sequence[Any], *, budget_ms: int | None = None) -> list[Any]:
        """See ``relay.ports.Store``."""
        deadline = None if budget_ms is None else time.monotonic() + budget_ms / 1_000
        if self._is_moved():
            return [_moved() for _ in jobs]
        if not self._is_cramped:
            results = self._run_batch(jobs, deadline)
            if not isinstance(results, CommandFailed):
                return results
            if is_out_of_space(results.error):
                self._cramp()
            elif not self._mend(results.error):
                return [results] * len(jobs)
        found: list[Any] = []
        for job in jobs:
            found.append(self._run_alone(job))
            if deadline is not None and time.monotonic() >= deadline:
                break
        return found

    def _is_moved(self) -> bool:
        """Whether somebody has moved or deleted the database: what is written to it then is lost."""
        if self._place is None:
            return False
        database, inode = self._place
        try:
            found = database.stat().st_ino == inode
        except OSError:
            found = False
        if not found and not self._is_cramped:
            self._is_cramped = True
            log(Event.FOLDER_MOVED)
        return not found

    def tidy(self) -> bool:
        """See ``relay.ports.Store``."""
        if self._is_moved():
            return True
        self.tables.mailboxes.forgive()
        self._forget_people()
        # A program that reads the database (a backup) keeps the log; it is not waited for.
        self._connection.set_busy_timeout(0)
        is_done = True
        try:
            is_done = self._write_back()
        except apsw.FullError:
            self._cramp()
        except apsw.BusyError:
            if not self._is_log_kept:
                log(Event.LOG_KEPT)
            self._is_log_kept = True
        else:
            self._is_log_kept = False
        finally:
            self._connection.set_busy_timeout(_BUSY_MS)
        if self._is_cramped and (self._reserve is None or self._reserve.take()):
            self._is_cramped = False
            self._connection.pragma("max_page_count", _UNBOUNDED)
        elif self._is_cramped and self._reserve is not None and self._log is not None:
            self._reserve.move_to(self._log)
        return is_done

    def _forget_people(self) -> None:
        """Who wrote to whom is remembered for speed, and not for long after they have gone."""
        now = time.monotonic()
        if now - self._forgot_at >= _FORGET_SECONDS:
            self._forgot_at = now
            self.tables.directory.forget()

    def close(self) -> None:
        """Close and unlock; idempotent."""
        if self._erasure is not None:
            deadline = time.monotonic() + _CLOSE_SECONDS
            with contextlib.suppress(apsw.Error):
                while not self._erasure.run() and time.monotonic() < deadline:
                    pass
        if hasattr(self, "_connection"):
            self._connection.close()
        if self._erasure is not None:
            self._erasure.close()
            self._erasure = None
        if self._is_cramped and self._reserve is not None:
            with contextlib.suppress(OSError):  # the log that it had become is gone
                self._reserve.take()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _run_batch(self, jobs: Sequence[Job], deadline: float | None) -> list[Any] | CommandFailed:
        """Run jobs as one transaction; a ``CommandFailed`` if nothing of it was stored.

        Savepoints cost more than the jobs, and hardly any job fails: they are made in a second run.
        """
        self._has_job_failed = False
        results = self._transact(jobs, deadline, self._run_plainly)
        is_of_all = isinstance(results, CommandFailed) and (results.is_out_of_space or is_corruption(results.error))
        if self._has_job_failed and not is_of_all:
            return self._transact(jobs, deadline, self._run_guarded)
        return results

    def _transact(
        self, jobs: Sequence[Job], deadline: float | None, run: Callable[[Job], Any]
    ) -> list[Any] | CommandFailed:
        results: list[Any] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if self._erasure is not None:
                self._erasure.begin()
            for job in jobs:
                results.append(run(job))
                if deadline is not None and time.monotonic() >= deadline:
                    break
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the border: whatever it was, nothing of the batch is stored
            # SQLite ends the transaction by itself when the disk is full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self.tables.rolled_back()
            return CommandFailed(error, is_out_of_space=is_out_of_space(error))
        self.tables.committed()
        if self._erasure is not None:
            self._erasure.committed()
        return results

    def _run_plainly(self, job: Job) -> Any:
        try:
            return self._do(job)
        except Exception:
            self._has_job_failed = True
            raise

    def _run_guarded(self, job: Job) -> Any:
        savepoint = self.tables.savepoint()
        self._connection.execute("SAVEPOINT command")
        try:
            result = self._do(job)
        except Exception as error:
            # After some errors SQLite cannot commit what else is in the transaction.
            if is_out_of_space(error) or is_corruption(error) or not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO command")
            self.tables.rolled_back(savepoint)
            result = CommandFailed(error, is_out_of_space=False)
        self._connection.execute("RELEASE command")
        return result

    def _do(self, job: Any) -> Any:
        return job(self.tables) if callable(job) else execute(self.tables, job)

    def _run_alone(self, job: Job) -> Any:
        for _ in range(_ATTEMPTS - 1):
            results = self._run_batch([job], None)
            if not isinstance(results, CommandFailed):
                return results[0]
            if not self._mend(results.error):
                return results
        results = self._run_batch([job], None)
        return results if isinstance(results, CommandFailed) else results[0]

    def _mend(self, error: Exception) -> bool:
        """Do something about damage, outside of a transaction; whether another attempt may do better."""
        if not is_corruption(error):
            return False
        now = time.monotonic()
        with contextlib.suppress(apsw.Error):
            if isinstance(error, CorruptRows):
                error.find()
            elif now - self._mended_at >= _MEND_SECONDS:
                self._mended_at = now
                log(Event.INDEX_DAMAGED)
                self._connection.execute("REINDEX items")
        return True

    def _write_back(self) -> bool:
        if self._erasure is not None:
            return self._erasure.run()
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return True

    def _cramp(self) -> None:
        """Give the reserve to the log, and let the database not grow into it."""
        self._is_cramped = True
        with contextlib.suppress(OSError):
            if self._reserve is not None:
                self._reserve.give_up()
        with contextlib.suppress(apsw.Error):
            self._write_back()
        with contextlib.suppress(OSError):
            if self._reserve is not None and self._log is not None:
                self._reserve.move_to(self._log)
        with contextlib.suppress(apsw.Error):
            size = 0 if self._reserve is None else self._reserve.size
            pages: int = self._connection.pragma("page_count")
            self._connection.pragma("max_page_count", pages + size // _GROWTH_SHARE // _PAGE_BYTES)

    def _has_room(self, size: int) -> bool:
        """Whether something of this size can be added and still leave what removals need."""
        if not self._is_cramped:
            return True
        free: int = self._connection.pragma("freelist_count")
        return free * _PAGE_BYTES >= size + _MARGIN_BYTES

    def _prepare(self, place: str) -> None:
        connection = self._connection
        connection.set_busy_timeout(_BUSY_MS)
        if self._vfs is not None:
            connection.pragma("locking_mode", "exclusive")
        set_pragmas(connection)
        connection.pragma("foreign_keys", "on")
        connection.wal_autocheckpoint(self._log_pages)
        try:
            migrate(connection)
        except NewerVersion:
            raise StoreError(
                f"the data folder {place} was written by a newer version of Phantom Messenger; install that version"
            ) from None


def _moved() -> CommandFailed:
    return CommandFailed(OSError("the database is not where it was"), is_out_of_space=True)


def _step_bytes(reserve: Reserve | None) -> int:
    size = 0 if reserve is None else reserve.size
    return min(_STEP_BYTES, size // _STEP_SHARE) if size else _STEP_BYTES


def _refuse_broken_sqlite() -> None:
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if _WAL_BUG[0] <= version <= _WAL_BUG[1]:
        raise StoreError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt its log; install apsw with SQLite 3.51.3 or newer"
        )


def _create(database: Path) -> None:
    """Make an empty store; it is there whole or not at all, so that a file without tables is one that was damaged."""
    with new_file(database) as (part, connection):
        migrate(connection)
        connection.close()
        part.rename(database)
    files.sync_folder(database.parent)
