"""What one stranger can use up: a tenth of a mailbox, ten prekeys an hour; and no prekey is ever handed out twice."""

import threading
from types import SimpleNamespace
from typing import Final

import pytest

from phantom_messenger.engines.sqlite import prekeys, stranger_quota
from phantom_messenger.relay.admission import Admission
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
    world.make_contacts(friend, bob)
    bob.drop()
    mallories = [world.login(f"mallory {number}", address="203.0.113.1") for number in range(7)]
    assert [accepted(mallory, bob.person, 100) for mallory in mallories] == [100] * 5 + [0] * 2
    assert accepted(friend, bob.person, 600) == 500, "the rest is kept for those whom he knows"


def test_one_stranger_fills_all_without_the_limit(world: World, bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(stranger_quota, "MAX_STRANGER_BACKLOG", 10_000)
    monkeypatch.setattr(stranger_quota, "MAX_STRANGERS_BACKLOG", 10_000)
    bob.drop()
    assert accepted(world.login("mallory"), bob.person, 1_100) >= 1_000


# --- its places are shared by address -------------------------------------------------


def senders_of(world: World, to: Person) -> list[str]:
    return [item.sender for item in world.peek(lambda tx: tx.mailboxes.read(to.id, 0, 1 << 30, 0)).items]


def fill_from_one_address(world: World, bob: Client, how: str) -> None:
    """Close the places of strangers, as cheaply as it can be done."""
    for number in range(5 if how == "texts" else 100):
        mallory = world.login(f"mallory {number}", address="203.0.113.1")
        if how == "texts":
            assert accepted(mallory, bob.person, 100) == 100
        else:
            mallory.send(mallory.person.init(bob.person))
        mallory.drop()


@pytest.mark.parametrize("how", ["texts", "key exchanges"])
@pytest.mark.parametrize("published", [False, True])
def test_mailbox_that_one_address_has_filled_is_open_to_newcomers(
    world: World, bob: Client, how: str, published: bool
) -> None:
    if published:
        publish(bob, 20)
    bob.drop()
    fill_from_one_address(world, bob, how)
    before = len(senders_of(world, bob.person))
    newcomer = world.login("newcomer")
    answers = newcomer.send(newcomer.person.init(bob.person), newcomer.person.message(bob.person))
    assert [frame["type"] for frame in answers] == ["KEY_EXCHANGE_RESPONSE"] * published + ["MESSAGE_ACK"]
    assert senders_of(world, bob.person)[-2:] == [newcomer.person.id] * 2
    assert len(senders_of(world, bob.person)) == before + 1, "one gave way, and it is the oldest"
    late = world.login("one more of them", address="203.0.113.1")
    refused = late.send(late.person.init(bob.person) if how == "key exchanges" else late.person.message(bob.person))
    reasons = [frame["payload"].get("details", {}).get("reason") for frame in refused]
    assert reasons == ([None] if published and how == "key exchanges" else ["backlog"])


def test_without_the_addresses_a_mailbox_is_closed(world: World, bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(Admission, "mark", lambda *_: 0)
    bob.drop()
    fill_from_one_address(world, bob, "texts")
    assert accepted(world.login("newcomer"), bob.person, 1) == 0


def test_fifty_addresses_do_not_close_a_mailbox_either(world: World, bob: Client) -> None:
    bob.drop()
    for number in range(50):
        assert accepted(world.login(f"mallory {number}"), bob.person, 10) == 10
    newcomer = world.login("newcomer")
    assert accepted(newcomer, bob.person, 12) == 10, "as many as the fullest has"
    assert senders_of(world, bob.person).count(newcomer.person.id) == 10
    assert len(senders_of(world, bob.person)) == 500


def test_nothing_of_those_whom_its_owner_knows_gives_way(world: World, bob: Client) -> None:
    friend = world.login("friend", address="203.0.113.1")
    assert accepted(friend, bob.person, 100) == 100
    bob.send(bob.person.message(friend.person))  # who was a stranger until now
    bob.drop()
    for number in range(5):
        mallory = world.login(f"mallory {number}", address="203.0.113.1")
        assert accepted(mallory, bob.person, 100) == 100
    newcomers = [world.login(f"newcomer {number}") for number in range(20)]
    assert [accepted(newcomer, bob.person, 20) for newcomer in newcomers] == [20] * 20
    assert senders_of(world, bob.person).count(friend.person.id) == 100


def test_mark_of_an_address_is_another_after_a_restart(world: World, bob: Client) -> None:
    bob.drop()
    client = world.login("somebody", address="203.0.113.1")
    accepted(client, bob.person, 1)
    marks = [row[0] for row in world.store._connection.execute("SELECT mark FROM items")]
    assert marks == [client.session.mark]
    keys = [Admission.mark(SimpleNamespace(_mark_key=key), "203.0.113.1") for key in (b"1" * 32, b"2" * 32)]  # type: ignore[arg-type]
    assert keys[0] != keys[1]
    assert min(keys) >= 0
    assert max(keys) < 2**63


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
        gate.wait(100)
        client.send(frame)
        answer = client.until("KEY_EXCHANGE_RESPONSE", 20)
        found.append(answer["payload"].get("oneTimePreKeyId", 0))

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert len(found) == len(clients), url
    return found


TWICE: Final = """
from phantom_messenger.engines.sqlite.prekeys import SQLitePreKeys
handed = SQLitePreKeys.hand_out
def take(keys, *arguments, **options):
    keys._connection.execute("SAVEPOINT again")
    bundle = handed(keys, *arguments, **options)
    keys._connection.execute("ROLLBACK TO again")
    return bundle
SQLitePreKeys.hand_out = take
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
