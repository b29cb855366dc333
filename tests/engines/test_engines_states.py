"""The states of the engine: one row of the table in ``engines.sqlite.store`` after the other."""

import logging
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.reserve import Reserve
from phantom_messenger.engines.sqlite.store import State
from phantom_messenger.relay.commands import Barrier, CommandFailed
from support.stores import ALICE, BOB, append, bind, failing, message, names, waiting


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    made = SQLiteStore(tmp_path / "data")
    bind(made, ALICE, BOB)
    yield made
    made.close()


def is_refused(store: SQLiteStore) -> bool:
    [result] = store.run([Barrier()])
    return isinstance(result, CommandFailed) and result.is_out_of_space


def state(store: SQLiteStore) -> State:
    return store._state


def test_store_that_found_no_room_is_normal_again_when_it_has_its_reserve(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (state(store), store.is_out_of_space) == (State.NORMAL, False)
    store.run_jobs([failing(error=apsw.FullError("full"))])
    assert (state(store), store.is_out_of_space) == (State.OUT_OF_SPACE, True)
    with monkeypatch.context() as patch:
        patch.setattr(Reserve, "acquire", lambda _: False)
        store.scrub()
        assert state(store) is State.OUT_OF_SPACE
    store.scrub()
    assert (state(store), store.is_out_of_space) == (State.NORMAL, False)


def test_store_without_its_file_runs_nothing_until_it_is_back(
    store: SQLiteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    append(store, message("before"))
    (tmp_path / "data").rename(tmp_path / "away")
    with caplog.at_level(logging.ERROR):
        assert [is_refused(store), is_refused(store), store.scrub()] == [True, True, True]
    assert (state(store), store.is_out_of_space) == (State.MOVED, True)
    assert caplog.text.count("folder-moved") == 1
    (tmp_path / "away").rename(tmp_path / "data")
    assert not is_refused(store)
    assert state(store) is State.OUT_OF_SPACE
    store.scrub()
    assert state(store) is State.NORMAL
    append(store, message("after"))
    assert names(waiting(store)) == ["before", "after"]


def test_another_file_in_its_place_is_not_the_database(store: SQLiteStore, tmp_path: Path) -> None:
    database = tmp_path / "data" / "relay.db"
    database.rename(tmp_path / "relay.db")
    database.write_bytes((tmp_path / "relay.db").read_bytes())
    assert is_refused(store)
    assert state(store) is State.MOVED
