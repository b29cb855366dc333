"""What a turn of the event loop reads and handles is bounded: who sends little does not wait for all that others pour.

On asyncio's loop and on uvloop, which the relay runs on: it reads a socket many times in a turn.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from typing import Any, Final, cast

import pytest
import uvloop

from phantom_messenger.relay import reading, tcp, websocket
from phantom_messenger.relay.framing import PartialMessages
from phantom_messenger.relay.listening import TLS_RECEIVE_BUFFER
from phantom_messenger.relay.reading import (
    FRAME_COST,
    PART_OF_WAITING,
    READ_BUDGET,
    READ_BYTES,
    SMALL_READ,
    ReadBudget,
)
from phantom_messenger.relay.session import Session
from phantom_messenger.relay.tcp import TLS_HELD
from phantom_messenger.relay.websocket import WebSocketConnection
from support.certificates import Certificate, self_signed
from support.raw_socket import TEXT, frame
from support.waiting import PATIENCE

MANY: Final = 200
POURED: Final = [letter * 30_000 for letter in (b"a", b"b")]
"""What each of the many sends, at once: it is in their sockets before the first turn."""

HELLO: Final = b"hello"
PIECE: Final = 8_192
"""Of what each sends over TLS, so much arrives in a turn."""

MOST: Final = READ_BUDGET + 2 * READ_BYTES + MANY * SMALL_READ

TINY: Final = [b"%d" % number for number in range(60)]
MOST_TINY: Final = READ_BUDGET // FRAME_COST + MANY + 1
"""Frames of a turn: what its budget comes to, and the first of each read."""

MOST_WAITING: Final = READ_BUDGET // PART_OF_WAITING // FRAME_COST + 5
"""Frames of a turn in which all have to wait: what their part comes to, and one share that it was not enough for."""

SHORT: Final = [b"x" * 100] * 60
"""More than a small read."""

LITTLE: Final = 32_768
MOST_SHORT: Final = LITTLE // FRAME_COST + LITTLE // SMALL_READ + 4
"""Frames of a turn with so little a budget, if all have more to send: no longer the first of each."""

LONG: Final = b"x" * 60_000
END: Final = 16
"""Bytes of a long message that come later than the others, all at once."""

MOST_LONG: Final = READ_BUDGET // len(LONG) + 1

MOST_HALF: Final = MANY * SMALL_READ + 2 * READ_BUDGET
"""What all hold of messages that are half read: a small read of each, and what the last turns have read."""


Run = Callable[[Coroutine[Any, Any, "Reader"]], "Reader"]
loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


MANY_OVER_TLS: Final = 50
BUDGET_OVER_TLS: Final = 65_536
MOST_OVER_TLS: Final = BUDGET_OVER_TLS + 2 * READ_BYTES + MANY_OVER_TLS * SMALL_READ

MOST_HELD: Final = TLS_HELD + 2 * TLS_RECEIVE_BUFFER
"""Ciphertext of one connection, outside its socket; the operating system doubles the socket's buffer."""

MUCH: Final = 1 << 18
"""What asyncio's TLS holds if nobody asks for less."""

Tunnel = tuple[asyncio.Transport, ssl.SSLObject, ssl.MemoryBIO]
"""The relay's end of it, the client's, and what the client has to send."""


class Somebody:
    """A session whose messages may be as long as they are here."""

    most_bytes = 65_536

    def __init__(self) -> None:
        self.said: list[bytes] = []


