"""The WebSocket connection of the relay: a socket, and behind it ``websockets``' protocol without input and output.

The handshake was judged before (``upgrade``, ``http``). Headers are judged here before contents are
kept (``framing``); the library unmasks, answers pings and closes. What it wants sent goes
through ``_write`` like everything else, so that all that waits for a client is seen, and
nothing is read from a client that takes nothing.
"""

import asyncio
import contextlib
import fcntl
import logging
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from websockets.frames import Frame
from websockets.protocol import Protocol as Frames
from websockets.protocol import Side, State

from phantom_messenger.events import report
from phantom_messenger.rate_window import Window
from phantom_messenger.relay.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    Broken,
    Halves,
    Header,
    read_header,
    text_header,
)
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.codes import CloseCode
from phantom_messenger.wire.limits import MAX_CONTROL_FRAMES, MAX_FRAGMENTS

CLOSE_TIMEOUT: Final = 2.0
"""Seconds a client has to answer a close frame."""

PATIENCE: Final = 131_072
"""Bytes that are passed over behind a close frame, ``FRAME_COST`` more for each frame; then nothing is read."""

FRAME_COST: Final = 1_024

_DISCARD: Final = struct.pack("ii", 1, 0)
_LONGEST_HEADER: Final = 14
_READ_BUFFER: Final = memoryview(bytearray(16_384))
"""One serves all: what was read is taken out before anybody else reads."""

_LOG: Final = logging.getLogger("websockets.server")


class Receiver(Protocol):
    """What the relay does with what a connection brings."""

    def connect(self, connection: "WebSocketConnection", *, address: str, host: str) -> Session:
        """A connection was opened."""

    def receive(self, session: Session, text: bytes) -> None:
        """A text message has come."""

    def receive_binary(self, session: Session, data: bytes) -> None:
        """A binary message has come."""

    def drained(self, session: Session) -> None:
        """The socket took what was waiting."""

    def disconnected(self, session: Session) -> None:
        """The connection is gone."""


