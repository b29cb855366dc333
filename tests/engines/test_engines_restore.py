"""A database beside the log of another state is never read with it; one that was killed always is."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
from msgspec import structs

from phantom_messenger.engines.sqlite import SQLiteStore, StoreError, reserve
from phantom_messenger.sqlite import log_pairing
from support.stores import ALICE, BOB, acknowledge, append, bind, message, names, waiting

LOG = "relay.db-wal"
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is written back after a few commits."""
    monkeypatch.setattr(reserve, "_LOG_PAGES", 30)


class Life:
    """A store that lives through kills, and what its files were at each of its moments.

    Args:
        place: for its folder, and the copies.
        seed: of what happens.
    """

    def __init__(self, place: Path, seed: int) -> None:
        self._place = place
        self._chance = random.Random(seed)  # noqa: S311 - the same in every run
        self._folder = place / "0" / "data"
        self._store = SQLiteStore(self._folder)
        bind(self._store, ALICE, BOB)
        self._reader: apsw.Connection | None = None
        self.moments: list[tuple[Path, list[str]]] = []
        """As a kill would leave the folder, with the mail that waits."""
        self.backups: list[Path] = []

    def go_on(self, steps: int) -> None:
        for number in range(steps):
            self._step(f"{number}")
            self._remember()
        self.close()

    def _step(self, name: str) -> None:
        match self._chance.randrange(12):
            case 0:
                self._store.scrub()
            case 1:
                self._store.close()
                self._store = SQLiteStore(self._folder)
            case 2 if self.moments:  # it is killed
                self.close()
                self._folder = self._copy(self.moments[-1][0])
                self._store = SQLiteStore(self._folder)
            case 3 if self._reader is None:
                self._reader = apsw.Connection(str(self._folder / "relay.db"))
                self._reader.execute("BEGIN")
                self._reader.execute("SELECT count(*) FROM items").fetchall()
            case 4 if self._reader is not None:
                self._reader.close()
                self._reader = None
            case _:
                for part in range(self._chance.randint(1, 4)):
                    head = b"x" * self._chance.choice([9, 9_000])
                    append(self._store, structs.replace(message(f"{name}.{part}"), head=head))
                if self._chance.random() < 0.3:
                    acknowledge(self._store, names(waiting(self._store))[0])

    def _remember(self) -> None:
        self.moments.append((self._copy(self._folder), names(waiting(self._store))))
        backup = self._place / f"backup-{len(self.backups)}"
        back_up(self._folder / "relay.db", backup)
        self.backups.append(backup)

    def _copy(self, folder: Path) -> Path:
        """As a kill leaves it: without what is only in the memory of the program."""
        copied = self._place / f"{len(list(self._place.iterdir()))}" / "data"
        copied.mkdir(parents=True)
        for name in ("relay.db", LOG):
            # In another process: to close a file here would drop the store's locks on it.
            if (folder / name).exists():
                subprocess.run(["cp", folder / name, copied / name], check=True)
        return copied

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._store.close()


def back_up(database: Path, copy: Path) -> None:
    """What ``.backup`` of the sqlite3 program does; with the store's own SQLite, for it is in the store's process."""
    source, target = apsw.Connection(str(database)), apsw.Connection(str(copy))
    with target.backup("main", source, "main") as backup:
        backup.step()
    source.close()
    target.close()


def mail(folder: Path) -> list[str]:
    """What waits in a folder, which must be in order."""
    store = SQLiteStore(folder)
    try:
        assert store._connection.pragma("integrity_check") == "ok"
        return names(waiting(store))
    finally:
        store.close()


