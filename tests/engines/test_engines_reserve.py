"""The space kept back for a full disk: taken, given up to the log, and taken again."""

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.reserve import RESERVE_BYTES, Reserve
from phantom_messenger.relay.records import Item
from support.stores import ALICE, BOB, CAROL, NOW, acknowledge, append, bind, failing, message, names, run, waiting


class Disk:
    """Lets ``posix_fallocate`` fail with ``error`` while that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: int | None = None
        self.room: int | None = None
        self._allocate = os.posix_fallocate
        monkeypatch.setattr(os, "posix_fallocate", self.allocate)

    def allocate(self, handle: int, offset: int, size: int) -> None:
        if self.room is not None and size > self.room:
            raise OSError(errno.ENOSPC, "full")
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        self._allocate(handle, offset, size)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path / "reserve")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    made = SQLiteStore(tmp_path / "data")
    bind(made, ALICE, BOB, CAROL)
    yield made
    made.close()


def is_out_of_space(store: SQLiteStore) -> bool:
    return store.is_out_of_space


def taken(path: Path) -> int:
    """Bytes of the disk that a file takes up."""
    return path.stat().st_blocks * 512


def test_reserve_takes_up_space_until_it_is_given_up(reserve: Reserve, tmp_path: Path) -> None:
    assert reserve.acquire()
    assert taken(tmp_path / "reserve") >= RESERVE_BYTES
    assert reserve.release()
    assert taken(tmp_path / "reserve") == 0
    assert not reserve.release(), "there was nothing left"


def test_reserve_is_an_eighth_of_a_small_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = os.statvfs_result((4_096, 4_096, 1_024, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: small)
    assert Reserve(tmp_path / "reserve").size == 4 * 1_024 * 1_024 // 8


def test_disk_without_a_size_needs_no_reserve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4_096, 4_096, 0, 0, 0, 0, 0, 0, 0, 255)))
    assert Reserve(tmp_path / "reserve").acquire()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_has_no_reserve(reserve: Reserve, disk: Disk, tmp_path: Path, error: int) -> None:
    disk.error = error
    assert not reserve.acquire()
    assert taken(tmp_path / "reserve") == 0


def test_nearly_full_disk_gives_what_it_has(reserve: Reserve, disk: Disk, tmp_path: Path) -> None:
    disk.room = RESERVE_BYTES // 3
    assert not reserve.acquire()
    assert RESERVE_BYTES // 8 < taken(tmp_path / "reserve") <= disk.room


def test_file_system_that_cannot_reserve_is_told_and_used(
    reserve: Reserve, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.error = errno.EOPNOTSUPP
    assert reserve.acquire()
    assert "cannot reserve space" in caplog.text


def test_store_keeps_a_reserve(store: SQLiteStore, tmp_path: Path) -> None:
    assert not is_out_of_space(store)
    assert taken(tmp_path / "data" / "reserve") >= RESERVE_BYTES


def test_full_disk_moves_the_reserve_into_the_log_and_room_moves_it_back(
    store: SQLiteStore, disk: Disk, tmp_path: Path
) -> None:
    reserve, log = tmp_path / "data" / "reserve", tmp_path / "data" / "relay.db-wal"
    append(store, message("before"))
    store.run_jobs([failing(error=apsw.FullError("full"))])
    assert is_out_of_space(store)
    assert taken(reserve) == 0
    assert taken(log) >= RESERVE_BYTES
    disk.error = errno.ENOSPC
    store.scrub()
    assert is_out_of_space(store), "the disk is still full"
    assert acknowledge(store, "before")
    disk.error = None
    store.scrub()
    assert not is_out_of_space(store)
    assert taken(reserve) >= RESERVE_BYTES
    assert isinstance(append(store, message("after")), Item)


def test_log_that_holds_the_reserve_is_read_after_a_crash(store: SQLiteStore, tmp_path: Path) -> None:
    append(store, message("before"))
    append(store, message("to go"))
    store.run_jobs([failing(error=apsw.FullError("full"))])
    assert acknowledge(store, "to go")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("relay.db", "relay.db-wal"):
        (copy / name).write_bytes((tmp_path / "data" / name).read_bytes())
    again = SQLiteStore(copy)
    assert names(waiting(again)) == ["before"]
    assert isinstance(append(again, message("after")), Item)
    again.close()


def test_store_starts_on_a_full_disk(store: SQLiteStore, disk: Disk, tmp_path: Path) -> None:
    append(store, message("before"))
    store.close()
    disk.error = errno.ENOSPC
    again = SQLiteStore(tmp_path / "data")
    assert again.is_out_of_space
    assert names(waiting(again)) == ["before"]
    assert acknowledge(again, "before")
    disk.error = None
    again.scrub()
    assert isinstance(append(again, message("after")), Item)
    again.close()


def test_big_mailbox_goes_in_bounded_steps(store: SQLiteStore) -> None:
    for number in range(100):
        append(store, message(str(number), size=20_000, expires_at=NOW))
    steps = []
    while swept := run(store, lambda tx: tx.mailboxes.expire(NOW, 1_000)):
        steps.append(len(swept))
    assert sum(steps) == 100
    assert max(steps) * 20_000 < 1_100_000
    for number in range(100):
        append(store, message(f"again {number}", size=20_000))
    deletions = 1
    while not run(store, lambda tx: tx.directory.delete(BOB)):
        deletions += 1
        assert run(store, lambda tx: tx.directory.public_key(BOB)), "it is there until all is gone"
    assert deletions > 1
    assert run(store, lambda tx: tx.directory.public_key(BOB)) is None


def test_reader_of_the_database_is_not_waited_for(
    store: SQLiteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    append(store, message("before"))
    reader = apsw.Connection(str(tmp_path / "data" / "relay.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM items").fetchall()
    append(store, message("meanwhile"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store.scrub()
    assert caplog.text.count("another program is reading the database") == 1
    reader.close()
    store.scrub()
    assert (tmp_path / "data" / "relay.db-wal").stat().st_size == 0


@pytest.mark.parametrize("how", ["moved", "deleted", "swapped"])
def test_database_that_is_not_where_it_was_accepts_nothing(store: SQLiteStore, tmp_path: Path, how: str) -> None:
    database = tmp_path / "data" / "relay.db"
    append(store, message("before"))
    copy = tmp_path / "copy.db"
    copy.write_bytes(database.read_bytes())
    if how == "moved":
        database.rename(tmp_path / "elsewhere.db")
    elif how == "deleted":
        database.unlink()
    else:
        copy.replace(database)
    with pytest.raises(OSError, match="not where it was"):
        append(store, message("lost"))
    assert is_out_of_space(store), "and the relay says that it is not ready"
    store.scrub()
    assert is_out_of_space(store)


@pytest.mark.parametrize(
    ("disk_mib", "size", "log_pages", "step_bytes", "growth_pages"),
    [
        (None, 0, 1_000, 1 << 20, 0),
        (1 << 20, 8 << 20, 1_000, 1 << 20, 128),
        (64, 8 << 20, 1_000, 1 << 20, 128),
        (32, 4 << 20, 512, 512 << 10, 64),
        (8, 1 << 20, 128, 128 << 10, 16),
    ],
)
def test_small_disk_has_a_small_reserve_and_a_short_log(  # noqa: PLR0917 - a table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    disk_mib: int | None,
    size: int,
    log_pages: int,
    step_bytes: int,
    growth_pages: int,
) -> None:
    disk = os.statvfs_result((4_096, 4_096, (disk_mib or 0) * 256, 0, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    reserve = Reserve(None if disk_mib is None else tmp_path / "reserve")
    found = (reserve.size, reserve.log_pages, reserve.step_bytes, reserve.growth_pages)
    assert found == (size, log_pages, step_bytes, growth_pages)


def test_reserve_of_a_database_in_memory_takes_up_nothing(tmp_path: Path) -> None:
    reserve = Reserve(None)
    assert reserve.acquire()
    assert not reserve.release()
    reserve.donate_to(tmp_path / "no log")
    assert list(tmp_path.iterdir()) == []
