"""One connection of the relay and what its client sends, frame by frame, without a socket."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

import pytest

from phantom_messenger.relay import websocket
from phantom_messenger.relay.framing import PartialMessages
from phantom_messenger.relay.reading import FRAME_COST, SMALL_READ, ReadBudget
from phantom_messenger.relay.session import Session
from phantom_messenger.relay.websocket import MAX_DISCARDED, WebSocketConnection
from phantom_messenger.wire.limits import MAX_CONTROL_FRAMES, MAX_FRAGMENTS
from support.cases import each
from support.fake_transport import FakeTransport
from support.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame

LIMIT: Final = 300
RESPONSE: Final = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
GREETING: Final = frame(TEXT, b"greeting", masked=False)


class Anybody:
    """A session whose messages may be so large."""

    most_bytes = LIMIT


class Client:
    """A connection, the client's side of it, and what the relay was told."""

    def __init__(self, early: bytes = b"", *, greets: bool = True, reads: ReadBudget | None = None) -> None:
        self.told: list[Any] = []
        self.wire = FakeTransport()
        self.partial = PartialMessages()
        self.session = cast("Session", Anybody())
        self.aborts = False
        self.connection = WebSocketConnection(self, "192.0.2.1", "relay.test", self.partial, reads=reads)
        closed = lambda: self.told.append("closed")  # noqa: E731
        self.connection.open(cast("asyncio.Transport", self.wire), RESPONSE, early, closed)
        assert self.wire.protocol is self.connection
        assert self.wire.written == b""
        if greets:
            self.connection.write([b"greeting"])
            assert self.wire.writes == 1
            assert self.wire.take() == RESPONSE + GREETING
        assert self.told.pop(0) == ("192.0.2.1", "relay.test")

    def connect(self, connection: WebSocketConnection, *, address: str, host: str) -> Session:  # noqa: ARG002
        self.told.append((address, host))
        return self.session

    def receive(self, session: Session, text: bytes) -> None:
        assert session is self.session
        self.told.append(text)
        if self.aborts:
            self.connection.abort()

    def receive_binary(self, session: Session, data: bytes) -> None:
        assert session is self.session
        self.told.append(("binary", data))

    def writable(self, session: Session) -> None:
        assert session is self.session
        self.told.append("writable")

    def disconnected(self, session: Session) -> None:
        assert session is self.session
        self.told.append("disconnected")

    def send(self, *frames: bytes, at_once: int = 8_192) -> list[Any]:
        """Let these arrive, so many bytes at once; what the relay was told of them."""
        data = b"".join(frames)
        for first in range(0, len(data), at_once):
            part = data[first : first + at_once]
            self.connection.get_buffer(-1)[: len(part)] = part
            self.connection.buffer_updated(len(part))
        told, self.told = self.told, []
        return told

    @property
    def held(self) -> int:
        """Bytes of incomplete messages, as all connections count them."""
        return sum(self.partial._held.values())

    def closed_with(self) -> tuple[int, str]:
        """The close frame that was written, which is the last thing."""
        written = self.wire.take()
        assert written[0] == 0x80 | CLOSE
        assert written[1] == len(written) - 2
        return int.from_bytes(written[2:4]), written[4:].decode()


def unmasked(opcode: int, payload: bytes) -> bytes:
    return frame(opcode, payload, masked=False)


def in_loop(act: Callable[[Client], None]) -> None:
    """Do something with a client while an event loop runs."""

    async def main() -> None:
        act(Client())

    asyncio.run(main())


PIECES = [1, 3, 8_192]


@pytest.mark.parametrize("at_once", PIECES)
def test_messages_arrive_whole_and_in_order(at_once: int) -> None:
    def act(client: Client) -> None:
        sent = [
            frame(TEXT, b"one"),
            frame(TEXT, b"t", fin=False),
            frame(PING, b"between"),
            frame(CONTINUATION, b"", fin=False),
            frame(CONTINUATION, b"wo"),
            frame(PONG, b"nobody asked"),
            frame(TEXT, b""),
            frame(BINARY, b"\x00", fin=False),
            frame(CONTINUATION, b"\xff"),
            frame(TEXT, b"x" * LIMIT),
            frame(TEXT, "é".encode()[:1], fin=False),
            frame(CONTINUATION, "é".encode()[1:]),
        ]
        told = client.send(*sent, at_once=at_once)
        assert told == [b"one", b"two", b"", ("binary", b"\x00\xff"), b"x" * LIMIT, "é".encode()]
        assert client.wire.take() == unmasked(PONG, b"between")
        assert client.held == 0

    in_loop(act)


