"""Who may open a socket, and the handshake that turns it into a WebSocket.

A socket counts from its first moment, before anything is sent and before TLS is negotiated, so
that half-open sockets cannot use up what others need. It has 30 s for TLS, and 30 s to complete
its request.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, cast

from phantom_messenger.events import Event, log
from phantom_messenger.relay import http
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.http import Answer, Upgrade
from phantom_messenger.relay.page import FileAnswer, Page
from phantom_messenger.relay.transfer import Transfer
from phantom_messenger.relay.websocket import WebSocketConnection
from phantom_messenger.version import __version__
from phantom_messenger.wire.limits import CONNECTION_TIMEOUT_MS

HALF_OPEN_PER_CONNECTION: Final = 2
"""Sockets of one address that may not be WebSockets yet, for each connection that it may have."""

LINGER_SECONDS: Final = 2.0
"""How long a client may take to read an answer."""

_END: Final = b"\r\n\r\n"
_BUFFER: Final = memoryview(bytearray(16_384))


class ConnectionGate:
    """Counts the sockets: all of them, and those of each address until they are WebSockets.

    Args:
        config: knows the limit of an address, and the proxies, which have none.
        room: how many sockets there may be in total.
    """

    def __init__(self, config: Config, room: int) -> None:
        self._config = config
        self._room = room
        self._count = 0
        self._half_open: Counter[str] = Counter()
        self.closed_count = 0
        """How many sockets were closed; whoever reads it may reset it."""

    def acquire(self, peer: str) -> "Slot | None":
        """Count a new socket of this address, or return None if there are too many."""
        key = "" if http.is_proxy(peer, self._config) else http.rate_limit_key(peer, None, self._config)
        limit = self._config.max_connections * HALF_OPEN_PER_CONNECTION
        if key and limit and self._half_open[key] >= limit:
            return None
        if self._count >= self._room:
            log(Event.CONNECTIONS_FULL)
            return None
        self._count += 1
        if key:
            self._half_open[key] += 1
        return Slot(self, peer, key)

    def end_half_open(self, key: str) -> None:
        """A socket of this address is a WebSocket now, or closed: other limits apply."""
        self._half_open[key] -= 1
        if self._half_open[key] <= 0:
            del self._half_open[key]

    def end(self) -> None:
        """A socket is closed."""
        self._count -= 1
        self.closed_count += 1


class Slot:
    """What one socket takes up of the gate.

    Args:
        gate: counts it.
        peer: the address of its other end.
        key: the rate-limit key it counts for until it is a WebSocket; '' if it is one of our proxies.
    """

    __slots__ = ("_gate", "_is_half_open", "_is_released", "key", "peer")

    def __init__(self, gate: ConnectionGate, peer: str, key: str) -> None:
        self._gate = gate
        self._is_half_open = bool(key)
        self._is_released = False
        self.peer = peer
        self.key = key

    def promote(self) -> None:
        """The socket is a WebSocket now, or was answered."""
        if self._is_half_open:
            self._is_half_open = False
            self._gate.end_half_open(self.key)

    def release(self) -> None:
        """The socket is closed; calling this again does nothing."""
        self.promote()
        if not self._is_released:
            self._is_released = True
            self._gate.end()


class Handshake(asyncio.BufferedProtocol):
    """One socket until its request is complete; then it is answered, gets a file of the page, or becomes a WebSocket.

    Args:
        slot: what it takes up of the gate.
        config: the settings.
        accept: makes a connection for an address and a Host.
        is_ready: whether the relay can store.
        page: what else it answers.
    """

    def __init__(
        self,
        slot: Slot,
        config: Config,
        accept: Callable[[str, str], WebSocketConnection],
        is_ready: Callable[[], bool],
        page: Page,
    ) -> None:
        self._slot = slot
        self._config = config
        self._accept = accept
        self._is_ready = is_ready
        self._page = page
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._timer: asyncio.TimerHandle | None = None
        self.has_begun = False
        """Whether the event loop has handed over the socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.BufferedProtocol``."""
        self.has_begun = True
        self._transport = transport = cast("asyncio.Transport", transport)  # of a TCP server
        self._timer = self._loop.call_later(CONNECTION_TIMEOUT_MS / 1000, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.BufferedProtocol``: the socket was closed before it was a WebSocket."""
        self._finish()
        self._slot.release()
        self._transport = None

    def eof_received(self) -> bool:
        """See ``asyncio.BufferedProtocol``: a client that has closed its half gets nothing more."""
        return False

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """See ``asyncio.BufferedProtocol``; one buffer serves all, since it is read as soon as it is filled."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio.BufferedProtocol``."""
        data = bytes(_BUFFER[:nbytes])
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._head += data
        head, end, tail = self._head.partition(_END)
        if len(head) > http.MAX_HEAD_BYTES:
            self._answer(transport, http.TOO_LARGE, head_only=False)
        elif end:
            self._judge(transport, head, tail)

    def _judge(self, transport: asyncio.Transport, head: bytes, tail: bytes) -> None:
        self._head = b""
        request = http.read_request(head)
        if isinstance(request, Answer):
            self._answer(transport, request, head_only=False)
            return
        found: Answer | Upgrade | FileAnswer
        found = http.judge(request, self._config, ready=self._is_ready(), version=__version__)
        if found is http.NOT_FOUND:
            found = self._page.answer(request) or found
        match found:
            case Answer():
                if found is http.ORIGIN_REFUSED:
                    log(Event.ORIGIN_REFUSED, count=1)
                self._answer(transport, found, head_only=request.method == "HEAD")
            case FileAnswer():
                self._stop_timer()
                self._transport = None
                Transfer(self._slot.release).begin(transport, found.head(), found.body)
            case Upgrade():
                self._open(transport, found, tail)

    def _answer(self, transport: asyncio.Transport, answer: Answer, *, head_only: bool) -> None:
        transport.write(answer.encode(head_only=head_only))
        transport.close()
        self._finish()
        self._timer = self._loop.call_later(LINGER_SECONDS, transport.abort)

    def _open(self, transport: asyncio.Transport, found: Upgrade, tail: bytes) -> None:
        self._finish()
        self._transport = None
        slot = self._slot
        if found.forwarded and slot.key:
            log(Event.PROXY_UNTRUSTED, count=1)
        key = slot.key or http.rate_limit_key(slot.peer, found.forwarded, self._config)
        self._accept(key, found.host).open(transport, found.encode(), tail, slot.release)

    def _finish(self) -> None:
        self._stop_timer()
        self._slot.promote()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
