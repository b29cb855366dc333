"""A database that cannot be used is one sentence that says what to do; one that goes away is a pause."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from phantom_messenger.engines.errors import StoreError
from phantom_messenger.engines.postgres import Durability, PostgresStore, connect, durability_of, schema, watchdog
from phantom_messenger.engines.postgres import store as stores
from phantom_messenger.engines.postgres.connect import unusable
from phantom_messenger.relay.commands import (
    Accepted,
    AnyCommand,
    AppendRefusal,
    Barrier,
    CommandFailed,
    Expire,
    MessageName,
)
from phantom_messenger.wire.frames import Status
from support.postgres_server import PostgresServer
from support.store_user import NOW, WALL, StoreUser, expire
from support.waiting import eventually


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    made = postgres.make_database(template)
    yield made
    postgres.drop_database(made)


def run(url: str, query: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query.encode())


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def is_away(store: PostgresStore) -> bool:
    return store.is_out_of_space


def refusal(url: str, durability: Durability = Durability.SINGLE) -> str:
    with pytest.raises(StoreError) as found:
        PostgresStore(url, durability=durability)
    text = str(found.value)
    assert "\n" not in text
    assert "secret" not in text
    return text


# --- at the start -----------------------------------------------------------------


def test_no_server_is_there() -> None:
    assert "cannot reach the database 'phantom' at 127.0.0.1" in refusal("postgresql://me:secret@127.0.0.1:1/phantom")


@pytest.mark.parametrize("url", ["postgresql://me:secret@[/phantom", "postgresql://me@a.test/phantom?colour=red"])
def test_url_is_none(url: str) -> None:
    assert refusal(url).startswith("--store is no PostgreSQL URL; write it like ")


def test_sign_that_must_be_escaped_is_not_shown() -> None:
    text = refusal("postgresql://me:p@ssecret@127.0.0.1:1/phantom")
    assert "write @ as %40" in text


@pytest.mark.parametrize("what", ["database", "user"])
def test_database_or_user_is_not_there(postgres: PostgresServer, what: str) -> None:
    url = postgres.url("nothing") if what == "database" else postgres.url("postgres").replace("phantom@", "nobody@")
    assert "does not exist; make them" in refusal(url)


def test_user_may_not_make_tables(postgres: PostgresServer) -> None:
    url = postgres.make_database()
    run(url, "DROP ROLE IF EXISTS guest")
    run(url, "CREATE ROLE guest LOGIN")
    assert "make it the owner of the database" in refusal(url.replace("phantom@", "guest@"))
    postgres.drop_database(url)


def test_tables_are_of_a_newer_version(url: str) -> None:
    run(url, "INSERT INTO phantom.migrations VALUES (99)")
    assert "newer version of Phantom Messenger" in refusal(url)


def test_database_takes_no_writes(url: str) -> None:
    run(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    assert "takes no writes" in refusal(url)


def test_server_is_too_old(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "OLDEST_SERVER", 990_000)
    assert "is too old; use version 15 or newer" in refusal(url)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('FATAL:  no pg_hba.conf entry for host "192.0.2.1", user "me"', "refuses the user or the password"),
        ('FATAL:  too many connections for role "me"', "has no connection left"),
        ("FATAL:  sorry, too many clients already", "has no connection left"),
        ("FATAL:  remaining connection slots are reserved for non-replication superusers", "has no connection left"),
        ("FATAL:  the database system is starting up", "is the server up"),
    ],
)
def test_what_a_server_refuses_with_is_told_apart(said: str, words: str) -> None:
    assert words in str(unusable(psycopg.OperationalError(said), "postgresql://me:secret@a.test/phantom"))


def test_no_connection_is_left(postgres: PostgresServer, url: str) -> None:
    run(url, "DROP ROLE IF EXISTS busy")
    run(url, "CREATE ROLE busy LOGIN CONNECTION LIMIT 0")
    assert "a relay needs four: raise max_connections" in refusal(
        postgres.url(url.rpartition("/")[2]).replace("phantom@", "busy@")
    )


def test_quorum_needs_standbys(url: str) -> None:
    assert "does not keep what --durability says: commits are not replicated" in refusal(url, Durability.QUORUM)


def test_several_hosts_are_for_a_quorum() -> None:
    assert durability_of("postgresql://a.test/phantom") is Durability.SINGLE
    assert durability_of("postgresql://a.test,b.test/phantom") is Durability.QUORUM


# --- while it runs ----------------------------------------------------------------


def test_nothing_is_accepted_that_is_not_synced(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control: whoever lets commits return early is refused in the transaction itself."""
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    store.close()
    monkeypatch.setitem(stores._SESSION, "synchronous_commit", "off")
    assert "commits are not synced" in refusal(url)
    monkeypatch.undo()
    store = PostgresStore(url)
    assert store._connection is not None
    store._connection.execute("SET synchronous_commit = off")
    [failed] = store.run([alice.message(bob, "m")])
    assert isinstance(failed, CommandFailed)
    store.close()
    again = PostgresStore(url)
    bob.store = again
    assert bob.names() == []
    again.close()


