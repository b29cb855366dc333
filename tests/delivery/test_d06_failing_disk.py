"""The disk fails at every single call, in every way: nothing is promised that does not last.

What the disk is asked for is counted; in each run another call fails, once or for a while. The store
is the real one, the disk is a model. A really full one is in ``test_d06_full_disk.py``.
"""

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
from disk_model import Disk, DiskStore, opened, with_code
from disk_promises import (
    USERS,
    Book,
    Broken,
    Task,
    acknowledge,
    append,
    bind,
    check_integrity,
    confirm,
    contents,
    expire,
    noted,
    publish,
    take,
)

from phantom_messenger.engines.sqlite import StoreError
from phantom_messenger.engines.sqlite.corruption import CorruptRows
from phantom_messenger.relay.commands import CommandFailed
from support.amounts import LONG, amount
from support.stores import HOUR, NOW, append_all, exchange, message, names, receipt, waiting
from support.stores import bind as bind_all

ALICE, BOB, CAROL, DAVE = USERS
FOREVER: Final = 10**9
UNREADABLE: Final = (apsw.Error, CorruptRows)

Act = Sequence[Task] | str
"""A batch, or "scrub" or "reopen"."""


@dataclass
class Fault:
    """The disk fails from the ``first`` call of an operation on, ``times`` times."""

    operation: str
    error: type[apsw.Error]
    code: int
    first: int
    times: int
    count: int = 0
    failures: int = 0
    writes: int = 0
    is_over: bool = False

    def __call__(self, operation: str, _file: str) -> None:
        self.writes += operation == "write"
        if operation != self.operation or self.is_over:
            return
        self.count += 1
        if self.first <= self.count < self.first + self.times:
            self.failures += 1
            raise with_code(self.error(f"{operation} fails"), self.code)

    @property
    def has_come(self) -> bool:
        return self.failures > 0


def acts() -> list[Act]:
    """A little of all the work that a store does."""
    big = [append(BOB, message(f"big {number}", ALICE, size=9_000)) for number in range(6)]
    small = [append(CAROL, message(f"small {number}", BOB, size=40)) for number in range(30)]
    dying = [append(BOB, message(f"dying {number}", DAVE, size=3_000, expires_at=NOW + HOUR)) for number in range(4)]
    return [
        [bind(user) for user in USERS],
        [publish(ALICE, range(1, 30), range(1, 6))],
        big,
        "scrub",
        [*small, append(ALICE, receipt("r", BOB)), append(ALICE, exchange("INIT", BOB, "x" * 2_000))],
        [take(ALICE, BOB, NOW), take(ALICE, CAROL, NOW)],
        [acknowledge(BOB, ALICE, "big 1"), *dying, acknowledge(BOB, ALICE, "big 2")],
        "reopen",
        [expire(NOW + 2 * HOUR, 3)],
        [acknowledge(CAROL, BOB, f"small {number}") for number in range(12)],
        [append(ALICE, receipt("r", BOB, "again")), confirm(ALICE, 2)],
        "scrub",
        [take(ALICE, BOB, NOW)],
        [append(BOB, message(f"late {number}", ALICE, size=5_000)) for number in range(3)],
        [acknowledge(BOB, ALICE, "late 0")],
    ]


