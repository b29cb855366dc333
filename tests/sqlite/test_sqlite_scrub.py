"""Erasing in the unallocated part of pages changes nothing that SQLite reads."""

import contextlib
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from phantom_messenger.sqlite.scrub import PAGE_BYTES, Scrubber, unallocated

SEEDS = range(6)


class Base:
    """A database under random traffic, with an index, long rows and short ones."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.chance = random.Random(seed)  # noqa: S311 - the same in every run
        self.connection = apsw.Connection(str(path))
        self.connection.pragma("journal_mode", "wal")
        self.connection.pragma("secure_delete", "on")
        self.connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, name TEXT, text BLOB)")
        self.connection.execute("CREATE INDEX names ON texts (name, id)")
        self.scrubber = Scrubber(self.connection, path, 50)

    def use(self, times: int) -> None:
        for _ in range(times):
            with self.connection:
                for _ in range(self.chance.randint(1, 20)):
                    self._one()
            self.scrubber.committed()

    def _one(self) -> None:
        if self.chance.random() < 0.6:
            size = self.chance.choice([30, 300, 1_500, 9_000])
            name = f"{self.chance.randrange(1_000)}" * self.chance.randint(1, 20)
            self.connection.execute("INSERT INTO texts (name, text) VALUES (?, ?)", (name, self.chance.randbytes(size)))
        else:
            self.connection.execute(
                "DELETE FROM texts WHERE id = (SELECT id FROM texts ORDER BY abs(id - ?) LIMIT 1)",
                (self.chance.randrange(2_000),),
            )

    def erase(self) -> None:
        for _ in range(1_000):
            if self.scrubber.run():
                return
        raise AssertionError("it never comes to an end")

    def rows(self) -> list[Any]:
        return self.connection.execute("SELECT * FROM texts ORDER BY id").fetchall()

    def is_in_order(self) -> bool:
        return bool(self.connection.pragma("integrity_check") == "ok")

    def unallocated(self) -> list[bytes]:
        """The unallocated part of each page, as it stands in the file."""
        content = self.path.read_bytes()
        pages = [content[at : at + PAGE_BYTES] for at in range(0, len(content), PAGE_BYTES)]
        parts = [slice(*unallocated(page, 0 if number else 100)) for number, page in enumerate(pages)]
        return [page[part] for page, part in zip(pages, parts, strict=True)]

    def unclean(self) -> list[int]:
        """The pages whose unallocated part is not all zeros."""
        return [number for number, part in enumerate(self.unallocated()) if any(part)]

    def close(self) -> None:
        self.connection.close()
        self.scrubber.close()


@pytest.fixture(params=SEEDS)
def base(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Base]:
    made = Base(tmp_path / "base.db", request.param)
    yield made
    made.close()


def test_erasing_changes_no_row_and_leaves_the_database_in_order(base: Base) -> None:
    for _ in range(5):
        base.use(40)
        before = base.rows()
        base.erase()
        assert base.rows() == before
        assert base.is_in_order()
        assert base.unclean() == []
    assert len(before) > 200


def test_pages_stay_clean_when_they_are_written_again(base: Base) -> None:
    base.use(100)
    base.erase()
    base.rows()  # all pages are in SQLite's cache
    base.use(100)
    base.erase()
    assert base.unclean() == []
    assert base.is_in_order()


def test_control_without_erasing_pages_are_unclean(tmp_path: Path) -> None:
    found = 0
    for seed in SEEDS:
        base = Base(tmp_path / f"{seed}.db", seed)
        base.use(200)
        base.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        found += len(base.unclean())
        base.close()
    assert found > 0


def test_next_run_looks_at_what_an_earlier_one_left(tmp_path: Path) -> None:
    base = Base(tmp_path / "base.db", 3)
    base.use(300)
    base.close()
    again = apsw.Connection(str(base.path))
    scrubber = Scrubber(again, base.path, 50)
    while not scrubber.run():
        """A step at a time."""
    assert base.unclean() == []
    again.close()
    scrubber.close()


def test_long_log_is_written_back(tmp_path: Path) -> None:
    base = Base(tmp_path / "base.db", 1)
    base.use(400)
    assert (tmp_path / "base.db-wal").stat().st_size < 200 * PAGE_BYTES
    base.close()


def bring_back(folder: Path) -> int:
    """How many scrubbed pieces return to the log when their pages, which SQLite has in its cache, are written again."""
    returned = 0
    for seed in SEEDS:
        base = Base(folder / f"{seed}.db", seed)
        base.use(200)
        base.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        assert base.rows(), "every page is in the cache"
        pieces = [piece for part in base.unallocated() if len(piece := part.strip(b"\0")) > 100]
        base.erase()
        assert base.unclean() == []
        base.connection.execute("UPDATE texts SET text = zeroblob(length(text)), name = upper(name)")
        log = (folder / f"{seed}.db-wal").read_bytes()
        returned += sum(piece in log for piece in pieces)
        base.close()
    return returned


def test_scrubbed_bytes_do_not_return_from_the_cache_of_sqlite(tmp_path: Path) -> None:
    assert bring_back(tmp_path) == 0


def test_control_without_shrinking_the_cache_they_return(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pragma = apsw.Connection.pragma

    class Hoarder(apsw.Connection):
        def pragma(self, name: str, *rest: Any, **more: Any) -> Any:
            return None if name == "shrink_memory" else pragma(self, name, *rest, **more)

    monkeypatch.setattr(apsw, "Connection", Hoarder)
    assert bring_back(tmp_path) > 0


@pytest.mark.parametrize(
    "page",
    [
        b"",
        bytes(PAGE_BYTES),
        b"\x0d" + bytes(PAGE_BYTES - 1),
        b"\x0d\x00\x00\xff\xff\x00\x10" + bytes(PAGE_BYTES - 7),
        random.Random(1).randbytes(PAGE_BYTES),  # noqa: S311 - any bytes
    ],
    ids=["nothing", "free", "no cells", "too many cells", "anything"],
)
def test_page_that_is_none_of_a_tree_or_damaged_is_left_alone(page: bytes) -> None:
    begin, end = unallocated(page)
    assert not any(page[begin:end])


def leaf(*, cells: int = 1, content: int = 4_000, fragments: int = 0, free: int = 0) -> bytes:
    """A leaf of a table with one pointer to the content, as in section 1.6 of the file format."""
    header = struct.pack(">BHHHB", 0x0D, free, cells, content, fragments) + struct.pack(">H", 4_000)
    return header + b"x" * (PAGE_BYTES - len(header))


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (leaf(), (10, 4_000)),
        (leaf(fragments=60), (10, 4_000)),
        (leaf(fragments=61), (0, 0)),
        (leaf(free=4_050), (10, 4_000)),
        (leaf(free=3_999), (0, 0)),
        (leaf(content=4_001), (0, 0)),
        (leaf(content=9), (0, 0)),
        (leaf(cells=0), (8, 4_000)),
        (leaf()[:-1], (0, 0)),
    ],
    ids=[
        "in order",
        "most fragments",
        "too many fragments",
        "free block in the content",
        "free block before the content",
        "cell before the content",
        "content in the header",
        "no cells",
        "short",
    ],
)
def test_unallocated_part_lies_between_pointers_and_content_of_a_page_that_is_in_order(
    page: bytes, found: tuple[int, int]
) -> None:
    assert unallocated(page) == found


# --- beside other programs --------------------------------------------------------


class Intruder:
    """Another program that writes and checkpoints between the look at a page and the write to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.wrote = 0
        self._path = path
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self._step_in)

    def _step_in(self, handle: int, data: bytes, place: int) -> int:
        if self.wrote == 30:
            return self._pwrite(handle, data, place)
        other = apsw.Connection(str(self._path))
        with contextlib.suppress(apsw.BusyError):
            with other:
                for number in range(0, 1_000, 3):  # names everywhere: pages of the index, too
                    other.execute("INSERT INTO texts (name, text) VALUES (?, ?)", (f"{number}", b"x" * 30))
            other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self.wrote += 1
        other.close()
        return self._pwrite(handle, data, place)


