"""What one message to a hundred costs the relay, counted and not timed, beside a hundred messages."""

from collections.abc import Iterator

import pytest

from phantom_messenger.wire import codec
from support.costs import instructions
from support.people import Frame, base64_text, canonical
from support.simulated import Client, World

RECIPIENTS = 100
MOST = 0.75
"""Of what as many messages cost: signatures, copies and rows are as many, all that belongs to a frame is there once."""


@pytest.fixture
def alice() -> Iterator[Client]:
    """Writes to people who are away; signatures are taken as valid."""
    world = World(verify=lambda batch: [True] * len(batch))
    yield world.login("alice", features=["many"])
    world.close()


def cost(client: Client, *frames: Frame) -> float:
    """Instructions until they are answered."""
    texts = [canonical(frame) for frame in frames]

    def run() -> None:
        for text in texts:
            client.put(text)
        client.world.run()

    found = instructions(run)
    answers = client.take()
    refused = [answer for answer in answers if answer["type"] == "ERROR" or answer["payload"].get("refused")]
    assert (len(answers), refused) == (len(frames), [])
    return found


def ratio(alice: Client) -> float:
    """What one to many costs, as a part of what as many cost; each of the second round, when caches are warm."""
    world, text = alice.world, base64_text(bytes(900))
    people = [world.person(f"member {number}") for number in range(RECIPIENTS)]
    world.register(*people)
    one = several = 0.0
    for _ in range(2):
        one = cost(alice, alice.person.message_many(people, heads=["A" * 140] * RECIPIENTS, common=text))
        several = cost(alice, *(alice.person.message(person, encrypted="A" * 140 + text) for person in people))
    return one / several


def test_one_to_a_hundred_costs_less_than_a_hundred(alice: Client) -> None:
    found = ratio(alice)
    print(f"one message to {RECIPIENTS}: {found:.2f} of what {RECIPIENTS} messages cost")  # noqa: T201 - pytest -rP
    assert found <= MOST


def test_control_work_that_is_done_for_each_again_is_seen(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    expand = codec.expanded
    monkeypatch.setattr(codec, "expanded", lambda frame: [expand(frame) for _ in range(100)][-1])
    assert ratio(alice) > MOST
