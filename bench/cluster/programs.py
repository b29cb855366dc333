"""The programs of a cluster: what the system has, or else what Debian and PyPI have, in a folder of ours."""

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import phantom_messenger

OLDEST_POSTGRES: Final = 15
PYTHONS: Final = (sys.executable, "/usr/bin/python3")

NEEDED: Final = """
import sys
assert str(sys.version_info[:2]) == sys.argv[1]
import psycopg, phantom_messenger.relay.main
"""
REQUIREMENTS: Final = Path(__file__).resolve().parents[2] / "requirements" / "cluster.txt"

Progress = Callable[[str], None]


class ClusterError(Exception):
    """Why there is no cluster: a sentence for the person who wanted one."""


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """The folder with its programs, and what they need in their environment."""

    folder: Path
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where they are."""

    postgres: Postgres
    etcd: Path
    patroni: Path


def as_whom() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: arguments for ``subprocess`` that make the processes those of ``nobody``."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def find_postgres(folder: Path) -> Postgres | None:
    """PostgreSQL's programs, the newest if there are several.

    Args:
        folder: where packages were unpacked.
    """
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    for root in (Path("/"), folder):
        places += root.glob("usr/lib/postgresql/*/bin")
    rated = [(_version(place / "postgres", {}), place) for place in places if (place / "postgres").exists()]
    fitting = [pair for pair in rated if pair[0] >= OLDEST_POSTGRES]
    return Postgres(folder=max(fitting)[1], environment={}) if fitting else None


def _version(program: Path, environment: dict[str, str]) -> int:
    said = subprocess.run(
        [program, "--version"], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    ).stdout.split()
    number = said[2].partition(".")[0] if len(said) > 2 else ""  # noqa: PLR2004 - postgres (PostgreSQL) 15.1
    return int(number) if number.isdecimal() else 0


def get_postgres(folder: Path, progress: Progress) -> Postgres:
    """Find PostgreSQL, or get it into ``folder``; needs no root.

    Raises:
        ClusterError: it can neither be found nor had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    must_be_enterable(folder)
    found = find_postgres(folder)
    if found is None:
        progress("Getting PostgreSQL (once) ...")
        _unpack(_debian_postgres(), folder)
        found = find_postgres(folder)
    if found is None:
        raise ClusterError("Debian's packages hold no PostgreSQL that works here; install PostgreSQL 15 yourself")
    return found


def install(folder: Path, progress: Progress) -> Programs:
    """Find the programs, or get them into ``folder``; needs no root.

    Raises:
        ClusterError: they can neither be found nor had.
    """
    postgres = get_postgres(folder, progress)
    found = shutil.which("etcd")
    etcd = Path(found) if found else folder / "usr" / "bin" / "etcd"
    if not etcd.exists():
        progress("Getting etcd (once) ...")
        _unpack(["etcd-server"], folder)
    if not etcd.exists():
        raise ClusterError("Debian's package holds no etcd; install etcd yourself")
    return Programs(postgres=postgres, etcd=etcd, patroni=_patroni(folder, progress))


def _debian_postgres() -> list[str]:
    try:
        said = subprocess.run(
            ["apt-cache", "depends", "postgresql"], capture_output=True, text=True, check=True
        ).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        raise _no_packages() from None
    server = next((word for word in said if word.startswith("postgresql-") and word[11:].isdecimal()), "")
    if not server:
        raise _no_packages()
    return [server, server.replace("-", "-client-"), "libpq5"]


def _no_packages() -> ClusterError:
    return ClusterError(
        "this is no Debian or Ubuntu, or apt knows no packages: install PostgreSQL 15 and etcd yourself"
    )


def _unpack(packages: list[str], folder: Path) -> None:
    try:
        subprocess.run(["apt-get", "download", "-q", *packages], cwd=folder, check=True, capture_output=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)
            package.unlink()
    except (OSError, subprocess.CalledProcessError):
        names = " ".join(packages)
        raise ClusterError(f"cannot get {names} (apt-get download); install it, or look at the network") from None


def _patroni(folder: Path, progress: Progress) -> Path:
    environment = folder / "patroni"
    program = environment / "bin" / "patroni"
    made = environment / "made"
    pinned = REQUIREMENTS.read_text()
    if made.exists() and made.read_text() == pinned:
        return program
    progress("Getting Patroni (once) ...")
    python = environment / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    try:
        subprocess.run([_python(), "-m", "venv", "--clear", environment], check=True, capture_output=True)
        subprocess.run([*pip, "--require-hashes", "-r", REQUIREMENTS], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        why = error.stderr.decode().strip().rpartition("\n")[2]
        raise ClusterError(f"cannot get Patroni from PyPI ({why}); look at the network") from None
    made.write_text(pinned)
    return program


def _python() -> str:
    """A Python that the unprivileged user may run: ours may be in a folder of root's own."""
    for python in PYTHONS:
        if _can_run([python, "-c", "import ensurepip"]):
            return python
    raise ClusterError(
        "the user 'nobody' can run no Python that makes environments; start this as another user than root"
    )


@functools.cache
def serve_command() -> tuple[list[str], dict[str, str]]:
    """The command that is ``phantom serve`` for the unprivileged user, and what it needs in its environment.

    Where our Python is in a folder of root's own, another one of the same version uses our packages.

    Raises:
        ClusterError: that user can run none.
    """
    folders = (str(Path(phantom_messenger.__file__).parents[1]), sysconfig.get_path("purelib"))
    environment = {"PYTHONPATH": os.pathsep.join(folders)}
    for python in PYTHONS:
        if _can_run([python, "-c", NEEDED, str(sys.version_info[:2])], environment):
            return [python, "-m", "phantom_messenger", "serve"], environment
    version = ".".join(map(str, sys.version_info[:2]))
    raise ClusterError(
        f"the user 'nobody' can run no Python {version} with the relay's packages; start this as another user than root"
    )


def must_be_enterable(folder: Path) -> None:
    """Refuse a folder that the processes cannot use.

    Raises:
        ClusterError: they run as somebody who cannot enter it.
    """
    if not _can_run(["test", "-x", str(folder)]):
        raise ClusterError(
            f"the user 'nobody', who runs all of it if root starts it, cannot enter {folder}: "
            "move the clone elsewhere, or start this as another user than root"
        )


def _can_run(command: list[str], environment: dict[str, str] | None = None) -> bool:
    with contextlib.suppress(OSError):
        run = subprocess.run(
            command, env={**os.environ, **(environment or {})}, capture_output=True, check=False, cwd="/", **as_whom()
        )
        return not run.returncode
    return False
