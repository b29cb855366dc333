"""One plain PostgreSQL server in a folder, and the database that relays have as their store."""

import contextlib
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import psycopg

from cluster import processes, settings
from cluster.claims import HOST, give
from cluster.programs import ClusterError, Postgres

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0
SUPERUSER: Final = "postgres"


class Server:
    """A server without standbys, on a loopback port.

    Args:
        folder: for its data and its log; made if it is not there.
        postgres: its programs.
        port: it listens there.
        password: of its superuser.
        connections: how many it allows.
    """

    def __init__(self, folder: Path, postgres: Postgres, *, port: int, password: str, connections: int) -> None:
        self.port = port
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._postgres = postgres
        self._password = password
        self._settings = {**settings.PARAMETERS, "wal_keep_size": "0", "max_connections": connections}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ending(self) -> str:
        """How it ended by itself; empty while it runs."""
        return processes.ending(self._process)

    def start(self) -> None:
        """Start it, and wait until it lets somebody in; its files are made first if there are none.

        Raises:
            ClusterError: it does not start.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        give(self._folder)
        if not self._data.exists():
            self._make_files()
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        self._process = self._run("postgres", "-D", self._data, "-h", HOST, "-p", str(self.port), *options)
        if not processes.wait_for(self._lets_in, within=START_SECONDS):
            last = processes.last_words(self._log)
            raise ClusterError(f"the database does not start; the last that {self._log} says: {last}")

    def _make_files(self) -> None:
        password, made = self._folder / "password", self._folder / "data.new"
        if made.exists():
            shutil.rmtree(made)
        password.touch(mode=0o600)
        password.write_text(self._password)
        give(password)
        secured = ("--auth", "scram-sha-256", "--pwfile", password, "--username", SUPERUSER)
        try:
            making = self._run("initdb", "-D", made, *secured, "--encoding", "UTF8", "--no-locale", "--data-checksums")
            if making.wait():
                raise ClusterError(f"the database cannot be made; {self._log} says why")
        finally:
            password.unlink()
        made.rename(self._data)  # what was interrupted is not taken for a database

    def _run(self, program: str, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        command = [self._postgres.folder / program, *arguments]
        return processes.start(command, self._log, more=self._postgres.environment)

    def _lets_in(self) -> bool | None:
        if self.ending:
            return False
        with contextlib.suppress(psycopg.OperationalError), connect(self.port, self._password, SUPERUSER):
            return True
        return None

    def stop(self) -> None:
        """Have it write down what it holds, and end."""
        processes.end(self._process, within=STOP_SECONDS, number=signal.SIGINT)


def connect(port: int, password: str, database: str, host: str = HOST) -> "psycopg.Connection[Any]":
    """A connection of the superuser."""
    return psycopg.connect(
        host=host, port=port, user=SUPERUSER, password=password, dbname=database, autocommit=True, connect_timeout=5
    )


def make_store(host: str, port: int, password: str) -> None:
    """Make the relays' role and database, if they are not there; the role has the superuser's password."""
    with connect(port, password, SUPERUSER, host) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'phantom'").fetchone():
            connection.execute(f"CREATE ROLE phantom LOGIN PASSWORD '{password}'".encode())
            connection.execute("GRANT pg_checkpoint TO phantom")
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'phantom'").fetchone():
            connection.execute("CREATE DATABASE phantom OWNER phantom")
    with connect(port, password, "phantom", host) as connection:
        connection.execute("GRANT EXECUTE ON FUNCTION pg_switch_wal() TO phantom")
