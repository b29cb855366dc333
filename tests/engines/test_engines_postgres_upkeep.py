"""What relays do by the clock waits for nobody's rows: two of them would wait for each other in a circle."""

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.relay.commands import (
    AnyCommand,
    CheckedSessions,
    CheckSessions,
    Exchanged,
    ForgetHandouts,
    OwnSession,
    PublishPreKeys,
)
from phantom_messenger.wire.frames import PresenceStatus
from support.postgres_server import PostgresServer
from support.store_user import DAY, HOUR, NOW, StoreUser, expire
from support.stores import publication

LATER = NOW + HOUR


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    made = postgres.make_database(template)
    yield made
    postgres.drop_database(made)


@pytest.fixture
def one_store(url: str) -> Iterator[PostgresStore]:
    made = PostgresStore(url)
    assert made._connection is not None
    made._connection.execute("SET lock_timeout = '1s'")
    yield made
    made.close()


def rows(url: str, query: LiteralString) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def check(*users: StoreUser) -> AnyCommand:
    sessions = [OwnSession(user.id, 0, PresenceStatus.OFFLINE, last_pushed=None) for user in users]
    return CheckSessions(sessions=sessions, now=NOW + DAY)


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        ("sessions", "SELECT presence FROM phantom.sessions ORDER BY account"),
        ("accounts", "SELECT active_on FROM phantom.accounts ORDER BY account"),
    ],
)
def test_look_at_sessions_leaves_what_somebody_else_changes_for_the_next_time(
    one_store: PostgresStore, url: str, table: LiteralString, kept: LiteralString
) -> None:
    alice, bob = StoreUser(one_store, "alice"), StoreUser(one_store, "bob")
    [before, _] = rows(url, kept)
    with psycopg.connect(url) as other:
        other.execute(f"SELECT FROM phantom.{table} ORDER BY account LIMIT 1 FOR UPDATE")
        [checked] = one_store.run([check(bob, alice)])
        assert isinstance(checked, CheckedSessions), checked
        alices, bobs = rows(url, kept)
    assert (alices == before, bobs == before) == (True, False)
    one_store.run([check(bob, alice)])
    alices, bobs = rows(url, kept)
    assert alices == bobs != before


def test_what_is_forgotten_is_taken_from_nobody_who_works_with_it(one_store: PostgresStore, url: str) -> None:
    alice, bob = StoreUser(one_store, "alice"), StoreUser(one_store, "bob")
    alice.meet(bob)
    one_store.run([PublishPreKeys(actor=bob.actor, publication=publication([1, 2]))])
    for name in "ab":
        alice.exchange(bob, name, wants_bundle=True)
        alice.write(bob, name)
        bob.acknowledge(alice, name)
    counts: LiteralString = "SELECT (SELECT count(*) FROM phantom.handouts), (SELECT count(*) FROM phantom.tombstones)"
    assert rows(url, counts) == [(2, 4)]

    def forget() -> None:
        assert one_store.run([ForgetHandouts(now=LATER)]) == [None]
        expire(one_store, LATER)

    with psycopg.connect(url) as other:
        other.execute("SELECT FROM phantom.handouts LIMIT 1 FOR UPDATE")
        other.execute("SELECT FROM phantom.tombstones LIMIT 1 FOR UPDATE")
        forget()
        assert rows(url, counts) == [(1, 1)]
        assert isinstance(alice.exchange(bob, "c", wants_bundle=True, now=LATER), Exchanged), "nor does that wait"
    forget()
    assert rows(url, counts) == [(0, 0)]
