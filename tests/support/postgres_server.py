"""A PostgreSQL server of the tests' own: in a folder, on a Unix socket and a loopback port, ended with them."""

import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from support.ports import HeldPort
from support.waiting import eventually

PATIENCE = 60.0
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name


@functools.cache
def programs() -> Path | None:
    """Where the server's programs are; the newest if there are several."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def _as_whom() -> dict[str, Any]:
    """The server refuses to run as root; arguments for ``subprocess``."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class PostgresServer:
    """A running server with one user, ``phantom``, who may do everything.

    Args:
        settings: of the server, besides those that make it small.
    """

    def __init__(self, **settings: str) -> None:
        self._settle()
        self._run("initdb", "-D", self.data, "-U", "phantom", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync")
        small = {
            "shared_buffers": "32MB",
            "max_connections": "50",
            "unix_socket_directories": str(self.folder),
            "dynamic_shared_memory_type": "mmap",  # in its folder: a server that is killed would leave others behind
        }
        lines = [f"{name} = '{value}'\n" for name, value in {**small, **settings}.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        self.start()

    def _settle(self) -> None:
        """A folder and a port of its own."""
        folder = programs()
        assert folder is not None, "look at programs() first"
        self._programs = folder
        self.folder = Path(tempfile.mkdtemp(prefix="phantom-pg-", dir=MEMORY if MEMORY.is_dir() else None))
        self.data = self.folder / "data"
        self._whom = _as_whom()
        if self._whom:
            os.chown(self.folder, self._whom["user"], self._whom["group"])
        self._held = HeldPort()
        self.port = self._held.number
        self._count = 0

    def _run(self, program: str, *arguments: Any) -> None:
        subprocess.run(
            [str(self._programs / program), *map(str, arguments)],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
            cwd=self.folder,
            **self._whom,
        )

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1"
        self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """End the postmaster as a power cut does, and wait until its processes have noticed."""
        postmaster = self.pid
        others = _children(postmaster)
        os.kill(postmaster, signal.SIGKILL)
        assert eventually(lambda: not any(map(runs, [postmaster, *others])), PATIENCE)
        for lock in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{self.port}.lock"):
            lock.unlink()  # as long as nobody has asked how it ended, its number looks alive

    def pause(self) -> None:
        """Stop all of its processes where they are."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        postmaster = self.pid
        os.kill(postmaster, number)  # first: then it makes no new ones
        for child in _children(postmaster):
            with suppress(ProcessLookupError):
                os.kill(child, number)

    def url(self, database: str) -> str:
        return f"postgresql://phantom@127.0.0.1:{self.port}/{database}"

    def make_database(self, template: str = "template1") -> str:
        """A new database, as the template; its URL."""
        self._count += 1
        name = f"d{self._count}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return self.url(name)

    def drop_database(self, url: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(url.rpartition("/")[2])))

    def end(self) -> None:
        """Stop it, and delete its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder)


class StandbyServer(PostgresServer):
    """A copy of a running server that follows it.

    Args:
        primary: the server.
    """

    def __init__(self, primary: PostgresServer) -> None:
        self._settle()
        whence = ("-h", "127.0.0.1", "-p", primary.port, "-U", "phantom")
        self._run("pg_basebackup", "-D", self.data, *whence, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"unix_socket_directories = '{self.folder}'\n")
        self.start()

    def catch_up(self, primary: PostgresServer) -> None:
        """Wait until it has done all that the primary has done by now."""
        with psycopg.connect(primary.url("postgres"), autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:

            def is_there() -> bool:
                question = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
                return connection.execute(question, row).fetchone() == (True,)

            assert eventually(is_there, PATIENCE)


def _children(parent: int) -> list[int]:
    """Processes that this one has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return found


def runs(pid: int) -> bool:
    """Whether it has not ended; nobody may have asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
