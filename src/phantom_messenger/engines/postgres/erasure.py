"""Deleted messages leave the files of the database.

A row that is deleted stays in its table's file, and in the log, until something else is written there. So once a
minute one of the relays has those parts of the mailboxes written anew from which something was deleted, then the log
ended and a checkpoint made, after which the servers delete what is behind it: on the primary and, as they replay it,
on its standbys. What the servers must be set to for that is in docs/cluster.md.
"""

import threading
import time
from typing import Any, Final

import psycopg

from phantom_messenger.engines.postgres.connect import connect
from phantom_messenger.events import Event, log, report

EVERY_SECONDS: Final = 60.0
_LOCK: Final = 2, 0
"""The advisory lock of the relay that does it."""

_SESSION: Final = "SET lock_timeout = '200ms'; SET tcp_keepalives_idle = 10; SET tcp_user_timeout = '20s'"
"""A part that somebody reads is left for the next round: whoever waits for a lock holds up all who come after."""


class Erasure:
    """Works in a thread and on a connection of its own, so that messages do not wait for it.

    Args:
        url: of the database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._due_at = time.monotonic()
        self._seen: dict[int, int] = {}
        """How many rows had been deleted from each part when it was last written anew."""
        self._refused: set[int] = set()
        """Parts that could not be written anew in the last round."""
        self._is_refused = False
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin a round if it is time for one, and none is under way."""
        if time.monotonic() < self._due_at or (self._thread is not None and self._thread.is_alive()):
            return
        self._due_at = time.monotonic() + EVERY_SECONDS
        self._thread = threading.Thread(target=self._try, name="erasure", daemon=True)
        self._thread.start()

    def _try(self) -> None:
        try:
            self.run()
        except psycopg.OperationalError:
            self._due_at = time.monotonic()  # the database is away: as soon as it is back
        except Exception as error:  # noqa: BLE001 - the boundary: the next round may do better
            report(error)

    def run(self) -> None:
        """A round, unless another relay is at it.

        Raises:
            psycopg.Error: the database cannot be reached.
        """
        with connect(self._url) as connection:
            connection.execute(_SESSION.encode())
            row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK).fetchone()
            if not row or not row[0]:
                return
            parts = self._changed(connection)
            refused = {part for part in parts if not self._write_anew(connection, part)}
            if refused & self._refused:
                log(Event.LOG_KEPT)
            self._refused = refused
            if parts:
                self._end_log(connection)

    def _write_anew(self, connection: "psycopg.Connection[Any]", part: int) -> bool:
        """Whether it has been done; not while somebody reads the part for long, as pg_dump does."""
        try:
            connection.execute(f"VACUUM (FULL) phantom.items_{part}".encode())
        except psycopg.errors.LockNotAvailable:
            self._seen.pop(part, None)
            return False
        return True

    def _changed(self, connection: "psycopg.Connection[Any]") -> list[int]:
        """Parts from which something was deleted since they were written anew; all, at first."""
        rows = connection.execute(
            "SELECT substring(relname from 'items_(.*)')::integer, n_tup_del + n_tup_upd FROM pg_stat_user_tables"
            " WHERE relname ~ '^items_[0-9]+$' AND schemaname = 'phantom'"
        ).fetchall()
        changed = [part for part, deleted in rows if self._seen.get(part) != deleted]
        self._seen = dict(rows)
        return changed

    def _end_log(self, connection: "psycopg.Connection[Any]") -> None:
        """Have the servers delete the log of what was done up to now."""
        try:
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
        except psycopg.errors.InsufficientPrivilege:
            if not self._is_refused:
                log(Event.ERASURE_REFUSED)
            self._is_refused = True
