"""Limits by class and party, which outlive connections and a restart. A refused request costs nothing.

An attacker may have a million addresses. So each class counts a bounded number of parties
by themselves; those who come when it is full share windows, by chance: the limit holds for
each of them, and somebody honest among them may have to wait. Whoever was counted before
is not disturbed.

At a clean stop what still counts is kept, under a keyed hash of each party, and read at the next
start. After ``kill -9`` counting begins anew: to write down each request would cost a sync,
and who can kill the relay needs no logins.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, TypeVar

from phantom_messenger.rate_window import Window
from phantom_messenger.relay.records import KeptLimits
from phantom_messenger.wire.limits import RATE_WINDOW_MS, RateClass

MAX_PARTIES: Final = 131_072
"""Parties of a class that are counted by themselves: about 50 MB if all make five requests."""

SHARED: Final = 4_096
"""Windows that the others share."""

_HASH_BYTES: Final = 16


class Limiter:
    """Windows by rate class and party.

    Args:
        rates: requests a minute of each class; empty lifts all limits.
        key: of the hash that parties share windows by, and are kept under; random.
    """

    def __init__(self, rates: Mapping[RateClass, int], key: bytes) -> None:
        self._rates = rates
        self._key = key
        self._windows: dict[RateClass, dict[str, Window]] = {rate: {} for rate in rates}
        self._shared: dict[RateClass, dict[int, Window]] = {rate: {} for rate in rates}
        self._kept: dict[bytes, list[int]] = {}
        self._kept_key = b""
        self._kept_until = 0

    def take(self, rate: RateClass, party: str, now: int) -> int:
        """Count a request of a party.

        Args:
            rate: its class.
            party: an address, or a user.
            now: monotonic milliseconds.

        Returns:
            0 if it is allowed, otherwise the milliseconds until one will be; then it does not count.
        """
        limit = self._rates.get(rate)
        if limit is None:
            return 0
        window = self._windows[rate].get(party)
        return (self._entered(rate, party, limit) if window is None else window).take(now)

    def prune(self, now: int) -> None:
        """Forget parties that were quiet for a whole window."""
        for own in self._windows.values():
            _forget_idle(own, now)
        for shared in self._shared.values():
            _forget_idle(shared, now)
        if now >= self._kept_until:
            self._kept = {}

    def keep(self, now: int, steady: int) -> KeptLimits:
        """What still counts, for the next start.

        Args:
            now: monotonic milliseconds.
            steady: the same moment in steady time.
        """
        kept = {}
        for rate, windows in self._windows.items():
            for party, window in windows.items():
                if times := window.counting(now):
                    kept[_hash(self._key, rate, party)] = [time - now + steady for time in times]
        return KeptLimits(self._key, kept)

    def restore(self, kept: KeptLimits, now: int, steady: int) -> None:
        """Go on from what was kept at the last stop; arguments as for ``keep``."""
        self._kept_key = kept.key
        self._kept = {party: [time - steady + now for time in times] for party, times in kept.times.items()}
        self._kept_until = now + RATE_WINDOW_MS

    def _entered(self, rate: RateClass, party: str, limit: int) -> Window:
        """The window of a party that has none yet."""
        windows = self._windows[rate]
        times = self._kept.pop(_hash(self._kept_key, rate, party), ()) if self._kept else ()
        if len(windows) < MAX_PARTIES:
            window = windows[party] = Window(limit, times=times)
            return window
        place = int.from_bytes(_hash(self._key, rate, party)) % SHARED
        return self._shared[rate].setdefault(place, Window(limit, times=times))


Party = TypeVar("Party", str, int)


def _forget_idle(windows: dict[Party, Window], now: int) -> None:
    for party in [party for party, window in windows.items() if window.idle(now)]:
        del windows[party]


def _hash(key: bytes, rate: RateClass, party: str) -> bytes:
    return blake2b(f"{rate} {party}".encode(), digest_size=_HASH_BYTES, key=key).digest()
