"""Each command as a person runs it, and the mistakes that people make."""

import json
import re
import time
from pathlib import Path

import pytest
from e2e_people import NOWHERE, meet, meet_offline

from phantom_messenger.client.ids import plain_id
from support.command_line import PATIENCE, Running, phantom
from support.relay_process import RelayProcess, StartRelay
from support.sdk_clients import opened


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def friends(home: Path, relay: RelayProcess) -> Path:
    """A home where Alice and Bob know each other."""
    meet(home, relay)
    return home


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``friends``, for tests that are refused before anything changes."""
    home = tmp_path_factory.mktemp("home")
    meet_offline(home)
    return home


def one_sentence(text: str) -> bool:
    """An error of one line, without a traceback."""
    return text.count("\n") == 1 and "Traceback" not in text and text.startswith("phantom")


def test_init_registers_and_publishes(home: Path, relay: RelayProcess) -> None:
    made = phantom(home, "init", "--server", relay.url)
    assert made.returncode == 0
    assert f"{relay.url} (registered)" in made.stdout
    again = phantom(home, "init")
    assert again.stdout == made.stdout


def test_init_without_a_relay_makes_the_identity_and_says_so(home: Path, start_relay: StartRelay) -> None:
    made = phantom(home, "init", "--server", NOWHERE)
    assert made.returncode == 1
    assert f"{NOWHERE} (not registered; that is done the next time you connect)" in made.stdout
    assert "phantom init --server URL" in made.stdout
    assert made.stderr == (
        f"phantom: the relay at {NOWHERE} cannot be reached because the connection was refused; check that the relay is"
        " running and the port is right\n"
    )
    relay = start_relay()
    assert "(registered)" in phantom(home, "init", "--server", relay.url).stdout


def test_init_waits_as_long_as_the_relay_says_and_says_so(home: Path, start_relay: StartRelay) -> None:
    relay = start_relay("--rate-auth", "1")
    assert phantom(home, "init", "-p", "one", "--server", relay.url).returncode == 0
    made = phantom(home, "init", "-p", "two", "--server", relay.url, "--timeout", "2s")
    assert made.returncode == 1
    waiting, over = made.stderr.splitlines()
    assert re.fullmatch(r"phantom: there were too many logins from here; retrying in \d+ seconds?", waiting)
    assert "lets nobody in just now because there were too many logins from here" in over
    assert "(registered)" not in made.stdout


@pytest.mark.parametrize("url", ["ws://a..b/ws", f"ws://{'a' * 64}.example/ws", "ws://127.0.0.1/my relay"])
def test_init_with_a_name_that_cannot_be_makes_nothing(home: Path, url: str) -> None:
    made = phantom(home, "init", "--server", url)
    assert made.returncode == 2
    assert made.stderr.startswith(f"phantom: '{url}' is not the URL of a relay")
    assert not home.exists() or list(home.iterdir()) == []


def test_id_is_the_same_in_text_and_json_and_drawn_as_qr(home: Path) -> None:
    phantom(home, "init", "--server", NOWHERE)
    text = phantom(home, "id").stdout.strip()
    row = json.loads(phantom(home, "id", "--json").stdout)
    assert row == {"type": "id", "userId": plain_id(text), "id": text, "server": NOWHERE}
    assert phantom(home, "id", "--base64").stdout == row["userId"] + "\n"
    assert "█" in phantom(home, "id", "--qr").stdout


def test_text_from_standard_input_arrives_as_it_was(friends: Path) -> None:
    text = "first line\nsecond line  \twith äöü 🙂"
    assert phantom(friends, "send", "-p", "alice", "bob", "-", stdin=text + "\n").returncode == 0
    heard = phantom(friends, "listen", "-p", "bob", "--json", "--count", "1")
    row = json.loads(heard.stdout)
    assert row["text"] == text
    assert row["name"] == "alice"
    assert row.keys() == {
        "type", "id", "sender", "name", "text", "newer", "sentAt", "receivedAt", "burnAfterRead", "expiresAt",
    }  # fmt: skip


def test_escape_sequences_of_others_do_not_reach_the_terminal(friends: Path) -> None:
    assert phantom(friends, "send", "-p", "alice", "bob", "a\x1b[31mred\u202eevil").returncode == 0
    heard = phantom(friends, "listen", "-p", "bob", "--count", "1").stdout
    assert "\x1b" not in heard
    assert "\u202e" not in heard
    assert "<001B>[31mred<202E>evil" in heard


def test_wait_delivered_and_read_tell_how_far_a_text_came(friends: Path) -> None:
    bob = Running(friends, "listen", "-p", "bob", "--count", "2")
    for state in ("delivered", "read"):
        sent = phantom(friends, "send", "-p", "alice", "bob", state, "--wait", state, "--json")
        assert sent.returncode == 0, sent.stderr
        row = json.loads(sent.stdout)
        assert row["type"] == "sent"
        assert row["state"] in {"delivered", "read"}
    bob.wait_for(2)
    assert bob.finish() == 0


def test_burned_text_is_told_to_its_sender(friends: Path) -> None:
    bob = Running(friends, "listen", "-p", "bob", "--json", "--count", "1")
    sent = phantom(friends, "send", "-p", "alice", "bob", "burn me", "--burn", "--wait", "read", "--json")
    assert json.loads(sent.stdout)["state"] == "burned"
    assert json.loads(bob.wait_for(1)[0])["burnAfterRead"] is True
    assert bob.finish() == 0


def test_text_that_expires_is_not_handed_out_after_its_time(friends: Path) -> None:
    sent = phantom(friends, "send", "-p", "alice", "bob", "too late", "--expires", "1s")
    assert sent.returncode == 0 or "expired" in sent.stderr, "on a busy machine it may not even be accepted in its time"
    assert phantom(friends, "send", "-p", "alice", "bob", "in time").returncode == 0
    heard = Running(friends, "listen", "-p", "bob", "--json", "--count", "1")
    row = json.loads(heard.wait_for(1)[0])
    assert heard.finish() == 0
    assert row["text"] in {"too late", "in time"}
    if row["text"] == "too late":
        assert row["receivedAt"] < row["expiresAt"]


def test_safety_numbers_agree_and_are_remembered(friends: Path) -> None:
    phantom(friends, "send", "-p", "alice", "bob", "hello")
    phantom(friends, "listen", "-p", "bob", "--count", "1")
    numbers = []
    for name, other in (("alice", "bob"), ("bob", "alice")):
        shown = phantom(friends, "contacts", "verify", "-p", name, other, "--yes")
        assert shown.returncode == 0, shown.stderr
        numbers.append(re.findall(r"\b\d{5}\b", shown.stdout))
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 12
    rows = phantom(friends, "contacts", "list", "-p", "alice", "--json").stdout
    assert json.loads(rows)["trust"] == "verified"


def test_two_programs_on_one_profile_get_a_clear_error(friends: Path) -> None:
    first = Running(friends, "listen", "-p", "bob", "--json", "--events")
    first.wait_for(1)
    second = phantom(friends, "send", "-p", "bob", "alice", "hello")
    assert second.returncode == 1
    assert one_sentence(second.stderr)
    assert "in use" in second.stderr
    assert first.stop() == 0


def test_destroyed_identity_is_gone_here_and_there(friends: Path) -> None:
    user_id = phantom(friends, "id", "-p", "bob").stdout.strip()
    gone = phantom(friends, "destroy", "-p", "bob", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert list((friends / "profiles").glob("bob*")) == []
    assert phantom(friends, "id", "-p", "bob").returncode == 1
    sent = phantom(friends, "send", "-p", "alice", user_id, "are you there?")
    assert sent.returncode == 1
    assert "does not know" in sent.stderr


def test_destroy_asks_first(friends: Path) -> None:
    refused = phantom(friends, "destroy", "-p", "bob", stdin="n\n")
    assert refused.returncode == 1
    assert "nothing was done" in refused.stderr
    assert "all mail that waits there, also for copies of the profile? This cannot be undone." in refused.stdout
    assert phantom(friends, "id", "-p", "bob").stdout.strip() in refused.stdout
    refused = phantom(friends, "destroy", "-p", "bob", "--local-only", stdin="n\n")
    assert "relay" not in refused.stdout
    assert phantom(friends, "id", "-p", "bob").returncode == 0


def test_wrong_passphrase_is_one_sentence(unchanged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = phantom(unchanged, "id", "-p", "alice", without=("PHANTOM_PASSPHRASE",))
    assert (made.returncode, one_sentence(made.stderr)) == (1, True)
    assert "PHANTOM_PASSPHRASE" in made.stderr
    monkeypatch.setattr("support.command_line.PASSPHRASE", "wrong")
    wrong = phantom(unchanged, "id", "-p", "alice")
    assert (wrong.returncode, one_sentence(wrong.stderr)) == (1, True)
    assert "passphrase" in wrong.stderr


def test_relay_that_is_down_keeps_the_text_and_says_so(home: Path, start_relay: StartRelay) -> None:
    relay = start_relay()
    meet(home, relay)
    relay.stop()
    sent = phantom(home, "send", "-p", "alice", "bob", "later", "--timeout", "2s")
    assert sent.returncode == 1
    progress, error = sent.stderr.splitlines()
    assert "retrying for 2 s: the connection was refused" in progress
    assert "the message is saved and will be sent the next time you connect" in error
    relay.restart()
    assert phantom(home, "chat", "-p", "alice", "bob").returncode == 0
    heard = phantom(home, "listen", "-p", "bob", "--json", "--count", "1")
    assert json.loads(heard.stdout)["text"] == "later"


USAGE = [
    ((), 2),
    (("send",), 2),
    (("send", "nobody", "text"), 2),
    (("send", "bob", ""), 2),
    (("send", "bob", "x" * 40_001), 2),
    (("send", "bob", "text", "--expires", "soon"), 2),
    (("send", "bob", "text", "--expires", "0s"), 2),
    (("send", "bob", "text", "--expires", "366d"), 2),
    (("contacts", "verify", "bob", "--yes", "--no"), 2),
    (("send", "bob", "text", "--wait", "forever"), 2),
    (("listen", "--count", "0"), 2),
    (("contacts", "add", "carol", "not-an-id"), 2),
    (("init", "--server", "http://127.0.0.1"), 2),
    (("init", "--profile", "../escape"), 2),
    (("id", "--profile", "unknown"), 1),
    (("frobnicate",), 2),
    (("serve", "--port", "many"), 2),
]


@pytest.mark.parametrize(("arguments", "code"), USAGE, ids=[" ".join(arguments)[:40] for arguments, _ in USAGE])
def test_mistake_is_answered_with_one_sentence(unchanged: Path, arguments: tuple[str, ...], code: int) -> None:
    variables = ("--profile", "alice") if arguments and arguments[0] in {"send", "listen", "contacts"} else ()
    result = phantom(unchanged, *arguments, *variables)
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    if arguments:
        assert one_sentence(result.stderr), result.stderr


def test_long_text_is_refused_with_the_limit(unchanged: Path) -> None:
    result = phantom(unchanged, "send", "-p", "alice", "bob", "-", stdin="ä" * 20_001)
    assert "40,000" in result.stderr
    assert result.returncode == 2
    result = phantom(unchanged, "send", "-p", "alice", "bob", "-", stdin="ä" * 40_000)
    assert "longer than 40,000 bytes" in result.stderr


def test_interrupted_send_says_that_the_message_waits(home: Path, start_relay: StartRelay) -> None:
    relay = start_relay()
    meet(home, relay)
    relay.stop()
    sending = Running(home, "send", "-p", "alice", "bob", "hello", "--timeout", "60s")
    deadline = time.monotonic() + PATIENCE
    while not sending.errors:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert sending.stop() == 1
    assert sending.errors[-1].startswith("phantom: interrupted; the message is saved and will be sent")
    assert "Traceback" not in "".join(sending.errors)


def test_interrupted_send_says_how_far_the_message_came(friends: Path) -> None:
    assert phantom(friends, "settings", "-p", "bob", "read-receipts", "off").returncode == 0
    sending = Running(friends, "send", "-p", "alice", "bob", "hello", "--wait", "read", "--timeout", "60s")
    assert phantom(friends, "listen", "-p", "bob", "--count", "1").returncode == 0
    assert sending.stop() == 1
    assert re.fullmatch(r"phantom: interrupted; the message was (accepted|delivered)", sending.errors[-1])
    assert "Traceback" not in "".join(sending.errors)


def test_interrupted_init_does_not_say_that_nothing_was_done(home: Path) -> None:
    made = Running(home, "init", "-p", "new", "--server", NOWHERE)
    deadline = time.monotonic() + PATIENCE
    while not (home / "profiles/new.vault").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    made.stop()
    assert "nothing was done" not in "".join(made.errors)


def test_contact_with_another_name_is_said_to_be_called_so(friends: Path) -> None:
    bob = phantom(friends, "id", "-p", "bob").stdout.strip()
    done = phantom(friends, "contacts", "add", "-p", "alice", "robert", bob)
    assert done.stdout.startswith("renamed bob to robert; write with: phantom send")
    done = phantom(friends, "contacts", "add", "-p", "alice", "robert", bob)
    assert done.stdout.startswith("added robert; ")


def test_name_of_a_contact_cannot_be_taken_twice(friends: Path) -> None:
    other = phantom(friends, "id", "-p", "alice").stdout.strip()
    phantom(friends, "init", "-p", "carol", "--server", NOWHERE)
    taken = phantom(friends, "contacts", "add", "-p", "carol", "x", other)
    assert taken.returncode == 0
    bob = phantom(friends, "id", "-p", "bob").stdout.strip()
    refused = phantom(friends, "contacts", "add", "-p", "carol", "x", bob)
    assert refused.returncode == 2
    assert "already" in refused.stderr


def test_weaker_encryption_is_allowed_for_one_contact_in_so_many_words(home: Path) -> None:
    meet_offline(home)
    older = phantom(home, "contacts", "accept", "-p", "alice", "bob", "--older")
    assert older.stdout == "messages to bob are sent in the older encryption until bob has a newer program\n"
    classical = phantom(home, "contacts", "accept", "-p", "alice", "bob", "--classical")
    assert classical.stdout == (
        "messages to bob are sent without post-quantum protection until bob offers a key for it\n"
    )
    alice = opened(home, "alice", NOWHERE)
    record = alice._messenger._stores.book.get(alice.contacts.find("bob").user_id)
    assert (record.allows_older, record.allows_classical) == (True, True)
    alice.close()
