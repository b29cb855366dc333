"""A chat on a terminal: its keys, its commands, and what it shows of before."""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from e2e_people import NOWHERE, meet, meet_offline
from e2e_terminal import Terminal

from phantom_messenger.cli.chat import HELP, Text, _as_long_as_it_works, parse_line
from phantom_messenger.cli.status_line import StatusLine
from phantom_messenger.cli.talk import PersonTalk, own_line
from phantom_messenger.client.errors import ClientClosed, Replaced, VaultDamaged
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    PresenceEvent,
    Trust,
    WarningEvent,
)
from support.command_line import phantom
from support.relay_process import RelayProcess
from support.sdk_clients import PATIENCE, opened, run

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
    alice.wait_for(re.compile(r"\d\d:\d\d you: one\n        two"))
    alice.type("three\rfour\r")  # a paste that the terminal does not mark
    alice.wait_for("        four")
    alice.type("/burn gone soon\r")
    alice.wait_for("you (burns): gone soon")
    alice.type("//slash\r")
    alice.wait_for("you: /slash")
    alice.type("/Burn stays here\r")
    alice.wait_for("not sent: there is no command /Burn")
    alice.type("\x1b[200~pasted\nhere\n\x1b[201~\r")  # a paste with a line end behind it, that the terminal marks
    alice.wait_for("        here")
    alice.type("/quit\r")
    assert alice.ended() == 0
    heard = phantom(friends, "listen", "-p", "bob", "--count", "5").stdout
    texts = ["alice: one\n        two", "alice: three\n        four", "alice (burned): gone soon", "alice: /slash"]
    texts.append("alice: pasted\n        here")
    assert re.sub(r"(?m)^\d\d:\d\d ", "", heard).splitlines() == "\n".join(texts).splitlines()
    again = Terminal(friends, "chat", "-p", "bob", "alice")
    again.wait_for("talking with alice")
    before = again.shown.split("talking with")[0]
    assert re.findall(r"alice: (.*)", before) == ["one", "three", "[burned]", "/slash", "pasted"]
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


@pytest.mark.filterwarnings("ignore:This process")
@pytest.mark.parametrize(
    ("leave", "code"),
    [
        (lambda chat: chat.leave(), 0),
        (lambda chat: (chat.type("\x03"), chat.ended())[1], 0),
        (lambda chat: (chat.type("half a line"), chat.terminate())[1], 143),
    ],
    ids=["Ctrl-D", "Ctrl-C", "SIGTERM"],
)
def test_chat_leaves_the_terminal_as_it_was(tmp_path: Path, leave: Callable[[Terminal], int], code: int) -> None:
    meet_offline(tmp_path)
    chat = Terminal(tmp_path, "chat", "-p", "alice", "bob")
    chat.wait_for("/help shows more")
    chat.type("")  # control: it takes it for itself
    assert not chat.reads_lines
    assert leave(chat) == code
    assert chat.is_left_as_it_was


@pytest.mark.parametrize("ended_by", [VaultDamaged("no page"), ClientClosed("removed"), ZeroDivisionError("a fault")])
def test_chat_ends_when_a_part_of_it_has_failed(ended_by: Exception) -> None:
    ended = []

    async def play() -> None:
        async def lines() -> None:
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                ended.append("lines")

        async def fails() -> None:
            await asyncio.sleep(0)
            raise ended_by

        async def goes_on() -> None:
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                ended.append("other")

        await _as_long_as_it_works(lines(), [asyncio.create_task(fails()), asyncio.create_task(goes_on())])

    with pytest.raises(type(ended_by)):
        run(play())
    assert sorted(ended) == ["lines", "other"]


def test_control_chat_goes_on_when_a_part_of_it_has_nothing_more_to_do() -> None:
    taken = []

    async def play() -> None:
        async def lines() -> None:
            for line in range(9):
                await asyncio.sleep(0)
                taken.append(line)

        async def ends(failure: Exception | None) -> None:
            if failure is not None:
                raise failure

        await _as_long_as_it_works(lines(), [asyncio.create_task(ends(one)) for one in (None, Replaced("elsewhere"))])

    run(play())
    assert len(taken) == 9


