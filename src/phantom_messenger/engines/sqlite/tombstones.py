"""Digests of messages that were deleted from a mailbox recently, so that a late re-send is not delivered twice.

They are in memory alone. Only the copy of a database has some in a table, and the first relay that starts on it takes
them.
"""

import contextlib
from collections import deque
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import apsw

from phantom_messenger.relay.commands import KEEP_REMOVED_MS

MessageKey = tuple[str, str, str]
"""Recipient, sender, message id."""

MAX_REMEMBERED: Final = 200_000
"""How many deleted ids are remembered at most (about 25 MB); the oldest are forgotten first, an eighth at a time."""

_PARTS: Final = 8
_PART_MS: Final = KEEP_REMOVED_MS // (_PARTS - 2)
_DIGEST_BYTES: Final = 16


class RecentlyDeleted:
    """A bounded memory that follows the store's transactions.

    It is kept in parts, of which the oldest is dropped as a whole: a single dict from which as much is
    removed as is added is copied again and again, and the process grows with it.
    """

    def __init__(self) -> None:
        self._parts: deque[dict[bytes, int]] = deque([{}], maxlen=_PARTS)
        self._journal: list[tuple[bytes, int | None]] = []
        """What was added in this transaction, and what it replaced."""
        self._until = 0

    def restore(self, known: Iterable[tuple[MessageKey, int]]) -> None:
        """Remember what another memory held, and until when; the oldest come first."""
        for key, until in known:
            newest = self._parts[-1]
            if len(newest) >= MAX_REMEMBERED // _PARTS:
                self._parts.append(newest := {})
            newest[_digest(key)] = self._until = until

    def savepoint(self) -> int:
        """A point in the current transaction."""
        return len(self._journal)

    def rollback_to(self, savepoint: int) -> None:
        """Forget what was added since a savepoint."""
        newest = self._parts[-1]
        # Backwards: of an id that was added twice, the first entry knows what there was before.
        for digest, before in reversed(self._journal[savepoint:]):
            if before is None:
                newest.pop(digest, None)
            else:
                newest[digest] = before
        del self._journal[savepoint:]

    def commit(self) -> None:
        """The transaction is on disk."""
        self._journal.clear()
        newest = self._parts[-1]
        # A part begins between transactions only, so that a rollback finds all that it has to undo in the newest one.
        is_full = len(newest) >= MAX_REMEMBERED // _PARTS
        if newest and (is_full or self._until - next(iter(newest.values())) >= _PART_MS):
            self._parts.append({})

    def add(self, key: MessageKey, now: int) -> None:
        """Remember from ``now`` (milliseconds) on."""
        if now >= self._until:
            self._parts.clear()  # all of it is over
            self._parts.append({})
        if now + KEEP_REMOVED_MS != self._until:  # one number serves all of a moment
            self._until = now + KEEP_REMOVED_MS
        digest, newest = _digest(key), self._parts[-1]
        # Taken out and put back, so that it stands at the end: a part is as old as its first entry.
        self._journal.append((digest, newest.pop(digest, None)))
        newest[digest] = self._until

    def holds(self, key: MessageKey, now: int) -> bool:
        """Whether it was deleted less than ten minutes ago."""
        digest = _digest(key)
        for part in self._parts:  # noqa: SIM110 - a generator costs as much again
            if digest in part and part[digest] > now:
                return True
        return False


def _digest(key: MessageKey) -> bytes:
    return blake2b("\0".join(key).encode(), digest_size=_DIGEST_BYTES).digest()


def keep(connection: apsw.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Put rows (number of the recipient, sender, message id, until when) into the table of a copy."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS tombstones (recipient INTEGER NOT NULL, sender TEXT NOT NULL, name TEXT NOT NULL,"
        " until INTEGER NOT NULL) STRICT"
    )
    connection.executemany("INSERT INTO tombstones (recipient, sender, name, until) VALUES (?, ?, ?, ?)", rows)


def has_kept(connection: apsw.Connection) -> bool:
    """Whether that table is there."""
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'tombstones')").get)


def take_kept(connection: apsw.Connection) -> list[tuple[MessageKey, int]]:
    """What is in that table, as much as is remembered at most, the oldest first; the table is deleted."""
    rows: Any = []
    with contextlib.suppress(apsw.Error):  # what is not read, or not deleted, harms nobody: it is over in minutes
        if has_kept(connection):
            rows = connection.execute(
                "SELECT user_id, sender, name, until FROM tombstones JOIN accounts ON account = recipient"
                " ORDER BY until DESC LIMIT ?",
                (MAX_REMEMBERED,),
            ).fetchall()
            connection.execute("DROP TABLE tombstones")
    return [((recipient, sender, name), until) for recipient, sender, name, until in reversed(rows)]
