from typing import Any

import pytest

from phantom_messenger.engines.sqlite.execute import execute
from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
from phantom_messenger.relay.commands import Acknowledge
from phantom_messenger.relay.records import ItemKind
from support.faults import Faults
from support.people import Frame
from support.simulated import Client, World


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World, alice: Client) -> Client:
    """Alice's contact."""
    client = world.login("bob")
    world.make_contacts(alice, client)
    return client


def sent(sender: Client, recipient: Client) -> Frame:
    """A message as its recipient got it; nothing else is waiting."""
    sender.send(sender.person.message(recipient.person))
    sender.take()
    [routed] = recipient.take("MESSAGE")
    return routed


def waits(world: World, client: Client) -> list[Frame]:
    """What a client finds when it comes back, but for what it has not confirmed of its own messages."""
    client.drop()
    return [frame for frame in world.login(client.person).take() if "seq" in frame]


# --- contacts learn what became of a message --------------------------------------


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_contact_learns_that_its_message_was(world: World, alice: Client, bob: Client, status: str) -> None:
    routed = sent(alice, bob)
    assert bob.send(bob.person.ack(routed, status)) == [], "an ack is not answered"
    [receipt] = alice.take()
    receipt.pop("seq", None)
    assert receipt == {
        "type": "MESSAGE_ACK",
        "timestamp": world.clock.wall,
        "payload": {
            "messageId": routed["payload"]["messageId"],
            "recipientId": bob.person.id,
            "status": status,
            "timestamp": world.clock.wall,
        },
    }


def test_all_three_statuses_reach_the_sender_in_order(alice: Client, bob: Client) -> None:
    routed = sent(alice, bob)
    bob.send(*(bob.person.ack(routed, status) for status in ("delivered", "read", "burned")))
    assert [frame["payload"]["status"] for frame in alice.take()] == ["delivered", "read", "burned"]


def test_delivered_is_told_once(alice: Client, bob: Client) -> None:
    routed = sent(alice, bob)
    bob.send(bob.person.ack(routed), bob.person.ack(routed))
    assert len(alice.take()) == 1


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_acknowledged_message_leaves_the_mailbox(world: World, alice: Client, bob: Client, status: str) -> None:
    bob.send(bob.person.ack(sent(alice, bob), status))
    assert waits(world, bob) == []


def test_unacknowledged_message_stays_in_the_mailbox(world: World, alice: Client, bob: Client) -> None:
    """The control of the test above."""
    routed = sent(alice, bob)
    assert waits(world, bob) == [routed]


# --- strangers learn nothing ------------------------------------------------------


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_stranger_learns_only_that_it_was_accepted(world: World, bob: Client, status: str) -> None:
    stranger = world.login("stranger")
    answer = stranger.ask(stranger.person.message(bob.person))
    assert answer["payload"]["status"] == "accepted"
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.ack(routed, status))
    assert stranger.take() == []
    assert waits(world, stranger) == []


def test_stranger_is_none_after_the_first_answer(world: World, bob: Client) -> None:
    stranger = world.login("stranger")
    stranger.send(stranger.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.message(stranger.person))
    stranger.take()
    bob.send(bob.person.ack(routed))
    assert [frame["payload"]["status"] for frame in stranger.take()] == ["delivered"]


def test_key_exchange_counts_as_an_answer(world: World, bob: Client) -> None:
    stranger = world.login("stranger")
    stranger.send(stranger.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.init(stranger.person))
    stranger.take()
    bob.send(bob.person.ack(routed))
    assert [frame["payload"]["status"] for frame in stranger.take()] == ["delivered"]


def test_stranger_is_answered_alike_for_online_and_offline(world: World, bob: Client) -> None:
    world.register("carol")
    stranger = world.login("stranger")
    to_bob = stranger.send(stranger.person.message(bob.person))
    to_carol = stranger.send(stranger.person.message(world.person("carol")))
    for frames in (to_bob, to_carol):
        for frame in frames:
            del frame["payload"]["messageId"], frame["payload"]["recipientId"]
    assert to_bob == to_carol


# --- only the recipient -----------------------------------------------------------


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
@pytest.mark.parametrize("who", ["stranger", "alice"])
def test_only_the_recipient_can_acknowledge(world: World, alice: Client, bob: Client, who: str, status: str) -> None:
    routed = sent(alice, bob)
    other = alice if who == "alice" else world.login(who)
    for sender in (alice.person.id, bob.person.id, other.person.id):
        forged = other.person.ack({"payload": {**routed["payload"], "senderId": sender}}, status)
        other.send(forged)
    assert [frame for frame in alice.take() if frame["payload"].get("recipientId") == bob.person.id] == []
    assert [frame for frame in waits(world, bob) if frame["type"] == "MESSAGE"] == [routed]


