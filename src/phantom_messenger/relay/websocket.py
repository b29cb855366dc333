"""The relay's end of a WebSocket: a socket and the frames on it, once the handshake is over (``upgrade``, ``http``).

Headers are judged before payloads are kept (``framing``); ``websockets`` reads and writes the contents
of control frames. Every byte to the client goes through ``_write``, so that all that waits for a client is
counted, and nothing is read from a client that does not read.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from websockets.exceptions import ProtocolError
from websockets.frames import Close, Frame, Opcode

from phantom_messenger.events import report
from phantom_messenger.rate_window import Window
from phantom_messenger.relay import tcp
from phantom_messenger.relay.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_HEADER_BYTES,
    PING,
    BrokenFrame,
    Header,
    PartialMessages,
    read_header,
    read_long_payload,
    read_payload,
    text_header,
)
from phantom_messenger.relay.reading import FRAME_COST, READ_BUFFER, READ_SHARE, SMALL_READ, ReadBudget
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.codes import CloseCode
from phantom_messenger.wire.limits import MAX_CONTROL_FRAMES, MAX_FRAGMENTS

CLOSE_TIMEOUT: Final = 2.0
"""Seconds a client has to answer a close frame."""

MAX_DISCARDED: Final = 131_072
"""Bytes discarded after a close frame, counting ``FRAME_COST`` more for each frame; then nothing is read."""


class Receiver(Protocol):
    """What the relay does with what a connection brings."""

    def connect(self, connection: "WebSocketConnection", *, address: str, host: str) -> Session:
        """A connection was opened."""

    def receive(self, session: Session, text: bytes) -> None:
        """A text message has arrived."""

    def receive_binary(self, session: Session, data: bytes) -> None:
        """A binary message has arrived."""

    def writable(self, session: Session) -> None:
        """The socket can be written to again."""

    def disconnected(self, session: Session) -> None:
        """The connection is closed."""


class WebSocketConnection(asyncio.BufferedProtocol):
    """One connection: a ``relay.ports.Connection`` for the core, and the protocol of its socket.

    Args:
        receiver: gets what arrives.
        address: the rate-limit key.
        host: the Host header.
        partial_messages: bounds what all connections hold of incomplete messages.
        max_fragments: of a message; more closes with 1009.
        reads: bounds what all connections read and handle in a turn; one of its own if it is None.
    """

    def __init__(
        self,
        receiver: Receiver,
        address: str,
        host: str,
        partial_messages: PartialMessages,
        *,
        max_fragments: int = MAX_FRAGMENTS,
        reads: ReadBudget | None = None,
    ) -> None:
        self._receiver = receiver
        self._address = address
        self._host = host
        self._partial_messages = partial_messages
        self._max_fragments = max_fragments
        self._reads = reads or ReadBudget()
        self._on_closed: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._response = b""
        # The frame that is being read: its header, how much is missing, and what is there.
        self._header: Header | None = None
        self._missing = 0
        self._frame = bytearray()
        self._unread = b""
        # The message that is being read: its frames so far.
        self._opcode = CONTINUATION
        self._fragments = 0
        self._message = bytearray()
        self._held = 0
        self._controls: Window | None = None
        self._may_discard = MAX_DISCARDED
        self._written = 0
        self._is_full = False
        # Whether it waits for its turn to read and handle on, and what it may read in that turn.
        self._waits = False
        self._share = 0
        self._is_closing = False
        self._has_failed = False

    # --- called by the handshake --------------------------------------------------

    def open(self, transport: asyncio.Transport, response: bytes, early: bytes, on_closed: Callable[[], None]) -> None:
        """Take over a socket whose request was granted.

        Args:
            transport: the socket's.
            response: the answer to the request; it goes out with what is written first.
            early: what arrived behind the request.
            on_closed: called once the socket is closed.
        """
        self._transport = transport
        self._on_closed = on_closed
        tcp.bound_tls(transport)
        transport.set_protocol(self)
        self._response = response
        self._session = self._receiver.connect(self, address=self._address, host=self._host)
        asyncio.get_running_loop().call_soon(self._respond)
        self._host = ""  # up to 8 KB, which only ``connect`` needs
        if early:
            self._read(early)

    # --- called by the event loop -------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """See ``asyncio.BufferedProtocol``."""
        return self._reads.buffer_in_turn if self._share else self._reads.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio.BufferedProtocol``."""
        data = bytes(READ_BUFFER[:nbytes])
        if nbytes < SMALL_READ:
            self._share = 0  # a turn is not saved up for another time
            self._read(data)
        elif self._count_read(nbytes):
            self._read(data)
        else:
            self._unread = data

    def eof_received(self) -> bool:
        """See ``asyncio.BufferedProtocol``: a client that has closed its half gets nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """The socket is closed. No reference cycle is left: the garbage collector runs seldom."""
        self._is_closing = True
        if self._waits:
            self._waits = False
            self._reads.leave(self._read_on)
        self._forget()
        self._on_closed()
        if self._session is not None:
            self._receiver.disconnected(self._session)
        self._session = self._transport = None
        self._on_closed = lambda: None

    def pause_writing(self) -> None:
        """The socket's buffer is full: nothing more is read from a client that does not read."""
        self._is_full = True
        self._stop_reading()

    def resume_writing(self) -> None:
        """The socket's buffer has room again."""
        self._is_full = False
        if self._is_closing or self._transport is None:
            return
        # What waits for the client goes first: it may fill the buffer again, and then nothing is read yet.
        if self._session is not None:
            self._receiver.writable(self._session)
        if self._waits:
            return
        unread, self._unread = self._unread, b""
        if not self._is_full:
            self._transport.resume_reading()
        self._read(unread)

    # --- called by the core -------------------------------------------------------

    def write(self, messages: Sequence[bytes]) -> None:
        """See ``relay.ports.Connection``."""
        if self._is_closing:
            return
        parts: list[bytes] = []
        for message in messages:
            parts += (text_header(len(message)), message)
        self._write(b"".join(parts))

    def close(self, code: int, reason: str, *, wait_for_close: bool = True) -> None:
        """See ``relay.ports.Connection``."""
        if self._is_closing or self._transport is None:
            return
        self._is_closing = True
        self._forget()
        self._write_frame(Opcode.CLOSE, Close(code, reason).serialize())
        # Whatever the client does: one that never answers a close frame must not keep its socket.
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)
        if not wait_for_close:
            self._transport.close()

    def abort(self) -> None:
        """See ``relay.ports.Connection``."""
        self._is_closing = True
        if self._transport is not None:
            tcp.abort(self._transport)

    def buffered(self) -> int:
        """See ``relay.ports.Connection``."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def bytes_acked(self) -> int:
        """See ``relay.ports.Connection``."""
        if self._transport is None or self._transport.is_closing():
            return self._written
        return self._written - tcp.unacked_bytes(self._transport)

    # --- reading ------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Process what has arrived, frame by frame, until the client has to read something first, or to wait."""
        if self._is_closing:
            self._count_discarded(len(data))
        try:
            at = 0
            while at < len(data) and not self._ignores_input:
                if self._missing:
                    if (self._frame or self._message) and not self._may_complete(len(data) - at):
                        self._wait_for_turn(is_first=self._share > 0)
                        break
                    at = self._read_frame(data, at)
                elif at and not self._may_begin():
                    self._wait_for_turn()
                    break
                else:
                    data, at = self._read_header(data, at)
            keeps = self._waits or (self._is_full and not self._is_closing)
            self._unread = data[at:] if keeps else b""
        except BrokenFrame as broken:
            self._fail(CloseCode.PROTOCOL_ERROR, str(broken))
        except Exception as error:  # noqa: BLE001 - boundary: what fails here ends its own connection only
            report(error)
            self._fail(CloseCode.SERVER_ERROR, "internal error")
        self._update_held()

    @property
    def _ignores_input(self) -> bool:
        """Whether what arrives is left alone, for good or for now."""
        return self._transport is None or self._is_full or self._has_failed or self._may_discard < 0

    def _may_begin(self) -> bool:
        """Whether a frame behind another one may be handled now; what is discarded need not wait for the store."""
        return self._reads.may_handle(FRAME_COST) if self._is_closing else self._reads.may_begin()

    def _may_complete(self, count: int) -> bool:
        """Whether so many bytes may be read of a frame: those that complete something long count all of it."""
        header = cast("Header", self._header)
        if self._missing > count or self._is_closing:
            return True
        cost = len(self._frame) + (len(self._message) if header.fin and not header.is_control else 0)
        return cost < SMALL_READ or self._reads.may_handle(cost)

    def _count_discarded(self, cost: int) -> None:
        self._may_discard -= cost
        if self._may_discard < 0:
            self._stop_reading()

    def _read_header(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Read the header of a frame; returns the data with the frame's start in it, and where that is."""
        if self._frame:
            data, at = bytes(self._frame) + data[at:], 0
            self._frame = bytearray()
        self._header = header = read_header(data[at : at + MAX_HEADER_BYTES])
        if header is None:
            self._frame += data[at:]
            return data, len(data)
        self._missing = header.size + header.length
        if self._is_closing:
            self._count_discarded(FRAME_COST)
        else:
            self._judge(header)
        return data, at

    def _judge(self, header: Header) -> None:
        """Whether this frame may arrive now, judging by its header; otherwise the connection fails."""
        if header.is_control:
            if self._controls is None:
                self._controls = Window(MAX_CONTROL_FRAMES)
            if self._controls.acquire(int(asyncio.get_running_loop().time() * 1000)):
                self._fail(CloseCode.RATE_LIMITED, "too many control frames")
            return
        # RFC 6455 section 5.4: a continuation continues something, and nothing else may interrupt a message.
        if (header.opcode == CONTINUATION) != (self._fragments > 0):
            raise BrokenFrame("fragments out of order")
        limit = 0 if self._session is None else self._session.most_bytes
        if len(self._message) + header.length > limit or self._fragments >= self._max_fragments:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "message too big")

    def _read_frame(self, data: bytes, at: int) -> int:
        """Read what there is of a frame; returns where the next one begins, or the end of the data."""
        end = min(at + self._missing, len(data))
        self._missing -= end - at
        header = cast("Header", self._header)
        if self._is_closing:
            if header.opcode == CLOSE and not self._missing and self._transport is not None:
                self._transport.close()
            return end
        if self._missing or self._frame:
            self._frame += data[at:end]
            if self._missing:
                return end
            whole, self._frame = self._frame, bytearray()
            payload = read_long_payload(whole, header)
        else:
            payload = read_payload(data[at:end], header)
        if header.is_control:
            self._handle_control(header.opcode, payload)
        else:
            self._handle_data(header, payload)
        return end

    def _handle_control(self, opcode: int, payload: bytes) -> None:
        """Answer a ping or a close."""
        if opcode == PING:
            self._write_frame(Opcode.PONG, payload)
        elif opcode == CLOSE:
            try:
                Close.parse(payload)
            except ProtocolError as error:
                self._fail(CloseCode.PROTOCOL_ERROR, str(error))
            except UnicodeDecodeError as error:
                self._fail(CloseCode.INVALID_TEXT, f"{error.reason} at position {error.start}")
            else:
                # RFC 6455: echoed (section 5.5.1), also in the middle of a fragmented message (section 5.4).
                self._write_frame(Opcode.CLOSE, payload)
                self._finish(by_handshake=True)

    def _handle_data(self, header: Header, payload: bytes) -> None:
        if header.fin and not self._fragments:
            self._handle_message(header.opcode, payload)
            return
        if not self._fragments:
            self._opcode = header.opcode
        self._fragments += 1
        self._message += payload
        if header.fin:
            message = bytes(self._message)
            self._forget_message()
            self._handle_message(self._opcode, message)

    def _handle_message(self, opcode: int, message: bytes) -> None:
        if self._session is None:
            return
        if opcode == BINARY:
            self._receiver.receive_binary(self._session, message)
        elif message.isascii() or _is_utf8(message):
            self._receiver.receive(self._session, message)
        else:
            # RFC 6455 section 8.1
            self._fail(CloseCode.INVALID_TEXT, "invalid UTF-8")

    def _count_read(self, count: int) -> bool:
        """So much was read; if that was all there was room for, it may have to wait; whether it is handled now."""
        reads = self._reads
        is_filled = count == len(reads.buffer_in_turn if self._share else reads.buffer)
        may_read_on = reads.read(count)
        if self._share:
            self._share = max(self._share - count, 0) if is_filled else 0
            may_read_on = self._share > 0 and not reads.is_spent
        if is_filled and not may_read_on:
            self._wait_for_turn(is_first=self._share > 0)
            return not reads.is_overspent
        return True

    def _wait_for_turn(self, *, is_first: bool = False) -> None:
        """Handle and read no more until those who have waited for longer had their turns."""
        if not self._waits:
            self._waits = True
            self._stop_reading()
            self._reads.wait(self._read_on, self._look, is_first=is_first)

    def _look(self) -> None:
        """Whoever has hung up while waiting is not answered any more, and what they have sent is dropped."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and tcp.has_hung_up(transport):
            self.abort()

    def _read_on(self) -> bool:
        """Its turn has come: handle what has arrived, and read if that was all; whether it reads."""
        self._waits = False
        if self._is_full or self._transport is None:
            self._update_held()
            return False
        unread, self._unread = self._unread, b""
        self._read(unread)
        if self._waits or self._is_full or self._may_discard < 0 or self._transport.is_closing():
            return False
        self._share = self._share or READ_SHARE
        self._transport.resume_reading()
        return True

    def _stop_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _update_held(self) -> None:
        """Tell the relay how much of an incomplete message is held here; what waits for a turn is one read."""
        held = len(self._message) + len(self._frame) + (0 if self._waits else len(self._unread))
        if held != self._held:
            self._held = held
            self._partial_messages.hold(self._end_partial, held)

    def _end_partial(self) -> None:
        self._held = 0
        self._fail(CloseCode.MESSAGE_TOO_BIG, "too much is half sent")

    def _forget_message(self) -> None:
        self._fragments = 0
        self._message = bytearray()

    def _forget(self) -> None:
        """Drop everything that has arrived and was not handled."""
        self._forget_message()
        self._frame = bytearray()
        if not self._waits:
            self._unread = b""
        if self._held:
            self._held = 0
            self._partial_messages.hold(self._end_partial, 0)

    # --- writing ------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        """All bytes to the client go through here."""
        if self._transport is not None and not self._transport.is_closing():
            if self._response:
                data, self._response = self._response + data, b""
            self._written += len(data)
            self._transport.write(data)

    def _respond(self) -> None:
        """Answer the request, unless its answer has gone out with what the receiver wrote."""
        if self._response:
            self._write(b"")

    def _write_frame(self, opcode: Opcode, payload: bytes) -> None:
        self._write(Frame(opcode, payload).serialize(mask=False))

    def _finish(self, *, by_handshake: bool) -> None:
        """The last frame was written."""
        self._is_closing = True
        self._forget()
        if self._transport is None:
            return
        if by_handshake:
            self._transport.close()  # RFC 6455 section 7.1.1: the server closes TCP first
            return
        # If it were closed now, unread input would make the operating system reset it and drop the close frame.
        self._has_failed = True
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    def _fail(self, code: int, reason: str) -> None:
        """Close because of what has arrived, and read no more."""
        if self._transport is None:
            return
        if self._is_closing:
            self._has_failed = True
            return
        self._write_frame(Opcode.CLOSE, Close(code, reason).serialize())
        self._finish(by_handshake=False)


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
