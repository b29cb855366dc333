"""Looking back, and saying no: commands as people run them."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from e2e_people import meet

from phantom_messenger import Client
from phantom_messenger.cli import main
from phantom_messenger.cli.common import count, sentence
from support.amounts import amount
from support.command_line import PATIENCE, PHANTOM, Running, environment, phantom
from support.relay_process import RelayProcess, StartRelay

EARLY_SIGNAL = Path(__file__).parents[1] / "early_signal.py"


@pytest.fixture
def friends(tmp_path: Path, relay: RelayProcess) -> Path:
    home = tmp_path / "home"
    meet(home, relay)
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
    assert "there is no contact and no group 'carol'" in done.stderr
    wrong = phantom(friends, "history", "-p", "alice", "bob", "--since", "yesterday")
    assert wrong.returncode == 2
    assert "is not a date" in wrong.stderr


def rows(home: Path, profile: str) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in map(json.loads, out(home, "contacts", "list", "-p", profile, "--json"))}


def test_blocked_contact_writes_in_vain(friends: Path) -> None:
    assert out(friends, "contacts", "block", "-p", "bob", "alice") == ["blocked alice"]
    assert rows(friends, "bob")["alice"]["blocked"] is True
    assert "blocked" in out(friends, "contacts", "list", "-p", "bob")[0]
    assert out(friends, "send", "-p", "alice", "bob", "let me in")[0].startswith("accepted")
    refused = phantom(friends, "send", "-p", "bob", "alice", "no")
    assert refused.returncode == 2
    assert "phantom contacts unblock -p bob alice" in refused.stderr
    assert out(friends, "contacts", "unblock", "-p", "bob", "alice") == ["unblocked alice"]
    out(friends, "send", "-p", "alice", "bob", "second try")
    assert "second try" in out(friends, "listen", "-p", "bob", "--count", "1")[0]


def test_contact_is_removed_and_can_be_added_again(friends: Path) -> None:
    asked = phantom(friends, "contacts", "remove", "-p", "bob", "alice", stdin="n\n")
    assert asked.returncode == 1
    assert "nothing was done" in asked.stderr
    assert out(friends, "contacts", "remove", "-p", "bob", "alice", "--yes") == ["removed alice"]
    assert rows(friends, "bob") == {}
    assert phantom(friends, "send", "-p", "bob", "alice", "hello?").returncode == 2
    alice = out(friends, "id", "-p", "alice")[0]
    out(friends, "contacts", "add", "-p", "bob", "alice", alice)
    out(friends, "send", "-p", "bob", "alice", "back again", "--wait", "accepted")
    assert "back again" in out(friends, "listen", "-p", "alice", "--count", "1")[0]


def test_block_holds_here_while_the_relay_is_away(tmp_path: Path, start_relay: StartRelay) -> None:
    relay = start_relay()
    meet(tmp_path, relay)
    relay.stop()
    (line,) = out(tmp_path, "contacts", "block", "-p", "bob", "alice")
    assert line == "blocked alice; the relay will be notified the next time you connect"


def test_id_with_a_wrong_letter_is_refused(friends: Path) -> None:
    right = out(friends, "id", "-p", "bob")[0]
    wrong = right[:30] + ("q" if right[30] != "q" else "p") + right[31:]
    done = phantom(friends, "contacts", "add", "-p", "alice", "typo", wrong)
    assert done.returncode == 2
    assert done.stderr == "phantom: this ID has a wrong character; copy it again\n"
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
    assert out(tmp_path, "settings", "presence") == ["presence       on   contacts see that you are online"]
    assert out(tmp_path, "settings", "presence", "off") == ["presence       off  you appear offline"]
    assert out(tmp_path, "settings", "presence", "on")[0].split()[:2] == ["presence", "on"]
    assert out(tmp_path, "settings", "read-receipts", "off") == [
        "read-receipts  off  nobody learns that you have read a message"
    ]
    row = json.loads(out(tmp_path, "settings", "--json")[0])
    assert row == {"type": "settings", "readReceipts": False, "typing": True, "presence": True}
    assert phantom(tmp_path, "settings", "colour", "on").returncode == 2


# --- mistakes that people make ----------------------------------------------------


def said(home: Path, *arguments: str, code: int, stdin: str | None = None) -> str:
    """What a command that fails says."""
    done = phantom(home, *arguments, stdin=stdin)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_wrong_url_makes_nothing(tmp_path: Path) -> None:
    of_page = said(tmp_path, "init", "--server", "https://relay.example/", code=2)
    assert "is not the URL of a relay, but of its page; the relay's is wss://relay.example/ws" in of_page
    assert "put '-p NAME' behind the command" in said(tmp_path, "-p", "alice", "send", code=2)
    assert "is not the URL of a relay" in said(tmp_path, "init", "--server", "http://x", code=2)
    assert not (tmp_path / "profiles").exists()


def test_short_passphrase_is_refused_for_what_is_new_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.command_line.PASSPHRASE", "x")
    assert "at least 8 characters" in said(tmp_path, "init", code=2)
    assert not (tmp_path / "profiles").exists()
    Client.open("default", home=tmp_path, passphrase="x").close()  # as it was made by 0.1.0
    assert out(tmp_path, "id")[0].startswith("ph1")


def test_import_looks_at_the_file_before_it_asks(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("a letter")
    assert "No such file" in said(tmp_path, "import", str(tmp_path / "none"), code=1)
    assert "is not an exported profile" in said(tmp_path, "import", str(tmp_path / "other"), code=1)


def test_word_that_is_no_command_is_answered_with_the_one_that_was_meant(tmp_path: Path) -> None:
    assert "did you mean 'phantom contacts verify'?" in said(tmp_path, "verify", code=2)
    assert "did you mean 'phantom listen'?" in said(tmp_path, "lsten", code=2)
    assert "did you mean" not in said(tmp_path, "xyzzy", code=2)


def groups(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    """A group and those below it, with the words that call them."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from groups(found, *path, name)


