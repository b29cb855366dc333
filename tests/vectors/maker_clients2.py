"""Makes ``suite2-clients.json``: whole clients that know suite 2, at a relay and beside peers that may do them harm."""

import base64
import uuid
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

import msgspec
from client_samples import DATED_FIELDS, DAY, pass_time, settle, with_field, without_field
from maker_base import Json, drawn, file_of, flipped
from maker_scene import Play, Scene, Witness, played

from phantom_messenger.client.content import LEAST_PADDED, Ends, Receipt, Text
from phantom_messenger.crypto import body, padding, primitives
from phantom_messenger.engines.sqlite import prekeys
from phantom_messenger.labels import KEM_PREKEY, prekey_bundle
from phantom_messenger.wire import signing
from support.people import Frame, canonical
from support.simulated import MINUTE, SECOND

HEAD_BYTES: Final = 102
"""Of a head that carries nothing."""

FIRST_HEAD_BYTES: Final = 1_266
"""Of a head with a handshake header."""


def newcomers(scene: Scene, *listed: str) -> tuple[Witness, Witness]:
    """Alice and Bob, who are online and have added each other."""
    alice, bob = (scene.person(name, listed=name in (listed or ("alice", "bob"))) for name in ("alice", "bob"))
    bob.login()
    alice.login()
    alice.add(bob)
    bob.add(alice)
    return alice, bob


def later(milliseconds: int, *people: Witness) -> None:
    """Time passes while nobody is connected."""
    for one in people:
        one.cut()
    people[0].world.clock.advance(milliseconds)
    people[0].world.tick()
    for one in people:
        one.login()
    settle(*people)


# --- what goes well -------------------------------------------------------------------


def first_contact(scene: Scene) -> None:
    alice, bob = newcomers(scene)
    number = alice.write(bob, "hello")
    settle(alice, bob)
    bob.messenger.mark_read(alice.id, number)
    pass_time(3 * SECOND, alice, bob)
    answer = bob.write(alice, "hello yourself")
    settle(alice, bob)
    alice.messenger.mark_read(bob.id, answer)
    pass_time(3 * SECOND, alice, bob)


def acquainted(scene: Scene, *listed: str) -> tuple[Witness, Witness]:
    """Alice and Bob after ``first_contact``; those who are not named are listed no more."""
    alice, bob = scene.go_on("suite2-first-contact", first_contact)
    for one in (alice, bob):
        one.is_listed = one.name in (listed or ("alice", "bob"))
    return alice, bob


def both_at_once(scene: Scene) -> None:
    alice, bob = newcomers(scene, "alice")
    alice.write(bob, "from alice")
    bob.write(alice, "from bob")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def kem_steps(scene: Scene) -> None:
    alice, bob = acquainted(scene, "alice")
    for first, second in ((bob, alice), (alice, bob)):
        later(7 * DAY, alice, bob)
        for one, other in ((second, first), (first, second), (second, first)):
            one.write(other, "a turn")
            settle(alice, bob)
        pass_time(3 * SECOND, alice, bob)


def burning(scene: Scene) -> None:
    alice, bob = acquainted(scene, "bob")
    number = alice.write(bob, "burn me", burn=True)
    alice.write(bob, "gone in ten seconds", expires_in=10 * SECOND)
    settle(alice, bob)
    bob.messenger.mark_read(alice.id, number)
    pass_time(12 * SECOND, alice, bob)


def burned(scene: Scene) -> None:
    alice, bob = acquainted(scene, "alice")
    number = alice.write(bob, "burn me", burn=True)
    alice.write(bob, "gone in ten seconds", expires_in=10 * SECOND)
    settle(alice, bob)
    bob.messenger.mark_read(alice.id, number)
    pass_time(12 * SECOND, alice, bob)


def healing(scene: Scene) -> None:
    alice, bob = acquainted(scene)
    bob.forget_sessions(alice)
    alice.write(bob, "can you read this?")
    settle(alice, bob)
    pass_time(5 * SECOND, alice, bob)


