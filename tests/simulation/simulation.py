"""A relay and the devices of people in one process, on a simulated clock, with everything that breaks.

A run is a function of its seed: one generator decides who writes what, how long each frame is
under way, what breaks and when. Then all is repaired, and what people wrote must have arrived.
Not every fault is there in every run: a run with few faults comes to places that one with many
does not.
"""

import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import pytest
from simulation_both import BothPart
from simulation_checks import Checker, Violation
from simulation_device import DevicePart
from simulation_devices import DevicesPart
from simulation_extra import Extra
from simulation_groups import GroupPart
from simulation_network import DAY, Setting
from simulation_relay import Death, Errors, RelayPart

from phantom_messenger.client import prekey_store, vault
from phantom_messenger.engines.sqlite import stranger_quota
from phantom_messenger.relay import mailbox_push, outbox, prekey_status
from phantom_messenger.relay.handlers import login
from phantom_messenger.wire.limits import RATES, RateClass
from support.simulated import HOUR, MINUTE, SECOND

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name
NAMES: Final = ("anna", "ben", "cleo", "dora")
STEPS: Final = 24
MakeExtra = Callable[[Setting, Checker, list[DevicePart]], Extra]
FIRST_WITH_GROUP: Final = 600_000
FIRST_WITH_DEVICES: Final = 700_000
FIRST_WITH_BOTH: Final = 800_000
"""The first of the seeds of runs with a group, of those with several devices of a person, and of those with both."""

LONGEST_PAUSE_MS: Final = 4 * MINUTE
"""Longer than every pause that a part may take: 2 minutes for an unknown user, 1 for a full mailbox."""

LONGEST_HEALING_MS: Final = 10 * MINUTE
"""How long it may take until all are online."""

FEW_LOGINS: Final = 3
"""A minute: clients wait longer before each attempt, and hardly ever come to the relay's usual number."""

LIFETIMES: Final = (3 * SECOND, 20 * SECOND, MINUTE, 20 * MINUTE, 6 * HOUR)

MAX_WRONG: Final = 6 * HOUR
"""How wrong a device's clock gets: of two that are more than a day apart, one takes the other's keys for those of the
future, and begins no session (``test_client_messenger``)."""

FAULTS: Final = (
    "reset",
    "leave",
    "half-open",
    "silence",
    "deaf",
    "hold",
    "login breaks",
    "device dies",
    "device sleeps",
    "device clock",
    "device disk full",
    "relay dies",
    "relay stops",
    "relay machine reboots",
    "relay clock",
    "relay busy",
    "disk slow",
    "disk full",
    "disk nearly full",
    "leap",
)


@contextmanager
def fast_folder(usual: Path) -> Iterator[Path]:
    """A folder in memory where there is one: syncs to disk are not what is tested."""
    if not MEMORY.is_dir():
        yield usual
        return
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def extra_of(seed: int) -> MakeExtra | None:
    """What people do in the run of a seed besides writing to each other."""
    if FIRST_WITH_GROUP <= seed < FIRST_WITH_DEVICES:
        return GroupPart
    if FIRST_WITH_DEVICES <= seed < FIRST_WITH_BOTH:
        return DevicesPart
    return BothPart if FIRST_WITH_BOTH <= seed < FIRST_WITH_BOTH + 100_000 else None


class Outcome(NamedTuple):
    """What a run has to tell."""

    counts: Counter[str]
    digest: str