def test_nobody_writes_between_the_look_at_a_page_and_its_erasing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Base(tmp_path / "base.db", 3)
    base.use(200)
    intruder = Intruder(monkeypatch, base.path)
    base.erase()
    assert intruder.wrote == 0
    assert base.is_in_order()
    base.close()


def test_control_without_the_lock_another_program_makes_it_erase_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(scrubber: Scrubber, pages: list[int]) -> bool:
        scrubber._scrub(pages)
        return True

    base = Base(tmp_path / "base.db", 3)
    base.use(60)
    monkeypatch.setattr(Scrubber, "_scrub_alone", bare)
    intruder = Intruder(monkeypatch, base.path)
    with contextlib.suppress(apsw.CorruptError):
        base.erase()
        assert not base.is_in_order()
    assert intruder.wrote > 0
    base.close()


def test_nothing_is_erased_while_the_log_holds_what_another_program_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Base(tmp_path / "base.db", 3)
    base.use(200)
    checkpoint = Scrubber._checkpoint
    other = apsw.Connection(str(base.path))

    def then_somebody_writes(scrubber: Scrubber) -> None:
        checkpoint(scrubber)
        other.execute("INSERT INTO texts (name, text) VALUES ('theirs', 'x')")

    monkeypatch.setattr(Scrubber, "_checkpoint", then_somebody_writes)
    assert not base.scrubber.run()
    assert not base.scrubber.run()
    assert base.unclean(), "it waits"
    monkeypatch.undo()
    base.erase()
    assert base.unclean() == []
    assert base.is_in_order()
    other.close()
    base.close()


def test_log_that_somebody_keeps_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Base(tmp_path / "base.db", 1)
    base.erase()
    reader = apsw.Connection(str(base.path))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM texts").fetchall()
    reads: list[int] = []
    pread = os.pread

    def counting(handle: int, size: int, place: int) -> bytes:
        reads.append(place)
        return pread(handle, size, place)

    monkeypatch.setattr(os, "pread", counting)
    base.use(250)
    frames = base.scrubber._committed
    assert frames > 10 * 50, "it was looked at many times"
    numbers = [place for place in reads if place]  # the first place has the salts
    assert len(numbers) == len(set(numbers))
    assert len(numbers) <= frames
    reads.clear()
    with pytest.raises(apsw.BusyError):
        base.scrubber.run()
    assert len(reads) <= 50 + 100, "what came since the last look"
    monkeypatch.undo()
    reader.close()
    base.erase()
    assert base.unclean() == []
    base.close()


def test_control_a_log_that_is_not_remembered_is_read_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = Scrubber._collect

    def forgetful(scrubber: Scrubber) -> None:
        scrubber._seen = 0
        collect(scrubber)

    monkeypatch.setattr(Scrubber, "_collect", forgetful)
    with pytest.raises(AssertionError):
        test_log_that_somebody_keeps_is_read_once(tmp_path, monkeypatch)