def test_what_came_behind_the_handshake_is_read() -> None:
    async def main() -> None:
        client = Client(frame(TEXT, b"early") + frame(TEXT, b"half")[:-1])
        assert client.told == [b"early"]
        assert client.held > 0
        assert client.send(frame(TEXT, b"half")[-1:]) == [b"early", b"half"]

    asyncio.run(main())


def test_response_does_not_wait_for_a_greeting() -> None:
    async def main() -> None:
        client = Client(greets=False)
        await asyncio.sleep(0)
        assert client.wire.take() == RESPONSE
        client.connection.write([b"greeting"])
        assert client.wire.take() == GREETING

    asyncio.run(main())


@each("at_once", PIECES)
@each(
    ("frames", "code", "reason"),
    [
        ([frame(TEXT, b"x", rsv=4)], 1002, "reserved bits"),
        ([frame(TEXT, b"x", masked=False)], 1002, "broken frame"),
        ([frame(CONTINUATION, b"x")], 1002, "fragments out of order"),
        ([frame(TEXT, b"x", fin=False), frame(TEXT, b"x")], 1002, "fragments out of order"),
        ([frame(CLOSE, b"\x03")], 1002, "close frame too short"),
        ([close_frame(999)], 1002, "invalid status code"),
        ([frame(CLOSE, b"\x03\xe8\xff")], 1007, "invalid start byte at position 0"),
        ([frame(TEXT, b"\xff")], 1007, "invalid UTF-8"),
        ([frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"x")], 1007, "invalid UTF-8"),
        ([frame(TEXT, b"x" * (LIMIT + 1))[:8]], 1009, "message too big"),
        ([frame(TEXT, b"x" * LIMIT, fin=False), frame(CONTINUATION, b"x")[:6]], 1009, "message too big"),
        (
            [frame(TEXT, b"", fin=False), *[frame(CONTINUATION, b"", fin=False)] * MAX_FRAGMENTS],
            1009,
            "message too big",
        ),
        ([frame(PING, b"")] * (MAX_CONTROL_FRAMES + 1), 4002, "too many control frames"),
    ],
)
def test_whoever_breaks_the_rules_is_told_and_read_no_more(
    frames: Sequence[bytes], code: int, reason: str, at_once: int
) -> None:
    def act(client: Client) -> None:
        assert client.send(*frames[:-1], at_once=at_once) == []
        client.wire.take()
        assert client.send(frames[-1], at_once=at_once) == []
        assert client.closed_with() == (code, reason)
        assert client.send(frame(TEXT, b"more"), close_frame(1000)) == []
        assert client.wire.take() == b""
        assert client.held == 0
        assert client.wire.ended == "", "its reading end decides"

    in_loop(act)


@pytest.mark.parametrize("at_once", PIECES)
def test_close_in_the_middle_of_a_message_is_answered_and_the_message_dropped(at_once: int) -> None:
    def act(client: Client) -> None:
        assert client.send(frame(TEXT, b"x", fin=False), close_frame(1001, "leaving"), at_once=at_once) == []
        assert client.closed_with() == (1001, "leaving")
        assert client.held == 0

    in_loop(act)


def test_most_that_is_allowed_is_taken() -> None:
    def act(client: Client) -> None:
        pieces = [frame(TEXT, b"x", fin=False), *[frame(CONTINUATION, b"x", fin=False)] * (MAX_FRAGMENTS - 2)]
        assert client.send(*pieces, frame(CONTINUATION, b"x")) == [b"x" * MAX_FRAGMENTS]
        client.send(*[frame(PING, b"")] * MAX_CONTROL_FRAMES)
        assert client.wire.take() == unmasked(PONG, b"") * MAX_CONTROL_FRAMES

    in_loop(act)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x0f\xa1bye"])
