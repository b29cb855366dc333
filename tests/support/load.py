"""People who send as fast as they can: asyncio clients that read all the time and keep what came."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from support.people import Frame, Person, canonical

PATIENCE = 60.0
"""Seconds until something that must come is missed, on a machine that does much else."""


class Peer:
    """One logged-in connection; ``changed`` is set whenever something has come.

    Attributes:
        accepted: ids of own messages, as the relay accepted them.
        messages: MESSAGE frames in the order in which they came.
        errors: ERROR frames.
        acks: whether every message that comes is acknowledged.
        end: the code that the connection was closed with; None if it was without one, or is still open.
    """

    def __init__(self, person: Person, connection: ClientConnection, *, acks: bool) -> None:
        self.person = person
        self.accepted: list[str] = []
        self.messages: list[Frame] = []
        self.errors: list[Frame] = []
        self.end: int | None = None
        self.changed = asyncio.Event()
        self.acks = acks
        self._pongs: list[str | None] = []
        self._connection = connection
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def send(self, *frames: Frame) -> None:
        """Send, until the relay closes the connection."""
        for frame in frames:
            try:
                await self._connection.send(canonical(frame).decode())
            except ConnectionClosed:
                return

    async def until(self, reached: Callable[[], bool]) -> bool:
        """Wait for something that what comes will make true; False if an ERROR or the end came first."""
        async with asyncio.timeout(PATIENCE):
            while not (reached() or self.errors or self._reader.done()):
                self.changed.clear()
                await self.changed.wait()
        return reached()

    async def settle(self) -> list[Frame]:
        """All messages that came, once what waited (up to 256 KiB) has come and its acknowledgements are stored."""
        for name in ("come", "stored"):
            await self.send(self.person.ping(id=name))
            assert await self.until(lambda name=name: name in self._pongs), self.errors  # type: ignore[misc]
        return self.messages

    async def closed(self) -> int | None:
        """Wait until the connection is closed; the code."""
        async with asyncio.timeout(PATIENCE):
            await self._reader
        return self.end

    async def _read(self) -> None:
        try:
            async for text in self._connection:
                await self._take(json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.end = None if self._connection.protocol.close_rcvd is None else self._connection.close_code
            self.changed.set()

    async def _take(self, frame: Frame) -> None:
        match frame["type"]:
            case "MESSAGE":
                self.messages.append(frame)
                if self.acks:
                    await self.send(self.person.ack(frame))
            case "MESSAGE_ACK" if "seq" in frame:
                await self.send(self.person.confirm(frame["seq"]))
            case "MESSAGE_ACK" if frame["payload"]["status"] == "accepted":
                self.accepted.append(frame["payload"]["messageId"])
            case "PONG":
                self._pongs.append(frame.get("id"))
            case "ERROR":
                self.errors.append(frame)
        self.changed.set()


class Connections:
    """Logs people in, and closes what is still open at its end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def login(self, person: Person, *, acks: bool = False) -> Peer:
        """A connection of this person; with ``acks`` it acknowledges every message that comes."""
        connection = await self._open.enter_async_context(
            connect(
                self._url,
                compression=None,
                proxy=None,
                ping_interval=None,
                max_queue=None,
                close_timeout=2,
                open_timeout=PATIENCE,
            )
        )
        acknowledgement = json.loads(await connection.recv())
        auth = person.auth(acknowledgement, urlsplit(self._url).netloc, features=["ack"])
        await connection.send(canonical(auth).decode())
        assert json.loads(await connection.recv())["type"] == "AUTH_SUCCESS"
        return Peer(person, connection, acks=acks)


async def make_contacts(one: Peer, other: Peer) -> None:
    """Make two people contacts, so that either may fill the other's mailbox."""
    for sender, recipient in ((one, other), (other, one)):
        await accepted(sender, sender.person.message(recipient.person))


async def accepted(sender: Peer, message: Frame) -> None:
    """Send a message and wait until it is accepted."""
    await sender.send(message)
    assert await sender.until(lambda: message["payload"]["messageId"] in sender.accepted), sender.errors


def ids(frames: Sequence[Frame]) -> list[str]:
    return [frame["payload"]["messageId"] for frame in frames]
