"""What the embedded store keeps in its folder, and which folders it refuses."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from msgspec import structs

from phantom_messenger.engines.errors import StoreUnusable
from phantom_messenger.engines.sqlite import SQLiteStore, StoreError
from phantom_messenger.engines.sqlite.folder import cannot_use
from phantom_messenger.relay.commands import AppendRefusal
from phantom_messenger.relay.records import Item, NewItem
from support.stores import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    acknowledge,
    acknowledging,
    append,
    append_all,
    bind,
    exchange,
    key_of,
    message,
    names,
    publication,
    receipt,
    run,
    waiting,
)

MARKER = b"MARKER-OF-SOMETHING-THAT-MUST-GO"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down"


class Opened:
    """Opens stores, one after another; ``close`` closes the last one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores: list[SQLiteStore] = []

    def __call__(self, place: Path | None = None) -> SQLiteStore:
        self._stores.append(SQLiteStore(place or self._folder))
        return self._stores[-1]

    def close(self) -> None:
        self._stores.pop().close()

    def close_all(self) -> None:
        while self._stores:
            self.close()


@pytest.fixture
def opened(folder: Path) -> Iterator[Opened]:
    """Opens the store of the folder; to open it again, close it."""
    found = Opened(folder)
    yield found
    found.close_all()


@pytest.fixture
def store(opened: Opened) -> SQLiteStore:
    found = opened()
    bind(found, ALICE, BOB, CAROL)
    return found


def leftovers(folder: Path) -> list[str]:
    """Files in which the marker stands."""
    return [file.name for file in folder.iterdir() if MARKER in file.read_bytes()]


def marked(name: str, expires_at: int | None = None) -> NewItem:
    return structs.replace(message(name, expires_at=expires_at), head=MARKER * 20, tail=MARKER * 200)


# --- what lasts -------------------------------------------------------------------


def test_everything_is_there_after_reopening(store: SQLiteStore, opened: Opened) -> None:
    items = [append(store, item) for item in (message("m"), receipt("r"), exchange("x"))]
    run(store, lambda tx: tx.directory.record_written(ALICE, BOB, "c"))
    run(store, lambda tx: tx.directory.record_written(BOB, ALICE, "c"))
    run(store, lambda tx: tx.directory.record_last_seen(ALICE, NOW))
    run(store, lambda tx: tx.prekeys.publish(ALICE, publication(range(1, 21), [1], last_resort=True)))
    for _ in range(10):
        run(store, lambda tx: tx.prekeys.hand_out(ALICE, BOB, NOW))
    counts = run(store, lambda tx: tx.prekeys.counts(ALICE))
    opened.close()

    again = opened()
    assert waiting(again) == items
    assert run(again, lambda tx: tx.directory.public_key(ALICE)) == key_of(ALICE)
    assert run(again, lambda tx: tx.directory.participants(ALICE, "c")) == [BOB]
    assert run(again, lambda tx: tx.directory.last_seen(ALICE)) == NOW
    assert run(again, lambda tx: tx.prekeys.counts(ALICE)) == counts
    bundle = run(again, lambda tx: tx.prekeys.hand_out(ALICE, BOB, NOW))
    assert bundle is not None
    assert bundle.one_time is None, "the hour's limit is remembered"


def test_what_was_committed_is_on_disk_before_the_store_is_closed(
    store: SQLiteStore, folder: Path, opened: Opened, tmp_path: Path
) -> None:
    items = [append(store, message(str(number))) for number in range(20)]
    shutil.copytree(folder, tmp_path / "copy")
    assert waiting(opened(tmp_path / "copy")) == items


def test_message_that_waits_is_a_duplicate_after_reopening(store: SQLiteStore, opened: Opened) -> None:
    append(store, message("m"))
    opened.close()
    assert append(opened(), message("m")) is AppendRefusal.DUPLICATE


def test_seq_is_not_given_again_after_reopening(store: SQLiteStore, opened: Opened) -> None:
    seen = []
    for number in range(60):
        item = append(store, message(str(number)))
        assert isinstance(item, Item)
        seen.append(item.seq)
        if number % 3:
            acknowledge(store, str(number))
        if number % 20 == 19:
            for rest in names(waiting(store)):
                acknowledge(store, rest)
            opened.close()
            store = opened()
    assert seen == sorted(set(seen))


def test_commits_wait_for_the_disk(store: SQLiteStore) -> None:
    pragma = store._connection.pragma
    assert (pragma("journal_mode"), pragma("synchronous")) == ("wal", 2)


# --- what goes --------------------------------------------------------------------


def assert_gone_after_scrub(store: SQLiteStore, folder: Path) -> None:
    store.scrub()
    assert leftovers(folder) == []


@pytest.mark.parametrize("how", ["acknowledged", "expired", "deleted with its owner"])
def test_removed_message_is_in_no_file_after_scrubbing(store: SQLiteStore, folder: Path, how: str) -> None:
    append_all(store, [marked(str(number), NOW) for number in range(100)])
    store.scrub()
    assert leftovers(folder), "the control: they are there before"
    match how:
        case "acknowledged":
            removed = store.run_jobs([acknowledging(str(number)) for number in range(100)])
            assert all(result is True for result in removed)
        case "expired":
            assert len(run(store, lambda tx: tx.mailboxes.expire(NOW, 1_000))) == 100
        case _:
            while not run(store, lambda tx: tx.directory.delete(BOB)):
                """A bounded part at a time."""
    assert_gone_after_scrub(store, folder)


