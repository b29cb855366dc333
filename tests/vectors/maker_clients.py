"""Makes ``clients.json``: conversations of whole clients that know suite 1, over a simulated relay."""

import base64
from typing import Final

from client_samples import pass_time, settle, without_field
from maker_base import Json, file_of
from maker_scene import Play, Scene, Witness, played

from phantom_messenger.wire import signing
from support.people import Frame, canonical
from support.simulated import SECOND


def first_contact(scene: Scene) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
    bob.login()
    alice.login()
    alice.add(bob)
    bob.add(alice)
    number = alice.write(bob, "hello")
    settle(alice, bob)
    bob.messenger.mark_read(alice.id, number)
    pass_time(3 * SECOND, alice, bob)
    answer = bob.write(alice, "hello yourself")
    settle(alice, bob)
    alice.messenger.mark_read(bob.id, answer)
    pass_time(3 * SECOND, alice, bob)


def both_at_once(scene: Scene) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
    alice.login()
    bob.login()
    alice.add(bob)
    bob.add(alice)
    alice.write(bob, "from alice")
    bob.write(alice, "from bob")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def greetings(scene: Scene) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
    alice.login()
    bob.login()
    alice.add(bob)
    bob.add(alice)
    settle(alice, bob)
    alice.write(bob, "hello")
    settle(alice, bob)
    bob.write(alice, "hello yourself")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def friends(scene: Scene) -> tuple[Witness, Witness]:
    """Alice and Bob after ``greetings``."""
    alice, bob = scene.go_on("greetings", greetings)
    return alice, bob


def healing(scene: Scene) -> None:
    alice, bob = friends(scene)
    bob.forget_sessions(alice)
    alice.write(bob, "can you read this?")
    settle(alice, bob)
    pass_time(5 * SECOND, alice, bob)


def again(scene: Scene) -> None:
    alice, bob = friends(scene)
    kept: list[Frame] = []

    def keep(frame: Frame) -> list[Frame]:
        kept.append(frame)
        return [frame]

    bob.tamper = keep
    alice.write(bob, "once")
    settle(alice, bob)
    bob.tamper = None
    pass_time(3 * SECOND, alice, bob)
    [delivered] = [frame for frame in kept if frame["type"] == "MESSAGE"]
    bob.down.append(canonical(delivered))
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def accepted_late(scene: Scene) -> None:
    alice, bob = friends(scene)
    held: list[Frame] = []

    def hold(frame: Frame) -> list[Frame]:
        if frame["type"] == "MESSAGE_ACK" and frame["payload"]["status"] == "accepted":
            held.append(frame)
            return []
        return [frame]

    alice.tamper = hold
    number = alice.write(bob, "the relay's word comes last")
    settle(alice, bob)
    bob.messenger.mark_read(alice.id, number)
    pass_time(3 * SECOND, alice, bob)
    alice.tamper = None
    alice.down += [canonical(frame) for frame in held]
    settle(alice, bob)


def for_another(scene: Scene) -> None:
    alice, bob = friends(scene)
    carol = scene.person("carol")
    carol.login()
    carol.add(bob)
    bob.add(carol)
    settle(alice, bob, carol)
    kept: list[Frame] = []

    def keep(frame: Frame) -> list[Frame]:
        kept.append(frame)
        return [frame]

    carol.tamper = keep
    bob.write(carol, "for Carol alone")
    settle(alice, bob, carol)
    [delivered] = [frame for frame in kept if frame["type"] == "MESSAGE"]
    alice.down.append(canonical(delivered))
    settle(alice, bob, carol)
    pass_time(3 * SECOND, alice, bob, carol)


def burning(scene: Scene) -> None:
    alice, bob = friends(scene)
    number = alice.write(bob, "burn me", burn=True)
    alice.write(bob, "gone in ten seconds", expires_in=10 * SECOND)
    settle(alice, bob)
    bob.messenger.mark_read(alice.id, number)
    pass_time(20 * SECOND, alice, bob)


def stranger(scene: Scene) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
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


def blocked(scene: Scene) -> None:
    # Not after the scene ``greetings``: with the keys that are drawn here, Bob goes on in a session of his own.
    greetings(scene)
    alice, bob = scene.people
    bob.messenger.block(alice.id)
    settle(alice, bob)
    alice.write(bob, "are you there?")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def no_kem_key(scene: Scene) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
    bob.login()

    def strip(frame: Frame) -> list[Frame]:
        return [without_field(frame, "kemPreKey", "kemPreKeyId", "kemPreKeySignature")]

    alice.tamper = strip
    alice.login()
    alice.add(bob)
    alice.write(bob, "not without a post-quantum key")
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)


def passed_on(scene: Scene) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
    alice.login()
    bob.login()
    kept: list[Frame] = []

    def keep(frame: Frame) -> list[Frame]:
        if frame["type"] != "KEY_EXCHANGE_RESPONSE":
            return [frame]
        kept.append(frame)
        return []

    alice.tamper = keep
    alice.add(bob)
    settle(alice, bob)
    alice.tamper = None
    [bundle] = kept
    payload = {name: value for name, value in bundle["payload"].items() if name != "senderId"}
    answer = {"payload": {**payload, "targetId": alice.id}, "timestamp": bundle["timestamp"]}
    answer["type"] = "KEY_EXCHANGE_RESPONSE"
    mark = bob.messenger._identity.sign(signing.envelope_bytes(canonical(answer)))
    signed = {**answer, "seq": 99, "signature": base64.b64encode(mark).decode()}
    signed["payload"] = {**answer["payload"], "senderId": bob.id}
    alice.down.append(canonical(signed))
    alice.write(bob, "from what you said yourself")
    settle(alice, bob)


def two_warnings(scene: Scene) -> None:
    alice, bob = friends(scene)
    warning: Json = {
        "payload": {"kemPreKeys": 0, "oneTimePreKeys": 0},
        "timestamp": scene.world.clock.wall_ms(),
        "type": "PREKEY_STATUS",
    }
    alice.down += [canonical(warning), canonical(warning)]
    settle(alice, bob)


SCENES: Final[dict[str, tuple[str, Play]]] = {
    "first-contact": ("two who have added each other write for the first time, and read", first_contact),
    "greetings": ("two who have added each other write a text each; others go on after it", greetings),
    "both-at-once": ("both begin a session at once", both_at_once),
    "healing": ("Bob has lost his sessions, asks for what he cannot read, and gets it again", healing),
    "again": ("a message comes twice", again),
    "accepted-late": ("`accepted` comes when `read` is known already", accepted_late),
    "for-another": ("the relay gives Alice what Bob has signed for Carol", for_another),
    "burning": ("a text that burns and one that expires", burning),
    "stranger": ("what a stranger writes waits unread, and nothing is told, until it is accepted", stranger),
    "blocked": ("Bob has blocked Alice", blocked),
    "no-kem-key": ("the relay takes the post-quantum key out of a bundle: nothing leaves", no_kem_key),
    "passed-on": ("prekeys come from their owner, passed on, and not from the relay's store", passed_on),
    "two-warnings": ("two warnings of PREKEY_STATUS come in a row", two_warnings),
}


def clients_json() -> Json:
    """The whole file."""
    return file_of(
        "Conversations of whole clients over a relay: what each gets, sends, stores and tells its user.",
        scenes=played(SCENES, suite=1),
    )
