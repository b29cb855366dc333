"""What is written to a socket that takes it slowly arrives as it was written; and no more is read meanwhile."""

import asyncio
import random
import socket
from collections.abc import Sequence
from typing import Final, Self, cast

import pytest
import uvloop

from phantom_messenger.relay.framing import PartialMessages, text_header
from phantom_messenger.relay.session import Session
from phantom_messenger.relay.websocket import WebSocketConnection
from support.raw_socket import PING, PONG, TEXT, frame

SIZES: Final = (1, 125, 126, 3_000, 8_192, 8_193, 30_000, 65_535, 65_536)
WRITES: Final = 40
SEEDS: Final = range(6)
RESPONSE: Final = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Anybody:
    """A session whose messages may be large."""

    most_bytes = 1 << 20


class Counting:
    """A receiver that counts what comes."""

    connection: WebSocketConnection

    def __init__(self) -> None:
        self.came = 0

    def connect(self, connection: WebSocketConnection, *, address: str, host: str) -> Session:  # noqa: ARG002
        self.connection = connection
        return cast("Session", Anybody())

    def receive(self, session: Session, text: bytes) -> None:  # noqa: ARG002
        self.came += 1

    def receive_binary(self, session: Session, data: bytes) -> None: ...
    def writable(self, session: Session) -> None: ...
    def disconnected(self, session: Session) -> None: ...


class Waiting(asyncio.Protocol):
    """Hands its socket on at once."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.open(cast("asyncio.Transport", transport), RESPONSE, b"", lambda: None)


class Pair:
    """A connection of the relay, and the socket at its other end, which takes little."""

    def __init__(self, kind: type[WebSocketConnection], receiver: Counting | None = None) -> None:
        self.receiver = receiver or Counting()
        self.connection = kind(self.receiver, "", "", PartialMessages())
        self.client = socket.socket()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Waiting(self.connection), "127.0.0.1", 0)
        # An accepted socket has the buffer of the one that listens.
        self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.setblocking(False)
        await loop.sock_connect(self.client, self._server.sockets[0].getsockname())
        await self.read(len(RESPONSE))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.connection.abort()
        self.client.close()
        self._server.close()
        await self._server.wait_closed()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, data)
        for _ in range(10):
            await asyncio.sleep(0)  # in a few turns what was sent is read, unless the other end does not read

    async def read(self, count: int) -> bytes:
        found = b""
        async with asyncio.timeout(100):
            while len(found) < count:
                found += await asyncio.get_running_loop().sock_recv(self.client, count - len(found))
        return found


async def torrent(kind: type[WebSocketConnection], seed: int) -> tuple[bytes, bytes]:
    """What was written to somebody who reads little and late, and asks meanwhile; and what arrived."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    async with Pair(kind) as pair:
        expected = later = b""
        for number in range(WRITES):
            if chance.random() < 0.2:
                pong = frame(PONG, b"%d" % number, masked=False)
                if pair.connection._is_full:
                    later += pong  # the ping is read when what waits was taken
                else:
                    expected += pong
                await pair.send(frame(PING, b"%d" % number))
                continue
            messages = [chance.randbytes(1) * chance.choice(SIZES) for _ in range(chance.choice((1, 1, 1, 2, 3, 4)))]
            pair.connection.write(messages)
            expected += b"".join(frame(TEXT, message, masked=False) for message in messages)
        assert pair.connection.buffered(), "the socket took it all: nothing was shown"
        arrived = await pair.read(len(expected + later))
        async with asyncio.timeout(100):
            while pair.connection.bytes_acked() < len(RESPONSE + expected + later):  # noqa: ASYNC110 - of the operating system
                await asyncio.sleep(0.01)
        assert pair.connection.bytes_acked() == len(RESPONSE + expected + later)
        return expected + later, arrived


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_arrive_whole_and_in_order_though_the_socket_is_full(seed: int) -> None:
    expected, arrived = uvloop.run(torrent(WebSocketConnection, seed))
    assert arrived == expected


