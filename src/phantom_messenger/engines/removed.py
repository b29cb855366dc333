"""Ids of messages that left a mailbox not long ago, so that a late re-send is not delivered twice."""

from phantom_messenger.relay.ports import KEEP_REMOVED_MS, MAX_REMEMBERED

MessageKey = tuple[str, str, str]
"""Recipient, sender, message id."""


class Removed:
    """A bounded memory that follows the store's transactions."""

    def __init__(self) -> None:
        self._until: dict[MessageKey, int] = {}
        self._journal: list[MessageKey] = []

    def mark(self) -> int:
        """A place in the current transaction."""
        return len(self._journal)

    def undo(self, mark: int) -> None:
        """Forget what was added behind a mark."""
        for key in self._journal[mark:]:
            self._until.pop(key, None)
        del self._journal[mark:]

    def keep(self) -> None:
        """The transaction is on disk."""
        self._journal.clear()

    def add(self, key: MessageKey, now: int) -> None:
        """Remember from ``now`` (milliseconds) on."""
        self._until.pop(key, None)
        self._until[key] = now + KEEP_REMOVED_MS
        self._journal.append(key)
        while self._until:
            oldest = next(iter(self._until))
            if len(self._until) <= MAX_REMEMBERED and self._until[oldest] > now:
                break
            del self._until[oldest]

    def holds(self, key: MessageKey, now: int) -> bool:
        """Whether it was removed less than ten minutes ago."""
        return self._until.get(key, 0) > now
