"""Digests of messages that were deleted from a mailbox recently, so that a late re-send is not delivered twice."""

from collections import deque
from hashlib import blake2b
from typing import Final

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

    def savepoint(self) -> int:
        """A point in the current transaction."""
        return len(self._journal)

    def rollback_to(self, savepoint: int) -> None:
        """Forget what was added since a savepoint."""
        newest = self._parts[-1]
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
