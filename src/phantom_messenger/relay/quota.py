"""How many bytes the senders of one address can have stored in a day: mail, prekeys, accounts, whatever remains.

Rates and connections bound what goes through; this bounds what remains of it, however many accounts
somebody makes. Counted by the hour, before it is stored, and given back if it was not. As the other
limits it lives in memory that is bounded: beyond so many addresses the others share. An address is known
here by its mark alone, for it is remembered for a day.
"""

from array import array
from typing import Final

from msgspec import Struct

MAX_ADDRESSES: Final = 65_536
"""Addresses that are counted by themselves: about 35 MB."""

SHARED: Final = 4_096
"""Counts that the others share."""

HOUR_MS: Final = 3_600_000
_HOURS: Final = 25
"""The present one, which has just begun, and 24 whole ones."""


class Spent(Struct, frozen=True):
    """Bytes that were counted, to be given back if they are not stored."""

    mark: int
    size: int
    at: int


class Quota:
    """Bytes by address.

    Args:
        most: bytes in any 24 hours; None if that is not limited.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._days: dict[int, _Day] = {}
        self._shared: dict[int, _Day] = {}

    def spend(self, mark: int, size: int, now: int) -> int:
        """Count bytes of an address.

        Args:
            mark: stands for the address, by chance.
            size: how many.
            now: monotonic milliseconds.

        Returns:
            0 if there is room for them, otherwise the milliseconds until there will be; then they do not count.
        """
        if self._most is None:
            return 0
        day = self._days.get(mark) or self._new_day(mark, now // HOUR_MS)
        return day.spend(size, self._most, now)

    def give_back(self, spent: Spent) -> None:
        """They were not stored."""
        if self._most is None:
            return
        day = self._days.get(spent.mark) or self._shared.get(spent.mark % SHARED)
        if day is not None:
            day.give_back(spent.size, spent.at // HOUR_MS)

    def prune(self, now: int) -> None:
        """Forget addresses of which nothing counts any more."""
        _forget_idle(self._days, now // HOUR_MS)
        _forget_idle(self._shared, now // HOUR_MS)

    def _new_day(self, mark: int, hour: int) -> "_Day":
        if len(self._days) < MAX_ADDRESSES:
            day = self._days[mark] = _Day(hour)
            return day
        return self._shared.setdefault(mark % SHARED, _Day(hour))


class _Day:
    """What counts of one address."""

    __slots__ = ("_bytes", "_hour", "_total")

    def __init__(self, hour: int) -> None:
        self._bytes = array("q", bytes(8 * _HOURS))
        self._hour = hour
        self._total = 0

    def spend(self, size: int, most: int, now: int) -> int:
        hour = now // HOUR_MS
        if hour > self._hour:  # what was sent in the one before may be counted only now
            self._advance(hour)
        if self._total + size > most:
            return self._wait(size, most, now)
        self._bytes[hour % _HOURS] += size
        self._total += size
        return 0

    def give_back(self, size: int, hour: int) -> None:
        if self._hour - hour < _HOURS:
            self._bytes[hour % _HOURS] -= size
            self._total -= size

    def is_over(self, hour: int) -> bool:
        return not self._total or hour - self._hour >= _HOURS

    def _advance(self, hour: int) -> None:
        for passed in range(self._hour + 1, min(hour, self._hour + _HOURS) + 1):
            self._total -= self._bytes[passed % _HOURS]
            self._bytes[passed % _HOURS] = 0
        self._hour = hour

    def _wait(self, size: int, most: int, now: int) -> int:
        """Until enough of it is a day old."""
        left = self._total
        for hour in range(self._hour - _HOURS + 1, self._hour + 1):
            left -= self._bytes[hour % _HOURS]
            if left + size <= most:
                break
        return (hour + _HOURS) * HOUR_MS - now


def _forget_idle(days: dict[int, _Day], hour: int) -> None:
    for mark in [mark for mark, day in days.items() if day.is_over(hour)]:
        del days[mark]