def unknown(word: str) -> str:
    return f"(not sent: there is no command {word}; /help lists the commands, and //TEXT sends /TEXT)"


SPACED = unknown("").replace("there is no command ", "a command has no space before or behind its slash")


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("hello", Text("hello")),
        ("/burn psst", Text("psst", burn=True)),
        ("/burn\npsst", Text("psst", burn=True)),
        ("/expire 10m soon gone", Text("soon gone", expires_in=600.0)),
        ("//help", Text("/help")),
        (" //burn x", Text(" /burn x")),
        ("/help", HELP),
        ("/quit", None),
        ("/exit", None),
        ("/burn", "(usage: /burn TEXT)"),
        ("/expire", "(usage: /expire TIME TEXT)"),
        ("/expire 10m", "(usage: /expire TIME TEXT)"),
        ("/expire soon x", "('soon' is not a time; write it like 30s, 10m, 1h or 7d)"),
        ("\u3164", "(not sent: it has no visible characters)"),
        ("1/2", Text("1/2")),
    ],
)
def test_typed_line_is_a_text_or_a_command(line: str, meaning: object) -> None:
    assert parse_line(line) == meaning


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/shrug hi", unknown("/shrug")),
        ("/Burn secret", unknown("/Burn")),
        ("/BURN x", unknown("/BURN")),
        ("/burn: x", unknown("/burn:")),
        ("/burn-x", unknown("/burn-x")),
        ("/burn,\nx", unknown("/burn,")),
        ("/quit.", unknown("/quit.")),
        ("/2 x", unknown("/2")),
        ("/", unknown("/")),
        (f"/{'x' * 99}", unknown(f"/{'x' * 39}")),
        ("/ burn x", SPACED),
        (" /burn x", SPACED),
        ("\n/burn x", SPACED),
        ("\u3000/Burn x", SPACED),
    ],
)
def test_mistyped_command_is_not_sent_as_a_text_that_stays(line: str, shown: str) -> None:
    assert parse_line(line) == shown


@pytest.mark.parametrize("line", ["/etc/passwd", "/home/me/file is it", "/burns/x", "/2/x", "/étage/x", "/.ssh/x"])
def test_path_is_sent_as_it_is(line: str) -> None:
    assert parse_line(line) == Text(line)


@pytest.mark.parametrize("line", ["/burn/x", "/Burn/x", "/burn:/x", "/expire-/x", "/ etc/x", "//etc/x"])
def test_control_what_begins_with_a_command_is_no_path(line: str) -> None:
    assert parse_line(line) != Text(line)


def test_commands_hold_for_the_lines_of_a_file(friends: Path) -> None:
    lines = "/burn one\n/Burn two\n/burn\n//three\n/four/five\n/quit\nsix\n"
    sent = phantom(friends, "chat", "-p", "alice", "bob", stdin=lines)
    assert (sent.returncode, sent.stdout) == (1, "")
    assert sent.stderr.splitlines() == [
        "phantom: a line was not sent: there is no command /Burn; /help lists the commands, and //TEXT sends /TEXT",
        "phantom: a line was not sent: usage: /burn TEXT",
        "phantom: /quit ends it; what follows is not read",
        "phantom: 2 lines not sent, as said above",
    ]
    whole = phantom(friends, "chat", "-p", "alice", "bob", stdin="/burn seven\n")
    assert (whole.returncode, whole.stderr) == (0, ""), "control: all were sent"
    heard = phantom(friends, "listen", "-p", "bob", "--count", "3").stdout
    assert re.findall(r"alice(.*)", heard) == [" (burned): one", ": /three", ": /four/five"]


