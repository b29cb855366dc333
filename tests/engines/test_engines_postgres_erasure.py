"""What was deleted is in no file of the database."""

import time
from collections.abc import Iterator

import psycopg
import pytest

from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.relay.records import Item
from support.people import key_text
from support.postgres_server import PostgresServer, programs
from support.store_user import NOW, StoreUser, expire

PATIENCE = 30.0
DELETED = "SELECT sum(n_tup_del)::integer FROM pg_stat_user_tables WHERE relname ~ '^items_[0-9]+$'"
LEAN = {"wal_recycle": "off", "wal_keep_size": "0", "autovacuum": "off"}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own: its log is that of this test alone."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    made = PostgresServer(**LEAN)
    yield made
    made.end()


def files_with(server: PostgresServer, text: str) -> list[str]:
    """Which files of the server hold a text; relation files and the log alike."""
    return [
        str(path.relative_to(server.data))
        for path in server.data.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def test_deleted_messages_leave_all_files_and_others_stay(server: PostgresServer) -> None:
    store = PostgresStore(server.make_database())
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    secrets = {how: key_text(how) for how in ("acknowledged", "expired", "replaced", "kept")}
    for how, secret in secrets.items():
        found = alice.write(bob, how, secret, size=3_000, expires_at=NOW if how == "expired" else None)
        assert isinstance(found, Item)
    bob.acknowledge(alice, "acknowledged")
    assert expire(store, NOW).deleted == 1
    alice.write(bob, "replaced", "with something else")
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    assert all(files_with(server, secret) for secret in secrets.values()), "the control: deleting is not enough"
    store.erase()
    assert {how: bool(files_with(server, secret)) for how, secret in secrets.items()} == {
        "acknowledged": False,
        "expired": False,
        "replaced": False,
        "kept": True,
    }
    assert bob.names() == ["kept", "replaced"]
    store.close()


def test_parts_from_which_nothing_was_deleted_are_left_alone(server: PostgresServer) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "m")
    store.erase()
    with psycopg.connect(url, autocommit=True) as connection:

        def places() -> list[tuple[object, ...]]:
            return connection.execute(
                "SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^items_[0-9]+$' ORDER BY relname"
            ).fetchall()

        before = places()
        store.erase()
        assert places() == before
        bob.acknowledge(alice, "m")
        deadline = time.monotonic() + PATIENCE
        while connection.execute(DELETED).fetchone() != (1,):
            assert time.monotonic() < deadline
            time.sleep(0.2)  # the server counts what was deleted within ten seconds
        store.erase()
        assert sum(one != other for one, other in zip(before, places(), strict=True)) == 1
    store.close()


def test_statistics_hold_no_messages(server: PostgresServer) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    bob.meet(alice)
    store.run([alice.message(bob, str(number), key_text(str(number))) for number in range(200)])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        kept = "SELECT attname FROM pg_stats WHERE tablename LIKE 'items%'"
        found = {row[0] for row in connection.execute(kept).fetchall()}
    assert "name" in found, "the control: of other columns there are some"
    assert "text" not in found
    store.close()


def test_part_that_somebody_reads_holds_nobody_up(server: PostgresServer) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "1")
    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM phantom.items")
        begun = time.monotonic()
        store.erase()
        assert time.monotonic() - begun < PATIENCE
        assert isinstance(alice.write(bob, "2"), Item)
    store.close()


def test_program_that_reads_for_long_is_said_to_keep_what_is_deleted(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "m")
    bob.acknowledge(alice, "m")

    def rounds() -> list[str]:
        caplog.clear()
        store.erase()
        return [record.getMessage().partition(":")[0] for record in caplog.records]

    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM phantom.items")
        assert rounds() == [], "somebody who reads for a moment is no news"
        assert rounds() == ["log-kept"]
    assert rounds() == []
    store.close()
