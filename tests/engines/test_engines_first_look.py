"""What is damaged, empty, missing or linked is known at the start, and never becomes an empty relay."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from phantom_messenger.engines.errors import StoreUnusable
from phantom_messenger.engines.sqlite import SQLiteStore, StoreError
from phantom_messenger.sqlite.scrub import Scrubber
from support.relay_process import serve
from support.stores import ALICE, BOB, append, append_all, bind, message, names, run, waiting

PAGE = 4_096


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder that was used, and stopped."""
    folder = tmp_path / "data"
    store = SQLiteStore(folder)
    bind(store, ALICE, BOB)
    for number in range(40):
        append(store, message(str(number), size=500))
    store.close()
    return folder


def tables(data: Path) -> dict[str, int]:
    """Each table and index with the number of its root page."""
    connection = apsw.Connection(str(data / "relay.db"))
    found = connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall()
    connection.close()
    return {str(name): int(str(root)) for name, root in found}


def write(file: Path, place: int, content: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(content)


def refused(data: Path, sentence: str) -> None:
    """The folder is refused, and its database left as it is."""
    database = data / "relay.db"
    before = database.read_bytes() if database.exists() else None
    with pytest.raises(StoreError, match=sentence):
        SQLiteStore(data)
    assert (database.read_bytes() if database.exists() else None) == before


# --- no data is not no relay ------------------------------------------------------


def test_empty_database_in_a_used_folder_is_refused(data: Path) -> None:
    os.truncate(data / "relay.db", 0)
    refused(data, r"relay\.db is empty; restore it from a backup, or empty the folder to begin with an empty relay")


def test_missing_database_in_a_used_folder_is_refused(data: Path) -> None:
    (data / "relay.db").unlink()
    refused(data, r"relay\.db is missing in a folder that was used; restore it from a backup, or empty the folder")
    shutil.rmtree(data)
    SQLiteStore(data).close()


def test_missing_database_beside_its_log_is_refused(data: Path) -> None:
    (data / "reserve").unlink()
    (data / "relay.db").rename(data / "relay.db-wal")
    refused(data, r"relay\.db is missing in a folder that was used")


def test_database_without_tables_is_refused(data: Path) -> None:
    (data / "relay.db").unlink()
    connection = apsw.Connection(str(data / "relay.db"))
    connection.pragma("journal_mode", "wal")
    connection.close()
    assert (data / "relay.db").stat().st_size == PAGE
    refused(data, r"relay\.db is not the database of a relay; restore it from a backup")


def test_database_cut_at_any_page_is_refused(data: Path) -> None:
    whole = (data / "relay.db").read_bytes()
    for size in range(0, len(whole), PAGE):
        os.truncate(data / "relay.db", size)
        refused(data, r"relay\.db is (empty|damaged)")
        (data / "relay.db").write_bytes(whole)
    SQLiteStore(data).close()


@pytest.mark.parametrize("left", ["lock", "relay.db.new"])
def test_first_start_that_was_killed_is_followed_by_another(tmp_path: Path, left: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / left).write_bytes(b"half of a database" if "new" in left else b"")
    store = SQLiteStore(tmp_path / "data")
    bind(store, ALICE)
    store.close()
    assert {file.name for file in (tmp_path / "data").iterdir()} == {"lock", "relay.db", "reserve"}


def test_control_without_the_look_an_empty_database_becomes_an_empty_relay(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(data / "relay.db", 0)
    monkeypatch.setattr("phantom_messenger.engines.sqlite.store.is_new", lambda _: True)
    store = SQLiteStore(data)
    assert run(store, lambda tx: tx.directory.public_key(BOB)) is None
    store.close()


# --- damage that everybody would meet ---------------------------------------------


def noise(_: bytes) -> bytes:
    return bytes(range(256)) * 16


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "zeros": lambda page: bytes(len(page)),
    "noise": noise,
    "another type": lambda page: bytes((page[0] ^ 2,)) + page[1:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_whole_table_that_cannot_be_read_is_known_at_the_start(data: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = (data / "relay.db").read_bytes()
    for name, root in tables(data).items():
        place = (root - 1) * PAGE
        write(data / "relay.db", place, damage(whole[place : place + PAGE]))
        refused(data, rf"relay\.db is damaged \((.*{name}.* cannot be read|.*)\); restore it from a backup")
        (data / "relay.db").write_bytes(whole)
    SQLiteStore(data).close()


def test_garbage_behind_a_whole_header_is_refused(data: Path) -> None:
    size = (data / "relay.db").stat().st_size
    write(data / "relay.db", PAGE, os.urandom(size - PAGE))
    refused(data, r"relay\.db is damaged")


@pytest.mark.parametrize("table", ["relay_time", "relay_limits"])
def test_what_the_last_run_left_and_cannot_be_read_is_one_sentence(data: Path, table: str) -> None:
    root = tables(data)[table]
    page = bytearray((data / "relay.db").read_bytes()[(root - 1) * PAGE : root * PAGE])
    # One row, whose cell claims a payload that goes beyond the file.
    page[3:8] = (1).to_bytes(2) + (PAGE - 16).to_bytes(2) + b"\x00"
    page[8:10] = (PAGE - 16).to_bytes(2)
    page[PAGE - 16 :] = b"\x8f\xff\xff\x7f\x01" + b"\x55" * 11
    write(data / "relay.db", (root - 1) * PAGE, bytes(page))
    done = serve("--data", str(data), "--port", "0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"phantom serve: {data / 'relay.db'} is damaged (")
    assert done.stderr.endswith("; restore it from a backup\n")
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr


def test_look_at_the_start_reads_a_page_of_each_table_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    is_tree = Scrubber.is_tree

    def counting(erasure: Scrubber, page: int) -> bool:
        seen.append(page)
        return is_tree(erasure, page)

    monkeypatch.setattr(Scrubber, "is_tree", counting)
    counts = []
    for mails in (10, 1_000):
        store = SQLiteStore(tmp_path / str(mails))
        bind(store, ALICE, BOB)
        append_all(store, [message(str(number), size=3_000) for number in range(mails)])
        store.close()
        seen.clear()
        SQLiteStore(tmp_path / str(mails)).close()
        counts.append(len(seen))
    assert counts[0] == counts[1] == len(tables(tmp_path / "10"))


# --- links, and folders without rights --------------------------------------------


@pytest.mark.parametrize("link", ["symlink", "folder"])
def test_second_relay_on_one_database_is_refused_whatever_the_name(data: Path, tmp_path: Path, link: str) -> None:
    other = tmp_path / "other"
    if link == "folder":
        other.symlink_to(data)
    else:
        other.mkdir()
        (other / "relay.db").symlink_to(data / "relay.db")
    first = SQLiteStore(data)
    with pytest.raises(StoreError, match="another relay uses the data folder"):
        SQLiteStore(other)
    first.close()
    second = SQLiteStore(other)
    assert len(names(waiting(second))) == 40
    with pytest.raises(StoreError, match="another relay uses the data folder"):
        SQLiteStore(data)
    second.close()


def test_hard_link_of_a_database_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "relay.db").hardlink_to(data / "relay.db")
    for folder in (data, tmp_path / "other"):
        refused(folder, "has a second name")
    (tmp_path / "other" / "relay.db").unlink()
    SQLiteStore(data).close()


def test_control_without_the_look_for_links_two_relays_open_one_database(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "relay.db").hardlink_to(data / "relay.db")
    monkeypatch.setattr("phantom_messenger.engines.sqlite.store.own_database", lambda database: database)
    first, second = SQLiteStore(data), SQLiteStore(tmp_path / "other")
    second.close()
    first.close()


def test_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "relay.db").symlink_to(tmp_path / "unmounted" / "relay.db")
    with pytest.raises(StoreError, match="which does not exist; mount its disk, or restore it"):
        SQLiteStore(tmp_path / "data")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="somebody else is needed")
@pytest.mark.parametrize("place", ["closed", "closed/below"])
def test_folder_of_somebody_else_is_one_sentence(tmp_path: Path, place: str) -> None:
    for above in (tmp_path, *tmp_path.parents):
        if above.owner() == "root" and above != Path("/") and above.stat().st_mode & 0o5 != 0o5:
            above.chmod(0o755)
    (tmp_path / "closed").mkdir(mode=0o700)
    code = (
        "from pathlib import Path; from phantom_messenger.engines.sqlite.folder import *; import sys\n"
        "from phantom_messenger.sqlite.files import make_folder\n"
        "place = Path(sys.argv[1])\n"
        "try: make_folder(place); lock_folder(place)\n"
        "except OSError as error: told = cannot_use(place, error); print(type(told).__name__, told)"
    )
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
    done = subprocess.run(
        [*nobody, sys.executable, "-c", code, tmp_path / place],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if "No module" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("the interpreter cannot be read by somebody else")
    assert done.stdout.startswith("StoreUnusable cannot write to the data folder")
    assert "(Permission denied); choose another with --data" in done.stdout


def test_want_of_rights_is_told_with_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(self: Path, *_: object, **__: object) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", closed)
    with pytest.raises(StoreUnusable, match=r"cannot write to the data folder .* \(Permission denied\)"):
        SQLiteStore(tmp_path / "data")
    assert issubclass(StoreUnusable, StoreError)
