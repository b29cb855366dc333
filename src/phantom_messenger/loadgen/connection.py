"""One logged-in WebSocket of the load generator, on a plain socket."""

import asyncio
import base64
import json
import os
import time
from collections import deque
from typing import Any, Final, cast
from urllib.parse import SplitResult

from phantom_messenger.loadgen import wire
from phantom_messenger.loadgen.stats import Stats

_TEXT: Final = 1
_CLOSE: Final = 8
_RATE: Final = 1003
DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}

Frame = tuple[bytes, bytes]
"""A message id and its masked frame."""


class LoadError(Exception):
    """The relay cannot be measured like this; the message says why and what to do."""


class Connection(asyncio.Protocol):
    """A user's connection: it logs in, sends the frames prepared for it, and records what arrives.

    Args:
        user: who logs in.
        stats: records what happens.
        url: of the relay.
        acks: whether it has the feature ``ack`` and confirms what it receives.

    Attributes:
        frames: the messages it will send.
        window: in a closed loop, more than 0: each answer is followed by the next frame.
        ready: done once it is logged in; fails with ``LoadError``.
        closed: done once the socket is closed, with the close code.
        clock_offset_ms: how far the relay's clock is ahead of ours.
    """

    def __init__(self, user: wire.VirtualUser, stats: Stats, url: SplitResult, *, acks: bool) -> None:
        loop = asyncio.get_running_loop()
        self.user = user
        self.frames: deque[Frame] = deque()
        self.window = 0
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ready.add_done_callback(asyncio.Future.exception)  # perhaps nobody awaits it any more
        self.closed: asyncio.Future[int] = loop.create_future()
        self.clock_offset_ms = 0
        self._stats = stats
        self._url = url
        self._acks = acks
        self._buffer = bytearray()
        self._is_open = False
        self._has_asked = False
        self._is_closing = False
        self._close_code = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        """Ask to be let in. Nothing was sent before: who gives up until here leaves no account."""
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
        """The host that was dialled, without a default port."""
        return self._url.netloc.rpartition("@")[2].removesuffix(f":{DEFAULT_PORTS[self._url.scheme]}")

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def now_ms(self) -> int:
        """The time by the relay's clock."""
        return time.time_ns() // 1_000_000 + self.clock_offset_ms

    def close(self) -> None:
        """Drop the socket."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    async def delete_account(self, seconds: float) -> bool | None:
        """Ask the relay to delete the account.

        Returns:
            Whether it did, as far as is known, or None if there never was an account.
        """
        outcomes: list[asyncio.Future[Any]] = [self.ready, self.closed]
        if not any(outcome.done() for outcome in outcomes):
            await asyncio.wait(outcomes, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not self.ready.done():
            return False if self._has_asked else None
        if self.ready.exception() is not None:
            return None
        self._is_closing = True
        if not self.closed.done():
            self.write(self.user.delete_account(self.now_ms()))
            await asyncio.wait([self.closed], timeout=seconds)
        return self.closed.done() and self.closed.result() == 1_000  # noqa: PLR2004 - the close code of a deleted account

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.Protocol``."""
        if not self._is_closing and not self._close_code:
            self._fail("connection lost")
        if not self.closed.done():
            self.closed.set_result(self._close_code)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._buffer += data
        if not self._is_open and not self._read_response():
            return
        now = time.perf_counter()
        answers = []
        for opcode, payload in wire.read_frames(self._buffer):
            if opcode == _TEXT and (answer := self._handle_frame(payload, now)):
                answers.append(answer)
            elif opcode == _CLOSE:
                self._handle_close(int.from_bytes(payload[:2], "big"))
        if answers:
            self.write(b"".join(answers))

    def send(self, count: int) -> None:
        """Send the next ``count`` frames, which are due now."""
        self.write(b"".join(self._next(time.perf_counter()) for _ in range(min(count, len(self.frames)))))

    def send_due(self, due: float) -> None:
        """Send the next frame, which was due at this time."""
        self.write(self._next(due))

    def _next(self, due: float) -> bytes:
        message_id, frame = self.frames.popleft()
        self._stats.record_sent(message_id, due)
        return frame

    def _read_response(self) -> bool:
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

    def _handle_close(self, code: int) -> None:
        """Answer the relay's close frame; it would wait for that."""
        self._close_code = code
        if not self._is_closing:
            self._fail(f"close {code}")
        if self._transport is not None:
            self._transport.write(b"\x88\x82" + bytes(4) + code.to_bytes(2, "big"))
            self._transport.close()

    def _fail(self, reason: str) -> None:
        self._stats.refused[reason] += 1
        if not self.ready.done():
            self.ready.set_exception(LoadError(describe_failure(self._stats)))

    def _handle_frame(self, payload: bytes, now: float) -> bytes:
        """Record a frame; returns the answer to it, if any."""
        stats = self._stats
        if payload.endswith(b'"type":"MESSAGE"}'):
            message_id = wire.text_field(payload, b"messageId")
            stats.record_delivered(message_id, now)
            return wire.message_ack(message_id, wire.text_field(payload, b"senderId")) if self._acks else b""
        if payload.endswith(b'"type":"MESSAGE_ACK"}'):
            message_id = wire.text_field(payload, b"messageId")
            if b'"status":"accepted"' in payload:
                stats.record_accepted(message_id, now)
                return self._next(now) if self.window and self.frames else b""
            stats.record_receipt(message_id)
            return wire.item_ack(wire.seq_of(payload)) if self._acks else b""
        return self._handle_other(json.loads(payload))

    def _handle_other(self, frame: dict[str, Any]) -> bytes:
        payload = frame.get("payload", {})
        match frame["type"]:
            case "CONNECTION_ACK":
                self.clock_offset_ms = payload["serverTime"] - time.time_ns() // 1_000_000
                self._has_asked = True
                return wire.text_frame(self.user.auth(frame, self._host, ["ack"] if self._acks else []))
            case "AUTH_SUCCESS" if not self.ready.done():
                self.ready.set_result(None)
            case "AUTH_FAILURE":
                self._fail("rate" if payload["code"] == _RATE else payload["reason"])
            case "ERROR":
                self._fail(payload["details"]["reason"])
        return b""


LIMITS: Final = {"rate", "close 4002"}
"""The reasons a relay gives when it limits how much one user or address may do."""


def describe_failure(stats: Stats) -> str:
    """What the relay refused, as a sentence that says what to do."""
    done = f"{stats.accepted:,} of {stats.sent:,} accepted, {stats.delivered:,} delivered"
    if LIMITS & stats.refused.keys():
        return f"{done}; the relay limits what one address may do: start it with --limits off to measure it"
    if "overload" in stats.refused:
        return f"{done}; the relay cannot carry that much: lower the rate"
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in stats.refused.items())
    return f"{done}; {f'refused: {reasons}' if reasons else 'the relay makes no progress'}"
