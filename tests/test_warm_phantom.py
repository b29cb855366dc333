"""Commands and relays that a warm program runs do what those do that are started alone."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import phantom_messenger
from support import command_line
from support.command_line import AT_ONCE, QUICK, Running, environment, phantom
from support.relay_process import SERVE, WARM, Command, RelayProcess, patched, unloaded
from support.waiting import eventually
from support.warm import Warm, is_usual
from warm_phantom import OURS, run_patch

COMMANDS: Final = [
    ("init", "-p", "alice", "--server", "ws://127.0.0.1:9/ws"),
    ("init", "--help"),
    ("id", "-p", "alice"),
    ("id", "-p", "nobody"),
    ("contacts", "--nonsense"),
    ("send", "-p", "alice", "bob", "-"),
    ("requests", "list", "-p", "alice"),
    ("export", "/nowhere/file", "-p", "alice"),
    ("import", "/nowhere/file", "-p", "new"),
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


@pytest.mark.parametrize("program", [None, QUICK], ids=["warm", "alone"])
def test_command_that_goes_on_hears_signals(tmp_path: Path, program: list[str] | None) -> None:
    phantom(tmp_path, "init", "--server", "ws://127.0.0.1:9/ws")
    running = Running(tmp_path, "listen", "--json", program=program)
    assert eventually(lambda: running.errors != [])
    assert running.stop(signal.SIGINT) == 0
    assert "the connection was refused" in running.errors[0]


# --- relays -------------------------------------------------------------------------


def life(folder: Path, number: signal.Signals, command: Command, *arguments: str) -> tuple[int, list[str]]:
    """What a relay says of itself from its beginning to its end."""
    folder.mkdir()
    relay = RelayProcess(folder, *arguments, command=command, more={"PHANTOM_HEARTBEAT": "7"})
    assert Path(f"/proc/{relay.pid}").is_dir()
    with socket.create_connection(relay.address):
        pass
    code = relay.stop(number)
    return code, [line.split(" ", 1)[1] for line in relay.log.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_relay_says_what_it_says_alone(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("--limits", "off", "--log-level", "debug")
    found = life(tmp_path / "warm", number, WARM, *arguments)
    assert found == life(tmp_path / "alone", number, SERVE, *arguments)
    assert found[0] == (-number if number == signal.SIGKILL else 0)


def test_relay_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="--port"):
        RelayProcess(tmp_path, "--port", "http", port=None)


@pytest.mark.parametrize("command", [patched, unloaded])
def test_patch_is_run_before_the_relay_starts(tmp_path: Path, command: Callable[[str], Command]) -> None:
    with pytest.raises(AssertionError, match="said by the patch"):
        RelayProcess(tmp_path, command=command("raise SystemExit('said by the patch')"))


def loaded(monkeypatch: pytest.MonkeyPatch, folder: Path, **modules: str) -> list[ModuleType]:
    """Modules of the product that are there already."""
    made = []
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
        spec = importlib.util.spec_from_file_location(f"phantom_messenger.{name}", folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        monkeypatch.setattr(phantom_messenger, name, module, raising=False)
        spec.loader.exec_module(module)
        made.append(module)
    return made


MADE: Final = """
from typing import Final

LIMIT: Final = 5

def work(): return "genuine"

class Kind: pass
"""
IMPORTED: Final = f"from {OURS}made import LIMIT, Kind, work, work as by_another_name\nother = LIMIT"
PATCH: Final = """
from phantom_messenger import {place} as place
place.LIMIT, place.Kind, place.work = 7, dict, str
"""


def test_what_a_patch_replaces_is_replaced_wherever_it_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second = loaded(monkeypatch, tmp_path, made=MADE, second=IMPORTED)
    run_patch(PATCH.format(place="made"))
    assert (second.LIMIT, second.Kind, second.work, second.by_another_name) == (7, dict, str, str)
    assert second.other == 5


def test_patch_of_what_a_module_imported_is_for_that_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, second, third = loaded(monkeypatch, tmp_path, made=MADE, second=IMPORTED, third=IMPORTED)
    genuine = made.LIMIT, made.Kind, made.work
    run_patch(PATCH.format(place="second"))
    assert (second.LIMIT, second.Kind, second.work) == (7, dict, str)
    for one in (made, third):
        assert (one.LIMIT, one.Kind, one.work) == genuine


def test_relay_whose_environment_is_another_one_is_started_alone(tmp_path: Path) -> None:
    assert is_usual({**os.environ, "PHANTOM_HOME": "elsewhere"})
    assert not is_usual({**os.environ, "LD_PRELOAD": "libfaketime.so"})
    assert not is_usual({name: value for name, value in os.environ.items() if name != "PATH"})
    relay = RelayProcess(tmp_path, more={"PYTHONUTF8": "1"})
    assert isinstance(relay._process, subprocess.Popen)
    relay.stop()


def test_relays_end_with_the_tests(tmp_path: Path) -> None:
    program = Warm("relay")
    with (tmp_path / "log").open("w") as log:
        relays = [
            program.start(["serve", "--data", str(tmp_path / name), "--port", "0"], os.environ, log) for name in "ab"
        ]
    assert [relay.stdout.readline()[:12] for relay in relays] == ["listening on"] * 2
    with pytest.raises(subprocess.TimeoutExpired):
        relays[0].wait(0.01)
    program.end()
    assert [relay.wait(60) for relay in relays] == [-signal.SIGKILL] * 2
    for relay in relays:
        relay.stdout.close()
    assert eventually(lambda: not any(Path(f"/proc/{relay.pid}").is_dir() for relay in relays))
