"""What people see: a chat on a terminal, input from files, wss with a certificate of one's own, ``make run``."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from e2e_people import meet
from e2e_terminal import Terminal

from phantom_messenger.cli.status_line import StatusLine
from phantom_messenger.client.status import Contact, MessageEvent, PresenceEvent, Trust
from support.certificates import self_signed
from support.command_line import QUICK, Running, environment, phantom
from support.relay_process import RelayProcess, StartRelay

ROOT = Path(__file__).parents[2]
PATIENCE = 100.0


@pytest.fixture
def friends(tmp_path: Path, relay: RelayProcess) -> Path:
    home = tmp_path / "home"
    meet(home, relay)
    return home


@pytest.mark.filterwarnings("ignore:This process")  # a thread of a test before may live on; the child only execs
def test_chat_shows_texts_presence_typing_and_how_far_a_text_came(friends: Path) -> None:
    alice = Terminal(friends, "chat", "-p", "alice", "bob")
    alice.wait_for("talking with bob")
    alice.wait_for("you: online")
    bob = Terminal(friends, "chat", "-p", "bob", "alice")
    alice.wait_for("bob: online")
    alice.type("hello bob\r")
    bob.wait_for("alice: hello bob")
    alice.wait_for("✓✓ read")
    bob.type("hello alice\r")
    alice.wait_for("bob: hello alice")
    time.sleep(4.5)  # typing notices are that far apart
    bob.type("and")
    alice.wait_for("typing…")
    bob.type("\x15")
    assert bob.leave() == 0
    assert alice.leave() == 0


@pytest.mark.filterwarnings("ignore:This process")  # as above
@pytest.mark.parametrize(("command", "code"), [("listen", 0), ("chat bob", 0), ("send bob hello", 1)])
def test_ctrl_c_at_the_passphrase_ends_a_command_as_it_does_later(tmp_path: Path, command: str, code: int) -> None:
    phantom(tmp_path, "init", "--server", "ws://127.0.0.1:9/ws")
    asked = Terminal(tmp_path, *command.split(), without=("PHANTOM_PASSPHRASE",))
    asked.wait_for("Passphrase for 'default':")
    assert asked.interrupt() == code


OVERLOOKS = """
import getpass, signal

def overlook(number, frame):
    signal.signal(signal.SIGINT, signal.default_int_handler)

signal.signal(signal.SIGINT, overlook)
try:
    getpass.getpass()
except KeyboardInterrupt:
    raise SystemExit(5) from None
"""
"""A program that overlooks the first Ctrl-C, as any may right before it begins to read."""


@pytest.mark.filterwarnings("ignore:This process")  # as above
def test_ctrl_c_is_pressed_again_while_a_program_still_asks(tmp_path: Path) -> None:
    assert Terminal(tmp_path, program=[sys.executable, "-c", OVERLOOKS]).interrupt() == 5


def test_text_that_has_come_ends_typing() -> None:
    contact = Contact(name="bob", user_id="id", trust=Trust.VERIFIED, key=None)
    line = StatusLine(contact)
    line.update(PresenceEvent(peer=contact, status="typing", last_seen=None))
    assert "typing…" in line.show()
    line.update(MessageEvent(message_id="m", peer=contact))
    assert "typing…" not in line.show()


def test_chat_sends_the_lines_of_a_file_and_tells_which_it_cannot(friends: Path) -> None:
    lines = f"one\n\ntwo\n{'x' * 70_000}\nthree\n"
    sent = phantom(friends, "chat", "-p", "alice", "bob", stdin=lines)
    assert sent.returncode == 1, "a script is to see that something is missing"
    assert "40,000" in sent.stderr
    assert sent.stderr.endswith("\nphantom: 1 line not sent, as said above\n")
    heard = phantom(friends, "listen", "-p", "bob", "--count", "3").stdout
    assert re.findall(r"alice: (.*)", heard) == ["one", "two", "three"]


def test_chat_without_any_input_ends(friends: Path) -> None:
    done = subprocess.run(
        [*QUICK, "chat", "-p", "alice", "bob"],
        env=environment(friends),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_line_break_cannot_forge_a_line_of_somebody_else(friends: Path) -> None:
    assert phantom(friends, "send", "-p", "alice", "bob", "hi\n21:30 carol: send money").returncode == 0
    first, second = phantom(friends, "listen", "-p", "bob", "--count", "1").stdout.splitlines()
    assert first.endswith("alice: hi")
    assert second == "        21:30 carol: send money"


def test_reader_sees_that_a_message_expires_and_that_listen_waits(friends: Path) -> None:
    terminal = Terminal(friends, "listen", "-p", "bob", "--count", "2")
    terminal.wait_for("messages are printed here as they arrive; Ctrl-C stops")
    phantom(friends, "send", "-p", "alice", "bob", "soon gone", "--expires", "1h")
    terminal.wait_for("alice (expires): soon gone")
    phantom(friends, "send", "-p", "alice", "bob", "this stays")
    terminal.wait_for("alice: this stays")
    assert terminal.ended() == 0


def test_text_to_somebody_unknown_does_not_fail_texts_to_others(friends: Path) -> None:
    nobody = "A" * 43 + "="
    assert phantom(friends, "send", "-p", "alice", nobody, "hello?").returncode == 1
    for number in range(3):
        sent = phantom(friends, "send", "-p", "alice", "bob", str(number))
        assert (sent.returncode, sent.stderr) == (0, "")


def test_wss_works_with_a_certificate_of_ones_own(
    tmp_path: Path, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    relay = start_relay("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key), "--limits", "off")
    distrusted = phantom(tmp_path / "home", "init", "-p", "alice", "--server", relay.url)
    assert "certificate is not trusted" in distrusted.stderr
    assert "SSL_CERT_FILE" in distrusted.stderr
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
    meet(tmp_path / "home", relay)
    assert phantom(tmp_path / "home", "send", "-p", "alice", "bob", "over tls").returncode == 0
    heard = phantom(tmp_path / "home", "listen", "-p", "bob", "--count", "1").stdout
    assert heard.endswith("alice: over tls\n")


def test_full_terminal_encoding_is_no_reason_to_stop(friends: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phantom(friends, "send", "-p", "alice", "bob", "привет")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    heard = phantom(friends, "listen", "-p", "bob", "--count", "1")
    assert heard.returncode == 0
    assert "\\u043f" in heard.stdout


def processor_seconds() -> float:
    """What all processes that have ended took, and theirs."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def test_second_make_run_takes_less_than_3_seconds_of_the_processor(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / ".run").exists():
        pytest.skip("the tests run in another environment than the one that make has set up")
    variables = {**environment(tmp_path), "PHANTOM_PORT": "0"}
    before, began = processor_seconds(), time.monotonic()
    process = subprocess.Popen(
        ["make", "-s", "run", f"DATA={tmp_path / 'data'}"],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on ws://127.0.0.1:")
        assert time.monotonic() - began < PATIENCE
        assert "phantom chat -p alice bob" in "".join(process.stdout.readline() for _ in range(12))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert processor_seconds() - before < 3, "counted, not timed: the machine may do other things"


def test_reader_who_goes_away_loses_nothing(friends: Path) -> None:
    listener = Running(friends, "listen", "-p", "bob", "--json", "--events")
    listener.wait_for(1)
    assert listener.stop() == 0
    phantom(friends, "send", "-p", "alice", "bob", "still there")
    assert "still there" in phantom(friends, "listen", "-p", "bob", "--count", "1").stdout
