"""Looking back, and saying no: commands as people run them."""

import json
from pathlib import Path

import pytest
from e2e_people import meet

from support.command_line import phantom
from support.relay_process import RelayProcess, StartRelay


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


def rows(home: Path, profile: str) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in map(json.loads, out(home, "contacts", "list", "-p", profile, "--json"))}


def test_blocked_contact_writes_in_vain(friends: Path) -> None:
    assert out(friends, "contacts", "block", "-p", "bob", "alice") == ["alice is blocked"]
    assert rows(friends, "bob")["alice"]["blocked"] is True
    assert "blocked" in out(friends, "contacts", "list", "-p", "bob")[0]
    assert out(friends, "send", "-p", "alice", "bob", "let me in")[0].startswith("accepted")
    refused = phantom(friends, "send", "-p", "bob", "alice", "no")
    assert refused.returncode == 2
    assert "phantom contacts unblock alice" in refused.stderr
    assert out(friends, "contacts", "unblock", "-p", "bob", "alice") == ["alice is unblocked"]
    out(friends, "send", "-p", "alice", "bob", "second try")
    assert "second try" in out(friends, "listen", "-p", "bob", "--count", "1")[0]


def test_contact_is_removed_and_can_be_added_again(friends: Path) -> None:
    asked = phantom(friends, "contacts", "remove", "-p", "bob", "alice", stdin="n\n")
    assert asked.returncode == 1
    assert "nothing was done" in asked.stderr
    assert out(friends, "contacts", "remove", "-p", "bob", "alice", "--yes") == ["alice is removed"]
    assert rows(friends, "bob") == {}
    assert phantom(friends, "send", "-p", "bob", "alice", "hello?").returncode == 2
    alice = out(friends, "id", "-p", "alice")[0]
    out(friends, "contacts", "add", "-p", "bob", "alice", alice)
    out(friends, "send", "-p", "bob", "alice", "back again", "--wait", "accepted")
    assert "back again" in out(friends, "listen", "-p", "alice", "--count", "1")[0]


def test_block_holds_here_while_the_relay_is_away(tmp_path: Path, start_relay: StartRelay) -> None:
    relay = start_relay()
    meet(tmp_path, relay.url)
    relay.stop()
    (line,) = out(tmp_path, "contacts", "block", "-p", "bob", "alice")
    assert line == "alice is blocked; the relay is told at the next contact"


def test_id_with_a_wrong_letter_is_refused(friends: Path) -> None:
    right = out(friends, "id", "-p", "bob")[0]
    wrong = right[:30] + ("q" if right[30] != "q" else "p") + right[31:]
    done = phantom(friends, "contacts", "add", "-p", "alice", "typo", wrong)
    assert done.returncode == 2
    assert done.stderr == "phantom: a character of this id is wrong; copy it again\n"
    assert list(rows(friends, "alice")) == ["bob"]


def test_name_that_looks_like_another_needs_yes(friends: Path) -> None:
    right = out(friends, "id", "-p", "bob")[0]
    other = phantom(friends, "init", "-p", "mallory", "--server", "ws://127.0.0.1:9/ws")
    mallory = next(line.split()[-1] for line in other.stdout.splitlines() if line.startswith("your id"))
    twin = "b\u043eb"
    done = phantom(friends, "contacts", "add", "-p", "alice", twin, mallory)
    assert done.returncode == 2
    assert "looks like your contact 'bob'" in done.stderr
    out(friends, "contacts", "add", "-p", "alice", twin, mallory, "--yes")
    (line,) = out(friends, "contacts", "add", "-p", "alice", "Bob the builder", right)
    assert line.endswith("write with: phantom send -p alice 'Bob the builder' TEXT")


def test_settings_are_kept(tmp_path: Path) -> None:
    phantom(tmp_path, "init", "--server", "ws://127.0.0.1:9/ws")
    assert [line.split()[:2] for line in out(tmp_path, "settings")] == [
        ["read-receipts", "on"],
        ["typing", "on"],
        ["presence", "on"],
    ]
    assert out(tmp_path, "settings", "read-receipts", "off")[0].split()[:2] == ["read-receipts", "off"]
    row = json.loads(out(tmp_path, "settings", "--json")[0])
    assert row == {"type": "settings", "readReceipts": False, "typing": True, "presence": True}
    assert phantom(tmp_path, "settings", "colour", "on").returncode == 2
