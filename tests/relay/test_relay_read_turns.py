"""What is read in one turn of the event loop is bounded: who sends little does not wait for all that others pour."""

import asyncio
import socket
from contextlib import ExitStack
from typing import Final, cast

from phantom_messenger.relay.framing import PartialMessages
from phantom_messenger.relay.session import Session
from phantom_messenger.relay.websocket import READ_BUDGET, SMALL_READ, ReadBudget, WebSocketConnection
from support.raw_socket import TEXT, frame
from support.waiting import PATIENCE

MANY: Final = 200
POURED: Final = [letter * 30_000 for letter in (b"a", b"b")]
"""What each of the many sends, at once: it is in their sockets before the first turn."""

HELLO: Final = b"hello"
MOST: Final = READ_BUDGET + 16_384 + MANY * SMALL_READ


class Somebody:
    """A session whose messages may be so large."""

    most_bytes = 65_536

    def __init__(self) -> None:
        self.said: list[bytes] = []


class Reader:
    """A relay's side of many connections, which notes how much is read in which turn."""

    def __init__(self) -> None:
        self.turn = 0
        self.read: dict[int, int] = {}
        self.people: list[Somebody] = []
        self.hello_in: int | None = None

    def connect(self, connection: WebSocketConnection, *, address: str, host: str) -> Session:  # noqa: ARG002
        self.people.append(Somebody())
        return cast("Session", self.people[-1])

    def receive(self, session: Session, text: bytes) -> None:
        cast("Somebody", session).said.append(text)
        if text == HELLO:
            self.hello_in = self.turn

    def receive_binary(self, session: Session, data: bytes) -> None:
        raise AssertionError(session, data)

    def writable(self, session: Session) -> None:
        raise AssertionError(session)

    def disconnected(self, session: Session) -> None:
        """At the end of the test."""


class Counting(WebSocketConnection):
    """Notes how much it reads in which turn."""

    reader: Reader

    def buffer_updated(self, nbytes: int) -> None:
        self.reader.read[self.reader.turn] = self.reader.read.get(self.reader.turn, 0) + nbytes
        super().buffer_updated(nbytes)


async def pour(reads: ReadBudget) -> Reader:
    """Let many pour large messages, and one send a small one: all of it is there before the first turn that reads."""
    reader, partial, loop = Reader(), PartialMessages(1 << 30), asyncio.get_running_loop()
    transports: list[asyncio.Transport] = []
    with ExitStack() as stack:
        for number in range(MANY + 1):
            near, far = socket.socketpair()
            stack.enter_context(far)
            far.sendall(b"".join(frame(TEXT, text) for text in (POURED if number < MANY else [HELLO])))
            transport, _ = await loop.connect_accepted_socket(Paused, near)
            stack.callback(transport.abort)
            connection = Counting(reader, "address", "host", partial, reads=reads)
            connection.reader = reader
            connection.open(transport, b"", b"", lambda: None)
            transports.append(transport)
        for transport in transports:
            transport.resume_reading()
        async with asyncio.timeout(PATIENCE):
            while sum(len(one.said) for one in reader.people) < MANY * len(POURED) + 1:
                reader.turn += 1
                await asyncio.sleep(0)
    await asyncio.sleep(0)
    return reader


class Paused(asyncio.Protocol):
    """Reads nothing yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).pause_reading()


def test_a_turn_reads_no_more_than_its_budget_and_a_little_of_everybody() -> None:
    reader = asyncio.run(pour(ReadBudget()))
    assert max(reader.read.values()) <= MOST
    assert [one.said for one in reader.people] == [POURED] * MANY + [[HELLO]]


def test_who_sends_little_is_heard_in_the_first_turn() -> None:
    reader = asyncio.run(pour(ReadBudget()))
    assert reader.hello_in == min(reader.read)


def test_control_without_a_budget_a_turn_reads_all_that_they_pour() -> None:
    reader = asyncio.run(pour(ReadBudget(1 << 40)))
    assert max(reader.read.values()) > 3 * MOST
