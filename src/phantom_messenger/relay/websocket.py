"""The WebSocket connection of the relay, on picows: the only room that knows that library.

picows parses frames and checks masks, lengths and opcodes; the handshake was judged before
(``upgrade``, ``http``). What RFC 6455 asks beyond that is done here: reserved bits,
fragments, UTF-8, the close handshake, and one write for all messages of a turn.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined] # it has no type stub

from phantom_messenger.events import report
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.codes import CloseCode
from phantom_messenger.wire.limits import MAX_FRAGMENTS, MAX_TRANSPORT_BYTES

CLOSE_TIMEOUT: Final = 2.0
"""Seconds a client has to answer a close frame."""

READ_BUFFER: Final = 2_048
"""First read buffer of a connection in bytes: most are idle, and it grows on demand."""

COPIED: Final = 8_192
"""Bytes of a message up to which picows' ``send`` copies it.

Above, it hands on a view of its only header buffer: when the socket is full, the next
frame's header is written over the one that waits.
"""

_DISCARD: Final = struct.pack("ii", 1, 0)
_TEXT: Final = WSMsgType.TEXT
_CONTINUATION: Final = WSMsgType.CONTINUATION
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG


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


class WebSocketConnection(WSListener):
    """One connection; a ``relay.ports.Connection`` for the core, a listener for picows.

    Args:
        receiver: gets what comes.
        address: of the party that limits count.
        host: the Host header.
        max_bytes: of a frame or message; more is 1009.
        max_fragments: of a message; more is 1009.
    """

    def __init__(
        self,
        receiver: Receiver,
        address: str,
        host: str,
        *,
        max_bytes: int = MAX_TRANSPORT_BYTES,
        max_fragments: int = MAX_FRAGMENTS,
    ) -> None:
        super().__init__()
        self.max_bytes = max_bytes
        self._max_fragments = max_fragments
        self._receiver = receiver
        self._address = address
        self._host = host
        self._gone: Callable[[], None] = lambda: None
        self._transport: WSTransport | None = None
        self._session: Session | None = None
        self._fragments: list[bytes] = []
        self._fragments_bytes = 0
        self._fragments_kind: WSMsgType | None = None
        self._closing = False

    # --- what picows calls --------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        self._session = self._receiver.connect(self, address=self._address, host=self._host)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame has come, unmasked."""
        kind = frame.msg_type
        # RFC 6455 section 5.2: reserved bits MUST be 0 unless an extension defines them; there is none.
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(CloseCode.PROTOCOL_ERROR, "reserved bits")
        elif kind is _CLOSE:
            self._answer_close(transport, frame)
        elif self._closing:
            return
        elif kind is _PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is not _PONG:
            self._take_data(kind, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows passes it
        """The socket is gone; nothing of the connection waits for the collector, which comes seldom."""
        self._closing = True
        self._gone()
        if self._session is not None:
            self._receiver.disconnected(self._session)
        self._session = self._transport = None
        self._gone = lambda: None

    def pause_writing(self) -> None:
        """The socket's buffer is full; the core asks ``buffered`` itself."""

    def resume_writing(self) -> None:
        """The socket's buffer is low again."""
        if self._session is not None and not self._closing:
            self._receiver.drained(self._session)

    # --- what the handshake calls -------------------------------------------------

    def on_gone(self, action: Callable[[], None]) -> None:
        """Have this called when the socket is gone."""
        self._gone = action

    # --- what the core calls ------------------------------------------------------

    def write(self, messages: Sequence[bytes]) -> None:
        """See ``relay.ports.Connection``."""
        if self._transport is None or self._closing or self._transport.is_disconnected:
            return
        if len(messages) == 1 and len(messages[0]) <= COPIED:
            self._transport.send(_TEXT, messages[0])
            return
        parts: list[bytes] = []
        for message in messages:
            parts += (_text_header(len(message)), message)
        self._transport.underlying_transport.write(b"".join(parts))

    def close(self, code: int, reason: str, *, patient: bool = True) -> None:
        """See ``relay.ports.Connection``."""
        if self._transport is None or self._closing or self._transport.is_disconnected:
            return
        self._closing = True
        self._forget_fragments()
        self._transport.send_close(code, reason.encode())  # type: ignore[arg-type] # a C enum: any number passes
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)
        if not patient:
            self._transport.disconnect()

    def fail(self, code: int) -> None:
        """Close for a frame that breaks the protocol, and read no more."""
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        # picows holds a frame back while it looks at the one behind it: that may be a close, which comes first.
        closed = None if transport.close_handshake is None else transport.close_handshake.recv
        if closed is None:
            self.close(code, "broken frame")
        else:
            self._echo_close(transport, WSCloseCode.OK if closed.code == WSCloseCode.NO_INFO else closed.code)
        transport.underlying_transport.pause_reading()

    def abort(self) -> None:
        """See ``relay.ports.Connection``."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._closing = True
            # Without it the operating system goes on offering what was written to somebody who does not read.
            opened = self._transport.underlying_transport.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
            self._transport.disconnect(graceful=False)

    def buffered(self) -> int:
        """See ``relay.ports.Connection``."""
        if self._transport is None or self._transport.is_disconnected:
            return 0
        return int(self._transport.underlying_transport.get_write_buffer_size())

    def untaken(self) -> int:
        """See ``relay.ports.Connection``."""
        if self._transport is None or self._transport.is_disconnected:
            return 0
        handle = self._transport.underlying_transport.get_extra_info("socket").fileno()
        held = int.from_bytes(fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return self.buffered() + held

    # --- RFC 6455 -----------------------------------------------------------------

    def _answer_close(self, transport: WSTransport, frame: WSFrame) -> None:
        # RFC 6455 section 5.5.1: answer a Close with a Close, then the server closes TCP first (7.1.1).
        self._echo_close(transport, frame.get_close_code() if frame.payload_size else WSCloseCode.OK)
        transport.disconnect()

    def _echo_close(self, transport: WSTransport, code: WSCloseCode) -> None:
        """Answer a close with its code, if that may be sent."""
        if not self._closing:
            self._closing = True
            is_code = _may_be_sent(int(code))  # type: ignore[call-overload] # a C enum is an int
            transport.send_close(code if is_code else WSCloseCode.PROTOCOL_ERROR)

    def _take_data(self, kind: WSMsgType, frame: WSFrame) -> None:
        continued = kind is _CONTINUATION
        # RFC 6455 section 5.4: a continuation needs a beginning, and a new message none unfinished.
        if continued != (self._fragments_kind is not None):
            self.close(CloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        if frame.fin and not continued:
            self._take_message(kind, frame.get_payload_as_bytes())
            return
        if not continued:
            self._fragments_kind = kind
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragments_bytes += frame.payload_size
        if self._fragments_bytes > self.max_bytes or len(self._fragments) > self._max_fragments:
            self.close(CloseCode.MESSAGE_TOO_BIG, "message too big")
        elif frame.fin:
            first, message = self._fragments_kind, b"".join(self._fragments)
            self._forget_fragments()
            if first is not None:
                self._take_message(first, message)

    def _take_message(self, kind: WSMsgType, message: bytes) -> None:
        if self._session is None:
            return
        if kind is _BINARY:
            self._receiver.receive_binary(self._session, message)
        elif message.isascii() or _is_utf8(message):
            self._receiver.receive(self._session, message)
        else:
            # RFC 6455 section 8.1
            self.close(CloseCode.INVALID_TEXT, "invalid UTF-8")

    def _forget_fragments(self) -> None:
        self._fragments = []
        self._fragments_bytes = 0
        self._fragments_kind = None


class _Alarm:
    """Stands for the logger that picows writes to; of what it would write, nothing is kept.

    picows tells of a broken frame before it closes, and goes on reading meanwhile. So this
    is where reading ends, and where the reason that the peer gets is ours.
    """

    name = "picows"

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    def isEnabledFor(self, _: int) -> bool:  # noqa: N802 - logging's name
        """See ``logging.Logger``."""
        return False

    def debug(self, *_: object) -> None:
        """See ``logging.Logger``."""

    log = info = warning = debug

    def error(self, _: str, *arguments: object) -> None:
        """See ``logging.Logger``; picows passes a code and a reason."""
        match arguments:
            case [(int(code), *_)]:
                self._connection.fail(int(code))
            case _:
                self.exception()

    def exception(self, *_: object) -> None:
        """See ``logging.Logger``: something of ours was raised through picows."""
        if error := sys.exc_info()[1]:
            report(error)
        self._connection.fail(CloseCode.SERVER_ERROR)


def websocket(connection: WebSocketConnection) -> WSProtocol:
    """The protocol that reads frames for a connection; it expects the request first."""
    return WSProtocol(
        None,
        None,
        False,
        lambda _: connection,
        _Alarm(connection),
        True,
        None,  # whoever hands on the socket has seen to the time
        False,
        0,
        0,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,
        connection.max_bytes,
        None,
        READ_BUFFER,
    )


def _may_be_sent(code: int) -> bool:
    """Whether an endpoint may put this code into a Close frame (RFC 6455 section 7.4)."""
    return code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code < 5000  # noqa: PLR2004 - the RFC's


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_header(length: int) -> bytes:
    """The header of an unmasked text frame (RFC 6455 section 5.2)."""
    if length < 126:  # noqa: PLR2004 - the RFC's boundary
        return bytes((0x81, length))
    if length < 65_536:  # noqa: PLR2004 - the RFC's boundary
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")
