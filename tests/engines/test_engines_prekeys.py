"""Prekeys inside the SQLite engine: what a rollback undoes, and which rows are left."""

from dataclasses import replace

import apsw
import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from support.stores import ALICE, BOB, HOUR, NOW, bind, failing, publication, run


@pytest.fixture
def peopled(store: SQLiteStore) -> SQLiteStore:
    """A store with the accounts of Alice and Bob."""
    bind(store, ALICE, BOB)
    return store


def one_time_ids(store: SQLiteStore, count: int) -> list[int]:
    bundles = [run(store, lambda tx: tx.prekeys.hand_out(ALICE, BOB, NOW)) for _ in range(count)]
    return [bundle.one_time.id for bundle in bundles if bundle is not None and bundle.one_time is not None]


def test_undone_hand_out_is_no_hand_out(peopled: SQLiteStore) -> None:
    run(peopled, lambda tx: tx.prekeys.publish(ALICE, publication([1, 2])))
    peopled.run_jobs([failing(lambda tx: tx.prekeys.hand_out(ALICE, BOB, NOW))])
    assert one_time_ids(peopled, 2) == [1, 2]


@pytest.mark.parametrize("error", [ZeroDivisionError(), apsw.FullError()], ids=["a command", "a batch"])
def test_undone_replacement_leaves_the_keys(peopled: SQLiteStore, error: Exception) -> None:
    run(peopled, lambda tx: tx.prekeys.publish(ALICE, publication([1, 2], [3])))
    before = run(peopled, lambda tx: tx.prekeys.counts(ALICE))
    replacing = replace(publication([4], [5]), replace=True)
    peopled.run_jobs([failing(lambda tx: tx.prekeys.publish(ALICE, replacing), error=error)])
    peopled.scrub()
    assert run(peopled, lambda tx: tx.prekeys.counts(ALICE)) == before
    assert one_time_ids(peopled, 3) == [1, 2]


def test_public_keys_that_were_replaced_are_gone_from_the_rows(peopled: SQLiteStore) -> None:
    run(peopled, lambda tx: tx.prekeys.publish(ALICE, publication([1, 2], [3])))
    run(peopled, lambda tx: tx.prekeys.publish(ALICE, replace(publication([4]), replace=True)))
    assert peopled._connection.execute("SELECT id FROM one_time_prekeys").fetchall() == [(4,)]


def test_handouts_older_than_an_hour_are_in_no_row(peopled: SQLiteStore) -> None:
    run(peopled, lambda tx: tx.prekeys.publish(ALICE, publication([1, 2])))
    for now in (NOW, NOW + 1):
        run(peopled, lambda tx, now=now: tx.prekeys.hand_out(ALICE, BOB, now))  # type: ignore[misc]
    run(peopled, lambda tx: tx.prekeys.forget_handouts(NOW + HOUR))
    assert [at for (at,) in peopled._connection.execute("SELECT at FROM handouts")] == [NOW + 1]
