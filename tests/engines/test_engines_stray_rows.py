"""Rows whose numbers are damaged, so that nobody who looks for them finds them: nothing goes on for ever."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
from damaged_files import AWAY, BACK, beside, spoil, stray
from store_copies import copied

from phantom_messenger.engines.errors import StoreError
from phantom_messenger.engines.sqlite import SQLiteStore, content, corruption
from phantom_messenger.engines.sqlite.corruption import IndexPause, PastRepair
from support.store_user import expire
from support.stores import ALICE, BOB, NOW, append, bind, message, names, run, waiting

MAIL: Final = 300
"""Messages, on several pages."""

OLD: Final = 200
"""How many of them are to go."""

SWEEPS: Final = 10
A_PAGE: Final = 20
"""More rows than such a page has."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with messages for Bob that no test changes."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    made = SQLiteStore(folder)
    bind(made, ALICE, BOB)
    for number in range(MAIL):
        append(made, message(f"{number:03}", size=200), now=NOW + number)
    made.scrub()
    made.close()
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


class Credulous:
    """A connection for which each deletion has deleted something."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def changes(self) -> int:
        return 1


# --- a copy -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [BACK, AWAY], ids=["back", "away"])
def test_copy_comes_to_its_end_and_has_all(
    folder: Path, tmp_path: Path, number: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray(folder, b"<150", number)
    monkeypatch.setattr(content, "_AT_ONCE", 1)
    assert copied(folder, tmp_path / "two").digests["items"].count == MAIL


def one_by_one(original: Any) -> Iterator[Any]:
    """Each item is looked for behind the one before."""
    last = 0
    while found := original._connection.execute(f"{content._ITEM} WHERE entry > ? ORDER BY entry", (last,)).fetchone():
        last = found[0]
        yield from original._sound([found])


@pytest.mark.parametrize("number", [BACK, AWAY], ids=["back", "away"])
def test_control_copy_that_looks_behind_each_item_is_led_astray(
    folder: Path, tmp_path: Path, number: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray(folder, b"<150", number)
    monkeypatch.setattr(content.SQLiteContent, "_items", one_by_one)
    with pytest.raises(StoreError):
        copied(folder, tmp_path / "two")


class NoFurtherThan(content.SQLiteContent):
    """Takes all for given whose numbers are not above the highest that was."""

    _last = 0

    def _sound(self, found: Any) -> Iterator[Any]:
        self._last = max([self._last, *(row[0] for row in found)])
        return super()._sound(found)

    def _left(self, given: int) -> list[Any]:
        return [row for row in super()._left(given) if row[0] > self._last]


NUMBERS: Final = {"back": BACK, "away": AWAY, "as that of one that is not read yet": b"\x82\x22"}


@pytest.fixture(params=[1, 40, MAIL])
def _read_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_AT_ONCE", request.param)


@pytest.mark.usefixtures("_read_at_once")
@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("where", [b"<150", b"<250"], ids=["before", "behind"])
def test_copy_beside_a_page_that_cannot_be_read_has_all_but_that_page(
    folder: Path, tmp_path: Path, where: bytes, number: bytes
) -> None:
    stray(folder, where, number)
    lost, hidden = beside(folder, b"<200"), beside(folder, where)
    spoil(folder, b"<200")
    with pytest.raises(StoreError, match="or copy the others with --leave-out-damaged"):
        copied(folder, tmp_path / "two")
    done = copied(folder, tmp_path / "two", leave_out_damaged=True)
    assert done.digests["items"].count + done.left_out == MAIL
    if where < b"<200":
        assert done.left_out == lost
    else:  # what is behind is looked for number by number, and a wrong one hides those beside it
        assert lost < done.left_out < lost + hidden


def test_control_copy_that_goes_by_numbers_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray(folder, b"<150", AWAY)
    spoil(folder, b"<200")
    monkeypatch.setattr(content, "_AT_ONCE", 1)
    monkeypatch.setattr(content, "SQLiteContent", NoFurtherThan)
    with pytest.raises(StoreError, match="rows in items, of which"):
        copied(folder, tmp_path / "two", leave_out_damaged=True)


# --- what is too old --------------------------------------------------------------


def swept(folder: Path, *, has_new_indexes: bool = False, is_credulous: bool = False) -> tuple[int, list[str]]:
    """How many sweeps it takes until the old messages are gone, and what Bob has left."""
    opened = SQLiteStore(folder)
    if has_new_indexes:
        opened._index_pauses["items"]._made_at = math.inf
    if is_credulous:
        opened.tables.mailboxes._rows.connection = cast("Any", Credulous(opened._connection))
    count = 0
    while count < SWEEPS and expire(opened, NOW + MAIL, limit=100, stored_before=NOW + OLD - 1).deleted:
        count += 1
    append(opened, message("late"), now=NOW + 2 * MAIL)
    found = names(waiting(opened))
    opened.close()
    return count, found


@pytest.mark.parametrize("has_new_indexes", [False, True], ids=["", "no newer indexes"])
@pytest.mark.parametrize("number", [BACK, AWAY], ids=["back", "away"])
def test_sweep_of_what_is_old_comes_to_its_end_and_the_rest_stays(
    folder: Path, number: bytes, has_new_indexes: bool
) -> None:
    stray(folder, b"<150", number)
    count, left = swept(folder, has_new_indexes=has_new_indexes)
    assert count < SWEEPS
    young = [f"{one:03}" for one in range(OLD, MAIL)]
    assert left[-len(young) - 1 :] == [*young, "late"]
    assert len(left) < len(young) + A_PAGE, "what is on the damaged page alone may wait for longer"


def test_control_sweep_that_takes_a_row_for_deleted_goes_on_for_ever(folder: Path) -> None:
    stray(folder, b"<150", AWAY)
    assert swept(folder, is_credulous=True)[0] == SWEEPS


def reindexes(folder: Path, *, forgets: bool = False) -> int:
    """How often indexes are made anew, if that may be done between any two sweeps, and younger mail stays."""
    opened = SQLiteStore(folder)
    made: list[str] = []

    def note(_: Any, statement: str, __: Any) -> bool:
        if statement.startswith("REINDEX"):
            made.append(statement)
        return True

    opened._connection.exec_trace = note
    for _ in range(SWEEPS):
        expire(opened, NOW + MAIL, stored_before=NOW + OLD - 1)
        opened.scrub()
        opened._index_pauses["items"] = IndexPause()
        if forgets:
            opened.tables.mailboxes._rows._past_repair = PastRepair()
    opened.close()
    return len(made)


def test_indexes_are_made_anew_but_once_for_a_row_that_they_do_not_help(folder: Path) -> None:
    stray(folder, b"<150", AWAY)
    assert reindexes(folder) == 1


def test_control_that_row_forgotten_indexes_are_made_anew_at_each_sweep(folder: Path) -> None:
    stray(folder, b"<150", AWAY)
    assert reindexes(folder, forgets=True) == SWEEPS


def test_where_too_many_rows_are_past_repair_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corruption, "MAX_PAST_REPAIR", 2)
    past = PastRepair()
    past.add(1)
    assert 1 in past
    assert 3 not in past
    for entry in range(2, 9):
        past.add(entry)
    assert 3 in past
    assert len(past._entries) == 2


# --- an account -------------------------------------------------------------------


def can_be_deleted(folder: Path, *, is_credulous: bool) -> bool:
    """Whether deleting an account, whose mail was all set aside, comes to an end, a small part at a time."""
    opened = SQLiteStore(folder)
    opened._connection.execute("UPDATE items SET checksum = checksum + 1")
    assert waiting(opened) == []
    opened.scrub()
    opened.close()
    stray(folder, b"<150", AWAY)
    opened = SQLiteStore(folder)
    accounts = opened.tables.directory
    accounts._step = 100
    if is_credulous:
        accounts._connection = cast("Any", Credulous(opened._connection))
    done = run(opened, lambda tables: any(tables.directory.delete(BOB) for _ in range(2 * MAIL)))
    opened.close()
    return done


@pytest.mark.parametrize("is_credulous", [False, True], ids=["", "control: takes it for deleted"])
def test_account_whose_mail_was_set_aside_can_be_deleted(folder: Path, is_credulous: bool) -> None:
    assert can_be_deleted(folder, is_credulous=is_credulous) is not is_credulous
