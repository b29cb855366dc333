"""A copied store is the same store: every row, every number, and time goes on."""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from store_copies import POSTGRES, copied, dump_database, dump_folder, fill

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.engines import copying
from phantom_messenger.engines.content import ITEMS, TABLES, Digest, Row, Table
from phantom_messenger.engines.copying import Step, check, copy_store
from phantom_messenger.engines.errors import StoreError
from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.engines.postgres.content import PostgresContent
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.content import SQLiteContent
from phantom_messenger.relay.commands import (
    KEEP_REMOVED_MS,
    AppendRefusal,
    CountPreKeys,
    LoadClock,
    LoggedIn,
    LogIn,
    PublishPreKeys,
    SaveClock,
    TakeLimits,
)
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Item
from support.amounts import amount
from support.people import Person
from support.postgres_server import PostgresServer
from support.reference_client import Connect
from support.relay_process import StartRelay
from support.store_user import NOW, StoreUser, run
from support.stores import ALICE, BOB, append, bind, message, publication, waiting

DAY_MS = 86_400_000


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """A database in which nothing is, not even tables."""
    made = postgres.make_database()
    yield made
    postgres.drop_database(made)


# --- rows -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(amount(2, 40)))
def test_every_row_is_the_same_on_both_engines_and_back(tmp_path: Path, url: str, seed: int) -> None:
    fill(tmp_path / "one", seed)
    before = dump_folder(tmp_path / "one")
    assert seed > 1 or all(before.values()), "a table of the sample is empty"  # some of the others leave one empty
    done = copied(tmp_path / "one", url)
    assert dump_database(url) == before
    assert done.left_out == 0
    assert done.digests["items"].count == len(before["items"])
    copied(url, tmp_path / "two")
    assert dump_folder(tmp_path / "two") == before
    copied(tmp_path / "two", tmp_path / "three")
    assert dump_folder(tmp_path / "three") == before
    assert dump_folder(tmp_path / "one") == before


def test_postgres_is_copied_to_postgres(tmp_path: Path, postgres: PostgresServer, url: str) -> None:
    fill(tmp_path / "one")
    copied(tmp_path / "one", url)
    other = postgres.make_database()
    copied(url, other)
    assert dump_database(other) == dump_folder(tmp_path / "one")
    postgres.drop_database(other)


def test_all_tables_of_a_database_are_copied_or_known_to_be_passing(template: str, postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url(template)) as connection:
        query = (
            "SELECT relname FROM pg_class WHERE relnamespace = 'phantom'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition"
        )
        found = {str(name) for (name,) in connection.execute(query)}
    passing = {"sessions", "relays", "past_sessions", "presence_changes", "migrations", "relay_time"}
    assert found == {*POSTGRES, "tombstones", *passing}


def test_all_columns_of_a_folder_are_copied_or_made_anew(tmp_path: Path) -> None:
    SQLiteStore(tmp_path / "data").close()
    with sqlite3.connect(tmp_path / "data" / "relay.db") as connection:
        found = {
            (str(table), str(column))
            for table, column in connection.execute(
                "SELECT t.name, c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table'"
                " AND t.name NOT LIKE 'sqlite_%'"
            )
        }
    connection.close()
    names = {"certified": "standing"}
    kept = {(table.name, column) for table in TABLES for column in table.columns}
    left = {(table, names.get(column, column)) for table, column in found} - kept
    assert {column for table, column in left if table == "accounts"} == {"seq_limit"}
    assert {column for table, column in left if table == "items"} == {"entry", "checksum"}
    assert {(table, column) for table, column in left if table not in {"accounts", "items"}} == {
        ("handouts", "entry"),
        *((table, column) for table, column in found if table in {"set_aside", "relay_time", "relay_limits", "lives"}),
    }


