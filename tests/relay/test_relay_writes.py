"""What is written to a socket that takes it slowly arrives as it was written, in its order."""

import asyncio
import random
import socket
from collections.abc import Sequence
from typing import Final

import pytest
import uvloop
from picows import WSMsgType

from phantom_messenger.relay.session import Session
from phantom_messenger.relay.websocket import WebSocketConnection, websocket
from support.raw_socket import PING, PONG, TEXT, frame, handshake

SIZES: Final = (1, 125, 126, 3_000, 8_192, 8_193, 30_000, 65_536)
WRITES: Final = 40
SEEDS: Final = range(6)


class Deaf:
    """A receiver that does nothing."""

    def connect(self, connection: WebSocketConnection, *, address: str, host: str) -> Session:  # noqa: ARG002
        return None  # type: ignore[return-value] # a connection without a session hands on no messages

    def receive(self, session: Session, text: bytes) -> None: ...
    def receive_binary(self, session: Session, data: bytes) -> None: ...
    def drained(self, session: Session) -> None: ...
    def disconnected(self, session: Session) -> None: ...


class ByPicows(WebSocketConnection):
    """The control: writes a single message with the library's own ``send``."""

    def write(self, messages: Sequence[bytes]) -> None:
        if len(messages) == 1 and self._transport is not None:
            self._transport.send(WSMsgType.TEXT, messages[0])
        else:
            super().write(messages)


async def torrent(kind: type[WebSocketConnection], seed: int) -> tuple[bytes, bytes]:
    """What was written to somebody who reads little and late, and what arrived."""
    chance, loop = random.Random(seed), asyncio.get_running_loop()  # noqa: S311 - reproducible
    connection = kind(Deaf(), "", "")
    server = await loop.create_server(lambda: websocket(connection), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    # An accepted socket has the buffer of the one that listens.
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        await loop.sock_connect(client, address)
        await loop.sock_sendall(client, handshake(address))
        arrived = b""
        while b"\r\n\r\n" not in arrived:
            arrived += await loop.sock_recv(client, 65_536)
        arrived = arrived.partition(b"\r\n\r\n")[2]
        expected = b""
        for number in range(WRITES):
            kind_of_step = chance.choice(("message", "message", "message", "messages", "ping"))
            if kind_of_step == "ping":
                await loop.sock_sendall(client, frame(PING, b"%d" % number))
                await asyncio.sleep(0.02)  # the pong is written when the ping is read
                expected += frame(PONG, b"%d" % number, masked=False)
                continue
            count = 1 if kind_of_step == "message" else chance.randint(2, 4)
            messages = [chance.randbytes(1) * chance.choice(SIZES) for _ in range(count)]
            connection.write(messages)
            expected += b"".join(frame(TEXT, message, masked=False) for message in messages)
        assert connection.buffered(), "the socket took it all: nothing was shown"
        async with asyncio.timeout(5):
            while len(arrived) < len(expected):
                arrived += await loop.sock_recv(client, 65_536)
    connection.abort()
    server.close()
    await server.wait_closed()
    return expected, arrived


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_arrive_whole_and_in_order_though_the_socket_is_full(seed: int) -> None:
    expected, arrived = uvloop.run(torrent(WebSocketConnection, seed))
    assert arrived == expected


def test_control_the_librarys_own_send_tears_frames() -> None:
    torn = 0
    for seed in SEEDS:
        expected, arrived = uvloop.run(torrent(ByPicows, seed))
        torn += arrived != expected
    assert torn
