"""Replacements in a mailbox that is full, right after nothing is remembered of it."""

from collections.abc import Iterator

import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.records import Item
from phantom_messenger.wire.frames import Status
from support.store_user import NOW, StoreUser, expire

MEGABYTES = 32_000_000


@pytest.fixture
def store() -> Iterator[SQLiteStore]:
    made = SQLiteStore(None, mailbox_bytes=MEGABYTES)
    yield made
    made.close()


@pytest.fixture
def alice(store: SQLiteStore) -> StoreUser:
    return StoreUser(store, "alice")


@pytest.fixture
def bob(store: SQLiteStore, alice: StoreUser) -> StoreUser:
    """Alice's contact."""
    made = StoreUser(store, "bob")
    made.meet(alice)
    return made


def forget(store: SQLiteStore) -> None:
    """As after a failure or a restart."""
    store.run_jobs([lambda _: 1 / 0])


def test_message_of_the_same_size_replaces_one_of_a_thousand(
    store: SQLiteStore, alice: StoreUser, bob: StoreUser
) -> None:
    for part in range(2):
        store.run([alice.message(bob, f"{part} {number}", "first") for number in range(500)])
    forget(store)
    assert isinstance(alice.write(bob, "0 0", "other"), Item)
    assert len(bob.mailbox()) == 1_000


def test_receipt_replaces_a_larger_one_of_a_thousand(store: SQLiteStore, alice: StoreUser, bob: StoreUser) -> None:
    alice.acknowledge(bob, *map(str, range(1_000)), status=Status.BURNED)
    assert len(bob.mailbox()) == 1_000
    forget(store)
    assert len(alice.acknowledge(bob, "7", status=Status.READ)) == 1


def test_sweep_whose_receipt_replaces_a_larger_one_goes_on(
    store: SQLiteStore, alice: StoreUser, bob: StoreUser
) -> None:
    alice.acknowledge(bob, *map(str, range(999)), status=Status.READ)
    bob.write(alice, "m", now=NOW)
    alice.acknowledge(bob, "m", now=NOW)
    bob.write(alice, "m", now=NOW + 600_000, expires_at=NOW + 700_000)
    forget(store)
    expired = expire(store, NOW + 700_000)
    assert (expired.deleted, len(expired.receipts)) == (1, 1)
