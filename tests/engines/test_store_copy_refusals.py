"""A store that cannot be copied is one sentence that says what to do; nothing is left half-copied."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
import pytest
from store_copies import copied, dump_database, dump_folder, fill

from phantom_messenger.engines.copying import copy_store
from phantom_messenger.engines.errors import StoreError, StoreUnusable
from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.content import SQLiteContent
from phantom_messenger.relay.commands import Barrier, CommandFailed
from support.postgres_server import PostgresServer
from support.relay_process import StartRelay, environment, serve
from support.store_user import StoreUser
from support.stores import ALICE, BOB, append, bind, message
from support.warm import finished, warm


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    made = postgres.make_database()
    yield made
    postgres.drop_database(made)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes."""
    folder = tmp_path_factory.mktemp("sample") / "one"
    fill(folder)
    return folder


def refusal(source: str | Path, target: str | Path, kind: type[StoreError] = StoreError) -> str:
    with pytest.raises(StoreError) as found:
        copied(source, target)
    assert type(found.value) is kind or kind is StoreError
    text = str(found.value)
    assert "\n" not in text
    assert "secret" not in text
    return text


def run(url: str, *queries: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for query in queries:
            connection.execute(query.encode())


def command(*arguments: str | Path, patch: str = "", more: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run ``phantom store copy``, with some Python text before it if there is a patch; exit code, output, errors."""
    wanted = ["store", "copy", *map(str, arguments)]
    if patch:
        done = subprocess.run(
            [sys.executable, "-c", f"{patch}\nfrom phantom_messenger.cli.main import main\nmain()", *wanted],
            env=environment(more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    else:
        done = finished(warm("client").start(wanted, environment(more)), "", 60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


# --- as it is called --------------------------------------------------------------


def test_command_says_what_was_copied_and_nothing_else(sample: Path, tmp_path: Path) -> None:
    code, shown, errors = command(sample, tmp_path / "two")
    assert (code, errors) == (0, "")
    rows = dict(line.split()[:2] for line in shown.splitlines()[:-1])
    assert rows["accounts"] == str(len(dump_folder(sample)["accounts"]))
    assert "each table is the same on both sides" in shown.splitlines()[-1]


def test_url_comes_from_a_variable(sample: Path, url: str) -> None:
    code, _, errors = command(sample, "env:PHANTOM_STORE", more={"PHANTOM_STORE": url})
    assert (code, errors) == (0, "")
    assert dump_database(url) == dump_folder(sample)


def test_variable_that_is_not_set_is_named(sample: Path) -> None:
    code, _, errors = command(sample, "env:NOTHING")
    assert code == 2
    assert "the variable NOTHING is not set" in errors


def test_other_urls_are_no_stores(sample: Path) -> None:
    code, _, errors = command(sample, "mysql://me:secret@host/phantom")
    assert code == 2
    assert "begins with postgresql://" in errors
    assert "secret" not in errors


def test_library_that_is_not_installed_is_named(sample: Path) -> None:
    patch = "import sys; sys.modules['psycopg'] = None"
    code, _, errors = command(sample, "postgresql://me:secret@host/phantom", patch=patch)
    assert code == 1
    assert "pip install 'phantom-messenger[postgres]'" in errors
    assert "secret" not in errors


# --- what is copied ---------------------------------------------------------------


def test_folder_is_not_there(tmp_path: Path) -> None:
    assert f"there is no data folder {tmp_path / 'none'}" in refusal(tmp_path / "none", tmp_path / "two", StoreUnusable)
    assert not (tmp_path / "two").exists()


def test_folder_has_no_store(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert "no store in the folder" in refusal(tmp_path / "one", tmp_path / "two", StoreUnusable)
    assert list((tmp_path / "one").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty; restore it"), (b"no database" * 500, "cannot read .*restore it")]
)
def test_database_of_the_folder_is_none(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "relay.db").write_bytes(content)
    with pytest.raises(StoreError, match=words):
        copied(tmp_path / "one", tmp_path / "two")


def test_database_is_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with sqlite3.connect(tmp_path / "one" / "relay.db") as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    assert "is not the database of a relay" in refusal(tmp_path / "one", tmp_path / "two")


def test_folder_is_of_a_newer_version(tmp_path: Path) -> None:
    fill(tmp_path / "one", batches=1)
    with sqlite3.connect(tmp_path / "one" / "relay.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer version of Phantom Messenger" in refusal(tmp_path / "one", tmp_path / "two")


def test_log_of_another_state_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "one", batches=1)
    store = SQLiteStore(tmp_path / "one")
    append(store, message("1"), to=StoreUser(store, "alice").id)
    log = (tmp_path / "one" / "relay.db-wal").read_bytes()
    store.close()
    fill(tmp_path / "other", batches=2)
    (tmp_path / "other" / "relay.db-wal").write_bytes(log)
    assert "is the log of another state" in refusal(tmp_path / "other", tmp_path / "two")


def test_database_has_no_store(url: str, tmp_path: Path) -> None:
    assert "there is no store in the database" in refusal(url, tmp_path / "two", StoreUnusable)
    run(url, "CREATE SCHEMA phantom")  # there is none: the refusal has made nothing


def test_database_is_of_a_newer_version(template: str, postgres: PostgresServer, tmp_path: Path) -> None:
    made = postgres.make_database(template)
    run(made, "INSERT INTO phantom.migrations VALUES (99)")
    assert "FROM was written by a newer version" in refusal(made, tmp_path / "two")
    assert "TO was written by a newer version" in refusal(_small(tmp_path), made)
    postgres.drop_database(made)


def _small(tmp_path: Path) -> Path:
    fill(tmp_path / "small", batches=1)
    return tmp_path / "small"


def test_no_server_is_there_and_no_password_is_shown(tmp_path: Path) -> None:
    text = refusal("postgresql://me:secret@127.0.0.1:1/phantom", tmp_path / "two")
    assert "cannot reach the database 'phantom' at 127.0.0.1" in text
    assert refusal("postgresql://me:secret@[/x", tmp_path / "two").startswith("FROM is no PostgreSQL URL")


def test_user_may_not_read_or_make_the_store(url: str, sample: Path, tmp_path: Path) -> None:
    copied(sample, url)
    run(url, "DROP ROLE IF EXISTS copyist", "CREATE ROLE copyist LOGIN")
    guest = url.replace("phantom@", "copyist@")
    assert "use the same user for all relays" in refusal(guest, tmp_path / "two")
    assert "use the same user for all relays" in refusal(sample, guest)


# --- damage -----------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A folder with forty items, of which the fifth has another text than was written."""
    folder = tmp_path / "damaged"
    store = SQLiteStore(folder)
    bind(store, ALICE, BOB)
    for number in range(40):
        append(store, message(str(number), size=3_000))
    store.close()
    with sqlite3.connect(folder / "relay.db") as connection:
        connection.execute("UPDATE items SET text = zeroblob(length(text)) WHERE entry = 5")
    connection.close()
    return folder


def test_damaged_items_are_named_and_left_out_if_that_is_wanted(damaged: Path, tmp_path: Path, url: str) -> None:
    for target in (tmp_path / "two", url):
        text = refusal(damaged, target)
        assert "1 of the items in" in text
        assert "(entry 5); restore it from a backup, or copy the others with --leave-out-damaged" in text
        assert copied(damaged, target, leave_out_damaged=True).left_out == 1
    assert [row[1] for row in dump_folder(tmp_path / "two")["items"]] == [
        row[1] for row in dump_folder(damaged)["items"] if row[4] != "4"
    ]
    code, _, errors = command(damaged, tmp_path / "three", "--leave-out-damaged")
    assert (code, errors) == (0, "phantom store copy: 1 damaged item was left out\n")


def test_items_on_a_damaged_page_are_named_and_the_others_copied(damaged: Path, tmp_path: Path) -> None:
    with sqlite3.connect(damaged / "relay.db") as connection:
        [(text,)] = connection.execute("SELECT text FROM items WHERE entry = 20")
    connection.close()
    file = damaged / "relay.db"
    content = bytearray(file.read_bytes())
    page = content.index(text) // 4_096
    content[page * 4_096 : page * 4_096 + 12] = b"\xff" * 12
    file.write_bytes(content)
    text = refusal(damaged, tmp_path / "two")
    assert "20" in text.partition("entry")[2]
    assert ", 5" in text or "entry 5," in text
    done = copied(damaged, tmp_path / "two", leave_out_damaged=True)
    assert done.digests["items"].count + done.left_out == 40
    assert done.left_out >= 2


INDEXES: Final = ("items_order", "items_expiry", "sqlite_autoindex_items_1", "accounts_active")


def spoil_index(folder: Path, name: str) -> None:
    """Make the first page of an index one that cannot be read."""
    with sqlite3.connect(folder / "relay.db") as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,))
    connection.close()
    with (folder / "relay.db").open("r+b") as file:
        file.seek((root - 1) * 4_096)
        file.write(b"\xee")


