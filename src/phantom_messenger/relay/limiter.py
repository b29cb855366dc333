"""Limits by class and key (an address, or a user): they outlive connections and a restart. A refusal costs nothing.

An attacker may have a million addresses. So each class counts a bounded number of keys
by themselves; those that arrive when it is full share windows, by chance: the limit holds for
each of them, and somebody honest among them may have to wait. Whoever was counted before
is not disturbed.

At a clean stop what still counts is kept, under a keyed hash of each, and read at the next
start. After ``kill -9`` counting begins again: to write down each request would cost a sync,
and who can kill the relay needs no logins.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, TypeVar

from phantom_messenger.rate_window import Window
from phantom_messenger.relay.records import KeptLimits
from phantom_messenger.wire.limits import RATE_WINDOW_MS, RateClass

MAX_KEYS: Final = 131_072
"""Keys of a class that are counted by themselves: about 50 MB if all make five requests."""

SHARED: Final = 4_096
"""Windows that the others share."""

_HASH_BYTES: Final = 16


class Limiter:
    """Windows by rate class and key.

    Args:
        rates: requests a minute of each class; empty lifts all limits.
        hash_key: of the hash by which keys share windows, and under which they are kept; random.
    """

    def __init__(self, rates: Mapping[RateClass, int], hash_key: bytes) -> None:
        self._rates = rates
        self._hash_key = hash_key
        self._windows: dict[RateClass, dict[str, Window]] = {rate: {} for rate in rates}
        self._shared: dict[RateClass, dict[int, Window]] = {rate: {} for rate in rates}
        self._kept: dict[bytes, list[int]] = {}
        self._kept_key = b""
        self._kept_until = 0

    def acquire(self, rate: RateClass, key: str, now: int) -> int:
        """Count a request.

        Args:
            rate: its class.
            key: an address, or a user.
            now: monotonic milliseconds.

        Returns:
            0 if it is allowed, otherwise the milliseconds until one will be; then it does not count.
        """
        limit = self._rates.get(rate)
        if limit is None:
            return 0
        window = self._windows[rate].get(key)
        return (self._new_window(rate, key, limit) if window is None else window).acquire(now)

    def wait(self, rate: RateClass, key: str, now: int, count: int = 1) -> int:
        """What ``acquire`` would return for so many requests at once; nothing is counted."""
        limit = self._rates.get(rate)
        if limit is None:
            return 0
        window = self._windows[rate].get(key)
        return (self._new_window(rate, key, limit) if window is None else window).wait(now, count)

    def count(self, rate: RateClass, key: str, now: int, count: int) -> None:
        """Count so many requests at once, for which there is room."""
        limit = self._rates.get(rate)
        if limit is None:
            return
        window = self._windows[rate].get(key)
        (self._new_window(rate, key, limit) if window is None else window).add(now, count)

    def prune(self, now: int) -> None:
        """Forget keys that were quiet for a whole window."""
        for own in self._windows.values():
            _forget_idle(own, now)
        for shared in self._shared.values():
            _forget_idle(shared, now)
        if now >= self._kept_until:
            self._kept = {}

    def export(self, now: int, persistent: int) -> KeptLimits:
        """What still counts, for the next start.

        Args:
            now: monotonic milliseconds.
            persistent: the same moment in persistent time.
        """
        kept = {}
        for rate, windows in self._windows.items():
            for key, window in windows.items():
                if times := window.counting(now):
                    kept[_hash(self._hash_key, rate, key)] = [time - now + persistent for time in times]
        return KeptLimits(self._hash_key, kept)

    def restore(self, kept: KeptLimits, now: int, persistent: int) -> None:
        """Continue from what was kept at the last stop; arguments as for ``export``."""
        self._kept_key = kept.key
        self._kept = {key: [time - persistent + now for time in times] for key, times in kept.times.items()}
        self._kept_until = now + RATE_WINDOW_MS

    def _new_window(self, rate: RateClass, key: str, limit: int) -> Window:
        """The window of a key that has none yet."""
        windows = self._windows[rate]
        times = self._kept.pop(_hash(self._kept_key, rate, key), ()) if self._kept else ()
        if len(windows) < MAX_KEYS:
            window = windows[key] = Window(limit, times=times)
            return window
        index = int.from_bytes(_hash(self._hash_key, rate, key)) % SHARED
        return self._shared[rate].setdefault(index, Window(limit, times=times))


Key = TypeVar("Key", str, int)


def _forget_idle(windows: dict[Key, Window], now: int) -> None:
    for key in [key for key, window in windows.items() if window.idle(now)]:
        del windows[key]


def _hash(hash_key: bytes, rate: RateClass, key: str) -> bytes:
    return blake2b(f"{rate} {key}".encode(), digest_size=_HASH_BYTES, key=hash_key).digest()
