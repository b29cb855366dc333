"""What users who look absent have received, until they appear.

Their senders must not learn that a device is online. So they are sent what they would be sent if it were not:
nothing, then `expired` when a message expires. When the user appears, or writes to a sender, that sender learns
what has become of the messages, as if they had been received only now. For a day the messages also count as if they
still filled the mailbox; if they counted longer, a user who never appears would get no mail any more.

All of this is in memory only: after a restart senders learn less, and a flood that began before it can see the
difference.
"""

import heapq
from collections.abc import Iterator
from typing import Final, NamedTuple

from phantom_messenger.relay.commands import DeliveryOutcome, MessageName
from phantom_messenger.wire.limits import MAX_BACKLOG

MAX_HIDDEN: Final = 100_000
"""Messages of all users together (about 40 MB); beyond it the user who has looked absent for longest is forgotten."""

COUNTS_MS: Final = 24 * 3_600_000
"""How long a message counts as if it had not been fetched."""


_SLACK: Final = 1_024
"""Deleted entries that may remain in the heap before it is rebuilt."""


class _Hidden(NamedTuple):
    outcome: DeliveryOutcome
    number: int


class HiddenReceipts:
    """Outcomes by user, in the order in which users began to look absent, and by sender.

    Expiry is a heap of times and entry numbers: entries of a user who has appeared are skipped, and of messages that
    expire together the oldest is reported first, as from a mailbox.
    """

    def __init__(self) -> None:
        self._users: dict[str, dict[str, dict[str, _Hidden]]] = {}
        self._times: list[tuple[int, int]] = []
        self._due: dict[int, tuple[str, MessageName]] = {}
        self._count = 0
        self._last = 0

    def has_no_room(self, user: str, name: MessageName, now: int) -> bool:
        """Whether there would be no place for a message if nothing of its sender's had been fetched.

        Args:
            user: whose mailbox it is.
            name: of the message; one that waits as far as its sender knows needs no place.
            now: milliseconds of persistent time.
        """
        if user not in self._users:
            return False
        own = self._users[user].get(name.sender, {})
        if len(own) < MAX_BACKLOG or name.message_id in own:
            return False
        counts = [
            hidden
            for hidden in own.values()
            if hidden.outcome.at > now - COUNTS_MS and hidden.outcome.expires_at is not None
        ]
        return len(counts) >= MAX_BACKLOG

    def add(self, user: str, name: MessageName, outcome: DeliveryOutcome) -> None:
        """Nobody is told that a message was received, read or burned; a later outcome keeps the times of the first."""
        own = self._users.setdefault(user, {}).setdefault(name.sender, {})
        if earlier := own.get(name.message_id):
            own[name.message_id] = earlier._replace(outcome=earlier.outcome._replace(status=outcome.status))
            return
        self._last += 1
        own[name.message_id] = _Hidden(outcome, self._last)
        self._count += 1
        if outcome.expires_at is not None:
            self._due[self._last] = user, name
            heapq.heappush(self._times, (outcome.expires_at, self._last))
        if len(own) > MAX_BACKLOG:
            self._drop([own.pop(next(iter(own)))])
        if self._count > MAX_HIDDEN:
            self.pop(next(iter(self._users)))

    def pop(self, user: str, sender: str | None = None) -> list[tuple[MessageName, DeliveryOutcome]]:
        """The user appears, to all or to one sender, or is deleted: what is to be reported now."""
        if user not in self._users:
            return []
        senders = self._users[user]
        shown = {one: senders.pop(one, {}) for one in (list(senders) if sender is None else [sender])}
        if not senders:
            del self._users[user]
        self._drop([hidden for own in shown.values() for hidden in own.values()])
        return [
            (MessageName(one, message_id), hidden.outcome)
            for one, own in shown.items()
            for message_id, hidden in own.items()
        ]

    def _drop(self, gone: list[_Hidden]) -> None:
        self._count -= len(gone)
        for hidden in gone:
            self._due.pop(hidden.number, None)
        if len(self._times) > 2 * len(self._due) + _SLACK:
            self._times = [time for time in self._times if time[1] in self._due]
            heapq.heapify(self._times)

    def pop_expired(self, now: int) -> Iterator[tuple[str, MessageName]]:
        """Messages that have expired, each once.

        Args:
            now: milliseconds of persistent time.
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
