"""What may be seen of a device whose user looks absent.

No receipts, no questions for what could not be read, nothing that somebody has asked for
again: they wait until the user writes to whom they concern, or lets them know otherwise.
"""

from collections.abc import Iterable

from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.records import OutboxRecord


class Visibility:
    """Who may see that this device is there.

    Args:
        outbox: what waits for whom.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.is_absent = False
        """Whether nothing may be said that the user has not caused."""
        self._may_know: set[str] = set()
        """Users who may receive what waits for them once."""
        self._freed: set[str] = set()
        """Receipts, and messages to be sent again, that may leave all the same."""
        self._introduced: set[str] = set()
        """Users whose key may be asked for all the same."""

    def show(self, peer: str) -> None:
        """What waits for this user may be said: the user lets them know that they are there."""
        if self.is_absent:
            self._may_know.add(peer)
            self._freed.update(self._outbox.to_resend(peer))

    def may_know(self, peer: str) -> bool:
        """Whether this user may receive what waits for them."""
        return not self.is_absent or peer in self._may_know

    def forget_all_but(self, peers: Iterable[str]) -> None:
        """Nothing waits for other users any more."""
        self._may_know &= set(peers)

    def free(self, message_id: str) -> None:
        """An entry may leave, for its recipient may know."""
        if self.is_absent:
            self._freed.add(message_id)

    def is_hidden(self, entry: OutboxRecord) -> bool:
        """Whether an entry is to wait."""
        is_of_user = entry.text is not None and not entry.again
        return not is_of_user and entry.message_id not in self._freed and self.is_hidden_from(entry.peer)

    def is_hidden_from(self, peer: str) -> bool:
        """Whether this user is to see nothing of the device."""
        return self.is_absent and not self._outbox.is_for(peer)

    def introduce(self, peer: str) -> None:
        """The user has asked for this user's key."""
        self._introduced.add(peer)

    def may_introduce(self, peer: str) -> bool:
        """Whether this user's key may be asked for."""
        return peer in self._introduced or not self.is_hidden_from(peer)
