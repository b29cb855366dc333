"""Two relays work on one mailbox at the same moment: nothing is delivered twice, nobody misses anything."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from phantom_messenger.engines.postgres import PostgresStore, schema
from phantom_messenger.relay.commands import Accepted, AppendRefusal
from support.postgres_server import PostgresServer
from support.store_user import NOW, StoreUser
from support.waiting import eventually

ROUNDS = 150


@pytest.fixture
def stores(postgres: PostgresServer, template: str) -> Iterator[list[PostgresStore]]:
    url = postgres.make_database(template)
    made = [PostgresStore(url) for _ in range(3)]
    yield made
    for store in made:
        store.close()
    postgres.drop_database(url)


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """The results of jobs that begin together, each in a thread."""
    results: list[Any] = [None] * len(jobs)
    gate = threading.Barrier(len(jobs))

    def work(number: int) -> None:
        gate.wait(100)
        results[number] = jobs[number]()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.mark.parametrize("content", ["the same", "other"])
def test_message_sent_again_while_it_is_acknowledged_is_delivered_once(
    stores: list[PostgresStore], content: str
) -> None:
    one, other, _ = stores
    alice, bob = StoreUser(one, "alice"), StoreUser(other, "bob")
    alice.meet(bob)
    for number in range(ROUNDS):
        name = str(number)
        alice.write(bob, name, "the same")
        [result], _ = at_once(
            lambda name=name: one.run([alice.message(bob, name, content)]),  # type: ignore[misc]
            lambda name=name: bob.acknowledge(alice, name),  # type: ignore[misc]
        )
        if result is AppendRefusal.DUPLICATE:
            assert bob.names() == []
        else:  # it has taken the place of the one that was acknowledged
            assert content == "other"
            assert isinstance(result, Accepted)
            bob.acknowledge(alice, name)
            assert bob.names() == []


def test_two_who_write_to_each_other_at_once_become_contacts_once(
    stores: list[PostgresStore],
) -> None:
    one, other, _ = stores
    for number in range(ROUNDS // 3):
        alice, bob = StoreUser(one, f"alice {number}"), StoreUser(other, f"bob {number}")
        [here], [there] = at_once(
            lambda alice=alice, bob=bob: one.run([alice.message(bob, "a")]),  # type: ignore[misc]
            lambda alice=alice, bob=bob: other.run([bob.message(alice, "b")]),  # type: ignore[misc]
        )
        assert isinstance(here, Accepted)
        assert isinstance(there, Accepted)
        assert here.became_contacts + there.became_contacts == 1


def test_who_reads_behind_the_last_number_misses_nothing(stores: list[PostgresStore]) -> None:
    one, other, third = stores
    alice, bob, carol = StoreUser(one, "alice"), StoreUser(one, "bob"), StoreUser(other, "carol")
    seen: list[str] = []
    is_over = threading.Event()

    def write(store: PostgresStore, writer: StoreUser, conversation: str) -> None:
        for number in range(ROUNDS):
            [result] = store.run([writer.message(bob, f"{conversation}{number}", conversation=conversation)])
            assert isinstance(result, Accepted)

    def write_all() -> None:
        at_once(lambda: write(one, alice, "a"), lambda: write(other, carol, "b"))
        is_over.set()

    def read() -> None:
        last, was_over = 0, False
        while not was_over:
            was_over = is_over.is_set()
            [page] = third.run([bob.reading(last)])
            seen.extend(item.name for item in page.items)
            last = max((item.seq for item in page.items), default=last)

    bob.write(alice, "hello")
    bob.write(carol, "hello")
    at_once(write_all, read)
    assert sorted(seen) == sorted(f"{conversation}{number}" for conversation in "ab" for number in range(ROUNDS))


class Logins:
    """The transaction of a relay to which these come, in this order."""

    def __init__(self, url: str, relay: str, *users: StoreUser) -> None:
        self._relay = relay
        self._ids = [user.id for user in users]
        self._connection = psycopg.connect(url)
        self._connection.execute(f"SET search_path = {schema.functions_schema()}, {schema.TABLES}".encode())

    def begin(self) -> None:
        self._connection.execute("SELECT begin_batch('single', %s, %s)", (self._ids, self._ids))

    def log_in(self, user: StoreUser) -> None:
        values = user.id, user.key, user.certified_id, True, True, NOW, self._relay, 2, "online"
        self._connection.execute("SELECT * FROM log_in(%s, %s, %s, %s, %s, %s, %s, %s, %s)", values)

    def end(self) -> None:
        self._connection.commit()
        self._connection.close()


def test_contacts_who_come_back_at_two_relays_at_once_do_not_wait_for_each_other_in_a_circle(
    postgres: PostgresServer, template: str
) -> None:
    url = postgres.make_database(template)
    store = PostgresStore(url)
    alice, bob, carol, dave = users = [StoreUser(store, name) for name in ("alice", "bob", "carol", "dave")]
    alice.meet(dave)
    carol.meet(bob)
    watch = psycopg.connect(url, autocommit=True)
    watch.execute("UPDATE phantom.sessions SET relay = 'gone', has_ended = true, absence_seen = false")
    assert watch.execute("SELECT count(*) FROM phantom.sessions").fetchone() == (len(users),)
    here, there = Logins(url, "here", alice, bob), Logins(url, "there", carol, dave)
    failed: list[Exception] = []

    def be_there() -> None:
        try:
            there.begin()
            there.log_in(carol)  # who sees that bob has gone
            there.log_in(dave)
            there.end()
        except psycopg.errors.DeadlockDetected as error:
            failed.append(error)

    def is_waiting() -> bool:
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return watch.execute(waits).fetchone() == (1,)

    here.begin()
    here.log_in(alice)  # who sees that dave has gone
    other = threading.Thread(target=be_there)
    other.start()
    assert eventually(is_waiting)
    here.log_in(bob)
    here.end()
    other.join(100)
    assert not failed
    watch.close()
    store.close()
    postgres.drop_database(url)
