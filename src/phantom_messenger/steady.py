"""Steady time: how old something is, whatever is done to the wall clock, here or elsewhere.

What is to expire in an hour expires after an hour of the machine that keeps it, not when somebody
sets a clock. While the machine runs, its time since boot tells how much has passed, also while the
program was down. Only a reboot leaves nothing but the wall clock to go by. The relay ages mail by
it, clients the texts and keys on the device.
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
class TimeMark:
    """One moment on all clocks, kept so that steady time goes on after a restart.

    ``boot`` names the time since the machine was started in which ``since_boot`` counts, '' if
    unknown. All times are milliseconds.
    """

    boot: str
    since_boot: int
    wall: int
    steady: int


def resumed(kept: TimeMark | None, *, boot: str, since_boot: int, wall: int) -> int:
    """Steady time at a start, in milliseconds.

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
        return kept.steady + max(0, since_boot - kept.since_boot)
    return kept.steady + max(0, wall - kept.wall)


class SystemClock:
    """The machine's clocks; a ``relay.ports.Clock``.

    Args:
        kept: the moment that an earlier run of the program kept last.
    """

    def __init__(self, kept: TimeMark | None = None) -> None:
        self._boot = boot_id()
        since_boot = since_boot_ms()
        steady = resumed(kept, boot=self._boot, since_boot=since_boot, wall=self.wall_ms())
        self._steady_at_boot = steady - since_boot

    def wall_ms(self) -> int:
        """See ``relay.ports.Clock``."""
        return time.time_ns() // _NS_PER_MS

    def monotonic_ms(self) -> int:
        """See ``relay.ports.Clock``."""
        return time.monotonic_ns() // _NS_PER_MS

    def steady_ms(self) -> int:
        """See ``relay.ports.Clock``."""
        return self._steady_at_boot + since_boot_ms()

    def mark(self) -> TimeMark:
        """See ``relay.ports.Clock``."""
        since_boot = since_boot_ms()
        return TimeMark(self._boot, since_boot, self.wall_ms(), self._steady_at_boot + since_boot)


def since_boot_ms() -> int:
    """Milliseconds since the machine was started, those in which it slept included."""
    return time.clock_gettime_ns(_SINCE_BOOT) // _NS_PER_MS


def boot_id() -> str:
    """What names this boot, '' where the system does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
