"""One logged-in WebSocket of the load, on a plain socket."""

import asyncio
import base64
import json
import os
import time
from collections import deque
from typing import Any, Final, cast
from urllib.parse import SplitResult

from phantom_messenger.bench import wire
from phantom_messenger.bench.ledger import Ledger

_TEXT: Final = 1
_CLOSE: Final = 8
_RATE: Final = 1003
DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}

Frame = tuple[bytes, bytes]
"""A message id and the masked frame."""


class LoadError(Exception):
    """The relay cannot be measured so; the message says why and what to do."""


class Connection(asyncio.Protocol):
    """A person's connection: logs in, sends what was prepared, notes what comes.

    Args:
        person: who logs in.
        ledger: is told what happens.
        url: of the relay.
        acks: whether it has the feature ``ack``, and confirms what it receives.

    Attributes:
        frames: what it will send.
        window: in a closed loop, more than 0: each answer is followed by the next frame.
        ready: done when it is logged in; fails with ``LoadError``.
        gone: done when the socket is.
        ahead: milliseconds that the relay's clock is ahead.
    """

    def __init__(self, person: wire.Person, ledger: Ledger, url: SplitResult, *, acks: bool) -> None:
        loop = asyncio.get_running_loop()
        self.person = person
        self.frames: deque[Frame] = deque()
        self.window = 0
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ready.add_done_callback(asyncio.Future.exception)  # nobody may be waiting for it any more
        self.gone: asyncio.Future[int] = loop.create_future()
        self.ahead = 0
        self._ledger = ledger
        self._url = url
        self._acks = acks
        self._buffer = bytearray()
        self._is_open = False
        self._is_leaving = False
        self._closed_with = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        head = [
            f"GET {self._url.path.rstrip('/') or '/ws'} HTTP/1.1",
            f"Host: {self._host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        self.write(("\r\n".join(head) + "\r\n\r\n").encode())

    @property
    def _host(self) -> str:
        """As it was dialled, without a default port."""
        return self._url.netloc.rpartition("@")[2].removesuffix(f":{DEFAULT_PORTS[self._url.scheme]}")

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def now_ms(self) -> int:
        """The time by the relay's clock."""
        return time.time_ns() // 1_000_000 + self.ahead

    def close(self) -> None:
        """Let go of the socket."""
        self._is_leaving = True
        if self._transport is not None:
            self._transport.abort()

    async def leave(self, seconds: float) -> bool | None:
        """Have the relay delete the account: whether it has; None if it never had one."""
        either: list[asyncio.Future[Any]] = [self.ready, self.gone]
        if not any(one.done() for one in either):
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not self.ready.done() or self.ready.exception() is not None:
            return None
        self._is_leaving = True
        if not self.gone.done():
            self.write(self.person.farewell(self.now_ms()))
            await asyncio.wait([self.gone], timeout=seconds)
        return self.gone.done() and self.gone.result() == 1_000  # noqa: PLR2004 - the close code of a deleted account

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.Protocol``."""
        if not self._is_leaving and not self._closed_with:
            self._fail("connection lost")
        if not self.gone.done():
            self.gone.set_result(self._closed_with)

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
                self._closed(int.from_bytes(payload[:2], "big"))
        if answers:
            self.write(b"".join(answers))

    def send(self, count: int) -> None:
        """Send the next frames, due now."""
        self.write(b"".join(self._next(time.perf_counter()) for _ in range(min(count, len(self.frames)))))

    def send_due(self, due: float) -> None:
        """Send the next frame, which was due at this moment."""
        self.write(self._next(due))

    def _next(self, due: float) -> bytes:
        name, frame = self.frames.popleft()
        self._ledger.send(name, due)
        return frame

    def _opened(self) -> bool:
        head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            return False
        status = head.split(b"\r\n", 1)[0]
        if b" 101 " not in status:
            self._fail(status.decode(errors="replace"))
            return False
        self._buffer = bytearray(rest)
        self._is_open = True
        return True

    def _closed(self, code: int) -> None:
        """The relay has said its last word; without an answer it would wait for one."""
        self._closed_with = code
        if not self._is_leaving:
            self._fail(f"close {code}")
        if self._transport is not None:
            self._transport.write(b"\x88\x82" + bytes(4) + code.to_bytes(2, "big"))
            self._transport.close()

    def _fail(self, reason: str) -> None:
        self._ledger.refused[reason] += 1
        if not self.ready.done():
            self.ready.set_exception(LoadError(why(self._ledger)))

    def _take(self, payload: bytes, now: float) -> bytes:
        """Note a frame; what to answer."""
        ledger = self._ledger
        if payload.endswith(b'"type":"MESSAGE"}'):
            name = wire.word(payload, b"messageId")
            ledger.deliver(name, now)
            return wire.delivered(name, wire.word(payload, b"senderId")) if self._acks else b""
        if payload.endswith(b'"type":"MESSAGE_ACK"}'):
            name = wire.word(payload, b"messageId")
            if b'"status":"accepted"' in payload:
                ledger.accept(name, now)
                return self._next(now) if self.window and self.frames else b""
            ledger.tell(name)
            return wire.confirmed(wire.place(payload)) if self._acks else b""
        return self._take_other(json.loads(payload))

    def _take_other(self, frame: dict[str, Any]) -> bytes:
        payload = frame.get("payload", {})
        match frame["type"]:
            case "CONNECTION_ACK":
                self.ahead = payload["serverTime"] - time.time_ns() // 1_000_000
                return wire.masked(self.person.auth(frame, self._host, ["ack"] if self._acks else []))
            case "AUTH_SUCCESS" if not self.ready.done():
                self.ready.set_result(None)
            case "AUTH_FAILURE":
                self._fail("rate" if payload["code"] == _RATE else payload["reason"])
            case "ERROR":
                self._fail(payload["details"]["reason"])
        return b""


LIMITS: Final = {"rate", "close 4002"}
"""Reasons of a relay that limits how much one person or address may do."""


def why(ledger: Ledger) -> str:
    """What the relay has refused, as a sentence that says what to do."""
    done = f"{ledger.accepted:,} of {ledger.sent:,} accepted, {ledger.delivered:,} delivered"
    if LIMITS & ledger.refused.keys():
        return f"{done}; the relay limits what one address may do: start it with --limits off to measure it"
    if "overload" in ledger.refused:
        return f"{done}; it is more than the relay can carry: ask for less"
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in ledger.refused.items())
    return f"{done}; {f'refused: {reasons}' if reasons else 'the relay stands still'}"
