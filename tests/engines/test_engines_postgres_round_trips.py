"""How often the store waits for the database: on a busy machine each time is as long as all others want a turn."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from psycopg.pq import PipelineStatus

from phantom_messenger.engines.postgres import PostgresStore
from support.postgres_server import PostgresServer
from support.store_user import HOUR, NOW, StoreUser, expire

TO_CONNECT = 14


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    made = postgres.make_database(template)
    yield made
    postgres.drop_database(made)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], int]:
    """How many round trips something takes: statements, and pipelines of statements."""
    trips = 0
    execute, pipeline = psycopg.Connection.execute, psycopg.Connection.pipeline

    def executing(self: "psycopg.Connection[Any]", *arguments: Any, **more: Any) -> "psycopg.Cursor[Any]":
        nonlocal trips
        trips += self.info.pipeline_status == PipelineStatus.OFF
        return execute(self, *arguments, **more)

    def beginning(self: "psycopg.Connection[Any]") -> AbstractContextManager[psycopg.Pipeline]:
        nonlocal trips
        trips += 1
        return pipeline(self)

    monkeypatch.setattr(psycopg.Connection, "execute", executing)
    monkeypatch.setattr(psycopg.Connection, "pipeline", beginning)

    def count(work: Callable[[], Any]) -> int:
        before = trips
        work()
        return trips - before

    return count


def test_batch_is_one_round_trip(url: str, counted: Callable[[Callable[[], Any]], int]) -> None:
    store = PostgresStore(url)
    alice = StoreUser(store, "alice")
    assert counted(lambda: store.run([alice.message(alice, "1"), alice.message(alice, "2"), alice.reading()])) == 1
    store.close()


def test_connecting_does_not_take_a_round_trip_for_each_setting(
    url: str, counted: Callable[[Callable[[], Any]], int]
) -> None:
    assert 0 < counted(lambda: PostgresStore(url).close()) <= TO_CONNECT


def test_sweep_takes_as_many_round_trips_for_many_messages_as_for_one(
    url: str, counted: Callable[[Callable[[], Any]], int]
) -> None:
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.meet(bob)
    assert counted(lambda: expire(store, NOW)) == 1
    taken = []
    for count in (1, 20):
        for number in range(count):
            alice.write(bob, f"{count} {number}", expires_at=NOW + HOUR)
        told: list[int] = []
        taken.append(counted(lambda told=told: told.append(len(expire(store, NOW + HOUR).receipts))))  # type: ignore[misc]
        assert told == [count]
    assert taken[0] == taken[1]
    store.close()
