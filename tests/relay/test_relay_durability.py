"""kill -9, takeovers and slow readers, on the real relay."""

from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from support.people import Frame, Person
from support.reference_client import Connect, ReferenceClient
from support.relay_process import RelayProcess, StartRelay


@pytest.fixture
def own(start_relay: StartRelay) -> RelayProcess:
    """A relay that may be killed."""
    return start_relay("--limits", "off")


def ids(frames: list[Frame]) -> list[str]:
    return [frame["payload"]["messageId"] for frame in frames]


def drained(client: ReferenceClient) -> list[Frame]:
    """What came before the connection broke."""
    found = []
    with suppress(ConnectionClosed):
        while True:
            found.append(client.receive())
    return found


def delivered(sender: ReferenceClient, recipient: ReferenceClient, **options: Any) -> Frame:
    """Send a message, wait until it is stored, and return what the recipient got."""
    message = sender.person.message(recipient.person, **options)
    sender.send(message)
    sender.told(message, "accepted")
    return recipient.until("MESSAGE")


def contacts(connect: Connect, relay: RelayProcess, **options: int) -> tuple[ReferenceClient, ReferenceClient]:
    """Two clients who have written to each other and have nothing waiting."""
    one, other = connect(relay).login(["ack"]), connect(relay, **options).login(["ack"])
    first, second = delivered(one, other), delivered(other, one)
    other.send(other.person.ack(first))
    one.told(first, "delivered")
    one.send(one.person.ack(second))
    other.told(second, "delivered")
    return one, other


def test_accepted_messages_survive_a_kill(own: RelayProcess, connect: Connect) -> None:
    alice, bob = contacts(connect, own)
    bob.close()
    sent = [alice.person.message(bob.person) for _ in range(300)]
    for message in sent:
        alice.send(message)
    accepted = [alice.expect("MESSAGE_ACK")["payload"]["messageId"] for _ in range(100)]
    own.kill()
    accepted += ids([frame for frame in drained(alice) if frame["type"] == "MESSAGE_ACK"])
    own.restart()
    waiting = ids([frame for frame in connect(own, bob.person).login(["ack"]).settle() if frame["type"] == "MESSAGE"])
    assert waiting[: len(accepted)] == accepted == ids(sent)[: len(accepted)]
    assert waiting == ids(sent)[: len(waiting)], "nothing is invented, nothing is doubled"


def test_relay_that_is_stopped_under_load_keeps_what_it_accepted(own: RelayProcess, connect: Connect) -> None:
    alice, bob = contacts(connect, own)
    sent = [alice.person.message(bob.person) for _ in range(400)]
    for message in sent:
        alice.send(message)
    assert own.stop() == 0
    code, answers = alice.closed()
    assert code == 1001
    assert bob.closed()[0] == 1001
    accepted = ids([frame for frame in answers if frame["type"] == "MESSAGE_ACK"])
    own.restart()
    waiting = ids([frame for frame in connect(own, bob.person).login(["ack"]).settle() if frame["type"] == "MESSAGE"])
    assert waiting == accepted == ids(sent)[: len(accepted)]


def test_burned_message_does_not_come_back_after_a_kill(own: RelayProcess, connect: Connect) -> None:
    alice, bob = contacts(connect, own)
    message = delivered(alice, bob)
    bob.send(bob.person.ack(message, "burned"))
    alice.told(message, "burned")
    own.kill()
    own.restart()
    assert connect(own, bob.person).login(["ack"]).settle() == []


def test_seq_is_not_given_again_after_a_kill(own: RelayProcess, connect: Connect) -> None:
    alice, bob = contacts(connect, own)
    seen = []
    for _ in range(3):
        for _ in range(5):
            message = delivered(alice, bob)
            seen.append(message["seq"])
            bob.send(bob.person.ack(message))
            alice.told(message, "delivered")
        own.kill()
        own.restart()
        alice, bob = connect(own, alice.person).login(["ack"]), connect(own, bob.person).login(["ack"])
    assert seen == sorted(set(seen))