class Run:
    """All acts on a disk that fails."""

    def __init__(self, folder: Path, fault: Fault, kind: type[DiskStore] = DiskStore) -> None:
        self._folder = folder
        self._fault = fault
        self._kind = kind
        self._book = Book()
        self._in_doubt: list[list[tuple[Task, Any]]] = []
        """Transactions that failed, after the last that did not."""
        self._disk = Disk()

    def run(self) -> None:
        """Do them, and look after each.

        Raises:
            Broken: a promise was not kept.
        """
        with self._disk as disk:
            disk.step = self._fault
            self._store = self._open()
            try:
                for act in acts():
                    if act == "reopen":
                        self._reopen()
                        self._read_again()
                    else:
                        self._act(act)
                self._fault.is_over = True
                if self._fault.operation == "read":
                    self._reopen()
                self._check_recovery()
            finally:
                self._store.close()
            disk.lose()
            disk.switch_on()
            with opened(self._folder, disk) as again:
                self._check(again)

    def _open(self) -> DiskStore:
        try:
            return self._kind(self._folder, self._disk, checkpoint=20, cache=10)
        except StoreError as error:
            if not self._fault.has_come:
                raise
            if "\n" in str(error) or str(self._folder) not in str(error):
                raise Broken(f"not a sentence: {error}") from None
        except apsw.Error as error:
            raise Broken(f"it does not say why it cannot be opened: {error!r}") from error
        self._fault.is_over = True
        return self._kind(self._folder, self._disk, checkpoint=20, cache=10)

    def _reopen(self) -> None:
        self._store.close()
        self._store = self._open()

    def _act(self, act: Act) -> None:
        before = self._fault.failures
        if isinstance(act, str):
            self._scrub()
        else:
            self._batch(act)
        self._read()
        if self._fault.failures > before:
            self._check_what_lasts()

    def _scrub(self) -> None:
        try:
            self._store.scrub()
        except apsw.Error:
            if not self._fault.has_come:
                raise

    def _batch(self, tasks: Sequence[Task]) -> None:
        self._store.attempts.clear()
        before = self._fault.writes
        results = self._store.run_jobs([noted(task, self._store) for task in tasks])
        if len(results) != len(tasks):
            raise Broken(f"{len(results)} results for {len(tasks)} jobs")
        for task, result in zip(tasks, results, strict=True):
            if isinstance(result, CommandFailed) and not self._fault.has_come:
                raise result.error
            self._book.enter(task, result)
        self._in_doubt += [attempt for attempt in self._store.attempts if attempt]
        if self._fault.writes > before and not any(isinstance(result, CommandFailed) for result in results):
            self._in_doubt = []  # written over

    def _read_again(self) -> None:
        try:
            found = contents(self._store)
        except UNREADABLE:
            assert self._fault.has_come
            self._fault.is_over = True
            self._reopen()
            found = contents(self._store)
        book = self._what_lasts(found, "after opening it again")
        if book is not self._book:  # what failed is in the log, though perhaps not on the disk
            self._book = book
            self._fault.is_over = True
            self._store.scrub()

    def _read(self) -> None:
        """Reading goes on; failed jobs have done nothing."""
        try:
            found = contents(self._store)
        except UNREADABLE as error:
            if self._fault.operation not in ("read", "open", "size", "access") or not self._fault.has_come:
                raise Broken(f"reading fails: {error!r}") from error
        else:
            self._compare(found, "while it was used")

    def _check_what_lasts(self) -> None:
        """If the power were cut now."""
        with self._disk.copy_of_what_lasts() as disk, opened(self._folder / "copy", disk) as copy:
            check_integrity(copy)
            self._what_lasts(contents(copy), "after a power cut")

    def _what_lasts(self, found: Book, when: str) -> Book:
        """What was promised, perhaps with a transaction that seemed to fail."""
        for attempt in self._in_doubt:
            with contextlib.suppress(Broken):  # part of it was done again meanwhile, and with success
                book = self._book.with_all(attempt)
                if not book.compare(found):
                    return book
        self._compare(found, when)
        return self._book

    def _check_recovery(self) -> None:
        self._store.scrub()
        if self._store.is_out_of_space:
            raise Broken("it has not recovered")
        more = [append(DAVE, message(f"after {number}", ALICE, size=9_000)) for number in range(5)]
        self._batch([bind(user) for user in USERS])
        self._batch(more)
        if len(self._book.account(DAVE).mail) < len(more):
            raise Broken("it does not take messages again")
        self._check(self._store)
        self._check_what_lasts()

    def _check(self, store: DiskStore) -> None:
        check_integrity(store)
        self._compare(contents(store), "in the end")

    def _compare(self, found: Book, when: str) -> None:
        faults = self._book.compare(found)
        if self._fault.operation == "read" and self._fault.has_come and not self._fault.is_over:
            faults = [fault for fault in faults if "lost" not in fault]  # left out as long as it cannot be read
        if faults:
            raise Broken(f"{when}: {faults}")


