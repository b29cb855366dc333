"""Processes that check signatures: right verdicts, in order, whatever becomes of a process."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop
from nacl.signing import SigningKey

from phantom_messenger.relay import load, signatures, verify_pool, verify_worker
from phantom_messenger.relay.load import LoadGauge
from phantom_messenger.relay.pipeline import LEAST_HELP, AdmittedFrame, Pipeline, Steps
from phantom_messenger.relay.ports import SignatureCheck
from phantom_messenger.relay.verify_pool import VerifyPool
from support.faults import Faults
from support.people import Person, canonical
from support.raw_socket import TEXT, RawSocket, frame
from support.relay_process import RelayProcess, StartRelay, patched
from support.simulated import Turns

PATIENCE = 60.0


def checks(count: int, wrong: Sequence[int] = ()) -> list[SignatureCheck]:
    """Checks of which these do not hold."""
    key = SigningKey.generate()
    found = []
    for number in range(count):
        message = b"%d" % number
        signature = key.sign(b"another" if number in wrong else message).signature
        found.append((bytes(key.verify_key), signature, message))
    return found


@contextlib.asynccontextmanager
async def running(count: int) -> AsyncIterator[VerifyPool]:
    """VerifyPool whose processes have started."""
    found = VerifyPool(count)
    await found.start()
    try:
        await until(lambda: len(found._workers) == count and all(worker.is_ready for worker in found._workers))
        yield found
    finally:
        found.close()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - of processes
            await asyncio.sleep(0.01)


def pids(of: VerifyPool) -> list[int]:
    return [worker.process.pid for worker in of._workers if worker.process is not None]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_verdicts_are_right() -> None:
    async def scenario() -> None:
        async with running(2) as helpers:
            found: dict[int, list[bool]] = {}
            for number in range(20):
                assert helpers(checks(30, [number]), lambda verdicts, number=number: found.update({number: verdicts}))  # type: ignore[misc]
            await until(lambda: len(found) == 20)
            for number, verdicts in found.items():
                assert verdicts == [index != number for index in range(30)]

    uvloop.run(scenario())


@pytest.fixture
def never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_pool, "LATE_SECONDS", 100.0)


@pytest.mark.usefixtures("never_late")
def test_what_a_process_was_asked_is_answered_though_it_is_killed() -> None:
    async def scenario() -> None:
        async with running(1) as helpers:
            [first] = pids(helpers)
            os.kill(first, signal.SIGSTOP)
            found: list[list[bool]] = []
            for number in range(5):
                assert helpers(checks(40, [number]), found.append)
            os.kill(first, signal.SIGKILL)
            await until(lambda: len(found) == 5)
            assert [verdicts.index(False) for verdicts in found] == [0, 1, 2, 3, 4]
            await until(lambda: bool(helpers._workers) and helpers._workers[0].is_ready)
            assert pids(helpers) != [first]
            assert helpers(checks(9), found.append)
            await until(lambda: len(found) == 6)
            assert all(found[5])

    uvloop.run(scenario())


@pytest.mark.usefixtures("never_late")
def test_process_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_pool, "STALL_SECONDS", 0.2)

    async def scenario() -> None:
        async with running(1) as helpers:
            [first] = pids(helpers)
            os.kill(first, signal.SIGSTOP)
            found: list[list[bool]] = []
            assert helpers(checks(40, [7]), found.append)
            await asyncio.sleep(0.3)
            assert not found, "the control: it does stand still"
            helpers.tick()
            await until(lambda: bool(found))
            assert found[0].index(False) == 7
            await until(lambda: not is_alive(first))

    uvloop.run(scenario())


def test_what_is_late_is_checked_here_and_answered_once() -> None:
    async def scenario() -> None:
        async with running(1) as helpers:
            [first] = pids(helpers)
            found: list[list[bool]] = []
            began = time.monotonic()
            os.kill(first, signal.SIGSTOP)  # it cannot answer at all
            assert helpers(checks(40, [7]), found.append)
            assert helpers(checks(40, [8]), found.append)
            await until(lambda: len(found) == 2)
            assert time.monotonic() - began >= verify_pool.LATE_SECONDS
            assert [verdicts.index(False) for verdicts in found] == [7, 8]
            assert not helpers(checks(40), found.append), "it is asked no more"
            os.kill(first, signal.SIGCONT)
            await until(lambda: helpers._workers[0].is_ready)
            assert len(found) == 2, "its late answers are dropped"
            assert helpers(checks(40, [9]), found.append)
            await until(lambda: len(found) == 3)
            assert found[2].index(False) == 9
            assert pids(helpers) == [first]

    uvloop.run(scenario())


def test_check_that_fails_keeps_no_others_from_an_answer(monkeypatch: pytest.MonkeyPatch, faults: Faults) -> None:
    async def scenario() -> None:
        async with running(1) as helpers:
            os.kill(pids(helpers)[0], signal.SIGSTOP)
            found: list[list[bool]] = []
            for number in range(3):
                assert helpers(checks(10, [number]), found.append)
            real = signatures.verify
            failing = iter([True])

            def broken(batch: Sequence[SignatureCheck]) -> list[bool]:
                if next(failing, False):
                    raise ValueError("broken")
                return real(batch)

            monkeypatch.setattr(verify_pool, "verify", broken)
            os.kill(pids(helpers)[0], signal.SIGKILL)
            await until(lambda: len(found) == 3)
            assert [sum(verdicts) for verdicts in found] == [0, 9, 9]

    uvloop.run(scenario())
    assert faults.take() == ["ValueError"]


def test_process_that_does_not_start_is_tried_again_more_and_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[float] = []
    monkeypatch.setattr(verify_pool, "RESTART_SECONDS", 0.05)
    monkeypatch.setattr(verify_pool, "MAX_RESTART_SECONDS", 0.2)
    monkeypatch.setattr(verify_pool, "log", lambda _: lost.append(time.monotonic()))
    monkeypatch.setattr(sys, "executable", "/bin/true")

    async def scenario() -> None:
        helpers = VerifyPool(1)
        await helpers.start()
        assert helpers._restart_pause == 0.05
        await until(lambda: len(lost) == 6)
        helpers.close()
        assert helpers._restart_pause == 0.2
        assert lost[-1] - lost[-2] >= 0.2

    uvloop.run(scenario())


def test_process_that_never_says_that_it_is_ready_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(silent))

    async def scenario() -> None:
        helpers = VerifyPool(1)
        await helpers.start()
        [first] = pids(helpers)
        monkeypatch.setattr(verify_pool, "STALL_SECONDS", 1_000.0)
        helpers.tick()
        assert is_alive(first), "the control"
        monkeypatch.setattr(verify_pool, "STALL_SECONDS", 0.2)
        await asyncio.sleep(0.3)
        helpers.tick()
        await until(lambda: not is_alive(first))
        helpers.close()

    uvloop.run(scenario())


def test_processes_run_no_code_from_where_the_relay_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vodozemac.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n")
    monkeypatch.chdir(tmp_path)

    async def scenario() -> None:
        async with running(1):
            assert not (tmp_path / "ran").exists()

    uvloop.run(scenario())
    subprocess.run([sys.executable, "-m", verify_worker.__name__, "0"], check=False, timeout=PATIENCE)
    assert (tmp_path / "ran").exists(), "the control: without -P it is run"


@pytest.mark.usefixtures("never_late")
def test_busy_processes_take_no_more() -> None:
    async def scenario() -> None:
        async with running(1) as helpers:
            os.kill(pids(helpers)[0], signal.SIGSTOP)
            found: list[list[bool]] = []
            batch = checks(128)
            taken = 0
            while helpers(batch, found.append):
                taken += 1
            assert taken == verify_pool.MAX_PENDING // 128 + 1
            os.kill(pids(helpers)[0], signal.SIGCONT)
            await until(lambda: len(found) == taken)
            assert helpers(batch, found.append)

    uvloop.run(scenario())


@pytest.mark.usefixtures("never_late")
def test_busy_processes_take_no_more_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with running(1) as helpers:
            [worker] = helpers._workers
            found: list[list[bool]] = []
            batch = checks(10)
            monkeypatch.setattr(verify_pool, "MAX_PENDING_BYTES", 0)
            assert helpers(batch, found.append)
            assert not helpers(batch, found.append), "there are bytes under way"
            await until(lambda: len(found) == 1)
            assert (worker.pending_checks, worker.pending_bytes) == (0, 0)
            assert helpers(batch, found.append)
            await until(lambda: len(found) == 2)

    uvloop.run(scenario())


def test_without_processes_nobody_helps() -> None:
    async def scenario() -> None:
        async with running(0) as helpers:
            assert not helpers(checks(100), lambda _: None)

    uvloop.run(scenario())


# --- the order of frames ----------------------------------------------------------


class Bench:
    """A pipeline whose helpers answer when they are told to."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.handled: list[tuple[int, bool]] = []
        self.asked: list[tuple[Sequence[SignatureCheck], Callable[[list[bool]], None]]] = []
        self.is_willing = True
        self.gauge = LoadGauge(lambda: 0)
        self.pipeline = Pipeline(
            verify=lambda batch: [True] * len(batch),
            helpers=self.help,
            writer=lambda jobs, done: None,  # noqa: ARG005
            schedule=self.turns,
            handle=self.handle,
            gauge=self.gauge,
            report=lambda error: None,  # noqa: ARG005
        )
        self._count = 0

    def handle(self, admitted: AdmittedFrame, verdict: bool | Exception) -> Steps:
        self.handled.append((admitted.session, verdict is True))  # type: ignore[arg-type] # a number
        yield from ()

    def help(self, batch: Sequence[SignatureCheck], done: Callable[[list[bool]], None]) -> bool:
        if self.is_willing:
            self.asked.append((batch, done))
        return self.is_willing

    def put(self, count: int, *, signed: bool = True) -> None:
        check: Any = (b"", b"", b"") if signed else None
        for _ in range(count):
            self.pipeline.submit(AdmittedFrame(self._count, None, b"", check))  # type: ignore[arg-type]
            self._count += 1
        self.turns.run()