def test_warning_of_a_commit_is_no_acceptance(url: str) -> None:
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    assert store._connection is not None
    store._connection.execute(
        "CREATE FUNCTION pg_temp.warn() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE WARNING 'canceling wait for synchronous replication'; RETURN NULL; END$$"
    )
    store._connection.execute(
        "CREATE CONSTRAINT TRIGGER warn AFTER UPDATE ON phantom.mailboxes DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION pg_temp.warn()"
    )
    [failed] = store.run([alice.message(bob, "m")])
    assert isinstance(failed, CommandFailed)
    assert failed.is_out_of_space, "it is to be sent again"
    store._connection.execute("DROP TRIGGER warn ON phantom.mailboxes")
    assert store.run([alice.message(bob, "m")]) == [AppendRefusal.DUPLICATE]
    store.close()


def test_connection_that_is_cut_is_a_pause(url: str) -> None:
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    assert store._connection is not None
    run(url, f"SELECT pg_terminate_backend({store._connection.info.backend_pid})")
    failures = store.run([alice.message(bob, "1"), Barrier()])
    assert all(isinstance(failed, CommandFailed) and failed.is_out_of_space for failed in failures)
    assert is_away(store)
    while not isinstance(again := store.run([alice.message(bob, "1")])[0], Accepted):
        assert isinstance(again, CommandFailed), "it is tried once a second"
        time.sleep(0.1)
    assert not is_away(store)
    assert bob.names() == ["1"]
    store.close()


@pytest.mark.usefixtures("postgres")
def test_server_that_stops_and_comes_back_is_a_pause() -> None:
    server = PostgresServer()
    store = PostgresStore(server.make_database())
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "before")
    server.stop("immediate")
    for _ in range(2):
        [failed] = store.run([alice.message(bob, "meanwhile")])
        assert isinstance(failed, CommandFailed)
        assert failed.is_out_of_space
    server.start()
    assert eventually(lambda: isinstance(store.run([alice.message(bob, "meanwhile")])[0], Accepted))
    assert bob.names() == ["before", "meanwhile"]
    store.close()
    server.end()


@pytest.mark.usefixtures("postgres")
def test_message_that_was_delivered_before_a_crash_of_the_server_is_not_delivered_again() -> None:
    server = PostgresServer()
    store = PostgresStore(server.make_database())
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "once")
    bob.acknowledge(alice, "once")
    store.close()
    server.stop("immediate")
    server.start()
    store = PostgresStore(server.url("d1"))
    assert store.run([alice.message(bob, "once")]) == [AppendRefusal.DUPLICATE]
    store.close()
    server.end()


