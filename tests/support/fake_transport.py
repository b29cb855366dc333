"""A transport without a socket."""

import asyncio


class FakeTransport:
    """Shows what was done with it; ``flow`` is ``reading`` or ``paused``, ``ended`` is ``closed`` or ``aborted``."""

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.flow = "reading"
        self.ended = ""
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes) -> None:
        assert not self.ended, "written behind its end"
        self.written += data
        self.writes += 1

    def take(self) -> bytes:
        """What was written since the last look."""
        written, self.written, self.writes = self.written, b"", 0
        return written

    def pause_reading(self) -> None:
        self.flow = "paused"

    def resume_reading(self) -> None:
        self.flow = "reading"

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str) -> "FakeTransport | None":
        return {"socket": self, "ssl_object": None}[name]

    def setsockopt(self, *_: object) -> None: ...
