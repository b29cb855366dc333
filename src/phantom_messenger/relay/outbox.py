"""What one connection still has to be sent: gathered over a turn, written at once, bounded."""

from typing import Final

from phantom_messenger.relay.ports import Connection

HIGH_WATER: Final = 196_608
"""Bytes waiting for a slow reader above which its mailbox is no longer pushed but left on disk.

With the one message that passes it, at most 256 KiB are held for a reader.
"""

LOW_WATER: Final = 65_536
"""Bytes below which the mailbox is read on."""

PAGE: Final = HIGH_WATER - LOW_WATER
"""Bytes of a mailbox that are read with a login."""

OVERFLOW: Final = 1_048_576
"""Bytes of answers that a client may leave unread before it is cut."""


STALL_MS: Final = 9_000
"""How long a client may take nothing of what waits for it; then it is cut within a second. Its mail stays on disk."""


class Outbox:
    """Messages of one turn for one connection.

    Args:
        connection: takes them.
        now: monotonic milliseconds.
    """

    __slots__ = ("_acked", "_bytes", "_connection", "_messages", "_moved_at")

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self._messages: list[bytes] = []
        self._bytes = 0
        self._acked = 0
        self._moved_at = now

    def push(self, message: bytes) -> None:
        """Add one text message, UTF-8."""
        self._messages.append(message)
        self._bytes += len(message)

    def flush(self) -> bool:
        """Hand all of it to the connection in one write; whether the client has left too much unread."""
        if self._messages:
            messages, self._messages = self._messages, []
            self._bytes = 0
            self._connection.write(messages)
        return self._connection.buffered() > OVERFLOW

    def level(self) -> int:
        """Bytes that are on their way here or in the socket's buffer."""
        return self._bytes + self._connection.buffered()

    def room(self) -> int:
        """How many bytes of the mailbox may be read for it now; 0 until the client has taken most of what it has."""
        level = self.level()
        return HIGH_WATER - level if level < LOW_WATER else 0

    def overflows(self) -> bool:
        """Whether the client has left too much unread."""
        return self._connection.buffered() > OVERFLOW

    def is_stalled(self, now: int) -> bool:
        """Whether the client has read nothing of what waits for it for too long."""
        # Whoever has nothing to read cannot stall: the time runs from what is written next.
        if not self._connection.buffered():
            self._moved_at = now
        elif (acked := self._connection.bytes_acked()) > self._acked:
            self._acked = acked
            self._moved_at = now
        return now - self._moved_at > STALL_MS
