"""What relays look for of each other reads what concerns those users alone, also before there are statistics."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from phantom_messenger.engines.postgres import PostgresStore, schema, store
from phantom_messenger.relay.commands import FindWatchers, SeePresence
from phantom_messenger.wire.frames import PresenceStatus
from support.postgres_server import PostgresServer
from support.store_user import StoreUser, run
from support.waiting import eventually

USERS, CONTACTS = 300, 10
FILLED = f"""
INSERT INTO accounts (user_id, public_key, standing, active_on) SELECT 'u' || n, '', 0, 0
    FROM generate_series(1, {USERS}) AS n;
INSERT INTO written (sender, recipient, conversation)
    SELECT a.account, b.account, '' FROM accounts AS a, accounts AS b
    WHERE (a.account - b.account + {USERS}) % {USERS} IN (
        SELECT d FROM generate_series(1, {CONTACTS // 2}) AS d
        UNION SELECT {USERS} - d FROM generate_series(1, {CONTACTS // 2}) AS d);
INSERT INTO sessions (account, relay, connected_at, presence)
    SELECT account, CASE account % 2 WHEN 0 THEN 'here' ELSE 'there' END, 1, 'online' FROM accounts;
"""  # noqa: S608 - numbers of ours


READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'sessions'"


@pytest.fixture
def filled(postgres: PostgresServer, template: str) -> "Iterator[psycopg.Connection[Any]]":
    """A connection, as a relay has it, to a database whose statistics know nothing of what is there."""
    url = postgres.make_database(template)
    PostgresStore(url).close()
    with psycopg.connect(url) as connection:
        connection.execute(f"SET search_path = {schema.functions_schema()}, {schema.TABLES}".encode())
        for name, value in store._SESSION.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.execute(FILLED.encode())
        connection.commit()
        yield connection
    postgres.drop_database(url)


def read_of_sessions(connection: "psycopg.Connection[Any]") -> int:
    """Rows, in this transaction."""
    [(read,)] = connection.execute(READ).fetchall()
    return int(read)


def test_relay_that_looks_for_dead_ones_does_not_read_all_sessions(filled: "psycopg.Connection[Any]") -> None:
    filled.execute("INSERT INTO relays (relay, seen_at) VALUES ('here', now()), ('there', now())")
    assert filled.execute("SELECT * FROM keep_relay('here', 0)").fetchall() == []
    assert read_of_sessions(filled) <= 2 * 3
    filled.execute("DELETE FROM relays WHERE relay = 'there'")  # the control
    assert len(filled.execute("SELECT * FROM keep_relay('here', 0)").fetchall()) == USERS // 2
    assert read_of_sessions(filled) > USERS // 2


def test_look_at_contacts_reads_their_sessions_and_no_others(filled: "psycopg.Connection[Any]") -> None:
    own = [f"u{account}" for account in range(2, USERS + 1, 2)]
    found = filled.execute("SELECT * FROM see_contacts('here', %s)", (own,)).fetchall()
    assert len(found) == USERS
    assert sum(len(watchers) for *_, watchers in found) == USERS * CONTACTS // 2
    assert {shown for _, shown, *_ in found} == {None, "online"}
    assert 0 < read_of_sessions(filled) <= 3 * USERS * CONTACTS


class Look:
    """A relay that looks again and again for what has changed; and how many changes the database keeps."""

    def __init__(self, url: str) -> None:
        self.store = PostgresStore(url)
        self.since = 0
        self.changes = psycopg.connect(url, autocommit=True)

    def __call__(self) -> list[str]:
        """Who has changed."""
        seen = run(self.store, SeePresence(since=self.since))
        self.since = seen.since
        return [one.user_id for one in seen.users]

    @property
    def kept(self) -> int:
        return len(self.changes.execute("SELECT FROM phantom.presence_changes").fetchall())

    def close(self) -> None:
        self.changes.close()
        self.store.close()


@pytest.fixture
def look(postgres: PostgresServer, template: str) -> Iterator[Look]:
    url = postgres.make_database(template)
    made = Look(url)
    yield made
    made.close()
    postgres.drop_database(url)


def at_work(url: str) -> "psycopg.Connection[Any]":
    """A transaction that may write, and does not end."""
    connection = psycopg.connect(url)
    connection.execute("SELECT pg_current_xact_id()")
    return connection


def test_transaction_in_another_database_keeps_no_changes(look: Look, postgres: PostgresServer) -> None:
    with at_work(postgres.url("postgres")):
        alice = StoreUser(look.store, "alice")
        assert look() == [alice.id]
        assert eventually(lambda: not look() and look.kept == 0)


def test_change_is_seen_of_a_transaction_that_ends_late(look: Look) -> None:
    alice, bob = StoreUser(look.store, "alice"), StoreUser(look.store, "bob")
    with at_work(look.store._url) as slow:
        slow.execute(
            "UPDATE phantom.sessions SET presence = 'idle' FROM phantom.accounts AS a"
            " WHERE a.account = sessions.account AND a.user_id = %s",
            (alice.id,),
        )
        run(look.store, FindWatchers(actor=bob.actor, status=PresenceStatus.IDLE))
        assert bob.id in look()
        assert look.kept > 0
        slow.commit()
        assert alice.id in look()
        assert eventually(lambda: not look() and look.kept == 0)
