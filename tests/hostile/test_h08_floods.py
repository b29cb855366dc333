"""Floods of every kind of frame by people who take nothing: bounded memory, which comes back, and others are served.

Each flooder has an address of its own; what a user or an address may do in a minute holds for them.
"""

import asyncio
import contextlib
import itertools
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest
import uvloop

from phantom_messenger.relay.config import Config
from phantom_messenger.relay.listening import Listener, bind
from phantom_messenger.relay.page import Page
from phantom_messenger.relay.upgrade import ConnectionGate, Handshake, Slot
from phantom_messenger.wire.limits import MAX_RECIPIENTS
from support.amounts import LONG, amount
from support.measures import resident
from support.people import Frame, Person, base64_text, canonical
from support.raw_socket import BINARY, CLOSE, CONTINUATION, MASK, PING, PONG, TEXT, RawSocket, frame
from support.reference_client import ReferenceClient
from support.relay_process import Command, RelayProcess, StartRelay, patched, unloaded

MIB: Final = 1_048_576
GROWTH: Final = 40 * MIB
MANY: Final = amount(40, 1_000)
SECONDS: Final = 4.0 if LONG else 0.4
CHUNK: Final = 65_536
LEAST: Final = amount(10, 300)
"""Messages of the honest pair that are timed."""

QUIET_MS: Final = 15
"""A 99th percentile that nobody notices: without any flood it is 2 to 14 ms."""

NEWCOMERS: Final = 30
"""Sockets that wait to be accepted."""

ASK: Final = b'{"timestamp":1,"type":"PING"}'
CONFIRM: Final = b'{"payload":{"seq":1,"status":"delivered"},"timestamp":1,"type":"MESSAGE_ACK"}'

AGAIN_SECONDS: Final = 0.02
LIMITS: Final = ("--rate-auth", "1000000", "--rate-message", "1000000")
"""The honest pair is not to be held up by its own limits."""


Make = Callable[[Person | None], Iterator[bytes]]
"""Makes what one connection sends, of somebody who is logged in or not."""


def head(opcode: int, length: int) -> bytes:
    """The header of a frame whose payload is still to come."""
    return struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length) + MASK


def repeated(data: bytes) -> Make:
    """The same again and again, many in a chunk."""
    chunk = data * max(CHUNK // len(data), 1)
    return lambda _: itertools.repeat(chunk)


def half_frame(logged_in: Person | None) -> Iterator[bytes]:
    """All of the longest frame but its last byte, and then nothing."""
    length = MIB if logged_in else 4_096
    header = head(TEXT, length) if logged_in else struct.pack("!BBH", 0x80 | TEXT, 0x80 | 126, length) + MASK
    yield header + b" " * (length - 1)


def half_message(logged_in: Person | None) -> Iterator[bytes]:
    """As many fragments as there may be, as large as they may be, but for the last."""
    size = (MIB if logged_in else 4_096) // 64
    yield frame(TEXT, b" " * size, fin=False) + frame(CONTINUATION, b" " * size, fin=False) * 62


def whole_message(logged_in: Person | None) -> Iterator[bytes]:
    """One of the longest messages, whole, and then nothing."""
    yield frame(TEXT, b" " * (MIB if logged_in else 4_096))


def to_many(person: Person | None) -> Iterator[bytes]:
    """The same message to as many as there may be, each with a signature, again and again."""
    people = [base64_text(number.to_bytes(32)) for number in range(MAX_RECIPIENTS)]
    if person is None:
        return repeated(head(TEXT, MIB))(person)  # more than a stranger may send, whoever signs it
    return repeated(frame(TEXT, canonical(person.message_many(people, common="QUJD" * 400))))(person)


FLOODS: Final[dict[str, Make]] = {
    "pings": repeated(frame(PING, b"x" * 125)),
    "empty pings": repeated(frame(PING)),
    "pongs": repeated(frame(PONG, b"x" * 125)),
    "closes": repeated(frame(CLOSE, b"\x03\xe8")),
    "questions": repeated(frame(TEXT, ASK)),
    "refused texts": repeated(frame(TEXT, b"{}")),
    "long texts": repeated(frame(TEXT, b" " * 60_000)),
    "binary": repeated(frame(BINARY, b"x" * 1_000)),
    "fragments": repeated(frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"}")),
    "empty fragments": lambda _: itertools.chain(
        [frame(TEXT, b"", fin=False)], repeated(frame(CONTINUATION, fin=False))(_)
    ),
    "half frames": half_frame,
    "half messages": half_message,
    "a whole message each": whole_message,
    "to many": to_many,
    "acknowledgements": repeated(frame(TEXT, CONFIRM)),
}