def test_few_signatures_are_checked_at_once() -> None:
    bench = Bench()
    bench.put(LEAST_HELP - 1)
    assert len(bench.handled) == LEAST_HELP - 1
    assert not bench.asked


def test_frames_are_handled_in_the_order_in_which_they_came() -> None:
    bench = Bench()
    bench.put(10)
    bench.put(3)
    bench.put(1, signed=False)
    bench.put(10)
    bench.is_willing = False
    bench.put(10)
    assert not bench.handled
    assert bench.gauge.count == 34
    (first, second) = bench.asked
    second[1]([True] * 10)
    assert not bench.handled
    first[1]([False] + [True] * 9)
    assert [number for number, _ in bench.handled] == list(range(34))
    assert [number for number, verified in bench.handled if not verified] == [0]
    assert bench.gauge.count == 0


def test_what_waits_for_helpers_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_UNVERIFIED_BYTES", 30_000)
    bench = Bench()
    for full in (False, False, True):
        for number in range(10):
            bench.pipeline.submit(AdmittedFrame(number, None, b"", (b"", b"", bytes(1_000))))  # type: ignore[arg-type]
        bench.turns.run()
        assert bench.gauge.is_full is full
    for _, done in bench.asked:
        done([True] * 10)
    assert not bench.gauge.is_full


