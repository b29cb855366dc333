"""One message's way through the relay: how many functions a reader has to follow, and in how many modules.

``pytest -rP`` shows the way, call by call.
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from harness import RelayHarness

import phantom_messenger
from support.people import base64_text, canonical
from support.simulated import World

PACKAGE = str(Path(phantom_messenger.__file__).parent) + os.sep
MOST_CALLS = 84
MOST_CALLS_OF_THE_CORE = 39
"""Without what reads frames, checks signatures and stores."""
MOST_CALLS_UNTIL_CONFIRMED = 198
"""Of three frames, each by itself: the message, what its recipient says of it, and that its sender has the receipt."""
MOST_CALLS_OF_ONE_TO_ONE = 121
"""Of a MESSAGE_MANY with one recipient; the clock and the writer are the tests' own."""

READ = {
    "relay/relay",
    "relay/admission",
    "relay/pipeline",
    "relay/handlers/__init__",
    "relay/handlers/messages",
    "relay/mailbox_push",
    "relay/replies",
}
"""What a reader needs to understand it; the others do what their names say."""


class Call(NamedTuple):
    """A function of ours that was called."""

    module: str
    name: str


def counted(run: Callable[[], object]) -> list[Call]:
    """The calls of our functions; those of the load generator are not the relay's."""
    calls: list[Call] = []

    def each(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            calls.append(Call(code.co_filename.removeprefix(PACKAGE).removesuffix(".py"), code.co_qualname))

    sys.setprofile(each)
    try:
        run()
    finally:
        sys.setprofile(None)
    return [call for call in calls if not call.module.startswith("loadgen/")]


def walk(relay: RelayHarness) -> list[Call]:
    """The calls from a MESSAGE that arrives to what is written to its sender and its recipient."""
    [(session, text)] = relay.messages(1)

    def run() -> None:
        relay.relay.receive(session, text)
        relay.turns()

    return counted(run)


@pytest.fixture
def relay() -> Iterator[RelayHarness]:
    with RelayHarness(2, acks=True) as found:
        for _ in range(3):  # statements and accounts are known
            found.feed(found.messages(4))
            found.clear()
        yield found


@pytest.fixture
def calls(relay: RelayHarness) -> list[Call]:
    found = walk(relay)
    assert relay.taken(b'"type":"MESSAGE"}') == relay.taken(b'"type":"MESSAGE_ACK"}') == 1, "accepted and pushed"
    return found


def test_message_is_not_sent_about(calls: list[Call]) -> None:
    for number, call in enumerate(calls):
        print(number, call.module, call.name)  # noqa: T201 - shown by pytest -rP
    core = [call for call in calls if call.module.startswith("relay/") and call.module != "relay/signatures"]
    assert len(calls) <= MOST_CALLS
    assert len(core) <= MOST_CALLS_OF_THE_CORE


def test_message_is_handled_by_few_modules(calls: list[Call]) -> None:
    modules = {call.module for call in calls}
    assert modules >= READ
    assert len(READ) <= 8


def test_message_is_not_sent_about_until_it_is_confirmed(relay: RelayHarness) -> None:
    texts = relay.messages(1)
    found = counted(lambda: relay.feed(texts))
    assert sum(call.name == "Relay.receive" for call in found) == 3
    assert len(found) <= MOST_CALLS_UNTIL_CONFIRMED


def test_one_message_to_many_is_not_sent_about() -> None:
    world = World()
    alice, bob = world.login("alice", features=["many"]), world.login("bob")
    bob.send(bob.person.message(alice.person))
    found: list[Call] = []
    for _ in range(4):  # as above
        text = canonical(alice.person.message_many([bob.person], common=base64_text(bytes(900))))
        found = counted(partial(alice.put, text)) + counted(world.run)
        assert bob.take()[0]["type"] == "MESSAGE"
    world.close()
    assert len(found) <= MOST_CALLS_OF_ONE_TO_ONE


def test_control_one_step_more_is_seen(relay: RelayHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monotonic = relay.relay._clock.monotonic_ms
    monkeypatch.setattr(relay.relay._clock, "monotonic_ms", lambda: max(monotonic(), monotonic()))
    assert len(walk(relay)) > MOST_CALLS
