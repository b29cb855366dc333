"""A relay is killed at every place of a message to many: all recipients have it or none, and in the end each once."""

import random
from collections import Counter
from pathlib import Path

import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from support.amounts import amount, seeds
from support.people import Frame, Person
from support.reference_client import ReferenceClient
from support.relay_process import WARM, RelayProcess, StartRelay, patched

RECIPIENTS = 20
POINTS = seeds(4, 200)
SEED = 6
EXTRA_KILLS = amount(1, 50)
"""From outside, at a moment that nobody has chosen."""

FRAMES_A_MEMBER = 15
"""Then others get them: a stranger may take up only so much of a mailbox."""

AFTER_COPIES = """
import os, signal
from phantom_messenger.engines.sqlite import messages
real, left = messages._accept_copy, [{count}]
def accept_copy(*given):
    found = real(*given)
    {commit}
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
messages._accept_copy = accept_copy
"""
COMMIT = "given[0].connection.execute('COMMIT; BEGIN IMMEDIATE')"
"""The fault of the control: each copy is a transaction of its own."""

AFTER_COMMIT = """
import os, signal
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.commands import AcceptMany
real = SQLiteStore.run
def run(self, commands, **more):
    found = real(self, commands, **more)
    if any(isinstance(command, AcceptMany) for command in commands):
        os.kill(os.getpid(), signal.SIGKILL)
    return found
SQLiteStore.run = run
"""


class Scene:
    """Alice, whose frames go to many who are away.

    Args:
        relay: that is killed.
    """

    def __init__(self, relay: RelayProcess) -> None:
        self.relay = relay
        self.alice = Person("alice")
        self.people: list[Person] = []
        self.everybody: list[Person] = []
        self.revision = 0

    def frame(self) -> Frame:
        """The next one."""
        if self.revision % FRAMES_A_MEMBER == 0:
            self.people = [Person(f"member {self.revision}.{number}") for number in range(RECIPIENTS)]
            self.everybody += self.people
            for person in self.people:
                with ReferenceClient(self.relay.url, person) as client:
                    client.login(["ack"])
        self.revision += 1
        order = self.alice.order(self.revision)
        return self.alice.message_many(self.people, group=self.revision % 2 == 0, order=order)

    def send(self, frame: Frame, *, hears: bool) -> None:
        """Send it; the answer comes, or the connection dies."""
        with ReferenceClient(self.relay.url, self.alice) as client:
            client.login(["ack", "many"])
            client.send(frame)
            if hears:
                answer = client.until("MANY_RESULT")["payload"]
                assert (answer["accepted"], answer["refused"]) == (RECIPIENTS, [])
            else:
                with pytest.raises(Exception, match=r"no close frame|closed|reset"):
                    client.until("MANY_RESULT")

    def restart(self, patch: str | None = None) -> None:
        self.relay.kill()
        self.relay.command = WARM if patch is None else patched(patch)
        self.relay.restart()

    def stored(self) -> Counter[str]:
        """How many mailboxes hold each message; none holds one twice. The relay is dead."""
        self.relay.kill()
        return copies(self.relay.data, self.everybody)


def copies(folder: Path, people: list[Person]) -> Counter[str]:
    store, found = SQLiteStore(folder), Counter[str]()
    try:
        for person in people:
            page = store.tables.mailboxes.read(person.id, 0, 1 << 30, 0)
            names = [item.name for item in page.items]
            assert len(set(names)) == len(names)
            found.update(names)
    finally:
        store.close()
    return found


def name_of(frame: Frame) -> str:
    return str(frame["payload"]["messageId"])


def places() -> list[int]:
    """After how many copies the relay dies; one more than there are: behind the commit."""
    chance = random.Random(SEED)  # noqa: S311 - the same in every run
    middle = [chance.randint(2, RECIPIENTS - 1) for _ in range(POINTS - 3)]
    return [1, *middle, RECIPIENTS, RECIPIENTS + 1]


@pytest.fixture
def scene(start_relay: StartRelay) -> Scene:
    return Scene(start_relay("--limits", "off"))


@pytest.mark.timeout(3_600)
def test_all_or_none_and_in_the_end_each_once(scene: Scene) -> None:
    sent: list[str] = []
    for place in places():
        frame = scene.frame()
        sent.append(name_of(frame))
        is_behind = place > RECIPIENTS
        scene.restart(AFTER_COMMIT if is_behind else AFTER_COPIES.format(count=place, commit="pass"))
        scene.send(frame, hears=False)
        assert scene.stored()[name_of(frame)] == (RECIPIENTS if is_behind else 0), place
        scene.restart()
        scene.send(frame, hears=True)
    chance = random.Random(SEED)  # noqa: S311 - the same in every run
    for _ in range(EXTRA_KILLS):
        frame = scene.frame()
        sent.append(name_of(frame))
        with ReferenceClient(scene.relay.url, scene.alice) as client:
            client.login(["ack", "many"])
            client.send(frame)
            for _ in range(chance.randint(0, 20)):
                client.send(scene.alice.ping())
        assert scene.stored()[name_of(frame)] in {0, RECIPIENTS}
        scene.restart()
        scene.send(frame, hears=True)
    assert scene.stored() == dict.fromkeys(sent, RECIPIENTS)


def test_control_copies_that_are_committed_one_by_one_are_found_in_some_mailboxes_only(scene: Scene) -> None:
    frame = scene.frame()
    scene.restart(AFTER_COPIES.format(count=7, commit=COMMIT))
    scene.send(frame, hears=False)
    assert scene.stored()[name_of(frame)] == 7
