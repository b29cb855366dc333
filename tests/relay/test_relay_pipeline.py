"""Batches: what waits together is stored together, within bounds, and a lone job waits for nothing."""

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from phantom_messenger.relay import pipeline
from phantom_messenger.relay.commands import Actor, Barrier, Command, CommandFailed, ReadMailbox
from phantom_messenger.relay.load import LEAST_LOAD, MOST_LOAD, LoadGauge
from phantom_messenger.relay.pipeline import (
    BEHIND,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    READS_AHEAD,
    Pipeline,
    Steps,
)
from support.simulated import Turns


class Put(Command[Any], frozen=True, kw_only=True):
    """Something of this size; its result is given with it."""

    result: Any
    bytes: int = 0

    @property
    def size(self) -> int:
        return self.bytes


class Read(ReadMailbox, frozen=True, kw_only=True):
    """A page is read; its result is given with it."""

    result: Any


class Disk:
    """A writer that shows its batches and finishes one when told to; it has time for ``most`` commands of it."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.most = MAX_BATCH
        self._under_way: tuple[Sequence[Any], Callable[[list[Any]], None]] | None = None

    def __call__(self, commands: Sequence[Any], done: Callable[[list[Any]], None]) -> None:
        assert self._under_way is None, "one batch at a time"
        self.batches.append(len(commands))
        self._under_way = commands, done

    def finish(self) -> bool:
        if self._under_way is None:
            return False
        (commands, done), self._under_way = self._under_way, None
        done([getattr(command, "result", None) for command in commands[: self.most]])
        return True


class Bench:
    def __init__(self) -> None:
        self.turns = Turns()
        self.disk = Disk()
        self.results: list[Any] = []
        self.gauge = LoadGauge(lambda: self.time)
        self.reported: list[Exception] = []
        self.pipeline = Pipeline(
            verify=lambda checks: [True] * len(checks),
            writer=self.disk,
            schedule=self.turns,
            handle=lambda admitted, verdict: iter(()),  # type: ignore[arg-type,return-value] # no frames here  # noqa: ARG005
            gauge=self.gauge,
            report=self.reported.append,
        )

    def store(self, count: int, *, size: int = 0) -> None:
        for _ in range(count):
            number = self._count
            self._count += 1
            self.pipeline.run(self.steps(Put(result=number, bytes=size)))

    def read(self, *results: Any) -> None:
        for result in results:
            command = Read(actor=Actor("user", "key"), after=0, max_bytes=1, now=0, result=result)
            self.pipeline.run(self.steps(command))

    def ask(self, count: int) -> None:
        """So many wait until all that came before them is stored."""
        for _ in range(count):
            self.pipeline.run(self.steps(Barrier()))

    def steps(self, command: Any) -> Steps:
        """One command, whose result is noted."""
        try:
            self.results.append((yield command))
        except CommandFailed as failed:
            self.results.append(failed)

    _count = 0
    time = 0

    def finish(self) -> None:
        self.turns.run()
        while self.disk.finish():
            self.turns.run()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_lone_job_is_begun_in_the_next_turn(bench: Bench) -> None:
    bench.store(1)
    bench.turns.run()
    assert bench.disk.batches == [1]


def test_jobs_that_come_while_the_disk_is_busy_are_one_batch(bench: Bench) -> None:
    bench.store(3)
    bench.turns.run()
    bench.store(100)
    bench.turns.run()
    assert bench.disk.batches == [3]
    bench.finish()
    assert bench.disk.batches == [3, 100]
    assert bench.results == list(range(103))


def test_batch_is_bounded_in_jobs(bench: Bench) -> None:
    bench.store(2 * MAX_BATCH + 1)
    bench.finish()
    assert bench.disk.batches == [MAX_BATCH, MAX_BATCH, 1]
    assert bench.results == list(range(2 * MAX_BATCH + 1))


def test_batch_is_bounded_in_bytes(bench: Bench) -> None:
    bench.store(10, size=MAX_BATCH_BYTES // 4)
    bench.finish()
    assert bench.disk.batches == [4, 4, 2]
    assert bench.results == list(range(10))


def test_job_bigger_than_a_batch_goes_alone(bench: Bench) -> None:
    bench.store(3, size=2 * MAX_BATCH_BYTES)
    bench.finish()
    assert bench.disk.batches == [1, 1, 1]


def test_jobs_for_which_there_was_no_time_come_first_in_the_next_batch(bench: Bench) -> None:
    bench.disk.most = 4
    bench.store(10)
    bench.turns.run()
    bench.store(3)
    bench.finish()
    assert bench.disk.batches == [10, 9, 5, 1]
    assert bench.results == list(range(13))


def test_reading_on_goes_ahead_of_what_waits(bench: Bench) -> None:
    bench.store(1)
    bench.turns.run()
    bench.store(3)
    bench.read("first page", "another one's")
    bench.finish()
    assert bench.disk.batches == [1, 2, 3]
    assert bench.results == [0, "first page", "another one's", 1, 2, 3]


def test_those_who_read_on_and_on_keep_nobody_waiting_for_long(bench: Bench) -> None:
    bench.store(1)
    bench.turns.run()
    bench.read(*["page"] * 3 * READS_AHEAD)
    bench.store(1)
    bench.finish()
    assert bench.results == [0, *["page"] * READS_AHEAD, 1, *["page"] * 2 * READS_AHEAD]


def test_pages_for_which_there_was_no_time_are_read_next(bench: Bench) -> None:
    bench.disk.most = 2
    bench.read(1, 2, 3)
    bench.finish()
    assert bench.disk.batches == [3, 1]
    assert bench.results == [1, 2, 3]


@pytest.mark.parametrize("size", [0, 64 * 1024], ids=["many", "big"])
def test_what_waits_is_bounded(bench: Bench, size: int) -> None:
    bench.store(1)
    bench.turns.run()
    room = MAX_WAITING if not size else MAX_WAITING_BYTES // size
    bench.store(room + 5, size=size)
    bench.finish()
    refused = [result for result in bench.results if isinstance(result, CommandFailed)]
    assert len(refused) == 5
    assert all(result.is_out_of_space for result in refused)
    assert [result for result in bench.results if not isinstance(result, CommandFailed)] == list(range(room + 1))
    bench.results.clear()
    bench.store(room, size=size)
    bench.finish()
    assert not any(isinstance(result, CommandFailed) for result in bench.results), "room is given back"


def test_those_who_ask_one_after_the_other_are_answered_by_one_command(bench: Bench) -> None:
    bench.store(1)
    bench.turns.run()
    bench.ask(MAX_BATCH + 1)
    bench.store(1)
    bench.ask(2)
    bench.finish()
    assert bench.disk.batches == [1, 4], "no more than a batch of them at one command, and so in one turn"
    assert bench.results == [0, *[None] * (MAX_BATCH + 1), 1, None, None]


SHARED: Final = 2 * MAX_WAITING // MAX_BATCH
"""Barriers that those who ask may take, at most."""


def asked_and_stored(bench: Bench) -> int:
    """How many commands are refused of as many as may wait, behind more who only ask than may wait."""
    bench.store(1)
    bench.turns.run()
    bench.ask(2 * MAX_WAITING)
    assert any(isinstance(result, CommandFailed) for result in bench.results), "they are bounded"
    bench.results.clear()
    bench.store(MAX_WAITING - SHARED)
    refused = sum(isinstance(result, CommandFailed) for result in bench.results)
    bench.finish()
    return refused


def test_those_who_only_ask_are_bounded_and_have_nobody_else_refused(bench: Bench) -> None:
    assert asked_and_stored(bench) == 0
    answered = bench.results.count(None)
    assert MAX_WAITING <= answered <= MAX_WAITING + SHARED
    assert bench.results == [0, *[None] * answered, *range(1, MAX_WAITING - SHARED + 1)]
    bench.results.clear()
    bench.ask(answered)
    bench.finish()
    assert bench.results == [None] * answered, "room is given back"


def test_control_if_each_of_them_is_a_command_others_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "Barrier", Read)
    assert asked_and_stored(bench) == MAX_WAITING - SHARED


def test_it_is_behind_when_two_batches_wait(bench: Bench) -> None:
    bench.store(1)
    bench.turns.run()
    was_behind = []
    for count in (BEHIND - 1, 1):
        bench.store(count)
        was_behind.append(bench.pipeline.is_behind)
    bench.finish()
    assert [*was_behind, bench.pipeline.is_behind] == [False, True, False]


def test_what_was_put_back_still_counts_as_waiting(bench: Bench) -> None:
    """Commands for which there was no time hold their bytes until they are stored."""
    size, room = 1024 * 1024, MAX_WAITING_BYTES // (1024 * 1024)
    bench.disk.most = 1
    bench.store(room, size=size)
    bench.turns.run()
    for _ in range(10):  # batches of two, of which one is put back
        bench.disk.finish()
        bench.turns.run()
    waiting = room - len(bench.results) - 2  # two are with the writer
    bench.store(room - waiting, size=size)
    assert not [result for result in bench.results if isinstance(result, CommandFailed)], "there is room for these"
    bench.store(1, size=size)
    assert isinstance(bench.results[-1], CommandFailed), "and for no more"
    bench.finish()
    assert len(bench.results) == room - waiting + room + 1


def test_handler_goes_on_with_each_result_in_order(bench: Bench) -> None:
    """Two handlers of two commands each: results come in the order of the commands."""

    def steps(name: str) -> Steps:
        first = yield Put(result=f"{name} 1")  # type: ignore[misc] # not one of the relay's
        second = yield Put(result=f"{name} 2")  # type: ignore[misc]
        bench.results.append((first, second))

    bench.pipeline.run(steps("a"))
    bench.pipeline.run(steps("b"))
    bench.finish()
    assert bench.disk.batches == [2, 2]
    assert bench.results == [("a 1", "a 2"), ("b 1", "b 2")]


def test_next_command_of_a_handler_waits_for_the_batch_that_is_under_way(bench: Bench) -> None:
    def steps() -> Steps:
        yield Put(result=1)  # type: ignore[misc]
        bench.results.append((yield Put(result=2)))  # type: ignore[misc]

    bench.pipeline.run(steps())
    bench.turns.run()
    bench.disk.finish()
    bench.store(1)
    bench.turns.run()
    assert bench.disk.batches == [1, 1], "the writer has one batch at a time"
    bench.finish()
    assert bench.disk.batches == [1, 1, 1]
    assert bench.results == [2, 0]


def test_handler_that_raises_stops_no_other(bench: Bench) -> None:
    def failing() -> Steps:
        yield Put(result=None)  # type: ignore[misc]
        raise ZeroDivisionError

    bench.pipeline.run(failing())
    bench.store(1)
    bench.finish()
    assert bench.results == [0]
    assert [type(error) for error in bench.reported] == [ZeroDivisionError]


def test_failure_of_a_command_is_raised_where_it_was_yielded(bench: Bench) -> None:
    def steps() -> Steps:
        try:
            yield Put(result=CommandFailed(OSError("broken"), is_out_of_space=True))  # type: ignore[misc]
        except CommandFailed as failed:
            bench.results.append((str(failed), failed.is_out_of_space))
        bench.results.append((yield Put(result="and it goes on")))  # type: ignore[misc]

    bench.pipeline.run(steps())
    bench.finish()
    assert bench.results == [("broken", True), "and it goes on"]


class Held:
    """Something that a handler holds."""


def test_handler_that_ends_by_a_failure_leaves_nothing_for_the_collector(bench: Bench) -> None:
    held: list[weakref.ref[Held]] = []

    def steps() -> Steps:
        one = Held()
        held.append(weakref.ref(one))
        yield Put(result=CommandFailed(OSError("broken"), is_out_of_space=True))  # type: ignore[misc]

    gc.disable()
    try:
        bench.pipeline.run(steps())
        bench.finish()
        assert [one() for one in held] == [None]
    finally:
        gc.enable()


def test_idle_is_when_everything_is_stored(bench: Bench) -> None:
    bench.disk.most = 1
    bench.store(3)
    bench.turns.run()
    idle: list[int] = []
    bench.pipeline.when_idle(lambda: idle.append(len(bench.results)))
    bench.finish()
    assert idle == [3]


@pytest.mark.parametrize(
    ("milliseconds", "room"), [(512, LEAST_LOAD), (128, 4_000), (64, 8_000), (16, MOST_LOAD)], ids=str
)
def test_a_second_of_work_fills_it(milliseconds: int, room: int) -> None:
    """``milliseconds``: of a batch."""
    bench = Bench()
    bench.store(1_000, size=1)
    bench.turns.run()
    for _ in range(80):
        bench.time += milliseconds
        bench.store(MAX_BATCH, size=1)
        bench.disk.finish()
        bench.turns.run()
    assert bench.gauge.count == 1_000
    bench.store(room - 1_001, size=1)
    bench.store(10)
    assert not bench.gauge.is_full, "what entails nothing is no load"
    bench.store(1, size=1)
    assert bench.gauge.is_full


def test_idle_time_is_no_measure_of_pace() -> None:
    bench = Bench()
    for _ in range(100):
        bench.store(1, size=1)
        bench.turns.run()
        bench.time += 400
        bench.disk.finish()
        bench.turns.run()
        bench.time += 5_000
    bench.store(MOST_LOAD - 1, size=1)
    assert not bench.gauge.is_full
    bench.store(1, size=1)
    assert bench.gauge.is_full