@pytest.mark.parametrize("name", INDEXES)
def test_store_with_an_index_that_cannot_be_read_is_copied_whole(sample: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(sample, tmp_path / "one"))
    before = dump_folder(folder)
    spoil_index(folder, name)
    assert copied(folder, tmp_path / "two").left_out == 0
    assert dump_folder(tmp_path / "two") == before
    SQLiteStore(tmp_path / "two").close()


@pytest.mark.parametrize("name", ["items_order", "accounts_active"])
def test_control_copy_that_counts_by_indexes_alone_is_refused(
    sample: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(sample, tmp_path / "one"))
    spoil_index(folder, name)
    by_index = "SELECT count(*) FROM {}".format
    monkeypatch.setattr(SQLiteContent, "_counted", lambda self, name: self._number(by_index(name)))
    assert "restore relay.db from a backup" in refusal(folder, tmp_path / "two")


def test_items_that_were_quarantined_stay_behind_and_are_counted(damaged: Path, tmp_path: Path) -> None:
    store = SQLiteStore(damaged)
    store.run_jobs([lambda tables: tables.mailboxes.read(BOB, 0, 10**9, 0)])
    store.close()
    assert copied(damaged, tmp_path / "two").left_out == 1


@pytest.mark.parametrize("to", ["folder", "database"])
def test_rows_that_contradict_each_other_are_refused(tmp_path: Path, url: str, to: str) -> None:
    fill(tmp_path / "one", batches=1)
    with sqlite3.connect(tmp_path / "one" / "relay.db") as connection:
        connection.execute("INSERT INTO written (sender, recipient, conversation) VALUES (1, 99, 'x')")
    connection.close()
    target = str(tmp_path / "two") if to == "folder" else url
    assert "a row of written does not fit others" in refusal(tmp_path / "one", target)
    assert not (tmp_path / "two" / "relay.db").exists()


