"""The sockets that a relay listens on. It calls accept() itself, so that a socket counts before TLS is negotiated.

An accepted socket takes a slot of the gate first; then the event loop gets it, with TLS or without.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from phantom_messenger.events import Event, log
from phantom_messenger.relay import http
from phantom_messenger.relay.upgrade import ConnectionGate, Handshake, Slot
from phantom_messenger.wire.limits import CONNECTION_TIMEOUT_MS

BACKLOG: Final = 1_024
"""Sockets that the operating system queues until they are accepted: all clients reconnect at once after a restart."""

FREE_PORT_ATTEMPTS: Final = 20
"""At a port that is free for every address."""

REST_SECONDS: Final = 1.0
"""How long nothing is accepted after the operating system ran out of descriptors or memory."""

SEND_BUFFER: Final = 131_072
RECEIVE_BUFFER: Final = 65_536
"""Socket buffers in bytes (the operating system doubles them); left alone, they grow to megabytes."""

TLS_RECEIVE_BUFFER: Final = 16_384
"""The same with TLS, whose layers hold several times what arrives at once, and never give it back."""

_GONE_AGAIN: Final = {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR}
"""Errors of accept() that concern the new socket alone; all others concern the relay or its machine."""

_HANDSHAKE: Final = 22
_RECORD_HEADER: Final = 5
_MOST_RECORD: Final = 16_384
"""RFC 8446 section 5.1."""

_ALL_IPV4: Final = "0.0.0.0"  # noqa: S104 - compared with the setting


async def bind(
    hosts: Sequence[str], port: int, *, receive_buffer: int = RECEIVE_BUFFER, is_shared: bool = False
) -> list[socket.socket]:
    """Bind and listen on every address of every host.

    Args:
        hosts: names or addresses; ``::`` accepts IPv4 too, unless 0.0.0.0 is among them.
        port: 0 picks a free one, the same for all.
        receive_buffer: of each socket, in bytes.
        is_shared: other processes of this user may listen on the same port; the system deals connections out.

    Raises:
        OSError: an address cannot be used.
        UnicodeError: a host is not a name.
    """
    for _ in range(0 if port else FREE_PORT_ATTEMPTS - 1):
        try:
            return await _bind_all(hosts, port, receive_buffer, is_shared=is_shared)
        except OSError as error:  # what is free for one address may be taken for the next
            if error.errno != errno.EADDRINUSE:
                raise
    return await _bind_all(hosts, port, receive_buffer, is_shared=is_shared)


async def _bind_all(hosts: Sequence[str], port: int, receive_buffer: int, *, is_shared: bool) -> list[socket.socket]:
    loop = asyncio.get_running_loop()
    bound: list[socket.socket] = []
    taken: set[object] = set()
    both = "::" in hosts and _ALL_IPV4 not in hosts
    try:
        for host in hosts:
            for family, *_, address in await loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                if family not in {socket.AF_INET, socket.AF_INET6} or address in taken:
                    continue
                taken.add(address)
                listening = socket.socket(family, socket.SOCK_STREAM)
                bound.append(listening)
                listening.setblocking(False)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if is_shared:
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both and host == "::" else 1)
                # Accepted sockets inherit these.
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                listening.bind((address[0], port or address[1], *address[2:]))
                port = listening.getsockname()[1]
                listening.listen(BACKLOG)
    except BaseException:
        for listening in bound:
            listening.close()
        raise
    return bound


class Listener:
    """Accepts on bound sockets.

    Args:
        sockets: non-blocking and listening; closed with the listener.
        gate: counts what is accepted.
        make_handshake: makes the protocol of a new socket, which has this slot.
        tls: how it is encrypted, or None; may be replaced.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        gate: ConnectionGate,
        make_handshake: Callable[[Slot], Handshake],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._sockets = sockets
        self._gate = gate
        self._make_handshake = make_handshake
        self.tls = tls
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._closed = False
        for listening in sockets:
            self._listen(listening)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses it listens on."""
        return [listening.getsockname()[:2] for listening in self._sockets]

    def close(self) -> None:
        """Accept no more; open connections stay."""
        self._closed = True
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        for starting in self._starting:
            starting.cancel()

    def _listen(self, listening: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Accept one socket: one in each turn of the loop, so that open connections do not wait for a crowd."""
        try:
            opened, address = listening.accept()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if error.errno in _GONE_AGAIN:
                return
            # The waiting socket stays readable, so trying again at once would fail again and again.
            log(Event.CONNECTIONS_FULL)
            self._loop.remove_reader(listening)
            self._loop.call_later(REST_SECONDS, self._listen, listening)
            return
        opened.setblocking(False)
        self._admit(opened, address[0])

    def _admit(self, opened: socket.socket, peer: str) -> None:
        slot = self._gate.acquire(peer)
        if slot is None:
            if self.tls is None:
                with contextlib.suppress(OSError):
                    opened.send(http.UNAVAILABLE.encode())
            opened.close()
            return
        starting = self._loop.create_task(self._start(opened, slot))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)

    async def _wait_for_client_hello(self, opened: socket.socket) -> None:
        """Wait for the first TLS record in the system's buffer: TLS itself takes fifty kilobytes a socket."""
        wanted = _RECORD_HEADER
        while True:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
            await self._readable(opened)
            found = opened.recv(wanted, socket.MSG_PEEK)
            if len(found) < wanted:
                raise ConnectionResetError("closed before the TLS handshake")
            if wanted > _RECORD_HEADER or found[0] != _HANDSHAKE:
                break  # complete, or not TLS, which TLS will report
            wanted += min(int.from_bytes(found[3:5]), _MOST_RECORD)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    async def _readable(self, opened: socket.socket) -> None:
        ready = asyncio.Event()
        self._loop.add_reader(opened, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_reader(opened)

    async def _start(self, opened: socket.socket, slot: Slot) -> None:
        """Hand a socket to the event loop, which negotiates TLS first."""
        handshake = self._make_handshake(slot)
        try:
            if self.tls is not None:
                async with asyncio.timeout(CONNECTION_TIMEOUT_MS / 1000):
                    await self._wait_for_client_hello(opened)
            # Read only now: while this client took its time, the certificate may have been replaced.
            tls = self.tls
            await self._loop.connect_accepted_socket(
                lambda: handshake,
                opened,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else CONNECTION_TIMEOUT_MS / 1000,
            )
        except Exception as error:  # noqa: BLE001 - boundary: whatever a stranger makes of TLS
            log(Event.CONNECTION_FAILED, error=type(error).__name__)
        finally:
            if not handshake.has_begun:  # closed before: the loop reports only sockets that it handed over
                slot.release()
                opened.close()
