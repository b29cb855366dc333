"""The content of a database that no relay works on, to be copied from there or into it.

A copy is one transaction: until it is committed, the database is as it was.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import psycopg
from psycopg import errors, sql

from phantom_messenger.clock import ClockSnapshot, boot_id, since_boot_ms
from phantom_messenger.engines.content import (
    ITEMS,
    LIMITS,
    NUMBERS,
    ORDERS,
    TOMBSTONES,
    Row,
    Table,
    Writer,
    as_limits,
    contradiction,
    limit_rows,
)
from phantom_messenger.engines.errors import StoreError, StoreUnusable
from phantom_messenger.engines.postgres import schema
from phantom_messenger.engines.postgres.connect import connect, place_of, refuse_old, take_alone, unusable
from phantom_messenger.relay.records import KeptLimits

_TYPES: Final = {
    "active_on": "int4",
    "grouped": "int2",
    "kind": "int2",
    "standing": "int2",
    "text": "bytea",
    "written_on": "int4",
    **dict.fromkeys(("author", "last", "writers"), "bytea"),
    **dict.fromkeys(("user_id", "public_key", "conversation", "blocked", "key", "signature", "name", "list"), "text"),
}
"""Of columns that are no ``bigint``; ``sender`` is a number in some tables, and a user id in others."""

_SESSION: Final = (
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '10s';"
    " SET client_encoding = 'UTF8'; SET synchronous_commit = 'on'"
)
_EMPTIED: Final = ("orders", "tombstones", "sessions", "presence_changes", "relays", "relay_time", "relay_limits")
"""What relays may have left in a database without accounts; a copy has its own, or none."""

_COUNTERS: Final = {"written": "entry", "one_time_prekeys": "entry"}
"""Columns that go on counting behind the highest number that is there."""

_LAST_ACCOUNT: Final = (
    "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM phantom.accounts_account_seq"
)
_FULLNESS: Final = (
    "UPDATE phantom.mailboxes AS m SET messages_at_most = i.messages, bytes_at_most = i.bytes FROM ("
    " SELECT recipient, count(*) FILTER (WHERE kind = 1) AS messages, sum(length(text) + 256) AS bytes"
    " FROM phantom.items GROUP BY recipient) AS i WHERE m.account = i.recipient"
)


class PostgresContent:
    """The rows of a database.

    Args:
        connection: to it, in a transaction.
        url: of it.
        called: what the user knows the URL as.
    """

    def __init__(self, connection: "psycopg.Connection[Any]", url: str, called: str) -> None:
        self._connection = connection
        self._url = url
        self._called = called
        self.place = place_of(url)
        self.damaged: list[int] = []

    @property
    def quarantined(self) -> int:
        """See ``Original``; the server has checksums of its own."""
        return 0

    def clock(self) -> ClockSnapshot:
        """See ``Original``; as for a relay that starts here."""
        boot, since_boot = boot_id(), since_boot_ms()
        _, persistent = self._one("SELECT * FROM begin_clock(%s, %s)", boot, since_boot)
        return ClockSnapshot(boot, since_boot, time.time_ns() // 1_000_000, persistent)

    def count(self, table: Table) -> int:
        """See ``Content``."""
        if table is LIMITS:
            return sum(1 for _ in self._limits())
        return 1 if table is NUMBERS else int(self._one(f"SELECT count(*) FROM phantom.{table.name}")[0])  # noqa: S608 - a name of ours

    def rows(self, table: Table) -> Iterator[Row]:
        """See ``Content``."""
        if table is LIMITS:
            return self._limits()
        return iter([self._one(_LAST_ACCOUNT)]) if table is NUMBERS else self._stored(table)

    def _stored(self, table: Table) -> Iterator[Row]:
        columns = ", ".join(table.columns)
        order = " ORDER BY stored_at, recipient, seq" if table is ITEMS else ""
        query = f"COPY (SELECT {columns} FROM phantom.{table.name}{order}) TO STDOUT (FORMAT BINARY)"  # noqa: S608 - names of ours
        with self._translated(), self._connection.cursor() as cursor, cursor.copy(query.encode()) as copying:
            copying.set_types(_types(table))
            yield from copying.rows()

    def _limits(self) -> Iterator[Row]:
        with self._translated():
            rows = self._connection.execute("SELECT hash_key, times FROM phantom.relay_limits").fetchall()
        for key, times in rows:
            yield from limit_rows(KeptLimits(key, msgspec.msgpack.decode(times, type=dict[bytes, list[int]])))

    def _one(self, query: str, *values: object) -> Row:
        with self._translated():
            row = self._connection.execute(query.encode(), values).fetchone()
        assert row is not None  # noqa: S101 - queries with one row
        found: Row = row
        return found

    # --- writing --------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self, table: Table) -> Iterator[Writer]:
        """See ``Copy``."""
        with self._translated(table.name):
            if table is LIMITS or table is NUMBERS:
                rows: list[Row] = []
                yield rows.extend
                self._write_few(table, rows)
                return
            with self._connection.cursor() as cursor, cursor.copy(_copy_in(table)) as copying:
                copying.set_types(_types(table))

                def write(rows: Iterable[Row]) -> None:
                    for row in rows:
                        copying.write_row(row)

                yield write
            if table.name in _COUNTERS:
                column = _COUNTERS[table.name]
                [(highest,)] = self._connection.execute(
                    f"SELECT coalesce(max({column}), 0) FROM phantom.{table.name}".encode()  # noqa: S608 - as above
                )
                self._count_on(table.name, column, highest)

    def _write_few(self, table: Table, rows: list[Row]) -> None:
        if table is NUMBERS:
            self._count_on("accounts", "account", rows[0][0])
        elif rows:
            kept = as_limits(rows)
            self._connection.execute(
                "INSERT INTO phantom.relay_limits (hash_key, times) VALUES (%b, %b)",
                (kept.key, msgspec.msgpack.encode(kept.times)),
            )

    def _count_on(self, table: str, column: str, highest: int) -> None:
        self._connection.execute(
            sql.SQL("ALTER TABLE phantom.{} ALTER COLUMN {} RESTART WITH {}").format(
                sql.Identifier(table), sql.Identifier(column), sql.Literal(highest + 1)
            )
        )

    def finish(self, clock: ClockSnapshot) -> None:
        """See ``Copy``."""
        with self._translated():
            self._connection.execute(_FULLNESS)
            self._connection.execute(
                "SELECT save_clock(%s, %s, %s, %s)", (clock.boot, clock.since_boot, clock.wall, clock.persistent)
            )
            self._connection.execute("ANALYZE phantom.accounts, phantom.mailboxes, phantom.items, phantom.written")

    @contextlib.contextmanager
    def _translated(self, table: str = "") -> Iterator[None]:
        with _translating(self._url, self._called):
            try:
                yield
            except (psycopg.DataError, psycopg.IntegrityError):
                if not table:
                    raise
                raise contradiction(table) from None


def _types(table: Table) -> list[str]:
    types = [_TYPES.get(column, "int8") for column in table.columns]
    if table in {ITEMS, TOMBSTONES}:
        types[table.columns.index("sender")] = "text"
    if table is ORDERS:
        types[table.columns.index("name")] = "bytea"
    return types


def _copy_in(table: Table) -> bytes:
    return f"COPY phantom.{table.name} ({', '.join(table.columns)}) FROM STDIN (FORMAT BINARY)".encode()


@contextlib.contextmanager
def _translating(url: str, called: str) -> Iterator[None]:
    try:
        yield
    except errors.DataCorrupted as error:
        raise StoreError(f"{place_of(url)} is damaged ({str(error).partition(chr(10))[0]}); restore it") from None
    except (psycopg.Error, schema.NewerSchema) as error:
        raise unusable(error, url, called) from None


@contextlib.contextmanager
def original(url: str, called: str) -> Iterator[PostgresContent]:
    """A database with a store, from which relays are kept away; an older one is brought to this version first.

    Raises:
        StoreError: there is no store, a relay works on it, or it cannot be used.
    """
    with _translating(url, called), _alone(url, called) as connection:
        row = connection.execute("SELECT to_regclass('phantom.migrations') IS NOT NULL").fetchone()
        if not row or not row[0]:
            raise StoreUnusable(f"there is no store in {place_of(url)}")
        schema.install(connection)
        _name_functions(connection)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            yield PostgresContent(connection, url, called)


@contextlib.contextmanager
def copy(url: str, called: str) -> Iterator[PostgresContent]:
    """A database without accounts, from which relays are kept away; it is filled when this context ends well.

    Raises:
        StoreError: it is not empty, a relay works on it, or it cannot be used.
    """
    with _translating(url, called), _alone(url, called) as connection, connection.transaction():
        schema.install(connection)
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM phantom.accounts) OR EXISTS (SELECT FROM phantom.items)"
        ).fetchone()
        if not row or row[0]:
            raise StoreUnusable(
                f"there is a store with accounts in {place_of(url)}; name another database, or empty it:"
                " docs/cluster.md says how"
            )
        _name_functions(connection)
        for table in _EMPTIED:
            connection.execute(sql.SQL("DELETE FROM phantom.{}").format(sql.Identifier(table)))
        yield PostgresContent(connection, url, called)


@contextlib.contextmanager
def _alone(url: str, called: str) -> "Iterator[psycopg.Connection[Any]]":
    with contextlib.closing(connect(url)) as connection:
        refuse_old(connection, called)
        connection.execute(_SESSION.encode())
        if not take_alone(connection):
            raise StoreError(f"a relay, or another copy, is at work on {place_of(url)}; stop all relays on it")
        yield connection


def _name_functions(connection: "psycopg.Connection[Any]") -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, (schema.functions_schema(), schema.TABLES)))
    connection.execute(sql.SQL("SET search_path = {}").format(names))