def stranger(scene: Scene) -> None:
    alice, bob = (scene.person(name, listed=name == "bob") for name in ("alice", "bob"))
    alice.login()
    bob.login()
    alice.add(bob)
    settle(alice, bob)
    alice.write(bob, "you do not know me")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    bob.accept(alice)
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def upgraded(scene: Scene) -> None:
    """Bob's program knows suite 1 alone, until it is updated."""
    alice, bob = (scene.person(name, listed=name == "alice") for name in ("alice", "bob"))
    bob.is_old = True
    bob.login()
    alice.login()
    alice.add(bob)
    bob.add(alice)
    bob.write(alice, "in suite 1")
    settle(alice, bob)
    alice.write(bob, "not before I may")
    pass_time(3 * SECOND, alice, bob)
    alice.allow_older(bob)
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    bob.is_old = False
    later(DAY, alice, bob)
    alice.write(bob, "in suite 1, and with a question")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    alice.write(bob, "in suite 2")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


# --- what is newer --------------------------------------------------------------------

Write = Callable[[Json], bytes]


def written_by(write: Write) -> Callable[..., bytes]:
    """A client that writes its texts in another way; ``write`` gets the members of a text."""

    def encode(said: Text | Receipt, ends: Ends, *, suite: int) -> bytes:
        del suite
        common = {"version": 2, "sentAt": said.sent_at, "sender": ends.sender, "senderKey": ends.sender_key}
        return write({"kind": "text", **common, "body": said.body if isinstance(said, Text) else ""})

    return encode


def padded(members: Any) -> bytes:
    return padding.pad(msgspec.msgpack.encode(members), LEAST_PADDED, body.MAX_PADDED)


def with_members(**changes: Any) -> Write:
    """The text with other members; those that are None are left out, but for ``extra``, which is there and nil."""
    return lambda members: padded(
        {name: value for name, value in {**members, **changes}.items() if value is not None or name == "extra"}
    )


NEWER: Final[dict[str, Write]] = {
    "with fields that this version does not know": with_members(color=["red", 1], extra=None),
    "of a kind that it does not know": with_members(kind="picture", caption="a cat", body=None),
    "of a version that it does not know": with_members(version=3),
}


def newer(scene: Scene) -> None:
    alice, bob = acquainted(scene, "bob")
    numbers = []
    for text, write in NEWER.items():
        alice.crafts = written_by(write)
        numbers.append(alice.write(bob, text))
        settle(alice, bob)
    alice.crafts = written_by(with_members(kind="picture", body=None))
    numbers.append(alice.write(bob, "", burn=True))
    settle(alice, bob)
    alice.crafts = None
    for number in numbers:
        bob.messenger.mark_read(alice.id, number)
    pass_time(3 * SECOND, alice, bob)


# --- what must be refused -------------------------------------------------------------


def _beside(pair: bytes) -> Write:
    """The text with one more entry, as these bytes."""

    def write(members: Json) -> bytes:
        encoded = msgspec.msgpack.encode(members)
        return padding.pad(bytes((encoded[0] + 1,)) + encoded[1:] + pair, LEAST_PADDED)

    return write


