"""Limits by class and party, which outlive connections. A refused request costs nothing."""

from collections.abc import Hashable, Mapping, Sequence

from phantom_messenger.wire.limits import RateClass
from phantom_messenger.wire.window import Window


class Limiter:
    """Windows by (rate class, party); they outlive connections.

    Args:
        rates: requests a minute of each class; empty lifts all limits.
    """

    def __init__(self, rates: Mapping[RateClass, int]) -> None:
        self._rates = rates
        self._windows: dict[Hashable, Window] = {}

    def take(self, rate: RateClass, parties: Sequence[str], now: int) -> int:
        """As ``Window.take``, for a request that counts for each of some parties, or for none."""
        limit = self._rates.get(rate)
        if limit is None:
            return 0
        windows = [self._windows.setdefault((rate, party), Window(limit)) for party in parties]
        if wait := max(window.wait(now) for window in windows):
            return wait
        for window in windows:
            window.take(now)
        return 0

    def prune(self, now: int) -> None:
        """Forget parties that were quiet for a whole window."""
        idle = [party for party, window in self._windows.items() if window.idle(now)]
        for party in idle:
            del self._windows[party]
