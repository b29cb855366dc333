"""Persons with several devices in the simulation: all devices of a person have the same texts, each once."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import pytest
from simulation_checks import Violation

from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.devices.desk import DeviceDesk
from simulation import FIRST_WITH_DEVICES, extra_of, fast_folder, simulate, small_amounts
from support.amounts import LONG, amount, replayed, seeds

RUNS: Final = seeds(16, 500)
PARTS: Final = seeds(2, 20)
MOST_SEEDS: Final = amount(100, 500)

SITUATIONS: Final = {
    "link: linked": 500,
    "text handed out at a device": 10_000,
    "text that had to be on a device": 20_000,
}
"""How often 1,000 runs must at least come to each situation."""

pytestmark = [
    pytest.mark.skipif(replayed() is not None, reason="one seed is replayed"),
    pytest.mark.timeout(600),  # how many seeds a fault takes is chance
]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_amounts(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
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


@pytest.mark.parametrize("part", range(PARTS))
def test_no_run_with_several_devices_shows_a_fault(part: int, folder: Path) -> None:
    counts: Counter[str] = Counter()
    each = RUNS // PARTS
    for seed in range(FIRST_WITH_DEVICES + part * each, FIRST_WITH_DEVICES + (part + 1) * each):
        try:
            counts += run_seed(seed, folder)
        except Violation as violation:
            raise AssertionError(
                f"seed {seed}: {violation}; see its events with: make replay SEED={seed}"
            ) from violation
    rare = {name: counts[name] for name, least in SITUATIONS.items() if counts[name] < least * each // 1_000 // 2}
    assert not rare, f"too rare to prove anything: {rare}"


# --- controls ---------------------------------------------------------------------


def finds(folder: Path, expected: str, *, seen: int) -> None:
    """The simulation finds such a fault within so many seeds; the short form begins with one that has found it."""
    first, others = FIRST_WITH_DEVICES if LONG else seen, set()
    for seed in range(first, first + MOST_SEEDS):
        try:
            run_seed(seed, folder)
        except Violation as violation:
            if re.search(expected, str(violation)):
                print(f"found by seed {seed}: {violation}")  # noqa: T201 - shown by pytest -rP
                return
            others.add(str(violation))
    raise AssertionError(f"{MOST_SEEDS} seeds did not find it, but {sorted(others)[:5]}")


def test_text_that_goes_to_first_devices_alone_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceBook, "devices_of", lambda _, person: [person])
    finds(folder, "is lost", seen=FIRST_WITH_DEVICES + 1)


def test_reading_that_own_devices_are_not_told_of_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceDesk, "read_elsewhere", lambda *_: None)
    finds(folder, "is not read, and was on another device", seen=FIRST_WITH_DEVICES + 1)
