"""How much is answered to those who lack changes, in an hour.

A relay stores so much a day for one address, and most of that is to be texts.
"""

from typing import Final

ANSWER_BYTES: Final = 2_000_000
"""About how much all get together, before base64 makes a third more of it."""

ANSWER_BYTES_OF_ONE: Final = 1_000_000
"""About how much of that one person gets: more than 30 answers that are full."""

ANSWER_BYTES_FOR_EACH: Final = 30_000
"""What each can have though the others have had all: about one answer."""

ANSWER_BYTES_LEFT: Final = 2_000_000
"""About how much that is together: accounts can be had by the hundred."""

LEAST_ANSWER: Final = 1_500
"""What counts for an answer besides what is in it: the frame of one that says that there is nothing newer."""

_HOUR_MS: Final = 3_600_000
_ALL: Final = ""


class AnswerBudget:
    """Counts it, in memory; times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._spent: dict[str, tuple[int, int]] = {}
        """Since when, and how much, by person."""

    def has_room(self, person: str, now: int) -> bool:
        """Whether somebody may be told more in this hour."""
        self._spent = {who: spent for who, spent in self._spent.items() if now - spent[0] < _HOUR_MS}
        own, everybodys = self._of(person), self._of(_ALL)
        if everybodys < ANSWER_BYTES:
            return own < ANSWER_BYTES_OF_ONE
        return own < ANSWER_BYTES_FOR_EACH and everybodys < ANSWER_BYTES + ANSWER_BYTES_LEFT

    def count(self, person: str, size: int, now: int) -> None:
        """Somebody is sent an answer with so many bytes in it."""
        for who in (person, _ALL):
            since = self._spent.get(who, (now, 0))[0]
            self._spent[who] = (since, self._of(who) + LEAST_ANSWER + size)

    def had(self, person: str) -> int:
        """How much somebody has had in this hour, as ``has_room`` has seen it last."""
        return self._of(person)

    def _of(self, who: str) -> int:
        return self._spent.get(who, (0, 0))[1]
