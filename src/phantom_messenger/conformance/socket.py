"""One connection to the relay: HTTP, then WebSocket frames, well-formed or not, and what comes back."""

import asyncio
import contextlib
import ipaddress
import os
import socket as net
import ssl
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from phantom_messenger.conformance import shapes, wire
from phantom_messenger.conformance.verdict import Failure, UnreachableError

DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
_HEAD_END: Final = b"\r\n\r\n"
_MOST_READ: Final = 4 * 1024 * 1024
_LEAVE_SECONDS: Final = 2.0


class Target:
    """A relay's URL, and how it is dialled.

    Args:
        url: ws:// or wss://.
        patience: seconds to wait for anything that the relay must send.
    """

    def __init__(self, url: str, patience: float) -> None:
        parts = urlsplit(url)
        self.url = url
        self.patience = patience
        self.host = parts.hostname or ""
        self.port = parts.port or DEFAULT_PORTS[parts.scheme]
        self.path = parts.path.rstrip("/") or "/ws"
        self.audience = parts.netloc.rpartition("@")[2].removesuffix(f":{DEFAULT_PORTS[parts.scheme]}")
        self.ssl = ssl.create_default_context() if parts.scheme == "wss" else None

    async def loopback(self) -> str:
        """The IPv4 loopback address that it stands for; '' if it is another one."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self.host, self.port, family=net.AF_INET, type=net.SOCK_STREAM)
        except OSError:
            return ""
        address = str(found[0][4][0])
        return address if ipaddress.ip_address(address).is_loopback else ""

    def head(self, method: str = "GET", path: str = "", fields: Mapping[str, str] | None = None) -> bytes:
        """An HTTP request without a body."""
        lines = {"Host": self.audience, **(fields or {})}
        return "\r\n".join(
            [f"{method} {path or self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]
        ).encode()

    def handshake(self, **fields: str) -> bytes:
        """A WebSocket handshake; ``fields`` with underscores for hyphens add to it or replace parts of it."""
        given = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": wire.base64_text(os.urandom(16)),
        }
        return self.head(fields={**given, **{name.replace("_", "-"): value for name, value in fields.items()}})


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; the names of fields are in small letters."""

    status: int
    fields: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended: the code of the relay's close frame, None if there was none."""

    code: int | None

    def __str__(self) -> str:
        return "the relay drops the connection" if self.code is None else f"close {self.code}"