@pytest.mark.parametrize(("path", "group"), list(groups(main.phantom)))
def test_help_shows_each_summary_on_one_line_of_80_columns(
    path: tuple[str, ...], group: click.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = click.Context(group, info_name=" ".join(path))
    monkeypatch.setenv("COLUMNS", "80")  # of a terminal, of which click leaves two free; its runner for tests does not
    listed = group.get_help(context)
    rows = listed.partition("Commands:\n")[2].splitlines()
    shown = dict(row.split(maxsplit=1) for row in rows)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    assert shown == {name: command.short_help for name, command in found.items() if command is not None}
    assert all(summary.endswith(".") and not summary.endswith("...") for summary in shown.values())


SUGGESTIONS = {
    "add one with 'phantom contacts add NAME ID'": "add one with 'phantom contacts add -p bob NAME ID'",
    "'phantom requests' lists them": "'phantom requests -p bob' lists them",
    "run: phantom listen -p bob": "run: phantom listen -p bob",
    "ask them for the output of 'phantom id'": "ask them for the output of 'phantom id'",
}


@pytest.mark.parametrize(("said", "shown"), SUGGESTIONS.items())
def test_suggested_command_names_the_profile(said: str, shown: str) -> None:
    with click.Context(click.Command("any")) as context:
        context.params["profile"] = "bob"
        assert sentence(said) == shown
        context.params["profile"] = "default"
        assert sentence(said) == said


PROFILES = {
    "contacts list": "carol",
    "contacts list -p alice": "alice",
    "contacts -p alice list": "alice",
    "contacts -p bob list -p alice": "alice",
    "requests -p alice list": "alice",
    "requests -p alice": "alice",
}


@pytest.mark.parametrize(("command", "profile"), PROFILES.items())
def test_profile_that_is_named_counts_more_than_the_environment(tmp_path: Path, command: str, profile: str) -> None:
    settings = {"PHANTOM_PROFILE": "carol", "PHANTOM_HOME": str(tmp_path)}
    told = CliRunner(env=settings).invoke(main.phantom, command.split()).output
    assert f"profile '{profile}' does not exist" in told


@pytest.mark.parametrize(("number", "shown"), [(0, "0 messages"), (1, "1 message"), (2_000, "2,000 messages")])
def test_number_of_things_is_said_as_one_would(number: int, shown: str) -> None:
    assert count(number, "message") == shown


def test_program_is_a_module_too() -> None:
    shown = subprocess.run([sys.executable, "-m", "phantom_messenger", "--version"], capture_output=True, check=True)
    assert shown.stdout.startswith(b"phantom, version")


@pytest.mark.parametrize("text", ["", "   ", "\u3164", "\n"])
def test_text_in_which_there_is_nothing_to_see_is_not_sent(tmp_path: Path, text: str) -> None:
    for arguments, stdin in (((text,), None), (("-",), text)):
        error = said(tmp_path, "send", "bob", *arguments, code=2, stdin=stdin)
        assert "the message is empty, or has no visible characters" in error


def test_lines_of_windows_are_sent_as_lines(friends: Path) -> None:
    assert phantom(friends, "send", "-p", "alice", "bob", "-", stdin="\ufeffone\r\ntwo\r\n").returncode == 0
    heard = json.loads(phantom(friends, "listen", "-p", "bob", "--json", "--count", "1").stdout)
    assert heard["text"] == "one\ntwo"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="/dev/full is not a device here")
