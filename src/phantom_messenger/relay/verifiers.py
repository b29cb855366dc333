"""Signatures checked in processes of their own, on cores that the relay's thread does not use.

Both ends are here: ``Verifiers`` in the relay, and ``main`` in the processes that it starts.
They speak over a socket pair: four bytes of length, then checks in MessagePack one way and a
byte for each the other way. What a process that has ended, or stands still, was asked is
checked by the relay itself, so that nothing waits for it.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

import msgspec

from phantom_messenger.events import Event, log
from phantom_messenger.relay.keycheck import verify
from phantom_messenger.relay.ports import SignatureCheck

MOST_ASKED: Final = 1_024
"""Checks that one process may have before it: about 60 ms of work. Beyond it the relay works too."""

PATIENCE_SECONDS: Final = 5.0
"""How long a batch may take before its process counts as gone."""

START_AGAIN_SECONDS: Final = 1.0
STOP_SECONDS: Final = 1.0
_LENGTH_BYTES: Final = 4
_READY: Final = b"\0\0\0\0"
"""An answer without verdicts: the process has started."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[SignatureCheck]).decode


def default_count() -> int:
    """As many processes as these cores have use for: one keeps up with the relay's thread on most machines."""
    return min(len(os.sched_getaffinity(0)) // 2, 2)


class _Asked(NamedTuple):
    batch: Sequence[SignatureCheck]
    done: Callable[[list[bool]], None]
    at: float


class _Worker(asyncio.Protocol):
    """The relay's end of one process."""

    def __init__(self, gone: Callable[["_Worker"], None]) -> None:
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: deque[_Asked] = deque()
        self._buffer = bytearray()
        self.is_ready = False
        self.load = 0
        """Checks that it has before it."""

    async def start(self) -> None:
        """Start the process; it is of use once it ``is_ready``."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - of ourselves, and over in milliseconds
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a traceback is not of the closed table
            )
        await self._loop.create_unix_connection(lambda: self, sock=ours)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES])
            if len(self._buffer) < end:
                return
            verdicts = [byte == 1 for byte in self._buffer[_LENGTH_BYTES:end]]
            del self._buffer[:end]
            if not self.is_ready:
                self.is_ready = True
                continue
            asked = self._asked.popleft()
            self.load -= len(asked.batch)
            asked.done(verdicts)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.Protocol``: the process has ended."""
        self.is_ready = False
        self.end()
        while self._asked:
            asked = self._asked.popleft()
            asked.done(verify(asked.batch))
        self._gone(self)

    def ask(self, batch: Sequence[SignatureCheck], done: Callable[[list[bool]], None]) -> None:
        """Have a batch checked."""
        assert self._transport is not None  # noqa: S101 - asked of those that are ready
        self._asked.append(_Asked(batch, done, self._loop.time()))
        self.load += len(batch)
        data = _encode(batch)
        self._transport.write(len(data).to_bytes(_LENGTH_BYTES) + data)

    def check_time(self) -> None:
        """Give up a process that stands still."""
        if self._asked and self._loop.time() - self._asked[0].at > PATIENCE_SECONDS and self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()  # it holds nothing
            self._process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Let go of it."""
        if self._transport is not None:
            self._transport.abort()


class Verifiers:
    """Processes that check signatures; see ``relay.ports.Helpers``.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: list[_Worker] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def start(self) -> None:
        """Start all of them."""
        for _ in range(self._count):
            await self._start_one()

    def __call__(self, batch: Sequence[SignatureCheck], done: Callable[[list[bool]], None]) -> bool:
        """See ``relay.ports.Helpers``."""
        ready = [worker for worker in self._workers if worker.is_ready]
        if not ready:
            return False
        worker = min(ready, key=lambda worker: worker.load)
        if worker.load > MOST_ASKED:
            return False
        worker.ask(batch, done)
        return True

    def tick(self) -> None:
        """Time has passed: call it about once a second."""
        for worker in self._workers:
            worker.check_time()

    def close(self) -> None:
        """End all of them."""
        self._is_closing = True
        for task in self._starting:
            task.cancel()
        for worker in list(self._workers):
            worker.close()
            worker.end()

    async def _start_one(self) -> None:
        worker = _Worker(self._lost)
        try:
            await worker.start()
        except OSError:
            self._start_later()
        else:
            self._workers.append(worker)

    def _lost(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)
        if not self._is_closing:
            log(Event.VERIFIER_LOST)
            self._start_later()

    def _start_later(self) -> None:
        async def start() -> None:
            await asyncio.sleep(START_AGAIN_SECONDS)
            await self._start_one()

        task = asyncio.get_running_loop().create_task(start())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)


def main() -> None:
    """Check what comes until the relay is gone; it alone says when to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as relay, relay.makefile("rb") as source:
        relay.sendall(_READY)
        while len(head := source.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
            verdicts = verify(_decode(source.read(int.from_bytes(head))))
            relay.sendall(len(verdicts).to_bytes(_LENGTH_BYTES) + bytes(verdicts))


if __name__ == "__main__":
    main()
