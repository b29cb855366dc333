"""Rows that cannot be read or deleted: they keep nobody from their mail, and indexes are not made anew for ever."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
from damaged_files import AWAY, BACK, LEAF, PAGE, spoil, stray

from phantom_messenger.engines.sqlite import SQLiteStore, store, stranger_quota
from phantom_messenger.engines.sqlite.corruption import INDEX_SECONDS, MOST_INDEX_SECONDS, IndexPause, PastRepair
from phantom_messenger.engines.sqlite.item_rows import ItemRows
from phantom_messenger.engines.sqlite.mailboxes import Removed
from phantom_messenger.engines.sqlite.tables import StoreJob
from phantom_messenger.relay.commands import AppendRefusal, CommandFailed
from phantom_messenger.relay.records import Item, NewItem
from support.stores import ALICE, BOB, CAROL, NOW, append_all, bind, message, names, publication, receipt, run, waiting

MAIL: Final = 300
LATER: Final = NOW + 10**7
MINUTES: Final = 6
MOST_BYTES: Final = 10**9
"""Of a mailbox; the limit that a relay has is what makes it count bytes."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with messages and receipts for Bob, and prekeys, that no test changes."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    made = SQLiteStore(folder)
    bind(made, ALICE, BOB, CAROL)
    append_all(made, [message(f"{number:03}", size=200) for number in range(MAIL)])
    append_all(made, [receipt(f"r{number:03}", text="." * 200) for number in range(MAIL)])
    for user in (ALICE, BOB, CAROL):
        keys = publication(range(1, 101), range(101, 151), made_at=NOW)
        run(made, lambda tx, user=user, keys=keys: tx.prekeys.publish(user, keys))  # type: ignore[misc]
    made.scrub()
    made.close()
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


class Watched:
    """A store, and what it does about damage.

    Args:
        folder: its data.
    """

    def __init__(self, folder: Path) -> None:
        self.store = SQLiteStore(folder, mailbox_bytes=MOST_BYTES)
        self.reindexes = 0
        self.attempts = 0
        self.store._connection.exec_trace = self._note

    def _note(self, _: Any, statement: str, __: Any) -> bool:
        self.reindexes += statement.startswith("REINDEX")
        return True

    def run(self, work: StoreJob) -> Any:
        def counted(tables: Any) -> Any:
            self.attempts += 1
            return work(tables)

        [found] = self.store.run_jobs([counted])
        return found

    def run_each_minute(self, work: StoreJob, *, forgets: bool = False) -> list[Any]:
        """Do it now and then, with new indexes allowed each time."""
        found = []
        for _ in range(MINUTES):
            found.append(self.run(work))
            self.store.scrub()
            self.store._index_pauses["items"] = IndexPause()
            if forgets:
                self.store.tables.mailboxes._rows._past_repair = PastRepair()
        return found


@pytest.fixture
def watched(folder: Path) -> Iterator[Callable[[], Watched]]:
    """Opens the folder, damaged by then."""
    made: list[Watched] = []

    def open_it() -> Watched:
        made.append(Watched(folder))
        return made[-1]

    yield open_it
    for one in made:
        one.store.close()


def adding(item: NewItem, *, known: bool = True) -> StoreJob:
    return lambda tx: tx.mailboxes.append(BOB, item, known=known, now=LATER)


def acknowledging(name: str) -> StoreJob:
    return lambda tx: tx.mailboxes.acknowledge(BOB, ALICE, name, LATER)


