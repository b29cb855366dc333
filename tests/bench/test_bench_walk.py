"""One message's way through the relay: how many functions a reader has to follow, and in how many modules.

``pytest -rP`` shows the way, call by call.
"""

import asyncio
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import pytest
from harness import RelayHarness

import phantom_messenger
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.loadgen import wire
from phantom_messenger.relay import public_names, server
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.websocket import WebSocketConnection
from support.people import base64_text, canonical
from support.simulated import HOST, World

PACKAGE = str(Path(phantom_messenger.__file__).parent) + os.sep
ARCHITECTURE: Final = Path(__file__).parents[2] / "docs" / "architecture.md"
MOST_CALLS = 83
MOST_CALLS_OF_THE_CORE = 39
"""Without what reads frames, checks signatures and stores."""
MOST_CALLS_UNTIL_CONFIRMED = 198
"""Of three frames, each by itself: the message, what its recipient says of it, and that its sender has the receipt."""
MOST_CALLS_OF_ONE_TO_ONE = 120
"""Of a MESSAGE_MANY with one recipient; the clock and the writer are the tests' own."""

MOST_BETWEEN_SOCKETS: Final = {"calls": 110, "functions": 91, "modules": 34, "changes of module": 82}
"""Of a MESSAGE from the read of its sender's socket to the writes to both, in a real server."""


class Call(NamedTuple):
    """A function of ours that was called."""

    module: str
    name: str


class Recorder:
    """Notes the calls of our functions in all threads; those of the load generator are not the relay's."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.is_on = False

    def each(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if self.is_on and event == "call" and code.co_filename.startswith(PACKAGE):
            module = code.co_filename.removeprefix(PACKAGE).removesuffix(".py")
            if not module.startswith("loadgen/"):
                self.calls.append(Call(module, code.co_qualname))


def counted(run: Callable[[], object]) -> list[Call]:
    """The calls that it makes in this thread."""
    recorder = Recorder()
    recorder.is_on = True
    sys.setprofile(recorder.each)
    try:
        run()
    finally:
        sys.setprofile(None)
    return recorder.calls


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


class Client:
    """Somebody at a socket, who only sends when told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.user = wire.VirtualUser()
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._arrived: list[bytes] = []

    @classmethod
    async def login(cls, port: int) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client._writer.write(
            f"GET /ws HTTP/1.1\r\nHost: {HOST}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await client._reader.readuntil(b"\r\n\r\n")
        greeting = json.loads(await client.receive(b'"CONNECTION_ACK"'))
        client._writer.write(wire.text_frame(client.user.auth(greeting, HOST, ["ack"])))
        await client.receive(b'"AUTH_SUCCESS"')
        return client

    async def receive(self, what: bytes) -> bytes:
        """The next frame that holds this; others are of no interest here."""
        while True:
            for text in self._arrived:
                if what in text:
                    self._arrived.clear()
                    return text
            self._buffer += await self._reader.read(65_536)
            self._arrived += [text for _, text in wire.read_frames(self._buffer)]

    def text_to(self, other: "Client") -> bytes:
        """A message of 1 KB, as it goes over the socket."""
        return self.user.message(other.user.id, "A" * 1_024, time.time_ns() // 1_000_000)[1]

    async def send(self, text: bytes, other: "Client") -> None:
        """Send it, until it is accepted and has arrived."""
        self._writer.write(text)
        await self.receive(b'"status":"accepted"')
        await other.receive(b'"type":"MESSAGE"}')


async def between_sockets(folder: Path, recorder: Recorder) -> None:
    """Have one message between two who have written to each other recorded, in a server without a timer."""
    config = Config(limits=False, public_names=(HOST,), host=("127.0.0.1",), port=0, verify_workers=0)
    running = server.RelayServer(config, SQLiteStore(folder))
    await running.start()
    try:
        [(_, port)] = running.addresses
        alice, bob = await Client.login(port), await Client.login(port)
        for _ in range(4):  # statements and accounts are known
            await alice.send(alice.text_to(bob), bob)
            await bob.send(bob.text_to(alice), alice)
        text = alice.text_to(bob)
        recorder.is_on = True
        await alice.send(text, bob)
        recorder.is_on = False
    finally:
        await running.stop()


@pytest.fixture
def server_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Call]]:
    """Counts in the event loop, and in the store's thread, which begins meanwhile."""
    monkeypatch.setattr(server, "TICK_SECONDS", 3_600)

    def run() -> list[Call]:
        recorder = Recorder()
        threading.setprofile(recorder.each)
        sys.setprofile(recorder.each)
        try:
            asyncio.run(between_sockets(tmp_path / "data", recorder))
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return recorder.calls

    return run


def figures(calls: Sequence[Call]) -> dict[str, int]:
    """What a reader has to follow."""
    modules = [call.module for call in calls]
    return {
        "calls": len(calls),
        "functions": len(set(calls)),
        "modules": len(set(modules)),
        "changes of module": sum(one != other for one, other in pairwise(modules)),
    }


def exceeding(calls: Sequence[Call]) -> set[str]:
    return {name for name, count in figures(calls).items() if count > MOST_BETWEEN_SOCKETS[name]}


def shown(text: str) -> dict[str, list[str]]:
    """The modules in the table of ``architecture.md``: those to read, and those that are passed besides."""
    _, _, behind = text.partition("| | to read | passed besides |\n|---|---|---|\n")
    table, _, _ = behind.partition("\n\n")
    rows = [row.split("|") for row in table.splitlines()]
    modules = partial(re.findall, r"`([a-z_0-9/]+)\.py`")
    return {
        "read": [name for row in rows for name in modules(row[2])],
        "passed": [name for row in rows for name in modules(row[3])],
        "counts": [f"{row[1].strip()}: {len(modules(row[2]))}" for row in rows],
    }


def test_message_is_not_sent_about_between_sockets(server_calls: Callable[[], list[Call]]) -> None:
    calls = server_calls()
    for number, call in enumerate(calls):
        print(number, call.module, call.name)  # noqa: T201 - shown by pytest -rP
    print(figures(calls))  # noqa: T201 - as above
    assert exceeding(calls) == set()


def test_architecture_names_the_modules_that_a_message_passes(server_calls: Callable[[], list[Call]]) -> None:
    found = shown(ARCHITECTURE.read_text())
    assert sorted(found["read"] + found["passed"]) == sorted({call.module for call in server_calls()})
    assert found["counts"] == ["socket: 1", "core: 8", "engine: 5"]
    walk, _, _ = ARCHITECTURE.read_text().partition("| | to read |")
    _, _, walk = walk.rpartition("File by file, for a MESSAGE")
    assert [name for name in found["read"] if Path(name).name + ".py" not in walk] == []


def test_control_detour_between_sockets_is_seen(
    server_calls: Callable[[], list[Call]], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = WebSocketConnection._handle_message

    def detour(connection: WebSocketConnection, opcode: int, message: bytes) -> None:
        public_names.normal_or_none(HOST)
        handle(connection, opcode, message)

    monkeypatch.setattr(WebSocketConnection, "_handle_message", detour)
    calls = server_calls()
    assert exceeding(calls) == set(MOST_BETWEEN_SOCKETS)
    found = shown(ARCHITECTURE.read_text())
    assert {call.module for call in calls} - set(found["read"] + found["passed"]) >= {"relay/public_names"}