def test_close_is_echoed_and_nothing_behind_it_is_read(payload: bytes) -> None:
    def act(client: Client) -> None:
        assert client.send(frame(TEXT, b"last"), frame(CLOSE, payload), frame(TEXT, b"behind")) == [b"last"]
        assert client.wire.take() == unmasked(CLOSE, payload)
        assert client.wire.ended == "closed"
        client.connection.connection_lost(None)
        assert client.told == ["closed", "disconnected"]
        assert client.connection.buffered() == 0

    in_loop(act)


def test_what_is_written_in_one_turn_is_one_write() -> None:
    def act(client: Client) -> None:
        client.connection.write([b"one", b"x" * 126])
        assert client.wire.writes == 1
        assert client.wire.take() == unmasked(TEXT, b"one") + unmasked(TEXT, b"x" * 126)
        client.connection.close(4001, "enough")
        client.connection.write([b"behind"])
        client.connection.close(1000, "again")
        assert client.closed_with() == (4001, "enough")

    in_loop(act)


@pytest.mark.parametrize("wait", [True, False])
def test_client_has_time_to_answer_a_close_unless_it_is_to_end_at_once(wait: bool) -> None:
    def act(client: Client) -> None:
        client.send(frame(TEXT, b"half")[:-1])
        client.connection.close(1001, "", wait_for_close=wait)
        assert client.held == 0
        assert client.wire.ended == ("" if wait else "closed")
        if wait:
            rest = frame(TEXT, b"half")[-1:]
            assert client.send(rest, frame(TEXT, b"x"), frame(PING, b"x"), close_frame(1001)[:-1]) == []
            assert client.wire.ended == ""
            client.send(close_frame(1001)[-1:])
            assert client.wire.ended == "closed"

    in_loop(act)


@pytest.mark.parametrize("by_relay", [True, False])
def test_socket_is_cut_when_the_close_is_not_answered(by_relay: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.0)

    async def main() -> None:
        client = Client()
        if by_relay:
            client.connection.close(1000, "")
        else:
            client.send(frame(TEXT, b"x", masked=False))
        assert client.wire.ended == ""
        await asyncio.sleep(0.01)
        assert client.wire.ended == "aborted"

    asyncio.run(main())


def test_what_is_broken_behind_a_close_ends_the_reading() -> None:
    def act(client: Client) -> None:
        client.connection.close(1000, "")
        client.wire.take()
        client.send(frame(TEXT, b"x", masked=False), close_frame(1000))
        client.send(close_frame(1000))
        assert (client.wire.take(), client.wire.ended) == (b"", "")

    in_loop(act)


def test_nothing_is_handled_behind_an_abort() -> None:
    def act(client: Client) -> None:
        client.aborts = True
        assert client.send(frame(TEXT, b"one"), frame(TEXT, b"two")) == [b"one"]
        assert client.wire.ended == "aborted"

    in_loop(act)


def test_nothing_is_written_to_a_socket_that_has_failed() -> None:
    def act(client: Client) -> None:
        client.wire.abort()
        client.connection.write([b"one"])
        assert client.wire.take() == b""
        assert client.connection.bytes_acked() == len(RESPONSE + GREETING)

    in_loop(act)


