"""The clock of a real relay's machine is set while it runs, while it is down, and before a reboot.

libfaketime gives the relay a wall clock of its own; the clocks that nobody can set stay real.
"""

import contextlib
import itertools
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from delivery_variants import Variant

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.engines.sqlite import SQLiteStore
from support.amounts import amount
from support.people import Frame, Person, wall_ms
from support.reference_client import ReferenceClient, members
from support.relay_process import SERVE, environment, patched

HOUR = 3_600
DAY = 24 * HOUR
JUMPS = (-HOUR, HOUR, 400 * DAY)
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

SHORT, LONG = 3.0, 30.0
"""Lives of messages in seconds: one to outlive, one to be outpaced even by a slow machine."""

PINGS = 8
PATIENCE = 60.0
"""Seconds within which an expired message is gone."""

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt install faketime")


def faking(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock, and no other, is displaced by what a file says."""
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


class Displaced(Variant):
    """A relay whose wall clock is ``ahead`` of the real one by so many seconds."""

    def __init__(self, folder: Path, *, command: Sequence[str | Path] = SERVE) -> None:
        folder.mkdir()
        self._file = folder / "clock"
        self.ahead = 0
        self.set_clock(0)
        rates = ("--rate-auth", "1000", "--rate-message", "1000", "--rate-ping", str(PINGS))
        super().__init__(folder, *rates, command=command, more=faking(self._file))

    def set_clock(self, ahead: int) -> None:
        """Set the wall clock, in one step for whoever reads it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead:+d}\n")
        new.replace(self._file)
        self.ahead = ahead

    def now(self) -> int:
        """What its wall clock shows, in milliseconds."""
        return wall_ms() + self.ahead * 1_000

    def kill(self) -> None:
        """As ever; and remove what libfaketime leaves in shared memory."""
        pid = None if self._process is None else self._process.pid
        super().kill()
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            Path("/dev/shm", name).unlink(missing_ok=True)  # noqa: S108 - where it leaves them

    def wait_until_time_is_kept(self) -> None:
        """Until the moment that it has kept shows the clock as it is now."""
        deadline = time.monotonic() + PATIENCE
        with contextlib.closing(sqlite3.connect(self.data / "relay.db")) as store:
            while True:
                row = store.execute("SELECT wall FROM relay_time").fetchone()
                if row is not None and abs(row[0] - self.now()) < HOUR * 500:
                    return
                assert time.monotonic() < deadline, "the relay keeps no time"
                time.sleep(0.05)

    def reboot(self) -> None:
        """What a reboot changes for a relay that is down: the boot that it knows is another one."""
        with contextlib.closing(SQLiteStore(self.data)) as store:
            [kept] = store.run_jobs([lambda tx: tx.time.load()])
            earlier = ClockSnapshot("an earlier boot", 1, kept.wall, kept.persistent)
            assert store.run_jobs([lambda tx: tx.time.save(earlier)]) == [None]


Course = Callable[[Displaced, int], None]
"""Sets the clock of a relay by so much, and may start it anew."""


def running(relay: Displaced, jump: int) -> None:
    relay.set_clock(jump)


def killed(relay: Displaced, jump: int) -> None:
    relay.wait_until_time_is_kept()
    relay.kill()
    relay.set_clock(jump)
    relay.restart()


def rebooted(relay: Displaced, jump: int) -> None:
    relay.set_clock(jump)
    relay.wait_until_time_is_kept()
    relay.kill()
    relay.reboot()
    relay.restart()