class Careless(WebSocketConnection):
    """The control: a header is written and its message later."""

    def write(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self._write(text_header(len(message)))
            asyncio.get_running_loop().call_soon(self._write, message)


def test_control_frames_that_are_written_in_parts_are_torn() -> None:
    expected, arrived = uvloop.run(torrent(Careless, SEEDS[0]))
    assert arrived != expected


# --- nothing is read on from somebody who takes nothing ---------------------------

ASKED: Final = 600
QUESTION: Final = frame(TEXT, b"x" * 1_000)


class Answering(Counting):
    """Answers each question ten times as long as it is."""

    def receive(self, session: Session, text: bytes) -> None:
        super().receive(session, text)
        self.connection.write([text * 10])


class Reading(WebSocketConnection):
    """The control: it goes on reading."""

    def pause_writing(self) -> None: ...


async def asked(kind: type[WebSocketConnection]) -> tuple[int, int, int]:
    """Ask and take nothing: the most bytes that waited, what was read meanwhile, what when all was taken."""
    async with Pair(kind, Answering()) as pair:
        sending = asyncio.get_running_loop().create_task(pair.send(QUESTION * ASKED))
        most = 0
        for _ in range(30):
            await asyncio.sleep(0.01)
            most = max(most, pair.connection.buffered())
        came = pair.receiver.came
        await pair.read(ASKED * (len(text_header(10_000)) + 10_000))
        await sending
        return most, came, pair.receiver.came


def test_questions_are_left_unread_while_their_answers_wait() -> None:
    most, came, in_the_end = uvloop.run(asked(WebSocketConnection))
    assert most <= 65_536 + 11_000, "what uvloop holds until it says so, and one answer more"
    assert came < ASKED / 4
    assert in_the_end == ASKED, "and then all are answered"


def test_control_a_reader_that_goes_on_holds_megabytes() -> None:
    most, _, _ = uvloop.run(asked(Reading))
    assert most > 1_048_576


def test_acked_is_what_has_reached_the_client() -> None:
    async def main() -> None:
        async with Pair(WebSocketConnection) as pair:
            messages = [b"x" * 65_000] * 20
            pair.connection.write(messages)
            length = sum(len(text_header(len(message))) + len(message) for message in messages)
            acked, buffered = pair.connection.bytes_acked(), pair.connection.buffered()
            assert buffered > 0
            assert len(RESPONSE) <= acked
            assert acked + buffered < len(RESPONSE) + length, "some of it is under way"
            await pair.read(length)
            async with asyncio.timeout(100):
                while pair.connection.bytes_acked() < len(RESPONSE) + length:  # noqa: ASYNC110 - of the operating system
                    await asyncio.sleep(0.01)

    uvloop.run(main())


# --- what is half sent, of all connections together -------------------------------


def ended(holds: list[tuple[str, int]], most: int) -> list[str]:
    """Who is ended, in which order, when connections hold so much one after the other."""
    partial, found = PartialMessages(most), []
    ends = {name: (lambda name=name: found.append(name)) for name, _ in holds}
    for name, count in holds:
        partial.hold(ends[name], count)
    return found


@pytest.mark.parametrize(
    ("holds", "expected"),
    [
        ([("a", 60), ("b", 40)], []),
        ([("a", 60), ("b", 41)], ["a"]),
        ([("a", 50), ("b", 50), ("c", 1)], ["a"]),
        ([("b", 50), ("a", 50), ("c", 1)], ["b"]),
        ([("a", 50), ("a", 0), ("b", 100)], []),
        ([("a", 10), ("b", 20), ("a", 90)], ["a"]),
        ([("a", 30), ("b", 30), ("c", 30), ("d", 101)], ["d"]),
        ([("a", 99), ("b", 1), ("b", 2), ("b", 3)], ["a"]),
    ],
)
def test_whoever_holds_the_most_for_longest_is_ended_when_it_is_too_much(
    holds: list[tuple[str, int]], expected: list[str]
) -> None:
    assert ended(holds, 100) == expected


# --- the first write ---------------------------------------------------------------


class Greeting(Counting):
    """A receiver that greets whoever connects."""

    def connect(self, connection: WebSocketConnection, *, address: str, host: str) -> Session:
        connection.write([b"hello"])
        return super().connect(connection, address=address, host=host)


class Noting(asyncio.Transport):
    """A transport that notes each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))


@pytest.mark.parametrize(
    ("receiver", "written"),
    [(Greeting, RESPONSE + text_header(5) + b"hello"), (Counting, RESPONSE)],
    ids=["a greeting", "nothing to say"],
)
def test_handshake_is_answered_in_one_write_with_the_greeting(receiver: type[Counting], written: bytes) -> None:
    async def writes() -> list[bytes]:
        transport = Noting()
        connection = WebSocketConnection(receiver(), "address", "host", PartialMessages())
        connection.open(transport, RESPONSE, b"", lambda: None)
        await asyncio.sleep(0)
        return transport.writes

    assert asyncio.run(writes()) == [written]
