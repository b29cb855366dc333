"""ALLOWANCE at several relays on one store: it works across them, and what is lost of it costs time alone."""

from collections.abc import Iterator

import pytest
from test_relay_several import Cluster

from phantom_messenger.relay.config import Config
from phantom_messenger.wire.limits import ALLOWANCE_MS, ALLOWED_MESSAGES, RATES, RateClass
from support.postgres_server import PostgresServer
from support.simulated import Client

RATE = RATES[RateClass.MESSAGE]
MANY = ("many", "allowance")


@pytest.fixture
def cluster(postgres: PostgresServer, template: str) -> Iterator[Cluster]:
    """Two relays with their usual limits."""
    url = postgres.make_database(template)
    made = Cluster(url, Config())
    yield made
    made.close()
    postgres.drop_database(url)


def asks(cluster: Cluster, laptop: Client, alice: Client) -> int:
    frames = cluster.send(laptop, laptop.person.allowance(alice.person))
    [answer] = [frame for frame in frames if frame["type"] == "ALLOWANCE"]
    left: int = answer["payload"]["messages"]
    return left


def let_through(cluster: Cluster, alice: Client, laptop: Client, most: int) -> int:
    for number in range(most):
        frames = cluster.send(alice, alice.person.message(laptop.person))
        if "ERROR" in [frame["type"] for frame in frames]:
            return number
        laptop.settle()
        cluster.run()
    return most


def test_sender_at_another_relay_is_told_and_let_through(cluster: Cluster) -> None:
    alice, laptop = cluster.login(0, "alice", *MANY), cluster.login(1, "laptop", *MANY)
    alice.take()
    assert asks(cluster, laptop, alice) == ALLOWED_MESSAGES
    [notice] = alice.take("ALLOWANCE")
    payload = {"recipientId": laptop.person.id, "messages": ALLOWED_MESSAGES, "expiresIn": ALLOWANCE_MS}
    assert notice["payload"] == payload
    assert let_through(cluster, alice, laptop, 1_000) == ALLOWED_MESSAGES + RATE


def test_to_say_it_again_at_either_renews_nothing(cluster: Cluster) -> None:
    alice, laptop = cluster.login(0, "alice", *MANY), cluster.login(1, "laptop", *MANY)
    asks(cluster, laptop, alice)
    assert let_through(cluster, alice, laptop, ALLOWED_MESSAGES) == ALLOWED_MESSAGES
    asks(cluster, laptop, alice)
    laptop.drop()
    laptop = cluster.login(0, "laptop", *MANY)
    assert asks(cluster, laptop, alice) == 0
    assert let_through(cluster, alice, laptop, 1_000) == RATE
    cluster.pass_time(ALLOWANCE_MS // 1_000)
    laptop.drop()
    for number in (0, 1):
        laptop = cluster.login(number, "laptop", *MANY)
        assert asks(cluster, laptop, alice) == 0, "it is a day's, wherever it was given"
        laptop.drop()


def test_what_the_other_relay_never_hears_of_is_the_rate(cluster: Cluster) -> None:
    alice, laptop = cluster.login(0, "alice", *MANY), cluster.login(1, "laptop", *MANY)
    alice.take()
    cluster.is_cut = True
    assert asks(cluster, laptop, alice) == ALLOWED_MESSAGES
    assert alice.take("ALLOWANCE") == []
    cluster.is_cut = False
    assert let_through(cluster, alice, laptop, 1_000) == RATE
    assert asks(cluster, laptop, alice) == ALLOWED_MESSAGES
    assert len(alice.take("ALLOWANCE")) == 1, "it was said again"
    assert let_through(cluster, alice, laptop, 10) == 10


def test_sender_who_changes_relays_is_told_there_when_it_is_said_again(cluster: Cluster) -> None:
    alice, laptop = cluster.login(0, "alice", *MANY), cluster.login(0, "laptop", *MANY)
    asks(cluster, laptop, alice)
    assert let_through(cluster, alice, laptop, 100) == 100
    alice.drop()
    alice = cluster.login(1, "alice", *MANY)
    alice.take()
    asks(cluster, laptop, alice)
    [notice] = alice.take("ALLOWANCE")
    assert notice["payload"]["messages"] in {ALLOWED_MESSAGES, ALLOWED_MESSAGES - 100}
    assert let_through(cluster, alice, laptop, 100) == 100
