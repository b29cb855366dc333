"""Programs out of Debian's packages, in a folder of ours: needs no root, and installs nothing.

apt's and dpkg's own errors are passed on: ``subprocess.CalledProcessError``, and ``FileNotFoundError`` where there is
neither.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

WANTED: Final = re.compile(r"lib.+|postgresql(-client)?-\d+|etcd-server")
"""Names of packages with programs and the libraries of these: not what looks after an installed server."""


class Debian:
    """apt, with the system's lists of packages or with newer ones of our own.

    Args:
        folder: gets what packages would put into the system's root.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._options: list[str] = []

    def unpack(self, package: str) -> None:
        """Get a package and those that it needs and this system lacks, and unpack them."""
        simulated = self._apt("install", "--simulate", "--no-install-recommends", package)
        lacking = [line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")]
        for file in self._folder.glob("*.deb"):
            file.unlink()  # of a try that was interrupted
        self._apt("download", *filter(WANTED.fullmatch, lacking))
        for file in self._folder.glob("*.deb"):
            self._run("dpkg-deb", "-x", str(file), str(self._folder))
            file.unlink()

    def update(self) -> None:
        """Ask what there is now: the system's lists may be old, or empty as in many containers."""
        lists, cache = self._folder / "apt" / "lists", self._folder / "apt" / "cache"
        for made in (lists, cache):
            made.mkdir(parents=True, exist_ok=True)
        self._options = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
        self._apt("update")

    def _apt(self, *arguments: str) -> str:
        return self._run("apt-get", "-q", *self._options, *arguments)

    def _run(self, *command: str) -> str:
        plain = {**os.environ, "LC_ALL": "C"}
        return subprocess.run(
            command, cwd=self._folder, env=plain, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
        ).stdout


def libraries(folder: Path) -> dict[str, str]:
    """Where programs find the libraries that were unpacked with them, for their environment."""
    found = [str(place) for root in ("usr/lib", "lib") for place in sorted(folder.glob(f"{root}/*-linux-*"))]
    return {"LD_LIBRARY_PATH": os.pathsep.join(found)} if found else {}