def test_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "one", batches=1)
    with sqlite3.connect(tmp_path / "one" / "relay.db") as connection:
        connection.execute("UPDATE accounts SET user_id = CAST(X'FFFE' AS TEXT) WHERE account = 1")
    connection.close()
    assert "is damaged (accounts cannot be read)" in refusal(tmp_path / "one", tmp_path / "two")


# --- where it is copied to --------------------------------------------------------


def test_folder_is_not_empty(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "something").write_text("mine")
    assert "is not empty; name a new folder" in refusal(sample, tmp_path, StoreUnusable)
    assert [path.name for path in tmp_path.iterdir()] == ["something"]
    assert "is a file, not a folder" in refusal(sample, tmp_path / "something", StoreUnusable)
    assert "is not empty" in refusal(sample, _small(tmp_path))


def test_empty_folder_that_is_there_is_used(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "lost+found").mkdir()
    copied(sample, tmp_path / "two")
    assert (tmp_path / "two" / "relay.db").stat().st_mode & 0o777 == 0o600


def test_database_has_accounts(sample: Path, url: str) -> None:
    copied(sample, url)
    before = dump_database(url)
    assert "there is a store with accounts in the database" in refusal(sample, url, StoreUnusable)
    assert dump_database(url) == before


def test_database_in_which_a_relay_was_is_used(sample: Path, url: str, start_relay: StartRelay) -> None:
    start_relay(more={"PHANTOM_STORE": url}).stop()
    copied(sample, url)
    assert dump_database(url) == dump_folder(sample)


def test_source_and_target_are_the_same(sample: Path, url: str) -> None:
    assert "is not empty" in refusal(sample, sample)
    copied(sample, url)
    assert "a relay, or another copy, is at work on the database" in refusal(url, url)


def test_disk_of_the_folder_is_full(sample: Path, tmp_path: Path) -> None:
    patch = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
    code, _, errors = command(sample, tmp_path / "two", patch=patch)
    assert code == 1
    assert "cannot write to the data folder" in errors
    assert "make room, and copy again" in errors
    copied(sample, tmp_path / "two")


# --- relays -----------------------------------------------------------------------


