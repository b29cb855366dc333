"""What users who look absent have received, until they show themselves.

Their senders must not learn that a device is there. So they are told what they would be told if it were not:
nothing, then `expired` when the time of a message comes. When the user comes, they are told what became of it
meanwhile, as if it had only now arrived. And the messages count as if they still filled the mailbox.

It is kept in memory: after a restart senders know less, and a flood that has begun before can see the difference.
"""

import heapq
from collections.abc import Iterator
from typing import Final, NamedTuple

from phantom_messenger.wire.frames import Status

MAX_UNSHOWN: Final = 100_000
"""Messages of all users together (about 40 MB); beyond it the user who has looked absent for longest is forgotten."""


class Name(NamedTuple):
    """A message of somebody's mailbox."""

    sender: str
    message_id: str


class Fate(NamedTuple):
    """What has become of it, and when its time comes, in steady milliseconds, if it has one."""

    status: Status
    expires_at: int | None


class Unshown:
    """By user, in the order in which they began to look absent."""

    def __init__(self) -> None:
        self._users: dict[str, dict[Name, Fate]] = {}
        self._times: list[tuple[int, str, Name]] = []
        self._count = 0

    def count(self, user: str) -> int:
        """How many messages of a user count as if they had not been fetched."""
        return len(self._users.get(user, ()))

    def add(self, user: str, name: Name, fate: Fate) -> None:
        """A message was received, read or burned and nobody is told; a later fate keeps the time of an earlier one."""
        own = self._users.setdefault(user, {})
        earlier = own.get(name)
        self._count += earlier is None
        own[name] = fate if earlier is None else Fate(fate.status, earlier.expires_at)
        if earlier is None and fate.expires_at is not None:
            heapq.heappush(self._times, (fate.expires_at, user, name))
        if self._count > MAX_UNSHOWN:
            self.take(next(iter(self._users)))

    def take(self, user: str) -> list[tuple[Name, Fate]]:
        """The user shows itself, or is gone: what is to be told now."""
        own = self._users.pop(user, {})
        self._count -= len(own)
        return list(own.items())

    def expired(self, now: int) -> Iterator[tuple[str, Name]]:
        """Messages whose time has come, each once.

        Args:
            now: steady milliseconds.
        """
        while self._times and self._times[0][0] <= now:
            time, user, name = heapq.heappop(self._times)
            own = self._users.get(user, {})
            if name in own and own[name].expires_at == time:
                del own[name]
                self._count -= 1
                yield user, name