class Socket:
    """A connection; ``dial`` opens it, ``upgrade`` makes a WebSocket of it.

    Args:
        target: the relay.
        source: the address to dial from; None leaves that to the system.

    Attributes:
        pending: frames that have arrived and that nobody has looked for yet.
        pongs: what WebSocket pongs carried.
        problem: the first thing that was wrong with what arrived; '' if nothing was.
        closed: how it ended; None while it is open.
        errors: how many ERROR frames came.
        has_logged_in: whether AUTH_SUCCESS came.
        is_left: whether a close frame was sent, after which the relay ignores what comes.
    """

    def __init__(self, target: Target, source: str | None = None) -> None:
        self.target = target
        self.pending: deque[wire.Frame] = deque()
        self.pongs: list[bytes] = []
        self.problem = ""
        self.closed: Closed | None = None
        self.errors = 0
        self.has_logged_in = False
        self.is_left = False
        self._source = source
        self._takes_loose = False
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    # --- opening ------------------------------------------------------------------

    async def dial(self) -> None:
        """Open the connection.

        Raises:
            UnreachableError: nobody is there.
        """
        target = self.target
        place = f"{target.host}:{target.port}"
        local = None if self._source is None else (self._source, 0)
        try:
            async with asyncio.timeout(target.patience):
                self._reader, self._writer = await asyncio.open_connection(
                    target.host, target.port, ssl=target.ssl, local_addr=local, limit=_MOST_READ
                )
        except TimeoutError:
            kind = "connection to" if target.ssl is None else "TLS with"
            raise UnreachableError(f"no {kind} {place} within {target.patience:g} s") from None
        except ssl.SSLError as error:
            raise UnreachableError(f"no TLS with {place}: {error.reason or type(error).__name__}") from None
        except OSError as error:
            number = error.errno or 0  # negative if it is of the resolver
            sentence = os.strerror(number) if number > 0 else (error.strerror or str(error))
            raise UnreachableError(f"no connection to {place}: {sentence}") from None

    async def ask(self, request: bytes) -> Response:
        """Send an HTTP request; returns the answer, with its body unless it is a 101.

        Raises:
            UnreachableError: there is no answer, or it is not HTTP.
        """
        assert self._reader is not None  # noqa: S101 - it was dialled
        await self.send_raw(request)
        try:
            async with asyncio.timeout(self.target.patience):
                response = _read_head(await self._reader.readuntil(_HEAD_END))
                if response.status == 101:  # noqa: PLR2004 - Switching Protocols
                    return response
                size = int(response.fields.get("content-length", "0"))
                is_whole = not request.startswith(b"HEAD")
                return Response(
                    response.status, response.fields, await self._reader.readexactly(size) if is_whole else b""
                )
        except TimeoutError:
            raise UnreachableError(f"no answer to an HTTP request within {self.target.patience:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise UnreachableError("the connection is closed instead of an answer to an HTTP request") from None
        except (asyncio.LimitOverrunError, ValueError):
            raise UnreachableError("the answer to an HTTP request is not HTTP") from None

    async def ends(self) -> bool:
        """Whether the relay closes the connection and sends nothing more."""
        assert self._reader is not None  # noqa: S101 - it was dialled
        try:
            async with asyncio.timeout(self.target.patience):
                return await self._reader.read(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    async def upgrade(self, **fields: str) -> Response:
        """Make a WebSocket of it; ``fields`` as for ``Target.handshake``.

        Raises:
            UnreachableError: the answer is not a 101.
        """
        response = await self.ask(self.target.handshake(**fields))
        if response.status != 101:  # noqa: PLR2004 - Switching Protocols
            raise UnreachableError(f"the WebSocket handshake is answered with {response.status} instead of 101")
        self._reading = asyncio.create_task(self._read())
        return response

    # --- reading ------------------------------------------------------------------

    async def _read(self) -> None:
        """Take what arrives until the connection ends."""
        try:
            await self._read_frames()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            if self.closed is None:
                self.closed = Closed(None)
            self._news.set()

    async def _read_frames(self) -> None:
        assert self._reader is not None  # noqa: S101 - it was dialled
        message = b""
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:  # noqa: PLR2004 - the RFC's
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")  # noqa: PLR2004
            payload = await self._reader.readexactly(size)
            if second & 0x80:
                self._note("the relay has sent a masked WebSocket frame")
            opcode = first & 15
            if opcode == wire.CLOSE:
                self.closed = Closed(int.from_bytes(payload[:2], "big") if len(payload) > 1 else 1005)
                await self._leave(payload[:2])
                return
            if opcode == wire.PING:
                await self.send_raw(wire.ws_frame(wire.PONG, payload))
            elif opcode == wire.PONG:
                self.pongs.append(payload)
            elif opcode == wire.BINARY:
                self._note("the relay has sent a binary message")
            else:
                message += payload
                if first & wire.FIN:
                    self._take_in(message)
                    message = b""
            self._news.set()

    def _take_in(self, text: bytes) -> None:
        frame, problem = shapes.read(text, takes_loose=self._takes_loose)
        self._note(problem)
        self._takes_loose |= frame.get("payload", {}).get("unsignedAuth") is True
        if frame:
            self.pending.append(frame)
        self.errors += frame.get("type") == "ERROR"
        self.has_logged_in |= frame.get("type") == "AUTH_SUCCESS"

    def _note(self, problem: str) -> None:
        self.problem = self.problem or problem

    def check(self) -> None:
        """Raise if anything that arrived broke the rules of its form."""
        if self.problem:
            raise Failure(self.problem)

    async def first(self, wanted: str, kind: str = "", *, unwelcome: Collection[str] = ()) -> wire.Frame:
        """Take the first frame of this type, of any if none is named; those before it stay.

        Args:
            wanted: how a sentence names it.
            kind: its type.
            unwelcome: types that must not come instead.

        Raises:
            Failure: one of those comes, or the end, or nothing.
        """
        until = asyncio.get_running_loop().time() + self.target.patience
        while True:
            self.check()
            found = next((frame for frame in self.pending if kind in ("", frame["type"])), None)
            if found is not None:
                self.pending.remove(found)
                return found
            instead = next((frame for frame in self.pending if frame["type"] in unwelcome), None)
            if instead is not None:
                raise Failure(f"{wanted} is expected, and this comes: {wire.show(instead)}")
            if self.closed is not None:
                raise Failure(f"{wanted} is expected, and this comes: {self.closed}")
            if not await self.news(until):
                others = "".join(f"; meanwhile came {wire.show(frame)}" for frame in list(self.pending)[:1])
                raise Failure(f"{wanted} is expected, and does not come within {self.target.patience:g} s{others}")

    async def news(self, until: float) -> bool:
        """Wait for something to happen; False if nothing does until then (event loop time)."""
        self._news.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    # --- writing ------------------------------------------------------------------

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are. A relay that has hung up is found by what is expected next."""
        assert self._writer is not None  # noqa: S101 - it was dialled
        with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError):
            self._writer.write(data)
            async with asyncio.timeout(self.target.patience):
                await self._writer.drain()

    async def send_text(self, text: bytes) -> None:
        """Send a text message."""
        await self.send_raw(wire.ws_frame(wire.TEXT, text))

    # --- closing ------------------------------------------------------------------

    async def leave(self, code: int = 1000) -> None:
        """Close it as a client does, and wait until the relay has."""
        if self._reading is None:
            await self.drop()
            return
        if self.closed is None:
            self.is_left = True
            await self.send_raw(wire.ws_frame(wire.CLOSE, code.to_bytes(2, "big")))
            await asyncio.wait({self._reading}, timeout=_LEAVE_SECONDS)
        await self.drop()

    async def _leave(self, payload: bytes) -> None:
        """Answer the relay's close frame."""
        await self.send_raw(wire.ws_frame(wire.CLOSE, payload))
        if self._writer is not None:
            self._writer.close()

    async def drop(self) -> None:
        """Close it without a word."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        if self._writer is not None:
            with contextlib.suppress(AttributeError):  # over TLS, from Python 3.11.2, if it was closed twice
                self._writer.transport.abort()  # what the relay does not read any more would never be written
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()


def _read_head(head: bytes) -> Response:
    """The status and the fields of an HTTP response.

    Raises:
        ValueError: it is none.
    """
    status, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, code, *_ = status.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    fields = dict(line.split(":", 1) for line in lines)
    return Response(int(code), {name.lower(): value.strip() for name, value in fields.items()})
