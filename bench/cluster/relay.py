"""Relays of a cluster: ``phantom serve`` as an unprivileged user, to start, to start again, to break and to end."""

import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cluster import processes
from cluster.claims import HOST
from cluster.programs import ClusterError, serve_command

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 5.0
"""Between two tries to start a relay again."""


class RelayNode:
    """A relay of the cluster.

    Args:
        name: of its log.
        port: it listens there.
        folder: for its log.
        store: URL of the database.
        options: further ones of ``phantom serve``.
    """

    def __init__(self, name: str, port: int, folder: Path, store: str, *options: str) -> None:
        self.name = name
        self.port = port
        self._folder = folder
        self._store = store
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{HOST}:{self.port}/ws"

    @property
    def pid(self) -> int | None:
        """Of its process, if that runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def ending(self) -> str:
        """How it ended by itself; empty while it runs."""
        return processes.ending(self._process)

    @property
    def log(self) -> Path:
        """What it says."""
        return self._folder / f"{self.name}.log"

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            ClusterError: it has ended instead, or does not listen in time.
        """
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it; ``wait`` says when it listens."""
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        command, environment = serve_command()
        options = ["--host", HOST, "--port", str(self.port), "--rate-auth", "60", *self._options]
        more = {**environment, "PHANTOM_STORE": self._store}
        self._process = processes.start([*command, *options], self.log, more=more)

    def wait(self) -> None:
        """Wait until it listens.

        Raises:
            ClusterError: it has ended instead, or does not listen in time.
        """

        def listens() -> bool | None:
            if self.ending:
                return False
            return True if b"listening on" in self.log.read_bytes()[self._said_before :] else None

        if not processes.wait_for(listens, within=START_SECONDS):
            last = processes.last_words(self.log, self._said_before)
            raise ClusterError(f"{self.name} does not start; the last that {self.log} says: {last}")

    def stop(self) -> None:
        """Ask it to end, and wait."""
        processes.end(self._process, within=STOP_SECONDS)

    def kill(self) -> None:
        """Kill it."""
        processes.tell(self.pid, signal.SIGKILL)
        if self._process:
            self._process.wait()

    def pause(self) -> None:
        """Hold it."""
        processes.tell(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let go on what was held."""
        processes.tell(self.pid, signal.SIGCONT)


def start_all(relays: Sequence[RelayNode]) -> None:
    """Start relays, and wait until all listen. The first one makes the tables.

    Raises:
        ClusterError: one does not start.
    """
    for relay in relays[:1]:
        relay.start()
    for relay in relays[1:]:
        relay.begin()
    for relay in relays[1:]:
        relay.wait()


def revive(relays: Iterable[RelayNode]) -> Iterator[str]:
    """Start again those that have ended; what happens, in lines."""
    for relay in relays:
        if relay.ending:
            yield f"{relay.name} has ended ({relay.ending}); starting it again"
            try:
                relay.start()
            except ClusterError as error:
                yield str(error)
                time.sleep(RETRY_SECONDS)
