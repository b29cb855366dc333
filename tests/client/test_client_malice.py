"""A relay that lies: what it does is shown as trouble or does no harm; nothing wrong is ever believed."""

import base64
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from client_samples import Device, Town, pass_time, raw_rows, settle, with_field, without_field

from phantom_messenger.client import records
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.records import PreKeyRecord, ReceivedRecord
from phantom_messenger.client.recovery import MAX_REMEMBERED
from phantom_messenger.client.status import DeliveryEvent, DeliveryState, MessageEvent, PresenceEvent, WarningEvent
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.session import SUITE
from support.people import Frame, base64_text, canonical, flipped, kem_key_text
from support.simulated import HOUR, MINUTE, SECOND

Change = Callable[[Frame], Frame]


def only(kind: str, change: Callable[[Frame], list[Frame]]) -> Callable[[Frame], list[Frame]]:
    """A relay that lays hands on one type of frame."""
    return lambda frame: change(frame) if frame["type"] == kind else [frame]


def is_message(frame: Frame) -> bool:
    return bool(frame["type"] == "MESSAGE")


def texts(received: list[ReceivedRecord]) -> list[str | None]:
    return [record.text for record in received]


# --- order, repetition, loss ------------------------------------------------------


def test_reordered_messages_are_all_read_as_they_were_written(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    held: list[Frame] = []
    bob.tamper = only("MESSAGE", lambda frame: held.append(frame) or [])  # type: ignore[func-returns-value] # keeps it back
    written = {}
    for number in range(20):
        (name,) = alice.send(bob, f"text {number}")
        written[name] = (f"text {number}", town.world.clock.wall_ms())
        settle(alice, bob)
        town.world.clock.advance(SECOND)
    bob.tamper = lambda frame: [*reversed(held), frame]
    bob.messenger.ask_presence(alice.id)
    settle(alice, bob)
    assert {record.message_id: (record.text, record.sent_at) for record in bob.waiting()} == written
    assert set(bob.troubles()) <= {"late"}


def test_reordering_is_noticed(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    held: list[Frame] = []
    bob.tamper = only("MESSAGE", lambda frame: held.append(frame) or [])  # type: ignore[func-returns-value] # keeps it back
    alice.send(bob, "Shall I sell?", "No!", "Shall I buy?", "Yes!")
    settle(alice, bob)
    bob.tamper = lambda frame: [held[0], held[3], held[2], held[1], frame]
    bob.messenger.ask_presence(alice.id)
    settle(alice, bob)
    in_order = texts(bob.waiting()) == ["Shall I sell?", "No!", "Shall I buy?", "Yes!"]
    assert in_order or bob.troubles() != []


def test_repeated_messages_are_read_once(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.tamper = only("MESSAGE", lambda frame: [frame, frame, {**frame, "seq": frame["seq"] + 7}, frame])
    alice.send(bob, "one", "two")
    settle(alice, bob)
    assert bob.read_all() == ["one", "two"]
    (first, *_) = [frame for frame in bob.received if is_message(frame)]
    bob.kill()
    bob.tamper = lambda frame: [frame, first]
    bob.login()
    settle(alice, bob)
    assert bob.waiting() == []
    assert len(bob.heard(MessageEvent)) == 2
    assert bob.troubles() == []


def test_dropped_message_is_never_told_as_delivered(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.tamper = only("MESSAGE", lambda _: [])
    numbers = alice.send(bob, "one", "two")
    settle(alice, bob)
    pass_time(MINUTE, alice, bob)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    bob.tamper = None
    alice.send(bob, "three")
    settle(alice, bob)
    assert texts(bob.waiting()) == ["three"]
    bob.cut()
    bob.login()
    settle(alice, bob)
    assert texts(bob.waiting()) == ["three", "one", "two"]


def passed_on(town: Town) -> tuple[Device, Device, dict[str, Frame]]:
    """Alice and Bob, who know each other, and what Alice signed for Carol."""
    alice, bob, carol = town.friends("alice", "bob", "carol")
    alice.send(carol, "for Carol alone")
    settle(alice, carol)
    (message,) = [frame for frame in carol.received if is_message(frame)]
    carol.cut()
    key = base64_text(bytes(range(32)))
    bundle = {"identityKey": identity_key(alice), "preKeySignature": base64_text(bytes(64)), "signedPreKey": key}
    about = {"senderId": alice.id, "targetId": carol.id}
    signed = {"timestamp": 1, "signature": base64_text(bytes(64)), "seq": 77}
    begins = {"ephemeralKey": key, "identityKey": identity_key(alice)}
    for device in (alice, bob):
        device.sent.clear()
    return (
        alice,
        bob,
        {
            "MESSAGE": message,
            "KEY_EXCHANGE_INIT": {"type": "KEY_EXCHANGE_INIT", "payload": {**begins, **about}, **signed},
            "KEY_EXCHANGE_RESPONSE": {"type": "KEY_EXCHANGE_RESPONSE", "payload": {**bundle, **about}, **signed},
        },
    )


@pytest.mark.parametrize("kind", ["MESSAGE", "KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE"])
def test_what_is_for_somebody_else_changes_nothing_and_is_neither_asked_for_nor_acknowledged(
    town: Town, kind: str
) -> None:
    alice, bob, others = passed_on(town)
    before = raw_rows(bob.vault)
    for _ in range(3):
        bob.down.append(canonical(others[kind]))
        bob.step_down()
    assert raw_rows(bob.vault) == before
    assert bob.troubles() == ["misdirected"], "told once a connection"
    pass_time(MINUTE, alice, bob)
    assert {frame["type"] for frame in bob.sent} <= {"PING"}
    assert not alice.frames_sent("MESSAGE")
    assert not alice.troubles()
    assert bob.waiting() == []


def test_control_without_the_check_the_same_message_makes_its_recipient_begin_a_session(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, others = passed_on(town)
    monkeypatch.setattr(Receiving, "_is_misdirected", lambda *_: False)
    bob.down.append(canonical(others["MESSAGE"]))
    bob.step_down()
    pass_time(MINUTE, alice, bob)
    assert bob.frames_sent("KEY_EXCHANGE_INIT")


GARBAGE = base64_text(bytes([SUITE, 0, 9]) + bytes(597))
"""Of the right form, under a ratchet key that nobody has."""

MESSAGES: dict[str, Change] = {
    "another ciphertext": lambda frame: with_field(frame, encrypted=GARBAGE),
    "one bit": lambda frame: with_field(frame, encrypted=flipped_end(frame["payload"]["encrypted"])),
    "another suite": lambda frame: with_field(frame, encrypted=flipped(frame["payload"]["encrypted"])),
    "another sender": lambda frame: with_field(frame, senderId=base64_text(bytes(32))),
    "a short sender": lambda frame: with_field(frame, senderId=base64_text(bytes(16))),
    "another id": lambda frame: with_field(frame, messageId="00000000-0000-4000-8000-000000000000"),
    "another conversation": lambda frame: with_field(frame, conversationId="another"),
    "burning": lambda frame: with_field(frame, metadata={"burnAfterRead": True}),
    "expiring": lambda frame: with_field(frame, metadata={"expiresIn": 1}),
    "another time": lambda frame: {**frame, "timestamp": frame["timestamp"] + 1},
    "another signature": lambda frame: {**frame, "signature": flipped(frame["signature"])},
    "another name": lambda frame: {**frame, "id": "77"},
}


def flipped_end(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[-1] ^= 1
    return base64_text(bytes(raw))


@pytest.mark.parametrize("change", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("first", [True, False])
def test_changed_message_is_trouble_and_the_right_one_is_still_read(town: Town, change: Change, first: bool) -> None:
    alice, bob = town.devices("alice", "bob") if first else town.friends("alice", "bob")
    bob.tamper = only("MESSAGE", lambda frame: [change(frame)])
    alice.send(bob, "hello")
    settle(alice, bob)
    assert bob.waiting() == []
    (warning,) = bob.heard(WarningEvent)
    if change is MESSAGES["another suite"]:
        word, advice = "newer", "update this program"
    else:
        word, advice = "unreadable", "ask for it again"
    assert warning.code == word
    assert advice in warning.message
    assert alice.troubles() == [], "what is not signed by its sender is not asked for"
    acks = [frame["payload"] for frame in bob.frames_sent("MESSAGE_ACK")]
    assert [ack for ack in acks if "messageId" in ack] == []
    bob.cut()
    bob.tamper = None
    bob.login()
    settle(alice, bob)
    assert texts(bob.waiting()) == ["hello"]


@pytest.mark.parametrize("first", [True, False])
def test_unreadable_message_is_told_once(town: Town, first: bool) -> None:
    alice, bob = town.devices("alice", "bob") if first else town.friends("alice", "bob")
    bob.tamper = only("MESSAGE", lambda frame: [with_field(frame, encrypted=GARBAGE)])
    alice.send(bob, "hello")
    settle(alice, bob)
    for _ in range(3):
        bob.kill()
        bob.login()
    pass_time(MINUTE, alice, bob)
    assert bob.troubles() == ["unreadable"]


# --- swapped keys -----------------------------------------------------------------

MALLORYS = base64_text(KeyPair.from_private(b"mallory's".ljust(32)).public)
"""An X25519 key that is in order, but not Bob's."""


def identity_key(device: Device) -> str:
    return base64_text(device.messenger._identity.peer.public)


BUNDLES: dict[str, Callable[[Frame, Device], Frame]] = {
    "the identity": lambda frame, mallory: with_field(frame, identityKey=identity_key(mallory)),
    "the signed prekey": lambda frame, _: with_field(frame, signedPreKey=MALLORYS),
    "the signed prekey's id": lambda frame, _: with_field(frame, signedPreKeyId=4_000_000_000),
    "the signature of the whole": lambda frame, _: with_field(
        frame, bundleSignature=flipped(frame["payload"]["bundleSignature"])
    ),
    "the KEM key": lambda frame, _: with_field(frame, kemPreKey=kem_key_text("mallory's")),
    "the KEM key's signature": lambda frame, _: with_field(
        frame, kemPreKeySignature=flipped(frame["payload"]["kemPreKeySignature"])
    ),
    "no signature of the KEM key": lambda frame, _: without_field(frame, "kemPreKeySignature"),
    "the one-time key for nothing": lambda frame, _: with_field(frame, oneTimePreKey=base64_text(bytes(32))),
    "an identity that is none": lambda frame, _: with_field(frame, identityKey=base64_text(bytes(32))),
}


@pytest.mark.parametrize("swap", BUNDLES.values(), ids=BUNDLES)
def test_swapped_bundle_is_trouble_and_nothing_is_sent_under_it(
    town: Town, swap: Callable[[Frame, Device], Frame]
) -> None:
    alice, bob, mallory = town.devices("alice", "bob", "mallory")
    alice.tamper = only("KEY_EXCHANGE_RESPONSE", lambda frame: [swap(frame, mallory)])
    (number,) = alice.send(bob, "secret")
    settle(alice, bob, mallory)
    assert alice.troubles() == ["key-exchange"]
    assert alice.frames_sent("MESSAGE") == []
    assert alice.messenger.contacts.of(bob.id).key is None
    assert alice.messenger.state_of(number) is DeliveryState.QUEUED
    alice.tamper = None
    pass_time(31 * SECOND, alice, bob)
    assert bob.read_all() == ["secret"]
    assert alice.messenger.contacts.of(bob.id).key == base64.b64decode(identity_key(bob))


def test_whole_bundle_of_another_is_trouble(town: Town) -> None:
    alice, bob, mallory = town.devices("alice", "bob", "mallory")
    alice.send(mallory, "hello")
    settle(alice, mallory)
    (theirs,) = [frame for frame in alice.received if frame["type"] == "KEY_EXCHANGE_RESPONSE"]
    alice.tamper = only("KEY_EXCHANGE_RESPONSE", lambda _: [with_field(theirs, senderId=bob.id)])
    alice.send(bob, "secret")
    settle(alice, bob, mallory)
    assert alice.troubles() == ["key-exchange"]
    assert len(alice.frames_sent("MESSAGE")) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"oneTimePreKey": MALLORYS},
        {"oneTimePreKeyId": 4_000_000_000},
        {"kemPreKeyId": 4_000_000_000},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_bundle_with_what_no_signature_covers_is_trouble_at_its_owner(town: Town, fields: dict[str, Any]) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.tamper = only("KEY_EXCHANGE_RESPONSE", lambda frame: [with_field(frame, **fields)])
    alice.send(bob, "secret")
    settle(alice, bob)
    assert bob.waiting() == []
    assert bob.troubles() == ["unreadable"]


def test_bundle_that_nobody_asked_for_is_passed_over(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    (frame,) = [frame for frame in alice.received if frame["type"] == "KEY_EXCHANGE_RESPONSE"]
    before = raw_rows(alice.vault)
    mallory = town.device("mallory").login()
    for changed in (frame, with_field(frame, senderId=mallory.id, identityKey=identity_key(mallory))):
        alice.down.append(canonical(changed))
        alice.step_down()
    assert raw_rows(alice.vault) == before
    assert alice.troubles() == []


# --- answers that lie -------------------------------------------------------------


@pytest.mark.parametrize("code", [1004, 1001])
def test_error_for_a_message_that_its_recipient_has_is_not_believed(town: Town, code: int) -> None:
    alice, bob = town.friends("alice", "bob")
    held: list[Frame] = []
    alice.tamper = only("MESSAGE_ACK", lambda frame: held.append(frame) or [])  # type: ignore[func-returns-value] # keeps it back
    (number,) = alice.send(bob, "are you there?")
    settle(alice, bob)
    pass_time(MINUTE, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.DELIVERED
    payload = {"code": code, "message": "No such user.", "details": {"reason": "user"}}
    alice.down.append(canonical({"type": "ERROR", "id": held[0]["id"], "payload": payload, "timestamp": 1}))
    alice.step_down()
    alice.tamper = None
    (after,) = alice.send(bob, "again")
    settle(alice, bob)
    assert alice.troubles() == []
    assert alice.messenger.state_of(after) in {DeliveryState.ACCEPTED, DeliveryState.DELIVERED}


def test_who_writes_exists_whatever_the_relay_has_said(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")

    def unknown(frame: Frame) -> list[Frame]:
        payload = {"code": 1004, "message": "No such user.", "details": {"reason": "user"}}
        return [{"type": "ERROR", "id": frame["id"], "payload": payload, "timestamp": 1}]

    alice.tamper = only("MESSAGE_ACK", unknown)
    bob.tamper = only("MESSAGE", lambda _: [])
    (number,) = alice.send(bob, "one")
    settle(alice, bob)
    assert alice.troubles() == ["unknown-user"]
    alice.tamper = bob.tamper = None
    alice.send(bob, "two")
    settle(alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.QUEUED, "the control: it waits"
    bob.send(alice, "I am here")
    settle(alice, bob)
    assert alice.messenger.state_of(number) is not DeliveryState.QUEUED


def test_presence_is_heard_of_contacts_alone(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.hear()
    before = len(alice.heard(PresenceEvent))
    for user in (*(base64_text(bytes([number] * 32)) for number in range(9)), bob.id):
        payload = {"userId": user, "status": "typing"}
        alice.down.append(canonical({"type": "PRESENCE", "payload": payload, "timestamp": 1}))
        alice.step_down()
    assert [event.peer.user_id for event in alice.heard(PresenceEvent)[before:]] == [bob.id]


def test_receipt_of_somebody_else_changes_nothing(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    bob.cut()
    (number,) = alice.send(bob, "hello", expires_in=MINUTE)

    def expired(recipient: Device) -> Frame:
        payload = {"messageId": number, "recipientId": recipient.id, "status": "expired", "timestamp": 1}
        return {"type": "MESSAGE_ACK", "payload": payload, "timestamp": 1}

    alice.tamper = lambda frame: [expired(carol), frame, expired(carol)]
    settle(alice, carol)
    assert [event.state for event in alice.heard(DeliveryEvent)] == [DeliveryState.ACCEPTED]
    # The control: that of its recipient is believed.
    alice.tamper = lambda frame: [expired(bob), frame]
    alice.messenger.ask_presence(carol.id)
    settle(alice, carol)
    assert [event.state for event in alice.heard(DeliveryEvent)][1:] == [DeliveryState.EXPIRED]


@pytest.mark.parametrize("late", ["accepted", "delivered", "expired"])
def test_older_news_changes_nothing(town: Town, late: str) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello", expires_in=HOUR)
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    bob.read_all()
    payload = {"messageId": number, "recipientId": bob.id, "status": late, "timestamp": 1}
    alice.tamper = lambda frame: [frame, {"type": "MESSAGE_ACK", "payload": payload, "timestamp": 1}]
    pass_time(SECOND, alice, bob)
    alice.messenger.ask_presence(bob.id)
    settle(alice, bob)
    assert alice.received[-1]["payload"] == payload
    assert [event.state for event in alice.heard(DeliveryEvent)][-1] is DeliveryState.READ
    assert len(alice.heard(DeliveryEvent)) == 3


def test_refused_text_is_trouble_and_failed(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")

    def refuse(frame: Frame) -> list[Frame]:
        if frame["type"] != "MESSAGE_ACK":
            return [frame]
        error = {"code": 1002, "message": "No.", "details": {"reason": "signature"}}
        return [{"type": "ERROR", "payload": error, "timestamp": 1, "id": frame["id"]}]

    alice.tamper = refuse
    (number,) = alice.send(bob, "hello")
    settle(alice)
    assert alice.messenger.state_of(number) is DeliveryState.FAILED
    assert alice.troubles() == ["refused"]
    assert alice.messenger.waiting == 0


@pytest.mark.parametrize("time", [2**53 - 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), -1])
def test_relay_with_an_impossible_clock_does_not_break_the_program(town: Town, time: int) -> None:
    alice, bob = town.friends("alice", "bob")
    error = {"code": 1001, "message": "x", "details": {"reason": "clock", "serverTime": time}}
    alice.tamper = lambda frame: [frame, {"type": "ERROR", "payload": error, "timestamp": 1}]
    bob.send(alice, "hello", expires_in=MINUTE)
    settle(alice, bob)
    alice.send(bob, "hello yourself", expires_in=MINUTE)
    for _ in range(3):
        town.world.clock.advance(6 * SECOND)
        alice.messenger.tick()
        settle(alice, bob)
    alice.tamper = None
    if alice.is_connected:
        alice.cut()
    alice.login()
    alice.send(bob, "are you still there?")
    pass_time(10 * SECOND, alice, bob)
    assert bob.read_all()[-1:] == ["are you still there?"]


def test_identity_can_publish_after_a_relay_with_a_clock_of_the_far_future(town: Town) -> None:
    alice, bob = town.device("alice"), town.device("bob").login()
    alice.tamper = far_future
    alice.connect()
    settle(alice)
    assert alice.closes != []
    alice.tamper = None
    alice.login()
    assert alice.messenger.prekeys_confirmed
    bob.send(alice, "hello")
    settle(alice, bob)
    assert alice.read_all() == ["hello"]


SUCCESS = {"sessionId": "s", "serverTime": 1}


def far_future(frame: Frame) -> list[Frame]:
    """A relay that lets anybody in, and lives in another millennium."""
    match frame["type"]:
        case "CONNECTION_ACK":
            return [with_field(frame, serverTime=2**53 - 1)]
        case "AUTH_FAILURE":
            none = {"oneTimePreKeys": 0, "kemPreKeys": 0}
            return [
                {"type": "AUTH_SUCCESS", "payload": SUCCESS, "timestamp": 1},
                {"type": "PREKEY_STATUS", "payload": none, "timestamp": 1},
            ]
        case _:
            return [frame]


@pytest.mark.parametrize("error", [2**62, -(2**62), 10**15])
def test_times_that_a_peer_claims_can_be_shown(town: Town, error: int) -> None:
    bob, mallory = town.device("bob").login(), town.device("mallory", wall_error=error).login()
    mallory.send(bob, "hello")
    settle(bob, mallory)
    mallory.cut()
    mallory.send(bob, "from a far time")
    mallory.login()
    settle(bob, mallory)
    for record in bob.waiting():
        assert datetime.fromtimestamp(record.sent_at / 1000, tz=UTC)


def test_times_that_a_relay_claims_can_be_shown(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    payload = {"userId": bob.id, "status": "offline", "lastSeen": 2**53 - 1}
    alice.tamper = lambda frame: [frame, {"type": "PRESENCE", "payload": payload, "timestamp": 1}]
    alice.messenger.ask_presence(bob.id)
    settle(alice, bob)
    for event in alice.heard(PresenceEvent):
        assert event.last_seen is None or datetime.fromtimestamp(event.last_seen / 1000, tz=UTC)


@pytest.mark.parametrize("count", [0, 1, 2**53 - 1])
def test_relay_that_lies_about_prekeys_gets_a_bounded_number_of_them(town: Town, count: int) -> None:
    (alice,) = town.devices("alice")
    lies = 0

    def lie(frame: Frame) -> list[Frame]:
        nonlocal lies
        if frame["type"] not in {"PREKEY_STATUS", "ERROR"} or lies == 25:
            return [frame]
        lies += 1
        payload = {"oneTimePreKeys": count, "kemPreKeys": count}
        return [{"type": "PREKEY_STATUS", "payload": payload, "timestamp": 1, "id": frame["id"]}]

    alice.cut()
    alice.tamper = lie
    alice.login()
    made = {record.id for _, record in alice.vault.all(records.PREKEY, PreKeyRecord)}
    assert len(made) < 10 * 127
    assert alice.messenger.is_online


@pytest.mark.parametrize("forged", [MAX_REMEMBERED, 0], ids=["forged", "control: none"])
def test_forgeries_do_not_keep_what_cannot_be_read_from_being_asked_for(town: Town, forged: int) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.send(alice, "a sample")
    settle(alice, bob)
    sample = next(frame for frame in alice.received if is_message(frame))
    alice.cut()
    with alice.vault.transaction() as tx:
        alice.messenger._stores.conversations.forget(tx, bob.id)
    bob.send(alice, "important")
    settle(bob)
    names = [str(uuid.UUID(int=2**100 + n, version=4)) for n in range(forged)]
    alice.tamper = only("MESSAGE", lambda frame: [*(with_field(sample, messageId=name) for name in names), frame])
    alice.login()
    settle(alice, bob)
    assert alice.troubles().count("unreadable") == forged
    pass_time(MINUTE, alice, bob)
    assert alice.read_all() == ["a sample", "important"]
