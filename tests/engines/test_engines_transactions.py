"""The contract of ``relay.ports.Store``: order, what fails alone, what fails together."""

import apsw
import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.tables import StoreJob
from phantom_messenger.relay.commands import AppendRefusal, CommandFailed
from phantom_messenger.relay.records import Item
from support.stores import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    acknowledge,
    acknowledging,
    append,
    appending,
    bind,
    failing,
    key_of,
    message,
    names,
    receipt,
    run,
    waiting,
)


@pytest.fixture
def box(store: SQLiteStore) -> SQLiteStore:
    """A store with the accounts of Alice, Bob and Carol."""
    bind(store, ALICE, BOB, CAROL)
    return store


def adds(name: str, size: int = 0) -> StoreJob:
    return appending(message(name, size=size))


def returns(value: int) -> StoreJob:
    return lambda _: value


def test_results_stand_in_the_order_of_jobs(box: SQLiteStore) -> None:
    assert box.run_jobs([returns(number) for number in range(100)]) == list(range(100))
    assert box.run_jobs([]) == []


def test_jobs_see_the_effects_of_jobs_before_them(box: SQLiteStore) -> None:
    results = box.run_jobs([adds("1"), adds("1"), lambda tx: tx.mailboxes.read(BOB, 0, 1_000, NOW), adds("2")])
    assert results[1] is AppendRefusal.DUPLICATE
    assert names(results[2].items) == ["1"]


def test_job_that_fails_is_undone_alone(box: SQLiteStore) -> None:
    results = box.run_jobs([adds("1"), failing(adds("2")), adds("3")])
    assert [type(result) for result in results] == [Item, CommandFailed, Item]
    assert isinstance(results[1].error, ZeroDivisionError)
    assert not results[1].is_out_of_space
    assert names(waiting(box)) == ["1", "3"]


def test_job_that_was_undone_can_be_run_again(box: SQLiteStore) -> None:
    box.run_jobs([failing(adds("1"))])
    assert isinstance(append(box, message("1")), Item)


def refuse_commits(store: SQLiteStore, *, refuse: bool) -> None:
    store._connection.set_commit_hook((lambda: True) if refuse else None)


def test_commit_that_fails_undoes_all(box: SQLiteStore) -> None:
    append(box, message("before"))
    refuse_commits(box, refuse=True)
    results = box.run_jobs([adds("1"), acknowledging("before"), adds("2")])
    assert [type(result) for result in results] == [CommandFailed] * 3
    refuse_commits(box, refuse=False)
    assert names(waiting(box)) == ["before"]
    assert isinstance(append(box, message("1")), Item)
    assert acknowledge(box, "before")


