"""Latencies, counted in buckets that are exact to a thousandth of the value (the idea of HdrHistogram).

A bucket is a number of 11 significant bits and a shift, so that a microsecond and a minute
fit into the same small table.
"""

from collections import Counter
from typing import Final

_BITS: Final = 11


class Histogram:
    """Counts of durations in microseconds."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.most = 0

    def add(self, microseconds: int) -> None:
        """Count one duration; a negative one counts as none."""
        value = max(microseconds, 0)
        shift = max(value.bit_length() - _BITS, 0)
        self._counts[value >> shift << shift] += 1
        self.count += 1
        self.most = max(self.most, value)

    def quantile(self, share: float) -> int:
        """The microseconds that this share of the durations does not exceed, 0 if there are none."""
        if share >= 1:
            return self.most
        wanted = share * self.count
        seen = 0
        for value in sorted(self._counts):
            seen += self._counts[value]
            if seen >= wanted:
                return value
        return self.most

    def figures(self) -> dict[str, float]:
        """Milliseconds: p50, p90, p99, p99.9 and the most, and how many there were."""
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
        return {"count": self.count, **{name: self.quantile(share) / 1_000 for name, share in shares.items()}}
