"""The free-space scrubber: zeroes what SQLite's ``secure_delete`` leaves behind, for a database in WAL mode.

When SQLite rebalances a b-tree it copies cells to other pages, and the old copies stay in the
unallocated part of the page: between the cell pointers and the cells (sqlite.org/fileformat2.html,
section 1.6). What is deleted later is overwritten where it lives, not there. So pages that were
written are looked at afterwards, and their unallocated part is filled with zeros in the file.
Nothing that SQLite reads is there.

Nobody may write meanwhile, so it is done under SQLite's own write lock, and only while the log is empty. The
file is opened once and closed after the connection: closing any handle of a file drops the POSIX locks
that the process holds on it (sqlite.org/howtocorrupt.html, section 2.2).

Whoever checkpoints decides where one log ends and the next begins, so ``log_pairing`` is called from here.
"""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from phantom_messenger.sqlite import log_pairing

PAGE_BYTES: Final = 4_096
"""SQLite's default; a database with another page size is left alone."""

PAGES_AT_ONCE: Final = 2_000
"""Pages looked at in one step: some 20 ms."""

_LOG_HEADER: Final = 32
_SALTS: Final = slice(16, 24)
_FRAME_HEADER: Final = 24
_HEADER_BYTES: Final = {0x02: 12, 0x05: 12, 0x0A: 8, 0x0D: 8}
"""Of a b-tree page by its type (section 1.6): interior and leaf, of an index and a table."""

_FIRST_AMBIGUOUS: Final = 0x02 << 24
"""An overflow page begins with a page number; below this one its first byte is no type of a b-tree page."""


