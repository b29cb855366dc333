"""How several programs that do the same job are timed against each other.

The processor time of this process is counted, so what else runs on the computer disturbs
less; it still shares caches and clock speed, so a figure is believed only beside the others
of its run. In a round everybody does one batch, A B C A B C, and a ratio is taken within a
round: a slow second hits all of them.
"""

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import process_time_ns
from typing import Any, Final

PROBE: Final = 8
"""Jobs of the first batch, which is not counted and tells how many jobs fill one that is."""


class WrongResult(Exception):
    """What a contestant made is not what it should be, so its times are worth nothing."""


@dataclass(frozen=True)
class Contestant:
    """Somebody who does a job over and over.

    ``jobs`` makes so many, and ``check`` looks at a job and its result; both off the clock.
    """

    who: str
    jobs: Callable[[int], Sequence[Any]]
    do: Callable[[Any], Any]
    check: Callable[[Any, Any], bool]
    ours: bool = False


@dataclass(frozen=True)
class Plan:
    """How long to measure: rounds, and the processor time that one batch is to fill."""

    rounds: int
    batch_ms: int
    most_jobs: int = 4_000
    fewest_jobs: int = 4


@dataclass
class Series:
    """What one contestant needed for one job, in microseconds, round by round."""

    who: str
    ours: bool
    samples: list[float] = field(default_factory=list)
    checked: int = 0


@dataclass(frozen=True)
class Figure:
    """A median, and the smallest and largest value."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """The figure of some values."""
        return cls(median(values), min(values), max(values))


def ratio(over: Series, under: Series) -> Figure:
    """How many times the time of ``under`` the other takes, from the rounds they shared."""
    return Figure.of([ours / theirs for ours, theirs in zip(over.samples, under.samples, strict=True)])


def pin() -> int | None:
    """Stay on one core, as far as the system allows it; returns which."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def contest(contestants: Sequence[Contestant], plan: Plan, progress: Callable[[str], None]) -> list[Series]:
    """Let them run against each other, interleaved.

    Raises:
        WrongResult: one of them got a job wrong.
    """
    series = [Series(contestant.who, contestant.ours) for contestant in contestants]
    counts = [_warm_up(contestant, plan, progress) for contestant in contestants]
    for number in range(1, plan.rounds + 1):
        for contestant, count, one in zip(contestants, counts, series, strict=True):
            progress(f"round {number} of {plan.rounds}: {contestant.who}")
            one.samples.append(_batch(contestant, count) / 1e3)
            one.checked += count
    return series


def _warm_up(contestant: Contestant, plan: Plan, progress: Callable[[str], None]) -> int:
    """One batch to see how many jobs fill the time, and one of that size."""
    progress(f"warm-up: {contestant.who}")
    _batch(contestant, PROBE)
    each = _batch(contestant, PROBE)
    count = max(plan.fewest_jobs, min(plan.most_jobs, int(plan.batch_ms * 1e6 / max(each, 1))))
    _batch(contestant, count)
    return count


def _batch(contestant: Contestant, count: int) -> float:
    """Nanoseconds for one job. The collector stays on, as in any program, but finds nobody else's garbage."""
    jobs, do = contestant.jobs(count), contestant.do
    gc.collect()
    begin = process_time_ns()
    results = [do(job) for job in jobs]
    spent = process_time_ns() - begin
    if not all(contestant.check(job, result) for job, result in zip(jobs, results, strict=True)):
        raise WrongResult(f"{contestant.who} got a job wrong")
    return spent / count
