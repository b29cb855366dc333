"""What a relay gets to see of a damaged store: mailboxes, sweeps, the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bit_rot_files import LATER, NEW, Sample, flipped

from phantom_messenger.engines.sqlite import SQLiteStore, StoreError
from phantom_messenger.engines.sqlite.mailboxes import ExpiredItem
from phantom_messenger.engines.sqlite.tables import StoreJob
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.records import Item, ItemKind, Page
from support.stores import ALICE, BOB, CAROL, NOW, acknowledging, appending

AFTER_ALL_EXPIRED = LATER + 1_000
PAGE_BYTES = 30_000


@dataclass
class Outcome:
    """What became of a store with a bit turned.

    Each job's result stands for itself: what it returned, or ``CommandFailed``.
    """

    refused: str = ""
    mail: dict[str, list[Item] | CommandFailed] = field(default_factory=dict)
    early: list[ExpiredItem] | CommandFailed = field(default_factory=list)
    removals: list[object] = field(default_factory=list)
    """Of acknowledging each delivered message, True if it was there."""
    expired: list[ExpiredItem] | CommandFailed = field(default_factory=list)
    appended: list[object] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def delivered(self) -> list[tuple[str, Item]]:
        """What each user got."""
        return [(user, item) for user, items in self.mail.items() if isinstance(items, list) for item in items]


class Rotten:
    """Turns bits of a sample and looks.

    Args:
        sample: the store as it was.
        folder: where the damaged ones live, one after another.
    """

    def __init__(self, sample: Sample, folder: Path) -> None:
        self._sample = sample
        self._folder = folder

    def look(self, bit: int, *, acknowledges: bool = False) -> Outcome:
        """Open the store with one bit turned, read and remove; acknowledging, or else waiting until all expires."""
        for file in ("relay.db", "relay.db-wal", "relay.db-shm"):
            (self._folder / file).unlink(missing_ok=True)
        (self._folder / "relay.db").write_bytes(flipped(self._sample.content, bit))
        outcome = Outcome()
        with _log(outcome.log):
            try:
                store = SQLiteStore(self._folder)
            except StoreError as error:
                outcome.refused = str(error)
                return outcome
            try:
                _use(store, outcome, acknowledges=acknowledges)
                for user, items in outcome.mail.items():
                    if isinstance(items, list):
                        outcome.mail[user] = [self._sample.same(user, item) for item in items]
            finally:
                store.close()
        return outcome


def _use(store: SQLiteStore, outcome: Outcome, *, acknowledges: bool) -> None:
    outcome.mail = {user: _read(store, user) for user in (BOB, CAROL, ALICE)}
    [outcome.early] = store.run_jobs([lambda tx: tx.mailboxes.expire(NOW, 1_000)])
    if acknowledges:
        jobs: list[StoreJob] = []
        for user, item in outcome.delivered():
            if item.kind is ItemKind.MESSAGE:
                jobs.append(acknowledging(item.name, item.sender, user))
        outcome.removals = store.run_jobs(jobs)
    else:
        [outcome.expired] = store.run_jobs([lambda tx: tx.mailboxes.expire(AFTER_ALL_EXPIRED, 1_000)])
    outcome.appended = store.run_jobs([appending(NEW, user) for user in (BOB, CAROL, ALICE)])


def _read(store: SQLiteStore, user: str) -> list[Item] | CommandFailed:
    """A mailbox page by page, as for a client that logs in."""
    found: list[Item] = []
    while True:
        after = found[-1].seq if found else 0
        [page] = store.run_jobs([lambda tx, after=after: tx.mailboxes.read(user, after, PAGE_BYTES, NOW)])  # type: ignore[misc]
        if isinstance(page, CommandFailed):
            return page
        assert isinstance(page, Page)
        found += page.items
        if page.complete or page.items[-1].seq <= after:  # it would go round in circles
            return found


class _Kept(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextmanager
def _log(lines: list[str]) -> Iterator[None]:
    log, kept = logging.getLogger("phantom.relay"), _Kept(lines)
    log.addHandler(kept)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(kept)
        log.propagate = True
