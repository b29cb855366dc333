"""People who write to each other as fast as a relay answers, or at a given rate whatever it answers.

Each sender has a recipient; both are connected. A message counts as accepted when its
sender has the relay's word, and as delivered when its recipient's socket has it.
"""

import asyncio
import base64
import json
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import SplitResult, urlsplit

from phantom_messenger.bench import wire
from phantom_messenger.bench.histogram import Histogram

_TEXT: Final = 1
_CLOSE: Final = 8
PATIENCE: Final = 30.0

Progress = Callable[[str], None]
Frame = tuple[bytes, bytes]
"""A message id and the masked frame."""


class LoadError(Exception):
    """The relay cannot be measured so; the message says why and what to do."""


@dataclass(slots=True)
class Ledger:
    """What has happened so far, and when it was to happen.

    Attributes:
        due: monotonic seconds at which each message was to be sent, by id, until it is answered.
        acks: microseconds from then to ``accepted``.
        deliveries: the same to the recipient's socket.
        refused: how often the relay has said no, by its reason.
    """

    accepted: int = 0
    delivered: int = 0
    due: dict[bytes, float] = field(default_factory=dict)
    acks: Histogram = field(default_factory=Histogram)
    deliveries: Histogram = field(default_factory=Histogram)
    refused: dict[str, int] = field(default_factory=dict)


