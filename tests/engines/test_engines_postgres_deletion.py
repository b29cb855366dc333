"""An account that has written to thousands is deleted in parts, each of them a short transaction."""

import copy
import itertools

import psycopg

from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.relay.commands import DeleteAccount, DeleteIdleAccount, LoggedIn, LoginConflict
from support.postgres_server import PostgresServer
from support.store_user import DAY, NOW, StoreUser, run

OTHERS, AT_ONCE = 1_200, 500
FRIENDS = f"""
INSERT INTO phantom.accounts (user_id, public_key, standing, active_on)
    SELECT 'u' || n, '', 0, 0 FROM generate_series(1, {OTHERS}) AS n;
INSERT INTO phantom.written (sender, recipient, conversation)
    SELECT a.account, b.account, c FROM phantom.accounts AS a, phantom.accounts AS b, unnest(ARRAY['', 'c']) AS c
    WHERE a.public_key = '' AND b.user_id = %(id)s
    UNION ALL SELECT b.account, a.account, '' FROM phantom.accounts AS a, phantom.accounts AS b
    WHERE a.public_key = '' AND b.user_id = %(id)s;
INSERT INTO phantom.sessions (account, relay, connected_at, presence)
    SELECT account, 'elsewhere', 1, 'online' FROM phantom.accounts WHERE user_id IN ('u1', 'u{OTHERS}');
"""  # noqa: S608 - numbers of ours
PER_OTHER = 3


def with_contacts(connection: "psycopg.Connection[tuple[int]]", user: StoreUser) -> None:
    for statement in FRIENDS.strip().split(";\n"):
        connection.execute(statement.encode(), {"id": user.id})


def pairs(connection: "psycopg.Connection[tuple[int]]") -> int:
    row = connection.execute("SELECT count(*) FROM phantom.written").fetchone()
    assert row is not None
    return row[0]


def test_many_contacts_are_deleted_in_parts_and_each_is_named_once(postgres: PostgresServer, template: str) -> None:
    url = postgres.make_database(template)
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.meet(bob)
    with psycopg.connect(url, autocommit=True) as connection:
        with_contacts(connection, alice)
        left, contacts, is_complete = [pairs(connection)], list[str](), False
        while not is_complete:
            deleted = run(store, DeleteAccount(actor=alice.actor))
            contacts += deleted.contacts
            is_complete = deleted.is_complete
            left.append(pairs(connection))
        assert left[-1] == 0
        assert len(left) > 2
        assert all(0 < before - after <= PER_OTHER * 2 * AT_ONCE for before, after in itertools.pairwise(left))
        assert sorted(contacts) == sorted([bob.id, "u1", f"u{OTHERS}"])
    store.close()
    postgres.drop_database(url)


def test_idle_account_with_many_contacts_is_deleted_in_parts(postgres: PostgresServer, template: str) -> None:
    url = postgres.make_database(template)
    store = PostgresStore(url)
    alice = StoreUser(store, "alice")
    with psycopg.connect(url, autocommit=True) as connection:
        with_contacts(connection, alice)
        idle = DeleteIdleAccount(user_id=alice.id, active_before=NOW + 2 * DAY)
        parts = 1
        while not run(store, idle):
            parts += 1
        assert parts > 1
        assert pairs(connection) == 0
    store.close()
    postgres.drop_database(url)


def test_owner_of_an_id_takes_it_from_somebody_with_many_contacts_in_parts(
    postgres: PostgresServer, template: str
) -> None:
    url = postgres.make_database(template)
    store = PostgresStore(url)
    other = StoreUser(store, "alice", signed=False)
    with psycopg.connect(url, autocommit=True) as connection:
        with_contacts(connection, other)
        owner = copy.copy(other)
        owner.is_signed = True
        found = [owner.log_in()]
        while found[-1] is LoginConflict.UNFINISHED:
            found.append(owner.log_in())
        assert len(found) > 2
        assert isinstance(found[-1], LoggedIn)
        assert pairs(connection) == 0
    store.close()
    postgres.drop_database(url)