def test_store_of_a_version_that_noted_no_times_is_copied(tmp_path: Path, url: str) -> None:
    fill(tmp_path / "one")
    with sqlite3.connect(tmp_path / "one" / "relay.db") as connection:
        connection.execute("UPDATE accounts SET active_on = NULL WHERE account = 1")
        connection.execute("INSERT INTO lives VALUES (1, ?)", (NOW - DAY_MS,))
    connection.close()
    copied(tmp_path / "one", url)
    [active_on] = [row[5] for row in dump_database(url)["accounts"] if row[0] == 1]
    assert active_on == (NOW - DAY_MS) // DAY_MS


def test_items_are_in_a_folder_in_the_order_in_which_they_were_stored(tmp_path: Path, url: str) -> None:
    fill(tmp_path / "one")
    copied(tmp_path / "one", url)
    copied(url, tmp_path / "two")
    with sqlite3.connect(tmp_path / "two" / "relay.db") as connection:
        times = [at for (at,) in connection.execute("SELECT stored_at FROM items ORDER BY entry")]
    connection.close()
    assert times == sorted(times)
    assert len(set(times)) > 5


# --- what users see ---------------------------------------------------------------


def test_what_waits_is_delivered_by_a_relay_on_the_copy(
    tmp_path: Path, url: str, start_relay: StartRelay, connect: Connect
) -> None:
    alice, bob = Person("alice"), Person("bob")
    relay = start_relay("--limits", "off")
    with connect(relay, alice).login() as sender, connect(relay, bob).login() as reader:
        first = alice.message(bob)
        sender.ask(first)
        reader.send(bob.ack(reader.until("MESSAGE")))
        reader.settle()
    waits = [alice.message(bob) for _ in range(5)]
    with connect(relay, alice).login() as sender:
        for frame in waits:
            sender.ask(frame)
    relay.stop()
    copied(relay.data, url)
    second = start_relay("--limits", "off", more={"PHANTOM_STORE": url})
    with connect(second, bob).login(["ack"]) as reader:
        got = [reader.until("MESSAGE")["payload"]["messageId"] for _ in waits]
        assert got == [frame["payload"]["messageId"] for frame in waits]
    second.stop()
    copied(url, tmp_path / "back")
    third = start_relay("--limits", "off", "--data", str(tmp_path / "back"))
    with connect(third, bob).login(["ack"]) as reader:
        assert [reader.until("MESSAGE")["payload"]["messageId"] for _ in waits] == got


def test_numbers_and_prekeys_are_never_given_twice(tmp_path: Path, url: str) -> None:
    store = SQLiteStore(tmp_path / "one")
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    run(store, PublishPreKeys(actor=bob.actor, publication=publication(range(1, 5))))
    first = alice.exchange(bob, wants_bundle=True)
    seqs = [_stored(alice.write(bob, str(number))).seq for number in range(3)]
    bob.acknowledge(alice, "0", "1", "2")
    store.close()
    copied(tmp_path / "one", url)
    again = PostgresStore(url)
    alice.store = bob.store = again
    second = alice.exchange(bob, "again", wants_bundle=True)
    assert first.bundle.one_time.id == 1  # type: ignore[union-attr]
    assert second.bundle.one_time.id == 2  # type: ignore[union-attr]
    seqs.append(_stored(alice.write(bob, "3")).seq)
    run(again, PublishPreKeys(actor=bob.actor, publication=publication([1, 2])))
    assert run(again, CountPreKeys(actor=bob.actor)).one_time == 2
    again.close()
    copied(url, tmp_path / "two")
    last = SQLiteStore(tmp_path / "two")
    alice.store = last
    seqs.append(_stored(alice.write(bob, "4")).seq)
    last.close()
    assert seqs == sorted(set(seqs))


def _stored(found: object) -> Item:
    assert isinstance(found, Item)
    return found


def test_new_accounts_and_conversations_are_numbered_behind_the_old(tmp_path: Path, url: str) -> None:
    fill(tmp_path / "one")
    highest = dump_folder(tmp_path / "one")["numbers"][0][0]
    copied(tmp_path / "one", url)
    store = PostgresStore(url)
    new, other = StoreUser(store, "new"), StoreUser(store, "newer")
    new.meet(other)
    run(store, PublishPreKeys(actor=new.actor, publication=publication(range(1, 4))))
    store.close()
    accounts = {row[1]: row[0] for row in dump_database(url)["accounts"]}
    assert [accounts[new.id], accounts[other.id]] == [highest + 1, highest + 2]


