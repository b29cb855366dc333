"""Streams of Redis, every command synced before it is answered, without signatures."""

from typing import Any

from peers.common import Connection, Program, Stats, dial, distribute


class RedisConnection(Connection):
    """A connection in RESP2 (redis.io, protocol specification)."""

    def __init__(self, stats: Stats, reads: bytes = b"") -> None:
        super().__init__(stats)
        self._reads = reads
        self._buffer = b""
        self._last = b"0"

    def start(self) -> None:
        """See ``Connection``."""
        if self._reads:
            self._ask()
        self.is_ready()

    def _ask(self) -> None:
        self.transport.write(command(b"XREAD", b"BLOCK", b"0", b"COUNT", b"100", b"STREAMS", self._reads, self._last))

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._buffer += data
        at = 0
        while (found := _parse(self._buffer, at)) is not None:
            answer, at = found
            if self._reads:
                items = answer[0][1]
                self.stats.delivered += len(items)
                self._last = items[-1][0]
                self._ask()
            else:
                self.accept()
        self._buffer = self._buffer[at:]


def command(*words: bytes) -> bytes:
    """A command as an array of bulk strings."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _parse(data: bytes, at: int) -> tuple[Any, int] | None:
    """One value and where it ends; None if it is not whole."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, rest, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"$":
        size = int(rest)
        return None if len(data) < at + size + 2 else (data[at : at + size], at + size + 2)
    if kind == b"*":
        found = []
        for _ in range(int(rest)):
            part = _parse(data, at)
            if part is None:
                return None
            found.append(part[0])
            at = part[1]
        return found, at
    if kind == b"-":
        raise ValueError(rest.decode())
    return rest, at


class Redis(Program):
    """See the module."""

    name = "Redis streams"
    guarantee = "L2"
    unlike = "no signature, no identity, no WebSocket; in C"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See ``Program``."""
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "appendonly": "yes"}
        options |= {"appendfsync": "always", "save": "", "auto-aof-rewrite-percentage": 0}
        return ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", str(value)))], {}

    async def connect(self, pairs: int, count: int, body: str, stats: Stats) -> list[Connection]:
        """See ``Program``."""
        for number in range(pairs):
            await dial(self.port, lambda n=number: RedisConnection(stats, b"to:%d" % n))  # type: ignore[misc]
        senders: list[Connection] = [await dial(self.port, lambda: RedisConnection(stats)) for _ in range(pairs)]
        frames = [command(b"XADD", b"to:%d" % (n % pairs), b"*", b"m", body.encode()) for n in range(count)]
        distribute(frames, senders)
        return senders
