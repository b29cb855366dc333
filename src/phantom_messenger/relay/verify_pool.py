"""Signatures verified in other processes, on cores that the relay's thread does not use.

This is the relay's end; ``verify_worker`` is the other. They speak over a socket pair: four
bytes of length, then checks in Python's marshal format one way and a byte per verdict the
other way. If a process has ended or is late, the relay verifies what it was asked itself, so
nothing ever waits for one.
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
from phantom_messenger.relay import verify_worker
from phantom_messenger.relay.ports import SignatureCheck
from phantom_messenger.relay.signatures import verify
from phantom_messenger.relay.verify_worker import LENGTH_BYTES

MAX_PENDING: Final = 1_024
"""Checks that may be pending at one process, about 40 ms of work; beyond that the relay verifies too."""

MAX_PENDING_BYTES: Final = 4 * 1024 * 1024
"""Bytes of those checks."""

LATE_SECONDS: Final = 0.25
"""How long a batch may take before the relay verifies it itself."""

STALL_SECONDS: Final = 5.0
"""How long a process may make no progress, or take to start, before it is given up."""

RESTART_SECONDS: Final = 1.0
MAX_RESTART_SECONDS: Final = 60.0
"""Pause before a lost process is replaced; doubled each time the replacement did not even start."""
STOP_SECONDS: Final = 1.0


def default_count() -> int:
    """How many processes this machine has use for: one keeps up with the relay's thread on most machines."""
    return min(len(os.sched_getaffinity(0)) // 2, 2)


class _PendingBatch:
    """A batch that a process was asked to verify; ``done`` is called once."""

    __slots__ = ("_done", "at", "batch", "size")

    def __init__(self, batch: Sequence[SignatureCheck], size: int, done: Callable[[list[bool]], None]) -> None:
        self.batch = batch
        self.size = size
        self.at = asyncio.get_running_loop().time()
        self._done: Callable[[list[bool]], None] | None = done

    def answer(self, verdicts: list[bool]) -> None:
        """The process has answered, perhaps too late."""
        if self._done is not None:
            done, self._done = self._done, None
            done(verdicts)

    def verify_here(self) -> None:
        """Verify it in this process instead."""
        if self._done is None:
            return
        try:
            verdicts = verify(self.batch)
        except Exception as error:  # noqa: BLE001 - boundary: other requests still need their answer
            report(error)
            # What cannot be judged counts as forged: its senders get an answer, and nothing false is let in.
            verdicts = [False] * len(self.batch)
        self.answer(verdicts)


class _Worker(asyncio.Protocol):
    """The relay's end of one process."""

    def __init__(self, on_exit: Callable[["_Worker"], None]) -> None:
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._pending: deque[_PendingBatch] = deque()
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        self.process: subprocess.Popen[bytes] | None = None
        self.has_started = False
        self.pending_checks = 0
        """Checks that it has not answered yet."""
        self.pending_bytes = 0
        """Bytes of those checks."""

    @property
    def is_ready(self) -> bool:
        """Whether it accepts batches."""
        return self.has_started and not self._is_late

    async def start(self) -> None:
        """Start the process; it can be used once it ``is_ready``."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own module; takes milliseconds
                # -P: no code from the current directory.
                [sys.executable, "-P", "-m", verify_worker.__name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a traceback is not in the closed table of events
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
            answered = self._pending.popleft()
            self.pending_checks -= len(answered.batch)
            self.pending_bytes -= answered.size
            self._is_late = self._is_late and bool(self._pending)
            answered.answer(verdicts)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """See ``asyncio.Protocol``: the process has ended."""
        if self._timer is not None:
            self._timer.cancel()
        # First, so that nothing more is asked of it while what it owes is verified here.
        self._on_exit(self)
        while self._pending:
            self._pending.popleft().verify_here()

    def ask(self, batch: Sequence[SignatureCheck], done: Callable[[list[bool]], None]) -> None:
        """Ask for a batch to be verified."""
        assert self._transport is not None  # noqa: S101 - only called when ready
        data = marshal.dumps([*batch])
        self._pending.append(_PendingBatch(batch, len(data), done))
        self.pending_checks += len(batch)
        self.pending_bytes += len(data)
        self._transport.write(len(data).to_bytes(LENGTH_BYTES) + data)
        if self._timer is None:
            self._timer = self._loop.call_later(LATE_SECONDS, self._take_over_late)

    def abort_if_stalled(self) -> None:
        """Give up on a process that makes no progress."""
        if self._pending:
            since = self._pending[0].at
        elif self.has_started:
            return
        else:
            since = self._started_at
        if self._loop.time() - since > STALL_SECONDS and self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Kill it; it holds nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        if self.process is not None:
            self.process.kill()

    def _take_over_late(self) -> None:
        """Verify here what takes too long, and send it nothing more until it has answered."""
        self._timer = None
        if not self._pending:
            return
        left = self._pending[0].at + LATE_SECONDS - self._loop.time()
        if left <= 0 and not self._is_late:
            self._is_late = True
            for pending in list(self._pending):
                pending.verify_here()
        self._timer = self._loop.call_later(LATE_SECONDS if self._is_late else left, self._take_over_late)


class VerifyPool:
    """Processes that verify signatures; see ``relay.ports.Helpers``.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: list[_Worker] = []
        self._ended: list[subprocess.Popen[bytes]] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._restart_pause = RESTART_SECONDS
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
        worker = min(ready, key=lambda worker: worker.pending_checks)
        if worker.pending_checks > MAX_PENDING or worker.pending_bytes > MAX_PENDING_BYTES:
            return False
        worker.ask(batch, done)
        return True

    def tick(self) -> None:
        """Look after the processes; call this about once a second."""
        self._ended = [process for process in self._ended if process.poll() is None]
        for worker in list(self._workers):
            worker.abort_if_stalled()

    def close(self) -> None:
        """Stop all of them."""
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
        worker = _Worker(self._handle_exit)
        try:
            await worker.start()
        except OSError:
            self._restart_later()
        else:
            self._workers.append(worker)

    def _handle_exit(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)
        worker.close()
        if worker.process is not None:
            self._ended.append(worker.process)  # reaped in tick(): nothing waits for the kernel here
        if worker.has_started:
            self._restart_pause = RESTART_SECONDS
        if not self._is_closing:
            self._restart_later()

    def _restart_later(self) -> None:
        log(Event.VERIFIER_LOST)
        pause, self._restart_pause = self._restart_pause, min(2 * self._restart_pause, MAX_RESTART_SECONDS)

        async def start() -> None:
            await asyncio.sleep(pause)
            await self._start_one()

        task = asyncio.get_running_loop().create_task(start())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