class Connection(asyncio.Protocol):
    """One logged-in WebSocket on a plain socket.

    Args:
        person: who logs in.
        ledger: is told what happens.
        url: of the relay.
        acks: whether it acknowledges what it receives itself.
    """

    def __init__(self, person: wire.Person, ledger: Ledger, url: SplitResult, *, acks: bool) -> None:
        self.person = person
        self.frames: deque[Frame] = deque()
        self.window = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ledger = ledger
        self._url = url
        self._acks = acks
        self._buffer = bytearray()
        self._is_open = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        path = self._url.path or "/ws"
        head = [f"GET {path} HTTP/1.1", f"Host: {self._url.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
        self.write(
            ("\r\n".join([*head, "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]) + "\r\n\r\n").encode()
        )

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Let go of the socket."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.Protocol``."""
        if not self.ready.done():
            self.ready.set_exception(LoadError("the relay has closed a connection before the login"))

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._buffer += data
        if not self._is_open and not self._opened():
            return
        now = time.perf_counter()
        answers = []
        for opcode, payload in wire.unframed(self._buffer):
            if opcode == _TEXT and (answer := self._take(payload, now)):
                answers.append(answer)
            elif opcode == _CLOSE:
                self._fail(f"the relay has closed a connection with {int.from_bytes(payload[:2], 'big')}")
        if answers:
            self.write(b"".join(answers))

    def send(self, count: int, at: float | None = None) -> None:
        """Send the next frames, due now or at a moment that was planned."""
        self.write(b"".join(self._next(at) for _ in range(min(count, len(self.frames)))))

    def _next(self, at: float | None = None) -> bytes:
        name, frame = self.frames.popleft()
        self._ledger.due[name] = time.perf_counter() if at is None else at
        return frame

    def _opened(self) -> bool:
        head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            return False
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            self._fail(f"the relay has refused a connection: {head.splitlines()[0].decode(errors='replace')}")
            return False
        self._buffer = bytearray(rest)
        self._is_open = True
        return True

    def _fail(self, reason: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(LoadError(reason))
        else:
            self._ledger.refused[reason] = self._ledger.refused.get(reason, 0) + 1

    def _take(self, payload: bytes, now: float) -> bytes:
        """Note a frame; what to answer."""
        ledger = self._ledger
        if payload.endswith(b'"type":"MESSAGE"}'):
            name = wire.word(payload, b"messageId")
            ledger.delivered += 1
            due = ledger.due.get(name)
            if due is not None:
                ledger.deliveries.add(int((now - due) * 1e6))
            return wire.delivered(name, wire.word(payload, b"senderId")) if self._acks else b""
        if b'"status":"accepted"' in payload:
            ledger.accepted += 1
            ledger.acks.add(int((now - ledger.due[wire.word(payload, b"messageId")]) * 1e6))
            return self._next() if self.window and self.frames else b""
        if payload.endswith(b'"type":"CONNECTION_ACK"}'):
            return wire.masked(self.person.auth(json.loads(payload), self._url.netloc, ["ack"] if self._acks else []))
        if payload.endswith(b'"type":"AUTH_SUCCESS"}') and not self.ready.done():
            self.ready.set_result(None)
        elif payload.endswith((b'"type":"ERROR"}', b'"type":"AUTH_FAILURE"}')):
            found: dict[str, Any] = json.loads(payload)["payload"]
            reason = str(found.get("details", {}).get("reason") or found.get("reason") or found.get("code"))
            self._fail(reason)
        return b""


class Crowd:
    """Senders with their recipients at one relay.

    Args:
        url: of the relay.
        pairs: how many.
        acks: whether recipients acknowledge by themselves.
        sources: loopback addresses to connect from in turn, for more sockets than one address has ports.
    """

    def __init__(self, url: str, pairs: int, *, acks: bool = False, sources: Sequence[str] = ()) -> None:
        self._url = urlsplit(url)
        self._pairs = pairs
        self._acks = acks
        self._sources = sources
        self.ledger = Ledger()
        self.senders: list[Connection] = []
        self.recipients: list[Connection] = []

    async def connect(self, progress: Progress = lambda _: None) -> None:
        """Log everybody in.

        Raises:
            LoadError: the relay refuses.
        """
        people = [wire.Person() for _ in range(2 * self._pairs)]
        made: list[Connection] = []
        for start in range(0, len(people), 100):
            part = people[start : start + 100]
            made += await asyncio.gather(*(self.login(person, start + n) for n, person in enumerate(part)))
            progress(f"{len(made):,} of {len(people):,} logged in")
        self.senders, self.recipients = made[::2], made[1::2]

    async def login(self, person: wire.Person, number: int = 0) -> Connection:
        """One connection of this person."""
        source = (self._sources[number % len(self._sources)], 0) if self._sources else None
        loop = asyncio.get_running_loop()
        is_secure = self._url.scheme == "wss"
        _, connection = await loop.create_connection(
            lambda: Connection(person, self.ledger, self._url, acks=self._acks),
            self._url.hostname or "",
            self._url.port or (443 if is_secure else 80),
            ssl=True if is_secure else None,
            local_addr=source,
        )
        async with asyncio.timeout(PATIENCE):
            await connection.ready
        return connection

    def prepare(self, count: int, size: int, progress: Progress = lambda _: None) -> None:
        """Make so many messages for all senders together, with bodies of ``size`` base64 characters."""
        body = base64.b64encode(os.urandom(size)).decode()[: size // 4 * 4]
        at = time.time_ns() // 1_000_000
        for number in range(count):
            index = number % self._pairs
            sender, recipient = self.senders[index], self.recipients[index]
            sender.frames.append(sender.person.message(recipient.person.id, body, at))
            if number % 5_000 == 0:
                progress(f"{number:,} of {count:,} messages signed")

    async def closed_loop(self, in_flight: int) -> float:
        """Send all that was prepared, so many unanswered for each sender; the seconds until all was delivered."""
        count = sum(len(sender.frames) for sender in self.senders)
        began = time.perf_counter()
        for sender in self.senders:
            sender.window = in_flight
            sender.send(in_flight)
        await self._settled(count)
        return time.perf_counter() - began

    async def open_loop(self, rate: float) -> float:
        """Send all that was prepared at this rate, whatever is answered; the seconds until all was delivered."""
        count = sum(len(sender.frames) for sender in self.senders)
        began = time.perf_counter() + 0.05
        sent = 0
        while sent < count:
            due = min(int((time.perf_counter() - began) * rate) + 1, count)
            for number in range(sent, due):
                self.senders[number % self._pairs].send(1, began + number / rate)
            sent = max(due, sent)
            await asyncio.sleep(0.001)
        await self._settled(count)
        return time.perf_counter() - began

    async def _settled(self, count: int) -> None:
        """Wait until all is accepted and delivered; what stands still ends it."""
        before, quiet_since = -1, time.perf_counter()
        while min(self.ledger.accepted, self.ledger.delivered) < count:
            await asyncio.sleep(0.002)
            if (done := self.ledger.accepted + self.ledger.delivered) != before:
                before, quiet_since = done, time.perf_counter()
            elif time.perf_counter() - quiet_since > PATIENCE or self.ledger.refused:
                raise LoadError(self._why(count))

    def _why(self, count: int) -> str:
        done = f"{self.ledger.accepted:,} of {count:,} accepted, {self.ledger.delivered:,} delivered"
        if {"rate", "backlog"} & set(self.ledger.refused):
            return f"{done}; the relay limits rates: start it with --limits off, or measure with a lower --rate"
        return f"{done}; refused: {self.ledger.refused or 'nothing, it stands still'}"

    def close(self) -> None:
        """Let go of all sockets."""
        for connection in (*self.senders, *self.recipients):
            connection.close()
