"""Reference clients on a relay in the test's process; tests/reference has them on real sockets."""

import base64
from collections.abc import Iterator
from typing import Any, Final

import pytest

from phantom_messenger.relay.config import Config
from support.letter import PLAIN, READINGS, STRICT, Sign, stringify
from support.people import Frame, base64_text, key_text
from support.simulated import Client, World


@pytest.fixture
def world() -> Iterator[World]:
    """A relay that lets reference clients in."""
    made = World(Config(limits=False, reference_clients=True))
    yield made
    made.close()


class Loose:
    """Somebody whose login has no signature, and who takes ``sign(payload)`` for what they like.

    Args:
        world: where they log in.
        name: makes the key, and an id that is claimed.
        sign: what their signatures cover.
        user_id: another id.
    """

    def __init__(self, world: World, name: str, sign: Sign = PLAIN, *, user_id: str = "") -> None:
        self.person = world.person(name, user_id=user_id or base64_text(f"{name:-<20}".encode()))
        self.sign = sign
        self.client: Client = world.connect(self.person)
        [answer, *self.waited] = self.client.send(stringify(self.person.unsigned_auth()))
        assert answer["type"] == "AUTH_SUCCESS"

    def signed(self, kind: str, payload: Frame) -> bytes:
        bare = self.person.frame(kind, payload)
        return stringify({**bare, "signature": self.person.sign(self.sign(bare))})

    def message(self, to: str, **payload: Any) -> bytes:
        known = {
            "recipientId": to,
            "encrypted": "c2VjcmV0",
            "messageId": self.person.new_message_id(),
            "conversationId": "conversation",
        }
        return self.signed("MESSAGE", {**known, **payload})

    def init(self, to: str, *, covers: str = "bytes", **payload: Any) -> bytes:
        """``covers``: what the signature of the prekey does."""
        key = key_text("a prekey")
        text = {"bytes": base64.b64decode(key), "text": key.encode(), "nothing": b""}[covers]
        bundle = {"signedPreKey": key, "signature": self.person.sign(text)}
        known = {"targetId": to, "identityKey": self.person.public_key, "ephemeralKey": key_text("ephemeral")}
        return self.signed("KEY_EXCHANGE_INIT", {**known, "preKeyBundle": bundle, **payload})


ALL: Final = {**READINGS, "as we do": STRICT}


@pytest.mark.parametrize("sign", ALL.values(), ids=ALL)
def test_whatever_a_signature_covers_it_is_passed_on(world: World, sign: Sign) -> None:
    bob = Loose(world, "bob")
    alice = Loose(world, "alice", sign)
    for _ in range(2):
        assert alice.client.send(alice.message(bob.person.id))[0]["payload"]["status"] == "accepted"
        [routed] = bob.client.take("MESSAGE")
        assert routed["payload"]["senderId"] == alice.person.id


@pytest.mark.parametrize("sign", ALL.values(), ids=ALL)
def test_only_what_is_signed_by_the_strict_rules_reaches_one_who_signs(world: World, sign: Sign) -> None:
    bob = world.login("bob")
    alice = Loose(world, "alice", sign)
    for frame in (alice.message(bob.person.id), alice.init(bob.person.id)):
        [answer, *_] = alice.client.send(frame) or [{"type": "none"}]
        came = [one["type"] for one in bob.take()]
        if sign is STRICT and b"MESSAGE" in frame:
            assert (answer["type"], came) == ("MESSAGE_ACK", ["MESSAGE"])
        else:
            assert answer["payload"]["details"] == {"reason": "signature"}
            assert came == []


@pytest.mark.parametrize("ids", [("al", "bo"), ("alice@example.org", "Bücher, Bob")], ids=str)
def test_ids_may_be_any_words(world: World, ids: tuple[str, str]) -> None:
    alice, bob = (Loose(world, name, user_id=user_id) for name, user_id in zip(("alice", "bob"), ids, strict=True))
    known = {"messageId": "message 1", "conversationId": "a talk"}
    bob.client.send(bob.message(alice.person.id))
    alice.client.take()
    [accepted, *_] = alice.client.send(alice.message(bob.person.id, **known))
    assert (accepted["payload"]["messageId"], accepted["payload"]["recipientId"]) == ("message 1", ids[1])
    [routed] = bob.client.take("MESSAGE")
    assert routed["payload"] == {
        **known,
        "encrypted": "c2VjcmV0",
        "recipientId": ids[1],
        "senderId": ids[0],
    }
    read = {"messageId": "message 1", "senderId": ids[0], "status": "read"}
    assert bob.client.send(bob.person.frame("MESSAGE_ACK", read)) == []
    [told] = [frame for frame in alice.client.take("MESSAGE_ACK") if frame["payload"]["status"] == "read"]
    assert told["payload"]["messageId"] == "message 1"