def test_relay_is_not_idle_while_others_check() -> None:
    bench = Bench()
    bench.put(10)
    idle: list[bool] = []
    bench.pipeline.when_idle(lambda: idle.append(True))
    assert not idle
    bench.asked[0][1]([True] * 10)
    assert idle


# --- the whole relay --------------------------------------------------------------


def helpers_of(relay: RelayProcess) -> list[int]:
    """The processes that a relay has started."""
    return [int(pid) for pid in Path(f"/proc/{relay.pid}/task/{relay.pid}/children").read_text().split()]


def has_started(helper: int) -> bool:
    """Whether it already ignores the signals that are its relay's."""
    lines = Path(f"/proc/{helper}/status").read_text().splitlines()
    ignored = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    return all(ignored >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))


def waits_for_work(helper: int) -> bool:
    """Whether it has said that it is ready, and sleeps until there is something to check."""
    state = Path(f"/proc/{helper}/stat").read_text().rpartition(")")[2].split()[0]
    return has_started(helper) and state == "S"


PATIENT = "from phantom_messenger.relay import verify_pool\nverify_pool.LATE_SECONDS = 60.0\n"
"""Does not check by itself what its process has not answered in a moment."""


def wait(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_relay_has_as_many_processes_as_it_was_told(start_relay: StartRelay, count: int) -> None:
    relay = start_relay("--verify-workers", str(count))
    assert len(helpers_of(relay)) == count


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_relay(start_relay: StartRelay, number: signal.Signals) -> None:
    relay = start_relay("--verify-workers", "2")
    helpers = helpers_of(relay)
    wait(lambda: all(map(has_started, helpers)))
    if number is signal.SIGKILL:
        relay.kill()
    else:
        assert relay.stop() == 0
    wait(lambda: not any(is_alive(pid) for pid in helpers))


def test_interrupt_at_the_keyboard_is_left_to_the_relay(start_relay: StartRelay) -> None:
    relay = start_relay("--verify-workers", "1")
    [helper] = helpers_of(relay)
    wait(lambda: has_started(helper))
    os.kill(helper, signal.SIGINT)
    os.kill(helper, signal.SIGTERM)
    time.sleep(0.2)
    assert is_alive(helper)
    assert relay.doubts == []


def test_forged_message_among_many_is_refused_and_the_order_kept(start_relay: StartRelay) -> None:
    relay = start_relay("--verify-workers", "1", "--limits", "off", command=patched(PATIENT))
    [helper] = helpers_of(relay)
    wait(lambda: waits_for_work(helper))  # before, the relay checks by itself
    person = Person()
    with RawSocket(relay.address) as raw:
        raw.upgrade()
        hello = json.loads(raw.read().payload)
        host = f"{relay.address[0]}:{relay.address[1]}"
        raw.send(frame(TEXT, canonical(person.auth(hello, host, features=["ack"]))))
        assert b"AUTH_SUCCESS" in raw.read().payload
        messages = [person.message(person, id=f"n{number}") for number in range(50)]
        messages[20]["payload"]["conversationId"] = "another"
        os.kill(helper, signal.SIGSTOP)
        raw.send(b"".join(frame(TEXT, canonical(message)) for message in [*messages, person.frame("PING", id="end")]))
        assert raw.is_silent(0.1), "it is the process that checks them"
        os.kill(helper, signal.SIGCONT)
        seen: dict[str, str] = {}
        while "end" not in seen:
            answer = json.loads(raw.read().payload)
            if "id" in answer and answer["type"] != "MESSAGE":
                seen[answer["id"]] = (
                    answer["payload"].get("status") or answer["type"] if "payload" in answer else "PONG"
                )
        wanted = {f"n{number}": "accepted" for number in range(50)} | {"n20": "ERROR", "end": "PONG"}
        assert seen == wanted
        in_order = [name for name in seen if name != "n20"]
        assert in_order == [name for name in wanted if name != "n20"]