def test_stranger_cannot_confirm_by_number(world: World, bob: Client) -> None:
    bob.drop()
    stranger = world.login("stranger")
    stranger.send(stranger.person.init(bob.person))
    stranger.send(*(stranger.person.confirm(number) for number in range(1, 20)))
    assert [frame["type"] for frame in world.login(bob.person).take() if "seq" in frame] == ["KEY_EXCHANGE_INIT"]


def test_confirming_by_number_does_not_remove_a_message(world: World, alice: Client, bob: Client) -> None:
    routed = sent(alice, bob)
    bob.send(bob.person.confirm(routed["seq"]))
    assert waits(world, bob) == [routed]


def test_stranger_learns_not_whether_a_message_exists(world: World, alice: Client, bob: Client) -> None:
    routed = sent(alice, bob)
    stranger = world.login("stranger")
    unknown = {**routed["payload"], "messageId": stranger.person.new_message_id()}
    assert stranger.send(stranger.person.ack(routed)) == stranger.send(stranger.person.ack({"payload": unknown}))


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"status": "delivered"}, "payload.messageId"),
        ({"status": "accepted", "seq": 1}, "payload.status"),
        ({"status": "expired", "seq": 1}, "payload.status"),
        ({"status": "read", "seq": 1}, "payload.status"),
        ({"seq": 1}, "payload.status"),
        ({"status": "delivered", "messageId": "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f"}, "payload.senderId"),
        ({"status": "delivered", "seq": 1, "messageId": "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f"}, "payload.seq"),
    ],
)
def test_incomplete_acknowledgement_is_1001(alice: Client, payload: Frame, field: str) -> None:
    answer = alice.ask(alice.person.frame("MESSAGE_ACK", payload, id="request-1"))
    assert (answer["payload"]["code"], answer["payload"]["details"]["field"]) == (1001, field)
    assert answer["id"] == "request-1"


# --- receipts wait ----------------------------------------------------------------


def test_receipt_waits_for_an_absent_sender(world: World, alice: Client, bob: Client) -> None:
    routed = sent(alice, bob)
    alice.drop()
    bob.send(bob.person.ack(routed))
    alice = world.login(alice.person)
    [receipt] = alice.take("MESSAGE_ACK")
    assert receipt["payload"]["status"] == "delivered"
    assert receipt["payload"]["messageId"] == routed["payload"]["messageId"]
    assert waits(world, alice) == [receipt], "it was not confirmed yet"
    alice = world.login(alice.person)
    alice.take()
    alice.send(alice.person.confirm(receipt["seq"]))
    assert waits(world, alice) == []


def test_newest_status_is_what_an_absent_sender_finds(world: World, alice: Client, bob: Client) -> None:
    routed = sent(alice, bob)
    alice.drop()
    bob.send(bob.person.ack(routed), bob.person.ack(routed, "read"))
    [receipt] = world.login(alice.person).take("MESSAGE_ACK")
    assert receipt["payload"]["status"] == "read"


def test_receipts_and_messages_wait_in_one_order(world: World, alice: Client, bob: Client) -> None:
    first, second = sent(alice, bob), sent(alice, bob)
    alice.drop()
    bob.send(bob.person.ack(first), bob.person.message(alice.person), bob.person.ack(second))
    found = [frame for frame in world.login(alice.person).take() if "seq" in frame]
    assert [frame["type"] for frame in found] == ["MESSAGE_ACK", "MESSAGE", "MESSAGE_ACK"]
    assert [frame["seq"] for frame in found] == sorted(frame["seq"] for frame in found)


def test_receipt_for_a_sender_who_leaves_meanwhile_waits(world: World, alice: Client, bob: Client) -> None:
    routed = sent(alice, bob)
    world.writer.holding = True
    bob.send(bob.person.ack(routed))
    alice.drop()
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert len(world.login(alice.person).take("MESSAGE_ACK")) == 1


def test_receipt_for_a_sender_who_logs_in_meanwhile_arrives(world: World, alice: Client, bob: Client) -> None:
    """The ack is judged while the sender is away, and stored behind the login that reads the mailbox."""
    routed = sent(alice, bob)
    alice.drop()
    alice = world.connect(alice.person)
    alice.put(alice.auth(["ack"]))
    bob.put(bob.person.ack(routed))
    world.run()
    assert len(alice.take("MESSAGE_ACK")) == 1