def test_limits_of_a_stopped_relay_count_on(tmp_path: Path, url: str) -> None:
    fill(tmp_path / "one")
    copied(tmp_path / "one", url)
    store = PostgresStore(url)
    kept = run(store, TakeLimits())
    store.close()
    assert kept is not None
    assert kept.times == {b"party": [NOW, NOW + 5], b"other": [NOW]}


def test_a_full_mailbox_is_full_in_the_copy(tmp_path: Path, url: str) -> None:
    store = SQLiteStore(tmp_path / "one")
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.meet(bob)
    for number in range(4):
        alice.write(bob, str(number), size=1_000)
    store.close()
    copied(tmp_path / "one", url)
    small = PostgresStore(url, mailbox_bytes=5_500)
    alice.store = small
    assert not isinstance(alice.write(bob, "too much", size=1_000), Item)
    small.close()


# --- what has been delivered ------------------------------------------------------


def removed(url: str) -> list[tuple[object, ...]]:
    """What a database remembers of it."""
    with psycopg.connect(url) as connection:
        return sorted(connection.execute("SELECT recipient, sender, name, until FROM phantom.tombstones"))


def deliver(store: Store, *names: str) -> tuple[StoreUser, StoreUser]:
    """Alice and Bob, who has received messages of these names, one each minute."""
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.meet(bob)
    for number, name in enumerate(names):
        alice.write(bob, name)
        bob.acknowledge(alice, name, now=NOW + number * 60_000)
    return alice, bob


def test_delivered_messages_are_not_delivered_again_by_a_relay_on_a_copy(
    tmp_path: Path, url: str, postgres: PostgresServer
) -> None:
    store = PostgresStore(url)
    alice, bob = deliver(store, "first", "second")
    store.close()
    before = removed(url)
    assert len(before) >= 2
    done = copied(url, tmp_path / "one")
    assert done.digests["tombstones"].count == len(before)
    copied(tmp_path / "one", tmp_path / "two")
    other = postgres.make_database()
    copied(tmp_path / "two", other)
    assert removed(other) == before
    late = NOW + KEEP_REMOVED_MS + 59_999
    for again in (PostgresStore(other), SQLiteStore(tmp_path / "two")):
        alice.store = bob.store = again
        assert alice.write(bob, "second", now=late) is AppendRefusal.DUPLICATE
        assert isinstance(alice.write(bob, "first", now=late), Item), "it is over"
        assert isinstance(alice.write(bob, "third", now=late), Item)
        again.close()
    postgres.drop_database(other)


def test_folder_forgets_what_its_copy_was_told_once_a_relay_has_started(tmp_path: Path, url: str) -> None:
    store = PostgresStore(url)
    alice, bob = deliver(store, "first")
    store.close()
    copied(url, tmp_path / "one")
    SQLiteStore(tmp_path / "one").close()
    with sqlite3.connect(tmp_path / "one" / "relay.db") as connection:
        assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'tombstones'").fetchall() == []
    connection.close()
    alice.store = bob.store = SQLiteStore(tmp_path / "one")
    assert isinstance(alice.write(bob, "first"), Item)
    alice.store.close()


# --- time -------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 20 * DAY_MS, -400 * DAY_MS])
def test_persistent_time_goes_on_whatever_the_clocks_show(tmp_path: Path, url: str, ahead: int) -> None:
    store = SQLiteStore(tmp_path / "one")
    bind(store, ALICE, BOB)
    wall = time.time_ns() // 1_000_000
    append(store, message("waits", expires_at=wall + ahead + DAY_MS), now=wall + ahead)
    run(store, SaveClock(snapshot=ClockSnapshot("another boot", 1, wall, wall + ahead)))
    store.close()
    copied(tmp_path / "one", url)
    database = PostgresStore(url)
    assert abs(database.time().persistent - (wall + ahead)) < 60_000
    database.close()
    copied(url, tmp_path / "two")
    last = SQLiteStore(tmp_path / "two")
    kept = run(last, LoadClock())
    assert kept is not None
    assert abs(kept.persistent - (wall + ahead)) < 60_000
    assert [item.expires_at for item in waiting(last, now=kept.persistent)] == [wall + ahead + DAY_MS]
    last.close()


