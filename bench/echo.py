"""Echoes on the layers that are compared: the relay's real WebSocket layer, and ``websockets``' server as it comes."""

import asyncio
from typing import cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.frames import Opcode

from phantom_messenger.relay.config import Config
from phantom_messenger.relay.framing import PartialMessages
from phantom_messenger.relay.page import Page
from phantom_messenger.relay.session import Session
from phantom_messenger.relay.upgrade import ConnectionGate, Handshake
from phantom_messenger.relay.websocket import WebSocketConnection

HUGE = 1 << 28


class EchoConnection(WebSocketConnection):
    """The relay's connection, which sends back whatever message has come; nothing else is changed."""

    most_bytes = HUGE

    def write_binary(self, data: bytes) -> None:
        """Send one binary message."""
        self._write_frame(Opcode.BINARY, data)


class Echo:
    """A receiver that says everything again; its sessions are the connections themselves."""

    def connect(self, connection: WebSocketConnection, **_: object) -> Session:
        """See ``relay.websocket.Receiver``."""
        return cast("Session", connection)

    def receive(self, session: Session, text: bytes) -> None:
        """See ``relay.websocket.Receiver``."""
        cast("EchoConnection", session).write([text])

    def receive_binary(self, session: Session, data: bytes) -> None:
        """See ``relay.websocket.Receiver``."""
        cast("EchoConnection", session).write_binary(data)

    def writable(self, session: Session) -> None:
        """See ``relay.websocket.Receiver``."""

    def disconnected(self, session: Session) -> None:
        """See ``relay.websocket.Receiver``."""


async def serve_ours(port: int = 0, *, connection: type[EchoConnection] = EchoConnection) -> asyncio.Server:
    """Listen with the relay's handshake and connection; only their limits are lifted."""
    config = Config(limits=False)
    gate, echo, partial = ConnectionGate(config, 10_000), Echo(), PartialMessages(HUGE)

    def accept(address: str, host: str) -> WebSocketConnection:
        return connection(echo, address, host, partial, max_fragments=HUGE)

    def handshake() -> Handshake:
        slot = gate.acquire("127.0.0.1")
        if slot is None:
            raise RuntimeError("too many echoes")
        return Handshake(slot, config, accept, lambda: True, Page())

    return await asyncio.get_running_loop().create_server(handshake, "127.0.0.1", port)


async def serve_bare(port: int = 0) -> Server:
    """Listen with ``websockets`` alone."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    return await serve(echo, "127.0.0.1", port, compression=None, max_size=HUGE, ping_interval=None)
