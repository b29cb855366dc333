"""Dated prekeys on PostgreSQL: beside a relay of an older version, and read while they are renewed."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.relay.commands import Exchanged, PublishPreKeys
from phantom_messenger.relay.records import Bundle, PreKeyCounts, SignedKey
from support.amounts import amount
from support.people import base64_text, key_text
from support.postgres_server import PostgresServer
from support.store_user import NOW, StoreUser, run
from support.stores import publication

OLDER = """
INSERT INTO phantom.signed_prekeys (account, kind, id, key, signature)
    SELECT account, %s, %s, %s, 'of an older version' FROM phantom.accounts WHERE user_id = %s
    ON CONFLICT (account, kind) DO UPDATE SET id = excluded.id, key = excluded.key, signature = excluded.signature
"""
"""What a relay does that knows nothing of dates."""


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


def bundle_of(target: StoreUser, requester: StoreUser) -> Bundle:
    found = requester.exchange(target, wants_bundle=True)
    assert isinstance(found, Exchanged)
    assert found.bundle is not None
    return found.bundle


@pytest.mark.parametrize(
    ("key", "stays"),
    [
        ((1, 2, "signed 1"), False),
        ((1, 1, "another"), False),
        ((2, 901, "last resort 900"), False),
        ((2, 900, "another"), False),
        ((1, 1, "signed 1"), True),
        ((2, 900, "last resort 900"), True),
    ],
)
def test_older_relay_that_renews_a_prekey_ends_the_date(
    url: str, stores: list[PostgresStore], key: tuple[int, int, str], stays: bool
) -> None:
    alice, bob = StoreUser(stores[0], "alice"), StoreUser(stores[0], "bob")
    kind, number, name = key
    wanted = publication(made_at=NOW)
    run(stores[0], PublishPreKeys(actor=alice.actor, publication=wanted))
    with psycopg.connect(url) as older:
        older.execute(OLDER, (kind, number, key_text(name), alice.id))
    assert bundle_of(alice, bob).dating == (wanted.dating if stays else None)


def test_bundle_is_of_one_publication_while_another_one_is_stored(stores: list[PostgresStore]) -> None:
    """The number of a publication stands in all that it brings."""
    alice, bob = StoreUser(stores[0], "alice"), StoreUser(stores[1], "bob")
    rounds = amount(150, 3_000)

    def publish() -> None:
        for number in range(1, rounds + 1):
            wanted = publication(made_at=number)
            mark = base64_text(number.to_bytes(64))
            signed = SignedKey(number, key_text(f"{number}"), mark)
            wanted = replace(wanted, signed=signed, last_resort_kem=replace(signed, id=number + 10**6))
            assert isinstance(run(stores[0], PublishPreKeys(actor=alice.actor, publication=wanted)), PreKeyCounts)

    run(stores[0], PublishPreKeys(actor=alice.actor, publication=publication(made_at=0)))
    publishing = threading.Thread(target=publish)
    publishing.start()
    seen = set()
    while publishing.is_alive():
        bundle = bundle_of(alice, bob)
        assert bundle.dating is not None
        assert bundle.last_resort_kem is not None
        if bundle.dating.made_at:
            assert bundle.signed.id == bundle.dating.made_at == bundle.last_resort_kem.id - 10**6
            assert bundle.kem == bundle.last_resort_kem
        seen.add(bundle.dating.made_at)
    publishing.join()
    assert len(seen) > 1, "the control: it was read meanwhile"