def test_so_much_is_discarded_behind_a_close_and_no_more() -> None:
    def act(client: Client) -> None:
        client.connection.close(1000, "")
        whole = frame(TEXT, b"x" * 1_000)
        assert client.send(*[whole] * (MAX_DISCARDED // (len(whole) + FRAME_COST)), at_once=len(whole)) == []
        assert client.wire.flow == "reading"
        client.send(whole, at_once=len(whole))
        assert client.wire.flow == "paused"

    in_loop(act)


def test_nothing_is_read_of_a_client_that_takes_nothing() -> None:
    def act(client: Client) -> None:
        client.connection.pause_writing()
        assert client.wire.flow == "paused"
        assert client.send(frame(TEXT, b"one"), frame(TEXT, b"two")) == []
        assert client.held == len(frame(TEXT, b"one")) * 2
        client.connection.resume_writing()
        assert client.wire.flow == "reading"
        assert client.told == ["writable", b"one", b"two"]
        assert client.held == 0

    in_loop(act)


def test_half_of_a_message_counts_while_it_is_there() -> None:
    def act(client: Client) -> None:
        client.send(frame(TEXT, b"x" * 100, fin=False))
        assert client.held == 100
        client.send(frame(CONTINUATION, b"y" * 100, fin=False)[:50])
        assert client.held == 150
        client.connection.abort()
        client.connection.connection_lost(None)
        assert client.held == 0
        assert client.wire.ended == "aborted"

    in_loop(act)


def test_whoever_holds_too_much_is_ended() -> None:
    def act(client: Client) -> None:
        client.partial._limit = 200
        client.send(frame(TEXT, b"x" * 200, fin=False))
        assert client.wire.written == b""
        client.send(frame(CONTINUATION, b"x", fin=False))
        assert client.closed_with() == (1009, "too much is half sent")
        assert client.held == 0

    in_loop(act)


# --- waiting for a turn: see ``relay.reading`` ---

WORDS: Final = [b"one", b"two", b"three", b"four"]
SENT: Final = b"".join(frame(TEXT, word) for word in WORDS)


def while_waiting(act: Callable[[Client], Awaitable[Any]], sent: bytes = SENT) -> None:
    """Do something with a client whose third frame has to wait: the first is free, the second spends the budget.

    Whatever happens meanwhile, nothing of it is lost, handled twice or out of order.
    """

    async def main() -> None:
        client = Client(reads=ReadBudget(1))
        assert client.send(sent) == WORDS[:2]
        assert client.wire.flow == "paused"
        await act(client)

    asyncio.run(main())


def test_what_waits_is_handled_in_later_turns_and_then_it_is_read_on() -> None:
    async def act(client: Client) -> None:
        assert client.held == 0
        await asyncio.sleep(0)
        assert client.told == WORDS[2:]
        assert client.wire.flow == "reading"
        assert client.send(frame(TEXT, b"five")) == [*WORDS[2:], b"five"]

    while_waiting(act)


def test_who_takes_nothing_when_its_turn_has_come_is_read_when_it_does() -> None:
    async def act(client: Client) -> None:
        client.connection.pause_writing()
        await asyncio.sleep(0)
        assert client.told == []
        assert client.held == len(b"".join(frame(TEXT, word) for word in WORDS[2:]))
        client.connection.resume_writing()
        await asyncio.sleep(0)
        assert client.told == ["writable", *WORDS[2:]]
        assert client.wire.flow == "reading"
        assert client.held == 0

    while_waiting(act)


def test_who_takes_something_again_has_to_wait_all_the_same() -> None:
    async def act(client: Client) -> None:
        client.connection.pause_writing()
        client.connection.resume_writing()
        assert client.told == ["writable"]
        assert client.wire.flow == "paused"
        await asyncio.sleep(0)
        assert client.told == ["writable", *WORDS[2:]]
        assert client.wire.flow == "reading"

    while_waiting(act)


def test_close_that_waits_is_the_answer_to_a_close() -> None:
    async def act(client: Client) -> None:
        client.connection.close(1000, "")
        assert client.wire.flow == "paused"
        await asyncio.sleep(0)
        assert client.told == []
        assert client.wire.ended == "closed"

    while_waiting(act, SENT + close_frame(1000))


@pytest.mark.parametrize("is_full", [False, True])
def test_who_is_gone_when_its_turn_has_come_is_left_alone(is_full: bool) -> None:
    async def act(client: Client) -> None:
        if is_full:
            client.connection.pause_writing()
        client.connection.connection_lost(None)
        client.told.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.told == []
        assert client.held == 0

    while_waiting(act)


def test_turn_that_is_not_used_up_is_not_saved() -> None:
    async def main() -> None:
        reads = ReadBudget(1)
        client = Client(reads=reads)
        client.send(b"".join(frame(TEXT, word) for word in (b"one", b"two", b"three", b"four")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(client.connection.get_buffer(-1)) > SMALL_READ, "it has its turn"
        client.send(frame(TEXT, b"small"))
        reads.wait(lambda: False, lambda: None)
        assert len(client.connection.get_buffer(-1)) == SMALL_READ, "as all others while somebody waits"

    asyncio.run(main())
