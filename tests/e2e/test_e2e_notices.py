"""Notices in a chat come after the messages that were there before them."""

import re
from functools import partial
from pathlib import Path

import pytest
from e2e_people import meet
from e2e_terminal import Terminal

from phantom_messenger.cli.notices import Notices
from support.command_line import phantom
from support.relay_process import RelayProcess


def play(steps: str, *, unread: str = "", notices: Notices | None = None) -> str:
    """What is seen of it: ``a`` arrives, ``A`` is printed, ``1`` is a notice, ``!`` releases."""
    seen: list[str] = []
    told = notices or Notices(unread)
    for one in steps:
        if one.isdigit():
            told.say(partial(seen.append, one))
        elif one == "!":
            told.release()
        elif one.islower():
            told.arrived(one)
        else:
            seen.append(one)
            told.printed(one.lower())
    return "".join(seen)


@pytest.mark.parametrize(
    ("steps", "unread", "seen"),
    [
        ("1", "", "1"),
        ("a1A", "", "A1"),
        ("1A", "a", "A1"),
        ("a1b2BA3", "", "BA123"),
        ("a1bA2B", "", "A1B2"),
        ("A1", "a", "A1"),
        ("Aa1", "", "A1"),
        ("a12!A3", "", "12A3"),
        ("ab1!c2C", "", "1C2"),
    ],
)
def test_notice_waits_for_what_came_before_it_and_for_nothing_else(steps: str, unread: str, seen: str) -> None:
    assert play(steps, unread=unread) == seen


def test_control_notice_that_waits_for_nothing_comes_first() -> None:
    class AtOnce(Notices):
        def arrived(self, message_id: str) -> None:
            """As it was."""

    assert play("a1A", notices=AtOnce("")) == "1A"


@pytest.mark.filterwarnings("ignore:This process")
def test_chat_shows_what_was_written_and_what_was_done_in_their_order(tmp_path: Path, relay: RelayProcess) -> None:
    meet(tmp_path, relay)
    assert phantom(tmp_path, "groups", "create", "-p", "alice", "Tea", "bob").returncode == 0
    assert phantom(tmp_path, "groups", "accept", "-p", "bob", "Tea").returncode == 0
    for number in range(5):
        assert phantom(tmp_path, "send", "-p", "alice", "Tea", f"text {number}").returncode == 0
    assert phantom(tmp_path, "groups", "rename", "-p", "alice", "Tea", "Coffee").returncode == 0
    chat = Terminal(tmp_path, "chat", "-p", "bob", "Tea")
    chat.wait_for(re.compile("renamed the group"))
    shown = re.findall(r"text \d|renamed the group", chat.shown)
    assert shown == [*(f"text {number}" for number in range(5)), "renamed the group"]
    assert chat.leave() == 0
