"""Batches: what waits together is stored together, within bounds, and a lone job waits for nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from phantom_messenger.relay.pipeline import (
    LEAST_LOAD,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    MOST_LOAD,
    Pipeline,
)
from phantom_messenger.relay.ports import Failure, Job
from support.simulated import Turns


class Disk:
    """A writer that shows its batches and finishes one when told to; it has time for ``most`` jobs of it."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.most = MAX_BATCH
        self._under_way: tuple[Sequence[Job], Callable[[list[Any]], None]] | None = None

    def __call__(self, jobs: Sequence[Job], done: Callable[[list[Any]], None]) -> None:
        assert self._under_way is None, "one batch at a time"
        self.batches.append(len(jobs))
        self._under_way = jobs, done

    def finish(self) -> bool:
        if self._under_way is None:
            return False
        (jobs, done), self._under_way = self._under_way, None
        done([job(None) for job in jobs[: self.most]])  # type: ignore[arg-type] # these jobs need no store
        return True


class Bench:
    def __init__(self) -> None:
        self.turns = Turns()
        self.disk = Disk()
        self.results: list[Any] = []
        self.pipeline = Pipeline(
            verify=lambda checks: [True] * len(checks),
            writer=self.disk,
            schedule=self.turns,
            handle=lambda submission, verified: None,  # noqa: ARG005
            broken=lambda submission, error: None,  # noqa: ARG005
            now=lambda: self.time,
            report=lambda error: None,  # noqa: ARG005
        )

    def store(self, count: int, *, size: int = 0) -> None:
        for _ in range(count):
            number = self._count
            self._count += 1
            self.pipeline.store(lambda _, number=number: number, self.results.append, size=size)  # type: ignore[misc]

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


@pytest.mark.parametrize("size", [0, 64 * 1024], ids=["many", "big"])
def test_what_waits_is_bounded(bench: Bench, size: int) -> None:
    bench.store(1)
    bench.turns.run()
    room = MAX_WAITING if not size else MAX_WAITING_BYTES // size
    bench.store(room + 5, size=size)
    bench.finish()
    refused = [result for result in bench.results if isinstance(result, Failure)]
    assert len(refused) == 5
    assert all(result.storage_full for result in refused)
    assert [result for result in bench.results if not isinstance(result, Failure)] == list(range(room + 1))
    bench.results.clear()
    bench.store(room, size=size)
    bench.finish()
    assert not any(isinstance(result, Failure) for result in bench.results), "room is given back"


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
    assert bench.pipeline.load == 1_000
    bench.store(room - 1_001, size=1)
    bench.store(10)
    assert not bench.pipeline.is_full, "what entails nothing is no load"
    bench.store(1, size=1)
    assert bench.pipeline.is_full


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
    assert not bench.pipeline.is_full
    bench.store(1, size=1)
    assert bench.pipeline.is_full
