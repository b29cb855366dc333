"""A WebSocket client that may break every rule: handshake and frames byte by byte."""

import base64
import json
import select
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from support.people import Person, canonical

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x01\x02\x03\x04"
PATIENCE = 60.0


class RawFrame(NamedTuple):
    """One frame as received."""

    opcode: int
    payload: bytes


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    head: str
    body: bytes


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """The bytes of a frame (RFC 6455 section 5.2); ``rsv`` holds the three reserved bits."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes((first, bit | len(payload)))
    elif len(payload) < 65_536:
        head = struct.pack("!BBH", first, bit | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, bit | 127, len(payload))
    if not masked:
        return head + payload
    return head + MASK + _xor(payload)


def _xor(payload: bytes) -> bytes:
    mask = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(len(payload)) if payload else b""


def close_frame(code: int | None, reason: str = "") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason.encode())


def handshake(address: tuple[str, int], headers: Sequence[tuple[str, str]] = (), *, path: str = "/ws") -> bytes:
    """The request of an upgrade; ``headers`` replace those of the same name."""
    usual = {
        "Host": f"{address[0]}:{address[1]}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    given = {name.lower() for name, _ in headers}
    lines = [(name, value) for name, value in usual.items() if name.lower() not in given] + list(headers)
    head = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines)]
    return "\r\n".join([*head, "", ""]).encode()


class RawSocket:
    """A TCP connection to the relay, on which nothing is waited for longer than ``patience`` seconds."""

    def __init__(self, address: tuple[str, int], *, source: str = "", patience: float = PATIENCE) -> None:
        self.address = address
        self._socket = socket.create_connection(address, timeout=patience, source_address=(source, 0))
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def upgrade(self, headers: Sequence[tuple[str, str]] = (), *, path: str = "/ws") -> Response:
        """Ask for an upgrade; the answer, with a body if it was refused."""
        self.send(handshake(self.address, headers, path=path))
        return self.response()

    def opened(self) -> Self:
        """Upgrade and read CONNECTION_ACK."""
        assert self.upgrade().status == 101
        assert self.read().opcode == TEXT
        return self

    def logged_in(self, person: Person | None = None, *, features: Sequence[str] = ("ack",)) -> Self:
        """Upgrade and log somebody in, with acknowledgements unless other features are asked for."""
        person = person or Person()
        assert self.upgrade().status == 101
        hello = json.loads(self.read().payload)
        auth = person.auth(hello, f"{self.address[0]}:{self.address[1]}", features=features)
        self.send(frame(TEXT, canonical(auth)))
        assert b'"AUTH_SUCCESS"' in self.read().payload
        return self

    def response(self, *, bodiless: bool = False) -> Response:
        """Read an HTTP response; that to HEAD is ``bodiless``."""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        text = head.decode("latin-1")
        status = int(text.split(" ", 2)[1])
        length = next(
            (int(line.partition(":")[2]) for line in text.split("\r\n") if line.lower().startswith("content-length:")),
            0,
        )
        body = b"" if status == 101 or bodiless else self._take(length)
        return Response(status, text, body)

    def read(self) -> RawFrame:
        """Read a frame of the relay, which is whole and unmasked."""
        first, second = self._take(2)
        assert first & 0xF0 == 0x80, "the relay sends whole frames without reserved bits"
        assert not second & 0x80, "a server's frames are not masked"
        length = second
        if second == 126:
            length = int.from_bytes(self._take(2))
        elif second == 127:
            length = int.from_bytes(self._take(8))
        return RawFrame(first & 0x0F, self._take(length))

    def skip(self) -> None:
        """Throw away what has come."""
        while select.select([self._socket], [], [], 0)[0] and self._socket.recv(65_536):
            pass

    def close_code(self) -> int:
        """Read up to the close frame; its code."""
        while (found := self.read()).opcode != CLOSE:
            pass
        return int.from_bytes(found.payload[:2])

    def is_at_end(self) -> bool:
        """Whether the relay has closed the TCP connection and sent nothing more."""
        try:
            return not self._unread and self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        return not self._unread and not select.select([self._socket], [], [], seconds)[0]

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._more()
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _more(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError(f"the relay has closed after {self._unread!r}")
        self._unread += data
