"""What every program under comparison is made to do: carry messages between pairs who are all connected."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self, cast

import relays

from phantom_messenger.loadgen import wire
from phantom_messenger.loadgen.histogram import Histogram

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
STALL_SECONDS: Final = 20.0
"""Seconds without anything new after which a program is said to stand still."""


SYSTEM: Final = "/usr/sbin:/usr/bin:/bin"
VENV: Final = Path(__file__).parents[2] / ".venv-peers" / "bin"
"""What `make bench-peers` installs from PyPI."""


class PeerError(Exception):
    """The program does not do what is asked of it."""


class Program:
    """A server, a process of its own on the first core, in a folder that is removed.

    Subclasses say how it is configured and started.

    Args:
        cores: how many it may use.
    """

    name = ""
    guarantee = ""
    unlike = ""
    """What is not like for like."""

    def __init__(self, cores: int = 1) -> None:
        self._cores = cores

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="phantom-peer-")
        self.folder = Path(self._folder.name)
        self.port = _free_port()
        command, environment = self.command()
        with (self.folder / "output").open("w") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "PATH": SYSTEM, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: relays.pin(self._cores),  # noqa: PLW1509 - one thread, before anything else
            )
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        family = relays.family(self._process.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in family:  # what a wrapper has left
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._folder.cleanup()

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Write the configuration; the command and its environment."""
        raise NotImplementedError

    async def connect(self, pairs: int, count: int, body: str, stats: "Stats") -> list["Connection"]:
        """Connect everybody, with so many messages ready in all; the senders."""
        raise NotImplementedError

    def cpu_seconds(self) -> float:
        """Processor time so far, with children."""
        return relays.cpu_seconds(self._process.pid)

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        output = (self.folder / "output").read_text(errors="replace")[-500:]
        self.__exit__()
        raise PeerError(f"{self.name} has not started: {output}")


class Stats:
    """What has happened to all messages."""

    def __init__(self) -> None:
        self.accepted = 0
        self.delivered = 0
        self.acks = Histogram()
        self.transports: list[asyncio.Transport] = []

    def close(self) -> None:
        """End all connections."""
        for transport in self.transports:
            transport.abort()


class Connection(asyncio.Protocol):
    """One connection; subclasses speak the program's protocol.

    Args:
        stats: what happens is noted here.
    """

    def __init__(self, stats: Stats) -> None:
        self.stats = stats
        self.outgoing: deque[bytes] = deque()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._sent: deque[float] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self.transport = cast("asyncio.Transport", transport)  # of a TCP connection
        self.stats.transports.append(self.transport)
        self.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        if not self.ready.done():
            self.ready.set_exception(PeerError(f"closed before it was ready: {exc}"))

    def start(self) -> None:
        """Say the first word."""

    def send(self, count: int) -> None:
        """Send so many of what is ready."""
        count = min(count, len(self.outgoing))
        if count:
            self._sent.extend([time.perf_counter()] * count)
            self.transport.write(b"".join(self.outgoing.popleft() for _ in range(count)))

    def accept(self, count: int = 1) -> None:
        """The program has accepted the next messages: send as many more."""
        now = time.perf_counter()
        for _ in range(count):
            self.stats.acks.add(int((now - self._sent.popleft()) * 1e6))
        self.stats.accepted += count
        self.send(count)

    def is_ready(self) -> None:
        """It can be used."""
        if not self.ready.done():
            self.ready.set_result(None)

    def failed(self, why: str) -> None:
        """It cannot."""
        if not self.ready.done():
            self.ready.set_exception(PeerError(why))
        else:
            raise PeerError(why)


class WebSocketConnection(Connection):
    """A connection over WebSocket; ``head`` is its request."""

    head = b""

    def __init__(self, stats: Stats) -> None:
        super().__init__(stats)
        self._buffer = bytearray()
        self._is_open = False

    def start(self) -> None:
        """See ``Connection``."""
        self.transport.write(self.head)

    def opened(self) -> None:
        """The handshake is done."""

    def handle_text(self, text: bytes) -> None:
        """A text message has come."""

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._buffer += data
        if not self._is_open:
            head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.failed(head.decode(errors="replace"))
            self._buffer = bytearray(rest)
            self._is_open = True
            self.opened()
        for opcode, payload in wire.read_frames(self._buffer):
            if opcode == 1:
                self.handle_text(payload)


async def dial(port: int, make: Callable[[], Connection]) -> Any:
    """Connect and wait until the connection can be used."""
    _, connection = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", port)
    async with asyncio.timeout(STALL_SECONDS):
        await connection.ready
    return connection


async def closed_loop(program: Program, pairs: int, in_flight: int, count: int, body: str) -> dict[str, Any]:
    """So many messages, each sender with some unanswered; what it took.

    Raises:
        PeerError: the program refuses something, or not all arrives.
    """
    stats = Stats()
    try:
        senders = await program.connect(pairs, count, body, stats)
        await asyncio.sleep(1.0)
        gc.collect()
        gc.disable()
        relay_before, load_before, began = program.cpu_seconds(), time.process_time(), time.perf_counter()
        for sender in senders:
            sender.send(in_flight)
        last = await _until_all_is_there(stats, count)
        whole = time.perf_counter() - began
        busy, load = program.cpu_seconds() - relay_before, time.process_time() - load_before
    finally:
        gc.enable()
        stats.close()
        await asyncio.sleep(0)
    if stats.delivered != count:
        raise PeerError(f"{stats.delivered} delivered of {count}")
    return {
        "per_second": count / (last - began),
        "server_us": busy / count * 1e6,
        "load_us": load / count * 1e6,
        "server_busy": busy / whole,
        "load_busy": load / whole,
        "ack_ms": stats.acks.figures(),
    }


async def _until_all_is_there(stats: Stats, count: int) -> float:
    before, news_at = -1, time.perf_counter()
    while stats.accepted < count or stats.delivered < count:
        await asyncio.sleep(0.002)
        progress, now = stats.accepted + stats.delivered, time.perf_counter()
        if progress != before:
            before, news_at = progress, now
        elif now - news_at > STALL_SECONDS:
            raise PeerError(f"stands still: {stats.accepted} accepted, {stats.delivered} delivered of {count}")
    return news_at


def distribute(frames: Sequence[bytes], connections: Sequence[Connection]) -> None:
    """Give each sender its part, in turn."""
    for number, frame in enumerate(frames):
        connections[number % len(connections)].outgoing.append(frame)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
