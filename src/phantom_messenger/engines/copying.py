"""Copies a store, from either engine to either, while no relay works on it; and checks what it has made.

Both ends are read whole: while rows are copied, and once more at the copy when all are there. Only a copy whose
tables have as many rows as the original says, with the same digest, becomes a store that a relay can use.
"""

import contextlib
import re
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from phantom_messenger.engines.content import ITEMS, TABLES, Content, Copy, Digest, Original, Row, Table
from phantom_messenger.engines.errors import StoreError
from phantom_messenger.engines.sqlite import content as sqlite

_AT_ONCE: Final = 1_000
"""Rows between two reports."""

_NAMED: Final = 10
"""Damaged items that a sentence names."""


class Step(NamedTuple):
    """How far a copy is."""

    doing: str
    """``copying`` or ``checking``."""
    table: str
    done: int
    """Rows."""
    total: int


class Copied(NamedTuple):
    """A copy that is there, and is the same as its original."""

    digests: dict[str, Digest]
    """By table."""
    left_out: int
    """Damaged items, and those that had been quarantined."""


def copy_store(source: str, target: str, *, leave_out_damaged: bool = False) -> Generator[Step | Copied]:
    """Copy a store; nothing of the original changes, but that it is brought to this version.

    Args:
        source: a data folder, or a PostgreSQL URL.
        target: a folder that is new or empty, or the URL of a database without accounts.
        leave_out_damaged: whether a copy is made that lacks items which are damaged.

    Yields:
        How far it is; at the end, and not before the copy can be used, what was copied.

    Raises:
        StoreError: there is no copy; the message says what to do.
    """
    with contextlib.ExitStack() as stack:
        old: Original = stack.enter_context(_original(source))
        new: Copy = stack.enter_context(_copy(target))
        copied: dict[str, Digest] = {}
        for table in TABLES:
            copied[table.name] = yield from _copy_table(table, old, new)
            _refuse_losses(table, old, copied[table.name].count, leave_out_damaged=leave_out_damaged)
        new.finish(old.clock())
        for table in TABLES:
            yield from check(table, new, copied[table.name])
        left_out = len(old.damaged) + old.quarantined
    yield Copied(copied, left_out)


def is_url(text: str) -> bool:
    """Whether a store is named by the URL of its database."""
    return re.match("postgres(ql)?://", text) is not None


def _original(place: str) -> AbstractContextManager[Original]:
    if is_url(place):
        from phantom_messenger.engines.postgres import content as postgres  # noqa: PLC0415 - its library is an extra

        return postgres.original(place, "FROM")
    return sqlite.original(Path(place).expanduser())


def _copy(place: str) -> AbstractContextManager[Copy]:
    if is_url(place):
        from phantom_messenger.engines.postgres import content as postgres  # noqa: PLC0415 - as above

        return postgres.copy(place, "TO")
    return sqlite.copy(Path(place).expanduser())


def _copy_table(table: Table, old: Original, new: Copy) -> Generator[Step, None, Digest]:
    total, digest = old.count(table), Digest()
    yield Step("copying", table.name, 0, total)
    with new.writing(table) as write:
        for rows in _parts(old.rows(table)):
            digest.add(rows)
            write(rows)
            yield Step("copying", table.name, digest.count, total)
    return digest


def _refuse_losses(table: Table, old: Original, count: int, *, leave_out_damaged: bool) -> None:
    """Refuse a copy that lacks rows of the original."""
    damaged = old.damaged if table is ITEMS else []
    if damaged and not leave_out_damaged:
        named = ", ".join(map(str, damaged[:_NAMED])) + (", ..." if len(damaged) > _NAMED else "")
        raise StoreError(
            f"{len(damaged)} of the items in {old.place} are damaged (entry {named}); restore it from a backup,"
            " or copy the others with --leave-out-damaged"
        )
    if count + len(damaged) != old.count(table):
        raise StoreError(
            f"{old.place} is damaged ({old.count(table):,} rows in {table.name}, of which {count:,} can be read);"
            " restore it from a backup"
        )


def check(table: Table, new: Content, expected: Digest) -> Iterator[Step]:
    """Read a table of a copy.

    Raises:
        StoreError: it is not as it should be.
    """
    found, total = Digest(), new.count(table)
    for rows in _parts(new.rows(table)):
        found.add(rows)
        yield Step("checking", table.name, found.count, total)
    if not total == found.count == expected.count or str(found) != str(expected):
        raise StoreError(
            f"the copy is not the same as the original in {table.name} ({expected.count:,} rows, digest {expected};"
            f" {found.count:,} in the copy, digest {found}); nothing was kept of it: look at the disks, and copy again"
        )


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while part := list(islice(rows, _AT_ONCE)):
        yield part
