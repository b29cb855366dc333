"""One moment on all clocks of a device: read once for each step, and handed on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """Milliseconds.

    ``monotonic``: since some start, for pauses and timeouts. ``persistent``: of the clock that survives restarts and
    that nobody can set, by which what is kept grows old. ``wall``: since 1970, however wrong, to be shown.
    """

    monotonic: int
    persistent: int
    wall: int

    def wall_at(self, persistent: int) -> int:
        """What the wall clock shows at another moment of the persistent clock, for people."""
        return persistent - self.persistent + self.wall
