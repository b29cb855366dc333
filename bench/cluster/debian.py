"""Programs out of Debian's packages, in a folder of ours: needs no root, and installs nothing.

apt's and dpkg's own errors are passed on: ``subprocess.CalledProcessError``, and ``FileNotFoundError`` where there is
neither.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

WANTED: Final = re.compile(r"lib.+|postgresql(-client)?-\d+|etcd-server")
"""Names of packages with programs and the libraries of these: not what looks after an installed server."""


class Debian:
    """apt, with the system's lists of packages or with newer ones of our own.

    Args:
        folder: gets a folder for each package, with what it would put into the system's root.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._options: list[str] = []

    def unpack(self, package: str) -> None:
        """Get a package and those that it needs and this system lacks, and unpack them: all of them, or nothing."""
        simulated = self._apt("install", "--simulate", "--no-install-recommends", package)
        lacking = [line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")]
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=f"{package}-") as whole:
            fetched, root = Path(whole) / "packages", Path(whole) / "root"
            for folder in (fetched, root):
                folder.mkdir()
            self._apt("download", *filter(WANTED.fullmatch, lacking), within=fetched)
            for file in fetched.glob("*.deb"):
                self._run("dpkg-deb", "-x", str(file), str(root))
            root.rename(self._folder / package)

    def update(self) -> None:
        """Ask what there is now: the system's lists may be old, or empty as in many containers."""
        lists, cache = self._folder / "apt" / "lists", self._folder / "apt" / "cache"
        for made in (lists, cache):
            made.mkdir(parents=True, exist_ok=True)
        self._options = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
        self._apt("update")

    def _apt(self, *arguments: str, within: Path | None = None) -> str:
        return self._run("apt-get", "-q", *self._options, *arguments, within=within)

    def _run(self, *command: str, within: Path | None = None) -> str:
        plain = {**os.environ, "LC_ALL": "C"}
        return subprocess.run(
            command,
            cwd=within or self._folder,
            env=plain,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        ).stdout


def libraries(root: Path) -> dict[str, str]:
    """Where programs find the libraries that were unpacked with them, for their environment."""
    found = [str(place) for top in ("usr/lib", "lib") for place in sorted(root.glob(f"{top}/*-linux-*"))]
    return {"LD_LIBRARY_PATH": os.pathsep.join(found)} if found else {}