WORK: Final[dict[str, StoreJob]] = {
    "acknowledge": acknowledging("150"),
    "times": lambda tx: tx.mailboxes.times(BOB, ALICE, "150"),
    "confirm": lambda tx: tx.mailboxes.confirm(BOB, range(MAIL + 140, MAIL + 165)),
    "confirm beside messages": lambda tx: tx.mailboxes.confirm(BOB, range(140, 165)),
    "discard": lambda tx: tx.mailboxes.discard(BOB, message("150"), now=LATER),
    "block": lambda tx: tx.directory.block(BOB, ALICE),
    "message that is there": adding(message("150", size=200)),
    "another one of its name": adding(message("150", size=201)),
    "receipt that is there": adding(receipt("r150")),
    "new message": adding(message("new")),
    "message of a stranger": adding(message("new", CAROL), known=False),
    "read": lambda tx: tx.mailboxes.read(BOB, 0, 10**9, NOW),
}
DAMAGE: Final[dict[str, Callable[[Path], None]]] = {
    "page of messages": lambda folder: spoil(folder, b"<150"),
    "page of receipts": lambda folder: spoil(folder, b"(r150"),
    "message far back": lambda folder: stray(folder, b"<150", BACK),
    "message far away": lambda folder: stray(folder, b"<150", AWAY),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_keeps_nobody_from_their_mail_and_indexes_are_made_anew_but_once(
    folder: Path, watched: Callable[[], Watched], damage: Callable[[Path], None], work: StoreJob
) -> None:
    damage(folder)
    seen = watched()
    found = seen.run_each_minute(work)
    assert [one for one in found if isinstance(one, CommandFailed)] == []
    assert seen.reindexes <= 2
    assert seen.attempts <= 6 * MINUTES


def test_what_cannot_be_deleted_counts_as_acknowledged_once(folder: Path, watched: Callable[[], Watched]) -> None:
    spoil(folder, b"<150")
    seen = watched()
    assert seen.run_each_minute(acknowledging("150")) == [Removed.MESSAGE, *[Removed.NOTHING] * (MINUTES - 1)]
    assert seen.run(adding(message("150", size=201))) is AppendRefusal.DUPLICATE
    assert seen.run(acknowledging("001")) is Removed.MESSAGE
    assert "001" not in names(waiting(seen.store))


def test_control_rows_that_are_forgotten_have_indexes_made_anew_each_time(
    folder: Path, watched: Callable[[], Watched]
) -> None:
    spoil(folder, b"<150")
    seen = watched()
    seen.run_each_minute(acknowledging("150"), forgets=True)
    assert seen.reindexes == MINUTES


# --- an account ------------------------------------------------------------------------


BOBS: Final = {
    "written": "2 IN (sender, recipient)",
    "blocks": "blocker = 2",
    "one_time_prekeys": "account = 2",
    "signed_prekeys": "account = 2",
    "prekey_ids": "account = 2",
    "bundle_signatures": "account = 2",
    "accounts": f"user_id = '{BOB}'",
}


def left_of_bob(opened: SQLiteStore) -> list[str]:
    """Tables in which there is something of him."""
    counted = {name: f"SELECT count(*) FROM {name} WHERE {of_bob}" for name, of_bob in BOBS.items()}  # noqa: S608 - constants
    return [name for name, query in counted.items() if opened._connection.execute(query).get]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_account_with_mail_that_cannot_be_read_is_deleted(
    folder: Path, watched: Callable[[], Watched], damage: Callable[[Path], None]
) -> None:
    damage(folder)
    seen = watched()
    run(seen.store, lambda tx: tx.directory.record_written(ALICE, BOB, ""))
    run(seen.store, lambda tx: tx.directory.block(BOB, CAROL))
    assert left_of_bob(seen.store) == list(BOBS)
    for _ in range(MAIL):
        if seen.run(lambda tx: tx.directory.delete(BOB)) is True:
            break
    assert left_of_bob(seen.store) == []
    assert run(seen.store, lambda tx: tx.directory.find(BOB)) is None
    bind(seen.store, BOB)
    assert waiting(seen.store) == []
    assert isinstance(seen.run(adding(message("new"))), Item)
    assert seen.reindexes <= 2


def test_control_account_that_is_deleted_as_any_other(
    folder: Path, watched: Callable[[], Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ItemRows, "leaves_out_some_of", lambda *_: False)
    spoil(folder, b"<150")
    seen = watched()
    assert [type(seen.run(lambda tx: tx.directory.delete(BOB))) for _ in range(3)] == [CommandFailed] * 3
    assert left_of_bob(seen.store)


def test_what_stays_of_such_an_account_goes_once_its_mail_can_be_read(folder: Path) -> None:
    opened = SQLiteStore(folder)
    for number in range(MAIL):
        run(opened, acknowledging(f"{number:03}"))
    opened.tables.mailboxes._rows._unreadable.add(MAIL + 1)  # a receipt
    assert run(opened, lambda tx: tx.directory.delete(BOB))
    assert run(opened, lambda tx: tx.directory.idle(LATER, 100, LATER)) == ([], False), "there is mail"
    opened.scrub()
    assert run(opened, lambda tx: tx.mailboxes.expire(LATER, 100, before=LATER))
    [users, _] = run(opened, lambda tx: tx.directory.idle(LATER, 100, LATER))
    assert "deleted 2" in users
    assert run(opened, lambda tx: tx.directory.delete_idle("deleted 2", LATER))
    assert opened._connection.execute("SELECT count(*) FROM accounts").get == 2
    opened.close()


# --- how much room a mailbox has -------------------------------------------------------


def test_mailbox_with_a_page_that_cannot_be_read_takes_more(folder: Path, watched: Callable[[], Watched]) -> None:
    spoil(folder, b"<150")
    seen = watched()
    assert isinstance(seen.run(adding(message("new"))), Item)
    assert isinstance(seen.run(adding(message("of a stranger", CAROL), known=False)), Item)
    assert names(waiting(seen.store))[-2:] == ["new", "of a stranger"]
    assert seen.reindexes == 0


def test_control_transaction_that_has_met_a_page_that_cannot_be_read_stores_nothing(
    folder: Path, watched: Callable[[], Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    def passing_over(self: Any, index: str, where: str, account: int, _: Any) -> int:
        try:
            query = f"SELECT {stranger_quota._SIZE} FROM items INDEXED BY {index} WHERE {where}"  # noqa: S608 - constants
            return int(self._connection.execute(query, (account,)).get)
        except apsw.CorruptError:
            return 0

    monkeypatch.setattr(stranger_quota.StrangerQuota, "_bytes", passing_over)
    spoil(folder, b"<150")
    assert isinstance(watched().run(adding(message("new"))), CommandFailed)


# --- what nothing helps ----------------------------------------------------------------


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def count(seen: Watched, monkeypatch: pytest.MonkeyPatch, minutes: int) -> int:
    """How often indexes are made anew because of somebody whose prekeys cannot be read, and who tries each minute."""
    clock = Clock()
    monkeypatch.setattr(store, "time", clock)
    for _ in range(minutes):
        assert isinstance(seen.run(lambda tx: tx.prekeys.hand_out(BOB, CAROL, NOW)), CommandFailed)
        clock.now += INDEX_SECONDS
    return seen.reindexes


@pytest.fixture
def prekeys(folder: Path, watched: Callable[[], Watched]) -> Watched:
    """A store in which a page of prekeys cannot be read."""
    opened = SQLiteStore(folder)
    [[key]] = opened._connection.execute("SELECT key FROM one_time_prekeys WHERE account = 2 AND id = 1")
    opened.close()
    file = folder / "relay.db"
    whole = bytearray(file.read_bytes())
    for start in range(0, len(whole), PAGE):
        if whole[start] == LEAF and str(key).encode() in whole[start : start + PAGE]:  # an old copy may be there, too
            whole[start] = 0xEE
    file.write_bytes(whole)
    return watched()


def test_indexes_that_do_not_help_are_made_ever_more_seldom(prekeys: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = 5
    assert count(prekeys, monkeypatch, 60 * hours) <= 6 + hours
    assert prekeys.attempts <= 4 * 60 * hours


def test_control_pause_that_does_not_grow(prekeys: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phantom_messenger.engines.sqlite.corruption.MOST_INDEX_SECONDS", INDEX_SECONDS)
    assert count(prekeys, monkeypatch, 60) == 60


def test_pause_is_short_again_once_new_indexes_have_helped() -> None:
    pause, now = IndexPause(), 0.0
    while pause._seconds < MOST_INDEX_SECONDS:
        pause.ends(now)
        now += 1
    now += 2 * MOST_INDEX_SECONDS
    assert pause.ends(now)
    now += 2 * MOST_INDEX_SECONDS  # in which nothing has failed
    assert pause.ends(now)
    assert not pause.ends(now + INDEX_SECONDS - 1)
    assert pause.ends(now + INDEX_SECONDS)
    assert not pause.ends(now + 3 * INDEX_SECONDS - 1), "which has shown that they did not help"
    assert pause.ends(now + 3 * INDEX_SECONDS)


# --- an index that cannot be read ------------------------------------------------------


@pytest.fixture
def _index_damaged(folder: Path) -> None:
    """The end of the order of the mailboxes leads nowhere; what is in them is sound."""
    opened = SQLiteStore(folder)
    [[root]] = opened._connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'items_order'")
    opened.close()
    file = folder / "relay.db"
    whole = bytearray(file.read_bytes())
    start = (int(str(root)) - 1) * PAGE
    last = (int.from_bytes(whole[start + 8 : start + 12]) - 1) * PAGE
    count = int.from_bytes(whole[last + 3 : last + 5])
    whole[last + 8 : last + 8 + 2 * count] = b"\xff\xff" * count
    file.write_bytes(whole)


@pytest.mark.usefixtures("_index_damaged")
@pytest.mark.parametrize("work", [WORK["read"], WORK["new message"]], ids=["read", "new message"])
def test_index_that_leads_nowhere_is_made_anew(watched: Callable[[], Watched], work: StoreJob) -> None:
    seen = watched()
    assert not isinstance(seen.run(work), CommandFailed)
    assert seen.reindexes == 1
    assert len(waiting(seen.store)) >= 2 * MAIL


@pytest.mark.usefixtures("_index_damaged")
def test_control_look_for_rows_that_fails_and_counts_as_one_that_has_found_them(
    watched: Callable[[], Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ItemRows, "find_unreadable", lambda *_: None)
    seen = watched()
    assert isinstance(seen.run(WORK["read"]), CommandFailed)
    assert seen.reindexes == 0
