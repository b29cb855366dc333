"""How much is on its way through the relay, and whether more can be carried.

What a second carries is measured, so that the bound is right on a small machine and on a big one.
"""

from collections.abc import Callable
from typing import Final

LOAD_MS: Final = 1_000
"""How long an answer may be on its way under load: what more than this can carry is refused early."""

LEAST_LOAD: Final = 2_048
MOST_LOAD: Final = 16_384
"""Frames and jobs on their way that are always taken, for bursts, and never exceeded, for memory."""

MAX_UNVERIFIED_BYTES: Final = 32 * 1024 * 1024
"""Signed text of frames that wait for the verdicts of helpers, for memory."""

MAX_SLICED_BYTES: Final = MAX_UNVERIFIED_BYTES // 2
"""Of these, those of messages to many and of what their sessions have sent behind them: others find room beside."""

HELD_OF_MANY: Final = 4
"""How many times its signed text a frame takes that waits for slices: in its members, and in what is to verify."""

PACE_MS: Final = 250
REST_MS: Final = 1_000
"""Over so much busy time the pace is measured, and after so much rest it is forgotten."""


class LoadGauge:
    """Counts frames, and commands that store something; what these entail is not counted again.

    Args:
        now: monotonic milliseconds.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.count = 0
        """A frame counts until it is handled; what it stores then counts by itself."""
        self.unverified_bytes = 0
        self.sliced_bytes = 0
        """Of these, those that wait for slices: see ``pipeline``."""
        self._now = now
        self._room = MOST_LOAD
        self._finished = 0
        self._busy = 0
        self._busy_from = 0
        self._rested_at = 0

    @property
    def is_full(self) -> bool:
        """Whether more is on its way than can be done in ``LOAD_MS``, or than memory should hold."""
        return self.count >= self._room or self.unverified_bytes >= MAX_UNVERIFIED_BYTES

    @property
    def is_full_of_many(self) -> bool:
        """Whether no more messages to many are taken, nor anything of sessions that wait for one; others go on."""
        return self.is_full or self.sliced_bytes >= MAX_SLICED_BYTES

    def enter(self) -> None:
        """One more is on its way."""
        if not self.count:
            now = self._now()
            if now - self._rested_at >= REST_MS:  # what comes now may be of another kind
                self._room, self._finished, self._busy = MOST_LOAD, 0, 0
            self._busy_from = now
        self.count += 1

    def finish(self, count: int) -> None:
        """So many were stored: see how much goes through in ``LOAD_MS``, in time in which there was something to do.

        A measurement lasts until as much has gone through as there is: turns that verify and batches that
        store take their time one after the other. A relay that falls behind never gets there; it is measured
        after ``LOAD_MS``.
        """
        if not count:
            return
        self.count -= count
        now = self._now()
        self._finished += count
        busy = self._busy + now - self._busy_from
        if busy >= PACE_MS and (self._finished >= self.count or busy >= LOAD_MS):
            self._room = min(max(self._finished * LOAD_MS // busy, LEAST_LOAD), MOST_LOAD)
            self._finished = busy = 0
        self._busy, self._busy_from = busy, now
        if not self.count:
            self._rested_at = now
