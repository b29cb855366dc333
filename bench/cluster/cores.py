"""``make cores``: a relay for each core of this machine, all on one port and one database, until Ctrl-C."""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cluster import console
from cluster.claims import HOST, choose_ports, give, hold, must_be_free
from cluster.programs import ClusterError, Progress, get_postgres
from cluster.relay import RelayNode, revive, start_all
from cluster.server import Server, make_store

FOLDER: Final = Path(".cluster")
PORT: Final = 8080

CONNECTIONS: Final = 4
"""Of a relay with its database, at most."""

SPARE_CONNECTIONS: Final = 20
"""For whoever looks into the database."""

ALONE: Final = ("--share-port", "on", "--verify-workers", "0")
"""A relay leaves the other cores to the other relays."""


class Cores:
    """Relays that share a port, and their database. What is stored stays in the folder, for the next start.

    Args:
        folder: for everything; made if it is not there.
        relays: how many.
        port: of all of them; 0 picks a free one.
        programs: the folder for programs that the system lacks.
        options: further ones of ``phantom serve``, for each relay.
    """

    def __init__(self, folder: Path, *, relays: int, port: int, programs: Path, options: tuple[str, ...] = ()) -> None:
        self.folder = folder.resolve()
        self._programs = programs.resolve()
        self._count = relays
        self._port = port
        self._options = options
        self._lock: int | None = None
        self._server: Server | None = None
        self.relays: list[RelayNode] = []

    def start(self, progress: Progress) -> None:
        """Start everything, and wait until all relays listen; ends what runs already if something does not start.

        Raises:
            ClusterError: it could not be started, in a sentence.
        """
        if sys.platform != "linux":
            raise ClusterError("several relays on one port need Linux: other systems do not share out the connections")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = hold(self.folder)
        try:
            self._start(progress)
        except BaseException:
            self.stop()
            raise

    def _start(self, progress: Progress) -> None:
        port = self._port or choose_ports(1)[0]
        must_be_free([port])
        postgres = get_postgres(self._programs, progress)
        password = self._password()
        connections = CONNECTIONS * self._count + SPARE_CONNECTIONS
        [own] = choose_ports(1)
        self._server = Server(self.folder / "database", postgres, port=own, password=password, connections=connections)
        progress("Starting the database ...")
        self._server.start()
        make_store(HOST, own, password)
        logs = self.folder / "relays"
        logs.mkdir(exist_ok=True)
        give(logs)
        store = f"postgresql://phantom:{password}@{HOST}:{own}/phantom"
        names = [f"relay{number}" for number in range(1, self._count + 1)]
        self.relays = [RelayNode(name, port, logs, store, *ALONE, *self._options) for name in names]
        progress(f"Starting {_relays(self._count)} ...")
        start_all(self.relays)

    def _password(self) -> str:
        kept = self.folder / "cores.json"
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(json.dumps({"password": secrets.token_hex(16)}))
        return str(json.loads(kept.read_text())["password"])

    def ready(self) -> Iterator[str]:
        """Where clients connect, and who serves them."""
        yield f"listening on {self.relays[0].url}"
        yield f"served by {_relays(self._count)}"

    def attend(self) -> Iterator[str]:
        """Start again what has ended."""
        if self._server and self._server.ending:
            yield f"the database has ended ({self._server.ending}); starting it again"
            try:
                self._server.start()
            except ClusterError as error:
                yield str(error)
        yield from revive(self.relays)

    def stop(self) -> None:
        """End everything that was started."""
        for relay in self.relays:
            relay.stop()
        if self._server:
            self._server.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _relays(count: int) -> str:
    return "1 relay" if count == 1 else f"{count} relays"


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(
        prog="make cores", description=__doc__, epilog="Other options are given to each relay (phantom serve)."
    )
    parser.add_argument("--port", type=int, default=PORT, help="of all relays; 0 picks a free one")
    parser.add_argument(
        "--relays", type=int, default=len(os.sched_getaffinity(0)), help="how many; by default one for each core"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER / "cores", help="for data and logs")
    parser.add_argument("--programs", type=Path, default=FOLDER / "programs", help="for what the system lacks")
    given, options = parser.parse_known_args()
    if given.relays < 1:
        parser.error("--relays must be 1 or more")
    cores = Cores(given.folder, relays=given.relays, port=given.port, programs=given.programs, options=tuple(options))
    return console.run(cores)


if __name__ == "__main__":
    sys.exit(main())
