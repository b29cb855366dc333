"""A message belongs to its recipient: nobody else marks, reads, burns or removes it, or learns that it is there."""

from collections.abc import Callable
from typing import Final

import pytest

from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
from support.people import Frame
from support.simulated import Client, World

STATUSES: Final = ("delivered", "read", "burned")
Intruder = Callable[[World, Client, Client], Client]


def stranger(world: World, alice: Client, bob: Client) -> Client:  # noqa: ARG001 - as the others
    return world.login("mallory")


def contact_of_both(world: World, alice: Client, bob: Client) -> Client:
    mallory = world.login("mallory")
    world.make_contacts(mallory, alice)
    world.make_contacts(mallory, bob)
    for client in (alice, bob, mallory):
        client.settle()
        client.take()
    return mallory


def sender(world: World, alice: Client, bob: Client) -> Client:  # noqa: ARG001 - as the others
    return alice


INTRUDERS: Final[dict[str, Intruder]] = {
    "a stranger": stranger,
    "a contact of both": contact_of_both,
    "its sender": sender,
}


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World, alice: Client) -> Client:
    client = world.login("bob")
    world.make_contacts(alice, client)
    return client


def of_bob(heard: list[Frame], bob: Client) -> list[Frame]:
    return [frame for frame in heard if frame.get("payload", {}).get("recipientId") == bob.person.id]


def attempt(world: World, alice: Client, bob: Client, who: str, status: str) -> tuple[Frame, list[Frame], list[Frame]]:
    """An intruder marks Bob's message; the message, and what the intruder and Alice hear of it as Bob's."""
    mallory = INTRUDERS[who](world, alice, bob)
    alice.send(alice.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    alice.take()
    heard = mallory.send(mallory.person.ack(routed, status), mallory.person.ping(id="after"))
    # News of a message that the intruder itself would have got from Alice names the intruder, whoever that fools.
    return routed, of_bob(heard, bob), of_bob(alice.take(), bob)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("who", INTRUDERS)
def test_nobody_but_the_recipient_can_mark_a_message(
    world: World, alice: Client, bob: Client, who: str, status: str
) -> None:
    routed, heard, told = attempt(world, alice, bob, who, status)
    assert (heard, told) == ([], [])
    bob.drop()
    assert [frame["payload"] for frame in world.login(bob.person).take("MESSAGE")] == [routed["payload"]]


def test_recipient_can(world: World, alice: Client, bob: Client) -> None:
    """The control."""
    alice.send(alice.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    alice.take()
    bob.send(bob.person.ack(routed, "burned"))
    assert [frame["payload"]["status"] for frame in alice.take()] == ["burned"]
    bob.drop()
    assert world.login(bob.person).take("MESSAGE") == []


def test_relay_that_does_not_ask_who_lets_anybody(
    world: World, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: acknowledging by the message's id alone."""

    def careless(mailboxes: SQLiteMailboxes, recipient: str, sender: str, name: str, now: int) -> bool:  # noqa: ARG001
        mailboxes._connection.execute("DELETE FROM items WHERE name = ?", (name,))
        return True

    monkeypatch.setattr(SQLiteMailboxes, "acknowledge", careless)
    attempt(world, alice, bob, "a stranger", "burned")
    bob.drop()
    assert world.login(bob.person).take("MESSAGE") == []


@pytest.mark.parametrize("status", STATUSES)
def test_what_an_intruder_hears_is_the_same_for_ids_that_exist_and_that_do_not(
    world: World, alice: Client, bob: Client, status: str
) -> None:
    mallory = world.login("mallory")
    alice.send(alice.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    nothing = {"payload": {"messageId": alice.person.new_message_id(), "senderId": alice.person.id}}
    heard = [mallory.send(mallory.person.ack(frame, status, id="x")) for frame in (routed, nothing)]
    assert heard == [[], []]


def test_seq_of_another_mailbox_is_nothing_here(world: World, alice: Client, bob: Client) -> None:
    mallory = world.login("mallory")
    alice.send(alice.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    for seq in (routed["seq"], routed["seq"] - 1, routed["seq"] + 1):
        assert mallory.send(mallory.person.confirm(seq)) == []
    bob.drop()
    assert len(world.login(bob.person).take("MESSAGE")) == 1


def test_message_of_ones_own_is_acknowledged_by_its_recipient_alone(world: World, alice: Client, bob: Client) -> None:
    """Also when the sender names itself as the sender, as in an ack."""
    alice.send(alice.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    heard = [frame for status in STATUSES for frame in alice.send(alice.person.ack(routed, status))]
    assert {frame["payload"]["recipientId"] for frame in heard} <= {alice.person.id}
    bob.drop()
    assert len(world.login(bob.person).take("MESSAGE")) == 1


def test_colliding_ids_of_two_senders_are_two_messages(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    message_id = alice.person.new_message_id()
    for sending in (alice, carol):
        answers = sending.send(sending.person.message(bob.person, message_id=message_id))
        assert [frame["payload"]["status"] for frame in answers if frame["type"] == "MESSAGE_ACK"] == ["accepted"]
    first, second = bob.take("MESSAGE")
    assert {first["payload"]["senderId"], second["payload"]["senderId"]} == {alice.person.id, carol.person.id}
    bob.send(bob.person.ack(first))
    bob.drop()
    [left] = world.login(bob.person).take("MESSAGE")
    assert left["payload"]["senderId"] == second["payload"]["senderId"]


def test_nobody_can_publish_or_delete_for_another(world: World, alice: Client, bob: Client) -> None:
    """There is no field to name another in; a frame with one is refused."""
    bob.send(bob.person.publish([1]))
    before = world.peek(lambda tx: tx.prekeys.counts(bob.person.id))
    for frame in (alice.person.publish([7, 8], userId=bob.person.id), alice.person.publish([7, 8])):
        alice.send(frame)
    deletion = alice.person.signed(alice.person.frame("ACCOUNT_DELETE", {"userId": bob.person.id}))
    assert [answer["payload"]["code"] for answer in alice.send(deletion)] == [1001]
    alice.send(alice.person.account_delete())
    assert world.peek(lambda tx: tx.prekeys.counts(bob.person.id)) == before
    assert world.peek(lambda tx: tx.directory.public_key(bob.person.id)) is not None
    assert world.peek(lambda tx: tx.directory.public_key(alice.person.id)) is None
