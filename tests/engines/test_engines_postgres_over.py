"""A session is over as soon as its user is at another relay, whether its own relay knows that or not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from msgspec import structs

from phantom_messenger.engines.postgres import PostgresStore, schema
from phantom_messenger.relay.commands import (
    ACCOUNT_GONE,
    SESSION_OVER,
    Accepted,
    AnyCommand,
    Block,
    CheckedSessions,
    CheckSessions,
    CountPreKeys,
    FindDeparture,
    KeepRelay,
    LogIn,
    LoginConflict,
    OwnSession,
    RecordDeparture,
)
from phantom_messenger.wire.frames import PresenceStatus
from support.postgres_server import PostgresServer
from support.store_user import NOW, WALL, StoreUser
from support.waiting import eventually

OLD, NEW = 1, 2
"""When connections were made."""


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    made = postgres.make_database(template)
    yield made
    postgres.drop_database(made)


@pytest.fixture
def stores(url: str) -> Iterator[list[PostgresStore]]:
    made = [PostgresStore(url) for _ in range(2)]
    yield made
    for store in made:
        store.close()


def log_in(store: PostgresStore, user: StoreUser, connected_at: int) -> Any:
    command = LogIn(
        user_id=user.id,
        public_key=user.key,
        certified_id=user.certified_id,
        is_signed=True,
        may_create=False,
        now=NOW,
        page_bytes=1,
        connected_at=connected_at,
    )
    return store.run([command])[0]


def leave(store: PostgresStore, user: StoreUser) -> None:
    store.run([RecordDeparture(user_id=user.id, last_seen=WALL, now=NOW), FindDeparture(user_id=user.id)])


def of(command: Any, connected_at: int) -> AnyCommand:
    """A command of a session with this connection."""
    changed: AnyCommand = structs.replace(command, actor=command.actor._replace(connected_at=connected_at))
    return changed


def check(store: PostgresStore, user: StoreUser, connected_at: int) -> Any:
    session = OwnSession(user.id, connected_at, PresenceStatus.ONLINE, last_pushed=None)
    return store.run([CheckSessions(sessions=[session], now=NOW)])[0]


@pytest.mark.parametrize("has_left", [False, True])
def test_nothing_is_done_for_a_session_whose_user_has_been_elsewhere_since(
    stores: list[PostgresStore], has_left: bool
) -> None:
    here, there = stores
    alice, bob = StoreUser(here, "alice"), StoreUser(here, "bob")
    bob.meet(alice)
    for store, connected_at in ((here, OLD), (there, NEW)):
        log_in(store, alice, connected_at)
    if has_left:
        leave(there, alice)
    late = [
        alice.message(bob, "1"),
        CountPreKeys(actor=alice.actor),
        Block(actor=alice.actor, other=bob.id),
        alice.reading(),
    ]
    batch = [of(command, OLD) for command in late]
    results = here.run([batch[0], bob.message(alice, "2"), *batch[1:], of(alice.message(bob, "3"), NEW)])
    assert [results[0], *results[2:5]] == [SESSION_OVER] * 4
    assert isinstance(results[1], Accepted), "what others do beside it is done"
    assert isinstance(results[5], Accepted)
    assert bob.names() == ["3"]
    assert check(here, alice, OLD) == CheckedSessions(replaced=[alice.id], behind=[])
    assert here.run([of(alice.message(bob, "4"), OLD)]) == [SESSION_OVER], "nor does looking make it the newest"
    assert log_in(here, alice, OLD) is LoginConflict.OLDER


def test_session_goes_on_if_its_user_was_elsewhere_before_or_has_come_back_to_the_same_relay(
    stores: list[PostgresStore],
) -> None:
    here, there = stores
    alice = StoreUser(here, "alice")
    for store, connected_at in ((there, OLD), (here, NEW), (here, NEW + 1)):
        log_in(store, alice, connected_at)
    assert isinstance(here.run([of(alice.message(alice, "1"), NEW)])[0], Accepted)
    leave(here, alice)
    assert isinstance(here.run([of(alice.message(alice, "2"), NEW)])[0], Accepted)
    assert there.run([of(alice.message(alice, "3"), OLD)]) == [SESSION_OVER]


def test_account_that_is_gone_is_told_apart(stores: list[PostgresStore]) -> None:
    here, there = stores
    alice = StoreUser(here, "alice")
    log_in(there, alice, NEW)
    reading = alice.reading()
    other = structs.replace(reading, actor=reading.actor._replace(public_key="another", connected_at=OLD))
    assert here.run([other]) == [ACCOUNT_GONE]


@pytest.mark.parametrize("is_back", [False, True], ids=["away", "connected again"])
def test_where_somebody_was_is_forgotten_after_an_hour(stores: list[PostgresStore], url: str, *, is_back: bool) -> None:
    here, there = stores
    alice = StoreUser(here, "alice")
    log_in(there, alice, NEW)
    leave(there, alice)
    if is_back:
        log_in(there, alice, NEW + 1)
    with psycopg.connect(url, autocommit=True) as connection:

        def kept(minutes: int) -> list[Any]:
            query = "UPDATE phantom.past_sessions SET ended_at = clock_timestamp() - make_interval(mins => %s)"
            connection.execute(query, (minutes,))
            here.run([KeepRelay(last_seen=WALL)])
            return connection.execute("SELECT connected_at FROM phantom.past_sessions").fetchall()

        assert kept(59) == [(NEW,)]
        assert kept(61) == []
    if is_back:
        assert here.run([of(alice.message(alice, "1"), OLD)]) == [SESSION_OVER]


def test_what_waits_for_a_login_elsewhere_is_of_a_session_that_is_over(stores: list[PostgresStore], url: str) -> None:
    here, _ = stores
    alice, bob = StoreUser(here, "alice"), StoreUser(here, "bob")
    log_in(here, alice, OLD)
    waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(url) as login, psycopg.connect(url, autocommit=True) as watch, ThreadPoolExecutor(1) as pool:
        login.execute(f"SET search_path = {schema.functions_schema()}, {schema.TABLES}".encode())
        login.execute("SELECT begin_batch('single', %s, %s)", ([alice.id], [alice.id]))
        values = alice.id, alice.key, alice.certified_id, True, False, NOW, "there", NEW, "online"
        login.execute("SELECT * FROM log_in(%s, %s, %s, %s, %s, %s, %s, %s, %s)", values)
        late = pool.submit(here.run, [of(Block(actor=alice.actor, other=bob.id), OLD)])
        assert eventually(lambda: watch.execute(waits).fetchone() is not None)
        login.commit()
        assert late.result() == [SESSION_OVER]
