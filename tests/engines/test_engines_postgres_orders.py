"""One message to many at several relays: nobody waits in a circle, and all mailboxes have one order."""

import random
import threading
from collections.abc import Iterator, Sequence

import psycopg
import pytest
from test_engines_postgres_at_once import at_once

from phantom_messenger.engines.postgres import PostgresStore, schema, store
from phantom_messenger.relay.commands import Accepted, AcceptMany, Block, Copy, Order, OrderRefusal
from phantom_messenger.relay.records import ItemKind, NewItem
from phantom_messenger.wire.orders import digest
from support.postgres_server import PostgresServer
from support.store_user import NOW, StoreUser
from support.waiting import eventually

ROUNDS = 40
NAMES = bytes(32), b"\1" * 32


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    made = postgres.make_database(template)
    yield made
    postgres.drop_database(made)


def to_many(
    sender: StoreUser, recipients: Sequence[StoreUser], name: str, order: Order | None = None, *, is_group: bool = True
) -> AcceptMany:
    item = NewItem(
        kind=ItemKind.MESSAGE, sender=sender.id, name=name, head=b"<", tail=b">", content=b"<", is_group=is_group
    )
    copies = [Copy(recipient.id, item) for recipient in recipients]
    return AcceptMany(actor=sender.actor, copies=copies, conversation_id="c", order=order, now=NOW)


def test_relays_that_write_to_the_same_mailboxes_agree_on_one_order(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is for many mailboxes and for both orders, in any sequence; a deadlock would not be tried again."""
    monkeypatch.setattr(store, "_AGAIN", ())
    relays = [PostgresStore(url) for _ in range(3)]
    admins = [StoreUser(relay, f"admin {number}") for number, relay in enumerate(relays)]
    readers = [StoreUser(relays[0], f"reader {number}") for number in range(8)]
    accepted: list[str] = []

    def write(number: int) -> None:
        admin, chance, known = admins[number], random.Random(number), [0, 0]  # noqa: S311 - the same in every run
        others = [*readers, *(other for other in admins if other is not admin)]
        for turn in range(ROUNDS):
            commands = []
            for which in chance.sample((0, 1), 2):
                name, message = NAMES[which], f"{which} {number} {turn}"
                order = Order(
                    name=name,
                    revision=known[which] + 1,
                    author=digest(name, admin.id),
                    writers=tuple(digest(name, writer.id) for writer in admins),
                    last=digest(name, admin.id, message, str(known[which] + 1)),
                )
                commands.append(to_many(admin, chance.sample(others, len(others)), message, order))
            for command, result in zip(commands, admin.store.run(commands), strict=True):
                which = NAMES.index(command.order.name) if command.order else 0
                if isinstance(result, OrderRefusal):
                    assert result.revision is not None
                    known[which] = result.revision
                else:
                    assert all(isinstance(one, Accepted) for one in result)
                    known[which] += 1
                    accepted.append(command.copies[0].item.name)

    at_once(*(lambda number=number: write(number) for number in range(len(admins))))
    seen = [reader.names() for reader in readers]
    for which in "01":
        orders = [[name for name in names if name.startswith(which)] for names in seen]
        assert all(one == orders[0] for one in orders)
    assert sorted(seen[0]) == sorted(accepted)
    for relay in relays:
        relay.close()


class Relay:
    """A transaction that changes orders one after another."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url)
        self.connection.execute(f"SET search_path = {schema.functions_schema()}, {schema.TABLES}".encode())

    def begin(self, *names: bytes) -> None:
        self.connection.execute("SELECT begin_batch('single', '{}', '{}', orders => %s)", (list(names),))

    def take(self, name: bytes) -> None:
        self.connection.execute("SELECT take_order(%b, 1, %b, %b, %b, 1, 1, 0)", (name, *[bytes(16)] * 3))


@pytest.mark.parametrize("are_named", [True, False])
def test_orders_are_locked_before_the_first_is_changed(url: str, are_named: bool) -> None:
    """Without that, as a control, two wait for each other."""
    PostgresStore(url).close()
    here, there, watch = Relay(url), Relay(url), psycopg.connect(url, autocommit=True)
    one, two = NAMES
    deadlocks: list[Exception] = []

    def is_waiting() -> bool:
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return watch.execute(waits).fetchone() == (1,)

    def end(relay: Relay, *names: bytes) -> None:
        try:
            for name in names:
                relay.take(name)
            relay.connection.commit()
        except psycopg.errors.DeadlockDetected as error:
            deadlocks.append(error)
            relay.connection.rollback()

    def be_there() -> None:
        if are_named:
            there.begin(two, one)
            there.take(two)
        end(there, one)

    if are_named:
        here.begin(one, two)
    else:
        there.take(two)
    here.take(one)
    other = threading.Thread(target=be_there)
    other.start()
    assert eventually(is_waiting)
    end(here, two)
    other.join(100)
    assert bool(deadlocks) is not are_named
    for connection in (here.connection, there.connection, watch):
        connection.close()


def test_block_at_a_relay_of_any_version_ends_what_a_group_had_begun(url: str) -> None:
    made = PostgresStore(url)
    alice, bob = StoreUser(made, "alice"), StoreUser(made, "bob")
    with psycopg.connect(url, autocommit=True) as connection:

        def pairs() -> object:
            return connection.execute("SELECT count(*) FROM phantom.written_in_groups").fetchone()

        made.run([to_many(alice, [bob], "1"), to_many(bob, [alice], "2")])
        assert pairs() == (2,)
        made.run([Block(actor=alice.actor, other=bob.id)])
        assert pairs() == (1,)
        made.run([to_many(alice, [bob], "3")])
        assert pairs() == (1,)
        # As a relay does that does not know groups.
        connection.execute(
            "INSERT INTO phantom.blocks SELECT b.account, a.user_id FROM phantom.accounts AS a, phantom.accounts AS b"
            " WHERE a.user_id = %s AND b.user_id = %s",
            (alice.id, bob.id),
        )
        assert pairs() == (0,)
    made.close()