def test_server_that_answers_nothing_is_a_pause(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    assert store._connection is not None
    monkeypatch.setattr(watchdog, "SECONDS", 1.0)
    backend = store._connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        failures = store.run([alice.message(bob, "1")])
        assert time.monotonic() - begun < 60
        assert all(isinstance(failed, CommandFailed) and failed.is_out_of_space for failed in failures)
    finally:
        os.kill(backend, signal.SIGCONT)
    store.close()


def test_server_that_falls_silent_while_a_relay_connects_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backends: list[int] = []

    def fall_silent(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        backends.append(connection.info.backend_pid)
        os.kill(backends[0], signal.SIGSTOP)
        connection.execute("SELECT 1")

    monkeypatch.setattr(watchdog, "SECONDS", 1.0)
    monkeypatch.setattr(schema, "install", fall_silent)
    try:
        assert "cannot reach the database" in refusal(url)
    finally:
        os.kill(backends[0], signal.SIGCONT)


def test_server_that_falls_silent_before_a_relay_knows_the_time_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(url)
    assert store._connection is not None
    monkeypatch.setattr(watchdog, "SECONDS", 1.0)
    backend = store._connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match="cannot reach the database"):
            store.time()
    finally:
        os.kill(backend, signal.SIGCONT)
    store.close()


@pytest.mark.usefixtures("postgres")
def test_commit_that_no_standby_has_is_no_acceptance_when_their_names_are_taken_away() -> None:
    server = PostgresServer()
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    store.close()
    run(url, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (nobody)'")
    run(url, "SELECT pg_reload_conf()")
    quorum = PostgresStore(url, durability=Durability.QUORUM)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(quorum.run, [alice.message(bob, "m")])
        while not rows(url, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"):
            assert not waiting.done()
            time.sleep(0.05)
        run(url, "ALTER SYSTEM SET synchronous_standby_names = ''")
        run(url, "SELECT pg_reload_conf()")
        [failed] = waiting.result()
    assert isinstance(failed, CommandFailed)
    assert failed.is_out_of_space, "it is to be sent again"
    quorum.close()
    server.end()


# --- what the log says of it ------------------------------------------------------


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of the lines that say that the database cannot be used."""
    lines = [record.getMessage() for record in caplog.records]
    return [line.rpartition("=")[2] for line in lines if line.startswith("database-unusable")]


def test_log_says_once_why_the_database_cannot_be_used(url: str, caplog: pytest.LogCaptureFixture) -> None:
    store = PostgresStore(url)
    assert store._connection is not None
    store._connection.execute("SET synchronous_commit = off")
    for _ in range(2):
        store.run([Barrier()])
    assert reasons(caplog) == ["not-kept"]
    store._connection.execute("SET synchronous_commit = on")
    store.run([Barrier()])
    run(url, f"SELECT pg_terminate_backend({store._connection.info.backend_pid})")
    store.run([Barrier()])
    assert reasons(caplog) == ["not-kept", "unreachable"]
    store.close()


def test_store_that_accepts_nothing_does_not_count_as_well_because_nothing_had_to_be_written(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(url)
    assert store._connection is not None
    store._connection.execute("SET synchronous_commit = off")
    store.run([Barrier()])
    assert expire(store, NOW).deleted == 0
    assert is_away(store)
    store.run([Barrier()])
    assert reasons(caplog) == ["not-kept"]
    store.close()


def test_lock_that_nobody_lets_go_is_no_answer(url: str, caplog: pytest.LogCaptureFixture) -> None:
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    assert store._connection is not None
    store._connection.execute("SET lock_timeout = '100ms'")
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE phantom.items")
        store.run([alice.message(bob, "1")])
    assert reasons(caplog) == ["no-answer"]
    store.close()


def test_batch_waits_once_for_a_database_that_does_not_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a transaction of its own stands between the others, and would have each wait as long."""
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    assert store._connection is not None
    store._connection.execute("SET lock_timeout = '100ms'")
    tries: list[int] = []
    transact = PostgresStore._transact

    def counted(self: PostgresStore, part: Sequence[AnyCommand]) -> list[Any]:
        tries.append(len(part))
        return transact(self, part)

    monkeypatch.setattr(PostgresStore, "_transact", counted)
    sweep = Expire(stored_before=0, limit=1, wall_ms=WALL, now=NOW)
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE phantom.items")
        failures = store.run([alice.message(bob, "1"), sweep, alice.message(bob, "2"), sweep, alice.message(bob, "3")])
    assert tries == [1]
    assert [isinstance(failed, CommandFailed) and failed.is_out_of_space for failed in failures] == [True] * 5
    store.close()


def test_server_that_answers_nothing_is_said_to(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE phantom.items")
        monkeypatch.setattr(watchdog, "SECONDS", 1.0)
        store.run([alice.message(bob, "1")])
    assert reasons(caplog) == ["no-answer"]
    store.close()


def test_right_that_is_taken_away_is_a_pause_and_no_bug(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres.make_database()
    run(url, "DROP ROLE IF EXISTS keeper")
    run(url, "CREATE ROLE keeper LOGIN")
    run(url, f"ALTER DATABASE {url.rpartition('/')[2]} OWNER TO keeper")
    store = PostgresStore(url.replace("phantom@", "keeper@"))
    run(url, "ALTER SCHEMA phantom OWNER TO phantom")
    run(url, "REVOKE ALL ON SCHEMA phantom FROM keeper")
    with pytest.raises(psycopg.Error):
        StoreUser(store, "alice")
    assert is_away(store)
    assert reasons(caplog) == ["rights"]
    run(url, "ALTER SCHEMA phantom OWNER TO keeper")
    StoreUser(store, "alice")
    assert not is_away(store)
    store.close()
    postgres.drop_database(url)


def test_relay_that_is_older_than_the_tables_says_so_when_it_has_to_connect_again(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stores, "_DIAL_SECONDS", 0.0)
    store = PostgresStore(url)
    run(url, "INSERT INTO phantom.migrations VALUES (99)")
    assert store.run([Barrier()]) == [None], "as long as it is connected, it works on"
    assert store._connection is not None
    run(url, f"SELECT pg_terminate_backend({store._connection.info.backend_pid})")
    failures = store.run([Barrier()]) + store.run([Barrier()])
    assert all(isinstance(failed, CommandFailed) and failed.is_out_of_space for failed in failures)
    assert reasons(caplog) == ["unreachable", "newer-version"]
    store.close()


# --- a full disk ------------------------------------------------------------------


@pytest.fixture
def full(url: str) -> str:
    """A database in which nothing new finds room."""
    PostgresStore(url).close()
    run(
        url,
        "CREATE FUNCTION phantom.full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END$$",
    )
    return url


def fill(url: str, table: str = "items") -> None:
    run(
        url,
        f"CREATE TRIGGER full_disk BEFORE INSERT ON phantom.{table} FOR EACH ROW EXECUTE FUNCTION phantom.full_disk()",
    )


def test_removals_go_on_while_the_disk_is_full(full: str, caplog: pytest.LogCaptureFixture) -> None:
    store = PostgresStore(full)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.meet(bob)
    for name in ("1", "2"):
        alice.write(bob, name)
    fill(full)
    removing = bob.acknowledging([MessageName(alice.id, "1")], status=Status.DELIVERED, may_notify=True, now=NOW)
    refused, removed = store.run([alice.message(bob, "3"), removing])
    assert isinstance(refused, CommandFailed)
    assert refused.is_out_of_space, "it is to be sent again"
    assert removed == [], "the news of it has found no room"
    assert bob.names() == ["2"]
    assert is_away(store), "though reading goes well"
    assert reasons(caplog) == ["disk-full"]
    run(full, "DROP TRIGGER full_disk ON phantom.items")
    alice.write(bob, "3")
    assert bob.names() == ["2", "3"]
    store.close()


def test_removals_go_on_while_there_is_no_room_to_remember_them(full: str) -> None:
    store = PostgresStore(full)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.meet(bob)
    for name in ("1", "2", "3"):
        alice.write(bob, name)
    for table in ("items", "tombstones"):
        fill(full, table)
    removing = [
        bob.acknowledging([MessageName(alice.id, name)], status=Status.DELIVERED, may_notify=True, now=NOW)
        for name in ("1", "2")
    ]
    assert store.run(removing) == [[], []]
    assert bob.names() == ["3"]
    for table in ("items", "tombstones"):
        run(full, f"DROP TRIGGER full_disk ON phantom.{table}")
    bob.acknowledge(alice, "3")
    assert alice.write(bob, "3") is AppendRefusal.DUPLICATE, "what has found room is remembered again"
    store.close()


def test_disk_that_has_room_again_counts_as_full_for_a_moment(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_FULL_SECONDS", 1.0)
    store = PostgresStore(full)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    fill(full)
    begun = time.monotonic()
    store.run([alice.message(bob, "1")])
    assert is_away(store) or time.monotonic() - begun >= 1
    run(full, "DROP TRIGGER full_disk ON phantom.items")
    alice.write(bob, "1")
    assert eventually(lambda: not is_away(store))
    store.close()
