"""A chat on a terminal: its keys, its commands, and what it shows of before."""

import re
import sys
import time
from pathlib import Path

import pytest
from e2e_people import meet
from e2e_terminal import Terminal

from phantom_messenger.cli.chat import HELP, Text, own_line, parse_line
from phantom_messenger.cli.status_line import StatusLine
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    Trust,
    WarningEvent,
)
from support.command_line import phantom
from support.relay_process import RelayProcess

SLOW_SEND = Path(__file__).parents[1] / "slow_send.py"
BOB = Contact(name="bob", user_id="id", trust=Trust.VERIFIED, key=None)


@pytest.fixture
def friends(tmp_path: Path, relay: RelayProcess) -> Path:
    home = tmp_path / "home"
    meet(home, relay)
    return home


@pytest.mark.filterwarnings("ignore:This process")  # a thread of a test before may live on; the child only execs
def test_keys_and_commands_of_a_chat(friends: Path) -> None:
    alice = Terminal(friends, "chat", "-p", "alice", "bob")
    alice.wait_for("/help shows more")
    alice.type("/help\r")
    alice.wait_for("Alt-Enter")
    alice.type("/nonsense\r")
    alice.wait_for("not sent: there is no command /nonsense")
    alice.type("never mind\x03")  # Ctrl-C clears
    alice.type("\x1a")  # Ctrl-Z is no text; no shell is there to stop for
    alice.type("one\x1b\rtwo\r")  # Alt-Enter
    alice.wait_for("        two")
    assert re.search(r"\d\d:\d\d you: one\n        two", alice.shown)
    alice.type("three\rfour\r")  # a paste that the terminal does not mark
    alice.wait_for("        four")
    alice.type("/burn gone soon\r")
    alice.wait_for("you (burns): gone soon")
    alice.type("//slash\r")
    alice.wait_for("you: /slash")
    alice.type("/quit\r")
    assert alice.ended() == 0
    heard = phantom(friends, "listen", "-p", "bob", "--count", "4").stdout
    texts = ["alice: one\n        two", "alice: three\n        four", "alice (burned): gone soon", "alice: /slash"]
    assert re.sub(r"(?m)^\d\d:\d\d ", "", heard).splitlines() == "\n".join(texts).splitlines()
    again = Terminal(friends, "chat", "-p", "bob", "alice")
    again.wait_for("talking with alice")
    before = again.shown.split("talking with")[0]
    assert re.findall(r"alice: (.*)", before) == ["one", "three", "[burned]", "/slash"]
    again.type("\x03")  # Ctrl-C with nothing typed leaves
    assert again.ended() == 0


@pytest.mark.filterwarnings("ignore:This process")
def test_ctrl_c_while_a_message_is_being_stored_is_a_key(friends: Path) -> None:
    alice = Terminal(friends, "chat", "-p", "alice", "bob", program=[sys.executable, str(SLOW_SEND)])
    alice.wait_for("/help shows more")
    alice.type("one\r")
    while not (friends / "sending").exists():  # no prompt is there until it is stored
        time.sleep(0.01)
    alice.type("never mind\x03two\r")
    (friends / "go-on").touch()
    alice.wait_for(re.compile(r"\d\d:\d\d you: one\n\d\d:\d\d you: two"))
    assert alice.leave() == 0


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("hello", Text("hello")),
        ("/burn psst", Text("psst", burn=True)),
        ("/expire 10m soon gone", Text("soon gone", expires_in=600.0)),
        ("//help", Text("/help")),
        ("/home/me/file", Text("/home/me/file")),
        ("/ alone", Text("/ alone")),
        ("/help", HELP),
        ("/quit", None),
        ("/burn", "(usage: /burn TEXT)"),
        ("/expire 10m", "(usage: /expire TIME TEXT)"),
        ("/expire soon x", "('soon' is not a time; write it like 30s, 10m, 1h or 7d)"),
        ("\u3164", "(not sent: it has no visible characters)"),
        ("/shrug hi", "(not sent: there is no command /shrug; /help lists them, and //TEXT sends /TEXT)"),
    ],
)
def test_typed_line_is_a_text_or_a_command(line: str, meaning: object) -> None:
    assert parse_line(line) == meaning


def test_own_line_says_when_and_shows_no_code() -> None:
    assert re.fullmatch(r"\d\d:\d\d you \(burns\): a\n        b<001B>", own_line("a\nb\x1b", " (burns)"))


def test_text_that_waits_says_why() -> None:
    line = StatusLine(BOB)
    line.sent("m")
    assert line.show().endswith("last message · waiting: not connected")
    line.update(ConnectionEvent(state=ConnectionState.ONLINE, reason=""))
    assert line.show().endswith("· waiting")
    line.update(WarningEvent(peer=None, code="paused", message="messages wait 40 seconds"))
    assert line.show().endswith("· waiting: rate-limited by the relay")
    line._sent_at -= 12
    assert "· waiting 12 s: rate-limited by the relay" in line.show()
    line.update(DeliveryEvent(message_id="m", peer=BOB, state=DeliveryState.ACCEPTED))
    assert line.show().endswith("✓ sent")
