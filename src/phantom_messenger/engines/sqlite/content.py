"""The content of a data folder that no relay works on, to be copied from there or into it."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import apsw

from phantom_messenger.clock import ClockSnapshot, boot_id, resumed, since_boot_ms
from phantom_messenger.engines.content import (
    ITEMS,
    LIMITS,
    NUMBERS,
    TOMBSTONES,
    Row,
    Table,
    Writer,
    as_limits,
    contradiction,
    limit_rows,
)
from phantom_messenger.engines.errors import StoreError, StoreUnusable
from phantom_messenger.engines.sqlite.corruption import is_corruption
from phantom_messenger.engines.sqlite.directory import DAY_MS
from phantom_messenger.engines.sqlite.folder import is_new, own_database
from phantom_messenger.engines.sqlite.item_rows import checksum
from phantom_messenger.engines.sqlite.migrations import migrate
from phantom_messenger.engines.sqlite.tables import SQLiteClockStore, SQLiteLimitStore
from phantom_messenger.engines.sqlite.tombstones import has_kept, keep
from phantom_messenger.sqlite import files
from phantom_messenger.sqlite.database import NewerVersion, new_file

_READ: Final = {
    "accounts": "SELECT account, user_id, public_key, certified, last_seen, coalesce(active_on, {day}) FROM accounts",
    "mailboxes": "SELECT account, seq_limit FROM accounts",
    "written": "SELECT entry, sender, recipient, conversation FROM written",
    "blocks": "SELECT blocker, blocked FROM blocks",
    "written_in_groups": "SELECT sender, recipient FROM written_in_groups",
    "signed_prekeys": "SELECT account, kind, id, key, signature FROM signed_prekeys",
    "one_time_prekeys": "SELECT entry, account, kind, id, key, signature FROM one_time_prekeys",
    "bundle_signatures": "SELECT account, made_at, signature FROM bundle_signatures",
    "device_lists": "SELECT account, list FROM device_lists",
    "prekey_ids": "SELECT account, kind, highest FROM prekey_ids",
    "handouts": "SELECT target, requester, at FROM handouts",
    "orders": "SELECT name, revision, writers, last, author, written_on FROM orders",
    TOMBSTONES.name: "SELECT recipient, sender, name, until FROM tombstones",
    NUMBERS.name: "SELECT max((SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'accounts'),"
    " (SELECT coalesce(max(account), 0) FROM accounts))",
}
_WRITE: Final = {
    "accounts": "INSERT INTO accounts (account, user_id, public_key, certified, last_seen, active_on)"
    " VALUES (?, ?, ?, ?, ?, ?)",
    "mailboxes": "UPDATE accounts SET seq_limit = ?2 WHERE account = ?1",
    "written": "INSERT INTO written (entry, sender, recipient, conversation) VALUES (?, ?, ?, ?)",
    "blocks": "INSERT INTO blocks (blocker, blocked) VALUES (?, ?)",
    "written_in_groups": "INSERT INTO written_in_groups (sender, recipient) VALUES (?, ?)",
    "signed_prekeys": "INSERT INTO signed_prekeys (account, kind, id, key, signature) VALUES (?, ?, ?, ?, ?)",
    "one_time_prekeys": "INSERT INTO one_time_prekeys (entry, account, kind, id, key, signature)"
    " VALUES (?, ?, ?, ?, ?, ?)",
    "bundle_signatures": "INSERT INTO bundle_signatures (account, made_at, signature) VALUES (?, ?, ?)",
    "device_lists": "INSERT INTO device_lists (account, list) VALUES (?, ?)",
    "prekey_ids": "INSERT INTO prekey_ids (account, kind, highest) VALUES (?, ?, ?)",
    "handouts": "INSERT INTO handouts (target, requester, at) VALUES (?, ?, ?)",
    "orders": "INSERT INTO orders (name, revision, writers, last, author, written_on) VALUES (?, ?, ?, ?, ?, ?)",
    ITEMS.name: "INSERT INTO items"
    " (recipient, seq, kind, sender, name, stored_at, expires_at, mark, text, grouped, checksum)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    NUMBERS.name: "INSERT INTO sqlite_sequence (name, seq) VALUES ('accounts', ?)",
}
_ITEM: Final = (
    "SELECT entry, recipient, seq, kind, sender, name, stored_at, expires_at, mark, text, grouped, checksum FROM items"
)
_AT_ONCE: Final = 256
"""Items read in one go."""

_CACHE_KIB: Final = 65_536
"""Memory for pages of a store that is made: its indexes are written in no order."""

_UNFINISHED: Final = "relay.db.new"
_OURS: Final = {"lock", "lost+found"}
"""What may be in an empty folder: a lock that nobody holds, and what file systems make by themselves."""


class _Unreadable(StoreError):
    """Something is not there any more, or not as it was written."""


class SQLiteContent:
    """The rows of a database.

    Args:
        connection: to it.
        place: its folder, for people.
    """

    def __init__(self, connection: apsw.Connection, place: str) -> None:
        self._connection = connection
        self.place = place
        self.damaged: list[int] = []
        self._since: int | None = None

    @property
    def quarantined(self) -> int:
        """See ``Original``."""
        return self._number("SELECT count(*) FROM set_aside")

    def clock(self) -> ClockSnapshot:
        """See ``Original``; as a relay that starts here would count on."""
        with self._reading("relay_time"):
            kept = SQLiteClockStore(self._connection).load()
        boot, since_boot, wall = boot_id(), since_boot_ms(), time.time_ns() // 1_000_000
        return ClockSnapshot(boot, since_boot, wall, resumed(kept, boot=boot, since_boot=since_boot, wall=wall))

    def count(self, table: Table) -> int:
        """See ``Content``."""
        if table is LIMITS:
            return sum(1 for _ in self._limits())
        if table is NUMBERS:
            return 1
        if self._lacks(table):
            return 0
        name = "accounts" if table.name == "mailboxes" else table.name
        return self._counted(name)

    def _counted(self, name: str) -> int:
        """By the smallest index, or by the rows themselves if that cannot be read: the copy gets indexes of its own."""
        query = f"SELECT count(*) FROM {name}"  # noqa: S608 - a name of ours
        try:
            return self._number(query)
        except _Unreadable:
            return self._number(f"{query} NOT INDEXED")

    def rows(self, table: Table) -> Iterator[Row]:
        """See ``Content``."""
        if table is LIMITS:
            return self._limits()
        if self._lacks(table):
            return iter(())
        return self._items() if table is ITEMS else self._plain(table)

    def _lacks(self, table: Table) -> bool:
        """Whether it is one that only copies of a database have."""
        with self._reading("the database"):
            return table is TOMBSTONES and not has_kept(self._connection)

    def _plain(self, table: Table) -> Iterator[Row]:
        with self._reading(table.name):
            yield from self._connection.execute(_READ[table.name].format(day=self._ages_since() // DAY_MS))

    def _limits(self) -> Iterator[Row]:
        with self._reading("relay_limits"):
            kept = SQLiteLimitStore(self._connection).load()
        if kept is not None:
            yield from limit_rows(kept)

    def _items(self) -> Iterator[Row]:
        """In the order of their entries, which is that in which they were stored; damaged ones are noted."""
        given, rows = 0, None
        while True:
            found: list[Any] = []
            try:
                with self._reading(ITEMS.name):
                    # One walk: to look again for what is behind an entry would lead back if that is damaged.
                    rows = self._connection.execute(f"{_ITEM} ORDER BY entry") if rows is None else rows
                    found.extend(islice(rows, _AT_ONCE))
            except _Unreadable:  # those before the page that cannot be read are there
                yield from self._sound(found)
                yield from self._items_one_by_one(given + len(found))
                return
            if not found:
                return
            given += len(found)
            yield from self._sound(found)

    def _items_one_by_one(self, given: int) -> Iterator[Row]:
        """Items behind those that were given, found by an index, because the table cannot be read from there on."""
        for entry, *place in sorted(self._left(given)):
            try:
                with self._reading(ITEMS.name):
                    found: Any = self._connection.execute(f"{_ITEM} WHERE entry = ?", (entry,)).fetchall()
            except _Unreadable:
                found = []
            if found and list(found[0][1:3]) == place:
                yield from self._sound(found)
            else:
                self.damaged.append(entry)

    def _left(self, given: int) -> list[Any]:
        """Entry, recipient and seq of all rows that an index knows, but for so many that were read first.

        Those are told by recipient and seq, which their checksum covers: an entry itself may be damaged.
        """
        with self._reading(ITEMS.name):
            walk: Any = self._connection.execute("SELECT entry, recipient, seq FROM items NOT INDEXED ORDER BY entry")
            damaged = set(self.damaged)
            places = {(recipient, seq) for entry, recipient, seq in islice(walk, given) if entry not in damaged}
            walk.close()
            indexed: Any = self._connection.execute("SELECT entry, recipient, seq FROM items INDEXED BY items_order")
            return [row for row in indexed if row[0] not in damaged and row[1:] not in places]

    def _sound(self, found: Sequence[Any]) -> Iterator[Row]:
        for entry, recipient, seq, kind, sender, name, stored_at, expires_at, mark, text, grouped, kept in found:
            try:
                is_sound = checksum(recipient, seq, kind, sender, name, expires_at, text, stored_at) == kept
            except (TypeError, ValueError, AttributeError):
                is_sound = False
            if is_sound:
                at = self._ages_since() if stored_at is None else stored_at
                yield recipient, seq, kind, sender, name, at, expires_at, mark, text, grouped
            else:
                self.damaged.append(entry)

    def _ages_since(self) -> int:
        """When ages were first asked for, which is now if they never were: what has no time counts from there."""
        if self._since is None:
            found: Any = self._connection.execute("SELECT since FROM lives").get
            self._since = self.clock().persistent if found is None else found
        return self._since

    def _number(self, query: str) -> int:
        with self._reading("the database"):
            return int(self._connection.execute(query).get)

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except (apsw.Error, UnicodeDecodeError) as error:
            if not is_corruption(error) and not isinstance(error, UnicodeDecodeError):
                raise StoreError(f"cannot read the data folder {self.place} ({error})") from None
            raise _Unreadable(
                f"the data folder {self.place} is damaged ({what} cannot be read); restore relay.db from a backup"
            ) from None

    # --- writing --------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self, table: Table) -> Iterator[Writer]:
        """See ``Copy``."""
        limits: list[Row] = []

        def write(rows: Iterable[Row]) -> None:
            if table is LIMITS:
                limits.extend(rows)
            elif table is TOMBSTONES:
                keep(self._connection, rows)
            else:
                self._connection.executemany(_WRITE[table.name], map(_with_checksum, rows) if table is ITEMS else rows)

        with _making(self.place, table.name):
            if table is NUMBERS:
                self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'accounts'")
            yield write
            if limits:
                SQLiteLimitStore(self._connection).save(as_limits(limits))

    def finish(self, clock: ClockSnapshot) -> None:
        """See ``Copy``."""
        with _making(self.place):
            SQLiteClockStore(self._connection).save(clock)


def _with_checksum(row: Row) -> Row:
    recipient, seq, kind, sender, name, stored_at, expires_at, _, text, _ = row
    return (*row, checksum(recipient, seq, kind, sender, name, expires_at, text, stored_at))


@contextlib.contextmanager
def original(folder: Path) -> Iterator[SQLiteContent]:
    """A data folder that is there, locked; an older one is brought to this version first, as by a relay that starts.

    Raises:
        StoreError: there is none, a relay works on it, or it cannot be used.
    """
    with contextlib.ExitStack() as stack:
        try:
            if not folder.is_dir():
                raise StoreUnusable(f"there is no data folder {folder}")
            database = own_database(folder / "relay.db")
            if not database.exists() and not database.with_name("reserve").exists():
                raise StoreUnusable(f"there is no store in the folder {folder} (no relay.db)")
            stack.callback(os.close, _locked(database.parent))
            is_new(database)
            connection = stack.enter_context(contextlib.closing(apsw.Connection(str(database), _READ_WRITE)))
            if not connection.pragma("user_version"):
                raise StoreError(f"{database} is not the database of a relay; name the data folder of one")
            migrate(connection)
            connection.execute("BEGIN")
        except BlockingIOError:
            raise StoreError(f"a relay, or another copy, is at work on the data folder {folder}; stop it") from None
        except NewerVersion:
            raise StoreError(
                f"the data folder {folder} was written by a newer version of Phantom Messenger; install that version"
            ) from None
        except OSError as error:
            raise StoreUnusable(f"cannot read the data folder {folder} ({error.strerror})") from None
        except apsw.Error as error:
            reason = str(error).partition("\n")[0]
            raise StoreError(f"cannot read {folder / 'relay.db'} ({reason}); restore it from a backup") from None
        yield SQLiteContent(connection, str(folder))


_READ_WRITE: Final = apsw.SQLITE_OPEN_READWRITE


@contextlib.contextmanager
def copy(folder: Path) -> Iterator[SQLiteContent]:
    """A data folder that is made, or is there and empty. It has no ``relay.db`` until this context ends well.

    Until then the folder is locked, and looks as one that has lost its database: no relay starts on it. What is left
    by a program that was killed is refused by the next copy.

    Raises:
        StoreError: it is not empty, or cannot be written.
    """
    try:
        _refuse_used(folder)
        files.make_folder(folder)
        lock = _locked(folder)
    except BlockingIOError:
        raise StoreError(f"a relay, or another copy, is at work on the data folder {folder}") from None
    except OSError as error:
        raise StoreUnusable(f"cannot write to the data folder {folder} ({error.strerror})") from None
    try:
        _refuse_used(folder)
        with _making(str(folder)), _filled(folder) as connection:
            yield SQLiteContent(connection, str(folder))
    finally:
        os.close(lock)


@contextlib.contextmanager
def _filled(folder: Path) -> Iterator[apsw.Connection]:
    """A database beside its place, put there at the end."""
    database, reserve = folder / "relay.db", folder / "reserve"
    reserve.touch(0o600)  # with it, and without a database, the folder is one that no relay starts on
    try:
        with new_file(database) as (part, connection):
            migrate(connection)
            # It counts for nothing until it is whole, so nothing has to be synced or undone before.
            for name, value in (("journal_mode", "off"), ("synchronous", "off"), ("cache_size", -_CACHE_KIB)):
                connection.pragma(name, value)
            connection.pragma("foreign_keys", "on")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            connection.pragma("journal_mode", "wal")
            connection.close()
            _sync(part)
            part.rename(database)
            files.sync_folder(folder)
    except BaseException:
        if not database.exists():
            reserve.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _making(place: str, table: str = "") -> Iterator[None]:
    try:
        yield
    except apsw.ConstraintError:
        raise contradiction(table) from None
    except (apsw.Error, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(f"cannot write to the data folder {place} ({why}); make room, and copy again") from None


def _refuse_used(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StoreUnusable(f"{folder} is a file, not a folder; name a new folder, or an empty one")
    found = {path.name for path in folder.iterdir()} - _OURS
    if _UNFINISHED in found and "relay.db" not in found:
        raise StoreUnusable(f"the folder {folder} holds a copy that was not finished; empty it and copy again")
    if found:
        raise StoreUnusable(f"the folder {folder} is not empty; name a new folder, or an empty one")


def _locked(folder: Path) -> int:
    return files.lock(folder / "lock")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
