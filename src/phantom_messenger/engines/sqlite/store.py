"""The embedded store: SQLite through apsw, one writer thread, WAL, every commit synced.

A batch of commands is one transaction. What happens when something goes wrong:

    ``State``     entered when                       what a batch is                     left when
    ------------  ---------------------------------  ----------------------------------  ----------------------------
    NORMAL        the store is opened                one transaction (see below)
    OUT_OF_SPACE  a write finds no room, or the      a transaction for each command;     ``scrub`` has acquired the
                  reserve cannot be acquired         what adds must fit in free pages    reserve again: NORMAL
    MOVED         the database is not at its path    nothing: every command fails        it is there: OUT_OF_SPACE

How a batch is run in the state NORMAL, each way tried when the one before it failed:

    plain          one transaction, no savepoints: they cost more than the commands, and hardly any command fails
    guarded        a command raised: one transaction, a savepoint for each command, so that it is undone alone
    alone          the commit failed for want of room, or rows are corrupt: a transaction for each command, repeated
                   while a repair (leaving out rows, new indexes) may help

While out of space, the reserve is donated to the log and the database may grow by no more than deletions need: so
deleting still works, and what is added fits into what was deleted, or fails.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw

from phantom_messenger.engines.errors import StoreError
from phantom_messenger.engines.sqlite.corruption import AccountIndexDamaged, CorruptRows, IndexPause, is_corruption
from phantom_messenger.engines.sqlite.execute import execute
from phantom_messenger.engines.sqlite.folder import cannot_use, is_new, lock_folder, own_database
from phantom_messenger.engines.sqlite.migrations import migrate
from phantom_messenger.engines.sqlite.reserve import Reserve
from phantom_messenger.engines.sqlite.tables import StoreJob, Tables
from phantom_messenger.events import Event, log
from phantom_messenger.relay.commands import AnyCommand, CommandFailed
from phantom_messenger.sqlite import files
from phantom_messenger.sqlite.database import NewerVersion, configure, new_file
from phantom_messenger.sqlite.errors import is_out_of_space
from phantom_messenger.sqlite.scrub import Scrubber

__all__ = ["SQLiteStore", "State", "StoreError"]

_WAL_BUG: Final = ((3, 7, 0), (3, 51, 2))
"""SQLite versions in which a WAL reset can corrupt the database (sqlite.org/wal.html, 3.51.3 fixed it)."""

_BUSY_MS: Final = 5_000
_CLOSE_SECONDS: Final = 1.0
"""How long a stop may take to scrub what was deleted; the next start scrubs all that is left."""

_ATTEMPTS: Final = 64
"""At a command that meets corrupt rows; each leaves out what the one before has found."""

_ATTEMPTS_IN_VAIN: Final = 2
"""In a row, after which nothing was found: each row that is suspected takes one."""

_FORGET_SECONDS: Final = 600.0
"""How often what is remembered of users for speed is forgotten."""

_PAGE_BYTES: Final = 4_096
_MARGIN_BYTES: Final = 8 * _PAGE_BYTES
"""Free pages left over by whatever is added while out of space: its index entries take some."""

_UNBOUNDED: Final = 0xFFFF_FFFE
"""The largest ``max_page_count`` there is."""

_UNREADABLE: Final = (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, apsw.ConstraintError)
_NO_ROOM: Final = (apsw.FullError, apsw.IOError)

_Do = Callable[[Tables, Any], Any]
"""What is to be done to the tables with each of a batch: it is run as a command, or called."""


class State(Enum):
    """See the table above."""

    NORMAL = "normal"
    OUT_OF_SPACE = "out of space"
    MOVED = "moved"


class SQLiteStore:
    """A store in a folder, or in memory alone; see ``relay.ports`` for the contract.

    Args:
        folder: made if it is not there, readable by its owner only; None keeps all in memory.
        vfs: the SQLite VFS to go through; one without shared memory will do.
        mailbox_bytes: of one mailbox, about; None if that is not limited.

    Raises:
        StoreError: the folder cannot be written, is in use, or is from a newer version.
    """

    def __init__(self, folder: Path | None, *, vfs: str | None = None, mailbox_bytes: int | None = None) -> None:
        _refuse_broken_sqlite()
        self._state = State.NORMAL
        self._lock: int | None = None
        self._reserve = Reserve(None)
        self._is_log_kept = False
        self._index_pauses = {"accounts": IndexPause(), "items": IndexPause()}
        self._forgot_at = time.monotonic()
        self._vfs = vfs
        self._log: Path | None = None
        self._scrubber: Scrubber | None = None
        self._location: tuple[Path, int] | None = None
        self._connection: apsw.Connection
        if folder is None:
            self._connection = apsw.Connection(":memory:")
            self._prepare("in memory")
        else:
            self._open(folder)
        self.tables = Tables(
            self._connection,
            has_room=self._has_room,
            step_bytes=self._reserve.step_bytes,
            mailbox_bytes=mailbox_bytes,
        )

    @property
    def is_out_of_space(self) -> bool:
        """See ``relay.ports.Store``."""
        return self._state is not State.NORMAL

    def _open(self, folder: Path) -> None:
        database = folder / "relay.db"
        try:
            files.make_folder(folder)
            if self._vfs is None:
                database = own_database(database)
            # Before the first look at the file: of two relays that start at once, both would find it missing and make
            # one.
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
                # Opening itself takes room, for the index of the log and to write it back: the reserve is there for
                # that.
                if not self._reserve.release():
                    raise
                self._connect(database)
            # Taken up last: on a disk that is nearly full the database comes first.
            if not self._reserve.acquire():
                self._enter_out_of_space()
        except BaseException as error:
            self.close()
            if isinstance(error, _UNREADABLE):
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
                self._location = database, database.stat().st_ino
                if not self._connection.pragma("user_version"):
                    raise StoreError(f"{database} is not the database of a relay; restore it from a backup")
            self._prepare(str(database.parent))
            # What a killed relay wrote to its log may not be synced yet, and is read all the same.
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            if self._vfs is None:
                self._scrubber = Scrubber(self._connection, database, self._reserve.log_pages)
                self._check_tables(self._scrubber, database)
                with contextlib.suppress(*_NO_ROOM):
                    self._scrubber.part()
        except BaseException:
            self._connection.close()
            if self._scrubber is not None:
                self._scrubber.close()
                self._scrubber = None
            raise

    def _check_tables(self, scrubber: Scrubber, database: Path) -> None:
        """Refuse a database of which a whole table cannot be read; rows that are corrupt are left out later.

        It takes a page of each table, however large they are, and the two rows that each start needs.
        """
        for name, root in self._connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0"):
            if not scrubber.is_tree(int(str(root))):
                raise StoreError(f"{database} is damaged ({name} cannot be read); restore it from a backup")
        for table in ("relay_time", "relay_limits"):
            self._connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - names of ours

    def run_jobs(self, work: Sequence[StoreJob], *, budget_ms: int | None = None) -> list[Any]:
        """As ``run``, for whatever functions do to the tables."""
        return self.run(work, budget_ms=budget_ms, do=lambda tables, one: one(tables))

    def run(
        self,
        commands: Sequence[AnyCommand] | Sequence[StoreJob],
        *,
        budget_ms: int | None = None,
        do: _Do | None = None,
    ) -> list[Any]:
        """See ``relay.ports.Store``; ``do``: what is done with each, if they are not commands."""
        do = do or execute
        deadline = None if budget_ms is None else time.monotonic() + budget_ms / 1_000
        self._look_for_database()
        if self._state is State.MOVED:
            error = OSError("the database is not where it was")
            return [CommandFailed(error, is_out_of_space=True) for _ in commands]
        if self._state is State.NORMAL:
            results = self._run_batch(commands, do, deadline)
            if not isinstance(results, CommandFailed):
                return results
            if results.is_out_of_space:
                self._enter_out_of_space()
            elif not is_corruption(results.error):
                return [results for _ in commands]
            elif not self._find(results.error):
                self._make_indexes(results.error)
        found: list[Any] = []
        for one in commands:
            found.append(self._run_alone(one, do))
            if deadline is not None and time.monotonic() >= deadline:
                break
        return found

    def scrub(self) -> bool:
        """See ``relay.ports.Store``."""
        self._look_for_database()
        if self._state is State.MOVED:
            return True
        self.tables.mailboxes.retry_unreadable()
        self._forget_users()
        is_done = self._checkpoint_unless_busy()
        if self._state is State.OUT_OF_SPACE:
            self._try_to_leave_out_of_space()
        return is_done

    def _look_for_database(self) -> None:
        """Notice if somebody has moved or deleted the database: what is written to it then is lost."""
        if self._location is None:
            return
        database, inode = self._location
        try:
            is_there = database.stat().st_ino == inode
        except OSError:
            is_there = False
        if is_there and self._state is State.MOVED:
            self._state = State.OUT_OF_SPACE
        elif not is_there and self._state is not State.MOVED:
            self._state = State.MOVED
            log(Event.FOLDER_MOVED)

    def _forget_users(self) -> None:
        """Who wrote to whom is remembered for speed, and not for long after they have gone."""
        now = time.monotonic()
        if now - self._forgot_at >= _FORGET_SECONDS:
            self._forgot_at = now
            self.tables.directory.forget()

    def give_up(self) -> None:
        """See ``relay.ports.Store``: no other machine is waited for."""

    def close(self) -> None:
        """Close and unlock; idempotent."""
        if self._scrubber is not None:
            deadline = time.monotonic() + _CLOSE_SECONDS
            with contextlib.suppress(apsw.Error):
                while not self._scrubber.run() and time.monotonic() < deadline:
                    pass
        if hasattr(self, "_connection"):
            self._connection.close()
        if self._scrubber is not None:
            self._scrubber.close()
            self._scrubber = None
        if self._state is not State.NORMAL:
            with contextlib.suppress(OSError):  # the log to which it was donated is gone
                self._reserve.acquire()
        # Last of all: from here on another relay may open the folder, in which nothing may be under way.
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- running commands ---------------------------------------------------------------

    def _run_batch(self, work: Sequence[Any], do: _Do, deadline: float | None) -> list[Any] | CommandFailed:
        """Run commands as one transaction, plain or guarded; a ``CommandFailed`` if nothing of it was stored."""
        for run in (do, partial(self._run_guarded, do)):
            try:
                return self._transact(work, run, deadline)
            except _CommandRaised as raised:
                error = raised.error
                # Savepoints would not help: they end with the transaction. Each command alone may need less of the
                # disk.
                if _concerns_all(error):
                    break
            except Exception as failed:  # noqa: BLE001 - the boundary: whatever it was, nothing of the batch is stored
                error = failed
                break
        return _failed(error)

    def _transact(self, work: Sequence[Any], do: _Do, deadline: float | None) -> list[Any]:
        """Run the first of it, and what can be begun before the deadline, as one transaction."""
        results: list[Any] = []
        try:
            # A deferred one begins as a reader, and its first write fails without any wait if another program has
            # written since.
            self._connection.execute("BEGIN IMMEDIATE")
            if self._scrubber is not None:
                self._scrubber.begin()
            for one in work:
                try:
                    results.append(do(self.tables, one))
                except Exception as error:  # noqa: BLE001 - as above
                    raise _CommandRaised(error) from None
                # Asked behind a command: however late it is, each batch gets one done, so that nobody waits for ever.
                if deadline is not None and time.monotonic() >= deadline:
                    break
            self._connection.execute("COMMIT")
        except Exception:
            # SQLite ends the transaction by itself when the disk is full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self.tables.rolled_back()
            raise
        # Not before the commit: what is remembered of rows must never be ahead of the disk.
        self.tables.committed()
        if self._scrubber is not None:
            self._scrubber.committed()
        return results

    def _run_guarded(self, do: _Do, tables: Tables, one: Any) -> Any:
        savepoint = tables.savepoint()
        self._connection.execute("SAVEPOINT command")
        try:
            result = do(tables, one)
        except Exception as error:
            # After some errors SQLite cannot commit what else is in the transaction.
            if _concerns_all(error) or not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO command")
            tables.rolled_back(savepoint)
            result = _failed(error)
        self._connection.execute("RELEASE command")
        return result

    def _run_alone(self, one: Any, do: _Do) -> Any:
        """Run a command as a transaction of its own, again while a repair may help."""
        in_vain = 0
        for _ in range(_ATTEMPTS):
            results = self._run_batch([one], do, None)
            if not isinstance(results, CommandFailed):
                return results[0]
            if self._find(results.error):
                in_vain = 0
            elif is_corruption(results.error) and in_vain < _ATTEMPTS_IN_VAIN:
                in_vain += 1
                self._make_indexes(results.error)
            else:
                break
        return results

    def _find(self, error: Exception) -> bool:
        """Find corrupt rows, outside of a transaction; whether another attempt does without them."""
        if not isinstance(error, CorruptRows):
            return False
        try:
            error.find()
        except apsw.Error:  # what leads to them cannot be read either
            return False
        return True

    def _make_indexes(self, error: Exception) -> None:
        """Make indexes anew, outside of a transaction; not again soon, and ever more seldom while it does not help."""
        table = "accounts" if isinstance(error, AccountIndexDamaged) else "items"
        if self._index_pauses[table].ends(time.monotonic()):
            log(Event.INDEX_DAMAGED)
            with contextlib.suppress(apsw.Error):
                self._connection.execute(f"REINDEX {table}")

    # --- space --------------------------------------------------------------------------

    def _checkpoint_and_scrub(self) -> bool:
        """Write the log back and scrub; whether nothing is left to be scrubbed."""
        if self._scrubber is not None:
            return self._scrubber.run()
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return True

    def _checkpoint_unless_busy(self) -> bool:
        """As above; a program that reads the database (a backup) keeps the log, and is not waited for."""
        self._connection.set_busy_timeout(0)
        try:
            is_done = self._checkpoint_and_scrub()
        except apsw.FullError:
            self._enter_out_of_space()
            return True
        except apsw.BusyError:
            if not self._is_log_kept:
                log(Event.LOG_KEPT)
            self._is_log_kept = True
            return True
        finally:
            self._connection.set_busy_timeout(_BUSY_MS)
        self._is_log_kept = False
        return is_done

    def _enter_out_of_space(self) -> None:
        """Donate the reserve to the log, and do not let the database grow into it."""
        self._state = State.OUT_OF_SPACE
        # Given to the disk first, since the checkpoint needs room; then the log takes it, before other programs do.
        with contextlib.suppress(OSError):
            self._reserve.release()
        with contextlib.suppress(apsw.Error):
            self._checkpoint_and_scrub()
        self._donate_reserve()
        with contextlib.suppress(apsw.Error):
            pages: int = self._connection.pragma("page_count")
            self._connection.pragma("max_page_count", pages + self._reserve.growth_pages)

    def _try_to_leave_out_of_space(self) -> None:
        if self._reserve.acquire():
            self._state = State.NORMAL
            self._connection.pragma("max_page_count", _UNBOUNDED)
        else:
            self._donate_reserve()

    def _donate_reserve(self) -> None:
        with contextlib.suppress(OSError):
            if self._log is not None:
                self._reserve.donate_to(self._log)

    def _has_room(self, size: int) -> bool:
        """Whether something of this size can be added and still leave what deletions need."""
        if self._state is State.NORMAL:
            return True
        free: int = self._connection.pragma("freelist_count")
        return free * _PAGE_BYTES >= size + _MARGIN_BYTES

    def _prepare(self, place: str) -> None:
        connection = self._connection
        connection.set_busy_timeout(_BUSY_MS)
        if self._vfs is not None:
            connection.pragma("locking_mode", "exclusive")
        configure(connection)
        connection.pragma("foreign_keys", "on")
        connection.wal_autocheckpoint(self._reserve.log_pages)
        try:
            migrate(connection)
        except NewerVersion:
            raise StoreError(
                f"the data folder {place} was written by a newer version of Phantom Messenger; install that version"
            ) from None


class _CommandRaised(Exception):
    """A command of a batch failed, not the transaction around it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _concerns_all(error: Exception) -> bool:
    """Whether a command's error is one of the disk, so that a savepoint cannot contain it."""
    return is_out_of_space(error) or is_corruption(error)


def _failed(error: Exception) -> CommandFailed:
    return CommandFailed(error, is_out_of_space=is_out_of_space(error))


def _refuse_broken_sqlite() -> None:
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if _WAL_BUG[0] <= version <= _WAL_BUG[1]:
        raise StoreError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt its log; install apsw with SQLite 3.51.3 or newer"
        )


def _create(database: Path) -> None:
    """Make an empty store; it is there whole or not at all, so that a file without tables is a corrupt one."""
    with new_file(database) as (part, connection):
        migrate(connection)
        connection.close()
        part.rename(database)
    # The name is stored in the folder: without this a power cut could take it, and the next start make an empty store.
    files.sync_folder(database.parent)
