"""How many commands are one transaction: as many as there is time for, whatever a commit takes."""

from collections.abc import Iterator

import pytest

from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.engines.postgres.store import LEAST_BATCH
from support.postgres_server import PostgresServer
from support.store_user import StoreUser

MANY = 200
BUDGET_MS = 50


@pytest.fixture
def one_store(postgres: PostgresServer, template: str) -> Iterator[PostgresStore]:
    url = postgres.make_database(template)
    made = PostgresStore(url)
    yield made
    made.close()
    postgres.drop_database(url)


def slow_down(store: PostgresStore, seconds: float, trigger: str) -> None:
    assert store._connection is not None
    store._connection.execute(
        "CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END$$".encode()
    )
    store._connection.execute(f"CREATE {trigger} FOR EACH ROW EXECUTE FUNCTION pg_temp.wait()".encode())


def test_slow_commit_is_shared_by_all_that_wait(one_store: PostgresStore) -> None:
    alice, bob = StoreUser(one_store, "alice"), StoreUser(one_store, "bob")
    alice.meet(bob)
    slow_down(one_store, 0.1, "CONSTRAINT TRIGGER slow AFTER UPDATE ON phantom.mailboxes DEFERRABLE INITIALLY DEFERRED")
    for number in range(8):
        one_store.run([alice.message(bob, f"{number} {one}") for one in "ab"], budget_ms=BUDGET_MS)
    results = one_store.run([alice.message(bob, str(number)) for number in range(MANY)], budget_ms=BUDGET_MS)
    assert len(results) == MANY


def test_slow_commands_are_divided_but_not_into_the_smallest_parts(one_store: PostgresStore) -> None:
    alice, bob = StoreUser(one_store, "alice"), StoreUser(one_store, "bob")
    alice.meet(bob)
    slow_down(one_store, 0.005, "TRIGGER slow BEFORE INSERT ON phantom.items")
    counts = []
    for number in range(6):
        batch = [alice.message(bob, f"{number} {one}") for one in range(MANY)]
        counts.append(len(one_store.run(batch, budget_ms=BUDGET_MS)))
    assert counts[0] == MANY
    assert counts[-1] == LEAST_BATCH
