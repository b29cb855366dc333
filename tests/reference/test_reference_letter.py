"""What the reference's letter allows and the strict rules do not: taken from its clients, refused from all others.

Each row has its control: the same message on a signed session of the same relay is refused.
"""

import base64
import os
from collections.abc import Callable
from typing import Any

import pytest

from support.letter import PLAIN, READINGS, STRICT, Letter, MakeLetter, Sign, fresh_key, random_uuid, reason, stringify
from support.people import Frame, base64_text, wall_ms
from support.reference_client import members
from support.relay_process import RelayProcess, StartRelay

# --- AUTH -------------------------------------------------------------------------

USER_IDS = {
    "5 bytes": base64_text(b"alice"),
    "65 bytes": base64_text(bytes(range(65))),
    "16 bytes": base64_text(bytes(range(16))),
    "32 bytes": base64_text(bytes(range(100, 132))),
    "no base64": "alice@example.com",
    "URL alphabet, no padding": "_-_-8A",
    "one character": "a",
    "other letters": "Zoë Прохоров",
}


@pytest.mark.parametrize("user_id", USER_IDS.values(), ids=USER_IDS)
def test_any_user_id_logs_in_and_is_written_to(letter: MakeLetter, user_id: str) -> None:
    somebody, other = letter(user_id=user_id), letter()
    other.send(other.message(user_id))
    assert members(other.wire.expect("MESSAGE_ACK"), "recipientId", "status") == (user_id, "accepted")
    assert somebody.wire.until("MESSAGE")["payload"]["senderId"] == other.id
    somebody.send(somebody.message(other.id))
    assert other.wire.until("MESSAGE")["payload"]["senderId"] == user_id


@pytest.mark.parametrize("user_id", ["", "a" * 129, "a\nb", 17, None], ids=repr)
def test_what_is_no_user_id_is_refused(letter: MakeLetter, user_id: object) -> None:
    client = letter(login=False)
    client.send(client.auth(userId=user_id))
    code, [answer] = client.wire.closed()
    assert (code, answer["payload"]["code"]) == (4001, 1001)


def test_login_may_come_before_connection_ack_was_read_and_carry_what_nobody_knows(letter: MakeLetter) -> None:
    client = letter(login=False)
    client.send({**client.auth(deviceName="phone", challenge=None), "timestamp": wall_ms() + 0.25, "v": 2, "id": None})
    assert client.wire.expect("AUTH_SUCCESS")["payload"]["sessionId"]


@pytest.mark.parametrize("signature", ["", "of the payload", 64 * "A", None], ids=repr)
def test_login_may_have_a_signature_that_proves_nothing(letter: MakeLetter, signature: str | None) -> None:
    client = letter(login=False, user_id=base64_text(os.urandom(16)))
    sent = client.signed("AUTH", client.auth()["payload"])
    client.send(sent if signature == "of the payload" else {**sent, "signature": signature})
    client.wire.expect("AUTH_SUCCESS")


def test_default_relay_takes_no_such_login(relay: RelayProcess, letter: MakeLetter) -> None:
    """The control."""
    client = letter(relay=relay, login=False, user_id=base64_text(bytes(16)))
    assert "unsignedAuth" not in client.wire.acknowledgement["payload"]
    client.send(client.auth())
    code, [answer] = client.wire.closed()
    assert (code, answer["type"], answer["payload"]["code"]) == (4001, "AUTH_FAILURE", 1002)


def test_logins_that_are_too_many_get_the_error_of_the_reference_and_a_failure(start_relay: StartRelay) -> None:
    relay = start_relay("--reference-clients", "on")
    for _ in range(5):
        Letter(relay).login().wire.close()
    client = Letter(relay)
    client.send(client.auth())
    code, found = client.wire.closed()
    client.wire.close()
    assert code == 4002
    assert [frame["type"] for frame in found] == ["AUTH_FAILURE", "ERROR"]
    error = found[1]["payload"]
    assert (error["code"], error["message"]) == (1003, "Rate limited")
    assert 0 < error["retryAfter"] <= 60_000


# --- one row each -----------------------------------------------------------------


def stringified(frame: Frame, old: str, new: str) -> str:
    """The text of a message with one place of it written in another way."""
    text = stringify(frame).decode()
    assert text.count(old) == 1
    return text.replace(old, new)


def bundle(me: Letter, *, over_text: bool = False) -> Frame:
    key = fresh_key()
    return {"signedPreKey": key, "signature": me.signature(key.encode() if over_text else base64.b64decode(key))}


def signed_by(me: Letter, sign: Sign, kind: str, payload: Frame, **envelope: Any) -> Frame:
    bare = me.frame(kind, payload, **envelope)
    return {**bare, "signature": me.signature(sign(bare))}