class Flooder:
    """Opens connections from many addresses, sends what fits into their sockets, reads nothing, and comes again."""

    def __init__(self, relay: RelayProcess, make: Make, *, logged_in: bool) -> None:
        self._relay = relay
        self._make = make
        self._logged_in = logged_in
        self._sockets: dict[socket.socket, tuple[Iterator[bytes], bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._count = 0
        self._again_at = time.monotonic()

    def open(self) -> None:
        """One connection more."""
        self._count += 1
        source = f"127.1.{self._count // 250 % 250}.{self._count % 250 + 1}"
        raw = RawSocket(self._relay.address, source=source)
        person = Person() if self._logged_in else None
        raw.logged_in(person, features=("ack", "many")) if person else raw.opened()
        opened = raw._socket
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._sockets[opened] = self._make(person), b""
        self._selector.register(opened, selectors.EVENT_WRITE)

    def step(self) -> None:
        """Send to all who take something."""
        for key, _ in self._selector.select(0.005):
            opened = key.fileobj
            assert isinstance(opened, socket.socket)
            source, rest = self._sockets[opened]
            data = rest or next(source, b"")
            if not data:  # it has said all, and waits
                self._selector.unregister(opened)
                continue
            try:
                count = opened.send(data)
            except BlockingIOError:
                continue
            except OSError:
                self._leave(opened)
                self._come_again()
                continue
            self._sockets[opened] = source, data[count:]

    def _come_again(self) -> None:
        """Instead of a connection that was cut; how fast new ones may come is no matter of frames."""
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + AGAIN_SECONDS
            with contextlib.suppress(OSError):
                self.open()

    def _leave(self, opened: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(opened)
        del self._sockets[opened]
        opened.close()

    def close(self) -> None:
        for opened in list(self._sockets):
            self._leave(opened)
        self._selector.close()


PATIENCE: Final = 30.0
NEVER: Final = float("inf")


class Pair:
    """Two honest people; how long it takes until what the one writes, again if asked to wait, is at the other's."""

    def __init__(self, relay: RelayProcess) -> None:
        self._one, self._other = ReferenceClient(relay.url).login(["ack"]), ReferenceClient(relay.url).login(["ack"])
        self.times: list[float] = []

    def write(self) -> None:
        began = time.monotonic()
        while True:
            message = self._one.person.message(self._other.person)
            self._one.send(message)
            answer = self._one.receive(PATIENCE)
            while answer["type"] != "ERROR" and answer["payload"].get("messageId") != message["payload"]["messageId"]:
                answer = self._one.receive(PATIENCE)
            if answer["type"] != "ERROR":
                break
            assert answer["payload"]["details"]["reason"] == "overload", answer
            time.sleep(answer["payload"]["retryAfter"] / 1_000)
        found = self._other.until("MESSAGE", PATIENCE)
        self.times.append((time.monotonic() - began) * 1_000)
        assert found["payload"]["messageId"] == message["payload"]["messageId"]
        self._other.send(self._other.person.ack(found))

    def p99(self) -> float:
        times, self.times = sorted(self.times), []
        return times[int(len(times) * 0.99)]

    def close(self) -> None:
        self._one.close()
        self._other.close()


def flooded(
    relay: RelayProcess,
    kind: str,
    *,
    connections: int,
    logged_in: bool,
    seconds: float = SECONDS,
    enough: float = NEVER,
) -> tuple[int, float, float]:
    """Bytes that a flood makes the relay grow by at its worst; milliseconds of others without it, and with it.

    It ends before its time when that has grown by ``enough``; nobody's pace counts then, and others write little.
    """
    pair, flooder = Pair(relay), Flooder(relay, FLOODS[kind], logged_in=logged_in)
    try:
        for _ in range(LEAST):
            pair.write()
        quiet = pair.p99()
        before = most = resident(relay.pid)
        for _ in range(connections):
            flooder.open()
        until = time.monotonic() + seconds
        while most - before <= enough and (time.monotonic() < until or len(pair.times) < LEAST):
            flooder.step()
            if enough is NEVER or len(pair.times) < LEAST:
                pair.write()
            most = max(most, resident(relay.pid))
        return most - before, quiet, pair.p99() if pair.times else 0.0
    finally:
        flooder.close()
        pair.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    relay = RelayProcess(tmp_path_factory.mktemp("floods"), *LIMITS)
    yield relay
    relay.kill()


@pytest.fixture
def relay(shared: RelayProcess, start_relay: StartRelay) -> RelayProcess:
    """One for each flood in the long form: what an allocator keeps of one hides what another takes."""
    return start_relay(*LIMITS) if LONG else shared


STORED: Final = {"to many", "acknowledgements"}
"""What goes to the store, for whose batches others wait."""

CASES: Final = [
    (kind, logged_in, connections)
    for number, kind in enumerate(FLOODS)
    for logged_in in (False, True)
    for connections in (1, MANY)
    if LONG or (number % 2 == logged_in) is (connections == 1)
]
"""In the short form one of many connections for each kind, and one of a single one, logged in by turns."""


@pytest.mark.parametrize(
    ("kind", "logged_in", "connections"),
    CASES,
    ids=[f"{kind}-{'friend' if logged_in else 'stranger'}-{count}" for kind, logged_in, count in CASES],
)
def test_flood_takes_bounded_memory_and_others_are_served(
    relay: RelayProcess, kind: str, logged_in: bool, connections: int
) -> None:
    grown, quiet, waited = flooded(relay, kind, connections=connections, logged_in=logged_in)
    assert grown <= GROWTH
    if LONG and kind not in STORED:  # for themselves: the short form shares the machine with other tests
        assert waited <= max(2 * quiet, QUIET_MS)
    assert waited <= 20_000, "asked to wait at most, while a thousand begin at once"


async def begun_in_a_turn() -> int:
    """The most sockets that a relay begins with in one turn of its event loop."""
    loop, config = asyncio.get_running_loop(), Config(limits=False)
    listening = await bind(["127.0.0.1"], 0)
    turn, begun = 0, Counter[int]()

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    def greet(slot: Slot) -> Handshake:
        begun[turn] += 1
        return Handshake(slot, config, lambda *_: pytest.fail("nobody asks for a WebSocket"), lambda: True, Page())

    with contextlib.ExitStack() as stack:
        for _ in range(NEWCOMERS):
            stack.enter_context(socket.create_connection(listening[0].getsockname(), timeout=60))
        listener = Listener(listening, ConnectionGate(config, 1_000), greet, None)
        count()
        async with asyncio.timeout(60):
            while begun.total() < NEWCOMERS:  # noqa: ASYNC110 - some turns, once
                await asyncio.sleep(0.001)
        listener.close()
    return max(begun.values())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_newcomers_are_admitted_one_by_one(run: Callable[..., int]) -> None:
    """Those who are in wait for one newcomer at a time, however many connect again and again."""
    assert run(begun_in_a_turn()) == 1


def test_control_newcomers_who_are_admitted_together_hold_up_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Listener._accept

    def accept_all(listener: Listener, listening: socket.socket) -> None:
        for _ in range(64):
            accept(listener, listening)

    monkeypatch.setattr(Listener, "_accept", accept_all)
    assert uvloop.run(begun_in_a_turn()) == NEWCOMERS


UNREAD: Final = """
from phantom_messenger.relay import outbox, websocket
from phantom_messenger.wire import limits
websocket.WebSocketConnection.pause_writing = lambda connection: None
websocket.MAX_CONTROL_FRAMES = outbox.OVERFLOW = outbox.STALL_MS = 1 << 40
"""
UNBOUNDED: Final = """
from phantom_messenger.wire import limits
limits.MAX_HALF_BYTES = 1 << 40
"""
UNCOUNTED: Final = """
from phantom_messenger.relay import pipeline
pipeline.HELD_OF_MANY = 0
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "connections", "command"),
    [
        ("pings", 1, patched(UNREAD)),
        ("half frames", 60, unloaded(UNBOUNDED)),
        ("half messages", 60, unloaded(UNBOUNDED)),
        ("to many", 60, patched(UNCOUNTED)),
    ],
)
def test_control_without_its_protection_a_flood_takes_memory(
    start_relay: StartRelay, kind: str, connections: int, command: Command
) -> None:
    """The controls."""
    relay = start_relay(*LIMITS, command=command)
    grown, _, _ = flooded(relay, kind, connections=connections, logged_in=True, seconds=200, enough=GROWTH)
    assert grown > GROWTH


SLOW: Final = """
import time
from phantom_messenger.engines.sqlite import store
from phantom_messenger.relay import pipeline
from phantom_messenger.relay.commands import Confirm
run = store.SQLiteStore.run
def slowly(self, commands, **budget):
    time.sleep(sum(isinstance(command, Confirm) for command in commands) / 1_000)
    return run(self, commands, **budget)
store.SQLiteStore.run = slowly
pipeline.MAX_WAITING = 2_048
"""
"""Acknowledgements come faster than they are stored, on any machine, and little room is left for them."""

NEVER_BEHIND: Final = """
pipeline.Pipeline.is_behind = False
"""
ROUNDS: Final = 50
ROUND_SECONDS: Final = 0.1
PATIENT_ROUNDS: Final = 2_000


def reasons(relay: RelayProcess, *, rounds: int) -> set[str]:
    """Why messages are refused that somebody writes during a flood of acknowledgements; no more once one is lost."""
    writer, reader = ReferenceClient(relay.url).login(["ack"]), ReferenceClient(relay.url).login(["ack"])
    flooder, found = Flooder(relay, FLOODS["acknowledgements"], logged_in=True), set[str]()
    try:
        for _ in range(40):
            flooder.open()
        for _ in range(rounds):
            until = time.monotonic() + ROUND_SECONDS
            while time.monotonic() < until:
                flooder.step()
            writer.send(writer.person.message(reader.person))
            with contextlib.suppress(TimeoutError):
                while True:
                    found |= refused([writer.receive(0)])
            if "storage" in found:
                return found
        return found | refused(writer.settle())
    finally:
        flooder.close()
        writer.close()
        reader.close()


def refused(answers: list[Frame]) -> set[str]:
    return {answer["payload"]["details"]["reason"] for answer in answers if answer["type"] == "ERROR"}


def test_flood_of_acknowledgements_leaves_room_in_the_queue_of_a_slow_store(start_relay: StartRelay) -> None:
    assert "storage" not in reasons(start_relay(*LIMITS, command=patched(SLOW)), rounds=ROUNDS)


def test_control_acknowledgements_fill_the_queue_if_who_sends_them_does_not_wait(start_relay: StartRelay) -> None:
    relay = start_relay(*LIMITS, command=patched(SLOW + NEVER_BEHIND))
    assert "storage" in reasons(relay, rounds=PATIENT_ROUNDS)
