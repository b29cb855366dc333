"""The vectors are what their script makes of their seed, and it never changes them silently."""

import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from vector_replay import FOLDER

SCRIPT: Final = Path(__file__).parents[2] / "scripts/make-vectors"
FEW: Final = ("padding.json", "user-ids.json", "safety-numbers.json")
"""To make all of them takes seconds; what is done with those that were made is the same."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script in this process, which makes a few of them."""
    monkeypatch.setattr(sys, "path", sys.path.copy())  # it adds to it
    loader = SourceFileLoader("make_vectors", str(SCRIPT))
    module = ModuleType(loader.name)
    module.__file__ = str(SCRIPT)
    loader.exec_module(module)
    monkeypatch.setattr(module, "MAKERS", {name: module.MAKERS[name] for name in FEW})
    return module


def run(script: ModuleType, folder: Path, *arguments: str) -> int:
    """Its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPT), "--out", str(folder), *arguments])
        with pytest.raises(SystemExit) as left:
            sys.exit(script.main())
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture
def few(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, bytes]:
    """What is in a folder in which it has made them."""
    assert run(script, tmp_path) == 0
    capsys.readouterr()
    return content_of(tmp_path)


@pytest.fixture
def changed(few: dict[str, bytes], tmp_path: Path) -> Path:
    """The folder, in which one byte of one file is another one."""
    (tmp_path / "padding.json").write_bytes(few["padding.json"].replace(b"text", b"tent", 1))
    return tmp_path


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_vectors_are_what_the_script_makes_of_the_seed(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    made = content_of(tmp_path)
    found = {file.name: file.read_bytes() for file in FOLDER.glob("*.json")}
    # By name: pytest takes minutes to show how megabytes differ.
    assert found.keys() == made.keys()
    assert [name for name in made if made[name] != found[name]] == []


def test_script_can_be_executed() -> None:
    assert os.access(SCRIPT, os.X_OK)


def test_few_are_made_as_all_are(few: dict[str, bytes]) -> None:
    assert few == {name: (FOLDER / name).read_bytes() for name in FEW}


def test_script_run_again_changes_nothing(
    script: ModuleType, few: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(script, tmp_path) == 0
    assert capsys.readouterr() == ("", "")
    assert content_of(tmp_path) == few


def test_file_that_would_change_stays_and_nothing_is_written(
    script: ModuleType, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (changed / "user-ids.json").unlink()
    before = content_of(changed)
    assert run(script, changed) == 1
    assert "padding.json" in capsys.readouterr().err
    assert content_of(changed) == before


@pytest.mark.parametrize("reason", ["", " "])
def test_change_without_a_reason_is_refused(script: ModuleType, changed: Path, reason: str) -> None:
    before = content_of(changed)
    assert run(script, changed, "--force", reason) == 2
    assert content_of(changed) == before


def test_change_with_a_reason_is_written_down(script: ModuleType, changed: Path, few: dict[str, bytes]) -> None:
    assert run(script, changed, "--force", "a mistake in the padding") == 0
    assert content_of(changed) == few | {"CHANGES.md": b"* padding.json: a mistake in the padding\n"}
