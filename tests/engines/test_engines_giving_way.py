"""What it costs to refuse a stranger's message for which no room can be made: nothing is deleted and put back."""

from collections.abc import Iterator

import psycopg
import pytest

from phantom_messenger.engines.postgres import Durability, PostgresStore
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.commands import AppendRefusal
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Item
from support.postgres_server import PostgresServer
from support.store_user import StoreUser

MAILBOX_BYTES = 1_000_000
STRANGERS = 10
EACH = 49
SMALL = 240
TOO_LARGE = 240_000
"""Bytes for which more than 128 small items would have to give way."""

LARGE = 60_000
"""Bytes for which fewer are enough."""

MOST_STEPS = 300
"""Thousands: what it takes to look at each item a few times. To count them again after each deletion takes 5,000."""


@pytest.fixture
def sqlite() -> Iterator[SQLiteStore]:
    made = SQLiteStore(None, mailbox_bytes=MAILBOX_BYTES)
    yield made
    made.close()


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    made = postgres.make_database(template)
    yield made
    postgres.drop_database(made)


def prepared(store: Store) -> tuple[StoreUser, StoreUser]:
    """The owner of a mailbox whose strangers' part is nearly full of small items, and somebody from elsewhere."""
    owner = StoreUser(store, "owner")
    for mark in range(STRANGERS):
        sender = StoreUser(store, f"stranger {mark}")
        store.run([sender.message(owner, str(number), size=SMALL, mark=mark) for number in range(EACH)])
    return owner, StoreUser(store, "newcomer")


def steps_of_writing(store: SQLiteStore, owner: StoreUser, newcomer: StoreUser, size: int) -> tuple[object, int]:
    """What becomes of a message, and the thousands of instructions that SQLite's machine ran for it."""
    count = 0

    def step() -> bool:
        nonlocal count
        count += 1
        return False

    store._connection.set_progress_handler(step, 1_000)
    try:
        return newcomer.write(owner, f"of {size}", size=size, mark=99), count
    finally:
        store._connection.set_progress_handler(None)


def test_refused_message_deletes_nothing_and_reads_a_mailbox_a_few_times(sqlite: SQLiteStore) -> None:
    owner, newcomer = prepared(sqlite)
    before = sqlite._connection.total_changes()
    found, steps = steps_of_writing(sqlite, owner, newcomer, TOO_LARGE)
    assert found is AppendRefusal.FULL
    assert sqlite._connection.total_changes() == before
    assert steps < MOST_STEPS
    assert len(owner.mailbox()) == STRANGERS * EACH


def test_accepted_message_deletes_what_it_needs(sqlite: SQLiteStore) -> None:
    owner, newcomer = prepared(sqlite)
    found, steps = steps_of_writing(sqlite, owner, newcomer, LARGE)
    assert isinstance(found, Item)
    assert steps < MOST_STEPS
    assert STRANGERS * EACH - 128 < len(owner.mailbox()) <= STRANGERS * EACH


COUNTER = """
CREATE SEQUENCE deletions;
CREATE FUNCTION count_deletion() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM nextval('deletions'); RETURN old; END $$;
CREATE TRIGGER count_deletions BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION count_deletion();
"""
"""Counts the rows that are deleted, also those that come back: a sequence is never rolled back."""


@pytest.mark.parametrize(("size", "least", "most"), [(TOO_LARGE, 0, 0), (LARGE, 1, 128)])
def test_postgres_deletes_nothing_for_a_refused_message(url: str, size: int, least: int, most: int) -> None:
    store = PostgresStore(url, durability=Durability.SINGLE, mailbox_bytes=MAILBOX_BYTES)
    owner, newcomer = prepared(store)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(COUNTER.encode())
        found = newcomer.write(owner, "m", size=size, mark=99)
        row = connection.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM deletions").fetchone()
    store.close()
    assert (found is AppendRefusal.FULL) is (size == TOO_LARGE)
    assert row is not None
    assert least <= row[0] <= most