class Reader:
    """A relay's side of many connections, which notes how much is read in which turn."""

    def __init__(self) -> None:
        self.turn = 0
        self.read = Counter[int]()
        self.heard = Counter[int]()
        self.people: list[Somebody] = []
        self.hello_in: int | None = None
        self.held = 0
        self.gone = 0

    def connect(self, connection: WebSocketConnection, *, address: str, host: str) -> Session:  # noqa: ARG002
        self.people.append(Somebody())
        return cast("Session", self.people[-1])

    def receive(self, session: Session, text: bytes) -> None:
        cast("Somebody", session).said.append(text)
        self.heard[self.turn] += 1
        if text == HELLO:
            self.hello_in = self.turn

    def receive_binary(self, session: Session, data: bytes) -> None:
        raise AssertionError(session, data)

    def writable(self, session: Session) -> None:
        raise AssertionError(session)

    def disconnected(self, session: Session) -> None:  # noqa: ARG002
        """At the end of most tests."""
        self.gone += 1


class Counting(WebSocketConnection):
    """Notes how much it reads in which turn."""

    reader: Reader
    got = 0

    def buffer_updated(self, nbytes: int) -> None:
        self.reader.read[self.reader.turn] += nbytes
        self.got += nbytes
        super().buffer_updated(nbytes)


class Half(PartialMessages):
    """Notes the most that was held at once."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(1 << 30)
        self._reader = reader

    def hold(self, end: Callable[[], None], count: int) -> None:
        super().hold(end, count)
        self._reader.held = max(self._reader.held, self._total)


async def connect_many(stack: ExitStack, reads: ReadBudget, reader: Reader) -> list[tuple[socket.socket, Counting]]:
    """Connections, and the sockets of those who send on them."""
    partial, people = Half(reader), []
    for _ in range(MANY + 1):
        near, far = socket.socketpair()
        stack.enter_context(far)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(Unread, near)
        stack.callback(transport.abort)
        connection = Counting(reader, "address", "host", partial, reads=reads)
        connection.reader = reader
        connection.open(transport, b"", b"", lambda: None)
        people.append((far, connection))
    return people


async def pour(reads: ReadBudget, texts: list[bytes] = POURED, *, end: int = 0, reader: Reader | None = None) -> Reader:
    """Let many send the same at once, and one a small message: all of it is there before the first turn that reads.

    With ``end`` so many bytes of it come together once all that is before them was read.
    """
    reader = reader or Reader()
    poured = b"".join(frame(TEXT, text) for text in texts)
    parts = (poured[:-end], poured[-end:]) if end else (poured,)
    with ExitStack() as stack:
        sockets = [far for far, _ in await connect_many(stack, reads, reader)]
        sockets.pop().sendall(frame(TEXT, HELLO))
        due = 1
        for part in parts:
            due += MANY * len(part)
            for far in sockets:
                far.sendall(part)
            async with asyncio.timeout(PATIENCE):
                while reader.read.total() < due:
                    reader.turn += 1
                    await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            while reader.heard.total() < MANY * len(texts) + 1:
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


class Unread(asyncio.BufferedProtocol):
    """Gets nothing before a connection takes over."""


class Paused(asyncio.Protocol):
    """Reads nothing yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).pause_reading()


@loops
def test_a_turn_reads_no_more_than_its_budget_and_a_little_of_everybody(run: Run) -> None:
    reader = run(pour(ReadBudget()))
    assert max(reader.read.values()) <= MOST
    assert [one.said for one in reader.people] == [POURED] * MANY + [[HELLO]]


@loops
def test_who_sends_little_is_heard_in_the_first_turn(run: Run) -> None:
    reader = run(pour(ReadBudget()))
    assert reader.hello_in == min(reader.read)


def test_few_messages_are_half_read_while_many_are_sent() -> None:
    """Otherwise what is half sent would be too much, and those who send it would be cut."""
    assert uvloop.run(pour(ReadBudget())).held <= MOST_HALF


@loops
def test_a_turn_handles_few_of_many_short_frames(run: Run) -> None:
    reader = run(pour(ReadBudget(), TINY))
    assert max(reader.heard.values()) <= MOST_TINY
    assert [one.said for one in reader.people] == [TINY] * MANY + [[HELLO]]


