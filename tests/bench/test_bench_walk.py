"""One message's way through the relay: how many functions a reader has to follow, and in how many modules.

``pytest -rP`` shows the way, call by call.
"""

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from harness import RelayHarness

import phantom_messenger

PACKAGE = str(Path(phantom_messenger.__file__).parent) + os.sep
MOST_CALLS = 98
MOST_CALLS_OF_THE_CORE = 43
"""Without what reads frames, checks signatures and stores."""

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


def walk(relay: RelayHarness) -> list[Call]:
    """The calls from a MESSAGE that arrives to what is written to its sender and its recipient."""
    calls: list[Call] = []

    def each(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            calls.append(Call(code.co_filename.removeprefix(PACKAGE).removesuffix(".py"), code.co_qualname))

    [(session, text)] = relay.messages(1)
    sys.setprofile(each)
    try:
        relay.relay.receive(session, text)
        relay.turns()
    finally:
        sys.setprofile(None)
    return calls


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    with RelayHarness(2, acks=True) as relay:
        for _ in range(3):  # statements and accounts are known
            relay.feed(relay.messages(4))
            relay.clear()
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