@pytest.mark.parametrize("end", ["takeover", "cut"])
def test_receipt_that_a_dead_connection_never_took_is_not_lost(
    world: World, alice: Client, bob: Client, end: str
) -> None:
    routed = sent(alice, bob)
    alice.connection.stalled = True
    bob.send(bob.person.ack(routed))
    if end == "cut":
        alice.drop()
    assert len(world.login(alice.person).take("MESSAGE_ACK")) == 1


def test_client_without_acks_gets_a_waiting_receipt_once(world: World, alice: Client, bob: Client) -> None:
    routed = sent(alice, bob)
    alice.drop()
    bob.send(bob.person.ack(routed))
    alice = world.login(alice.person, ack=False)
    assert len(alice.take("MESSAGE_ACK")) == 1
    assert waits(world, alice) == []


def test_made_up_acks_of_one_contact_do_not_silence_another(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    world.make_contacts(alice, carol)
    alice.drop()
    made_up = {"senderId": alice.person.id, "status": "read"}
    for _ in range(4_000):  # as many receipts as wait at most, within a minute's limit
        bob.put(bob.person.frame("MESSAGE_ACK", {**made_up, "messageId": bob.person.new_message_id()}))
    world.run()
    alice = world.login(alice.person)
    alice.take()
    routed = sent(alice, carol)
    carol.send(carol.person.ack(routed))
    assert [frame["payload"]["recipientId"] for frame in alice.take("MESSAGE_ACK")] == [carol.person.id]


# --- clients that do not acknowledge ----------------------------------------------


def test_client_without_acks_has_what_its_socket_took(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    bob = world.login(bob.person, ack=False)
    answers = alice.send(alice.person.message(bob.person))
    assert [frame["payload"]["status"] for frame in answers] == ["accepted", "delivered"]
    assert len(bob.take("MESSAGE")) == 1
    assert waits(world, bob) == []


def test_client_without_acks_has_what_waited_for_it(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    alice.send(alice.person.message(bob.person))
    alice.take()
    bob = world.login(bob.person, ack=False)
    assert len(bob.take("MESSAGE")) == 1
    assert [frame["payload"].get("status") for frame in alice.take("MESSAGE_ACK")] == ["delivered"]
    assert waits(world, bob) == []


def test_client_without_acks_has_not_what_its_socket_did_not_take(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    bob = world.login(bob.person, ack=False)
    bob.connection.stalled = True
    message = alice.person.message(bob.person)
    assert [frame["payload"]["status"] for frame in alice.send(message)] == ["accepted"]
    [again] = waits(world, bob)
    assert again["payload"]["messageId"] == message["payload"]["messageId"]


def test_many_messages_that_a_socket_took_are_confirmed_a_few_at_once(
    world: World, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.drop()
    bob = world.login(bob.person, ack=False)
    bob.connection.stalled = True
    alice.send(*[alice.person.message(bob.person) for _ in range(100)])
    assert [item[0] for item in bob.session.unconfirmed] == [ItemKind.MESSAGE] * 100, "names, and no texts"
    at_once: list[int] = []

    def counted(tables: Any, command: Any) -> Any:
        if isinstance(command, Acknowledge):
            at_once.append(len(command.messages))
        return execute(tables, command)

    monkeypatch.setattr("phantom_messenger.engines.sqlite.store.execute", counted)
    bob.unstall()
    assert at_once == [32, 32, 32, 4]
    assert waits(world, bob) == []


def test_item_that_cannot_be_removed_keeps_no_others(
    world: World, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    bob.drop()
    bob = world.login(bob.person, ack=False)
    bob.connection.stalled = True
    messages = [alice.person.message(bob.person) for _ in range(40)]
    stuck = messages[17]["payload"]["messageId"]
    alice.send(*messages)
    acknowledge = SQLiteMailboxes.acknowledge

    def broken(self: SQLiteMailboxes, recipient: str, sender: str, name: str, now: int) -> Any:
        if name == stuck:
            raise LookupError(name)
        return acknowledge(self, recipient, sender, name, now)

    monkeypatch.setattr(SQLiteMailboxes, "acknowledge", broken)
    bob.unstall()
    told = [frame["payload"]["messageId"] for frame in alice.take("MESSAGE_ACK")]
    assert sorted(told[-39:]) == sorted(one["payload"]["messageId"] for one in messages if one is not messages[17])
    monkeypatch.undo()
    assert [frame["payload"]["messageId"] for frame in waits(world, bob)] == [stuck]
    assert faults.take() == ["LookupError"], "of it alone"


def test_client_without_acks_may_still_say_read(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    bob = world.login(bob.person, ack=False)
    alice.send(alice.person.message(bob.person))
    alice.take()
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.ack(routed, "read"))
    assert [frame["payload"]["status"] for frame in alice.take()] == ["read"]
