"""Erasing in the unallocated part of pages changes nothing that SQLite reads."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from phantom_messenger.erasure import PAGE_BYTES, Erasure, unallocated

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
        self.erasure = Erasure(self.connection, path, 50)

    def use(self, times: int) -> None:
        for _ in range(times):
            with self.connection:
                for _ in range(self.chance.randint(1, 20)):
                    self._one()
            self.erasure.committed()

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
            if self.erasure.run():
                return
        raise AssertionError("it never comes to an end")

    def rows(self) -> list[Any]:
        return self.connection.execute("SELECT * FROM texts ORDER BY id").fetchall()

    def is_in_order(self) -> bool:
        return bool(self.connection.pragma("integrity_check") == "ok")

    def unclean(self) -> list[int]:
        """The pages whose unallocated part is not all zeros."""
        content = self.path.read_bytes()
        pages = [content[at : at + PAGE_BYTES] for at in range(0, len(content), PAGE_BYTES)]
        places = [unallocated(page, 0 if number else 100) for number, page in enumerate(pages)]
        return [
            number
            for number, (page, (begin, end)) in enumerate(zip(pages, places, strict=True))
            if any(page[begin:end])
        ]

    def close(self) -> None:
        self.connection.close()
        self.erasure.close()


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
    erasure = Erasure(again, base.path, 50)
    while not erasure.run():
        """A step at a time."""
    assert base.unclean() == []
    again.close()
    erasure.close()


def test_long_log_is_written_back(tmp_path: Path) -> None:
    base = Base(tmp_path / "base.db", 1)
    base.use(400)
    assert (tmp_path / "base.db-wal").stat().st_size < 200 * PAGE_BYTES
    base.close()


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