def response(me: Letter, other: Letter) -> Frame:
    """As ours, but for the signature of the prekey."""
    key = fresh_key()
    known = {"signedPreKey": key, "preKeySignature": me.signature(base64.b64decode(key))}
    return signed_by(me, STRICT, "KEY_EXCHANGE_RESPONSE", {"targetId": other.id, "identityKey": me.public_key, **known})


def message(me: Letter, other: Letter, **payload: Any) -> Frame:
    """As ours, but for one member of its payload."""
    known = {
        "recipientId": other.id,
        "encrypted": "c2VjcmV0",
        "messageId": random_uuid(),
        "conversationId": "conversation",
    }
    return signed_by(me, STRICT, "MESSAGE", {**known, **payload}, id="1")


Row = Callable[[Letter, Letter], Frame | str]


def written_by(sign: Sign) -> Row:
    return lambda me, other: signed_by(me, sign, "MESSAGE", message(me, other)["payload"])


def init(me: Letter, other: Letter, **payload: Any) -> Frame:
    """As ours, but for one member of its payload."""
    return signed_by(me, STRICT, "KEY_EXCHANGE_INIT", {**me.init(other.id)["payload"], **payload})


def with_exponent(me: Letter, other: Letter) -> str:
    payload = {**message(me, other)["payload"], "metadata": {"expiresIn": 1000}}
    sent = signed_by(me, READINGS["the payload, canonical"], "MESSAGE", payload)
    return stringified(sent, '"expiresIn":1000', '"expiresIn":1e3')


ROWS: dict[str, tuple[Row, str]] = {
    **{f"signature over {name}": (written_by(sign), "signature") for name, sign in READINGS.items()},
    "key exchange with a signature over the payload": (lambda me, other: me.init(other.id), "signature"),
    "response with senderId and no targetId": (lambda me, _: me.response(), "field"),
    "prekey signed over its bytes": (response, "prekey-signature"),
    "offered prekey signed over its bytes": (
        lambda me, other: init(me, other, preKeyBundle=bundle(me)),
        "prekey-signature",
    ),
    "offered prekey signed over its text": (
        lambda me, other: init(me, other, preKeyBundle=bundle(me, over_text=True)),
        "prekey-signature",
    ),
    "time with a fraction": (lambda me, _: {**me.frame("PING"), "timestamp": wall_ms() + 0.5}, "field"),
    "time with an exponent": (lambda *_: '{"type":"PING","timestamp":1.75e12}', "field"),
    "signed time with a fraction": (
        lambda me, other: signed_by(me, PLAIN, "MESSAGE", me.message(other.id)["payload"], timestamp=wall_ms() + 0.25),
        "field",
    ),
    "expiry with a fraction": (lambda me, other: message(me, other, metadata={"expiresIn": 60_000.5}), "field"),
    "expiry with an exponent": (with_exponent, "field"),
    "unknown member of the envelope": (lambda me, _: {**me.frame("PING"), "version": 2}, "field"),
    "unknown member of the payload": (lambda me, other: message(me, other, contentType="text/plain"), "field"),
    "null for metadata": (lambda me, other: message(me, other, metadata=None), "field"),
    "null for id": (lambda me, _: {**me.frame("PING"), "id": None}, "field"),
    "null for the offered prekeys": (lambda me, other: me.init(other.id, preKeyBundle=None), "field"),
    "message id of another form": (lambda me, other: message(me, other, messageId="msg-1"), "field"),
    "conversation id of another form": (lambda me, other: message(me, other, conversationId="Grüße"), "field"),
    "base64 of the URL alphabet, without padding": (lambda me, other: message(me, other, encrypted="_-_-_w"), "base64"),
    "key without padding": (lambda me, other: me.init(other.id, identityKey=me.public_key.rstrip("=")), "field"),
    "acknowledgement without a sender": (
        lambda me, _: me.frame("MESSAGE_ACK", {"messageId": random_uuid(), "status": "read", "timestamp": wall_ms()}),
        "field",
    ),
    "typing without a conversation": (lambda me, _: me.frame("PRESENCE", {"status": "typing"}), "field"),
    "status with a user id": (lambda me, _: me.frame("PRESENCE", {"status": "idle", "userId": me.id}), "field"),
    "null for a conversation": (
        lambda me, _: me.frame("PRESENCE", {"status": "idle", "conversationId": None}),
        "field",
    ),
    "PING with a payload": (lambda me, _: me.frame("PING", {"now": 1}), "field"),
    "PING with a signature": (lambda me, _: me.signed("PING", {}), "field"),
}