def small_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what takes hundreds of messages happen with a few."""
    for module, name, value in (
        (prekey_store, "ONE_TIME_TARGET", 4),
        (prekey_store, "KEM_TARGET", 2),
        (prekey_store, "REFILL_BELOW", 2),
        (prekey_store, "KEM_REFILL_BELOW", 1),
        (prekey_status, "LOW_PREKEYS", 1),
        (login, "PAGE", 2_000),
        (mailbox_push, "HIGH_WATER", 2_500),
        (outbox, "HIGH_WATER", 2_500),
        (outbox, "LOW_WATER", 1_200),
        (stranger_quota, "MAX_BACKLOG", 14),
        (stranger_quota, "MAX_STRANGERS_BACKLOG", 10),
        (stranger_quota, "MAX_STRANGER_BACKLOG", 6),
    ):
        monkeypatch.setattr(module, name, value)


class SeededSystem:
    """``os`` for a vault, but for its randomness."""

    def __init__(self, seed: int) -> None:
        self.urandom = random.Random(f"{seed} vaults").randbytes  # noqa: S311 - the same in every run

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def simulate(
    seed: int,
    folder: Path,
    *,
    traced: bool = False,
    checks_answers: bool = True,
    faults: Sequence[str] = FAULTS,
    has_old: bool = False,
    extra: MakeExtra | None = None,
) -> Outcome:
    """Run one seed.

    Args:
        seed: decides everything.
        folder: for vaults; empty.
        traced: print each event.
        checks_answers: whether ``accepted`` before the commit is a fault by itself.
        faults: what may break, if chance takes it for this run.
        has_old: one of the programs knows suite 1 alone, and is upgraded amid the run.
        extra: what people do besides; see ``extra_of``.

    Raises:
        Violation: it has shown a fault.
    """
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        # Where a record lies in a vault, and so whether a full disk has room for it, hangs on its keyed name.
        patch.setattr(vault, "os", SeededSystem(seed))
        run = Run(seed, folder, stack, faults, traced=traced, extra=extra)
        run.checker.checks_answers = checks_answers
        if has_old:
            run.make_one_old(seed)
        try:
            run.live()
            run.calm_down()
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"an exception: {type(error).__name__}: {error}") from error
        run.setting.note(f"texts {len(run.checker.texts)}")
        return Outcome(run.setting.counts, run.setting.digest())


class Run:
    """One run.

    Args:
        seed: decides everything.
        folder: for vaults.
        stack: closes what the run has opened.
        faults: what may break.
        traced: print each event.
        extra: what people do besides.
    """

    def __init__(
        self,
        seed: int,
        folder: Path,
        stack: ExitStack,
        faults: Sequence[str],
        *,
        traced: bool,
        extra: MakeExtra | None,
    ) -> None:
        setting = self.setting = Setting(seed, traced=traced)
        chance = self.chance = setting.chance
        self.checker = Checker(setting)
        self.devices: list[DevicePart] = []
        self._extra = None if extra is None else extra(setting, self.checker, self.devices)
        self._listen(stack)
        share = chance.choice((0.1, 0.3, 0.6))
        self.faults = [fault for fault in faults if setting.likely(share)]
        self.rate = chance.choice((0.1, 0.25, 0.4)) if self.faults else 0.0
        setting.note(f"faults {self.faults}, rate {self.rate}")
        logins = FEW_LOGINS if extra is None else RATES[RateClass.AUTH]
        self.relay = RelayPart(setting, self.checker, limits=setting.likely(0.5), logins=logins)
        stack.callback(self.relay.store.close)
        for name in NAMES[: chance.choice((2, 2, 2, 2, 3, 3, 4) if extra is None else (3, 3, 4))]:
            device = DevicePart(setting, self.checker, self.relay, folder, f"{name}-{seed}")
            stack.callback(device.close)
            self.devices.append(device)
        self.size = chance.choice((0, 0, 900))
        self._old: DevicePart | None = None
        self._upgrade_at = STEPS

    def make_one_old(self, seed: int) -> None:
        """Let one have a program that knows suite 1 alone, as everybody's users allow, until some step."""
        chance = random.Random(f"{seed} old")  # noqa: S311 - the same in every run, which it does not change otherwise
        old = self._old = chance.choice(self.devices)
        self._upgrade_at = chance.randrange(STEPS // 4, STEPS)
        old.be_old()
        self.checker.old.add(old.id)
        for other in self.devices:
            if other is not old:
                old.messenger.contacts.allow_older(other.id)
                other.messenger.contacts.allow_older(old.id)

    def _listen(self, stack: ExitStack) -> None:
        log, errors = logging.getLogger("phantom.relay"), Errors(self.checker)
        log.addHandler(errors)
        stack.callback(log.removeHandler, errors)

    # --- life -----------------------------------------------------------------------

    def live(self) -> None:
        """People write and read, and things break."""
        if self._is_plain:
            self._add_contacts()
        if self._extra is not None:
            self._extra.begin(self._pass)
        for step in range(STEPS if self._extra is None else self._extra.steps):
            self._pass(self._gap())
            if step == self._upgrade_at and self._old is not None:
                self._old.upgrade()
            if self.setting.likely(self.rate):
                self._break(self.chance.choice(self.faults))
            else:
                self._act(self.chance.choice(self.devices))
            self.checker.rest()

    @property
    def _is_plain(self) -> bool:
        """Whether people write to each other one by one."""
        return self._extra is None or self._extra.is_beside

    def _add_contacts(self) -> None:
        for one in self.devices:
            for other in self.devices:
                if one is not other and self.setting.likely(0.7):
                    one.add(other)

    def _gap(self) -> int:
        chance, kind = self.chance, self.chance.random()
        if kind < 0.25:
            return 0
        if kind < 0.6:
            return chance.randint(1, 60)
        if kind < 0.9:
            return chance.randint(60, 1_500)
        return chance.randint(1_500, 20 * SECOND)

    def _pass(self, milliseconds: int) -> None:
        self.setting.run(milliseconds, self.checker.rest)

    def _act(self, device: DevicePart) -> None:
        if not device.is_awake:
            return
        if self._extra is not None and self._extra.acts():
            self._extra.act(device)
            return
        kind = self.chance.random()
        if kind < 0.6:
            self._write(device)
        elif kind < 0.93:
            self._read(device)
        else:
            other = self._other(device)
            device.messenger.tell_typing(other.id)
            device.messenger.ask_presence(other.id)
            device._changed()

    def _other(self, device: DevicePart) -> DevicePart:
        return self.chance.choice([other for other in self.devices if other is not device])

    def _write(self, device: DevicePart) -> None:
        other = self._other(device)
        for _ in range(self.chance.choice((1, 1, 1, 1, 2, 4))):
            options: dict[str, Any] = {}
            if self.setting.likely(0.15):
                options["burn"] = True
            if self.setting.likely(0.2):
                options["expires_in"] = self.chance.choice(LIFETIMES)
            number = len(self.checker.texts)
            device.write(other, f"text {number}{'.' * (self.size and self.chance.randint(0, self.size))}", **options)

    def _read(self, device: DevicePart) -> None:
        for _ in range(self.chance.choice((1, 1, 2, 10))):
            found = device.take_next()
            if found is None:
                return
            done = partial(device.finish, device.life, *found, read=self.setting.likely(0.8))
            if self.setting.likely(0.75):
                done()
            else:
                self.setting.after(self.setting.while_(), done)

    # --- faults ---------------------------------------------------------------------

    def _break(self, fault: str) -> None:  # noqa: C901, PLR0912 - one case a fault
        device = self.chance.choice(self.devices)
        setting, relay, wire = self.setting, self.relay, device.wire
        match fault:
            case "reset" | "leave" | "half-open" | "silence" | "deaf" | "hold":
                if wire is None:
                    return
                device.break_wire(wire, fault)
            case "device dies":
                if not device.is_running:
                    return
                if setting.likely(0.4):
                    device.dies_unsent = True
                else:
                    device.kill(silently=setting.likely(0.3))
            case "login breaks":
                device.loses_logins = not device.loses_logins
                if wire is not None:
                    device.break_wire(wire, "leave")
            case "device sleeps":
                device.sleep(setting.while_())
            case "device clock":
                step = self.chance.choice((-DAY, -HOUR, -MINUTE, MINUTE, HOUR, DAY))
                device.wall_error = max(-MAX_WRONG, min(MAX_WRONG, device.wall_error + step))
            case "device disk full":
                if not device.is_running:
                    return
                device.fill_disk()
                setting.after(setting.while_(), device.free_disk)
            case "relay clock":
                step = self.chance.choice((-HOUR, -MINUTE, MINUTE, HOUR))
                setting.clock.wall += step
                relay.clock_set_at = setting.now
            case "relay busy":
                relay.busy_until = setting.now + self.chance.choice((200, 3 * SECOND, 20 * SECOND))
                relay.unwell_until = max(relay.unwell_until, relay.busy_until)
            case "leap":
                # All machines sleep, or none had time: whatever was due is late.
                # Who is just logging in would believe that the relay's clock stands as far behind: they dial again.
                setting.clock.advance(self.chance.choice((MINUTE, 20 * MINUTE, 7 * HOUR)))
                relay.unwell_until = self.checker.leapt_at = setting.now
                for other in self.devices:
                    if not other.messenger.is_online:
                        other.lose("the network has changed")
            case _:
                if relay.world is None:
                    return
                self._break_relay(fault)
        setting.happened(f"fault: {fault}", device.name)

    def _break_relay(self, fault: str) -> None:
        setting, relay = self.setting, self.relay
        world = relay.world
        assert world is not None
        match fault:
            case "relay dies" | "relay machine reboots":
                relay.die(self.chance.choice(list(Death)), reboot=fault == "relay machine reboots")
            case "relay stops":
                relay.stop()
            case "disk slow":
                relay.slow_until = setting.now + setting.while_()
                relay.unwell_until = max(relay.unwell_until, relay.slow_until)
            case "disk full":
                world.writer.full = True
                setting.after(setting.while_(), relay.free)
            case _:
                relay.store._connection.pragma("max_page_count", relay.store._connection.pragma("page_count"))
                setting.after(setting.while_(), relay.free)

    # --- the end --------------------------------------------------------------------

    def calm_down(self) -> None:
        """Nothing breaks any more: all must come to rest, and then all must be right."""
        setting, relay = self.setting, self.relay
        setting.is_calm = True
        setting.note("calm")
        relay.free()
        relay.slow_until = relay.busy_until = 0
        if relay.world is None:
            relay.start()
        for device in self.devices:
            device.asleep_until = 0
            device.dies_unsent = False
            device.free_disk()
            device.restart(device.life)
        self._come_to_rest()
        if self._extra is not None:
            self._extra.last_words()
            self._come_to_rest()
            self._extra.finish(list(self.devices), relay.store._connection)
        self.checker.finish(list(self.devices))

    def _come_to_rest(self) -> None:
        """Let time pass until nothing is under way."""
        setting = self.setting
        begun = quiet_since = setting.now
        times_empty = 0
        while times_empty < 3:  # a program that ends meanwhile gets again what it had not handled
            left = self._read_and_look()
            times_empty = 0 if left else times_empty + 1
            if any("offline" in what for what in left) and setting.now - begun < LONGEST_HEALING_MS:
                quiet_since = setting.now
            elif left and setting.now - quiet_since > LONGEST_PAUSE_MS:
                self.checker.wrong(f"it does not come to rest: {'; '.join(left)}")
            self.checker.rest()

    def _read_and_look(self) -> list[str]:
        """Everybody reads everything; what is still under way."""
        self._pass(5 * SECOND)
        for device in self.devices if self._is_plain else []:
            while device.is_running and (found := device.take_next()) is not None:
                device.finish(device.life, *found, read=self.setting.likely(0.9))
        if self._extra is not None:
            self._extra.read_all()
        return self.checker.unsettled(list(self.devices), self.relay.store._connection)
