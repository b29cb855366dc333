"""Makes ``clients.json``: conversations of whole clients over a simulated relay, written down step by step."""

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from client_record import Facts, Json, changes, facts, lose_sessions, sends, tells, watched
from client_samples import KEY, MEMORY, Device, Town, pass_time, settle, without_field
from maker_base import drawn, file_of, named

from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire import signing
from support.people import Frame, canonical
from support.simulated import SECOND, World

PURPOSES: Final = {
    "_identity_of": "identity seed",
    "Messenger.send_text": "message id",
    "Batching._put": "message id of a receipt",
    "KeyExchanges.want": "ephemeral key",
    "PreKeyStore._make": "prekey",
    "encapsulate": "kem_m",
    "start": "ratchet key",
    "_dh_ratchet": "ratchet key",
    "encrypt": "nonce",
}
"""Whose call draws what."""


class Recorded(Messenger):
    """A client that writes down all it lives through."""

    step: Callable[[Json], Any]

    def connected(self, audience: str) -> None:
        with self.step({"do": "connect", "audience": audience}):
            super().connected(audience)

    def disconnected(
        self, code: int | None, reason: str, *, retry_after: float | None = None, busy: bool = False
    ) -> bool:
        with self.step({"do": "disconnect", "code": code}):
            return super().disconnected(code, reason, retry_after=retry_after, busy=busy)

    def receive(self, text: str | bytes) -> None:
        with self.step({"do": "receive", "text": text}):
            super().receive(text)

    def tick(self) -> None:
        with self.step({"do": "tick"}):
            super().tick()

    def send_text(self, peer: str, text: str, *, burn: bool = False, expires_in: int | None = None) -> OutboxRecord:
        with self.step(
            {"do": "write", "user_id": peer, "body": text, "burn_after_read": burn, "expires_in": expires_in}
        ):
            return super().send_text(peer, text, burn=burn, expires_in=expires_in)

    def block(self, peer: str) -> None:
        with self.step({"do": "block", "user_id": peer}):
            super().block(peer)

    def mark_read(self, sender: str, message_id: str) -> None:
        with self.step({"do": "read", "user_id": sender, "message": message_id}):
            super().mark_read(sender, message_id)


class Witness(Device):
    """A device whose client is recorded."""

    def __init__(self, scene: "Scene", name: str) -> None:
        self.scene = scene
        self._draws: list[Json] = []
        self._encrypted: list[Json] = []
        self._facts: Facts = {}
        self._counts = 0
        super().__init__(scene.town.world, scene.town.folder / name, name)

    def _start(self, path: Path) -> None:
        self.vault = Vault(path, KEY)
        with self.step({"do": "open"}):
            self.messenger = Recorded(
                self.vault,
                wall=self.world.clock.wall_ms,
                monotonic=self.world.clock.monotonic_ms,
                random=lambda size: self._draw(size, ""),
            )
            self.messenger.step = self.step

    def _draw(self, size: int, purpose: str) -> bytes:
        self._counts += 1
        value = drawn(f"clients/{self.scene.name}/{self.name}/{self._counts}", size)
        self._draws.append({"purpose": purpose or _purpose(), "value": value.hex()})
        return value

    @contextmanager
    def step(self, done: Json) -> Iterator[None]:
        """One step of this client; what comes of it is written down."""
        self._draws.clear()
        self._encrypted.clear()
        with watched(self._draw, self._encrypted):
            yield
        texts, events = self.messenger.drain(), self.messenger.drain_events()
        self.up += texts
        self.events += events
        before, self._facts = self._facts, facts(self.vault)
        expect = {
            "sends": sends(texts, self._encrypted),
            "stores": changes(before, self._facts),
            "tells": tells(events),
        }
        if done["do"] == "tick" and not any(expect.values()):
            return
        self.scene.steps.append(
            {
                "client": self.name,
                "at": self.world.clock.wall_ms(),
                **done,
                "randomness": list(self._draws),
                "expect": {name: value for name, value in expect.items() if value},
            }
        )

    def add(self, other: "Witness") -> None:
        """Give the other one's id a name."""
        with self.step({"do": "add", "contact": other.name, "user_id": other.id}):
            self.messenger.contacts.add(other.name, other.id)

    def accept(self, other: "Witness") -> None:
        """Let a stranger in."""
        with self.step({"do": "accept", "user_id": other.id}):
            self.messenger.contacts.let_in(other.id)

    def forget_sessions(self, other: "Witness") -> None:
        """The disk has lost the sessions with somebody."""
        with self.step({"do": "lose-sessions", "user_id": other.id}):
            lose_sessions(self.messenger, self.vault, other.id)

    def write(self, other: "Witness", text: str, **options: Any) -> str:
        """Send a text; its message id."""
        return self.messenger.send_text(other.id, text, **options).message_id


class Scene:
    """A conversation in the making."""

    def __init__(self, name: str, description: str, folder: Path) -> None:
        self.name, self.description = name, description
        self.steps: list[Json] = []
        self.world = World()
        self.town = Town(self.world, folder)
        self.people: list[Witness] = []

    def person(self, name: str) -> Witness:
        """Somebody whose client has not connected yet."""
        self.people.append(Witness(self, name))
        return self.people[-1]

    def friends(self) -> tuple[Witness, Witness]:
        """Alice and Bob, who have added each other, are online and have exchanged a text each."""
        alice, bob = self.person("alice"), self.person("bob")
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
        return alice, bob

    def listed(self) -> Json:
        """All of it."""
        return {
            "name": self.name,
            "description": self.description,
            "clients": [{"name": one.name, "user_id": one.id} for one in self.people],
            "steps": self.steps,
        }

    def close(self) -> None:
        """End it."""
        for one in self.people:
            one.close()
        self.town.close()
        self.world.close()


def _purpose() -> str:
    frame = sys._getframe(2)
    for _ in range(4):
        if found := PURPOSES.get(frame.f_code.co_qualname):
            return found
        if frame.f_back is None:
            break
        frame = frame.f_back
    raise LookupError(frame.f_code.co_qualname)


# --- the scenes -------------------------------------------------------------------


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


def healing(scene: Scene) -> None:
    alice, bob = scene.friends()
    bob.forget_sessions(alice)
    alice.write(bob, "can you read this?")
    settle(alice, bob)
    pass_time(5 * SECOND, alice, bob)


def again(scene: Scene) -> None:
    alice, bob = scene.friends()
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
    alice, bob = scene.friends()
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
    alice, bob = scene.friends()
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
    alice, bob = scene.friends()
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
    alice, bob = scene.friends()
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
    alice, bob = scene.friends()
    warning: Json = {
        "payload": {"kemPreKeys": 0, "oneTimePreKeys": 0},
        "timestamp": scene.world.clock.wall_ms(),
        "type": "PREKEY_STATUS",
    }
    alice.down += [canonical(warning), canonical(warning)]
    settle(alice, bob)


SCENES: Final[dict[str, tuple[str, Callable[[Scene], None]]]] = {
    "first-contact": ("two who have added each other write for the first time, and read", first_contact),
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
    found = []
    for name, (description, play) in SCENES.items():
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            scene = Scene(name, description, Path(folder))
            try:
                play(scene)
                found.append(scene.listed())
            finally:
                scene.close()
    return file_of(
        "Conversations of whole clients over a relay: what each gets, sends, stores and tells its user.",
        scenes=named(found),
    )
