"""The tables of a store, by concern, and what they remember of them in memory."""

from collections.abc import Callable
from typing import Any
from zlib import crc32

import apsw
import msgspec

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.engines.sqlite.directory import SQLiteDirectory
from phantom_messenger.engines.sqlite.item_rows import ItemRows
from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
from phantom_messenger.engines.sqlite.orders import SQLiteOrders
from phantom_messenger.engines.sqlite.prekeys import SQLitePreKeys
from phantom_messenger.events import Event, log
from phantom_messenger.relay.records import KeptLimits


class Tables:
    """What a command works on, inside a transaction.

    The parts remember rows in memory for speed. Whoever ends a transaction says how: ``committed``, or
    ``rolled_back`` to a ``savepoint``.

    Args:
        connection: to the database.
        has_room: whether so many bytes can be added.
        step_bytes: about how many bytes of mail one command deletes at most.
        mailbox_bytes: of one mailbox, about; None if that is not limited.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        has_room: Callable[[int], bool],
        step_bytes: int,
        mailbox_bytes: int | None,
    ) -> None:
        self.connection = connection
        rows = ItemRows(connection)
        self.directory = SQLiteDirectory(rows, has_room, step_bytes)
        self.orders = SQLiteOrders(connection, has_room)
        self.prekeys = SQLitePreKeys(connection, self.directory, has_room)
        self.mailboxes = SQLiteMailboxes(rows, self.directory, has_room, step_bytes, mailbox_bytes)
        self.time = SQLiteClockStore(connection)
        self.limits = SQLiteLimitStore(connection)
        self.savepoint = self.mailboxes.savepoint
        self.committed = self.mailboxes.committed

    def rolled_back(self, savepoint: int = 0) -> None:
        """The transaction was rolled back to a savepoint, or altogether."""
        self.mailboxes.rolled_back(savepoint)
        # It keeps no journal of what this transaction has taught it, so all of it goes: rollbacks are rare.
        self.directory.forget()


StoreJob = Callable[[Tables], Any]
"""Something to do to the tables in a transaction: a command, for instance."""


class SQLiteClockStore:
    """The moment from which persistent time continues after a restart."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def save(self, snapshot: ClockSnapshot) -> None:
        """See ``relay.commands.SaveClock``."""
        self._connection.execute(
            "INSERT OR REPLACE INTO relay_time (only, boot, since_boot, wall, steady, checksum)"
            " VALUES (1, ?, ?, ?, ?, ?)",
            (snapshot.boot, snapshot.since_boot, snapshot.wall, snapshot.persistent, _checksum(snapshot)),
        )

    def load(self) -> ClockSnapshot | None:
        """See ``relay.commands.LoadClock``."""
        row: Any = self._connection.execute(
            "SELECT CAST(boot AS BLOB), since_boot, wall, steady, checksum FROM relay_time"
        ).fetchone()
        if row is None:
            return None
        boot, since_boot, wall, persistent, checksum = row
        snapshot = ClockSnapshot((boot or b"").decode("ascii", "replace"), since_boot, wall, persistent)
        if _checksum(snapshot) != checksum:
            log(Event.TIME_DAMAGED)
            return None
        return snapshot


class SQLiteLimitStore:
    """What counted towards the limits at the last stop."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def save(self, limits: KeptLimits) -> None:
        """See ``relay.commands.SaveLimits``."""
        times = msgspec.msgpack.encode(limits.times)
        self._connection.execute(
            "INSERT OR REPLACE INTO relay_limits (only, hash_key, times, checksum) VALUES (1, ?, ?, ?)",
            (limits.key, times, crc32(limits.key + times)),
        )

    def take(self) -> KeptLimits | None:
        """See ``relay.commands.TakeLimits``."""
        row = self._row()
        if row is not None:
            self._connection.execute("DELETE FROM relay_limits")
        return _limits(row)

    def load(self) -> KeptLimits | None:
        """What is kept; None if there is nothing, or it is damaged."""
        return _limits(self._row())

    def _row(self) -> Any:
        return self._connection.execute("SELECT hash_key, times, checksum FROM relay_limits").fetchone()


def _limits(row: Any) -> KeptLimits | None:
    if row is None:
        return None
    key, times, checksum = row
    if not (isinstance(key, bytes) and isinstance(times, bytes)) or crc32(key + times) != checksum:
        return None
    return KeptLimits(key, msgspec.msgpack.decode(times, type=dict[bytes, list[int]]))


def _checksum(snapshot: ClockSnapshot) -> int:
    return crc32(f"{snapshot.boot} {snapshot.since_boot} {snapshot.wall} {snapshot.persistent}".encode())