def while_all_wait(reader: Reader) -> int:
    """The most frames that a turn handles once the first ones are over."""
    assert reader.hello_in is not None
    return max(count for turn, count in reader.heard.items() if turn > reader.hello_in + 2)


@loops
def test_those_who_wait_make_no_turn_long(run: Run) -> None:
    """For a message of somebody else takes several turns."""
    assert while_all_wait(run(pour(ReadBudget(), TINY))) <= MOST_WAITING


@loops
def test_a_turn_handles_nothing_of_most_who_have_more_to_send(run: Run) -> None:
    reader = run(pour(ReadBudget(LITTLE), SHORT))
    assert max(reader.heard.values()) <= MOST_SHORT
    assert [one.said for one in reader.people] == [SHORT] * MANY + [[HELLO]]
    assert reader.hello_in == min(reader.read)


@loops
def test_a_turn_handles_few_long_messages_though_all_end_at_once(run: Run) -> None:
    reader = run(pour(ReadBudget(), [LONG], end=END))
    assert max(reader.heard.values()) <= MOST_LONG
    assert [one.said for one in reader.people] == [[LONG]] * MANY + [[HELLO]]


# The controls.


@loops
def test_control_without_a_budget_a_turn_reads_all_that_they_pour(run: Run) -> None:
    assert max(run(pour(ReadBudget(1 << 40))).read.values()) > 2 * MOST


def test_control_small_reads_alone_bound_no_turn_of_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebSocketConnection, "_wait_for_turn", lambda _, **__: None)
    monkeypatch.setattr(ReadBudget, "may_handle", lambda *_: True)
    monkeypatch.setattr(ReadBudget, "is_overspent", False)
    assert max(uvloop.run(pour(ReadBudget())).read.values()) > 2 * MOST


def test_control_who_reads_a_little_at_a_time_leaves_more_half_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "READ_SHARE", 1)
    assert uvloop.run(pour(ReadBudget())).held > MOST_HALF


@loops
def test_control_without_a_budget_a_turn_handles_all_frames(run: Run) -> None:
    assert max(run(pour(ReadBudget(1 << 40), TINY)).heard.values()) > 3 * MOST_TINY
    assert max(run(pour(ReadBudget(1 << 40), [LONG], end=END)).heard.values()) > 3 * MOST_LONG


@loops
def test_control_half_of_a_turn_is_long(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PART_OF_WAITING", 2)
    assert while_all_wait(run(pour(ReadBudget(), TINY))) > 3 * MOST_WAITING


@loops
def test_control_one_frame_of_everybody_is_many(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadBudget, "is_overspent", False)
    assert max(run(pour(ReadBudget(LITTLE), SHORT)).heard.values()) > 3 * MOST_SHORT


# Over TLS.


@loops
def test_over_tls_a_turn_reads_no_more_and_little_is_held(run: Run, certificate: Certificate) -> None:
    reader = run(pour_over_tls(ReadBudget(BUDGET_OVER_TLS), certificate))
    assert max(reader.read.values()) <= MOST_OVER_TLS
    assert [one.said for one in reader.people] == [4 * POURED] * MANY_OVER_TLS + [[HELLO]]
    assert reader.hello_in == min(reader.read)
    assert reader.held <= MOST_HELD


class Tireless(ReadBudget):
    """Pauses nobody."""

    def read(self, count: int) -> bool:
        super().read(count)
        return True


@loops
def test_control_over_tls_who_is_not_paused_is_read_again_and_again(
    run: Run, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "TLS_HELD", MUCH)
    reader = run(pour_over_tls(Tireless(BUDGET_OVER_TLS), certificate))
    assert max(reader.read.values()) > MOST_OVER_TLS


@loops
def test_control_event_loops_by_themselves_hold_more(
    run: Run, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "TLS_HELD", MUCH)
    reader = run(pour_over_tls(ReadBudget(BUDGET_OVER_TLS), certificate))
    assert reader.held > MOST_HELD
