"""Whole clients at a simulated relay, and all that the listed ones live through, written down step by step."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar
from unittest.mock import patch

from client_record import Facts, Json, changes, facts, lose_sessions, sends, tells, watched
from client_samples import KEY, MEMORY, Device, Town
from maker_base import drawn, named

from phantom_messenger.client import content_suites, link
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.vault import Vault
from support.simulated import World

PURPOSES: Final = {
    "identity_of": "identity seed",
    "Messenger.send_text": "message id",
    "Batching._put": "message id of a receipt",
    "LinkingDesk.show": "link secret",
    "LinkingDesk.run": "link nonce",
    "Groups.create": "group id",
    "Outgoing.new_id": "message id",
    "Outgoing.send": "message id",
    "KeyExchanges._began": "ephemeral key",
    "PreKeyStore._make": "prekey",
    "encapsulate": "kem_m",
    "start": "ratchet key",
    "_dh_ratchet": "ratchet key",
    "_begin_sending": "ratchet key",
    "_offered": "offer seed",
    "encrypt": "nonce",
    "encrypt_head": "nonce",
}
"""Whose call draws what."""

OF_SIZE: Final = {
    ("nonce", 32): "body key",
    ("message id", 32): "body key",
    ("link secret", 32): "link nonce",
}
"""Where one call draws two things."""


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
    """A device whose client is recorded.

    Args:
        scene: it lives in.
        name: of its user.
        listed: whether its steps are in the scene: some are there only so that others have somebody to talk to.
    """

    crafts: Callable[..., bytes] | None = None
    """What writes contents in place of the client's own ``content_suites.encode``, while it is set."""

    is_old = False
    """Whether its program knows suite 1 alone, and says so to the relay."""

    def __init__(self, scene: "Scene", name: str, *, listed: bool = True) -> None:
        self.scene = scene
        self.is_listed = listed
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
        value = drawn(f"clients/{self.scene.label}/{self.name}/{self._counts}", size)
        self._draws.append({"purpose": purpose or _purpose(size), "value": value.hex()})
        return value

    @contextmanager
    def step(self, done: Json) -> Iterator[None]:
        """One step of this client; what comes of it is written down."""
        self._draws.clear()
        self._encrypted.clear()
        suite = 1 if self.is_old else self.scene.suite
        with (
            watched(self._draw, self._encrypted, suite=suite, many=self.scene.many, devices=self.scene.devices),
            self._otherwise(),
        ):
            yield
        texts, events = self.messenger.drain(), self.messenger.drain_events()
        self.up += texts
        self.events += events
        if not self.is_listed:
            return
        before, self._facts = self._facts, facts(self.vault, suite=self.scene.suite)
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

    @contextmanager
    def _otherwise(self) -> Iterator[None]:
        """What this one does that a client of this version would not."""
        with ExitStack() as stack:
            if self.is_old:
                stack.enter_context(patch.object(link, "FEATURES", ["ack"]))
            if self.crafts is not None:
                stack.enter_context(patch.object(content_suites, "encode", self.crafts))
            yield

    def add(self, other: "Witness") -> None:
        """Give the other one's id a name."""
        with self.step({"do": "add", "contact": other.name, "user_id": other.id}):
            self.messenger.contacts.add(other.name, other.id)

    def accept(self, other: "Witness") -> None:
        """Let a stranger in."""
        with self.step({"do": "accept", "user_id": other.id}):
            self.messenger.contacts.let_in(other.id)

    def allow_older(self, other: "Witness") -> None:
        """Say that messages to them may go in suite 1."""
        with self.step({"do": "allow-older", "user_id": other.id}):
            self.messenger.contacts.allow_older(other.id)

    def forget_sessions(self, other: "Witness") -> None:
        """The disk has lost the sessions with somebody."""
        with self.step({"do": "lose-sessions", "user_id": other.id}):
            lose_sessions(self.messenger, self.vault, other.id)

    def write(self, other: "Witness", text: str, **options: Any) -> str:
        """Send a text; its message id."""
        return self.messenger.send_text(other.id, text, **options).message_id


Person = TypeVar("Person", bound=Witness)


class Scene:
    """A conversation in the making."""

    def __init__(self, name: str, description: str, folder: Path, *, suite: int, many: bool, devices: bool) -> None:
        self.name, self.description, self.suite, self.many, self.devices = name, description, suite, many, devices
        self.label = name
        """Of what is drawn."""
        self._before: str | None = None
        self.steps: list[Json] = []
        self.world = World()
        self.town = Town(self.world, folder)
        self.people: list[Witness] = []

    def person(self, name: str, *, listed: bool = True) -> Witness:
        """Somebody whose client has not connected yet."""
        return self.enter(Witness(self, name, listed=listed))

    def enter(self, somebody: Person) -> Person:
        """Somebody is in the scene."""
        self.people.append(somebody)
        return somebody

    def go_on(self, name: str, play: "Play") -> list[Witness]:
        """Begin after the end of another scene, whose steps are listed there; its people."""
        self.label, self._before = name, name
        play(self)
        self.label = self.name
        self.steps.clear()
        return self.people

    def listed(self) -> Json:
        """All of it."""
        return {
            "name": self.name,
            "description": self.description,
            **({} if self._before is None else {"after": self._before}),
            "clients": [{"name": one.name, "user_id": one.id} for one in self.people if one.is_listed],
            "steps": self.steps,
        }

    def close(self) -> None:
        """End it."""
        for one in self.people:
            one.close()
        self.town.close()
        self.world.close()


def _purpose(size: int) -> str:
    frame = sys._getframe(2)
    for _ in range(4):
        if found := PURPOSES.get(frame.f_code.co_qualname):
            return OF_SIZE.get((found, size), found)
        if frame.f_back is None:
            break
        frame = frame.f_back
    raise LookupError(frame.f_code.co_qualname)


Play = Callable[[Scene], None]


def played(
    scenes: Mapping[str, tuple[str, Play]], *, suite: int, many: bool = False, devices: bool = False
) -> list[Json]:
    """Scenes by their names, each with its description."""
    found = []
    for name, (description, play) in scenes.items():
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            scene = Scene(name, description, Path(folder), suite=suite, many=many, devices=devices)
            try:
                play(scene)
                found.append(scene.listed())
            finally:
                scene.close()
    return named(found)