CONTENTS: Final[dict[str, Write]] = {
    "no map": lambda members: padded(list(members.values())),
    "something behind the map": lambda members: padding.pad(msgspec.msgpack.encode(members) + b"\1", LEAST_PADDED),
    "a field twice": _beside(b"\xa4body\xa1b"),
    "a field twice, inside": _beside(b"\xa1x\x82\xa1y\1\xa1y\1"),
    "a name that is no text": _beside(b"\7\1"),
    "a float": _beside(b"\xa1x\xcb" + bytes(8)),
    "an extension type": _beside(b"\xa1x\xd4\1\0"),
    "not UTF-8": _beside(b"\xa1x\xa3\xed\xa0\xbd"),
    "9 levels": _beside(b"\xa1x" + b"\x91" * 7 + b"\x90"),
    "no time": with_members(sentAt=None),
    "a kind in capital letters": with_members(kind="TEXT"),
    "version 1": with_members(version=1),
    "another sender": with_members(sender=b"m" * 32),
    "another key": with_members(senderKey=b"m" * 32),
    "another sender of an unknown kind": with_members(kind="picture", sender=b"m" * 32),
    "no body": with_members(body=None),
    "a body that is no text": with_members(body=b"text"),
    "a receipt that is no array": with_members(kind="receipt", body=None, read=7),
    "wrong padding": lambda members: msgspec.msgpack.encode(members).ljust(LEAST_PADDED, b"\1"),
}


def contents(scene: Scene) -> None:
    alice, bob = acquainted(scene, "bob")
    for write in CONTENTS.values():
        alice.crafts = written_by(write)
        alice.write(bob, "refused")
        settle(alice, bob)
    alice.crafts = None
    alice.write(bob, "and this one is read")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


class Forger:
    """Sits at the relay, and has somebody's key: changes what goes to a client, and signs it as its sender."""

    def __init__(self, victim: Witness, signer: Witness, name: str) -> None:
        self._victim, self._signer, self._name = victim, signer, name
        self._count = 0
        self.kept: list[Frame] = []

    def keep(self) -> None:
        """From now on, messages are kept in place of being delivered."""

        def tamper(frame: Frame) -> list[Frame]:
            if frame["type"] != "MESSAGE":
                return [frame]
            self.kept.append(frame)
            return []

        self._victim.tamper = tamper

    def changed(self, frame: Frame, encrypted: bytes, **payload: Any) -> Frame:
        """The frame with another message, under an id of its own, and signed."""
        self._count += 1
        number = str(uuid.UUID(bytes=drawn(f"{self._name}/{self._count}", 16), version=4))
        text = base64.b64encode(encrypted).decode()
        found = {**frame["payload"], "encrypted": text, "messageId": number, **payload}
        bare = {name: value for name, value in found.items() if name != "senderId"}
        envelope = {"type": "MESSAGE", "timestamp": frame["timestamp"], "payload": bare}
        mark = self._signer.messenger._identity.sign(signing.envelope_bytes(canonical(envelope)))
        signature = base64.b64encode(mark).decode()
        return {**envelope, "payload": found, "signature": signature, "seq": 1_000 + self._count}

    def deliver(self, *found: Frame) -> None:
        """Put frames on the way."""
        self._victim.tamper = None
        self._victim.down += [canonical(frame) for frame in found]


def sealed(frame: Frame) -> bytes:
    """The message in a frame."""
    return base64.b64decode(frame["payload"]["encrypted"])


