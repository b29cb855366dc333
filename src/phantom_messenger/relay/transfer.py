"""One file on its way to a client: written as fast as the client takes it, and no faster.

The socket stays what it was to the gate, one of those of its address that are no WebSocket, until the client has all of
it. So a client that reads slowly, or not at all, costs its own address a place, and the relay one socket's buffer.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from phantom_messenger.relay import tcp

PIECE: Final = 16_384
"""Bytes written at once; with TLS, which encrypts them into a buffer of its own, about two pieces are held."""

TRANSFER_SECONDS: Final = 60.0
"""How long a client may take: 100 KB at 15 kbit/s."""

CLOSE_SECONDS: Final = 2.0
"""How long closing may take once the client has everything: with TLS it is asked to agree."""

MAX_DISCARDED: Final = 8_192
"""Bytes that a client may send behind its request; they are discarded."""

_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 1.0
"""Seconds between looks whether the client has everything; each is twice the one before."""

_BUFFER: Final = memoryview(bytearray(16_384))


class Transfer(asyncio.BufferedProtocol):
    """Sends one response, and closes the socket when the client has it, or when its time is over.

    Args:
        on_closed: called once the socket is closed.
    """

    def __init__(self, on_closed: Callable[[], None]) -> None:
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._rest = memoryview(b"")
        self._is_full = False
        self._may_discard = MAX_DISCARDED
        self._look_after = _FIRST_LOOK
        self._deadline: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        """Take over a socket whose request was read.

        Args:
            transport: the socket's.
            head: of the response.
            body: not copied.
        """
        self._transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=PIECE)
        self._rest = memoryview(body)
        self._deadline = self._loop.call_later(TRANSFER_SECONDS, tcp.abort, transport)
        transport.write(head)
        self._write(transport)

    # --- called by the event loop -------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.BufferedProtocol``."""
        for timer in (self._deadline, self._look):
            if timer is not None:
                timer.cancel()
        self._transport = self._deadline = self._look = None
        self._rest = memoryview(b"")
        self._on_closed()

    def eof_received(self) -> bool:
        """See ``asyncio.BufferedProtocol``: a client that has closed its half gets nothing more.

        Nor does the system keep what it has not taken: see ``_close_when_taken``.
        """
        if self._transport is not None:
            tcp.abort(self._transport)
        return False

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """See ``asyncio.BufferedProtocol``."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio.BufferedProtocol``: there is one answer a connection, so what comes now is not read."""
        self._may_discard -= nbytes
        if self._may_discard < 0 and self._transport is not None:
            tcp.abort(self._transport)

    def pause_writing(self) -> None:
        """See ``asyncio.BufferedProtocol``."""
        self._is_full = True

    def resume_writing(self) -> None:
        """See ``asyncio.BufferedProtocol``."""
        self._is_full = False
        if self._transport is not None:
            self._write(self._transport)

    # ------------------------------------------------------------------------------

    def _write(self, transport: asyncio.Transport) -> None:
        while self._rest and not self._is_full and not transport.is_closing():
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            transport.write(piece)
        if not self._rest and self._look is None:
            self._close_when_taken(transport)

    def _close_when_taken(self, transport: asyncio.Transport) -> None:
        """A socket that is closed before leaves its buffer to the system, where nobody counts it."""
        if transport.is_closing():
            return
        if tcp.unacked_bytes(transport):
            self._look = self._loop.call_later(self._look_after, self._close_when_taken, transport)
            self._look_after = min(2 * self._look_after, _LAST_LOOK)
            return
        transport.close()
        cast("asyncio.TimerHandle", self._deadline).cancel()
        self._deadline = self._loop.call_later(CLOSE_SECONDS, tcp.abort, transport)
