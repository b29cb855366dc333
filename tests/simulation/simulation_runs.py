"""Many runs of the simulation: none shows a fault, and with a protection off, some do."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import pytest
from simulation_checks import Violation

from simulation import extra_of, fast_folder, simulate, small_amounts
from support.amounts import LONG, amount, replayed

MARKS: Final = [
    pytest.mark.skipif(replayed() is not None, reason="one seed is replayed"),
    pytest.mark.timeout(amount(600, 3_600)),  # how many seeds a fault takes is chance
]
"""Of all tests of many runs."""


@pytest.fixture(name="folder")
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for runs in which a few messages are many."""
    small_amounts(monkeypatch)
    with fast_folder(tmp_path) as made:
        yield made


def run_seed(seed: int, folder: Path, **options: Any) -> Counter[str]:
    """Run a seed in a folder of its own; what happened in it."""
    place = folder / str(seed)
    place.mkdir()
    try:
        return simulate(seed, place, extra=extra_of(seed), **options).counts
    finally:
        rmtree(place)


def show_no_fault(seeds: Iterable[int], folder: Path, situations: Mapping[str, int]) -> None:
    """Run seeds.

    Args:
        seeds: which ones.
        folder: for their files.
        situations: how often 1,000 runs must at least come to each.
    """
    counts: Counter[str] = Counter()
    runs = 0
    for seed in seeds:
        try:
            counts += run_seed(seed, folder)
        except Violation as violation:
            raise AssertionError(
                f"seed {seed}: {violation}; see its events with: make replay SEED={seed}"
            ) from violation
        runs += 1
    rare = {name: counts[name] for name, least in situations.items() if counts[name] < least * runs // 1_000 // 2}
    assert not rare, f"too rare to prove anything: {rare}"


def show_fault(folder: Path, expected: str, *, first: int, seen: int, most: int, **options: Any) -> None:
    """The simulation finds a fault whose words match ``expected`` within ``most`` seeds.

    Args:
        folder: for their files.
        expected: a regular expression.
        first: the seed to begin with.
        seen: one that has found it, with which the short form begins; any other one after it will do.
        most: how many seeds it may take.
        options: of ``simulate``.
    """
    begin, others = first if LONG else seen, set()
    for seed in range(begin, begin + most):
        try:
            run_seed(seed, folder, **options)
        except Violation as violation:
            if re.search(expected, str(violation)):
                print(f"found by seed {seed}: {violation}")  # noqa: T201 - shown by pytest -rP
                return
            others.add(str(violation))
    raise AssertionError(f"{most} seeds did not find it, but {sorted(others)[:5]}")
