"""The real relay, started in another way: under a tracer, on a faked clock, or with a protection taken out."""

import contextlib
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.relay_process import SERVE, Command, RelayProcess


class Variant(RelayProcess):
    """The real relay in a folder that need not be there; can be sent signals."""

    def __init__(
        self, folder: Path, *arguments: str, command: Command = SERVE, more: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, *arguments, command=command, more=more)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal and wait for nothing."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, patience: float) -> int | None:
        """Its exit code; None if it goes on after so many seconds, and is killed."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        code = self._process.poll()
        self.kill()
        return code


ANSWERS_BEFORE_THE_COMMIT = """
import time
from phantom_messenger.relay import server

def early(self, jobs, done):
    def work():
        results = []

        def noting(job):
            def run(tx):
                results.append(job(tx))
            return run

        def answer(_):
            self._loop.call_soon_threadsafe(done, results)
            time.sleep(0.1 if len(jobs) > 3 else 0)  # a disk that is slow under load

        self._store.run([*map(noting, jobs), answer])

    self._executor.submit(work)

server.StoreThread.__call__ = early
"""
"""A protection that is taken out: answers leave while their transaction is still open."""
