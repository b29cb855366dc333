import pytest

from support.people import Frame
from support.simulated import HOUR, MINUTE, SECOND, Client, World


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World, alice: Client) -> Client:
    """Alice's contact."""
    client = world.login("bob")
    world.make_contacts(alice, client)
    return client


def short_lived(sender: Client, recipient: Client, lifetime: int) -> Frame:
    return sender.person.message(recipient.person, metadata={"expiresIn": lifetime})


def keep_alive(world: World, client: Client, milliseconds: int) -> list[Frame]:
    """Let time pass for a client that pings."""
    found = []
    for _ in range(0, milliseconds, MINUTE):
        world.pass_time(min(MINUTE, milliseconds))
        found += [frame for frame in client.send(client.person.ping()) if frame["type"] != "PONG"]
    return found


def test_message_waits_until_it_expires(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    alice.send(short_lived(alice, bob, 5 * SECOND))
    world.clock.advance(5 * SECOND - 1)
    assert len(world.login(bob.person).take("MESSAGE")) == 1


@pytest.mark.parametrize("swept", [False, True], ids=["before the sweep", "after the sweep"])
def test_expired_message_is_never_delivered(world: World, alice: Client, bob: Client, swept: bool) -> None:
    bob.drop()
    alice.send(short_lived(alice, bob, 5 * SECOND))
    world.clock.advance(5 * SECOND)
    if swept:
        world.tick()
    assert world.login(bob.person).take("MESSAGE") == []


def test_expiry_counts_from_acceptance_not_from_the_senders_clock(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    early = short_lived(alice, bob, 60 * SECOND)
    alice.send(alice.person.signed({**early, "timestamp": early["timestamp"] - 4 * MINUTE}))
    world.clock.advance(59 * SECOND)
    assert len(world.login(bob.person).take("MESSAGE")) == 1


def test_contact_learns_that_its_message_expired(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    message = short_lived(alice, bob, 5 * SECOND)
    alice.send(message)
    world.pass_time(6 * SECOND)
    [receipt] = alice.take("MESSAGE_ACK")
    assert receipt["payload"]["status"] == "expired"
    assert receipt["payload"]["messageId"] == message["payload"]["messageId"]
    assert receipt["payload"]["recipientId"] == bob.person.id


def test_absent_contact_learns_it_later(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    alice.send(short_lived(alice, bob, 5 * SECOND))
    alice.drop()
    world.pass_time(6 * SECOND)
    [receipt] = world.login(alice.person).take("MESSAGE_ACK")
    assert receipt["payload"]["status"] == "expired"


def test_stranger_is_not_told_of_expiry(world: World, bob: Client) -> None:
    stranger = world.login("stranger")
    bob.drop()
    stranger.send(short_lived(stranger, bob, 5 * SECOND))
    world.pass_time(6 * SECOND)
    assert stranger.take() == []


def test_acknowledged_message_does_not_expire(world: World, alice: Client, bob: Client) -> None:
    alice.send(short_lived(alice, bob, 5 * SECOND))
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.ack(routed))
    alice.take()
    world.pass_time(6 * SECOND)
    assert alice.take() == []


def test_expired_message_sent_again_is_not_delivered(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    message = short_lived(alice, bob, 5 * SECOND)
    alice.send(message)
    world.pass_time(6 * SECOND)
    alice.send(message)
    assert world.login(bob.person).take("MESSAGE") == []


def test_thousand_messages_of_one_second_are_gone_within_a_minute(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    alice.send(*(short_lived(alice, bob, SECOND) for _ in range(1_000)))
    alice.take()
    world.pass_time(30 * SECOND)
    assert [frame["payload"]["status"] for frame in alice.take("MESSAGE_ACK")] == ["expired"] * 1_000
    assert world.peek(lambda tx: tx.mailboxes.expire(world.clock.wall + 365 * 24 * HOUR, 10)) == []


def test_message_of_a_year_does_not_expire_in_an_hour(world: World, alice: Client, bob: Client) -> None:
    """The control of the sweep: it takes only what is due."""
    bob.drop()
    alice.send(short_lived(alice, bob, 365 * 24 * HOUR), alice.person.message(bob.person))
    alice.take()
    assert "MESSAGE_ACK" not in [frame["type"] for frame in keep_alive(world, alice, HOUR)]
    assert len(world.login(bob.person).take("MESSAGE")) == 2


def test_slow_store_does_not_deliver_what_expired_meanwhile(world: World, alice: Client, bob: Client) -> None:
    world.writer.holding = True
    alice.send(short_lived(alice, bob, SECOND))
    world.clock.advance(2 * SECOND)
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert bob.take("MESSAGE") == []


def test_slow_reader_does_not_get_what_expired_meanwhile(world: World, alice: Client, bob: Client) -> None:
    bob.connection.stalled = True
    alice.send(*(alice.person.message(bob.person, encrypted="QUJD" * 15_000) for _ in range(10)))
    dying = short_lived(alice, bob, SECOND)
    alice.send(dying)
    world.clock.advance(2 * SECOND)
    bob.unstall()
    found = bob.take("MESSAGE")
    assert len(found) == 10
    assert dying["payload"]["messageId"] not in [frame["payload"]["messageId"] for frame in found]


@pytest.mark.parametrize("lifetime", [0, -1, 365 * 24 * HOUR + 1, 1.5, "1000", True])
def test_lifetime_out_of_range_is_1001(alice: Client, bob: Client, lifetime: object) -> None:
    answer = alice.ask(alice.person.message(bob.person, metadata={"expiresIn": lifetime}))
    assert answer["payload"]["code"] == 1001
    assert bob.take() == []
