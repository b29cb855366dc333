"""A relay that lets everybody in and then does what a test says, over real sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from support.people import base64_text, canonical

Frame = dict[str, Any]
LIMITS: Final = {
    "backlog": 1_000,
    "encryptedChars": 61_440,
    "messageBytes": 65_536,
    "messagesPerMinute": None,
    "metadataBytes": 1_024,
}


def text_of(kind: str, payload: Frame, **more: Any) -> str:
    """A frame as a relay sends it."""
    return canonical({"type": kind, "payload": payload, "timestamp": 1, **more}).decode()


class EvilRelay:
    """The relay.

    Args:
        evil: what it does with a connection that is logged in.
    """

    def __init__(self, evil: Callable[["Line"], Awaitable[None]]) -> None:
        self._evil = evil
        self.url = ""
        self.lines: list[Line] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["EvilRelay"]:
        # No bound on what it sends: that is the client's to have.
        async with serve(self._serve, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=1) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}/ws"
            yield self

    async def _serve(self, connection: ServerConnection) -> None:
        line = Line(connection)
        self.lines.append(line)
        with contextlib.suppress(ConnectionClosed):
            await line.log_in()
            await self._evil(line)
            await connection.wait_closed()
        line.code = connection.close_code
        line.is_closed.set()


class Line:
    """A connection of a client."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.user = ""
        self.code: int | None = None
        self.is_closed = asyncio.Event()

    async def say(self, kind: str, payload: Frame, **more: Any) -> None:
        await self.connection.send(text_of(kind, payload, **more))

    async def hear(self, kind: str) -> Frame:
        """The next frame of a type; others are passed over."""
        while True:
            frame: Frame = json.loads(await self.connection.recv())
            if frame["type"] == kind:
                return frame

    async def log_in(self) -> None:
        greeting = {"challenge": base64_text(bytes(32)), "connectionId": "c", "limits": LIMITS, "protocolVersion": 1}
        await self.say("CONNECTION_ACK", {**greeting, "serverName": "phantom", "serverTime": 1_800_000_000_000})
        auth = await self.hear("AUTH")
        self.user = auth["payload"]["userId"]
        await self.say("AUTH_SUCCESS", {"serverTime": 1_800_000_000_000, "sessionId": "s"}, id=auth["id"])

    async def answer(self) -> None:
        """Go on as an honest relay that has nothing to deliver."""
        while True:
            frame = json.loads(await self.connection.recv())
            if frame["type"] == "PING":
                await self.connection.send(canonical({"type": "PONG", "id": frame["id"], "timestamp": 1}).decode())