class WebSocketConnection(asyncio.BufferedProtocol):
    """One connection; a ``relay.ports.Connection`` for the core, and the protocol of its socket.

    Args:
        receiver: gets what comes.
        address: of the party that limits count.
        host: the Host header.
        halves: bounds what all connections hold of unfinished messages.
        max_fragments: of a message; more is 1009.
    """

    def __init__(
        self, receiver: Receiver, address: str, host: str, halves: Halves, *, max_fragments: int = MAX_FRAGMENTS
    ) -> None:
        self._receiver = receiver
        self._address = address
        self._host = host
        self._halves = halves
        self._max_fragments = max_fragments
        self._gone: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._frames = Frames(Side.SERVER, state=State.OPEN, max_size=None, logger=_LOG)
        self._header: Header | None = None
        self._head = b""
        self._left = 0
        self._rest = b""
        self._held = 0
        self._fragments = 0
        self._message = bytearray()
        self._kind = CONTINUATION
        self._controls: Window | None = None
        self._patience = PATIENCE
        self._failed = False
        self._written = 0
        self._full = False
        self._closing = False

    # --- what the handshake calls -------------------------------------------------

    def open(self, transport: asyncio.Transport, response: bytes, early: bytes, gone: Callable[[], None]) -> None:
        """Take over a socket whose request was granted.

        Args:
            transport: the socket's.
            response: the answer to the request.
            early: what came behind the request.
            gone: called when the socket is gone.
        """
        self._transport = transport
        self._gone = gone
        transport.set_protocol(self)
        self._write(response)
        self._session = self._receiver.connect(self, address=self._address, host=self._host)
        self._host = ""  # up to 8 KB, and whoever needs it has it
        if early:
            self._read(early)

    # --- what the event loop calls ------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """See ``asyncio.BufferedProtocol``."""
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio.BufferedProtocol``."""
        self._read(bytes(_READ_BUFFER[:nbytes]))

    def eof_received(self) -> bool:
        """See ``asyncio.BufferedProtocol``: whoever says nothing more gets nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """The socket is gone; nothing of the connection waits for the collector, which comes seldom."""
        self._closing = True
        self._forget()
        self._gone()
        if self._session is not None:
            self._receiver.disconnected(self._session)
        self._session = self._transport = None
        self._gone = lambda: None
        vars(self._frames).clear()  # its reader refers to itself

    def pause_writing(self) -> None:
        """The socket's buffer is full: nothing is read on from a client that does not read."""
        self._full = True
        self._stop_reading()

    def resume_writing(self) -> None:
        """The socket's buffer is low again."""
        self._full = False
        if self._closing or self._transport is None:
            return
        if self._session is not None:
            self._receiver.drained(self._session)
        rest, self._rest = self._rest, b""
        if not self._full:
            self._transport.resume_reading()
        self._read(rest)

    # --- what the core calls ------------------------------------------------------

    def write(self, messages: Sequence[bytes]) -> None:
        """See ``relay.ports.Connection``."""
        if self._closing:
            return
        parts: list[bytes] = []
        for message in messages:
            parts += (text_header(len(message)), message)
        self._write(b"".join(parts))

    def close(self, code: int, reason: str, *, patient: bool = True) -> None:
        """See ``relay.ports.Connection``."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        self._forget()
        self._frames.fail(code, reason)  # not send_close: of an unfinished message nothing is kept
        for data in self._frames.data_to_send():
            self._write(data)
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)
        if not patient:
            self._transport.close()

    def abort(self) -> None:
        """See ``relay.ports.Connection``."""
        self._closing = True
        if self._transport is not None:
            # Without it the operating system goes on offering what was written to somebody who does not read.
            with contextlib.suppress(OSError):  # closed already
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
            self._transport.abort()

    def buffered(self) -> int:
        """See ``relay.ports.Connection``."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def bytes_taken(self) -> int:
        """See ``relay.ports.Connection``."""
        if self._transport is None or self._transport.is_closing():
            return self._written
        handle = self._transport.get_extra_info("socket").fileno()
        held = int.from_bytes(fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return self._written - self.buffered() - held

    # --- reading ------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Work through what has come, frame by frame, until the client has to take something first."""
        if self._closing:
            self._lose_patience(len(data))
        try:
            at = 0
            while at < len(data) and not self._is_deaf:
                if self._left:
                    at = self._pass_on(data, at)
                else:
                    data, at = self._begin(data, at)
            self._rest = data[at:] if self._full and not self._closing else b""
        except Broken as broken:
            self._fail(CloseCode.PROTOCOL_ERROR, str(broken))
        except Exception as error:  # noqa: BLE001 - the border: what fails ends its own connection
            report(error)
            self._fail(CloseCode.SERVER_ERROR, "internal error")
        self._hold()

    @property
    def _is_deaf(self) -> bool:
        """Whether what comes is left alone: for good, or for now."""
        return self._transport is None or self._full or self._failed or self._patience < 0

    def _lose_patience(self, cost: int) -> None:
        self._patience -= cost
        if self._patience < 0:
            self._stop_reading()

    def _begin(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Read the header of a frame; the data from its start on, and where to go on."""
        if self._head:
            data, at = self._head + data[at:], 0
            self._head = b""
        self._header = header = read_header(data[at : at + _LONGEST_HEADER])
        if header is None:
            self._head = data[at:]
            return data, len(data)
        self._left = header.size + header.length
        if self._closing:
            self._lose_patience(FRAME_COST)
        else:
            self._judge(header)
        return data, at

    def _judge(self, header: Header) -> None:
        """Whether this frame may come now, seen by its header; else the connection is failed."""
        if header.is_control:
            if self._controls is None:
                self._controls = Window(MAX_CONTROL_FRAMES)
            if self._controls.take(int(asyncio.get_running_loop().time() * 1000)):
                self._fail(CloseCode.RATE_LIMITED, "too many control frames")
            return
        # RFC 6455 section 5.4: a continuation needs a beginning, and a new message none unfinished.
        if (header.opcode == CONTINUATION) != (self._fragments > 0):
            raise Broken("fragments out of order")
        most = 0 if self._session is None else self._session.most_bytes
        if len(self._message) + header.length > most or self._fragments >= self._max_fragments:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "message too big")

    def _pass_on(self, data: bytes, at: int) -> int:
        """Give the library what there is of the frame; where the next one begins, or the data ends."""
        end = min(at + self._left, len(data))
        self._left -= end - at
        header = cast("Header", self._header)
        if self._closing:
            if header.opcode == CLOSE and not self._left and self._transport is not None:
                self._transport.close()
            return end
        self._frames.receive_data(data[at:end])
        if self._left:
            return end
        found = self._frames.events_received()
        if header.is_control:
            self._answer(is_right=bool(found))
        for frame in found if not header.is_control else ():
            self._take(header, cast("Frame", frame))
        return end

    def _take(self, header: Header, frame: Frame) -> None:
        """A data frame has come."""
        data = bytes(frame.data)
        frame.data = b""  # the library keeps its last frame until the next
        if header.fin and not self._fragments:
            self._take_message(header.opcode, data)
            return
        if not self._fragments:
            self._kind = header.opcode
        self._fragments += 1
        self._message += data
        if header.fin:
            message = bytes(self._message)
            self._forget_message()
            self._take_message(self._kind, message)

    def _take_message(self, kind: int, message: bytes) -> None:
        if self._session is None:
            return
        if kind == BINARY:
            self._receiver.receive_binary(self._session, message)
        elif message.isascii() or _is_utf8(message):
            self._receiver.receive(self._session, message)
        else:
            # RFC 6455 section 8.1
            self._fail(CloseCode.INVALID_TEXT, "invalid UTF-8")

    def _stop_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _hold(self) -> None:
        """Tell the relay how much of an unfinished message is held here."""
        held = len(self._message) + len(self._head) + len(self._rest)
        if self._left and not self._closing:
            header = cast("Header", self._header)
            held += header.size + header.length - self._left
        if held != self._held:
            self._held = held
            self._halves.hold(self._end_half, held)

    def _end_half(self) -> None:
        self._held = 0
        self._fail(CloseCode.MESSAGE_TOO_BIG, "too much is half sent")

    def _forget_message(self) -> None:
        self._fragments = 0
        self._message = bytearray()

    def _forget(self) -> None:
        """Nothing that has come counts any more."""
        self._forget_message()
        self._head = self._rest = b""
        if self._held:
            self._held = 0
            self._halves.hold(self._end_half, 0)

    # --- writing ------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        """All bytes to the client go through here."""
        if data and self._transport is not None and not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)

    def _answer(self, *, is_right: bool) -> None:
        """Send what the library answers to a control frame: a pong or a close, or the failure of the connection."""
        for data in self._frames.data_to_send():
            if data:
                self._write(data)
            else:
                self._finish(is_right=is_right)

    def _finish(self, *, is_right: bool) -> None:
        """The library has said its last word."""
        self._closing = True
        self._forget()
        if self._transport is None:
            return
        if is_right:
            self._transport.close()  # RFC 6455 section 7.1.1: the server closes TCP first
            return
        # Closed at once, the operating system would answer what it has not read yet, and take back the close frame.
        self._failed = True
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    def _fail(self, code: int, reason: str) -> None:
        """Close for what has come, and read no more."""
        if self._transport is None:
            return
        if self._closing:
            self._failed = True
            return
        self._frames.fail(code, reason)
        for data in self._frames.data_to_send():
            self._write(data)
        self._finish(is_right=False)


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
