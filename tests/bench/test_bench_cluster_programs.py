"""Where a cluster has PostgreSQL from: what is installed, or else Debian's packages, which need no root."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import programs
from cluster.programs import ClusterError, get_postgres

from support.cluster_process import open_folder, remove

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed: Debian's packages")

APT = """#!/bin/sh
# apt that knows what is in its pool, once it has been asked to look
cd "$POOL" || exit 100
case "$*" in
  *" update") [ -f known ] || mkdir -p known ;;
  *" --simulate "*)
    [ -d known ] || { echo "E: First this" >&2; echo "E: Unable to locate package" >&2; exit 100; }
    for file in *.deb; do echo "Inst ${file%.deb} (1 Debian:12 [amd64])"; done ;;
  *" download "*)
    echo "$*" >> asked
    while [ "$1" != download ]; do shift; done
    shift
    for name; do cp "$name.deb" "$OLDPWD"; done ;;
esac
"""
SERVER = """#!/bin/sh
[ -f "$LD_LIBRARY_PATH/libneeded.so" ] && echo "postgres (PostgreSQL) {version}"
"""

Offer = Callable[[str], Path]


def make_package(pool: Path, name: str, files: dict[str, str]) -> None:
    """Build what apt would fetch."""
    tree = pool / name
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: none\n"
    for path, text in {"DEBIAN/control": control, **files}.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    subprocess.run(["dpkg-deb", "-b", tree, pool / f"{name}.deb"], check=True, capture_output=True)
    shutil.rmtree(tree)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = open_folder()
    yield made
    remove(made)


@pytest.fixture
def offer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Hides what is installed; ``offer(version)`` has Debian hold a server of that version, in the folder returned."""
    pool, commands = folder / "pool", folder / "bin"
    pool.mkdir()
    commands.mkdir()
    (commands / "apt-get").write_text(APT)
    (commands / "apt-get").chmod(0o755)
    for name in ("sh", "cp", "mkdir", "test", "dpkg-deb", "tar", "rm"):
        found = shutil.which(name)
        assert found
        (commands / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setenv("POOL", str(pool))
    monkeypatch.setattr(programs, "INSTALLED", folder / "nowhere")

    def make(version: str) -> Path:
        server = {"usr/lib/postgresql/17/bin/postgres": SERVER.format(version=version)}
        make_package(pool, "postgresql-17", server)
        make_package(pool, "libneeded1", {"usr/lib/x86_64-linux-gnu/libneeded.so": ""})
        make_package(pool, "postgresql-common", {"usr/bin/what-looks-after-it": ""})
        return pool

    return make


def test_server_is_unpacked_with_the_libraries_that_the_system_lacks(offer: Offer, folder: Path) -> None:
    pool = offer("17.1")
    (pool / "known").mkdir()
    said: list[str] = []
    found = get_postgres(folder, said.append)
    assert found.folder == folder / "postgresql/usr/lib/postgresql/17/bin"
    assert found.environment == {"LD_LIBRARY_PATH": str(folder / "postgresql/usr/lib/x86_64-linux-gnu")}
    assert said == ["Getting PostgreSQL (once) ..."]
    assert sorted((pool / "asked").read_text().split()[2:]) == ["libneeded1", "postgresql-17"]
    assert get_postgres(folder, said.append) == found
    assert len(said) == 1, "it is there the second time"


def test_lists_of_packages_that_are_old_or_empty_are_renewed(offer: Offer, folder: Path) -> None:
    offer("17.1")
    said: list[str] = []
    assert get_postgres(folder, said.append).folder.exists()
    assert said[1:] == ["Asking Debian which packages there are ..."]


def test_nothing_is_left_of_packages_that_cannot_be_unpacked(offer: Offer, folder: Path) -> None:
    (offer("17.1") / "libneeded1.deb").write_text("damaged")
    with pytest.raises(ClusterError, match="cannot get postgresql from Debian"):
        get_postgres(folder, print)
    assert sorted(made.name for made in folder.iterdir()) == ["apt", "bin", "pool"]


def test_server_whose_libraries_are_lacking_is_no_server(offer: Offer, folder: Path) -> None:
    (offer("17.1") / "libneeded1.deb").unlink()
    with pytest.raises(ClusterError, match="no PostgreSQL that works here"):
        get_postgres(folder, print)


def test_what_cannot_be_had_is_said_with_the_last_words_of_apt(offer: Offer, folder: Path) -> None:
    (offer("17.1") / "known").write_text("no folder")
    with pytest.raises(ClusterError, match=r"cannot get postgresql from Debian \(E: Unable to locate package\)"):
        get_postgres(folder, print)


def test_system_without_apt_is_no_debian(offer: Offer, folder: Path) -> None:
    offer("17.1")
    (Path(os.environ["PATH"]) / "apt-get").unlink()
    with pytest.raises(ClusterError, match="this is no Debian"):
        get_postgres(folder, print)


def test_server_that_is_too_old_is_no_server(offer: Offer, folder: Path) -> None:
    offer("14.9")
    with pytest.raises(ClusterError, match="no PostgreSQL that works here"):
        get_postgres(folder, print)
