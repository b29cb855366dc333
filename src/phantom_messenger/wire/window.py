"""A sliding window: so many requests in any span of time, exact to the request.

The relay judges with it, and clients pace themselves with it.
"""

from collections import deque

from phantom_messenger.wire.limits import RATE_WINDOW_MS


class Window:
    """The recent requests of one party; ``limit`` of them are allowed in ``span`` milliseconds."""

    __slots__ = ("_times", "limit", "span")

    def __init__(self, limit: int, span: int = RATE_WINDOW_MS) -> None:
        self.limit = limit
        self.span = span
        self._times: deque[int] = deque()

    def wait(self, now: int) -> int:
        """0 if a request at ``now`` (monotonic milliseconds) is allowed, otherwise milliseconds until one will be."""
        times = self._times
        while times and times[0] <= now - self.span:
            times.popleft()
        return times[0] + self.span - now if len(times) >= self.limit else 0

    def take(self, now: int) -> int:
        """As ``wait``, and count the request if it is allowed."""
        if wait := self.wait(now):
            return wait
        self._times.append(now)
        return 0

    def used(self, now: int) -> int:
        """How many requests count at ``now``."""
        self.wait(now)
        return len(self._times)

    def idle(self, now: int) -> bool:
        """Whether nothing that still counts is in it."""
        return not self._times or self._times[-1] <= now - self.span
