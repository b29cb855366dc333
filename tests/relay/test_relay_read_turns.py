"""What is read in one turn of the event loop is bounded: who sends little does not wait for all that others pour."""

import asyncio
import socket
import ssl
from contextlib import ExitStack, suppress
from typing import Final, cast

import pytest

from phantom_messenger.relay import tcp
from phantom_messenger.relay.framing import PartialMessages
from phantom_messenger.relay.listening import TLS_RECEIVE_BUFFER
from phantom_messenger.relay.session import Session
from phantom_messenger.relay.tcp import TLS_HELD
from phantom_messenger.relay.websocket import READ_BUDGET, SMALL_READ, ReadBudget, WebSocketConnection
from support.certificates import Certificate, self_signed
from support.raw_socket import TEXT, frame
from support.waiting import PATIENCE

MANY: Final = 200
POURED: Final = [letter * 30_000 for letter in (b"a", b"b")]
"""What each of the many sends, at once: it is in their sockets before the first turn."""

HELLO: Final = b"hello"
PIECE: Final = 8_192
"""Of what each sends over TLS, so much arrives in a turn."""

MOST: Final = READ_BUDGET + 16_384 + MANY * SMALL_READ


MANY_OVER_TLS: Final = 50
BUDGET_OVER_TLS: Final = 65_536
MOST_OVER_TLS: Final = BUDGET_OVER_TLS + 16_384 + 2 * MANY_OVER_TLS * SMALL_READ
"""What was left of a connection, and what has arrived of it, can be read in the same turn."""

MOST_HELD: Final = TLS_HELD + 2 * TLS_RECEIVE_BUFFER
"""Ciphertext of one connection, outside its socket; the operating system doubles the socket's buffer."""

MUCH: Final = 1 << 18
"""What asyncio's TLS holds if nobody asks for less."""

Tunnel = tuple[asyncio.Transport, ssl.SSLObject, ssl.MemoryBIO]
"""The relay's end of it, the client's, and what the client has to send."""


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
        self.held = 0

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


async def encrypted(near: socket.socket, far: socket.socket, theirs: ssl.SSLContext, ours: ssl.SSLContext) -> Tunnel:
    """Agree on TLS over a pair of sockets."""
    loop, arrived, leaving = asyncio.get_running_loop(), ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(arrived, leaving, server_hostname="127.0.0.1")
    far.setblocking(False)
    accepted = loop.create_task(loop.connect_accepted_socket(Paused, near, ssl=theirs))
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            await loop.sock_sendall(far, leaving.read())
            arrived.write(await loop.sock_recv(far, 65_536))
    await loop.sock_sendall(far, leaving.read())
    return (await accepted)[0], client, leaving


async def pour_over_tls(reads: ReadBudget, certificate: Certificate) -> Reader:
    """The same over TLS; a piece of each arrives in every turn, for TLS takes all that is in a socket at once."""
    reader, partial = Reader(), PartialMessages(1 << 30)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate.cert, certificate.key)
    ours = certificate.trust()
    sent: list[tuple[asyncio.Transport, socket.socket, bytearray]] = []
    with ExitStack() as stack:
        for number in range(MANY_OVER_TLS + 1):
            near, far = socket.socketpair()
            stack.enter_context(far)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TLS_RECEIVE_BUFFER)
            transport, client, leaving = await encrypted(near, far, theirs, ours)
            stack.callback(transport.abort)
            client.write(b"".join(frame(TEXT, text) for text in (4 * POURED if number < MANY_OVER_TLS else [HELLO])))
            sent.append((transport, far, bytearray(leaving.read())))
            connection = Counting(reader, "address", "host", partial, reads=reads)
            connection.reader = reader
            connection.open(transport, b"", b"", lambda: None)
            transport.resume_reading()
        async with asyncio.timeout(PATIENCE):
            while sum(len(one.said) for one in reader.people) < MANY_OVER_TLS * 4 * len(POURED) + 1:
                for transport, far, ciphertext in sent:
                    with suppress(BlockingIOError):  # there is no room yet
                        del ciphertext[: far.send(ciphertext[:PIECE])]
                    reader.held = max(reader.held, transport.get_read_buffer_size())  # type: ignore[attr-defined]
                reader.turn += 1
                await asyncio.sleep(0)
    await asyncio.sleep(0)
    return reader


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"))


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


def test_over_tls_a_turn_reads_little_more_and_little_is_held(certificate: Certificate) -> None:
    reader = asyncio.run(pour_over_tls(ReadBudget(BUDGET_OVER_TLS), certificate))
    assert max(reader.read.values()) <= MOST_OVER_TLS
    assert [one.said for one in reader.people] == [4 * POURED] * MANY_OVER_TLS + [[HELLO]]
    assert reader.hello_in == min(reader.read)
    assert reader.held <= MOST_HELD


class Tireless(ReadBudget):
    """Pauses nobody."""

    def spend(self, count: int) -> bool:
        super().spend(count)
        return True


def test_control_over_tls_who_is_not_paused_is_read_again_and_again(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "TLS_HELD", MUCH)
    reader = asyncio.run(pour_over_tls(Tireless(BUDGET_OVER_TLS), certificate))
    assert max(reader.read.values()) > MOST_OVER_TLS


def test_control_asyncio_by_itself_holds_more(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "TLS_HELD", MUCH)
    reader = asyncio.run(pour_over_tls(ReadBudget(BUDGET_OVER_TLS), certificate))
    assert reader.held > MOST_HELD