def test_message_that_came_and_went_between_scrubs_is_in_no_file(store: SQLiteStore, folder: Path) -> None:
    for number in range(100):
        append(store, marked(str(number)))
        if number:
            acknowledge(store, str(number - 1))
    assert leftovers(folder)
    acknowledge(store, "99")
    assert_gone_after_scrub(store, folder)


def test_message_that_waits_is_still_there_after_scrubbing(store: SQLiteStore) -> None:
    item = append(store, message("m"))
    store.scrub()
    store.scrub()
    assert waiting(store) == [item]


def test_consumed_prekey_is_in_no_file_after_scrubbing(store: SQLiteStore, folder: Path) -> None:
    key = MARKER.decode() * 30
    wanted = publication([1])
    wanted = replace(wanted, one_time_kem=[replace(wanted.signed, key=key)])
    run(store, lambda tx: tx.prekeys.publish(ALICE, wanted))
    assert leftovers(folder)
    run(store, lambda tx: tx.prekeys.hand_out(ALICE, BOB, NOW))
    assert_gone_after_scrub(store, folder)


# --- which folders it takes -------------------------------------------------------


def test_folder_is_made_for_its_owner_alone(store: SQLiteStore, folder: Path) -> None:
    append(store, message("m"))
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name


@pytest.mark.usefixtures("store")
def test_second_store_on_a_folder_is_refused(opened: Opened, folder: Path) -> None:
    with pytest.raises(StoreError, match="another relay uses the data folder") as found:
        opened()
    assert str(folder) in str(found.value)
    opened.close()
    opened()


def set_version(folder: Path, version: int) -> None:
    connection = sqlite3.connect(folder / "relay.db")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def test_newer_version_is_refused_and_left_alone(store: SQLiteStore, opened: Opened, folder: Path) -> None:
    append(store, message("m"))
    version = store._connection.pragma("user_version")
    opened.close()
    set_version(folder, version + 1)
    before = (folder / "relay.db").read_bytes()
    with pytest.raises(StoreError, match="newer version"):
        opened()
    assert (folder / "relay.db").read_bytes() == before


def test_refused_folder_is_not_left_locked(store: SQLiteStore, opened: Opened, folder: Path) -> None:
    version = store._connection.pragma("user_version")
    opened.close()
    set_version(folder, version + 1)
    with pytest.raises(StoreError, match="newer version"):
        opened()
    set_version(folder, version)
    opened()


def rubbish(file: Path) -> None:
    file.write_bytes(b"rubbish " * 1_000)


def broken_schema(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"\xff" * 3_900)


def short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:2_000])


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("damage", [rubbish, broken_schema, short])
def test_damaged_database_is_refused(opened: Opened, folder: Path, damage: Callable[[Path], None]) -> None:
    opened.close()
    damage(folder / "relay.db")
    before = (folder / "relay.db").read_bytes()
    with pytest.raises(StoreError, match=r"relay\.db") as found:
        opened()
    assert "\n" not in str(found.value)
    assert (folder / "relay.db").read_bytes() == before, "what is left of it is not touched"


def test_place_that_cannot_be_a_folder_is_refused(opened: Opened, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, file / "below"):
        with pytest.raises(StoreError, match="choose another with --data"):
            opened(place)


def test_empty_database_file_is_damage_and_no_new_relay(opened: Opened, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "relay.db").touch()
    with pytest.raises(StoreError, match="empty; restore it from a backup"):
        opened()
    assert (folder / "relay.db").read_bytes() == b""


def test_store_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = SQLiteStore(None)
    bind(found, BOB)
    append(found, message("m"))
    found.scrub()
    found.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.51.2"])
def test_sqlite_that_can_corrupt_its_log_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(
        StoreError, match=f"SQLite {version} can corrupt its log; install apsw with SQLite 3.51.3 or newer"
    ):
        SQLiteStore(folder)
    assert not folder.exists(), "nothing was touched"


@pytest.mark.parametrize("version", ["3.6.23", "3.51.3", "3.54.1", "4.0.0"])
def test_sqlite_outside_of_that_range_is_taken(opened: Opened, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    assert waiting(opened()) == []


def test_file_in_the_place_of_the_folder_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match=r"data \(it is a file, not a folder\); choose another"):
        SQLiteStore(tmp_path / "data")


def test_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(
        StoreError, match=r"cannot write to the data folder /proc/phantom .*; choose another with --data"
    ):
        SQLiteStore(Path("/proc/phantom"))


@pytest.mark.parametrize(
    ("error", "why", "kind"),
    [
        (apsw.CantOpenError("unable to open database file"), "unable to open database file", StoreError),
        (OSError(28, "No space left on device"), "No space left on device", StoreError),
        (PermissionError(13, "Permission denied"), "Permission denied", StoreUnusable),
        (OSError("without a number"), "without a number", StoreError),
    ],
)
def test_reason_why_a_folder_cannot_be_used_is_told(
    tmp_path: Path, error: Exception, why: str, kind: type[StoreError]
) -> None:
    found = cannot_use(tmp_path, error)
    assert type(found) is kind
    assert str(found) == f"cannot write to the data folder {tmp_path} ({why}); choose another with --data"