def test_own_line_says_when_and_shows_no_code() -> None:
    assert re.fullmatch(r"\d\d:\d\d you \(burns\): a\n        b<001B>", own_line("a\nb\x1b", " (burns)"))


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (None, "you: online   bob: offline, last seen 2020-09-13 00:00   verified   last message ✓ sent"),
        (87, "you: online   bob: offline, last seen 2020-09-13 00:00   verified   last message ✓ sent"),
        (86, "you: online   bob: offline   verified   ✓ sent"),
        (46, "you: online   bob: offline   verified   ✓ sent"),
        (40, "bob: offline   verified   ✓ sent"),
        (25, "bob: offline   ✓ sent"),
        (10, "✓ sent"),
        (3, "✓ sent"),
    ],
)
def test_narrow_terminal_shows_how_far_a_text_is_before_all_else(
    columns: int | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phantom_messenger.cli.status_line.moment", lambda _: "2020-09-13 00:00")
    line = StatusLine(BOB)
    line.update(ConnectionEvent(state=ConnectionState.ONLINE, reason=""))
    line.update(PresenceEvent(peer=BOB, status="offline", last_seen=1))
    line.sent("m")
    line.update(DeliveryEvent(message_id="m", peer=BOB, state=DeliveryState.ACCEPTED))
    assert line.show(columns) == shown


def test_narrow_terminal_shows_why_a_text_waits_or_that_there_is_no_connection() -> None:
    line = StatusLine(BOB)
    assert line.show(20) == "you: connecting"
    line.sent("m")
    line._sent_at -= 4
    assert line.show(80) == "you: connecting   bob   verified   · waiting 4 s: not connected"
    assert line.show(45) == "bob   verified   · waiting 4 s: not connected"
    assert line.show(29) == "· waiting 4 s: not connected"


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


def test_past_text_that_was_shown_as_waiting_is_said_to_be_sent_once_it_is() -> None:
    line = StatusLine(BOB)
    line.waits({"k": "10:00 you: one", "m": "10:01 you: two"})
    assert line.show().endswith("last message · waiting: not connected"), "and for how long before is not known"
    line.update(ConnectionEvent(state=ConnectionState.ONLINE, reason=""))

    def delivered(message_id: str, state: DeliveryState) -> str:
        return line.update(DeliveryEvent(message_id=message_id, peer=BOB, state=state))

    assert delivered("k", DeliveryState.QUEUED) == ""
    assert delivered("k", DeliveryState.ACCEPTED) == "sent now: 10:00 you: one"
    assert line.show().endswith("· waiting"), "the last one is not"
    assert delivered("m", DeliveryState.FAILED) == "failed now: 10:01 you: two"
    assert line.show().endswith("✗ failed")
    assert delivered("k", DeliveryState.READ) == "", "once"
    assert delivered("typed here", DeliveryState.ACCEPTED) == "", "control: others are not spoken of"


@pytest.mark.filterwarnings("ignore:This process")
def test_chat_that_shows_a_waiting_text_says_when_it_is_sent(friends: Path, relay: RelayProcess) -> None:
    relay.kill()
    assert phantom(friends, "send", "-p", "alice", "bob", "from before", "--timeout", "1s").returncode == 1
    chat = Terminal(friends, "chat", "-p", "alice", "bob")
    chat.wait_for("you (waiting): from before")
    chat.wait_for("last message · waiting: not connected")
    relay.start()
    chat.wait_for(re.compile(r"\(sent now: \d\d:\d\d you: from before\)"))
    chat.wait_for("last message ✓ sent")
    assert chat.leave() == 0


def test_chat_goes_on_with_somebody_who_has_another_name_now(tmp_path: Path) -> None:
    meet_offline(tmp_path)
    with closing(opened(tmp_path, "alice", NOWHERE)) as alice:
        talk = PersonTalk(alice, "bob")
        other = alice.contacts.remove("bob")  # as if on another device
        alice.contacts.add("rob", other.user_id)
        talk.ask_presence()
        sent = run(talk.send("hello", burn=False, expires_in=None))
        assert talk.past(1)[0].endswith(": hello")
        assert alice.history("rob")[0].message_id == sent.message_id
