"""A sliding window: at most so many requests in any span of time, exact to the request.

The relay enforces its limits with it, and clients pace themselves with it.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from phantom_messenger.wire.limits import RATE_WINDOW_MS

_LEAST: Final = 64
"""How many times are stored before the first check of which still count, at 8 bytes each."""


class Window:
    """The recent requests of one key; ``limit`` of them are allowed in ``span`` milliseconds.

    Most keys make a few requests and are never seen again. So times are appended, and old ones
    removed only once there are as many as could matter.
    """

    __slots__ = ("_room", "_times", "limit", "span")

    def __init__(self, limit: int, span: int = RATE_WINDOW_MS, times: Iterable[int] = ()) -> None:
        self.limit = limit
        self.span = span
        self._times = array("q", times)
        self._room = min(limit, _LEAST)

    def wait(self, now: int, count: int = 1) -> int:
        """0 if a request at ``now`` (monotonic milliseconds) is allowed, otherwise milliseconds until one will be.

        With ``count`` so many requests at once; more than the limit are let through as that many.
        """
        times = self._times
        if len(times) + count <= self._room:
            return 0
        self._cut(now)
        room = max(self.limit - count, 0)
        if len(times) > room:
            return times[-room - 1] + self.span - now
        self._room = min(self.limit, max(_LEAST, 2 * len(times)))
        return 0

    def acquire(self, now: int) -> int:
        """As ``wait``, and counts the request if it is allowed."""
        if wait := self.wait(now):
            return wait
        self._times.append(now)
        return 0

    def add(self, now: int, count: int) -> None:
        """Count so many requests, for which ``wait`` has found room."""
        self._times.extend([now] * min(count, self.limit))

    def used(self, now: int) -> int:
        """How many requests count at ``now``."""
        self._cut(now)
        return len(self._times)

    def counting(self, now: int) -> list[int]:
        """When the requests were made that count at ``now``."""
        self._cut(now)
        return self._times.tolist()

    def idle(self, now: int) -> bool:
        """Whether nothing that still counts is in it."""
        return not self._times or self._times[-1] <= now - self.span

    def _cut(self, now: int) -> None:
        del self._times[: bisect_right(self._times, now - self.span)]
