"""A PostgreSQL server for measurements, with standbys if they are wanted: processes and folders of its own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

import psycopg
from cluster.programs import as_whom, find_postgres
from relays import cpu_seconds

PATIENCE: Final = 60.0
_SETTINGS: Final = {
    "shared_buffers": "256MB",
    "max_connections": "60",
    "wal_recycle": "off",
    "wal_keep_size": "16MB",
    "max_wal_senders": "8",
    "max_wal_size": "2GB",
}


class Database:
    """A server that syncs what it commits, and as many standbys, any one of which each commit waits for.

    Args:
        standbys: how many; on the same disk.
        settings: of the server, in addition.
    """

    def __init__(self, standbys: int = 0, **settings: str) -> None:
        found = find_postgres(Path(".cluster") / "programs")
        if found is None:
            raise SystemExit("PostgreSQL 15 or newer is not installed (package postgresql)")
        self._programs = found
        self._standbys = standbys
        self._settings = settings
        self._whom = as_whom()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="phantom-bench-pg-"))
        self._ports: list[int] = []
        self._folders: list[Path] = []
        if self._whom:
            os.chown(self.folder, self._whom["user"], self._whom["group"])
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_all(self) -> None:
        primary = self.folder / "primary"
        self._run("initdb", "-D", primary, "-U", "phantom", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync")
        lines = {**_SETTINGS, "unix_socket_directories": str(self.folder), **self._settings}
        with (primary / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in lines.items())
        self._start(primary)
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE phantom")
        for number in range(self._standbys):
            folder = self.folder / f"standby{number}"
            where = f"host=127.0.0.1 port={self._ports[0]} user=phantom application_name=standby{number}"
            self._run("pg_basebackup", "-D", folder, "-R", "-c", "fast", "-d", where)
            self._start(folder)
        if self._standbys:
            names = ",".join(f"standby{number}" for number in range(self._standbys))
            with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
                connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({names})'")
                connection.execute("SELECT pg_reload_conf()")
                until = time.monotonic() + PATIENCE
                while True:
                    row = connection.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
                    if row.fetchone() == (self._standbys,):
                        break
                    if time.monotonic() > until:
                        raise SystemExit("the standbys do not follow")
                    time.sleep(0.1)

    def _run(self, program: str, *arguments: Any) -> None:
        subprocess.run(
            [str(self._programs.folder / program), *map(str, arguments)],
            env={**os.environ, **self._programs.environment},
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
            cwd=self.folder,
            **self._whom,
        )

    def _start(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._ports.append(int(probe.getsockname()[1]))
        options = f"-p {self._ports[-1]} -h 127.0.0.1"
        self._folders.append(folder)
        self._run("pg_ctl", "-D", folder, "-l", self.folder / f"{folder.name}.log", "-w", "-o", options, "start")

    def __exit__(self, *_: object) -> None:
        for folder in self._folders:
            if (folder / "postmaster.pid").exists():
                self._run("pg_ctl", "-D", folder, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder)

    def _url(self, name: str) -> str:
        return f"postgresql://phantom@127.0.0.1:{self._ports[0]}/{name}"

    @property
    def url(self) -> str:
        """For ``phantom serve --store``."""
        return self._url("phantom")

    def restart(self, mode: str = "immediate") -> None:
        """End the primary, and start it again, as after a crash."""
        folder = self._folders[0]
        log, options = self.folder / "primary.log", f"-p {self._ports[0]} -h 127.0.0.1"
        self._run("pg_ctl", "-D", folder, "-m", mode, "-w", "stop")
        self._run("pg_ctl", "-D", folder, "-l", log, "-w", "-o", options, "start")

    def cpu_seconds(self) -> list[float]:
        """Processor time so far of the primary and of each standby."""
        return [cpu_seconds(int((folder / "postmaster.pid").read_text().split()[0])) for folder in self._folders]