def together(place: Path, database: Path, log: Path) -> Path:
    """A folder with a database and a log."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copy(database, place / "relay.db")
    if log.exists():
        shutil.copy(log, place / LOG)
    return place


def has_log(folder: Path) -> bool:
    return (folder / LOG).exists() and (folder / LOG).stat().st_size > 0


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is a folder for it: stores are opened hundreds of times."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture(scope="module", params=range(2))
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reserve, "_LOG_PAGES", 30)
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path_factory.mktemp("life")) as folder:
            lived = Life(Path(folder), request.param)
            lived.go_on(24)
            yield lived


def test_relay_that_was_killed_starts_with_all_that_it_had(life: Life, tmp_path: Path) -> None:
    for number, (folder, wanted) in enumerate(life.moments):
        assert mail(together(tmp_path / "again", folder / "relay.db", folder / LOG)) == wanted, number
    assert sum(has_log(folder) for folder, _ in life.moments) > 5


def test_backup_beside_the_log_of_a_killed_relay_is_refused_and_the_log_is_named(life: Life, tmp_path: Path) -> None:
    refused = 0
    for backup in life.backups[::4]:
        for folder, _ in life.moments[1::2]:
            if not has_log(folder):
                continue
            place = together(tmp_path / "restored", backup, folder / LOG)
            with pytest.raises(StoreError, match=r"relay\.db-wal is the log of another state .*; move that log away"):
                SQLiteStore(place)
            assert (place / "relay.db").read_bytes() == backup.read_bytes(), "nothing was changed"
            refused += 1
    assert refused > 20


def test_copy_of_the_file_beside_a_later_log_is_refused_or_makes_no_difference(life: Life, tmp_path: Path) -> None:
    refused = 0
    for before, _ in life.moments[::3]:
        for folder, wanted in life.moments[1::3]:
            if not has_log(folder):
                continue
            place = together(tmp_path / "restored", before / "relay.db", folder / LOG)
            try:
                found = mail(place)
            except StoreError as error:
                assert "log of another state" in str(error)  # noqa: PT017 - one of two good ends
                refused += 1
            else:
                assert found == wanted
    assert refused > 10


def test_control_without_the_look_a_restored_database_is_damaged_or_rolled_forward(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pairing, "is_own_log", lambda _: True)
    ends = set()
    for number, backup in enumerate(life.backups[::6]):
        wanted = life.moments[number * 6][1]
        for folder, _ in life.moments[1::3]:
            place = together(tmp_path / "restored", backup, folder / LOG)
            try:
                ends.add("as it was" if mail(place) == wanted else "rolled forward")
            except (StoreError, AssertionError, apsw.Error):
                ends.add("damaged")
    assert {"damaged", "rolled forward"} & ends


def test_stopped_copied_started_killed_and_restored(tmp_path: Path) -> None:
    """The log holds all that came since: read with the restored file, it would quietly bring it back."""
    store = SQLiteStore(tmp_path / "data")
    bind(store, ALICE, BOB)
    append(store, message("before"))
    store.close()
    shutil.copy(tmp_path / "data" / "relay.db", tmp_path / "backup")
    store = SQLiteStore(tmp_path / "data")
    append(store, message("later"))
    shutil.copytree(tmp_path / "data", tmp_path / "killed")
    store.close()

    place = together(tmp_path / "restored", tmp_path / "backup", tmp_path / "killed" / LOG)
    with pytest.raises(StoreError, match="move that log away"):
        SQLiteStore(place)
    (place / LOG).rename(tmp_path / "away")
    assert mail(place) == ["before"]
    assert mail(together(tmp_path / "control", tmp_path / "killed" / "relay.db", tmp_path / "away")) == [
        "before",
        "later",
    ]


def test_log_of_another_program_that_wrote_meanwhile_is_its_own(tmp_path: Path) -> None:
    """Somebody writes the log back with another program; the relay's next commit begins a new one without a token."""
    store = SQLiteStore(tmp_path / "data")
    bind(store, ALICE, BOB)
    append(store, message("before"))
    other = apsw.Connection(str(tmp_path / "data" / "relay.db"))
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    other.close()
    append(store, message("later"))
    subprocess.run(["cp", "-r", tmp_path / "data", tmp_path / "killed"], check=True)
    store.close()
    (tmp_path / "killed" / "relay.db-shm").unlink()
    assert (tmp_path / "killed" / LOG).stat().st_size > 0
    assert mail(tmp_path / "killed") == ["before", "later"]


def write_without_tokens(data: Path, killed: Path) -> None:
    """Let a program that knows of no tokens, as version 0.1.0, write to a database and be killed."""
    other = apsw.Connection(str(data / "relay.db"))
    other.pragma("application_id", 0)
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    other.execute("CREATE TABLE more (x)")  # the first page is written, too
    other.execute("INSERT INTO more VALUES (zeroblob(9000))")
    killed.mkdir()
    for name in ("relay.db", LOG):
        subprocess.run(["cp", data / name, killed / name], check=True)
    other.close()


def test_log_that_version_0_1_0_left_is_read(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "data")
    bind(store, ALICE, BOB)
    append(store, message("before"))
    store.close()
    write_without_tokens(tmp_path / "data", tmp_path / "killed")
    assert (tmp_path / "killed" / LOG).stat().st_size > 3 * 4_096
    assert mail(tmp_path / "killed") == ["before"]
    connection = apsw.Connection(str(tmp_path / "killed" / "relay.db"))
    assert connection.execute("SELECT count(*) FROM more").fetchall() == [(1,)]
    connection.close()


def test_log_that_version_0_1_0_left_does_not_fit_a_database_of_this_one(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "data")
    bind(store, ALICE, BOB)
    store.close()
    shutil.copy(tmp_path / "data" / "relay.db", tmp_path / "backup")
    write_without_tokens(tmp_path / "data", tmp_path / "killed")
    with pytest.raises(StoreError, match="log of another state"):
        SQLiteStore(together(tmp_path / "restored", tmp_path / "backup", tmp_path / "killed" / LOG))


@pytest.mark.parametrize("left", [0, 20, 32, 40, 56, 600, 4_152, -1])
def test_log_of_which_only_a_part_was_written_is_what_sqlite_makes_of_it(tmp_path: Path, left: int) -> None:
    """A power cut in the first transaction of a log: nothing of it counts, and nothing is refused for it."""
    store = SQLiteStore(tmp_path / "data")
    bind(store, ALICE, BOB)
    append(store, message("before"))
    store.scrub()
    append(store, message("later"))
    shutil.copytree(tmp_path / "data", tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm", "reserve", "lock"))
    store.close()
    log = tmp_path / "killed" / LOG
    content = bytearray(log.read_bytes())
    assert len(content) > 2 * 4_096
    if left < 0:  # all of it is there, but a bit is not
        content[2_000] ^= 1
        left = len(content)
    log.write_bytes(content[:left])
    assert mail(tmp_path / "killed") == ["before"]
