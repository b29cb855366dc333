"""D11: what was sent to a relay that is then paused is not stored once its sender has been at another relay."""

import os
import signal
from contextlib import closing, suppress
from typing import Final, NamedTuple

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from support.people import Frame, Person
from support.postgres_server import PostgresServer
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess, StartRelay, patched
from support.waiting import eventually

REPLACED: Final = 1008

DEAF: Final = """
from phantom_messenger.relay import elsewhere, hub, relay
hub.DEPARTURE_MS = 200
elsewhere.CHECK_MS = 10**9
relay.Relay.hear = lambda self, text: None
"""
"""Relays that are told nothing and look for nothing: what is stored hangs on the transaction alone. Who has left is
forgotten sooner."""

UNCHECKED: Final = """
from phantom_messenger.engines.postgres import schema
all_functions = schema.functions
check = "over := sessions_over(own_relay, users, keys, connected);"
assert all_functions().count(check) == 1
schema.functions = lambda: all_functions().replace(check, "")
"""


class Scene:
    """Alice is at one of two relays and bob at the other one; they know each other.

    Args:
        url: of the database.
        start_relay: starts a relay.
        patch: Python text that the relays run first.
    """

    def __init__(self, url: str, start_relay: StartRelay, patch: str = "") -> None:
        self.url = url
        self.alice, self.bob = Person(), Person()
        self.here, self.there = (
            start_relay("--limits", "off", "--store", url, command=patched(DEAF + patch)) for _ in range(2)
        )
        with closing(self.join(self.here, self.alice)) as alice, closing(self.join(self.here, self.bob)) as bob:
            alice.send(self.alice.message(self.bob))
            bob.send(self.bob.message(self.alice))
            for line in (alice, bob) * 2:
                acknowledge_all(line)

    def join(self, relay: RelayProcess, person: Person) -> ReferenceClient:
        """Log in; again if the connection looks older than one before: clocks of relays differ by a little."""
        while True:
            line = ReferenceClient(relay.url, person)
            with suppress(ConnectionClosed):
                return line.login(["ack"])
            line.close()

    def tell(self, line: ReferenceClient, name: str, *, blocked: bool) -> None:
        """Alice exchanges keys with bob, writes to him, and blocks him or lets him in."""
        line.send(self.alice.init(self.bob, name=name))
        line.send(self.alice.message(self.bob, conversation=name))
        line.send(self.alice.block(self.bob, blocked=blocked))

    def is_noted(self) -> bool:
        """Whether the database knows of a session of alice."""
        question = "SELECT FROM phantom.sessions JOIN phantom.accounts USING (account) WHERE user_id = %s"
        with psycopg.connect(self.url) as connection:
            return connection.execute(question, (self.alice.id,)).fetchone() is not None

    def play(self, *, leaves: bool) -> "Outcome":
        """Alice goes to the other relay while hers is paused, which then goes on.

        Args:
            leaves: she is not there any more by then.
        """
        with closing(self.join(self.here, self.alice)) as old:
            os.kill(self.here.pid, signal.SIGSTOP)
            try:
                self.tell(old, "old", blocked=True)
                old.send(self.alice.ping(id="over"))
                new = self.join(self.there, self.alice)
                self.tell(new, "new", blocked=False)
                new.settle()
                if leaves:
                    new.close()
                    assert eventually(lambda: not self.is_noted())
            finally:
                os.kill(self.here.pid, signal.SIGCONT)
            code = ending(old)
        new.close()
        with closing(self.join(self.there, self.bob)) as bob:
            came = [self.name_of(frame) for frame in items(bob.settle())]
            bob.send(self.bob.message(self.alice, conversation="answer"))
            bob.settle()
        with closing(self.join(self.there, self.alice)) as again:
            answers = [frame["payload"].get("conversationId") for frame in items(again.settle())]
        return Outcome(code, came, "answer" in answers)

    def name_of(self, frame: Frame) -> str:
        """Of what alice has told bob."""
        if frame["type"] == "MESSAGE":
            return f"message {frame['payload']['conversationId']}"
        names = [name for name in ("old", "new") if self.alice.init(self.bob, name=name)["payload"] == sent(frame)]
        return f"keys {' '.join(names)}"


class Outcome(NamedTuple):
    """What has become of it.

    Attributes:
        code: with which alice's first connection was closed; None if it is open.
        came: what bob has of her.
        is_reached: whether he still reaches her.
    """

    code: int | None
    came: list[str]
    is_reached: bool


def ending(line: ReferenceClient) -> int | None:
    """The close code, if that comes before the answer to the last question."""
    try:
        while line.receive().get("id") != "over":
            pass
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else 0
    return None


def sent(frame: Frame) -> Frame:
    """The payload as it was sent."""
    return {name: value for name, value in frame["payload"].items() if name != "senderId"}


def items(frames: list[Frame]) -> list[Frame]:
    """Those of the mailbox."""
    return [frame for frame in frames if "seq" in frame]


def acknowledge_all(line: ReferenceClient) -> None:
    """Until nothing comes any more."""
    while found := items(line.settle()):
        for frame in found:
            line.send(line.person.ack(frame) if frame["type"] == "MESSAGE" else line.person.confirm(frame["seq"]))


@pytest.mark.parametrize("leaves", [False, True], ids=["and is there", "and has left"])
def test_nothing_is_stored_late_for_somebody_who_has_been_at_another_relay(
    postgres: PostgresServer, start_relay: StartRelay, leaves: bool
) -> None:
    scene = Scene(postgres.make_database(), start_relay)
    assert scene.play(leaves=leaves) == Outcome(REPLACED, ["keys new", "message new"], is_reached=True)


@pytest.mark.parametrize("leaves", [False, True], ids=["and is there", "and has left"])
def test_control_without_the_check_old_frames_are_stored(
    postgres: PostgresServer, start_relay: StartRelay, leaves: bool
) -> None:
    scene = Scene(postgres.make_database(), start_relay, UNCHECKED)
    assert scene.play(leaves=leaves) == Outcome(None, ["message new", "keys old", "message old"], is_reached=False)
