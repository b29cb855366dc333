"""PREKEY_FETCH: prekeys of several users at once, of which these learn nothing; and lists of devices beside prekeys."""

from typing import Final

import pytest

from support.people import Frame, base64_text, key_text
from support.simulated import Client, MakeWorld, World

LIST: Final = base64_text(b"the devices of Bob")
NEWER: Final = base64_text(b"the devices of Bob, and one more")


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice", features=["many"])


def publisher(world: World, name: str, count: int = 2, **payload: object) -> Client:
    client = world.login(name)
    client.send(client.person.publish(range(1, count + 1), [51], last_resort=True, **payload))
    return client


def bundles(client: Client, frame: Frame) -> list[Frame]:
    [answer] = [found for found in client.send(frame) if found["type"] == "PREKEY_BUNDLES"]
    found: list[Frame] = answer["payload"]["bundles"]
    return found


def test_each_bundle_is_what_a_key_exchange_is_answered_with(world: World, alice: Client) -> None:
    bob, carol = publisher(world, "bob"), publisher(world, "carol")
    dave = world.login("dave")
    frame = alice.person.fetch(carol.person, dave.person, bob.person, key_text("nobody"), id="7")
    answer = alice.ask(frame)
    payload = answer.pop("payload")
    assert answer == {"type": "PREKEY_BUNDLES", "id": "7", "timestamp": world.clock.wall}
    assert payload["missing"] == [dave.person.id, key_text("nobody")]
    assert [bundle["senderId"] for bundle in payload["bundles"]] == [carol.person.id, bob.person.id]
    [asked] = [found for found in alice.send(alice.person.init(bob.person)) if found["type"] == "KEY_EXCHANGE_RESPONSE"]
    assert asked["payload"].keys() == payload["bundles"][1].keys()
    known = {"oneTimePreKey", "oneTimePreKeyId", "kemPreKey", "kemPreKeyId", "kemPreKeySignature"}
    for name in asked["payload"].keys() - known:
        assert asked["payload"][name] == payload["bundles"][1][name]
    assert payload["bundles"][1]["oneTimePreKeyId"] == 1
    assert asked["payload"]["oneTimePreKeyId"] == 2


def test_targets_learn_nothing_but_that_keys_are_gone(world: World, alice: Client) -> None:
    bob = publisher(world, "bob", 30)
    bob.take()
    bundles(alice, alice.person.fetch(bob.person))
    assert [frame["type"] for frame in bob.take()] == ["PREKEY_STATUS"], "of KEM prekeys none is left"
    bob.drop()
    assert world.login("bob").take("KEY_EXCHANGE_INIT") == []
    assert alice.ask(alice.person.asks_for(bob.person))["payload"]["status"] == "offline"
    assert not world.peek(lambda tx: tx.directory.has_written(alice.person.id, bob.person.id))


def test_limits_are_those_of_key_exchanges(world: World, alice: Client) -> None:
    bob, carol = publisher(world, "bob", 30), publisher(world, "carol", 30)
    for _ in range(5):
        alice.send(alice.person.init(bob.person, name=str(world.clock.wall)))
        world.clock.advance(1)
    found = [bundles(alice, alice.person.fetch(bob.person, carol.person)) for _ in range(11)]
    ids = [[bundle.get("oneTimePreKeyId") for bundle in two] for two in found]
    assert ids == [[number + 5 if number <= 5 else None, number if number <= 10 else None] for number in range(1, 12)]


def test_it_counts_as_one_key_exchange(make_world: MakeWorld) -> None:
    world = make_world()
    alice = world.login("alice", features=["many"])
    world.register("bob")
    bob = world.person("bob")
    for _ in range(10):
        assert alice.ask(alice.person.fetch(bob))["type"] == "PREKEY_BUNDLES"
    assert alice.ask(alice.person.fetch(bob))["payload"]["details"] == {"reason": "rate"}
    assert alice.ask(alice.person.init(bob))["payload"]["details"] == {"reason": "rate"}


def test_who_is_blocked_takes_prekeys_as_a_stranger_does(world: World, alice: Client) -> None:
    bob = publisher(world, "bob")
    bob.send(bob.person.block(alice.person))
    assert [bundle["senderId"] for bundle in bundles(alice, alice.person.fetch(bob.person))] == [bob.person.id]


def test_date_comes_to_those_who_know_it(world: World, alice: Client) -> None:
    bob = world.login("bob")
    bob.send(bob.person.publish_dated(world.clock.wall))
    carol = world.login("carol", features=["many", "suite2"])
    assert "madeAt" not in bundles(alice, alice.person.fetch(bob.person))[0]
    assert bundles(carol, carol.person.fetch(bob.person))[0]["madeAt"] == world.clock.wall


# --- lists of devices ---------------------------------------------------------------


def list_for(world: World, asker: str, target: Client, *features: str) -> tuple[object, object]:
    """What somebody with these features gets of a list, by a key exchange and by fetching."""
    client = world.login(asker, features=["many", *features])
    answers = client.send(client.person.init(target.person, name=f"{asker} {world.clock.wall} {features}"))
    [asked] = [found for found in answers if found["type"] == "KEY_EXCHANGE_RESPONSE"]
    [fetched] = bundles(client, client.person.fetch(target.person))
    world.clock.advance(1)
    return asked["payload"].get("deviceList"), fetched.get("deviceList")


def test_list_goes_with_prekeys_to_those_who_know_it(world: World) -> None:
    bob = publisher(world, "bob", deviceList=LIST)
    assert list_for(world, "carol", bob, "devices") == (LIST, LIST)
    assert list_for(world, "carol", bob) == (None, None)
    assert list_for(world, "carol", bob, "suite2") == (None, None)


def test_list_stays_until_another_one_comes(world: World) -> None:
    bob = publisher(world, "bob", deviceList=LIST)
    bob.send(bob.person.publish([7]))
    assert list_for(world, "carol", bob, "devices") == (LIST, LIST)
    bob.send(bob.person.publish([8], deviceList=NEWER, replace=True))
    assert list_for(world, "carol", bob, "devices") == (NEWER, NEWER)
    bob.send(bob.person.publish([9], deviceList=LIST))
    assert list_for(world, "carol", bob, "devices") == (LIST, LIST), "its owner says which"


def test_refused_publication_leaves_the_list(world: World) -> None:
    bob = publisher(world, "bob", 200, deviceList=LIST)
    [refused] = bob.send(bob.person.publish(range(201, 203), deviceList=NEWER))
    assert refused["type"] == "ERROR"
    assert list_for(world, "carol", bob, "devices") == (LIST, LIST)


def test_list_goes_with_the_account(world: World) -> None:
    bob = publisher(world, "bob", deviceList=LIST)
    bob.send(bob.person.account_delete())
    assert list_for(world, "carol", publisher(world, "bob"), "devices") == (None, None)
    assert world.peek(lambda tx: tx.connection.execute("SELECT count(*) FROM device_lists").get) == 0


def test_clients_do_not_send_it_in_an_answer_of_their_own(world: World) -> None:
    bob, carol = world.login("bob", features=["devices"]), world.login("carol")
    answer = bob.ask(bob.person.response(carol.person, deviceList=LIST))
    assert answer["payload"]["details"] == {"reason": "field", "field": "payload.deviceList"}