def refusals(client: Letter, sent: Frame | str) -> list[str]:
    client.wire.send_text(sent if isinstance(sent, str) else stringify(sent).decode())
    return [word for word in map(reason, client.wire.settle()) if word]


@pytest.mark.parametrize(("row", "control"), ROWS.values(), ids=ROWS)
def test_letter_of_the_reference(letter: MakeLetter, row: Row, control: str) -> None:
    me, other = letter(user_id=base64_text(os.urandom(16))), letter(user_id=base64_text(os.urandom(20)))
    other.send(other.init(me.id))
    me.wire.until("KEY_EXCHANGE_INIT")
    assert refusals(me, row(me, other)) == []
    signs = letter(user_id=base64_text(os.urandom(16)), login=False).login_signed()
    assert refusals(signs, row(signs, other)) == [control], "the control: leniency is for unsigned sessions only"


@pytest.mark.parametrize(
    "row",
    [
        lambda me, other: {**me.message(other.id), "signature": base64_text(bytes(64))},
        lambda me, other: {**me.message(other.id), "signature": other.message(me.id)["signature"]},
        lambda me, other: {name: value for name, value in me.message(other.id).items() if name != "signature"},
        lambda me, other: {**(sent := me.message(other.id)), "payload": {**sent["payload"], "encrypted": "AAAA"}},
        lambda me, other: me.message(other.id, encrypted="?"),
        lambda me, other: me.message(other.id, messageId="x" * 129),
        lambda me, other: me.message(other.id, metadata={"expiresIn": -1}),
        lambda me, other: me.init(other.id, identityKey=other.public_key),
        lambda me, other: me.init(other.id, ephemeralKey=base64_text(bytes(32))),
        lambda me, other: me.init(other.id, preKeyBundle={**bundle(me), "signature": base64_text(bytes(64))}),
        lambda me, _: {**me.frame("PING"), "timestamp": "now"},
        lambda me, _: me.frame("PRESENCE", {"status": "busy"}),
        lambda me, _: me.frame("MESSAGE_ACK", {"messageId": "m", "status": "lost"}),
        lambda *_: '{"type":"PING","timestamp":1,"timestamp":2}',
        lambda me, other: stringified({**me.message(other.id), "x": "!"}, '"!"', '"\\ud800"'),
        lambda *_: '{"type":"PING","timestamp":1,"x":[[[[[[[[[[1]]]]]]]]]]}',
        lambda *_: '{"type":"PING","timestamp":NaN}',
        lambda *_: '{"type":"PING","timestamp":1e300}',
        lambda *_: '{"type":"PING","timestamp":1.5,"payload":7}',
    ],
)
def test_what_is_wrong_is_refused_as_ever(letter: MakeLetter, row: Row) -> None:
    me, other = letter(), letter()
    sent = row(me, other)
    client = me.wire
    client.send_text(sent if isinstance(sent, str) else stringify(sent).decode())
    answers = [frame for frame in client.settle() if frame["type"] != "PONG"]
    assert [answer["type"] for answer in answers] == ["ERROR"]
    assert other.wire.settle() == []


# --- what becomes of it -----------------------------------------------------------


def test_payload_is_passed_on_as_it_was_written(letter: MakeLetter) -> None:
    """So a recipient can check the signature: it takes ``senderId`` away and stringifies the rest."""
    alice, bob = letter(), letter()
    sent = alice.message(bob.id, zeta=1, alpha={"b": [1.50, None], "a": "ü"}, metadata={"expiresIn": 90_000.5})
    alice.send(sent)
    got = bob.wire.until("MESSAGE")
    assert list(got["payload"]) == [*sent["payload"], "senderId"]
    assert got["payload"].pop("senderId") == alice.id
    assert stringify(got["payload"]) == stringify(sent["payload"])
    assert (got["signature"], got["id"], got["timestamp"]) == (sent["signature"], sent["id"], sent["timestamp"])
    alice.key.verify_key.verify(stringify(got["payload"]), base64.b64decode(got["signature"]))


def test_response_with_its_own_sender_id_is_passed_on_whole(letter: MakeLetter) -> None:
    alice, bob = letter(), letter()
    alice.send(alice.init(bob.id))
    assert bob.wire.until("KEY_EXCHANGE_INIT")["payload"]["senderId"] == alice.id
    sent = bob.response()
    bob.send(sent)
    got = alice.wire.until("KEY_EXCHANGE_RESPONSE")
    assert stringify(got["payload"]) == stringify(sent["payload"])


