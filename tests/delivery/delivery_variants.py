"""The real relay, started in another way: under a tracer, on a faked clock, or with a protection taken out."""

import contextlib
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.relay_process import WARM, Command, RelayProcess


class Variant(RelayProcess):
    """The real relay in a folder that need not be there; can be sent signals."""

    def __init__(
        self, folder: Path, *arguments: str, command: Command = WARM, more: Mapping[str, str] | None = None
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
from phantom_messenger.engines.sqlite import store
from phantom_messenger.relay import server
from phantom_messenger.relay.commands import AcceptMessage
execute = store.execute

def early(self, commands, done):
    def work():
        results = []

        def noting(tables, command):
            results.append(execute(tables, command))
            if len(results) == len(commands):
                self._loop.call_soon_threadsafe(done, results)
                time.sleep(0.1 if AcceptMessage in map(type, commands) else 0)  # a disk that is slow with messages
            return results[-1]

        store.execute = noting
        self._store.run(commands)

    self._executor.submit(work)

server.StoreThread.__call__ = early
"""
"""A protection that is taken out: answers leave while their transaction is still open."""