def test_output_that_cannot_be_written_is_no_bug() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PHANTOM, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "phantom: No space left on device\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_listen_that_is_ended_leaves_nothing_half_done(friends: Path, number: signal.Signals, code: int) -> None:
    listener = Running(friends, "listen", "-p", "bob")
    assert phantom(friends, "send", "-p", "alice", "bob", "one", "--wait", "read").returncode == 0
    listener.wait_for(1)
    assert listener.stop(number) == code
    assert listener.errors == []
    (line,) = out(friends, "history", "-p", "bob", "alice")
    assert line.endswith("alice: one")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of somebody whose relay is not there; to be copied."""
    home = tmp_path_factory.mktemp("begun")
    phantom(home, "init", "--server", "ws://127.0.0.1:9/ws")
    return home


MOMENTS = ("loading", "opening", "running", "looping")
ENDED = (
    ("listen", "SIGINT", (0, "")),
    ("chat", "SIGINT", (0, "")),
    ("listen", "SIGTERM", (143, "")),
    ("chat", "SIGTERM", (143, "")),
    ("send", "SIGTERM", (143, "")),
    ("send", "SIGINT", (1, "\nphantom: interrupted\n")),  # the control
)
STEP = amount(2, 1)
EARLY = [(moment, *case) for at, case in enumerate(ENDED) for moment in MOMENTS[(at + at // 2) % STEP :: STEP]]
"""In the short form each command meets each moment with one of its two signals, and each signal meets all moments."""


@pytest.mark.parametrize(("moment", "command", "number", "end"), EARLY)
def test_command_that_is_ended_while_it_begins_ends_as_it_does_later(
    begun: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    moment: str,
    command: str,
    number: str,
    end: tuple[int, str],
) -> None:
    home = shutil.copytree(begun, tmp_path / "home")
    monkeypatch.setenv("SIGNAL", number)
    monkeypatch.setenv("MOMENT", moment)
    arguments = {"listen": (), "chat": ("bob",), "send": ("bob", "hello")}[command]
    done = subprocess.run(
        [sys.executable, str(EARLY_SIGNAL), command, *arguments],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == end
    assert done.stdout == ""


# --- strangers --------------------------------------------------------------------


def test_stranger_waits_until_they_are_let_in(friends: Path, relay: RelayProcess) -> None:
    out(friends, "init", "-p", "carol", "--server", relay.url)
    bob = out(friends, "id", "-p", "bob")[0]
    carol = out(friends, "id", "-p", "carol")[0]
    listener = Running(friends, "listen", "-p", "bob")
    out(friends, "send", "-p", "carol", bob, "do you know me?")
    out(friends, "send", "-p", "carol", bob, "I burn", "--burn")
    out(friends, "send", "-p", "alice", "bob", "hello")
    assert "alice: hello" in listener.wait_for(1)[0]
    assert listener.stop() == 0
    show = f"phantom requests show -p bob {carol[:11]}"
    assert listener.errors == [f"phantom: message request from {carol[:11]}…; to read it, run: {show}"]
    (line,) = out(friends, "requests", "-p", "bob")
    assert out(friends, "requests", "-p", "bob", "list") == [line]
    assert line.startswith("2 messages, here since ")
    assert "; to read them, run: " in line
    assert line.endswith(f"phantom requests show -p bob {carol[:11]}")
    (row,) = map(json.loads, out(friends, "requests", "list", "-p", "bob", "--json"))
    assert (row["type"], row["id"], row["waiting"]) == ("request", carol, 2)
    shown = out(friends, "requests", "show", "-p", "bob", carol[:11])
    assert shown[0] == f"from {carol}:"
    assert shown[1].endswith(": do you know me?")
    assert shown[2].endswith("(burns): I burn")
    assert "there is no message request from" in phantom(friends, "requests", "show", "-p", "bob", "alice").stderr
    accepted = out(friends, "requests", "accept", "-p", "bob", carol[:11], "carol")
    assert accepted == ["accepted carol; to read their messages, run: phantom listen -p bob"]
    heard = out(friends, "listen", "-p", "bob", "--count", "2")
    assert [text.partition(" ")[2] for text in heard] == ["carol: do you know me?", "carol (burned): I burn"]
    assert "no message requests" in phantom(friends, "requests", "list", "-p", "bob").stderr


def first_column(home: Path, profile: str) -> list[str]:
    """The names in a list of contacts."""
    return [line.partition("ph1")[0].strip() for line in out(home, "contacts", "list", "-p", profile)]


def test_stranger_is_blocked_unread(friends: Path, relay: RelayProcess) -> None:
    out(friends, "init", "-p", "carol", "--server", relay.url)
    bob = out(friends, "id", "-p", "bob")[0]
    out(friends, "send", "-p", "carol", bob, "buy now")
    assert first_column(friends, "carol") == ["(no name)"], "whom one has written to is no stranger"
    for reminder in (
        "message request from ph1",
        "you have 1 message request from a stranger; see: phantom requests -p",
    ):
        out(friends, "send", "-p", "alice", "bob", "hello")
        assert reminder in phantom(friends, "listen", "-p", "bob", "--count", "1").stderr
    assert set(first_column(friends, "bob")) <= {"alice", "(stranger)"}
    assert re.match("1 message, here since .*; to read it, run: ", out(friends, "requests", "-p", "bob")[0])
    carol = out(friends, "id", "-p", "carol")[0]
    assert out(friends, "requests", "block", "-p", "bob", carol)[0].startswith("blocked ")
    assert out(friends, "requests", "list", "-p", "bob") == []


def test_bot_lets_everybody_in(friends: Path, relay: RelayProcess) -> None:
    out(friends, "init", "-p", "carol", "--server", relay.url)
    bob = out(friends, "id", "-p", "bob")[0]
    out(friends, "send", "-p", "carol", bob, "ping")
    assert "ping" in out(friends, "listen", "-p", "bob", "--count", "1", "--accept-strangers")[0]


def test_ctrl_c_while_the_command_line_is_loaded_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, "-m", "phantom_messenger", "id"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "\nphantom: interrupted\n")


def test_input_that_ends_at_a_question_does_not_share_its_line(friends: Path) -> None:
    asked = phantom(friends, "contacts", "remove", "-p", "bob", "alice", stdin="")
    assert asked.returncode == 1
    assert asked.stderr.endswith("]: \nphantom: nothing was done: there is nobody to answer; answer with --yes\n")
