"""Looking back, and saying no: commands as people run them."""

import json
from pathlib import Path

import pytest
from e2e_people import meet

from support.command_line import phantom
from support.relay_process import RelayProcess


@pytest.fixture
def friends(tmp_path: Path, relay: RelayProcess) -> Path:
    home = tmp_path / "home"
    meet(home, relay.url)
    return home


def out(home: Path, *arguments: str) -> list[str]:
    """The lines of a command that succeeds."""
    done = phantom(home, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_history_shows_both_sides(friends: Path) -> None:
    out(friends, "send", "-p", "alice", "bob", "shall we meet?")
    out(friends, "listen", "-p", "bob", "--count", "1")
    out(friends, "send", "-p", "bob", "alice", "on Monday")
    out(friends, "listen", "-p", "alice", "--count", "1")
    first, second = out(friends, "history", "-p", "alice", "bob")
    assert first.endswith("you (read): shall we meet?")
    assert second.endswith("bob: on Monday")
    assert out(friends, "history", "-p", "alice", "bob", "--search", "MONDAY") == [second]
    assert out(friends, "history", "-p", "alice", "bob", "--limit", "1", "--since", "1h") == [second]
    assert out(friends, "history", "-p", "alice", "bob", "--since", "2999-01-01") == []
    rows = [json.loads(line) for line in out(friends, "history", "-p", "bob", "alice", "--json")]
    assert [(row["own"], row["text"], row["name"]) for row in rows] == [
        (False, "shall we meet?", "alice"),
        (True, "on Monday", "alice"),
    ]
    assert {row["type"] for row in rows} == {"history"}


def test_history_of_nobody_is_one_sentence(friends: Path) -> None:
    done = phantom(friends, "history", "-p", "alice", "carol")
    assert done.returncode == 2
    assert "there is no contact 'carol'" in done.stderr
    wrong = phantom(friends, "history", "-p", "alice", "bob", "--since", "yesterday")
    assert wrong.returncode == 2
    assert "is no date" in wrong.stderr
