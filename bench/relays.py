"""Relays under measurement: real ones, processes of their own, pinned to a core, and what the system says of them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

WITHOUT_VERIFYING: Final = """
from phantom_messenger.relay import keycheck
keycheck.verify = lambda batch: [True] * len(batch)
"""
WITHOUT_SYNCING: Final = """
import inspect
from phantom_messenger.engines import sqlite
source = inspect.getsource(sqlite)
assert '"synchronous", "full"' in source
exec(source.replace('"synchronous", "full"', '"synchronous", "off"'), sqlite.__dict__)
"""
START_SECONDS: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


class Relay:
    """A relay with its limits lifted, on a port and in a folder of its own.

    Args:
        core: where it runs; anywhere if None.
        patch: Python text that is run before it starts, to take something away from it.
        folder: its data; a temporary one if left out.
    """

    def __init__(self, core: int | None, patch: str = "", folder: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="phantom-bench-")
        self.data = folder or Path(self._temporary.name) / "data"
        self._core = core
        self._patch = patch

    def __enter__(self) -> Self:
        main = "from phantom_messenger.cli.main import main\nmain()"
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", f"{self._patch}\n{main}", "serve", "--port", "0", "--limits", "off"),
                *("--data", str(self.data), "--log-level", "error"),
            ],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=None if self._core is None else self._pin,  # noqa: PLW1509 - one thread, before anything else
        )
        assert self._process.stdout is not None  # noqa: S101 - narrows the type
        line = self._process.stdout.readline()
        self.start_seconds = time.perf_counter() - began
        self.url = line.removeprefix("listening on ").strip()
        if not self.url:
            raise SystemExit("the relay has not started")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._temporary.cleanup()

    def _pin(self) -> None:
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Processor time of it and its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def stop_for(self, seconds: float) -> None:
        """Have the system hold it still."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)


_CORES: Final = len(os.sched_getaffinity(0))


def machine() -> Sequence[str]:
    """What this was measured on, in words."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    return [f"{_CORES} cores, {model}", f"Python {sys.version.split()[0]}"]
