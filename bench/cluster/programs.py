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
from cluster.debian import Debian, libraries

POSTGRES: Final = "postgresql"
ETCD: Final = "etcd-server"
"""Debian's packages."""

OLDEST_POSTGRES: Final = 15
INSTALLED: Final = Path("/usr/lib/postgresql")
"""Where Debian has a folder for each version."""

PYTHONS: Final = (sys.executable, "/usr/bin/python3")

NEEDED: Final = """
import sys
assert str(sys.version_info[:2]) == sys.argv[1]
import psycopg, phantom_messenger.relay.main
"""
REQUIREMENTS: Final = Path(__file__).resolve().parents[2] / "requirements"

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


@dataclass(frozen=True)
class Pinned:
    """A Patroni: the name of its folder, and the file with its packages' hashes."""

    name: str
    requirements: Path


PATRONI: Final = Pinned("patroni", REQUIREMENTS / "cluster.txt")


def as_whom() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: arguments for ``subprocess`` that make the processes those of ``nobody``."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def find_postgres(folder: Path) -> Postgres | None:
    """PostgreSQL's programs, the newest if there are several.

    Args:
        folder: where packages were unpacked, each in a folder of its own.
    """
    root = folder / POSTGRES
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += INSTALLED.glob("*/bin")
    known = [Postgres(folder=place, environment={}) for place in places]
    known += [Postgres(folder=place, environment=libraries(root)) for place in root.glob("usr/lib/postgresql/*/bin")]
    rated = [(_version(one), str(one.folder), one) for one in known if (one.folder / "postgres").exists()]
    fitting = [row for row in rated if row[0] >= OLDEST_POSTGRES]
    return max(fitting, key=lambda row: row[:2])[2] if fitting else None


def _version(postgres: Postgres) -> int:
    environment = {**os.environ, **postgres.environment}
    said = subprocess.run(
        [postgres.folder / "postgres", "--version"], env=environment, capture_output=True, text=True, check=False
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
        _unpack(POSTGRES, folder, progress)
        found = find_postgres(folder)
    if found is None:
        raise ClusterError("Debian's packages hold no PostgreSQL that works here; install PostgreSQL 15 yourself")
    return found


def install(folder: Path, progress: Progress, patroni: Pinned = PATRONI) -> Programs:
    """Find the programs, or get them into ``folder``; needs no root.

    Raises:
        ClusterError: they can neither be found nor had.
    """
    postgres = get_postgres(folder, progress)
    found = shutil.which("etcd")
    etcd = Path(found) if found else folder / ETCD / "usr" / "bin" / "etcd"
    if not etcd.exists():
        progress("Getting etcd (once) ...")
        _unpack(ETCD, folder, progress)
    if not etcd.exists():
        raise ClusterError("Debian's package holds no etcd; install etcd yourself")
    return Programs(postgres=postgres, etcd=etcd, patroni=_patroni(folder, progress, patroni))


def _unpack(package: str, folder: Path, progress: Progress) -> None:
    debian = Debian(folder)
    try:
        try:
            debian.unpack(package)
        except subprocess.CalledProcessError:
            progress("Asking Debian which packages there are ...")
            debian.update()
            debian.unpack(package)
    except FileNotFoundError:
        raise ClusterError("this is no Debian or Ubuntu: install PostgreSQL 15 or newer and etcd yourself") from None
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip().rpartition("\n")[2]
        raise ClusterError(f"cannot get {package} from Debian ({why}); install it, or look at the network") from None


def _patroni(folder: Path, progress: Progress, which: Pinned) -> Path:
    environment = folder / which.name
    program = environment / "bin" / "patroni"
    made = environment / "made"
    pinned = which.requirements.read_text()
    if made.exists() and made.read_text() == pinned:
        return program
    progress(f"Getting {which.name.capitalize()} (once) ...")
    python = environment / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    try:
        subprocess.run([_python(), "-m", "venv", "--clear", environment], check=True, capture_output=True)
        subprocess.run([*pip, "--require-hashes", "-r", which.requirements], check=True, capture_output=True)
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
    """The command that is ``phantom serve``, and what it needs in its environment.

    If our Python is in a folder of root's own, the unprivileged user runs another one of the same version with our
    packages.

    Raises:
        ClusterError: that user can run none.
    """
    serve = ["-m", "phantom_messenger", "serve"]
    if not as_whom():
        return [sys.executable, *serve], {}
    folders = (str(Path(phantom_messenger.__file__).parents[1]), sysconfig.get_path("purelib"))
    environment = {"PYTHONPATH": os.pathsep.join(folders)}
    for python in PYTHONS:
        if _can_run([python, "-c", NEEDED, str(sys.version_info[:2])], environment):
            return [python, *serve], environment
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