@pytest.mark.parametrize("covers", ["bytes", "text"])
def test_signature_of_a_prekey_may_cover_it_alone(world: World, covers: str) -> None:
    bob, alice = Loose(world, "bob"), Loose(world, "alice")
    assert alice.client.send(alice.init(bob.person.id, covers=covers)) == []
    [routed] = bob.client.take("KEY_EXCHANGE_INIT")
    assert routed["payload"]["identityKey"] == alice.person.public_key


def test_signature_of_a_prekey_that_covers_nothing_of_it_is_refused(world: World) -> None:
    bob, alice = Loose(world, "bob"), Loose(world, "alice")
    [answer] = alice.client.send(alice.init(bob.person.id, covers="nothing"))
    assert answer["payload"]["code"] == 1005
    assert bob.client.take() == []


def test_signature_of_another_is_none(world: World) -> None:
    bob, alice = Loose(world, "bob"), Loose(world, "alice")
    alice.sign = lambda envelope: PLAIN(envelope) + b" "
    [answer] = alice.client.send(alice.message(bob.person.id))
    assert answer["payload"]["details"] == {"reason": "signature"}
    assert bob.client.take() == []


def test_exchange_that_is_signed_over_its_payload_alone_may_come_again(world: World) -> None:
    """Such a signature does not say to whom it goes; one by the strict rules is taken once."""
    bob, alice = Loose(world, "bob"), Loose(world, "alice")
    again = alice.init(bob.person.id)
    assert [alice.client.send(again), alice.client.send(again)] == [[], []]
    strict = world.login("carol")
    once = strict.person.init(bob.person)
    strict.send(once)
    assert strict.ask(once)["payload"]["details"] == {"reason": "replayed"}


def test_members_are_passed_on_as_they_were_written(world: World) -> None:
    bob, alice = Loose(world, "bob"), Loose(world, "alice")
    sent = alice.message(bob.person.id, zebra=1, another={"b": 1, "a": [1, 2]})
    alice.client.send(sent)
    text = bob.client.connection.written[-1]
    payload = sent.partition(b'"payload":')[2].partition(b',"signature"')[0]
    assert payload[:-1] + b',"senderId":"%b"}' % alice.person.id.encode() in text


def test_message_acknowledged_by_its_id_alone_is_the_one_that_was_given(world: World) -> None:
    bob, alice = Loose(world, "bob"), Loose(world, "alice")
    bob.client.send(bob.message(alice.person.id))
    alice.client.take()
    alice.client.send(alice.message(bob.person.id))
    alice.client.take()
    [routed] = bob.client.take("MESSAGE")
    name = routed["payload"]["messageId"]
    assert bob.client.send(bob.person.frame("MESSAGE_ACK", {"messageId": name, "status": "read"})) == []
    assert [frame["payload"]["status"] for frame in alice.client.take("MESSAGE_ACK")] == ["read"]
    unknown = bob.person.new_message_id()
    assert bob.client.send(bob.person.frame("MESSAGE_ACK", {"messageId": unknown, "status": "read"})) == []
    assert alice.client.take() == []


@pytest.mark.parametrize("sign", [PLAIN, STRICT], ids=["loose", "as we do"])
def test_message_encrypted_again_takes_the_place_of_the_first(world: World, sign: Sign) -> None:
    alice = Loose(world, "alice", sign)
    bob = Loose(world, "bob")
    bob.client.drop()
    name = alice.person.new_message_id()
    for encrypted in ("QUJD", "QUJE", "QUJE"):
        alice.client.send(alice.message(bob.person.id, messageId=name, encrypted=encrypted))
    bob = Loose(world, "bob")
    assert [frame["payload"]["encrypted"] for frame in bob.waited if frame["type"] == "MESSAGE"] == ["QUJE"]
