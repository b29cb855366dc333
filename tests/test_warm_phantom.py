"""Commands that a warm program runs do what those do that are started alone."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from support import command_line
from support.command_line import AT_ONCE, QUICK, environment, phantom

COMMANDS: Final = [
    ("init", "-p", "alice", "--server", "ws://127.0.0.1:9/ws"),
    ("init", "--help"),
    ("id", "-p", "alice"),
    ("id", "-p", "nobody"),
    ("contacts", "add", "-p", "alice", "bob", "ph1"),
    ("contacts", "--nonsense"),
    ("history", "-p", "alice", "bob"),
    ("send", "-p", "alice", "bob", "-"),
    ("settings", "-p", "alice", "--json"),
    ("requests", "list", "-p", "alice"),
]


def alone(home: Path, *arguments: str, stdin: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*QUICK, *arguments],
        env=environment(home),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=command_line.PATIENCE,
        check=False,
    )


def said(done: "subprocess.CompletedProcess[str]", home: Path) -> tuple[int, str, str]:
    return done.returncode, done.stdout.replace(str(home), "HOME"), done.stderr.replace(str(home), "HOME")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Alice is."""
    made = tmp_path_factory.mktemp("home")
    alone(made, *COMMANDS[0], stdin="")
    return made


@pytest.mark.parametrize("arguments", COMMANDS, ids=[" ".join(command) for command in COMMANDS])
def test_command_says_what_it_says_alone(arguments: tuple[str, ...], home: Path) -> None:
    assert arguments[0] in AT_ONCE
    stdin = "\u05e9 a text\n" * 10_000
    assert said(phantom(home, *arguments, stdin=stdin), home) == said(alone(home, *arguments, stdin=stdin), home)


def test_each_command_is_a_process_of_its_own(tmp_path: Path) -> None:
    """Two people who are made one after another have different keys, in a home of their own each."""
    made = [phantom(tmp_path / name, "init", "--server", "ws://127.0.0.1:9/ws") for name in ("one", "two")]
    ids = [phantom(tmp_path / name, "id").stdout for name in ("one", "two")]
    assert [done.returncode for done in made] == [1, 1], made
    assert len(set(ids)) == len(ids)
    assert all(one.startswith("ph1") for one in ids)


def test_command_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phantom(tmp_path, "init", "--server", "ws://127.0.0.1:9/ws")
    monkeypatch.setattr(command_line, "PATIENCE", 0.5)
    with pytest.raises(subprocess.TimeoutExpired):
        phantom(tmp_path, "listen")
    monkeypatch.undo()
    assert phantom(tmp_path, "id").returncode == 0
