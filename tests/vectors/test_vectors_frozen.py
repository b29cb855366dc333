"""The vectors are what their script makes of their seed, and it never changes them silently."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from vector_replay import FOLDER

SCRIPT: Final = Path(__file__).parents[2] / "scripts/make-vectors"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--out", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the script makes where nothing is."""
    folder = tmp_path_factory.mktemp("vectors")
    assert run(folder).returncode == 0
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def changed(made: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder of vectors in which one byte of one file is another one."""
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "padding.json").write_bytes(made["padding.json"].replace(b"text", b"tent", 1))
    return tmp_path


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_vectors_are_what_the_script_makes_of_the_seed(made: dict[str, bytes]) -> None:
    found = {file.name: file.read_bytes() for file in FOLDER.glob("*.json")}
    # By name: pytest takes minutes to show how megabytes differ.
    assert found.keys() == made.keys()
    assert [name for name in made if made[name] != found[name]] == []


def test_script_can_be_executed() -> None:
    assert os.access(SCRIPT, os.X_OK)


def test_script_run_again_changes_nothing(made: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert content_of(tmp_path) == made


def test_file_that_would_change_stays_and_nothing_is_written(changed: Path) -> None:
    (changed / "user-ids.json").unlink()
    before = content_of(changed)
    done = run(changed)
    assert done.returncode == 1
    assert "padding.json" in done.stderr
    assert content_of(changed) == before


@pytest.mark.parametrize("reason", ["", " "])
def test_change_without_a_reason_is_refused(changed: Path, reason: str) -> None:
    before = content_of(changed)
    assert run(changed, "--force", reason).returncode == 2
    assert content_of(changed) == before


def test_change_with_a_reason_is_written_down(changed: Path, made: dict[str, bytes]) -> None:
    assert run(changed, "--force", "a mistake in the padding").returncode == 0
    assert content_of(changed) == made | {"CHANGES.md": b"* padding.json: a mistake in the padding\n"}
