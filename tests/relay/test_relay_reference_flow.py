"""The reference's example flow, by clients that know the reference alone."""

import pytest

from support.people import Person, base64_text, is_signed_by, key_text, wall_ms
from support.reference_client import Connect, ReferenceClient, members
from support.relay_process import RelayProcess, StartRelay


@pytest.fixture
def open_relay(start_relay: StartRelay) -> RelayProcess:
    return start_relay("--reference-clients", "on")


@pytest.fixture
def alice(open_relay: RelayProcess, connect: Connect) -> ReferenceClient:
    return connect(open_relay, Person(user_id=base64_text(b"alice of the reference"))).login_unsigned()


@pytest.fixture
def bob(open_relay: RelayProcess, connect: Connect) -> ReferenceClient:
    return connect(open_relay, Person(user_id=base64_text(b"bob, as he calls himself"))).login_unsigned()


def exchange_keys(alice: ReferenceClient, bob: ReferenceClient) -> None:
    """2. Initiate Key Exchange"""
    me, other = alice.person, bob.person
    init = {
        "type": "KEY_EXCHANGE_INIT",
        "payload": {
            "targetId": other.id,
            "identityKey": me.public_key,
            "ephemeralKey": key_text("ephemeral"),
        },
        "timestamp": wall_ms(),
    }
    alice.send(init, sign=True)
    asked = bob.expect("KEY_EXCHANGE_INIT")
    assert members(asked, "senderId", "identityKey", "ephemeralKey") == (me.id, me.public_key, key_text("ephemeral"))

    prekey = key_text("signed prekey")
    response = {
        "type": "KEY_EXCHANGE_RESPONSE",
        "payload": {
            "targetId": me.id,
            "identityKey": other.public_key,
            "signedPreKey": prekey,
            "preKeySignature": other.sign_prekey(prekey),
            "oneTimePreKey": key_text("one-time"),
        },
        "timestamp": wall_ms(),
    }
    bob.send(response, sign=True)
    answer = alice.until("KEY_EXCHANGE_RESPONSE")
    assert members(answer, "senderId", "identityKey", "signedPreKey", "oneTimePreKey") == (
        other.id,
        other.public_key,
        prekey,
        key_text("one-time"),
    )
    assert answer["signature"]


def send_message(alice: ReferenceClient, bob: ReferenceClient) -> None:
    """3. Send Encrypted Message"""
    me, other = alice.person, bob.person
    message = {
        "type": "MESSAGE",
        "payload": {
            "recipientId": other.id,
            "encrypted": base64_text(b"ciphertext"),
            "messageId": "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f",
            "conversationId": "conversation",
            "metadata": {"burnAfterRead": True},
        },
        "timestamp": wall_ms(),
        "id": "3b241101-e2bb-4255-8caf-4136c566a962",
    }
    alice.send(message, sign=True)
    accepted = alice.until("MESSAGE_ACK")
    assert accepted["id"] == message["id"]
    assert members(accepted, "messageId", "status") == ("0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f", "accepted")
    received = bob.until("MESSAGE")
    assert members(received, "senderId", "encrypted", "metadata") == (
        me.id,
        base64_text(b"ciphertext"),
        {"burnAfterRead": True},
    )
    assert is_signed_by(received, me.public_key)

    # MESSAGE_ACK: bob knows no acks of his own, so the relay sees his socket take it; then he reads and burns.
    assert members(alice.expect("MESSAGE_ACK"), "status") == ("delivered",)
    for status in ("read", "burned"):
        bob.send(other.ack(received, status))
        told = alice.expect("MESSAGE_ACK")
        assert members(told, "messageId", "status") == ("0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f", status)
        assert isinstance(told["payload"]["timestamp"], int)


def test_example_flow_completes(alice: ReferenceClient, bob: ReferenceClient) -> None:
    exchange_keys(alice, bob)
    send_message(alice, bob)

    # PRESENCE
    bob.send({"type": "PRESENCE", "payload": {"status": "idle"}, "timestamp": wall_ms()})
    assert members(alice.expect("PRESENCE"), "userId", "status") == (bob.person.id, "idle")

    # PING
    before = wall_ms()
    pong = alice.ask({"type": "PING", "timestamp": before})
    assert pong["type"] == "PONG"
    assert before <= pong["timestamp"] <= wall_ms()


def test_typing_reaches_the_other_participant(alice: ReferenceClient, bob: ReferenceClient) -> None:
    for sender, recipient in ((alice, bob), (bob, alice)):
        sender.send(sender.person.message(recipient.person, conversation="c"))
        recipient.until("MESSAGE")
    alice.settle()
    bob.send({"type": "PRESENCE", "payload": {"status": "typing", "conversationId": "c"}, "timestamp": wall_ms()})
    assert members(alice.expect("PRESENCE"), "userId", "status", "conversationId") == (bob.person.id, "typing", "c")


def test_error_has_the_form_of_the_reference(alice: ReferenceClient) -> None:
    answer = alice.ask(alice.person.message(key_text("nobody")))
    assert answer["type"] == "ERROR"
    assert sorted(answer) == ["payload", "timestamp", "type"]
    assert sorted(answer["payload"]) == ["code", "details", "message"]
    assert answer["payload"]["code"] == 1004


def test_rate_limit_has_the_form_of_the_reference(alice: ReferenceClient) -> None:
    for _ in range(31):
        alice.send(alice.person.presence("online"))
    answer = alice.expect("ERROR")
    assert members(answer, "code", "message") == (1003, "Rate limited")
    assert 0 < answer["payload"]["retryAfter"] <= 60_000


def test_relay_warns_and_says_that_logins_need_no_signature(open_relay: RelayProcess, connect: Connect) -> None:
    assert "--reference-clients" in open_relay.log
    assert connect(open_relay).acknowledgement["payload"]["unsignedAuth"] is True


def test_example_login_is_refused_where_it_is_not_allowed(relay: RelayProcess, connect: Connect) -> None:
    client = connect(relay)
    client.send(client.person.unsigned_auth())
    code, [answer] = client.closed()
    assert (code, answer["type"], answer["payload"]["code"]) == (4001, "AUTH_FAILURE", 1002)


def test_flow_completes_with_signed_logins(relay: RelayProcess, connect: Connect) -> None:
    alice, bob = connect(relay).login(), connect(relay).login(["ack"])
    alice.send(alice.person.init(bob.person))
    bob.expect("KEY_EXCHANGE_INIT")
    bob.send(bob.person.response(alice.person))
    alice.until("KEY_EXCHANGE_RESPONSE")
    alice.send(alice.person.message(bob.person))
    assert members(alice.until("MESSAGE_ACK"), "status") == ("accepted",)
    received = bob.until("MESSAGE")
    assert is_signed_by(received, alice.person.public_key)
    bob.send(bob.person.ack(received))
    assert members(alice.expect("MESSAGE_ACK"), "status") == ("delivered",)
