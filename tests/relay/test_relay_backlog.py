import pytest

from phantom_messenger.relay import load
from support.people import Frame, Person
from support.simulated import Client, MakeWorld, World


@pytest.fixture
def bob(world: World) -> Person:
    """Somebody who is away."""
    person = world.person("bob")
    world.register(person)
    return person


def answered_by_bob(world: World, sender: Client, bob: Person) -> None:
    """Bob writes to the sender, who so is no stranger, and leaves again."""
    client = world.login(bob)
    client.send(bob.message(sender.person))
    client.drop()
    sender.take()


def fill(sender: Client, bob: Person, count: int) -> list[Frame]:
    sent = [sender.person.message(bob) for _ in range(count)]
    answers = [answer for answer in sender.send(*sent) if answer["type"] != "PRESENCE"]
    assert {answer["payload"].get("status") for answer in answers} == {"accepted"}
    return sent


def assert_full(answer: Frame) -> None:
    assert answer["type"] == "ERROR"
    assert answer["payload"]["code"] == 1003
    assert answer["payload"]["details"] == {"reason": "backlog"}
    assert answer["payload"]["retryAfter"] > 0


def test_message_1001_of_a_mailbox_is_refused(world: World, bob: Person) -> None:
    alice = world.login("alice")
    answered_by_bob(world, alice, bob)
    sent = fill(alice, bob, 1_000)
    assert_full(alice.ask(alice.person.message(bob, id="one-too-many")))
    assert alice.close_code() is None

    client = world.login(bob)
    waiting = client.take("MESSAGE")
    assert [frame["payload"]["messageId"] for frame in waiting] == [frame["payload"]["messageId"] for frame in sent]
    client.send(client.person.ack(waiting[0]))
    client.drop()
    alice.take()
    fill(alice, bob, 1)
    assert_full(alice.ask(alice.person.message(bob)))


def test_message_that_waits_is_answered_even_when_the_mailbox_is_full(world: World, bob: Person) -> None:
    alice = world.login("alice")
    sent = fill(alice, bob, 100)
    assert_full(alice.ask(alice.person.message(bob)))
    assert alice.ask(sent[0])["payload"]["status"] == "accepted"


def test_stranger_may_fill_100_of_a_mailbox(world: World, bob: Person) -> None:
    stranger = world.login("stranger")
    fill(stranger, bob, 100)
    assert_full(stranger.ask(stranger.person.message(bob)))
    fill(world.login("another stranger"), bob, 100)


def test_stranger_leaves_room_for_a_contact(world: World, bob: Person) -> None:
    alice = world.login("alice")
    answered_by_bob(world, alice, bob)
    stranger = world.login("stranger")
    fill(stranger, bob, 100)
    assert_full(stranger.ask(stranger.person.message(bob)))
    fill(alice, bob, 900)
    assert_full(alice.ask(alice.person.message(bob)))


def test_stranger_who_was_answered_may_fill_on(world: World, bob: Person) -> None:
    stranger = world.login("stranger")
    fill(stranger, bob, 100)
    answered_by_bob(world, stranger, bob)
    fill(stranger, bob, 150)


def test_full_mailbox_refuses_no_one_elses_mail(world: World, bob: Person) -> None:
    stranger = world.login("stranger")
    world.register("carol")
    fill(stranger, bob, 100)
    fill(stranger, world.person("carol"), 100)


def test_refused_message_can_be_sent_later(world: World, bob: Person) -> None:
    stranger = world.login("stranger")
    fill(stranger, bob, 100)
    message = stranger.person.message(bob)
    assert_full(stranger.ask(message))
    client = world.login(bob)
    client.send(*(client.person.ack(frame) for frame in client.take("MESSAGE")))
    assert stranger.ask(message)["payload"]["status"] == "accepted"
    assert len(client.take("MESSAGE")) == 1


def test_full_mailbox_takes_receipts(world: World, bob: Person) -> None:
    """What bob's friends say of his mail does not compete with mail for him."""
    alice = world.login("alice")
    client = world.login(bob)
    world.make_contacts(client, alice)
    client.send(bob.message(alice.person))
    [routed] = alice.take("MESSAGE")
    client.drop()
    fill(alice, bob, 1_000)
    alice.send(alice.person.ack(routed))
    back = world.login(bob)
    assert len(back.take("MESSAGE_ACK")) == 1


def test_receipts_do_not_take_the_place_of_messages(world: World, bob: Person) -> None:
    alice = world.login("alice")
    client = world.login(bob)
    world.make_contacts(client, alice)
    client.send(*(bob.message(alice.person) for _ in range(50)))
    routed = alice.take("MESSAGE")
    client.drop()
    alice.send(*(alice.person.ack(frame) for frame in routed))
    fill(alice, bob, 1_000)


def test_senders_wait_when_the_disk_does_not_keep_up(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MOST_LOAD", 1_000)  # of 16,384, which is a matter of test_relay_pipeline
    world = make_world(limits=False)
    alice, bob = world.login("alice"), world.person("bob")
    world.register("bob")
    world.writer.holding = True
    sent = load.MOST_LOAD + 10
    answers = alice.send(*(alice.person.message(bob) for _ in range(sent)))
    assert {(answer["payload"]["code"], answer["payload"]["details"]["reason"]) for answer in answers} == {
        (1003, "overload")
    }
    refused = [answer["payload"]["retryAfter"] for answer in answers]
    assert len(refused) == 10
    assert len(set(refused)) == 10, "all would come back at once"
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    answers = alice.take()
    assert len(answers) + len(refused) == sent
