"""``phantom`` as people run it: a process with a home folder of its own."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from support.warm import finished, is_usual, warm

PHANTOM = [str(Path(sys.executable).with_name("phantom"))]
"""The command as it is installed."""

QUICK = [sys.executable, str(Path(__file__).parents[1] / "quick_phantom.py")]
"""The same, which opens profiles in no time."""

PATIENCE = 100.0
PASSPHRASE = "correct horse"


def environment(home: Path) -> dict[str, str]:
    """Nothing of this process's profiles, and a passphrase."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PHANTOM_")}
    return {**kept, "PHANTOM_HOME": str(home), "PHANTOM_PASSPHRASE": PASSPHRASE}


def phantom(
    home: Path,
    *arguments: str,
    stdin: str | None = None,
    without: tuple[str, ...] = (),
    more: dict[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    known = {**environment(home), **(more or {})}
    variables = {name: value for name, value in known.items() if name not in without}
    if is_warm(arguments, variables):
        return finished(warm("client").start(arguments, variables), stdin or "", PATIENCE)
    return subprocess.run(
        [*QUICK, *arguments],
        env=variables,
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


AT_ONCE = {
    *("init", "id", "contacts", "requests", "devices", "send", "listen", "chat", "history", "groups", "settings"),
    *("export", "import", "destroy"),
}
"""Commands that need no terminal, and are run most often."""


_WARMED = QUICK
"""Some tests put the command as it is installed in its place."""


def is_warm(arguments: tuple[str, ...], variables: dict[str, str]) -> bool:
    """Whether a program that has loaded it already can run a command."""
    return QUICK is _WARMED and arguments[:1] != () and arguments[0] in AT_ONCE and is_usual(variables)


class Running:
    """A command that goes on, with its lines as they come."""

    def __init__(
        self, home: Path, *arguments: str, program: list[str] | None = None, more: dict[str, str] | None = None
    ) -> None:
        self.lines: list[str] = []
        self._queue: queue.Queue[str] = queue.Queue()
        variables = {**environment(home), **(more or {})}
        self._process = (
            warm("client").start(arguments, variables)
            if program is None and is_warm(arguments, variables)
            else subprocess.Popen(
                [*(program or QUICK), *arguments],
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        )
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def type(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait_for(self, count: int, patience: float = PATIENCE) -> list[str]:
        """All its lines, once there are ``count``."""
        deadline = time.monotonic() + patience
        while len(self.lines) < count:
            left = deadline - time.monotonic()
            try:
                self.lines.append(self._queue.get(timeout=max(left, 0.01)))
            except queue.Empty:
                raise AssertionError(f"{len(self.lines)} of {count} lines; errors: {self.errors}") from None
        return self.lines

    def finish(self, patience: float = PATIENCE) -> int:
        """Close its standard input and wait for its end; the exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._ended(patience)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send it a signal, as Ctrl-C does; the exit code."""
        self._process.send_signal(number)
        return self._ended(PATIENCE)

    def ended(self, patience: float = PATIENCE) -> int:
        """Wait until it ends by itself; the exit code."""
        return self._ended(patience)

    def _ended(self, patience: float) -> int:
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired as late:
            late.add_note(f"it said {self.lines} and {self.errors}")
            raise
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            for thread in self._threads:
                thread.join(PATIENCE)
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None and not pipe.closed:
                    pipe.close()
        while not self._queue.empty():
            self.lines.append(self._queue.get())
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._queue.put(line.rstrip("\n"))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.errors.append(line.rstrip("\n"))
