"""Relays under measurement: real ones, processes of their own, pinned to a core, and what the system says of them."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

WITHOUT_VERIFYING: Final = """
from phantom_messenger.relay import signatures
signatures.verify = lambda batch: [True] * len(batch)
"""
WITHOUT_SYNCING: Final = """
import inspect
from phantom_messenger.sqlite import database
source = inspect.getsource(database)
assert '"synchronous", "full"' in source
exec(source.replace('"synchronous", "full"', '"synchronous", "off"'), database.__dict__)
"""
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


CORES: Final = sorted(os.sched_getaffinity(0))
"""The cores that this process may use: relays get the first, the load the second."""


class Relay:
    """A relay with its limits lifted, on a port and in a folder of its own.

    Args:
        patch: Python text that is run before it starts, to take something away from it.
        folder: its data; a temporary one if left out.
        options: further ones of ``phantom serve``; by default it starts as many helpers as it has cores for.
        cores: how many of ``CORES`` it may use.
    """

    def __init__(
        self, patch: str = "", folder: Path | None = None, *, options: Sequence[str] = (), cores: int = 1
    ) -> None:
        self._patch = patch
        self._options = options
        self._cores = cores
        self._folder = folder

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="phantom-bench-")
        self.data = self._folder or Path(self._temporary.name) / "data"
        main = "from phantom_messenger.cli.main import main\nmain()"
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", f"{self._patch}\n{main}", "serve", "--port", "0", "--limits", "off"),
                *("--data", str(self.data), "--log-level", "error"),
                *self._options,
            ],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: pin(self._cores),  # noqa: PLW1509 - one thread, before anything else
        )
        assert self._process.stdout is not None  # noqa: S101 - narrows the type
        can_be_read = select.select([self._process.stdout], [], [], START_SECONDS)[0]
        line = self._process.stdout.readline() if can_be_read else ""
        self.start_seconds = time.perf_counter() - began
        self.url = line.removeprefix("listening on ").strip()
        if not self.url:
            self.__exit__()
            raise SystemExit("the relay has not started")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._temporary.cleanup()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Processor time so far of it, its threads and the processes that it has started."""
        return cpu_seconds(self.pid)

    def resident(self) -> int:
        """Bytes of memory that they hold."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in family(self.pid)) * _PAGE

    def log_bytes(self) -> int:
        """Length of the store's write-ahead log."""
        log = self.data / "relay.db-wal"
        return log.stat().st_size if log.exists() else 0


def family(pid: int) -> list[int]:
    """A process and those that it has started, as far as they live."""
    found = [pid]
    for one in found:
        for file in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, file.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time so far of a process, its threads and the processes that it has started."""
    spent = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        spent += sum(map(int, fields[11:15]))  # user, system, and both of children that have ended
    return spent / _TICKS


def pin(cores: int = 1) -> None:
    """Use so many of ``CORES``, the first ones; all if there is but one."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[:cores])


def machine() -> Sequence[str]:
    """What this was measured on, in words."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    return [f"{len(CORES)} cores, {model}", f"Python {sys.version.split()[0]}"]
