"""The programs of a cluster: what the system has, or else what Debian and PyPI have, in a folder of ours."""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

OLDEST_POSTGRES: Final = 15
REQUIREMENTS: Final = Path(__file__).resolve().parents[2] / "requirements" / "cluster.txt"

Progress = Callable[[str], None]


class ClusterError(Exception):
    """Why there is no cluster: a sentence for the person who wanted one."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where they are: a folder, and files."""

    postgres: Path
    etcd: Path
    patroni: Path


def as_whom() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: arguments for ``subprocess`` that make the processes those of ``nobody``."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def find_postgres(folder: Path) -> Path | None:
    """The folder with PostgreSQL's programs, the newest if there are several.

    Args:
        folder: where packages were unpacked.
    """
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    for root in (Path("/"), folder):
        places += root.glob("usr/lib/postgresql/*/bin")
    rated = [(_version(place / "postgres"), place) for place in places if (place / "postgres").exists()]
    fitting = [pair for pair in rated if pair[0] >= OLDEST_POSTGRES]
    return max(fitting)[1] if fitting else None


def _version(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    number = said[2].partition(".")[0] if len(said) > 2 else ""  # noqa: PLR2004 - postgres (PostgreSQL) 15.1
    return int(number) if number.isdecimal() else 0


def install(folder: Path, progress: Progress) -> Programs:
    """Find the programs, or get them into ``folder``; needs no root.

    Raises:
        ClusterError: they can neither be found nor had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    postgres = find_postgres(folder)
    if postgres is None:
        progress("Getting PostgreSQL (once) ...")
        _unpack(_debian_postgres(), folder)
        postgres = find_postgres(folder)
    found = shutil.which("etcd")
    etcd = Path(found) if found else folder / "usr" / "bin" / "etcd"
    if not etcd.exists():
        progress("Getting etcd (once) ...")
        _unpack(["etcd-server"], folder)
    if postgres is None or not etcd.exists():
        raise ClusterError("the packages hold no PostgreSQL or etcd that fits; install PostgreSQL 15 and etcd yourself")
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
    pip: list[str | Path] = [
        environment / "bin" / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    try:
        subprocess.run([_python(), "-m", "venv", "--clear", environment], check=True)
        subprocess.run([*pip, "--require-hashes", "-r", REQUIREMENTS], check=True)
    except subprocess.CalledProcessError:
        raise ClusterError("cannot get Patroni from PyPI; look at the network") from None
    made.write_text(pinned)
    return program


def _python() -> str:
    """A Python that the unprivileged user may run: ours may be in a folder of root's own."""
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if not subprocess.run(
                [python, "-c", "import ensurepip"], capture_output=True, check=False, **as_whom()
            ).returncode:
                return python
    raise ClusterError(
        "the user 'nobody' can run no Python that makes environments; start this as another user than root"
    )
