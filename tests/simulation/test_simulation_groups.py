"""A group in the simulation: one history for all who are in it, and every text with exactly those whom it was for."""

from pathlib import Path
from typing import Any, Final

import pytest
from simulation_runs import MARKS, folder_of_runs, show_fault, show_no_fault  # noqa: F401 - one is a fixture

from phantom_messenger.client.groups.arrivals import Arrivals
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.store import GroupStore
from phantom_messenger.client.vault import Transaction
from phantom_messenger.engines.sqlite.orders import SQLiteOrders
from simulation import FIRST_WITH_GROUP
from support.amounts import amount, seeds

RUNS: Final = seeds(8, 1_000)
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

pytestmark = MARKS


@pytest.mark.parametrize("part", range(PARTS))
def test_no_run_with_a_group_shows_a_fault(part: int, folder: Path) -> None:
    each = RUNS // PARTS
    first = FIRST_WITH_GROUP + part * each
    show_no_fault(range(first, first + each), folder, SITUATIONS)


# --- controls ---------------------------------------------------------------------


def finds(folder: Path, expected: str, *, seen: int, **options: Any) -> None:
    show_fault(folder, expected, first=FIRST_WITH_GROUP, seen=seen, most=MOST_SEEDS, **options)


def test_relay_that_lets_two_admins_be_the_first_divides_the_group(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SQLiteOrders, "take", lambda *_: None)
    finds(folder, "knows another history", seen=FIRST_WITH_GROUP + 4)


def test_admin_who_does_not_ask_what_is_missing_divides_the_group(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Duties, "knows_all", lambda *_: True)
    finds(folder, "knows another history", seen=FIRST_WITH_GROUP + 220)


def test_text_that_came_before_its_change_and_is_forgotten_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(self: Arrivals, tx: Any, group: Any, *_: Any, **__: Any) -> Any:
        self._store.drop_held(tx, group.id)
        return group

    monkeypatch.setattr(Arrivals, "_take_held", forget)
    finds(folder, "group text .* is lost", seen=FIRST_WITH_GROUP + 31)


def test_member_to_whom_an_invitation_says_nothing_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arrivals, "_invited", lambda *_, **__: [])
    finds(folder, "a member does not know that they are one", seen=FIRST_WITH_GROUP)


def test_text_that_is_kept_and_not_handed_out_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupStore, "hand_out", lambda *_: None)
    finds(folder, "was never handed out", seen=FIRST_WITH_GROUP)


def test_memory_of_a_group_that_is_ahead_of_the_disk_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "on_commit", lambda _, action: action())
    finds(folder, "remembers other than is on disk", faults=("device disk full",) * 24, seen=FIRST_WITH_GROUP + 9)