class Scrubber:
    """Checkpoints and scrubs one connection's database; used on the connection's thread.

    Args:
        connection: in WAL mode; its commits are watched, and it leaves checkpoints to this.
        database: its file.
        log_pages: length of the write-ahead log at which it is checkpointed.
    """

    def __init__(self, connection: apsw.Connection, database: Path, log_pages: int) -> None:
        self._connection = connection
        self._log = database.with_name(database.name + "-wal")
        self._handle: int | None = os.open(database, os.O_RDWR | os.O_CLOEXEC)
        self._log_pages = log_pages
        self._committed = 0
        self._due = log_pages
        self._salts = b""
        self._seen = 0
        """How many frames of the log with these salts were looked at."""
        self._written: set[int] = set()
        self._unseen = 1
        """The first page that was not looked at since the start: an earlier run may have written it."""
        self._is_log_new = True
        self._has_begun = False
        """Whether the log says what it follows; only then it may say where it ends."""
        page_bytes: int = connection.pragma("page_size")
        self._knows_pages = page_bytes == PAGE_BYTES
        connection.set_wal_hook(self._note)

    def begin(self) -> None:
        """Call it inside each transaction, before anything is written."""
        if self._is_log_new:
            log_pairing.begin(self._connection)
            self._has_begun = True

    def part(self) -> None:
        """Make sure that the next log fits no older copy of the database; call it outside of a transaction.

        Raises:
            apsw.Error: another program reads or writes the database, or there is no room.
        """
        with self._connection:
            self.begin()
        self._checkpoint()

    def committed(self) -> None:
        """A transaction was committed: checkpoint if the log is long."""
        if self._committed < self._log_pages:
            self._due = self._log_pages
        elif self._committed >= self._due:
            # Before the attempt: while another program keeps the log, not every commit is to make one.
            self._due = self._committed + self._log_pages
            with suppress(apsw.Error):  # the log is kept, and it is tried again
                self._collect()
                self._end_log()
                length, done = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                self._is_log_new = length == done

    def run(self) -> bool:
        """Checkpoint, truncate the log, and scrub pages that were written since the last time.

        Returns:
            Whether nothing is left to be scrubbed.

        Raises:
            apsw.BusyError: another program reads or writes the database.
            apsw.FullError: there is no room for the checkpoint.
        """
        # Before the checkpoint, which empties the log: nothing else tells which pages were written.
        self._collect()
        with suppress(apsw.FullError, apsw.IOError):  # without it, what is on a full disk could not be erased
            self._end_log()
        self._checkpoint()
        count: int = self._connection.pragma("page_count")
        if not self._knows_pages or count >= _FIRST_AMBIGUOUS:
            return True
        pages = sorted(self._written)[:PAGES_AT_ONCE]
        while len(pages) < PAGES_AT_ONCE and self._unseen <= count:
            pages.append(self._unseen)
            self._unseen += 1
        if pages and not self._scrub_alone([page for page in pages if page <= count]):
            self._written.update(pages)
            return False
        self._written.difference_update(pages)
        return not self._written and self._unseen > count

    def is_tree(self, number: int) -> bool:
        """Whether a page, as it stands in the file, can be read as one of a b-tree; call it while the log is empty."""
        assert self._handle is not None  # noqa: S101 - as in _scrub
        page = os.pread(self._handle, PAGE_BYTES, (number - 1) * PAGE_BYTES)
        return not self._knows_pages or unallocated(page, 100 if number == 1 else 0) != (0, 0)

    def close(self) -> None:
        """Close the file; call it after the connection is closed."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _note(self, _: apsw.Connection, __: str, pages: int) -> int:
        # After a checkpoint the log continues if somebody still reads it; a new log is shorter.
        if pages <= self._committed or not self._committed:
            self._is_log_new = False
        self._committed = pages
        return apsw.SQLITE_OK

    def _end_log(self) -> None:
        if self._committed and self._has_begun:
            log_pairing.end(self._connection)

    def _checkpoint(self) -> None:
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._committed = 0
        self._is_log_new = True
        self._has_begun = False

    def _collect(self) -> None:
        """Remember the pages in the log: each frame begins with the number of its page (section 4.1)."""
        if not self._committed or not self._log.exists():
            return
        log = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
        try:
            salts = os.pread(log, _LOG_HEADER, 0)[_SALTS]
            if salts != self._salts or self._committed < self._seen:
                self._salts, self._seen = salts, 0
            for frame in range(self._seen, self._committed):
                place = _LOG_HEADER + frame * (_FRAME_HEADER + PAGE_BYTES)
                number = os.pread(log, 4, place)
                if any(number):
                    self._written.add(int.from_bytes(number))
            self._seen = self._committed
        finally:
            os.close(log)

    def _scrub_alone(self, pages: list[int]) -> bool:
        """Scrub pages while nobody writes; False if somebody has written, and it is to be tried again."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            # A page in the log hides the one in the file, and may be copied over it at any time.
            if self._log.exists() and self._log.stat().st_size:
                return False
            found = self._scrub(pages)
        finally:
            self._connection.execute("ROLLBACK")
        if found:
            # SQLite would write cached copies of these pages, and with them what was erased.
            self._connection.pragma("shrink_memory")
        return True

    def _scrub(self, pages: list[int]) -> bool:
        assert self._handle is not None  # noqa: S101 - the caller has not closed it
        found = False
        for number in pages:
            page = os.pread(self._handle, PAGE_BYTES, (number - 1) * PAGE_BYTES)
            begin, end = unallocated(page, 100 if number == 1 else 0)
            if any(page[begin:end]):
                os.pwrite(self._handle, bytes(end - begin), (number - 1) * PAGE_BYTES + begin)
                found = True
        if found:
            # Zeros that only the system's cache holds have erased nothing if the power fails.
            os.fdatasync(self._handle)
        return found


def unallocated(page: bytes, header: int = 0) -> tuple[int, int]:
    """Where the unallocated part of a b-tree page begins and ends; nowhere if it is no such page, or damaged.

    Args:
        page: all of it.
        header: where its header begins, 100 on the first page.
    """
    if len(page) != PAGE_BYTES or page[header] not in _HEADER_BYTES:
        return 0, 0
    _, free, cells, content, fragments = struct.unpack_from(">BHHHB", page, header)
    begin = header + _HEADER_BYTES[page[header]] + 2 * cells
    end = content or 65_536
    if not begin <= end <= PAGE_BYTES or fragments > 60 or (free and free < end):  # noqa: PLR2004 - section 1.6
        return 0, 0
    pointers = struct.unpack_from(f">{cells}H", page, begin - 2 * cells)
    if any(not end <= pointer < PAGE_BYTES for pointer in pointers):
        return 0, 0
    return begin, end
