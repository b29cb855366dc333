"""Signatures checked in processes of their own, on cores that the relay's thread does not use.

This is the relay's end; ``verifying`` is the other. They speak over a socket pair: four bytes
of length, then checks in Python's own format one way and a byte for each the other way. What
a process that has ended, or is late, was asked is checked by the relay itself, so that nothing
waits for it.
"""

import asyncio
import contextlib
import marshal
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

from phantom_messenger.events import Event, log, report
from phantom_messenger.relay import verifying
from phantom_messenger.relay.keycheck import verify
from phantom_messenger.relay.ports import SignatureCheck
from phantom_messenger.relay.verifying import LENGTH_BYTES

MOST_ASKED: Final = 1_024
"""Checks that one process may have before it: about 60 ms of work. Beyond it the relay works too."""

MOST_ASKED_BYTES: Final = 4 * 1024 * 1024
"""What these checks may hold."""

LATE_SECONDS: Final = 0.25
"""How long a batch may take before the relay checks it itself."""

PATIENCE_SECONDS: Final = 5.0
"""How long a process may stand still, or start, before it counts as gone."""

START_AGAIN_SECONDS: Final = 1.0
MOST_START_AGAIN_SECONDS: Final = 60.0
"""After how long one is started in the place of another; twice as long each time that it has not even started."""
STOP_SECONDS: Final = 1.0


def default_count() -> int:
    """As many processes as these cores have use for: one keeps up with the relay's thread on most machines."""
    return min(len(os.sched_getaffinity(0)) // 2, 2)


class _Asked:
    """A batch that a process has before it; ``done`` is called once."""

    __slots__ = ("_done", "at", "batch", "size")

    def __init__(self, batch: Sequence[SignatureCheck], size: int, done: Callable[[list[bool]], None]) -> None:
        self.batch = batch
        self.size = size
        self.at = asyncio.get_running_loop().time()
        self._done: Callable[[list[bool]], None] | None = done

    def answer(self, verdicts: list[bool]) -> None:
        """The process has answered; that may be too late."""
        if self._done is not None:
            done, self._done = self._done, None
            done(verdicts)

    def check_here(self) -> None:
        """Do without the process."""
        if self._done is None:
            return
        try:
            verdicts = verify(self.batch)
        except Exception as error:  # noqa: BLE001 - the border: what others asked is still to be answered
            report(error)
            verdicts = [False] * len(self.batch)
        self.answer(verdicts)


class _Worker(asyncio.Protocol):
    """The relay's end of one process."""

    def __init__(self, gone: Callable[["_Worker"], None]) -> None:
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._asked: deque[_Asked] = deque()
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        self.process: subprocess.Popen[bytes] | None = None
        self.has_started = False
        self.load = 0
        """Checks that it has before it."""
        self.held = 0
        """Bytes of them."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked."""
        return self.has_started and not self._is_late

    async def start(self) -> None:
        """Start the process; it is of use once it ``is_ready``."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: ASYNC220, S603 - of ourselves, and over in milliseconds
                # -P: no code from where it is started.
                [sys.executable, "-P", "-m", verifying.__name__, str(theirs.fileno())],
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
        while len(self._buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES])
            if len(self._buffer) < end:
                return
            verdicts = [byte == 1 for byte in self._buffer[LENGTH_BYTES:end]]
            del self._buffer[:end]
            if not self.has_started:
                self.has_started = True
                continue
            asked = self._asked.popleft()
            self.load -= len(asked.batch)
            self.held -= asked.size
            self._is_late = self._is_late and bool(self._asked)
            asked.answer(verdicts)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.Protocol``: the process has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._gone(self)
        while self._asked:
            self._asked.popleft().check_here()

    def ask(self, batch: Sequence[SignatureCheck], done: Callable[[list[bool]], None]) -> None:
        """Have a batch checked."""
        assert self._transport is not None  # noqa: S101 - asked of those that are ready
        data = marshal.dumps([*batch])
        self._asked.append(_Asked(batch, len(data), done))
        self.load += len(batch)
        self.held += len(data)
        self._transport.write(len(data).to_bytes(LENGTH_BYTES) + data)
        if self._timer is None:
            self._timer = self._loop.call_later(LATE_SECONDS, self._look)

    def check_time(self) -> None:
        """Give up a process that stands still."""
        if self._asked:
            since = self._asked[0].at
        elif self.has_started:
            return
        else:
            since = self._started_at
        if self._loop.time() - since > PATIENCE_SECONDS and self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Let go of it: it holds nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        if self.process is not None:
            self.process.kill()

    def _look(self) -> None:
        """Check here what takes too long, and ask no more until it has answered."""
        self._timer = None
        if not self._asked:
            return
        left = self._asked[0].at + LATE_SECONDS - self._loop.time()
        if left <= 0 and not self._is_late:
            self._is_late = True
            for asked in list(self._asked):
                asked.check_here()
        self._timer = self._loop.call_later(LATE_SECONDS if self._is_late else left, self._look)


class Verifiers:
    """Processes that check signatures; see ``relay.ports.Helpers``.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: list[_Worker] = []
        self._ended: list[subprocess.Popen[bytes]] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._pause = START_AGAIN_SECONDS
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
        if worker.load > MOST_ASKED or worker.held > MOST_ASKED_BYTES:
            return False
        worker.ask(batch, done)
        return True

    def tick(self) -> None:
        """Time has passed: call it about once a second."""
        self._ended = [process for process in self._ended if process.poll() is None]
        for worker in list(self._workers):
            worker.check_time()

    def close(self) -> None:
        """End all of them."""
        self._is_closing = True
        for task in self._starting:
            task.cancel()
        for worker in self._workers:
            worker.close()
            if worker.process is not None:
                self._ended.append(worker.process)
        for process in self._ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)

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
        worker.close()
        if worker.process is not None:
            self._ended.append(worker.process)  # the kernel may take its time: nobody waits for it
        if worker.has_started:
            self._pause = START_AGAIN_SECONDS
        if not self._is_closing:
            self._start_later()

    def _start_later(self) -> None:
        log(Event.VERIFIER_LOST)
        pause, self._pause = self._pause, min(2 * self._pause, MOST_START_AGAIN_SECONDS)

        async def start() -> None:
            await asyncio.sleep(pause)
            await self._start_one()

        task = asyncio.get_running_loop().create_task(start())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
