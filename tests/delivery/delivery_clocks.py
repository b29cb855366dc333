"""A machine whose clocks a test sets, and the relays that run on it one after the other.

The relay's own ``SystemClock`` runs on it: ``Machine`` stands for the module ``time`` and the boot's id.
"""

from collections.abc import Callable
from typing import Any, Final

import pytest

from phantom_messenger import clock
from phantom_messenger.clock import ClockSnapshot, SystemClock
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.config import Config
from support.people import Person
from support.simulated import MINUTE, Clock, World

DAY: Final = 86_400_000
JUST_BOOTED: Final = 20_000


class Machine(Clock):
    """The clocks of a machine; ``boots`` counts how often it was started."""

    CLOCK_BOOTTIME: Final = 7

    def __init__(self) -> None:
        super().__init__()
        self.boots = 1
        self._relays: SystemClock | None = None

    # --- what the relay reads -----------------------------------------------------

    def time_ns(self) -> int:
        return self.wall * 1_000_000

    def monotonic_ns(self) -> int:
        return self.monotonic * 1_000_000

    def clock_gettime_ns(self, which: int) -> int:
        assert which == self.CLOCK_BOOTTIME
        return self.monotonic * 1_000_000

    def boot_id(self) -> str:
        return f"boot {self.boots}"

    # --- what the relay makes of it -----------------------------------------------

    def relay_starts(self, kept: ClockSnapshot | None) -> None:
        self._relays = SystemClock(kept)

    def persistent_ms(self) -> int:
        assert self._relays is not None
        return self._relays.persistent_ms()

    def snapshot(self) -> ClockSnapshot:
        assert self._relays is not None
        return self._relays.snapshot()

    # --- what happens to it -------------------------------------------------------

    def jump(self, milliseconds: int) -> None:
        """Somebody sets the wall clock."""
        self.wall += milliseconds

    def reboot(self) -> None:
        self.boots += 1
        self.monotonic = JUST_BOOTED


class WallSteady(Machine):
    """A control: mail ages by the wall clock."""

    def persistent_ms(self) -> int:
        return self.wall


class OneClock(WallSteady):
    """A control: there is no clock but the wall's."""

    def monotonic_ms(self) -> int:
        return self.wall


class Household:
    """A machine, a store on it, and the relay that runs there now.

    Args:
        machine: what the relay reads its time from.
        settings: of the relay; limits are lifted if there are none.
    """

    def __init__(self, machine: Machine, **settings: Any) -> None:
        self.machine = machine
        self._config = Config(**settings or {"limits": False})
        self._store = SQLiteStore(None)
        self.start()

    def start(self) -> None:
        """The relay starts; the one before has ended without a word."""
        [kept] = self._store.run_jobs([lambda tx: tx.time.load()])
        self.machine.relay_starts(kept)
        self.world = World(self._config, store=self._store, clock=self.machine)

    def reboot(self) -> None:
        self.machine.reboot()
        self.start()

    def person(self, name: str) -> Person:
        return Person(name, now=self.machine.wall_ms)

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass; the timer fires every ten seconds, and at the end of it."""
        self.world.pass_time(milliseconds, step=MINUTE // 6)

    def close(self) -> None:
        self._store.close()


MakeHousehold = Callable[..., Household]


def on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Have relays of this test read their time from a machine."""
    monkeypatch.setattr(clock, "time", machine)
    monkeypatch.setattr(clock, "boot_id", machine.boot_id)
    return machine
