"""``make cores`` and ``make cluster`` as people run them: one process that starts and ends all others."""

import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from cluster.programs import ClusterError, serve_command
from relays import family

from support.postgres_server import MEMORY, programs, runs
from support.relay_process import environment
from support.waiting import eventually

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 300.0
"""Seconds: what is lacking may have to be fetched first."""


def missing() -> str:
    """Why neither can be started here; empty if they can."""
    if programs() is None:
        return "PostgreSQL is not installed: clusters on this machine"
    try:
        serve_command()
    except ClusterError as error:
        return f"clusters on this machine: {error}"
    return ""


def open_folder() -> Path:
    """A new folder that everybody can enter: who starts these as root is not who they run as."""
    made = Path(tempfile.mkdtemp(prefix="phantom-cluster-", dir=MEMORY if MEMORY.is_dir() else None))
    made.chmod(0o755)
    return made


class ClusterProcess:
    """A running command, and what it has said; started by the constructor.

    Args:
        command: what ``make`` has Python run.
    """

    def __init__(self, *command: str | Path) -> None:
        self.lines: list[str] = []
        self._said: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**environment(), "PYTHONPATH": str(ROOT / "bench")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.rstrip("\n"))

    def wait_for(self, begin: str | tuple[str, ...]) -> str:
        """The first line from here on that begins like that, or like one of those."""
        until = time.monotonic() + PATIENCE
        while not self.lines or not self.lines[-1].startswith(begin):
            try:
                self.lines.append(self._said.get(timeout=max(until - time.monotonic(), 0.01)))
            except queue.Empty:
                raise AssertionError(f"it has not said {begin!r}: {self.lines}") from None
        return self.lines[-1]

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self._process.pid

    def processes(self) -> list[int]:
        """All that run now because of it, without itself."""
        return family(self.pid)[1:]

    def signal(self, number: signal.Signals) -> None:
        """Tell the command."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """How it ends."""
        try:
            return self._process.wait(PATIENCE)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._reader.join(PATIENCE)
            while not self._said.empty():
                self.lines.append(self._said.get())
            if self._process.stdout is not None:
                self._process.stdout.close()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process.poll() is None:
            self.signal(signal.SIGINT)
            self.wait()


def relays(cluster: ClusterProcess) -> list[int]:
    """The relays among its processes."""
    found = []
    for pid in cluster.processes():
        with suppress(OSError):  # it may have ended meanwhile
            if b"phantom_messenger\0serve" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def owners(pids: list[int]) -> set[int]:
    """The users as whom processes run."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            found.add(Path(f"/proc/{pid}").stat().st_uid)
    return found


def left(pids: list[int], seconds: float = PATIENCE) -> list[int]:
    """Those that still run after a while."""
    eventually(lambda: not any(map(runs, pids)), seconds)
    return [pid for pid in pids if runs(pid)]


def remove(folder: Path) -> None:
    """Delete what a cluster has left."""
    shutil.rmtree(folder)
