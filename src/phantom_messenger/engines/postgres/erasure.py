"""Deleted messages leave the files of the database.

A row that is deleted stays in its table's file, and in the log, until something else is written there. So once a
minute one of the relays has those parts of the mailboxes written anew from which something was deleted, then the log
ended and a checkpoint made, after which the servers delete what is behind it: on the primary and, as they replay it,
on its standbys. What the servers must be set to for that is in docs/cluster.md.

A part counts as written anew only when nothing that was deleted before is in it any more: a connection may break in
the middle, and whoever reads with an older view of the database makes the server copy what that view can still see.
"""

import threading
import time
from contextlib import suppress
from typing import Any, Final

import psycopg

from phantom_messenger.engines.postgres.connect import connect
from phantom_messenger.events import Event, log, report

EVERY_SECONDS: Final = 60.0
PART_SECONDS: Final = 4.0
"""How long a part may be locked while it is written anew: well below what a relay waits for an answer."""

MAX_PAUSE: Final = 60
"""Rounds for which a part is left alone, at most, that takes longer than that."""

_LOCK: Final = 2, 0
"""The advisory lock of the relay that does it."""

_SESSION: Final = (
    # A part that somebody reads is left for the next round: whoever waits for a lock holds up all who come after.
    "SET lock_timeout = '200ms'",
    # A relay that is paused must not keep the others from it.
    "SET idle_session_timeout = '30s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_user_timeout = '20s'",
)
_XIDS: Final = 2**32
"""Numbers of transactions as tables have them: they begin again."""


MAX_KEPT_FILES: Final = 4
"""So many files of the log that ``wal_keep_size`` keeps are filled up each time: 64 MB."""

_KEPT_FILES: Final = """
    SELECT ceil(pg_size_bytes(current_setting('wal_keep_size'))::numeric
        / pg_size_bytes(current_setting('wal_segment_size')))::integer"""


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
        self._has_counts = False
        """Whether the server still counts from where it did when those were seen."""
        self._kept: dict[int, int] = {}
        """Parts that hold something deleted after the last round, and the oldest view of the database then; 0 if they
        could not be written at all."""
        self._pauses: dict[int, tuple[int, int]] = {}
        """Parts that took too long: the round in which they are tried again, and for how many they were left alone."""
        self._round = 0
        self._is_log_due = False
        self._is_refused = False
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin a round if it is time for one, and none is under way."""
        if time.monotonic() < self._due_at or (self._thread is not None and self._thread.is_alive()):
            return
        self._due_at = time.monotonic() + EVERY_SECONDS
        self._thread = threading.Thread(target=self._try, name="erasure", daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """The database was away: after a crash it counts what is deleted from nothing."""
        self._has_counts = False

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
            for setting in _SESSION:
                connection.execute(setting.encode())
            row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK).fetchone()
            if not row or not row[0]:
                return
            self._run_alone(connection)
            # The server would end the session, and with it the lock, a moment later: a round could find it taken by
            # the one before.
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", _LOCK)

    def _run_alone(self, connection: "psycopg.Connection[Any]") -> None:
        self._round += 1
        changed = self._changed(connection)
        self._is_log_due = self._is_log_due or bool(changed)
        news = {self._write_anew(connection, part, deleted) for part, deleted in changed.items()}
        for event in (Event.LOG_KEPT, Event.ERASURE_LATE):
            if event in news:
                log(event)
        if self._is_log_due:
            self._end_log(connection)
            self._is_log_due = False

    def _changed(self, connection: "psycopg.Connection[Any]") -> dict[int, int]:
        """Parts from which something was deleted since they were written anew, and how often; all, at first."""
        if not self._has_counts:
            self._has_counts = True
            self._seen = {}
        rows = connection.execute(
            "SELECT substring(relname from 'items_(.*)')::integer, n_tup_del + n_tup_upd FROM pg_stat_user_tables"
            " WHERE relname ~ '^items_[0-9]+$' AND schemaname = 'phantom'"
        ).fetchall()
        return {
            part: deleted
            for part, deleted in rows
            if self._seen.get(part) != deleted and self._pauses.get(part, (0, 0))[0] <= self._round
        }

    def _write_anew(self, connection: "psycopg.Connection[Any]", part: int, deleted: int) -> Event | None:
        """Write a part anew; what there is to say of it if what was deleted stays for more than a round."""
        before = self._kept.pop(part, None)
        now = _next_xid(connection)
        begun = time.monotonic()
        try:
            oldest = _rewrite(connection, part)
        except psycopg.errors.LockNotAvailable:  # somebody reads it, as pg_dump does
            self._kept[part] = 0
            return Event.LOG_KEPT if before == 0 else None
        except psycopg.errors.DiskFull:  # the relays say so; the log is what can still be made smaller
            return None
        except psycopg.errors.QueryCanceled:
            self._pause(part)
            return Event.ERASURE_LATE
        self._pauses.pop(part, None)
        time.sleep(time.monotonic() - begun)  # for those who have waited for the lock
        if (oldest - now) % _XIDS < _XIDS // 2:
            self._seen[part] = deleted
            return None
        self._kept[part] = oldest
        return Event.LOG_KEPT if before == oldest else None

    def _pause(self, part: int) -> None:
        """A part takes too long: its users would wait again and again."""
        _, rounds = self._pauses.get(part, (0, 0))
        rounds = min(max(1, rounds * 2), MAX_PAUSE)
        self._pauses[part] = self._round + rounds, rounds

    def _end_log(self, connection: "psycopg.Connection[Any]") -> None:
        """Have the servers delete the log of what was done up to now: so many files more as they keep on purpose."""
        row = connection.execute(_KEPT_FILES).fetchone()
        kept = int(row[0]) if row else 0
        try:
            for _ in range(1 + min(kept, MAX_KEPT_FILES)):
                connection.execute("SELECT pg_switch_wal()")
                connection.execute("CHECKPOINT")  # a file that nothing was written to is not ended
        except psycopg.errors.InsufficientPrivilege:
            if not self._is_refused:
                log(Event.ERASURE_REFUSED)
            self._is_refused = True
        if kept > MAX_KEPT_FILES:
            log(Event.LOG_KEPT)


def _next_xid(connection: "psycopg.Connection[Any]") -> int:
    """Above the numbers of all transactions that have ended."""
    row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
    return int(row[0]) if row else 0


def _end_timeout(connection: "psycopg.Connection[Any]") -> None:
    """Let statements take as long as they do; this one has the timeout as well, and a busy server may exceed it."""
    for _ in range(100):
        with suppress(psycopg.errors.QueryCanceled):
            connection.execute("SET statement_timeout = 0")
            return


def _rewrite(connection: "psycopg.Connection[Any]", part: int) -> int:
    """Write a part anew; what transactions below the returned number have deleted is not in it any more.

    Raises:
        psycopg.errors.LockNotAvailable: somebody works with it.
        psycopg.errors.QueryCanceled: it takes too long.
        psycopg.errors.DiskFull: there is no room for a copy of it.
    """
    connection.execute(f"SET statement_timeout = {round(PART_SECONDS * 1_000)}".encode())
    try:
        connection.execute(f"VACUUM (FULL) phantom.items_{part}".encode())
    finally:
        if not connection.broken:
            _end_timeout(connection)
    # The server freezes everything that it copies, up to the oldest view that somebody may have.
    row = connection.execute(
        "SELECT relfrozenxid::text::bigint FROM pg_class WHERE oid = %s::regclass", (f"phantom.items_{part}",)
    ).fetchone()
    return int(row[0]) if row else 0