def test_nobody_passes_for_another_sender(letter: MakeLetter) -> None:
    alice, bob, mallory = letter(), letter(), letter(sign=READINGS["the payload, canonical"])
    mallory.send(mallory.message(bob.id, senderId=alice.id))
    assert bob.wire.until("MESSAGE")["payload"]["senderId"] == mallory.id
    sent = stringified(mallory.init(bob.id, senderId=alice.id), '"senderId"', '"sender\\u0049d"')
    mallory.wire.send_text(sent)
    assert bob.wire.until("KEY_EXCHANGE_INIT")["payload"]["senderId"] == mallory.id


def test_responses_go_to_those_who_asked_in_their_order(letter: MakeLetter) -> None:
    bob, askers = letter(), [letter() for _ in range(3)]
    for asker in askers:
        asker.send(asker.init(bob.id))
        bob.wire.until("KEY_EXCHANGE_INIT")
    bob.send(bob.response(targetId=askers[1].id))
    for asker in (askers[1], askers[0], askers[2], askers[2]):
        bob.send(bob.response())
        assert asker.wire.until("KEY_EXCHANGE_RESPONSE")["payload"]["senderId"] == bob.id


def test_response_to_nobody_is_refused(letter: MakeLetter) -> None:
    bob = letter()
    answer = bob.ask(bob.response())
    assert answer["payload"]["details"] == {"reason": "field", "field": "payload.targetId"}


def test_same_response_serves_two_who_asked(letter: MakeLetter) -> None:
    """Its signature does not say to whom it goes: two of them are no replay."""
    bob, askers = letter(), [letter(), letter()]
    for asker in askers:
        asker.send(asker.init(bob.id))
        bob.wire.until("KEY_EXCHANGE_INIT")
    sent = bob.response()
    for asker in askers:
        bob.send(sent)
        asker.wire.until("KEY_EXCHANGE_RESPONSE")


def test_acknowledgement_reaches_who_sent_the_message(letter: MakeLetter) -> None:
    alice, bob, carol = letter(), letter(), letter()
    for sender in (alice, carol):
        sender.make_contacts(bob)
    for sender, name in ((alice, "m-1"), (carol, "m-2"), (alice, "m-3")):
        sender.send(sender.message(bob.id, name=name))
        bob.wire.until("MESSAGE")
        sender.wire.told({"payload": {"messageId": name}}, "delivered")
    for name, status in (("m-2", "read"), ("m-1", "read"), ("m-1", "burned")):
        bob.send(bob.frame("MESSAGE_ACK", {"messageId": name, "status": status, "timestamp": wall_ms()}))
    told = [
        members(frame, "messageId", "recipientId", "status")
        for frame in (alice.wire.until("MESSAGE_ACK"), alice.wire.until("MESSAGE_ACK"))
    ]
    assert told == [("m-1", bob.id, "read"), ("m-1", bob.id, "burned")]
    assert members(carol.wire.until("MESSAGE_ACK"), "messageId", "status") == ("m-2", "read")
    assert bob.answered(bob.frame("MESSAGE_ACK", {"messageId": "m-4", "status": "read", "timestamp": 1})) == []


@pytest.mark.parametrize("conversation", [{}, {"conversationId": "never used"}])
def test_typing_reaches_contacts(letter: MakeLetter, conversation: Frame) -> None:
    alice, bob, stranger = letter(), letter(), letter()
    alice.make_contacts(bob)
    alice.send(alice.message(stranger.id))
    stranger.wire.settle()
    bob.send(bob.frame("PRESENCE", {"status": "typing", **conversation}))
    notice = alice.wire.until("PRESENCE")["payload"]
    assert notice == {"userId": bob.id, "status": "typing", **conversation}
    assert stranger.wire.settle() == []


def test_message_encrypted_again_takes_the_place_of_the_first_and_repeated_one_does_not(letter: MakeLetter) -> None:
    alice, bob = letter(), letter()
    bob.wire.close()
    first, again = (alice.message(bob.id, name="m-1", encrypted=text) for text in ("Zmlyc3Q", "YWdhaW4="))
    for sent in (first, first, again):
        assert members(alice.ask(sent), "status") == ("accepted",)
    back = letter(user_id=bob.id, seed=bytes(bob.key))
    assert [frame["payload"]["encrypted"] for frame in back.wire.settle()] == ["YWdhaW4="]


def test_wrong_field_closes_nothing_soon(letter: MakeLetter) -> None:
    alice = letter()
    wrong = alice.frame("PRESENCE", {"status": "busy"})
    for _ in range(59):
        assert alice.ask(wrong)["type"] == "ERROR"
    alice.send(wrong)
    assert alice.wire.closed()[0] == 4003
    signs = letter(user_id=base64_text(os.urandom(16)), login=False).login_signed()
    for _ in range(9):
        signs.ask(wrong)
    signs.send(wrong)
    assert signs.wire.closed()[0] == 4003, "the control: ten for all others"