FAULTS: Final = [
    ("write", apsw.IOError, apsw.SQLITE_IOERR_WRITE),
    ("write", apsw.FullError, apsw.SQLITE_FULL),
    ("sync", apsw.IOError, apsw.SQLITE_IOERR_FSYNC),
    ("truncate", apsw.IOError, apsw.SQLITE_IOERR_TRUNCATE),
    ("read", apsw.IOError, apsw.SQLITE_IOERR_READ),
    ("read", apsw.IOError, apsw.SQLITE_IOERR_CORRUPTFS),
    ("size", apsw.IOError, apsw.SQLITE_IOERR_FSTAT),
    ("open", apsw.CantOpenError, apsw.SQLITE_CANTOPEN),
    ("open", apsw.IOError, apsw.SQLITE_IOERR),
    ("delete", apsw.IOError, apsw.SQLITE_IOERR_DELETE),
    ("access", apsw.IOError, apsw.SQLITE_IOERR_ACCESS),
]
TIMES: Final = (1, 4, FOREVER)


def faults(operation: str, error: type[apsw.Error], code: int, *, step: int) -> Iterator[Fault]:
    """Endless: a fault at every so many calls, each so many times."""
    for number, first in enumerate(itertools.count(1, step)):
        for times in TIMES if LONG else [TIMES[number % len(TIMES)]]:
            yield Fault(operation, error, code, first, times)


def broken_promises(
    operation: str,
    error: type[apsw.Error],
    code: int,
    folder: Path,
    *,
    step: int = 1,
    kind: type[DiskStore] = DiskStore,
) -> list[str]:
    """What is broken if each of the calls fails, until there are no more of them."""
    found: list[str] = []
    for fault in faults(operation, error, code, step=step):
        try:
            Run(folder, fault, kind).run()
        except Broken as broken:
            found.append(f"{operation} {fault.first} fails {fault.times} times with {code}: {broken}")
        if not fault.has_come:
            assert fault.first > 1, f"there is no {operation}"
            break
    return found


@pytest.mark.timeout(amount(300, 3_600))
@pytest.mark.parametrize(("operation", "error", "code"), FAULTS)
def test_promises_hold_whichever_call_fails(operation: str, error: type[apsw.Error], code: int, tmp_path: Path) -> None:
    step = amount({"write": 47, "read": 71, "sync": 5, "size": 4}.get(operation, 1), 1)
    assert broken_promises(operation, error, code, tmp_path, step=step) == []


def test_what_could_not_be_read_for_a_moment_is_delivered_afterwards(tmp_path: Path) -> None:
    sent = [f"{number}" for number in range(20)]
    missed = {}
    with Disk() as disk:
        with opened(tmp_path, disk) as store:
            bind_all(store, ALICE, BOB)
            append_all(store, [message(name, ALICE, size=9_000) for name in sent], BOB)
        for first in range(1, 31):
            with opened(tmp_path, disk, cache=40) as store:
                disk.step = fault = Fault("read", apsw.IOError, apsw.SQLITE_IOERR_READ, first, times=4)
                store.run_jobs([lambda tx: tx.mailboxes.read(BOB, 0, 10**9, NOW)])
                assert fault.has_come
                fault.is_over = True
                store.scrub()
                missed[first] = set(sent) - set(names(waiting(store, BOB)))
    assert not any(missed.values())


# --- controls: the same without the protection ------------------------------------


class StoreThatIgnoresFailedCommits(DiskStore):
    def _run_batch(self, jobs: Sequence[Any], do: Any, deadline: float | None) -> list[Any] | CommandFailed:
        results = super()._run_batch(jobs, do, deadline)
        return [result for _, result in self.attempts[-1]] or results


class StoreThatStaysOutOfSpace(DiskStore):
    def scrub(self) -> bool:
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return True


class StoreThatDoesNotSync(DiskStore):
    def _prepare(self, place: str) -> None:
        super()._prepare(place)
        self._connection.pragma("synchronous", "normal")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (StoreThatIgnoresFailedCommits, "lost|gone"),
        (StoreThatStaysOutOfSpace, "has not recovered"),
        (StoreThatDoesNotSync, "after a power cut"),
    ],
)
def test_control_careless_store_is_caught(kind: type[DiskStore], said: str, tmp_path: Path) -> None:
    found = broken_promises("write", apsw.FullError, apsw.SQLITE_FULL, tmp_path, step=47, kind=kind)
    assert re.search(said, "\n".join(found))
