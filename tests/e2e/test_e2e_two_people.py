"""Two people as processes, and a relay process between them that is killed and stopped on the way."""

import re
from pathlib import Path

import pytest
from e2e_people import meet

from support.command_line import PHANTOM, Running, phantom
from support.relay_process import RelayProcess, StartRelay

COUNT = 100
SECRET = "plaintext-marker"
OF_THE_CONNECTION = ("(connecting", "(offline", "(online")


pytestmark = pytest.mark.usefixtures("real_passphrases")


@pytest.fixture(autouse=True)
def _as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing made quicker."""
    monkeypatch.setattr("support.command_line.QUICK", PHANTOM)


def texts(name: str, numbers: range) -> list[str]:
    return [f"{SECRET} {name} {number}" for number in numbers]


def said(lines: list[str], name: str) -> list[str]:
    """What ``name`` said, in the order in which it was shown."""
    pattern = re.compile(rf"\d\d:\d\d {name}: (.*)")
    return [found[1] for line in lines if (found := pattern.fullmatch(line))]


def files_holding(folder: Path, needle: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_hundred_texts_each_way_arrive_once_and_in_order(tmp_path: Path, start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")
    home = tmp_path / "home"
    meet(home, relay)
    alice = Running(home, "chat", "--profile", "alice", "bob")
    bob = Running(home, "chat", "--profile", "bob", "alice")
    from_alice, from_bob = texts("alice", range(COUNT)), texts("bob", range(COUNT))

    for mine, yours in zip(from_alice[:25], from_bob[:50], strict=False):
        alice.type(mine)
        bob.type(yours)
    for yours in from_bob[25:50]:
        bob.type(yours)
    alice.wait_for(50)
    bob.wait_for(25)

    assert bob.stop() == 0
    for mine in from_alice[25:50]:
        alice.type(mine)
    relay.kill()
    for mine in from_alice[50:75]:
        alice.type(mine)
    relay.restart()
    assert relay.stop() == 0
    relay.restart()

    bob_again = Running(home, "chat", "--profile", "bob", "alice")
    for mine in from_alice[75:]:
        alice.type(mine)
    for yours in from_bob[50:]:
        bob_again.type(yours)
    bob_again.wait_for(75)
    alice.wait_for(100)
    assert alice.finish() == 0, alice.errors
    assert bob_again.finish() == 0, bob_again.errors

    assert said(alice.lines, "bob") == from_bob
    assert said([*bob.lines, *bob_again.lines], "alice") == from_alice
    for line in [*alice.errors, *bob.errors, *bob_again.errors]:  # nothing that could not be read, or was sent again
        assert line.startswith(OF_THE_CONNECTION), line
    relay.stop()
    assert files_holding(relay.data, SECRET.encode()) == []
    assert SECRET not in relay.log
    assert files_holding(home, SECRET.encode()) == []


def test_search_for_plaintext_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"..." + SECRET.encode())
    assert files_holding(tmp_path, SECRET.encode()) == ["file"]


def test_log_and_data_of_the_relay_name_no_contact(tmp_path: Path, relay: RelayProcess) -> None:
    home = tmp_path / "home"
    meet(home, relay)
    sent = phantom(home, "send", "--profile", "alice", "bob", f"{SECRET} hello")
    assert sent.returncode == 0, sent.stderr
    user_id = phantom(home, "id", "--profile", "alice").stdout.strip()
    assert user_id not in relay.log
    assert files_holding(relay.data, b"hello") == []
