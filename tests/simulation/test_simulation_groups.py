"""A group in the simulation: one history for all who are in it, and every text with exactly those whom it was for."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import pytest
from simulation_checks import Violation

from phantom_messenger.client.groups.arrivals import Arrivals
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.store import GroupStore
from phantom_messenger.client.vault import Transaction
from phantom_messenger.engines.sqlite.orders import SQLiteOrders
from simulation import FIRST_WITH_GROUP, extra_of, fast_folder, simulate, small_amounts
from support.amounts import LONG, amount, replayed, seeds

RUNS: Final = seeds(24, 1_000)
PARTS: Final = seeds(4, 40)
MOST_SEEDS: Final = amount(100, 1_000)

SITUATIONS: Final = {
    "device cannot store what its user does in the group": 60,
    "group change that came second": 50,
    "group changes": 2_500,
    "group text handed out": 8_000,
    "group text that had to arrive": 6_000,
    "group: joined": 800,
    "group: left": 60,
    "group: removed": 150,
    "groups with two members or more in the end": 600,
    "mailbox full for a message to many": 60,
    "sent: group-ask": 8,
    "sent: group-changes": 50,
}
"""How often 1,000 runs must at least come to each situation; of few runs only the common ones."""

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
def test_no_run_with_a_group_shows_a_fault(part: int, folder: Path) -> None:
    counts: Counter[str] = Counter()
    each = RUNS // PARTS
    for seed in range(FIRST_WITH_GROUP + part * each, FIRST_WITH_GROUP + (part + 1) * each):
        try:
            counts += run_seed(seed, folder)
        except Violation as violation:
            raise AssertionError(
                f"seed {seed}: {violation}; see its events with: make replay SEED={seed}"
            ) from violation
    rare = {name: counts[name] for name, least in SITUATIONS.items() if counts[name] < least * each // 1_000 // 2}
    assert not rare, f"too rare to prove anything: {rare}"


# --- controls ---------------------------------------------------------------------


def finds(folder: Path, expected: str, *, seen: int, **options: Any) -> None:
    """The simulation finds such a fault within so many seeds; the short form begins with one that has found it."""
    first, others = FIRST_WITH_GROUP if LONG else seen, set()
    for seed in range(first, first + MOST_SEEDS):
        try:
            run_seed(seed, folder, **options)
        except Violation as violation:
            if re.search(expected, str(violation)):
                print(f"found by seed {seed}: {violation}")  # noqa: T201 - shown by pytest -rP
                return
            others.add(str(violation))
    raise AssertionError(f"{MOST_SEEDS} seeds did not find it, but {sorted(others)[:5]}")


def test_relay_that_lets_two_admins_be_the_first_divides_the_group(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SQLiteOrders, "take", lambda *_: None)
    finds(folder, "knows another history", seen=FIRST_WITH_GROUP + 4)


def test_admin_who_does_not_ask_what_is_missing_divides_the_group(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Duties, "knows_all", lambda *_: True)
    finds(folder, "knows another history", seen=FIRST_WITH_GROUP + 80)


def test_text_that_came_before_its_change_and_is_forgotten_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(self: Arrivals, tx: Any, group: Any, *_: Any) -> Any:
        self._store.drop_held(tx, group.id)
        return group

    monkeypatch.setattr(Arrivals, "_take_held", forget)
    finds(folder, "group text .* is lost", seen=FIRST_WITH_GROUP + 31)


def test_member_to_whom_an_invitation_says_nothing_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arrivals, "_invited", lambda *_: [])
    finds(folder, "a member does not know that they are one", seen=FIRST_WITH_GROUP)


def test_text_that_is_kept_and_not_handed_out_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupStore, "hand_out", lambda *_: None)
    finds(folder, "was never handed out", seen=FIRST_WITH_GROUP)


def test_memory_of_a_group_that_is_ahead_of_the_disk_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "on_commit", lambda _, action: action())
    finds(folder, "remembers other than is on disk", faults=("device disk full",) * 24, seen=FIRST_WITH_GROUP + 9)
