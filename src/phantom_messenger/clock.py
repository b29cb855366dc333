"""Persistent time: a monotonic clock that survives restarts, whatever is done to the wall clock.

What is to expire in an hour expires after an hour of the machine that keeps it, not when somebody
sets a clock. While the machine runs, its time since boot shows how much has passed, even while the
program was down. After a reboot only the wall clock is left to go by. The relay ages mail by it,
clients the messages and keys on the device.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_NS_PER_MS: Final = 1_000_000
_SINCE_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux has a clock that goes on while the machine sleeps under its own name; elsewhere it is the monotonic one."""


@dataclass(frozen=True, slots=True)
class ClockSnapshot:
    """One moment on all clocks, kept so that persistent time goes on after a restart.

    ``boot`` names the time since the machine was started in which ``since_boot`` counts, '' if
    unknown. All times are milliseconds.
    """

    boot: str
    since_boot: int
    wall: int
    persistent: int


def resumed(kept: ClockSnapshot | None, *, boot: str, since_boot: int, wall: int) -> int:
    """Persistent time at a start, in milliseconds.

    In the same boot it is exact. After a reboot what has passed is what the wall clock says; if
    that has gone back, nothing has passed: what expires then lives longer, but none is lost early.

    Args:
        kept: the moment that was kept last; None if this is the first start.
        boot: the id of this boot, '' if unknown.
        since_boot: milliseconds since it.
        wall: milliseconds since 1970.
    """
    if kept is None:
        return wall
    if boot and boot == kept.boot:
        return kept.persistent + max(0, since_boot - kept.since_boot)
    return kept.persistent + max(0, wall - kept.wall)


class SystemClock:
    """The machine's clocks; a ``relay.ports.Clock``.

    Args:
        kept: the moment that an earlier run of the program kept last.
    """

    def __init__(self, kept: ClockSnapshot | None = None) -> None:
        self._boot = boot_id()
        since_boot = since_boot_ms()
        persistent = resumed(kept, boot=self._boot, since_boot=since_boot, wall=self.wall_ms())
        self._persistent_at_boot = persistent - since_boot

    def wall_ms(self) -> int:
        """See ``relay.ports.Clock``."""
        return time.time_ns() // _NS_PER_MS

    def monotonic_ms(self) -> int:
        """See ``relay.ports.Clock``."""
        return time.monotonic_ns() // _NS_PER_MS

    def persistent_ms(self) -> int:
        """See ``relay.ports.Clock``."""
        return self._persistent_at_boot + time.clock_gettime_ns(_SINCE_BOOT) // _NS_PER_MS

    def catch_up(self, persistent: int) -> None:
        """See ``relay.ports.Clock``."""
        self._persistent_at_boot += max(0, persistent - self.persistent_ms())

    def snapshot(self) -> ClockSnapshot:
        """See ``relay.ports.Clock``."""
        since_boot = since_boot_ms()
        return ClockSnapshot(self._boot, since_boot, self.wall_ms(), self._persistent_at_boot + since_boot)


def since_boot_ms() -> int:
    """Milliseconds since the machine was started, including those in which it slept."""
    return time.clock_gettime_ns(_SINCE_BOOT) // _NS_PER_MS


def boot_id() -> str:
    """The id of this boot, '' where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
