"""The files of a database: one name, one owner, whole or not at all."""

import os
from pathlib import Path

import apsw
import pytest

from phantom_messenger.sqlite import files
from phantom_messenger.sqlite.database import NewerVersion, configure, migrate, new_file
from phantom_messenger.sqlite.errors import is_corruption, is_out_of_space

OPEN = Path("/proc/self/fd")
ONE, TWO = "CREATE TABLE one (x)", "CREATE TABLE two (x)"


def tables(connection: apsw.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_schema ORDER BY name")]


# --- names and locks -------------------------------------------------------------------


def test_real_path_is_that_of_the_file_behind_links(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert files.real_path(tmp_path / "link") == files.real_path(tmp_path / "file") == (tmp_path / "file").resolve()
    assert files.real_path(tmp_path / "new") == (tmp_path / "new").resolve()


def test_link_that_leads_nowhere_is_an_error_that_names_the_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(files.DanglingLink) as raised:
        files.real_path(tmp_path / "link")
    assert raised.value.target == (tmp_path / "gone").resolve()


def test_lock_is_for_one_until_its_handle_is_closed(tmp_path: Path) -> None:
    handle = files.lock(tmp_path / "lock")
    before = len(list(OPEN.iterdir()))
    with pytest.raises(BlockingIOError):
        files.lock(tmp_path / "lock")
    assert len(list(OPEN.iterdir())) == before, "nothing stays open"
    os.close(handle)
    os.close(files.lock(tmp_path / "lock"))
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_folder_is_made_with_those_above_it_and_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    files.make_folder(tmp_path / "deep" / "down")
    files.make_folder(tmp_path / "deep" / "down")
    assert synced == [tmp_path, tmp_path / "deep"]
    assert (tmp_path / "deep" / "down").stat().st_mode & 0o777 == 0o700


# --- new databases ---------------------------------------------------------------------


def test_new_file_takes_its_name_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with new_file(path) as (part, connection):
        connection.execute(ONE)
        assert not path.exists()
        assert part.stat().st_mode & 0o777 == 0o600
        connection.close()
        part.rename(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]
    assert tables(apsw.Connection(str(path))) == ["one"]


def test_new_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.db.new-wal").write_bytes(b"of a run that died")
    with pytest.raises(apsw.SQLError), new_file(tmp_path / "a.db") as (_, connection):
        connection.execute(f"{ONE}; no SQL")
    assert list(tmp_path.iterdir()) == []


def test_commits_are_synced_and_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "a.db"))
    configure(connection)
    found = {name: connection.pragma(name) for name in ("journal_mode", "synchronous", "secure_delete", "temp_store")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "temp_store": 2}


# --- schema steps ----------------------------------------------------------------------


def test_steps_that_are_missing_are_taken_once() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, [ONE])
    migrate(connection, [ONE, TWO])
    migrate(connection, [ONE, TWO])
    assert tables(connection) == ["one", "two"]
    assert connection.pragma("user_version") == 2


def test_step_that_fails_is_rolled_back_alone() -> None:
    connection = apsw.Connection(":memory:")
    with pytest.raises(apsw.SQLError):
        migrate(connection, [ONE, f"{TWO}; no SQL"])
    assert tables(connection) == ["one"]
    assert connection.pragma("user_version") == 1
    assert not connection.in_transaction


def test_database_with_more_steps_is_of_a_newer_version() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, [ONE, TWO])
    with pytest.raises(NewerVersion):
        migrate(connection, [ONE])


# --- errors ----------------------------------------------------------------------------


def io_error(extended: int) -> apsw.IOError:
    error = apsw.IOError()
    error.extendedresult = extended  # type: ignore[attr-defined] # as apsw sets it
    return error


@pytest.mark.parametrize(
    ("error", "out_of_space", "corruption"),
    [
        (apsw.FullError(), True, False),
        (io_error(apsw.SQLITE_IOERR_WRITE), True, False),
        (io_error(apsw.SQLITE_IOERR_FSYNC), True, False),
        (io_error(apsw.SQLITE_IOERR_READ), False, True),
        (io_error(apsw.SQLITE_IOERR_SHORT_READ), False, True),
        (io_error(apsw.SQLITE_IOERR_CORRUPTFS), False, True),
        (apsw.CorruptError(), False, True),
        (apsw.BusyError(), False, False),
        (ValueError(), False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_error_is_of_space_or_of_corruption_or_of_neither(
    error: Exception, out_of_space: bool, corruption: bool
) -> None:
    assert (is_out_of_space(error), is_corruption(error)) == (out_of_space, corruption)