def forged(scene: Scene) -> None:
    alice, bob = acquainted(scene, "bob")
    forger = Forger(bob, alice, "suite 2/forged")
    forger.keep()
    alice.write(bob, "true")
    alice.write(bob, "true as well")
    settle(alice, bob)
    true, other = forger.kept
    message = sealed(true)
    head, sealed_body = message[:HEAD_BYTES], message[HEAD_BYTES:]
    dh, number = head[2:34], head[38:42]
    far = (int.from_bytes(number, "big") + 257).to_bytes(4, "big")
    changed = [
        flipped(message, 60),
        flipped(message, HEAD_BYTES - 1),
        flipped(message, HEAD_BYTES + 1),
        flipped(message, HEAD_BYTES + 40),
        flipped(message, len(message) - 1, 128),
        head + sealed(other)[HEAD_BYTES:],
        head[:38] + far + head[42:] + sealed_body,
        head[:2] + flipped(dh, 31, 128) + head[34:] + sealed_body,
        head[:2] + drawn("suite 2/forged/another ratchet key", 31) + b"\0" + head[34:] + sealed_body,
        head[:1] + b"\4" + message[2:],
        head[:1] + b"\2" + message[2:],
        message[:-3],
        message + bytes(3),
        sealed_body,
        b"\2",
        b"\3" + message[1:],
        b"\3",
        b"\0",
    ]
    badly_signed = with_field(forger.changed(true, message), conversationId="another")
    elsewhere = forger.changed(true, message, recipientId=alice.id)
    forger.deliver(badly_signed, elsewhere, *(forger.changed(true, one) for one in changed), true, true, other)
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def forged_beginnings(scene: Scene) -> None:
    """Each of these is a first message."""
    alice, bob = newcomers(scene, "bob")
    mallory = scene.person("mallory", listed=False)
    forger, stranger = Forger(bob, alice, "suite 2/beginnings"), Forger(bob, mallory, "suite 2/by a stranger")
    forger.keep()
    with patch.object(prekeys, "PREKEY_HOUR_PER_TARGET", 0):
        # With a key that is used once, the last of these messages would be unreadable for that alone.
        alice.write(bob, "true")
        settle(alice, bob)
    [true] = forger.kept
    message = sealed(true)

    def with_part(place: int, value: bytes) -> bytes:
        return message[: 2 + place] + value + message[2 + place + len(value) :]

    mallorys = with_part(0, mallory.messenger._identity.peer.public)
    bad = [
        with_part(64, bytes(4)),
        with_part(72, bytes(4)),
        with_part(64, b"\0\0\0\5"),
        with_part(68, b"\0\0\0\5"),
        with_part(72, b"\0\0\0\5"),
        with_part(32, bytes(32)),
        flipped(message, 2 + 76),
        flipped(message, FIRST_HEAD_BYTES - 20),
    ]
    frames = [
        *(forger.changed(true, one) for one in bad),
        forger.changed(true, mallorys),
        stranger.changed(true, mallorys),
    ]
    forger.deliver(*frames, true)
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    bob.forget_sessions(alice)
    forger.deliver(forger.changed(true, message))
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def _bundle_changes(alice: Witness, bob: Witness) -> list[Callable[[Frame], Frame]]:
    """What a relay makes of Bob's prekeys; whatever Bob must have signed for it, he has."""
    identity = bob.messenger._identity

    def dated(frame: Frame, by: int) -> Frame:
        payload = frame["payload"]
        last = payload.get("lastResortKemPreKey")
        if last is None:
            kem_id, digest = payload["kemPreKeyId"], primitives.sha256(base64.b64decode(payload["kemPreKey"]))
        else:
            kem_id, digest = last["id"], base64.b64decode(last["digest"])
        made_at = payload["madeAt"] + by
        signed = prekey_bundle(
            made_at=made_at,
            signed_id=payload["signedPreKeyId"],
            signed_prekey=base64.b64decode(payload["signedPreKey"]),
            kem_id=kem_id,
            kem_digest=digest,
            user_id=identity.peer.user_id,
        )
        return with_field(frame, madeAt=made_at, bundleSignature=base64.b64encode(identity.sign(signed)).decode())

    def another_digest(frame: Frame) -> Frame:
        last = {**frame["payload"]["lastResortKemPreKey"], "digest": base64.b64encode(bytes(32)).decode()}
        return with_field(frame, lastResortKemPreKey=last)

    def another_kem_prekey(frame: Frame) -> Frame:
        key = drawn("suite 2/bundles/seed", 64)
        public = primitives.kem_public(key)
        mark = alice.messenger._identity.sign(KEM_PREKEY + public)
        return with_field(
            frame,
            kemPreKey=base64.b64encode(public).decode(),
            kemPreKeySignature=base64.b64encode(mark).decode(),
        )

    return [
        another_digest,
        another_kem_prekey,
        lambda frame: with_field(frame, madeAt=frame["payload"]["madeAt"] + 1),
        lambda frame: with_field(frame, identityKey=base64.b64encode(alice.messenger._identity.peer.public).decode()),
        lambda frame: without_field(frame, *DATED_FIELDS),
        lambda frame: without_field(frame, "lastResortKemPreKey"),
        lambda frame: without_field(frame, "kemPreKey", "kemPreKeyId", "kemPreKeySignature", "lastResortKemPreKey"),
        lambda frame: dated(frame, -91 * DAY),
        lambda frame: dated(frame, 2 * DAY),
        lambda frame: dated(frame, alice.messenger._stores.book.get(bob.id).newest - 1 - frame["payload"]["madeAt"]),
    ]


