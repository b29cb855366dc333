"""What users who look absent have received, until they show themselves.

Their senders must not learn that a device is there. So they are told what they would be told if it were not:
nothing, then `expired` when the time of a message comes. When the user comes, or writes to the sender, that one is
told what became of it meanwhile, as if it had only now arrived. And for a day the messages count as if they still
filled the mailbox: longer would keep the mail of somebody who never shows itself away for good.

It is kept in memory: after a restart senders know less, and a flood that has begun before can see the difference.
"""

import heapq
from collections.abc import Iterator
from typing import Final, NamedTuple

from phantom_messenger.wire.frames import Status
from phantom_messenger.wire.limits import MAX_BACKLOG

MAX_UNSHOWN: Final = 100_000
"""Messages of all users together (about 40 MB); beyond it the user who has looked absent for longest is forgotten."""

COUNTS_MS: Final = 24 * 3_600_000
"""How long a message counts as if it had not been fetched."""


_SLACK: Final = 1_024
"""Numbers of what has gone that may stand in the order of times."""


class Name(NamedTuple):
    """A message of somebody's mailbox."""

    sender: str
    message_id: str


class Fate(NamedTuple):
    """What has become of it and when, and when its time comes if it waited then; both in steady milliseconds."""

    status: Status
    at: int
    expires_at: int | None


class _Kept(NamedTuple):
    fate: Fate
    number: int


class Unshown:
    """By user, in the order in which they began to look absent, and by sender.

    What is to expire stands in the order of times by a number: so nothing of whoever has shown itself stays
    there, and of messages that expire at once the first is told first, as by a mailbox.
    """

    def __init__(self) -> None:
        self._users: dict[str, dict[str, dict[str, _Kept]]] = {}
        self._times: list[tuple[int, int]] = []
        self._due: dict[int, tuple[str, Name]] = {}
        self._count = 0
        self._last = 0

    def has_no_room(self, user: str, name: Name, now: int) -> bool:
        """Whether there would be no place for a message if nothing of its sender's had been fetched.

        Args:
            user: whose mailbox it is.
            name: of the message; one that waits as far as its sender knows needs no place.
            now: steady milliseconds.
        """
        own = self._users.get(user, {}).get(name.sender, {})
        if len(own) < MAX_BACKLOG or name.message_id in own:
            return False
        counts = [kept for kept in own.values() if kept.fate.at > now - COUNTS_MS and kept.fate.expires_at is not None]
        return len(counts) >= MAX_BACKLOG

    def add(self, user: str, name: Name, fate: Fate) -> None:
        """A message was received, read or burned and nobody is told; a later fate keeps the times of an earlier one."""
        own = self._users.setdefault(user, {}).setdefault(name.sender, {})
        if earlier := own.get(name.message_id):
            own[name.message_id] = earlier._replace(fate=earlier.fate._replace(status=fate.status))
            return
        self._last += 1
        own[name.message_id] = _Kept(fate, self._last)
        self._count += 1
        if fate.expires_at is not None:
            self._due[self._last] = user, name
            heapq.heappush(self._times, (fate.expires_at, self._last))
        if len(own) > MAX_BACKLOG:
            self._drop([own.pop(next(iter(own)))])
        if self._count > MAX_UNSHOWN:
            self.take(next(iter(self._users)))

    def take(self, user: str, sender: str | None = None) -> list[tuple[Name, Fate]]:
        """The user shows itself, to all or to one sender, or is gone: what is to be told now."""
        senders = self._users.get(user, {})
        shown = {one: senders.pop(one, {}) for one in (list(senders) if sender is None else [sender])}
        if not senders:
            self._users.pop(user, None)
        self._drop([kept for own in shown.values() for kept in own.values()])
        return [(Name(one, message_id), kept.fate) for one, own in shown.items() for message_id, kept in own.items()]

    def _drop(self, gone: list[_Kept]) -> None:
        self._count -= len(gone)
        for kept in gone:
            self._due.pop(kept.number, None)
        if len(self._times) > 2 * len(self._due) + _SLACK:
            self._times = [time for time in self._times if time[1] in self._due]
            heapq.heapify(self._times)

    def expired(self, now: int) -> Iterator[tuple[str, Name]]:
        """Messages whose time has come, each once.

        Args:
            now: steady milliseconds.
        """
        while self._times and self._times[0][0] <= now:
            _, number = heapq.heappop(self._times)
            if number not in self._due:
                continue
            user, name = self._due.pop(number)
            senders = self._users[user]
            del senders[name.sender][name.message_id]
            self._count -= 1
            if not senders[name.sender]:
                del senders[name.sender]
            if not senders:
                del self._users[user]
            yield user, name
