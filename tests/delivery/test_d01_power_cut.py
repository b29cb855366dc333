"""The power is cut at a random write, again and again: what was promised holds.

The store is the real one; the disk below it keeps, loses or tears what was not synced.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from disk_model import Disk, DiskStore, PowerCut, opened
from disk_promises import Book, Broken, Chance, Task, check_integrity, contents, noted

from phantom_messenger.engines.sqlite import StoreError
from phantom_messenger.relay.commands import AppendRefusal, CommandFailed
from phantom_messenger.relay.records import Item
from support.amounts import amount, seeds
from support.stores import ALICE, BOB, appending, bind, message, names, waiting

CUTS = amount(12, 500)
"""In a life, which is one disk with one store after another on it."""

LIVES = seeds(20, 20)

Prepare = Callable[[DiskStore, Disk], None]
"""What is done to a store that was opened, and to its disk: takes its protection away."""


def untouched(store: DiskStore, disk: Disk) -> None:
    pass


class Life:
    """A disk that loses power now and then, and stores on it that are given work.

    Args:
        seed: of everything that happens.
        folder: for the store's real files.
        prepare: what to do to each store.
    """

    def __init__(self, seed: int, folder: Path, prepare: Prepare = untouched) -> None:
        self.cuts = 0
        self._random = Random(seed)  # noqa: S311 - chance that can be repeated
        self._disk = Disk(seed, power_safe=seed % 2 == 0)
        self._folder = folder
        self._prepare = prepare
        self._chance = Chance(self._random)
        self._book = Book()
        self._in_doubt: list[tuple[Task, Any]] = []
        self._pages: set[int] = set()

    def live(self, cuts: int) -> None:
        """Go on until the power was cut so often.

        Raises:
            Broken: a promise was not kept.
        """
        with self._disk:
            while self.cuts < cuts:
                self._disk.cut_after(self._random.randrange(1, self._random.choice((30, 150, 400))))
                self._live_until_cut()
                self._disk.switch_on()
                self.cuts += 1
            with opened(self._folder, self._disk) as store:
                self._check(store)

    def _live_until_cut(self) -> None:
        try:
            store = DiskStore(self._folder, self._disk, checkpoint=self._random.choice((8, 30, 100, 1_000)))
        except StoreError:
            if self._disk.is_on:
                raise
            return
        try:
            self._prepare(store, self._disk)
            if self._disk.is_on:
                self._check(store)
            while self._disk.is_on:
                self._work(store)
        finally:
            store.close()

    def _work(self, store: DiskStore) -> None:
        if self._random.random() < 0.1:
            self._scrub(store)
            return
        tasks = self._chance.batch(self._book)
        store.attempts.clear()
        results = store.run_jobs([noted(task, store) for task in tasks])
        failures = [result for result in results if isinstance(result, CommandFailed)]
        if not failures:
            self._book = self._book.with_all(list(zip(tasks, results, strict=True)))
            if len(store.attempts) > 1:  # refused for want of room, after a commit that failed and may yet be found
                self._in_doubt = store.attempts[0]
        elif self._disk.is_on:
            raise failures[0].error
        else:
            self._in_doubt = store.attempts[0]

    def _scrub(self, store: DiskStore) -> None:
        try:
            store.scrub()
        except PowerCut:
            assert not self._disk.is_on

    def _check(self, store: DiskStore) -> None:
        check_integrity(store)
        found = contents(store)
        in_doubt, self._in_doubt = self._in_doubt, []
        if faults := self._book.compare(found):
            book = self._book.with_all(in_doubt)
            if book.compare(found):
                raise Broken(f"after {self.cuts} cuts: {faults}")
            self._book = book


@pytest.mark.parametrize("seed", range(LIVES))
def test_promises_hold_whenever_the_power_is_cut(seed: int, tmp_path: Path) -> None:
    try:
        Life(seed, tmp_path).live(CUTS)
    except Broken as broken:
        raise AssertionError(f"seed {seed}: {broken}") from broken


@pytest.mark.parametrize("seed", range(seeds(2, 50)))
def test_store_opens_wherever_its_first_opening_was_cut(seed: int, tmp_path: Path) -> None:
    for changes in range(1, 1_000):
        with Disk((seed, changes), power_safe=seed % 2 == 0) as disk:
            disk.cut_after(changes)
            with suppress(StoreError):
                DiskStore(tmp_path, disk).close()
            if disk.is_on:
                break
            disk.switch_on()
            with opened(tmp_path, disk) as store:
                check_integrity(store)
                bind(store, ALICE)
    assert changes > 20, "the power was hardly ever cut"


def told(store: DiskStore, name: str) -> bool:
    """Whether the relay would now answer ``accepted``."""
    [result] = store.run_jobs([appending(message(name, size=6_000))])
    return isinstance(result, Item) or result is AppendRefusal.DUPLICATE


def is_kept_when_sent_again(changes: int, folder: Path) -> bool:
    """Whether a message that is accepted again after a kill is there after a power cut."""
    with Disk() as disk:
        with opened(folder, disk) as store:
            bind(store, ALICE, BOB)
        with opened(folder, disk) as store:
            disk.cut_after(changes, disk.kill)
            told(store, "m")
        disk.switch_on()
        with opened(folder, disk) as store:
            assert told(store, "m")
            disk.lose()
        disk.switch_on()
        with opened(folder, disk) as store:
            return names(waiting(store)) == ["m"]


def test_what_is_accepted_when_sent_again_after_a_kill_is_on_disk(tmp_path: Path) -> None:
    assert [changes for changes in range(1, 20) if not is_kept_when_sent_again(changes, tmp_path)] == []


# --- controls: the same without the protection ------------------------------------


def without_sync_of_commits(store: DiskStore, _: Disk) -> None:
    store._connection.pragma("synchronous", "normal")


def with_a_log_that_is_never_synced(_: DiskStore, disk: Disk) -> None:
    disk.lies_about = "-wal"


def with_a_database_that_is_never_synced(_: DiskStore, disk: Disk) -> None:
    disk.lies_about = ".db"


def share_of_cuts_that_break_a_promise(prepare: Prepare, cuts: int, folder: Path) -> float:
    done = broken = seed = 0
    while done < cuts:
        life = Life(seed, folder, prepare)
        try:
            life.live(50)
        except (Broken, StoreError, apsw.Error):
            broken += 1
        done += life.cuts
        seed += 1
    return broken / done


@pytest.mark.parametrize(
    ("prepare", "least"),
    [
        (without_sync_of_commits, 0.02),
        (with_a_log_that_is_never_synced, 0.02),
        (with_a_database_that_is_never_synced, 0.01),
    ],
)
def test_control_promises_are_broken_without_syncs(prepare: Prepare, least: float, tmp_path: Path) -> None:
    assert share_of_cuts_that_break_a_promise(prepare, amount(120, 2_000), tmp_path) > least


def test_control_numbers_given_again_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phantom_messenger.engines.sqlite.mailboxes.SEQ_STEP", 0)  # none is reserved on disk
    assert share_of_cuts_that_break_a_promise(untouched, 50, tmp_path) > 0


def test_control_promises_hold_in_the_same_lives_with_syncs(tmp_path: Path) -> None:
    assert share_of_cuts_that_break_a_promise(untouched, amount(120, 2_000), tmp_path) == 0
