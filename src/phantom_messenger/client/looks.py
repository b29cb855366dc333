"""How many messages of strangers are looked into before anybody has accepted them: that has a client compute."""

from typing import Final

from phantom_messenger.client import records

LOOKS: Final = 60
"""In ``LOOKS_MS``."""

LOOKS_MS: Final = 3_600_000
LOOKS_OF_ONE: Final = 5
"""Of these, those of one person under the ids of links."""

MAX_NOTED: Final = 5_000


class Looks:
    """Counts them, in memory; times are monotonic milliseconds."""

    def __init__(self, most: int = LOOKS) -> None:
        self._most = most
        self._times: list[int] = []

    def has_room(self, now: int) -> bool:
        """Whether one more may be looked into."""
        self._times = [at for at in self._times if now - at < LOOKS_MS]
        return len(self._times) < self._most

    def take(self, now: int) -> bool:
        """The same; it is counted."""
        if not self.has_room(now):
            return False
        self._times.append(now)
        return True

    def give_back(self) -> None:
        """The last one does not count."""
        del self._times[-1:]


class LinkLooks:
    """Counts those under the ids of links, where whoever has had a link can write without end.

    Each is looked into once, but one that asks to join: that may have to wait until there is room. It counts only for
    who says it, so that any number of people can join in an hour.
    """

    def __init__(self) -> None:
        self._all = Looks()
        self._of: dict[str, Looks] = {}
        self._joins: dict[str, bool] = {}
        """Which messages were looked into, and whether they ask to join."""
        self._last = ""

    def take(self, sender: str, message_id: str, now: int) -> bool:
        """Whether a message may be looked into; it is counted."""
        self._last = records.key(sender, message_id)
        if self._last in self._joins:
            return self._joins[self._last]
        own = self._of.get(sender) or Looks(LOOKS_OF_ONE)
        if not own.has_room(now) or not self._all.take(now):
            return False  # and nothing is kept of them: they can be any number
        own.take(now)
        self._of[sender] = own
        self._joins[self._last] = False
        for noted in (self._of, self._joins):
            if len(noted) > MAX_NOTED:
                del noted[next(iter(noted))]
        return True

    def asks_to_join(self) -> None:
        """What was looked into last does."""
        if self._joins.get(self._last) is False:
            self._joins[self._last] = True
            self._all.give_back()

    def passed_over(self) -> None:
        """What is looked into now is under no link's id."""
        self._last = ""
