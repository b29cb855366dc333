"""What several users change in order, in SQLite: the last revision of each."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw

from phantom_messenger.engines.sqlite.directory import DAY_MS
from phantom_messenger.relay.many_commands import (
    ORDER_BYTES,
    Order,
    OrderRefusal,
    StoredOrder,
    judge,
)
from phantom_messenger.wire.limits import MAX_ORDER_AGAIN
from phantom_messenger.wire.orders import DIGEST_BYTES

_FORGOTTEN_AT_ONCE: Final = 4_096


class SQLiteOrders:
    """The last revisions.

    Args:
        connection: to the database.
        has_room: whether so many bytes can be added.
    """

    def __init__(self, connection: apsw.Connection, has_room: Callable[[int], bool]) -> None:
        self._connection = connection
        self._has_room = has_room

    def take(self, order: Order, now: int) -> OrderRefusal | None:
        """Store a revision if it is the next one, or is stored already; otherwise why not."""
        row: Any = self._connection.execute(
            "SELECT revision, writers, last, author FROM orders WHERE name = ?", (order.name,)
        ).fetchone()
        stored = None if row is None else StoredOrder(row[0], _divided(row[1]), _divided(row[2]), row[3])
        last = () if stored is None else stored.last
        if order.last in last:
            return None
        refused = judge(order, stored)
        if refused is not None:
            return refused
        if not self._has_room(ORDER_BYTES):
            raise apsw.FullError("no room")
        self._connection.execute(
            "INSERT OR REPLACE INTO orders (name, revision, writers, last, author, written_on)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                order.name,
                order.revision,
                b"".join(order.writers),
                _joined(order.last, last),
                order.author,
                now // DAY_MS,
            ),
        )
        return None

    def forget(self, written_before: int) -> None:
        """See ``ForgetOrders``."""
        self._connection.execute(
            "DELETE FROM orders WHERE name IN"
            " (SELECT name FROM orders WHERE written_on < ? ORDER BY written_on LIMIT ?)",
            (written_before // DAY_MS, _FORGOTTEN_AT_ONCE),
        )


def _divided(digests: bytes) -> list[bytes]:
    return [digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)]


def _joined(newest: bytes, others: Sequence[bytes]) -> bytes:
    return b"".join((newest, *others)[:MAX_ORDER_AGAIN])
