"""What one stranger can use up: a tenth of a mailbox, ten prekeys an hour; and no prekey is ever handed out twice."""

import threading
from typing import Final

import pytest

from phantom_messenger.engines import mailboxes, prekeys
from support.people import Person
from support.reference_client import ReferenceClient
from support.relay_process import StartRelay, patched
from support.simulated import HOUR, Client, World

PARALLEL: Final = 50


@pytest.fixture
def bob(world: World) -> Client:
    return world.login("bob")


def accepted(client: Client, to: Person, count: int) -> int:
    answers = client.send(*(client.person.message(to) for _ in range(count)))
    return sum(answer["type"] == "MESSAGE_ACK" for answer in answers)


# --- the mailbox --------------------------------------------------------------------


def test_one_stranger_fills_a_hundred_places(world: World, bob: Client) -> None:
    bob.drop()
    mallory = world.login("mallory")
    assert accepted(mallory, bob.person, 150) == 100
    assert accepted(world.login("carol"), bob.person, 100) == 100, "others still reach him"


def test_all_strangers_together_fill_half(world: World, bob: Client) -> None:
    friend = world.login("friend")
    world.befriend(friend, bob)
    bob.drop()
    assert [accepted(world.login(f"mallory {number}"), bob.person, 100) for number in range(7)] == [100] * 5 + [0] * 2
    assert accepted(friend, bob.person, 600) == 500, "the rest is kept for those whom he knows"


def test_one_stranger_fills_all_without_the_limit(world: World, bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(mailboxes, "MAX_STRANGER_BACKLOG", 10_000)
    monkeypatch.setattr(mailboxes, "MAX_STRANGERS_BACKLOG", 10_000)
    bob.drop()
    assert accepted(world.login("mallory"), bob.person, 1_100) >= 1_000


# --- prekeys ------------------------------------------------------------------------


def drained(requester: Client, target: Client, count: int) -> int:
    """One-time prekeys that so many requests bring."""
    answers = requester.send(*(requester.person.init(target.person, name=str(number)) for number in range(count)))
    return sum("oneTimePreKeyId" in answer["payload"] for answer in answers)


def publish(bob: Client, count: int) -> None:
    bob.send(bob.person.publish(range(1, count + 1), last_resort=True))
    bob.take()


def test_one_requester_gets_ten_an_hour(world: World, bob: Client) -> None:
    publish(bob, 100)
    mallory = world.login("mallory")
    assert drained(mallory, bob, 30) == 10
    assert drained(world.login("carol"), bob, 1) == 1, "others still get one"
    world.pass_time(HOUR + 1_000, step=60_000)
    assert drained(world.login("mallory"), bob, 30) == 10


def test_all_requesters_together_get_a_hundred_an_hour(world: World, bob: Client) -> None:
    publish(bob, 100)
    bob.send(bob.person.publish(range(101, 151)))
    assert sum(drained(world.login(f"mallory {number}"), bob, 10) for number in range(14)) == 100


def test_one_requester_gets_all_without_the_limit(world: World, bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(prekeys, "PREKEY_HOUR_PER_REQUESTER", 10_000)
    monkeypatch.setattr(prekeys, "PREKEY_HOUR_PER_TARGET", 10_000)
    publish(bob, 100)
    assert drained(world.login("mallory"), bob, 120) == 100


def ask_at_once(url: str, clients: list[ReferenceClient], target: Person, name: str) -> list[int]:
    """The ids of one-time prekeys that everybody gets who asks in the same moment; 0 for none."""
    gate = threading.Barrier(len(clients))
    found: list[int] = []

    def ask(client: ReferenceClient) -> None:
        frame = client.person.init(target, name=name)
        gate.wait(20)
        client.send(frame)
        answer = client.until("KEY_EXCHANGE_RESPONSE", 20)
        found.append(answer["payload"].get("oneTimePreKeyId", 0))

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == len(clients), url
    return found


TWICE: Final = """
from phantom_messenger.engines.prekeys import SQLitePreKeys
handed = SQLitePreKeys.take
def take(keys, *arguments, **options):
    keys._connection.execute("SAVEPOINT again")
    bundle = handed(keys, *arguments, **options)
    keys._connection.execute("ROLLBACK TO again")
    return bundle
SQLitePreKeys.take = take
"""


def handed_out(start_relay: StartRelay, patch: str) -> list[int]:
    """What 50 people get who ask at once, twice, with a ``kill -9`` between."""
    relay = start_relay("--limits", "off", command=patched(patch))
    bob = Person()
    with ReferenceClient(relay.url, bob) as client:
        client.login(["ack"])
        client.send(bob.publish(range(1, 101)))
        client.until("PREKEY_STATUS")
    people = [Person() for _ in range(PARALLEL)]
    found: list[int] = []
    for name in ("before", "after"):
        clients = [ReferenceClient(relay.url, person).login(["ack"]) for person in people]
        found += ask_at_once(relay.url, clients, bob, name)
        relay.kill()
        for one in clients:
            one.close()
        relay.restart()
    return [number for number in found if number]


def test_each_prekey_is_handed_out_once_to_50_at_once_and_across_kill_9(start_relay: StartRelay) -> None:
    found = handed_out(start_relay, "")
    assert len(found) == 100
    assert len(set(found)) == 100


def test_prekeys_are_handed_out_twice_by_a_relay_that_does_not_take_them_away(start_relay: StartRelay) -> None:
    """The control."""
    found = handed_out(start_relay, TWICE)
    assert len(set(found)) < len(found)
