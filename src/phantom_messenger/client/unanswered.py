"""Messages that their recipients have not answered: what a later answer has overtaken is presumed lost in the end.

In memory; whoever uses it knows from the disk what waits. Times are monotonic milliseconds.
"""

from collections.abc import Callable
from typing import Final

LOST_MS: Final = 660_000
"""How long a message may be overtaken before it counts as lost: longer than the relay remembers ids."""


class Unanswered:
    """What was accepted by the relay for each recipient, and not answered by them."""

    def __init__(self) -> None:
        self.waiting: dict[str, dict[str, None]] = {}
        """Ids of messages by recipient, in the order in which they were accepted."""
        self._overtaken_since: dict[tuple[str, str], int] = {}
        """Messages that were overtaken by an answered one, by recipient and id."""

    def put(self, peer: str, message_id: str) -> None:
        """A message was accepted, perhaps once more: it is the last one now."""
        self.answered(peer, message_id)
        self.waiting.setdefault(peer, {})[message_id] = None

    def answered(self, peer: str, message_id: str) -> None:
        """It was answered, or no answer will come."""
        waiting = self.waiting.get(peer, {})
        waiting.pop(message_id, None)
        if not waiting:
            self.waiting.pop(peer, None)

    def drop(self, peer: str) -> None:
        """No answer of this user is waited for."""
        self.waiting.pop(peer, None)

    def overtaken(self, peer: str, answered: list[str], is_queued: Callable[[str], bool]) -> list[str]:
        """Messages that were accepted before one of ``answered`` and are not among them.

        Args:
            peer: who has answered.
            answered: ids, of messages to them or others.
            is_queued: whether a message is to be sent again anyway.
        """
        waiting = self.waiting.get(peer, {})
        left = {message_id for message_id in answered if message_id in waiting}
        before: list[str] = []
        for name in waiting:
            if not left:
                break
            if name in left:
                left.discard(name)
            elif not is_queued(name):
                before.append(name)
        return before

    def suspect(self, peer: str, message_ids: list[str], now: int) -> None:
        """Messages were overtaken: ``presumed_lost`` names them if they stay unanswered for ``LOST_MS``.

        Not at once: the relay takes an id for a duplicate for ten minutes after its recipient had it.
        """
        for message_id in message_ids:
            self._overtaken_since.setdefault((peer, message_id), now)

    def presumed_lost(self, now: int) -> dict[str, list[str]]:
        """Suspected messages whose time has come, by user; each is named once."""
        found: dict[str, list[str]] = {}
        for (peer, message_id), since in list(self._overtaken_since.items()):
            if message_id not in self.waiting.get(peer, {}):
                del self._overtaken_since[peer, message_id]
            elif now - since >= LOST_MS:
                del self._overtaken_since[peer, message_id]
                found.setdefault(peer, []).append(message_id)
        return found
