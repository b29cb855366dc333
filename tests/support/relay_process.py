"""The real relay: ``phantom serve`` as a process of its own."""

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from support.ports import HeldPort
from support.warm import WarmProcess, finished, is_usual, warm

PHANTOM = Path(sys.executable).with_name("phantom")
Command = Sequence[str | Path]
SERVE: Command = (PHANTOM, "serve")
WARM: Command = ()
"""``phantom serve`` whose modules are loaded already; what is said of a start is said of ``SERVE``."""

START_SECONDS = 60.0
STOP_SECONDS = 60.0


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of a relay, plus ``more``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PHANTOM_")}
    return {**kept, **(more or {})}


class Patched(list[str | Path]):
    """The command of a relay with a protection off; ``patch`` is run in a program that has loaded its modules."""

    def __init__(self, patch: str) -> None:
        super().__init__(unloaded(patch))
        self.patch = patch


def patched(patch: str) -> Patched:
    """The command of a relay with a protection off: ``patch``, Python text, is run before it starts.

    By then a relay that ``RelayProcess`` starts has loaded its modules, as ``WARM`` has. What the patch replaces is
    replaced wherever it has been imported. What was computed with it is not, such as a default of an argument, and
    where modules are looked for has been seen to; for both there is ``unloaded``.
    """
    return Patched(patch)


def unloaded(patch: str) -> Command:
    """The same for a patch that has to come before the modules of a relay are loaded."""
    return [sys.executable, "-c", f"{patch}\nfrom phantom_messenger.cli.main import main\nmain()", "serve"]


def serve(
    *arguments: str, more: Mapping[str, str] | None = None, command: Command = SERVE
) -> "subprocess.CompletedProcess[str]":
    """Run ``phantom serve`` when it is expected to end by itself; ``command`` may be ``WARM``."""
    if command is WARM and is_usual(environment(more)):
        return finished(warm("relay").start(["serve", *arguments], environment(more)), "", START_SECONDS)
    return subprocess.run(
        [PHANTOM, "serve", *arguments],
        env=environment(more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


class RelayProcess:
    """A relay on a port of its own, started by the constructor.

    Args:
        folder: gets the data folder and what the relay prints.
        arguments: further ones of ``phantom serve``.
        more: of its environment.
        port: 0 is one that nobody else gets while this object is there, not even while the relay is down; None leaves
            it to the arguments.
        command: stands for ``phantom serve``; see ``WARM`` and ``patched``.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        more: Mapping[str, str] | None = None,
        port: int | None = 0,
        command: Command = WARM,
    ) -> None:
        self.command = command
        self.data = folder / "data"
        self._held = HeldPort() if port == 0 else None
        self.port = self._held.number if self._held else port
        self.url = ""
        self.line = ""
        self._arguments = arguments
        self._environment = environment(more)
        self._log = folder / "log"
        self._process: subprocess.Popen[str] | WarmProcess | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        port = [] if self.port is None else ["--port", str(self.port)]
        arguments = ["--data", str(self.data), *port, *self._arguments]
        with self._log.open("a") as log:
            patch = self.command.patch if isinstance(self.command, Patched) else ""
            if (self.command is WARM or patch) and is_usual(self._environment):
                self._process = warm("relay").start(["serve", *arguments], self._environment, log, patch)
            else:
                self._process = subprocess.Popen(
                    [*(self.command or SERVE), *arguments],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
        assert self._process.stdout is not None
        self.line = _first_line(self._process.stdout)
        if not self.line.startswith("listening on "):
            self.kill()
            raise AssertionError(f"the relay did not start: {self.line!r} {self.log}")
        self.url = self.line.removeprefix("listening on ").strip()
        self.port = urlsplit(self.url).port

    @property
    def address(self) -> tuple[str, int]:
        assert self.port is not None
        return "127.0.0.1", self.port

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text()

    @property
    def doubts(self) -> list[str]:
        """The lines of its log at the levels warning and error."""
        return [line for line in self.log.splitlines() if line.split(" ", 2)[1] not in {"debug", "info"}]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process is None or self._process.poll() is not None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self._ended()

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._ended()

    def restart(self) -> None:
        """Start it again on the same port and data."""
        assert self._process is None, "still running"
        self.start()

    def _ended(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()


StartRelay = Callable[..., RelayProcess]
"""``start_relay(*arguments)``: the fixture that stops what it started."""


def _first_line(output: IO[str]) -> str:
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        return output.readline() if selector.select(START_SECONDS) else ""