def bundles(scene: Scene) -> None:
    """Each time that Alice asks, the relay has another lie."""
    alice, bob = newcomers(scene, "alice")
    *changes, older = _bundle_changes(alice, bob)

    def tamper(frame: Frame) -> list[Frame]:
        is_bundle = frame["type"] == "KEY_EXCHANGE_RESPONSE" and changes
        return [changes.pop(0)(frame) if is_bundle else frame]

    alice.tamper = tamper
    alice.write(bob, "not with these")
    settle(alice, bob)
    while changes:
        bob.cut()
        bob.login()
        later(15 * MINUTE, alice, bob)
    later(15 * MINUTE, alice, bob)
    pass_time(3 * SECOND, alice, bob)
    changes.append(older)
    alice.forget_sessions(bob)
    alice.write(bob, "nor with older ones")
    settle(alice, bob)


def fallen(scene: Scene) -> None:
    """After suite 2, Bob writes in suite 1: what he wrote is shown, and nothing is sent in it until Alice says so."""
    alice, bob = acquainted(scene, "alice")
    bob.forget_sessions(alice)
    later(DAY, alice, bob)
    bob.is_old = True
    bob.cut()
    bob.login()
    alice.tamper = lambda frame: [
        without_field(frame, *DATED_FIELDS) if frame["type"] == "KEY_EXCHANGE_RESPONSE" else frame
    ]
    bob.write(alice, "in suite 1")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    alice.forget_sessions(bob)
    alice.write(bob, "not in suite 1")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    alice.allow_older(bob)
    later(15 * MINUTE, alice, bob)
    pass_time(3 * SECOND, alice, bob)


SCENES: Final[dict[str, tuple[str, Play]]] = {
    "suite2-first-contact": ("two who have added each other write for the first time, and read", first_contact),
    "suite2-both-at-once": ("both begin a session at once", both_at_once),
    "suite2-kem-steps": ("seven days pass twice: Alice offers a KEM key, and answers one", kem_steps),
    "suite2-burning": ("a text that burns and one that expires arrive", burning),
    "suite2-burned": ("a text that burns and one that expires are sent", burned),
    "suite2-healing": ("Bob has lost his sessions, asks for what he cannot read, and gets it again", healing),
    "suite2-stranger": ("what a stranger writes waits unread, and nothing is told, until it is accepted", stranger),
    "suite2-upgraded": ("Bob's program knows suite 1 alone, which Alice allows; then it is updated", upgraded),
    "suite2-newer": ("contents with fields, of kinds and of versions that Bob's client does not know", newer),
    "suite2-fallen": ("suite 1 after suite 2: read, but nothing is sent in it until the user allows it", fallen),
    "suite2-contents": ("contents that must be refused, one after the other, and one that is read", contents),
    "suite2-forged": ("messages that were changed by somebody who can sign them, and then true ones", forged),
    "suite2-forged-beginnings": ("first messages that were changed, a true one, and that again", forged_beginnings),
    "suite2-bundles": ("prekeys that must be refused, one after the other, and then true ones", bundles),
}


def suite2_clients_json() -> Json:
    """The whole file."""
    return file_of(
        "Conversations of whole clients in suite 2: what each gets, sends, stores and tells its user.",
        scenes=played(SCENES, suite=2),
    )