class Case:
    """Messages of Alice to Bob, who looks at once, and to Carol, who looks when the short one has expired.

    Args:
        relay: on which all this happens.
        stack: ends the connections.
        short: the life of the short one.
        patience: how long after it the sender may have to wait for the news.
    """

    def __init__(self, relay: Displaced, stack: ExitStack, *, short: float = SHORT, patience: float = PATIENCE) -> None:
        self.relay = relay
        self._short = short
        self._patience = patience
        self.faults: list[str] = []
        self._stack = stack
        self.alice, self.bob, self.carol = (Person(now=relay.now) for _ in range(3))

    def connect(self, person: Person, *, login: bool = True) -> ReferenceClient:
        client = self._stack.enter_context(ReferenceClient(self.relay.url, person))
        shown = client.acknowledgement["payload"]["serverTime"]
        assert abs(shown - self.relay.now()) < PATIENCE * 1_000, "the relay does not see the clock that was set"
        return client.login(["ack"]) if login else client

    def run(self, course: Course, jump: int) -> list[str]:
        """Send, set the clock at once, and tell what is wrong."""
        sender = self._known_sender()
        limited = self._use_up_pings() if course is running else None
        for_bob = [self._message(self.bob, life) for life in (LONG, HOUR, None)]
        for_carol = [self._message(self.carol, life) for life in (HOUR, None, self._short)]
        began = time.monotonic()
        for message in for_bob + for_carol:
            sender.send(message)
            sender.told(message, "accepted")
        course(self.relay, jump)
        if course is not running:
            sender = self.connect(self.alice)
        self._look(self.bob, for_bob, began, may_lack=for_bob[0])
        if limited is not None:
            self._is_limited(limited)
        self._expires(sender, for_carol.pop(), began)
        self._look(self.carol, for_carol, began)
        self.relay.set_clock(0)
        self._look(self.carol, for_carol, began)
        return self.faults

    def _message(self, to: Person, life: float | None) -> Frame:
        return self.alice.message(to, metadata=None if life is None else {"expiresIn": int(life * 1_000)})

    def _known_sender(self) -> ReferenceClient:
        sender = self.connect(self.alice)
        for other in (self.bob, self.carol):
            with ReferenceClient(self.relay.url, other).login(["ack"]) as client:
                for one, person in ((client, self.alice), (sender, other)):
                    message = one.person.message(person)
                    one.send(message)
                    one.told(message, "accepted")
                client.send(client.person.ack(client.until("MESSAGE")))
                client.settle()
        return sender

    def _look(self, person: Person, expected: Sequence[Frame], began: float, *, may_lack: Frame | None = None) -> None:
        """Log in; these messages are there, but for one if its life may be over."""
        client = self.connect(person)
        found = [name_of(frame) for frame in client.settle() if frame["type"] == "MESSAGE"]
        wanted = [name_of(frame) for frame in expected]
        if may_lack is not None and time.monotonic() - began >= LONG:
            wanted.remove(name_of(may_lack))
            found = [name for name in found if name != name_of(may_lack)]
        if found != wanted:
            self.faults.append(f"{len(found)} messages where there should be {len(wanted)}")
        client.close()

    def _expires(self, sender: ReferenceClient, message: Frame, began: float) -> None:
        """The sender is told that it expired, neither early nor never."""
        status = None
        try:
            while status != "expired":
                left = began + self._short + self._patience - time.monotonic()
                told = sender.until("MESSAGE_ACK", max(left, 0.1))
                name, status = members(told, "messageId", "status")
                if name != name_of(message):
                    status = None
        except TimeoutError:
            self.faults.append("a short-lived message does not expire")
        if time.monotonic() - began < self._short:
            self.faults.append("a short-lived message expired early")

    def _use_up_pings(self) -> tuple[ReferenceClient, ReferenceClient, float]:
        """A client who may not ping any more, one who has not logged in, and the time."""
        began = time.monotonic()
        client, silent = self.connect(Person(now=self.relay.now)), self.connect(Person(now=self.relay.now), login=False)
        answers = [client.ask(client.person.ping())["type"] for _ in range(PINGS + 1)]
        assert answers == ["PONG"] * PINGS + ["ERROR"]
        return client, silent, began

    def _is_limited(self, limited: tuple[ReferenceClient, ReferenceClient, float]) -> None:
        client, silent, began = limited
        answer = client.ask(client.person.ping())
        passed = time.monotonic() - began
        if passed < 60 and not (answer["type"] == "ERROR" and 0 < answer["payload"]["retryAfter"] <= 60_000):
            self.faults.append(f"the limit on pings was moved: {answer}")
        if passed < 30:
            silent.send(silent.person.auth(silent.acknowledgement, silent.audience))
            if (answer := silent.receive())["type"] != "AUTH_SUCCESS":
                self.faults.append(f"the time to log in was moved: {answer}")


def name_of(message: Frame) -> str:
    found: str = message["payload"]["messageId"]
    return found


def faults(
    folder: Path, course: Course, jump: int, *, command: Sequence[str | Path] = SERVE, **lives: float
) -> list[str]:
    with ExitStack() as stack:
        relay = Displaced(folder / f"{course.__name__} {jump}", command=command)
        stack.callback(relay.kill)
        found = Case(relay, stack, **lives).run(course, jump)
    return [f"{course.__name__}, set by {jump} s: {fault}" for fault in found]


CLOCKS = "import time; print(time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))"


def clocks(environment: Mapping[str, str]) -> list[int]:
    """What a process with this environment sees."""
    found = subprocess.run(
        [sys.executable, "-c", CLOCKS], env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    return [int(nanoseconds) for nanoseconds in found.stdout.split()]


def test_faked_wall_clock_leaves_the_others_real(tmp_path: Path) -> None:
    """What the tests below rely on."""
    file = tmp_path / "clock"
    file.write_text(f"+{400 * DAY}\n")
    before, found, after = clocks(environment()), clocks(environment(faking(file))), clocks(environment())
    assert before[1] < found[1] < after[1]
    assert before[2] < found[2] < after[2]
    assert found[0] - before[0] > 399 * DAY * 1_000_000_000


CASES = (
    (running, -HOUR),
    (running, 400 * DAY),
    (killed, 400 * DAY),
    (rebooted, 400 * DAY),
    (running, HOUR),
    (killed, -HOUR),
    (killed, HOUR),
    (rebooted, -HOUR),
    (rebooted, HOUR),
)
"""Those that show most stand first."""


def test_mail_of_a_real_relay_ages_by_what_has_passed(tmp_path: Path) -> None:
    cases = CASES[: amount(4, len(CASES))]
    with ThreadPoolExecutor(6) as pool:  # each waits for most of its time
        found = list(pool.map(lambda case: faults(tmp_path, *case), cases))
    assert list(itertools.chain.from_iterable(found)) == []


BY_THE_WALL = """
from phantom_messenger.clock import SystemClock
SystemClock.persistent_ms = SystemClock.wall_ms
"""


def test_real_relay_that_goes_by_the_wall_is_caught(tmp_path: Path) -> None:
    """The control."""
    command, lives = patched(BY_THE_WALL), {"short": SHORT + 1, "patience": 2.0}
    back, on = -HOUR, 400 * DAY
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda jump: faults(tmp_path, running, jump, command=command, **lives), (back, on)))
    assert any("does not expire" in fault for fault in found[0]), found
    assert any("should be" in fault for fault in found[1]), found
