"""Two devices of one person, on the command line: linked, listed, used, removed."""

import json
import re
from pathlib import Path

import pytest
from e2e_people import meet

from support.command_line import PATIENCE, Running, phantom
from support.relay_process import RelayProcess


@pytest.fixture
def home(tmp_path: Path, relay: RelayProcess) -> Path:
    """Alice and Bob, who know each other, and Alice's new laptop."""
    meet(tmp_path, relay)
    assert phantom(tmp_path, "init", "-p", "laptop", "--server", relay.url).returncode == 0
    return tmp_path


def out(home: Path, *arguments: str) -> str:
    done = phantom(home, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def linked(home: Path, *options: str) -> None:
    """Do what both devices ask for."""
    new = Running(home, "devices", "link", "-p", "laptop", "--name", "laptop", "--no-qr")
    (code,) = new.wait_for(1)
    first = Running(home, "devices", "link", "-p", "alice", code, *options)
    first.type("y")
    _, shown = new.wait_for(2, PATIENCE)
    digits = re.search(r"\d{3} \d{3}", shown)
    assert digits is not None
    first.type(digits[0])
    new.type("y")
    new.wait_for(3)
    assert new.finish() == 0, new.errors
    assert first.finish() == 0, first.errors
    assert first.lines[-1] == "linked 'laptop'"


def test_device_is_linked_used_and_removed(home: Path) -> None:
    linked(home)
    rows = [json.loads(line) for line in out(home, "devices", "list", "-p", "alice", "--json").splitlines()]
    assert [(row["name"], row["isFirst"], row["isThis"]) for row in rows] == [
        ("", True, True),
        ("laptop", False, False),
    ]
    assert out(home, "id", "-p", "laptop") == out(home, "id", "-p", "alice")
    assert "bob" in out(home, "contacts", "list", "-p", "laptop")
    assert out(home, "send", "-p", "laptop", "bob", "from the laptop")
    heard = Running(home, "listen", "-p", "bob", "--count", "1")
    (line,) = heard.wait_for(1)
    assert "alice: from the laptop" in line
    heard.type("")
    assert heard.finish() == 0
    assert phantom(home, "send", "-p", "bob", "alice", "an answer").returncode == 0
    assert phantom(home, "listen", "-p", "alice", "--count", "1", stdin="").returncode == 0
    assert "from the laptop" in out(home, "history", "-p", "alice", "bob")
    assert "only your first device" in phantom(home, "devices", "link", "-p", "laptop", "x", stdin="y\n").stderr
    assert "groups are changed on your first device" in phantom(home, "groups", "create", "-p", "laptop", "us").stderr
    assert "removed 'laptop'" in out(home, "devices", "remove", "-p", "alice", "laptop", "--yes")
    removed = phantom(home, "listen", "-p", "laptop")
    assert removed.returncode == 1
    assert "has removed this one" in removed.stderr
    assert "does not exist" in phantom(home, "id", "-p", "laptop").stderr
    assert len(out(home, "devices", "-p", "alice").splitlines()) == 1
    assert out(home, "devices", "renew", "-p", "alice") == "confirmed"


@pytest.mark.parametrize("has_history", [True, False])
def test_what_was_said_before_goes_over_if_it_is_to(home: Path, has_history: bool) -> None:
    out(home, "send", "-p", "alice", "bob", "from before")
    out(home, "settings", "-p", "alice", "typing", "off")
    linked(home, *([] if has_history else ["--no-history"]))
    assert ("from before" in out(home, "history", "-p", "laptop", "bob")) is has_history
    assert out(home, "settings", "-p", "laptop") == out(home, "settings", "-p", "alice")


def test_digits_that_are_wrong_link_nothing(home: Path) -> None:
    new = Running(home, "devices", "link", "-p", "laptop", "--name", "laptop", "--no-qr")
    (code,) = new.wait_for(1)
    first = Running(home, "devices", "link", "-p", "alice", code)
    first.type("y")
    new.wait_for(2, PATIENCE)
    for _ in range(3):
        first.type("00000")
    assert first.finish() == 2
    assert "three times" in first.errors[-1]
    new.type("n")
    assert new.finish() == 1
    assert "only device" in phantom(home, "devices", "-p", "alice").stderr
