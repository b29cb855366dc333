"""What a command costs the database grows with the number of messages in it, and not with its square."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.relay.commands import CommandFailed, MessageName
from phantom_messenger.wire.frames import Status
from support.people import key_text
from support.postgres_server import PostgresServer
from support.store_user import NOW, StoreUser

FEW, TIMES = 6_000, 8


@pytest.fixture
def one_store(postgres: PostgresServer, template: str) -> Iterator[PostgresStore]:
    url = postgres.make_database(template)
    made = PostgresStore(url)
    yield made
    made.close()
    postgres.drop_database(url)


def spent(store: PostgresStore) -> float:
    """Processor time of the server for this store, seconds; other programs at work do not count."""
    assert store._connection is not None
    fields = Path(f"/proc/{store._connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_many_acknowledgements_cost_as_much_each_as_few(one_store: PostgresStore) -> None:
    alice, nobody = StoreUser(one_store, "alice"), key_text("nobody")
    taken = []
    for count in (FEW, FEW * TIMES):
        names = [MessageName(nobody, str(number)) for number in range(count)]
        before = spent(one_store)
        [result] = one_store.run([alice.acknowledging(names, status=Status.READ, may_notify=True, now=NOW)])
        assert not isinstance(result, CommandFailed)
        taken.append(spent(one_store) - before)
    few, many = taken
    assert 0 < many < 2 * TIMES * few
