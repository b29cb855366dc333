"""The way in: who may open a socket, and the handshake that makes it a WebSocket.

A socket counts from its first moment, before anything was sent and before TLS is agreed on, so that
half-open ones cannot use up what others need. It has 30 s for TLS, and 30 s until its request is whole.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, cast

from phantom_messenger.events import Event, log
from phantom_messenger.relay import http
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.http import Answer, Upgrade
from phantom_messenger.relay.websocket import WebSocketConnection
from phantom_messenger.version import __version__
from phantom_messenger.wire.limits import CONNECTION_TIMEOUT_MS

HALF_OPEN_PER_PLACE: Final = 2
"""Sockets of one address that are not WebSockets yet, for each connection that it may have."""

LINGER_SECONDS: Final = 2.0
"""How long somebody may take to read an answer."""

_END: Final = b"\r\n\r\n"
_BUFFER: Final = memoryview(bytearray(16_384))


class Door:
    """Counts the sockets: in all, and by address as long as they are no WebSockets.

    Args:
        config: knows the limit of an address, and the proxies, which have none.
        room: how many sockets there may be in all.
    """

    def __init__(self, config: Config, room: int) -> None:
        self._config = config
        self._room = room
        self._count = 0
        self._half_open: Counter[str] = Counter()
        self.gone = 0
        """How many sockets have gone; whoever reads it may set it back."""

    def enter(self, peer: str) -> "Place | None":
        """Count a new socket of this address, unless there are too many; None if it may not stay."""
        party = "" if http.is_proxy(peer, self._config) else http.party_of(peer, None, self._config)
        limit = self._config.max_connections * HALF_OPEN_PER_PLACE
        if party and limit and self._half_open[party] >= limit:
            return None
        if self._count >= self._room:
            log(Event.CONNECTIONS_FULL)
            return None
        self._count += 1
        if party:
            self._half_open[party] += 1
        return Place(self, peer, party)

    def opened(self, party: str) -> None:
        """A socket of this party is a WebSocket now, or gone: other limits hold."""
        self._half_open[party] -= 1
        if self._half_open[party] <= 0:
            del self._half_open[party]

    def left(self) -> None:
        """A socket is gone."""
        self._count -= 1
        self.gone += 1


class Place:
    """What a socket takes up at the door.

    Args:
        door: counts it.
        peer: the address of its other end.
        party: whom it counts for while it is no WebSocket, '' for nobody.
    """

    __slots__ = ("_door", "_left", "_party", "peer")

    def __init__(self, door: Door, peer: str, party: str) -> None:
        self._door = door
        self._party = party
        self._left = False
        self.peer = peer

    def opened(self) -> None:
        """The socket is a WebSocket now, or was answered."""
        if self._party:
            self._door.opened(self._party)
            self._party = ""

    def leave(self) -> None:
        """The socket is gone; may be said again."""
        self.opened()
        if not self._left:
            self._left = True
            self._door.left()


class Handshake(asyncio.BufferedProtocol):
    """One socket until its request is whole; then it is answered, or handed on to the WebSocket.

    Args:
        place: what it takes up at the door.
        config: the settings.
        accept: makes a connection for an address and a Host.
        is_ready: whether the relay can store.
    """

    def __init__(
        self,
        place: Place,
        config: Config,
        accept: Callable[[str, str], WebSocketConnection],
        is_ready: Callable[[], bool],
    ) -> None:
        self._place = place
        self._config = config
        self._accept = accept
        self._is_ready = is_ready
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._timer: asyncio.TimerHandle | None = None
        self.has_begun = False
        """Whether the event loop has handed the socket over."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.BufferedProtocol``."""
        self.has_begun = True
        self._transport = transport = cast("asyncio.Transport", transport)  # of a TCP server
        self._timer = self._loop.call_later(CONNECTION_TIMEOUT_MS / 1000, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.BufferedProtocol``: the socket is gone before it was a WebSocket."""
        self._settle()
        self._place.leave()
        self._transport = None

    def eof_received(self) -> bool:
        """See ``asyncio.BufferedProtocol``: whoever says nothing more gets nothing more."""
        return False

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """See ``asyncio.BufferedProtocol``; one buffer serves all, for it is read as soon as it is filled."""
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
            self._decide(transport, head, tail)

    def _decide(self, transport: asyncio.Transport, head: bytes, tail: bytes) -> None:
        self._head = b""
        request = http.read_request(head)
        if isinstance(request, Answer):
            self._answer(transport, request, head_only=False)
            return
        found = http.judge(request, self._config, ready=self._is_ready(), version=__version__)
        if isinstance(found, Answer):
            if found is http.ORIGIN_REFUSED:
                log(Event.ORIGIN_REFUSED, count=1)
            self._answer(transport, found, head_only=request.method == "HEAD")
        else:
            self._open(transport, found, tail)

    def _answer(self, transport: asyncio.Transport, answer: Answer, *, head_only: bool) -> None:
        transport.write(answer.encode(head_only=head_only))
        transport.close()
        self._settle()
        self._timer = self._loop.call_later(LINGER_SECONDS, transport.abort)

    def _open(self, transport: asyncio.Transport, found: Upgrade, tail: bytes) -> None:
        self._settle()
        self._transport = None
        party = http.party_of(self._place.peer, found.forwarded, self._config)
        if found.forwarded and not http.is_proxy(self._place.peer, self._config):
            log(Event.PROXY_UNTRUSTED, count=1)
        self._accept(party, found.host).open(transport, found.encode(), tail, self._place.leave)

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._place.opened()