# --- the check, and its controls --------------------------------------------------


class Broken:
    """A copy of which the rows of a table are not as they should be."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def count(self, _: Table) -> int:
        return len(self._rows)

    def rows(self, _: Table) -> Iterator[Row]:
        return iter(self._rows)


ROWS: list[Row] = [(1, 2, "a", b"text"), (1, 3, "a", b"text"), (2, 2, None, b"")]


def test_rows_in_another_order_are_the_same() -> None:
    assert [step.done for step in check(ITEMS, Broken(ROWS[::-1]), Digest(ROWS))] == [3]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(ROWS[:2], id="lost"),
        pytest.param([*ROWS, ROWS[0]], id="doubled"),
        pytest.param([ROWS[0], ROWS[0], ROWS[2]], id="lost and doubled"),
        pytest.param([ROWS[0], (1, 3, "a", b"tezt"), ROWS[2]], id="changed"),
        pytest.param([ROWS[0], ROWS[1], (2, 2, "", b"")], id="nothing is no empty text"),
        pytest.param([(1, 3, "a", b"text"), (1, 2, "b", b"text"), ROWS[2]], id="exchanged"),
    ],
)
def test_control_a_row_that_is_lost_doubled_or_changed_is_found(rows: list[Row]) -> None:
    with pytest.raises(StoreError, match="the copy is not the same as the original in items"):
        list(check(ITEMS, Broken(rows), Digest(ROWS)))


def _lossy(write: object, table: Table) -> object:
    def writer(rows: Iterable[Row]) -> None:
        rows = list(rows)
        write(rows[1:] if table is ITEMS else rows)  # type: ignore[operator]

    return writer


@pytest.mark.parametrize("to", ["folder", "database"])
def test_control_of_a_copy_that_lost_a_row_nothing_is_kept(
    tmp_path: Path, url: str, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "one")
    kind = SQLiteContent if to == "folder" else PostgresContent
    writing = kind.writing

    @contextmanager
    def loses(self: object, table: Table) -> Iterator[object]:
        with writing(self, table) as write:  # type: ignore[arg-type]
            yield _lossy(write, table)

    monkeypatch.setattr(kind, "writing", loses)
    target = str(tmp_path / "two") if to == "folder" else url
    with pytest.raises(StoreError, match=r"the copy is not the same as the original in items \(\d+ rows"):
        copied(tmp_path / "one", target)
    monkeypatch.undo()
    copied(tmp_path / "one", target)  # which must be empty


def test_progress_is_reported_in_bounded_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "one")
    monkeypatch.setattr(copying, "_AT_ONCE", 2)
    steps = [step for step in copy_store(str(tmp_path / "one"), str(tmp_path / "two")) if isinstance(step, Step)]
    for doing in ("copying", "checking"):
        of_items = [step for step in steps if step.table == "items" and step.doing == doing]
        assert all(later.done - earlier.done <= 2 for earlier, later in pairwise(of_items))
        assert of_items[-1].done == of_items[-1].total > 10


def test_user_of_the_copy_is_known(tmp_path: Path, url: str) -> None:
    fill(tmp_path / "one")
    copied(tmp_path / "one", url)
    store = PostgresStore(url)
    alice = StoreUser(store, "alice")
    result = run(
        store,
        LogIn(
            user_id=alice.id,
            public_key=alice.key,
            certified_id=alice.certified_id,
            is_signed=True,
            may_create=False,
            now=NOW,
            page_bytes=1,
        ),
    )
    assert isinstance(result, LoggedIn)
    store.close()
