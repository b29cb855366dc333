"""A stranger learns nothing: no presence, no receipts, and the same answers in the same time, whoever is there."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest
from timing import OF_A_CONTROL, are_alike

from support.people import Frame, Person, canonical
from support.raw_socket import TEXT, RawSocket, frame
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess, StartRelay, patched
from support.simulated import World

# --- nothing is told --------------------------------------------------------------


def life(world: World, bob: Person) -> list[Frame]:
    """Everything that Bob does in a day, as a stranger sees it who writes to him and asks for him all the time."""
    mallory = world.login("mallory")
    heard: list[Frame] = []

    def look() -> None:
        heard.extend(mallory.take())
        heard.extend(mallory.send(mallory.person.message(bob), mallory.person.asks_for(bob)))

    client = world.login(bob)
    look()
    came = client.take("MESSAGE")
    for presence in ("idle", "online", "offline", "online"):
        client.send(bob.presence(presence))
        look()
        came += client.take("MESSAGE")
    client.send(bob.presence("typing", "conversation"))
    assert len(came) >= 4
    for message_frame in came:
        for status in ("delivered", "read", "burned"):
            client.send(bob.ack(message_frame, status))
    look()
    client.drop()
    world.pass_time(15_000)
    look()
    world.login(bob)
    look()
    return heard


def kinds(heard: list[Frame]) -> set[tuple[str, str]]:
    """What a stranger has heard, by type and status."""
    return {(frame["type"], frame["payload"].get("status", "")) for frame in heard}


@pytest.fixture
def bob(world: World) -> Person:
    person = world.person("bob")
    world.register(person)
    return person


def test_stranger_hears_accepted_and_offline_and_nothing_else(world: World, bob: Person) -> None:
    heard = life(world, bob)
    assert kinds(heard) == {("MESSAGE_ACK", "accepted"), ("PRESENCE", "offline")}
    assert not [frame for frame in heard if "lastSeen" in frame["payload"]]


def test_contact_hears_more(world: World, bob: Person) -> None:
    """The control: the same life, before a contact's eyes."""
    mallory, client = world.login("mallory"), world.login(bob)
    world.make_contacts(mallory, client)
    client.drop()
    mallory.drop()
    assert {("PRESENCE", "online"), ("PRESENCE", "typing"), ("MESSAGE_ACK", "read")} <= kinds(life(world, bob))


def test_stranger_who_asks_for_prekeys_hears_the_same_of_all(world: World, bob: Person) -> None:
    """The bundle says what was published, whoever is there."""
    mallory = world.login("mallory")
    client = world.login(bob)
    client.send(bob.publish([1, 2, 3], last_resort=True))
    there = mallory.send(mallory.person.init(bob, name="one"))
    client.drop()
    world.pass_time(15_000)
    away = mallory.send(mallory.person.init(bob, name="two"))
    fields = [[(frame["type"], sorted(frame["payload"])) for frame in frames] for frames in (there, away)]
    assert fields[0] == fields[1]


# --- nor by the time it takes -----------------------------------------------------

Ask = Callable[[ReferenceClient, Person], Frame]


def message(client: ReferenceClient, other: Person) -> Frame:
    client.send(client.person.message(other))
    return client.until("MESSAGE_ACK")


def query(client: ReferenceClient, other: Person) -> Frame:
    client.send(client.person.asks_for(other))
    return client.until("PRESENCE")


def ack(client: ReferenceClient, other: Person) -> Frame:
    known = {"payload": {"messageId": client.person.new_message_id(), "senderId": other.id}}
    client.send(client.person.ack(known, "read"))
    client.send(client.person.ping())
    return client.until("PONG")


QUESTIONS: Final[dict[str, Ask]] = {"MESSAGE": message, "PRESENCE": query, "MESSAGE_ACK": ack}


class Two:
    """A stranger, somebody who is there and reads, and somebody who is away.

    Who is there has no thread in this process: it would take the stranger's time when it wakes.
    """

    def __init__(self, relay: RelayProcess) -> None:
        self.there, self.away = Person(), Person()
        ReferenceClient(relay.url, self.away).login().close()
        self._present = RawSocket(relay.address)
        self._present.upgrade()
        hello, host = json.loads(self._present.read().payload), f"{relay.address[0]}:{relay.address[1]}"
        self._present.send(frame(TEXT, canonical(self.there.auth(hello, host))))
        assert b"AUTH_SUCCESS" in self._present.read().payload
        self.stranger = ReferenceClient(relay.url).login(["ack"])

    def read(self) -> None:
        """Who is there takes what has come."""
        self._present.skip()

    def close(self) -> None:
        self._present.__exit__(None, None, None)
        self.stranger.close()


@pytest.fixture
def two(relay: RelayProcess) -> Iterator[Two]:
    made = Two(relay)
    yield made
    made.close()


def plain(frame: Frame) -> Any:
    """A frame without what differs from one to the next."""
    payload = {name: value for name, value in frame["payload"].items() if name not in ("messageId", "timestamp")}
    return frame["type"], {name: value for name, value in payload.items() if not name.endswith("Id")}


@pytest.mark.parametrize("question", ["PRESENCE", "MESSAGE"])
def test_answer_is_the_same_for_one_who_is_there_and_one_who_is_away(two: Two, question: str) -> None:
    ask = QUESTIONS[question]
    assert plain(ask(two.stranger, two.there)) == plain(ask(two.stranger, two.away))


@pytest.mark.parametrize("question", ["PRESENCE", "MESSAGE_ACK"])
def test_answer_takes_the_same_time(two: Two, question: str) -> None:
    ask = QUESTIONS[question]
    assert are_alike(lambda: ask(two.stranger, two.there), lambda: ask(two.stranger, two.away))


def test_message_takes_the_same_time(relay: RelayProcess, two: Two) -> None:
    """To somebody else each time, for a stranger can fill a mailbox."""
    current: list[Person] = []
    count = 0

    def to_the_absent() -> None:
        nonlocal count
        if count % 90 == 0:
            current[:] = [Person()]
            ReferenceClient(relay.url, current[0]).login().close()
        count += 1
        message(two.stranger, current[0])

    to_the_absent()
    assert are_alike(lambda: message(two.stranger, two.there), to_the_absent, two.read)


TELLS: Final = """
from phantom_messenger.engines.sqlite.directory import SQLiteDirectory
SQLiteDirectory.has_written = lambda directory, sender, recipient: True
"""
TAKES_LONGER: Final = """
import time
from phantom_messenger.engines.sqlite import presence
from phantom_messenger.relay.hub import Hub
believed = Hub.of
def of(hub, user):
    session = believed(hub, user)
    if session is not None:
        time.sleep(0.0005)
    return session
Hub.of = of
known = presence.is_allowed
presence.is_allowed = lambda *asked: known(*asked) or True
"""


def test_relay_that_takes_everybody_for_a_contact_answers_otherwise(start_relay: StartRelay) -> None:
    """The control of the answers."""
    two = Two(start_relay("--limits", "off", command=patched(TELLS)))
    assert plain(query(two.stranger, two.there)) != plain(query(two.stranger, two.away))
    two.close()


def test_relay_that_does_more_for_those_who_are_there_takes_longer(start_relay: StartRelay) -> None:
    """The control of the times."""
    two = Two(start_relay("--limits", "off", command=patched(TAKES_LONGER)))
    there, away = (partial(query, two.stranger, other) for other in (two.there, two.away))
    assert not are_alike(there, away, attempts=OF_A_CONTROL)
    two.close()