def test_commit_that_fails_is_not_tried_with_savepoints(box: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded: list[StoreJob] = []
    monkeypatch.setattr(box, "_run_guarded", lambda _, __, one: guarded.append(one))
    refuse_commits(box, refuse=True)
    box.run_jobs([adds("1"), adds("2")])
    assert guarded == [], "what the jobs did was not at fault, and a wait for a lock is long"
    refuse_commits(box, refuse=False)
    box.run_jobs([adds("1"), failing(adds("2"))])
    assert len(guarded) == 2, "the control"


def test_commit_that_fails_for_no_reason_of_the_disk_is_not_tried_again(box: SQLiteStore) -> None:
    commits: list[None] = []
    box._connection.set_commit_hook(lambda: commits.append(None) or True)  # type: ignore[func-returns-value]
    assert [type(result) for result in box.run_jobs([adds("1"), adds("2")])] == [CommandFailed] * 2
    assert len(commits) == 1
    refuse_commits(box, refuse=False)
    assert not box.is_out_of_space


def test_full_disk_is_noticed_in_a_batch_that_is_run_again(box: SQLiteStore) -> None:
    results = box.run_jobs([failing(), adds("1"), failing(error=apsw.FullError("full")), adds("2")])
    assert [type(result) for result in results] == [CommandFailed, CommandFailed, CommandFailed, CommandFailed]
    assert [result.is_out_of_space for result in results] == [False, True, True, True]
    assert is_out_of_space(box)


def test_commit_that_fails_leaves_no_memory_of_removed_messages(box: SQLiteStore) -> None:
    refuse_commits(box, refuse=True)
    box.run_jobs([adds("1"), acknowledging("1")])
    refuse_commits(box, refuse=False)
    assert isinstance(append(box, message("1")), Item), "it was never stored"


@pytest.fixture
def full(box: SQLiteStore) -> SQLiteStore:
    """A store that has room for a small message, but for no big one; "before" waits in it."""
    append(box, message("before"))
    box._connection.pragma("max_page_count", box._connection.pragma("page_count") + 3)
    return box


BIG = 100_000


def is_out_of_space(store: SQLiteStore) -> bool:
    return store.is_out_of_space


@pytest.mark.parametrize("place", range(3))
def test_full_disk_fails_what_does_not_fit_and_nothing_else(full: SQLiteStore, place: int) -> None:
    append(full, message("to go"))
    jobs = [acknowledging("to go"), lambda tx: tx.mailboxes.read(BOB, 0, 1_000, NOW)]
    results = full.run_jobs([*jobs[:place], adds("big", BIG), *jobs[place:]])
    assert isinstance(results.pop(place), CommandFailed)
    assert results[0] is True, "removing goes on"
    assert names(results[1].items) == names(waiting(full)) == ["before"], "and so does reading"


def test_full_disk_is_told_apart_from_other_failures(full: SQLiteStore) -> None:
    [result] = full.run_jobs([adds("big", BIG)])
    assert result.is_out_of_space
    assert isinstance(result.error, apsw.FullError)


def test_full_disk_passes(full: SQLiteStore) -> None:
    full.run_jobs([adds("big", BIG)])
    assert is_out_of_space(full)
    assert acknowledge(full, "before"), "removing goes on"
    with pytest.raises(apsw.FullError):
        append(full, message("still big", size=BIG))
    full.scrub()
    assert not is_out_of_space(full)
    for name in ("1", "big", "2"):
        assert isinstance(append(full, message(name, size=BIG)), Item)
    assert names(waiting(full)) == ["1", "big", "2"]


@pytest.mark.parametrize("error", [apsw.FullError("full"), apsw.IOError("disk I/O error")], ids=["full", "broken"])
def test_failure_of_the_disk_fails_whom_it_hits(box: SQLiteStore, error: Exception) -> None:
    append(box, message("before"))
    results = box.run_jobs([acknowledging("before"), failing(adds("lost"), error=error)])
    assert results[0] is True
    assert results[1].is_out_of_space
    assert waiting(box) == []
    box.scrub()
    assert isinstance(append(box, message("lost")), Item)


def test_full_disk_takes_news_only_if_there_is_room_but_always_what_they_are_of(full: SQLiteStore) -> None:
    full.run_jobs([adds("big", BIG)])
    results = full.run_jobs(
        [acknowledging("before"), lambda tx: tx.mailboxes.append(ALICE, receipt("before", BOB), known=True, now=NOW)]
    )
    assert results[0] is True
    assert results[1] is AppendRefusal.FULL
    assert is_out_of_space(full)


def test_what_was_removed_makes_room_on_a_full_disk(box: SQLiteStore) -> None:
    append(box, message("big", size=BIG))
    box.run_jobs([failing(error=apsw.FullError("full"))])
    with pytest.raises(apsw.FullError):
        append(box, message("1"))
    assert acknowledge(box, "big")
    assert isinstance(append(box, message("1")), Item)
    assert is_out_of_space(box)


def test_time_that_is_up_leaves_jobs_for_the_next_batch(box: SQLiteStore) -> None:
    jobs = [adds(str(number)) for number in range(3)]
    assert [type(result) for result in box.run_jobs(jobs, budget_ms=0)] == [Item]
    assert names(waiting(box)) == ["0"]
    assert len(box.run_jobs(jobs[1:], budget_ms=60_000)) == 2


def test_failure_does_not_end_the_store(box: SQLiteStore) -> None:
    for number in range(20):
        box.run_jobs([failing(adds(f"bad {number}")), failing()])
        append(box, message(f"good {number}"))
    assert len(waiting(box)) == 20
    assert run(box, lambda tx: tx.directory.public_key(ALICE)) == key_of(ALICE)


@pytest.mark.parametrize("again", [False, pytest.param(True, id="control")])
def test_statement_is_prepared_once_whatever_its_values(box: SQLiteStore, *, again: bool) -> None:
    connection = box._connection
    if again:
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 0)
    prepared: list[int] = []

    def note(operation: int, *_: str | None) -> int:
        prepared.append(operation)
        return apsw.SQLITE_OK

    connection.authorizer = note
    for number, user in enumerate((ALICE, BOB, CAROL)):
        prepared.clear()
        append(box, message(str(number), user), to=user)
        assert len(waiting(box, user)) == 1
        assert acknowledge(box, str(number), user, user)
        run(box, lambda tx, user=user: (tx.directory.contacts(user), tx.prekeys.counts(user)))  # type: ignore[misc]
    assert bool(prepared) is again
