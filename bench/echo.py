"""Echoes on the layers that are compared: the relay's real WebSocket layer, and bare picows."""

import asyncio
from typing import cast

import picows

from phantom_messenger.relay.config import Config
from phantom_messenger.relay.session import Session
from phantom_messenger.relay.upgrade import Door, Handshake
from phantom_messenger.relay.websocket import WebSocketConnection

HUGE = 1 << 28


class EchoConnection(WebSocketConnection):
    """The relay's connection, which sends back whatever message has come; nothing else is changed."""

    def write_binary(self, data: bytes) -> None:
        """Send one binary message."""
        if self._transport is not None:
            self._transport.send(picows.WSMsgType.BINARY, data)


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

    def drained(self, session: Session) -> None:
        """See ``relay.websocket.Receiver``."""

    def disconnected(self, session: Session) -> None:
        """See ``relay.websocket.Receiver``."""


async def serve_ours(port: int = 0, *, connection: type[EchoConnection] = EchoConnection) -> asyncio.Server:
    """Listen with the relay's handshake and connection; only their limits are lifted."""
    config = Config(limits=False)
    door, echo = Door(config, 10_000), Echo()

    def accept(address: str, host: str) -> WebSocketConnection:
        return connection(echo, address, host, max_bytes=HUGE, max_fragments=HUGE)

    def handshake() -> Handshake:
        return Handshake(door, config, accept, lambda: True)

    return await asyncio.get_running_loop().create_server(handshake, "127.0.0.1", port)


class _Bare(picows.WSListener):
    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        match frame.msg_type:
            case picows.WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            case picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            case _:
                transport.send(frame.msg_type, frame.get_payload_as_bytes())


async def serve_bare(port: int = 0) -> asyncio.Server:
    """Listen with picows alone."""
    return await picows.ws_create_server(
        lambda _: _Bare(), "127.0.0.1", port, max_frame_size=HUGE, enable_auto_pong=False, use_aiofastnet=False
    )