def test_one_time_keys_are_handed_out_once_under_50_requests_and_a_kill(own: RelayProcess, connect: Connect) -> None:
    bob = connect(own).login()
    bob.send(bob.person.publish(range(1, 91), range(1, 31), last_resort=True))
    assert bob.expect("PREKEY_STATUS")["payload"]["oneTimePreKeys"] == 90
    clients = [connect(own).login() for _ in range(50)]
    for client in clients:
        client.send(client.person.init(bob.person, name="before"))
    bundles = [client.expect("KEY_EXCHANGE_RESPONSE") for client in clients[:10]]
    own.kill()
    for client in clients:
        bundles += [frame for frame in drained(client) if frame["type"] == "KEY_EXCHANGE_RESPONSE"]
    own.restart()
    again = [connect(own, client.person).login() for client in clients]
    for client in again:
        client.send(client.person.init(bob.person, name="after"))
    bundles += [client.until("KEY_EXCHANGE_RESPONSE") for client in again]
    for name, least in (("oneTimePreKeyId", 10), ("kemPreKeyId", 10)):
        handed_out = [bundle["payload"].get(name) for bundle in bundles]
        once = [number for number in handed_out if number not in (None, 4_000)]
        assert len(once) == len(set(once)) >= least


def received(sender: ReferenceClient, recipient: ReferenceClient) -> list[str]:
    """Acknowledge all that has come, and wait until that is stored."""
    found = [frame for frame in recipient.settle() if frame["type"] == "MESSAGE"]
    for frame in found:
        recipient.send(recipient.person.ack(frame))
        sender.told(frame, "delivered")
    return ids(found)


@pytest.mark.parametrize("how", ["takeover", "cut"])
def test_changing_connections_lose_and_double_nothing(relay: RelayProcess, connect: Connect, how: str) -> None:
    alice, bob = contacts(connect, relay)
    sent = [alice.person.message(bob.person) for _ in range(120)]
    found: list[str] = []
    for index, message in enumerate(sent):
        alice.send(message)
        if index % 40 == 20:
            older = bob
            if how == "cut":
                older.cut()
            bob = connect(relay, older.person).login(["ack"])
            if how == "takeover":
                assert older.closed()[0] == 1008
        alice.told(message, "accepted")
        if index % 40 == 39:
            found += received(alice, bob)
    assert found == ids(sent)


def test_client_without_acks_is_not_sent_again_what_it_took(relay: RelayProcess, connect: Connect) -> None:
    alice, bob = contacts(connect, relay)
    bob.close()
    bob = connect(relay, bob.person).login()
    alice.told(delivered(alice, bob), "delivered")
    bob.close()
    assert [frame["type"] for frame in connect(relay, bob.person).login().settle()] == ["PRESENCE"]


def test_reader_who_pauses_gets_everything_in_order(relay: RelayProcess, connect: Connect) -> None:
    """Four megabytes are more than sockets and the client's queue hold."""
    alice, bob = contacts(connect, relay, queue=1)
    sent = [alice.person.message(bob.person, encrypted="QUJD" * 15_000) for _ in range(70)]
    for message in sent:
        alice.send(message)
    for _ in sent:
        assert alice.expect("MESSAGE_ACK")["payload"]["status"] == "accepted"
    assert ids([bob.expect("MESSAGE") for _ in sent]) == ids(sent)


def test_burned_bytes_are_in_no_file_after_a_stop(own: RelayProcess, connect: Connect) -> None:
    alice, bob = contacts(connect, own)
    marker = "TUFSS0VSLW9mLWEtYnVybmVkLW1lc3NhZ2U"
    for _ in range(20):
        message = delivered(alice, bob, encrypted=f"{marker}=")
        files = [file.read_bytes() for file in own.data.iterdir()]
        assert any(marker.encode() in content for content in files), "the control: it is there before"
        bob.send(bob.person.ack(message, "burned"))
        alice.told(message, "burned")
    assert own.stop() == 0
    assert not [file.name for file in own.data.iterdir() if marker.encode() in file.read_bytes()]


def test_ended_relay_leaves_no_open_ends(own: RelayProcess, connect: Connect) -> None:
    person = Person()
    connect(own, person).login()
    connect(own)
    assert own.stop() == 0
    assert "Traceback" not in own.log
    assert "Error" not in own.log