def test_relay_at_work_is_not_copied(sample: Path, tmp_path: Path, url: str, start_relay: StartRelay) -> None:
    relay = start_relay()
    other = start_relay(more={"PHANTOM_STORE": url})
    words = "a relay, or another copy, is at work on the data"
    assert f"{words} folder" in refusal(relay.data, tmp_path / "two")
    assert f"{words}base" in refusal(url, tmp_path / "two")
    assert f"{words}base" in refusal(sample, url)
    other.kill()
    _wait_for_end(url)
    copied(sample, url)


def _wait_for_end(url: str) -> None:
    """Until the server has noticed that a relay is gone."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'phantom' AND datname = current_database()"
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(query).fetchone() != (0,):
            connection.execute("SELECT pg_sleep(0.05)")


def test_relay_does_not_start_on_either_side_of_a_copy(sample: Path, tmp_path: Path, url: str) -> None:
    source, target = str(_small(tmp_path)), str(tmp_path / "two")
    with closing(copy_store(source, target)) as steps:
        next(steps)
        for folder in (source, target):
            assert "another relay uses the data folder" in serve("--data", folder).stderr
    for one, other in ((str(sample), url), (url, target)):
        with closing(copy_store(one, other)) as steps:
            next(steps)
            done = serve(more={"PHANTOM_STORE": url})
            assert done.returncode == 1
            assert "is being copied, or copied to; start the relay when that is done" in done.stderr
        copied(one, other)
    PostgresStore(url).close()


def test_relay_that_lost_its_connection_does_not_come_back_during_a_copy(
    sample: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phantom_messenger.engines.postgres import store as stores

    monkeypatch.setattr(stores, "_DIAL_SECONDS", 0.0)
    copied(sample, url)
    store = PostgresStore(url)
    run(url.rpartition("/")[0] + "/postgres", "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE classid = 4")
    store.run([Barrier()])
    with closing(copy_store(url, str(tmp_path / "two"))) as steps:
        next(steps)
        [failed] = store.run([Barrier()])
        assert isinstance(failed, CommandFailed)
        assert failed.is_out_of_space
    assert store.run([Barrier()]) == [None]
    store.close()


# --- the end in the middle --------------------------------------------------------

KILLED = """
import os, signal
from phantom_messenger.engines.{engine}.content import {kind}
{kind}.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folder_of_a_copy_that_was_killed_is_used_by_nobody(sample: Path, tmp_path: Path) -> None:
    patch = KILLED.format(engine="sqlite", kind="SQLiteContent")
    assert command(sample, tmp_path / "two", patch=patch)[0] == -signal.SIGKILL
    done = serve("--data", str(tmp_path / "two"))
    assert done.returncode == 1
    assert "is missing in a folder that was used" in done.stderr
    code, _, errors = command(sample, tmp_path / "two")
    assert code == 2
    assert "holds a copy that was not finished; empty it and copy again" in errors
    for path in (tmp_path / "two").iterdir():
        path.unlink()
    copied(sample, tmp_path / "two")


def test_database_of_a_copy_that_was_killed_is_as_before(sample: Path, url: str) -> None:
    patch = KILLED.format(engine="postgres", kind="PostgresContent")
    assert command(sample, url, patch=patch)[0] == -signal.SIGKILL
    _wait_for_end(url)
    run(url, "CREATE SCHEMA phantom", "DROP SCHEMA phantom")  # there is none
    copied(sample, url)
    assert dump_database(url) == dump_folder(sample)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to", ["folder", "database"])
def test_copy_that_is_interrupted_leaves_nothing(
    sample: Path, tmp_path: Path, url: str, to: str, number: signal.Signals
) -> None:
    engine, kind = ("sqlite", "SQLiteContent") if to == "folder" else ("postgres", "PostgresContent")
    patch = KILLED.format(engine=engine, kind=kind).replace("signal.SIGKILL", f"signal.{number.name}")
    target = str(tmp_path / "two") if to == "folder" else url
    code, _, errors = command(sample, target, patch=patch)
    assert (code, errors.strip()) == ((1, "phantom: interrupted") if number is signal.SIGINT else (128 + number, ""))
    copied(sample, target)


def test_original_is_as_it_was(tmp_path: Path) -> None:
    fill(tmp_path / "one", batches=5)
    file = tmp_path / "one" / "relay.db"
    before = file.read_bytes()
    copied(tmp_path / "one", tmp_path / "two")
    assert file.read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["lock", "relay.db", "reserve"]
