"""Two devices of one person, on the command line: linked, listed, used, removed."""

import asyncio
import json
import re
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from e2e_people import meet
from e2e_terminal import Terminal

from phantom_messenger.cli import devices
from phantom_messenger.client.client import Client
from phantom_messenger.client.devices.front import OwnDevice
from phantom_messenger.client.errors import PhantomError
from support.command_line import PATIENCE, Running, phantom
from support.relay_process import RelayProcess, StartRelay
from support.sdk_clients import PASSPHRASE, opened, run
from support.waiting import eventually

MARK, UNMARKED = "this one  ", " " * 10
"""How the lines of devices begin."""


@pytest.fixture
def home(tmp_path: Path, relay: RelayProcess) -> Path:
    """Alice and Bob, who know each other, and Alice's new laptop."""
    return at_relay(tmp_path, relay)


def at_relay(folder: Path, relay: RelayProcess) -> Path:
    """The same, at a certain relay."""
    meet(folder, relay)
    assert phantom(folder, "init", "-p", "laptop", "--server", relay.url).returncode == 0
    (folder / "alice.id").write_text(out(folder, "id", "-p", "alice"))
    return folder


def out(home: Path, *arguments: str) -> str:
    done = phantom(home, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def alices_id(home: Path) -> str:
    """Alice's id, while another command has her profile."""
    return (home / "alice.id").read_text()


def linked(home: Path, *options: str, made: tuple[str, ...] = ()) -> list[str]:
    """Do what both devices ask for; what the new one says beside that. ``made``: what makes its profile."""
    new = Running(home, "devices", "link", "-p", "laptop", "--name", "laptop", "--no-qr", *made)
    (code,) = new.wait_for(1)
    first = Running(home, "devices", "link", "-p", "alice", code, *options)
    first.type("y")
    _, shown = new.wait_for(2, PATIENCE)
    digits = re.search(r"\d{3} \d{3}", shown)
    assert digits is not None
    assert eventually(lambda: f"  {alices_id(home)}" in first.errors)  # no other command can show it meanwhile
    first.type(digits[0])
    new.type("y")
    new.wait_for(3)
    asked = "This device will belong to {}; is that your ID, as your first device shows it now? [y/N]: "
    assert asked.format(alices_id(home)) in "".join(new.errors)
    assert new.finish() == 0, new.errors
    assert first.finish() == 0, first.errors
    assert first.lines[-1] == "linked 'laptop'"
    return new.errors


def learn_of_devices(home: Path) -> None:
    """Bob takes in what tells of the new device: what he writes before goes there only the next time he connects."""

    async def fetch() -> None:
        async with opened(home, "bob") as bob:
            assert await bob.fetch(PATIENCE)

    run(fetch())


def test_new_device_needs_no_profile_of_before_and_is_told_the_whole_command(
    tmp_path: Path, relay: RelayProcess
) -> None:
    meet(tmp_path, relay)
    (tmp_path / "alice.id").write_text(out(tmp_path, "id", "-p", "alice"))
    refused = phantom(tmp_path, "devices", "link", "-p", "laptop")
    command = "phantom devices link -p laptop --server URL"
    assert (refused.returncode, refused.stderr.count(f"to make it and link it, run: {command},")) == (1, 1)
    assert json.loads(out(tmp_path, "id", "-p", "alice", "--json"))["server"] == relay.url, "as it says"
    linked(tmp_path, made=("--server", relay.url))
    assert "laptop" in out(tmp_path, "devices", "-p", "alice")


def test_link_makes_no_profile_by_mistake_and_moves_none(home: Path, relay: RelayProcess) -> None:
    other = "ws://127.0.0.1:9/ws"
    moved = phantom(home, "devices", "link", "-p", "laptop", "--server", other)
    expected = f"'laptop' is at {relay.url}; to use another relay, run: phantom init -p laptop --server {other}"
    assert (moved.returncode, moved.stderr.count(expected)) == (2, 1)
    first = phantom(home, "devices", "link", "-p", "nobody", "phantom:link?x&y", "--server", relay.url)
    assert (first.returncode, first.stderr.count("phantom init -p nobody")) == (1, 1)
    assert phantom(home, "id", "-p", "nobody").returncode == 1


def test_link_knows_the_relay_of_its_profile_however_it_is_written(home: Path, relay: RelayProcess) -> None:
    linked(home, made=("--server", relay.url.removesuffix("/ws")))


def test_device_is_linked_used_and_removed(home: Path) -> None:
    linked(home)
    rows = [json.loads(line) for line in out(home, "devices", "list", "-p", "alice", "--json").splitlines()]
    assert [(row["name"], row["isFirst"], row["isThis"]) for row in rows] == [
        ("", True, True),
        ("laptop", False, False),
    ]
    listed = [phantom(home, "devices", "-p", name).stdout for name in ("alice", "laptop")]
    assert [[line[10:].split()[0] for line in one.splitlines()] for one in listed] == [["(first)", "laptop"]] * 2
    assert [" since " in line for one in listed for line in one.splitlines()] == [False, True] * 2
    assert [line[:10] for one in listed for line in one.splitlines()] == [MARK, UNMARKED, UNMARKED, MARK]
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
    for code in (["x"], []):
        refused = phantom(home, "devices", "link", "-p", "laptop", *code)
        said = "phantom: only your first device can link others; run this there\n"
        assert (refused.returncode, refused.stderr) == (2, said)
    assert "groups are changed on your first device" in phantom(home, "groups", "create", "-p", "laptop", "us").stderr
    for profile, named, why in (
        ("alice", "tablet", "there is no device 'tablet'; 'phantom devices -p alice' lists them"),
        ("laptop", "laptop", "your first device removes others, and is not removed itself; run this there"),
        ("alice", out(home, "id", "-p", "alice"), "your first device removes others, and is not removed itself"),
    ):
        refused = phantom(home, "devices", "remove", "-p", profile, named)  # nothing is asked
        assert (refused.returncode, refused.stderr.startswith(f"phantom: {why}")) == (2, True), refused.stderr
    assert "removed 'laptop'" in out(home, "devices", "remove", "-p", "alice", "laptop", "--yes")
    removed = phantom(home, "listen", "-p", "laptop")
    assert removed.returncode == 1
    assert removed.stderr == (
        "phantom: your first device has removed this one, which can no longer be used: its profile is erased now\n"
    )
    assert "does not exist" in phantom(home, "id", "-p", "laptop").stderr
    assert len(out(home, "devices", "-p", "alice").splitlines()) == 1
    assert out(home, "devices", "renew", "-p", "alice") == "confirmed"
    alone = phantom(home, "devices", "renew", "-p", "bob")
    assert (alone.returncode, alone.stderr) == (2, "phantom: this is your only device\n")


def test_open_chat_shows_what_is_written_on_another_device(home: Path) -> None:
    out(home, "groups", "create", "-p", "alice", "Tea", "bob")
    out(home, "groups", "accept", "-p", "bob", "Tea")
    linked(home)
    person = Running(home, "chat", "-p", "alice", "bob")
    out(home, "send", "-p", "laptop", "bob", "one")
    out(home, "send", "-p", "laptop", "bob", "burns", "--burn")
    out(home, "send", "-p", "laptop", "Tea", "to all")
    assert [line[6:] for line in person.wait_for(2)] == ["you: one", "you (burns): burns"]
    assert person.finish() == 0
    assert len(person.lines) == 2, "control: what is said elsewhere is not shown"
    group = Running(home, "chat", "-p", "alice", "Tea")
    out(home, "send", "-p", "laptop", "Tea", "to all again")
    assert [line[6:] for line in group.wait_for(1)] == ["you: to all again"]
    assert group.finish() == 0


@pytest.mark.parametrize("is_removed", [True, False], ids=["removed", "control: not"])
@pytest.mark.parametrize("command", ["listen --count 1", "chat bob"])
def test_device_that_was_removed_shows_nothing_any_more(home: Path, command: str, is_removed: bool) -> None:
    linked(home)
    learn_of_devices(home)
    assert phantom(home, "send", "-p", "bob", "alice", "do you see me").returncode == 0
    if is_removed:
        out(home, "devices", "remove", "-p", "alice", "laptop", "--yes")
    name, *options = command.split()
    laptop = Running(home, name, "-p", "laptop", *options)
    if is_removed:
        assert eventually(lambda: "your first device has removed this one" in "".join(laptop.errors))
        assert laptop.finish() == 1
        assert laptop.lines == []
        assert "(read)" not in out(home, "history", "-p", "bob", "alice")
    else:
        (line,) = laptop.wait_for(1)
        assert line.endswith("bob: do you see me")
        assert laptop.finish() == 0


REMOVED = "phantom: your first device has removed this one, which can no longer be used: its profile is erased now"


def test_open_chat_ends_when_its_device_is_removed(home: Path) -> None:
    linked(home)
    learn_of_devices(home)
    laptop = Running(home, "chat", "-p", "laptop", "bob")
    assert phantom(home, "send", "-p", "bob", "alice", "hello").returncode == 0
    laptop.wait_for(1)  # it is open, and connected
    out(home, "devices", "remove", "-p", "alice", "laptop", "--yes")
    assert laptop.ended() == 1  # although there may be more lines
    assert laptop.errors == [REMOVED]
    assert "does not exist" in phantom(home, "id", "-p", "laptop").stderr


@pytest.mark.filterwarnings("ignore:This process")  # a thread of a test before may live on; the child only execs
@pytest.mark.parametrize("is_removed", [True, False], ids=["removed", "control: not"])
def test_open_chat_on_a_terminal_ends_when_its_device_is_removed(home: Path, is_removed: bool) -> None:
    linked(home)
    laptop = Terminal(home, "chat", "-p", "laptop", "bob")
    laptop.wait_for("you: online")
    if is_removed:
        out(home, "devices", "remove", "-p", "alice", "laptop", "--yes")
        laptop.wait_for("its profile is erased now")
        assert laptop.ended() == 1
        assert laptop.is_left_as_it_was
    else:
        laptop.type("still here\r")
        laptop.wait_for(re.compile(r"\d\d:\d\d you: still here"))  # without the time it is what is being typed
        assert laptop.leave() == 0


@pytest.mark.parametrize("is_there", [True, False], ids=["relay is there", "control: it is not"])
def test_what_a_device_has_sent_comes_in_before_it_is_removed(
    tmp_path: Path, start_relay: StartRelay, is_there: bool
) -> None:
    relay = start_relay("--limits", "off")
    home = at_relay(tmp_path, relay)
    linked(home)
    assert out(home, "send", "-p", "laptop", "bob", "on the train")
    if not is_there:
        relay.stop()
    removed = phantom(home, "devices", "remove", "-p", "alice", "laptop", "--yes")
    assert (removed.returncode, removed.stdout) == (0, "removed 'laptop'\n")
    assert len(out(home, "devices", "-p", "alice").splitlines()) == 1
    assert ("on the train" in out(home, "history", "-p", "alice", "bob")) is is_there
    lost = "phantom: what 'laptop' has sent and has not come here yet will be missing here"
    assert (lost in removed.stderr.splitlines()) is not is_there


@pytest.mark.parametrize("name", ["laptop", "laptop  this one", "this one  laptop", "this one"])
def test_name_of_a_device_is_not_taken_for_the_mark_of_this_one(name: str) -> None:
    first = OwnDevice(user_id="A" * 43 + "=", name="", added=0, is_first=True, is_this=True)
    other = OwnDevice(user_id="B" * 43 + "=", name=name, added=1, is_first=False, is_this=False)
    lines = [devices.device_line(one, [first, other]) for one in (first, other)]
    assert lines[0] == f"{MARK}(first)"
    assert lines[1].startswith(f"{UNMARKED}{name} ")


def test_first_device_that_was_restored_asks_to_look_at_the_devices(home: Path, tmp_path: Path) -> None:
    linked(home)
    with closing(opened(home, "alice")) as alice:
        alice.export_to(tmp_path / "file", "words for the file")
    Client.import_from(tmp_path / "file", "words for the file", profile="again", home=home, passphrase=PASSPHRASE)
    listed = phantom(home, "devices", "-p", "again")
    assert [line[10:].split()[0] for line in listed.stdout.splitlines()] == ["(first)", "laptop"]
    assert listed.stderr == (
        "restored from a backup: remove what is not yours any more, then run: phantom devices renew -p again\n"
    )
    assert out(home, "devices", "renew", "-p", "again") == "confirmed"
    assert phantom(home, "devices", "-p", "again").stderr == ""
    elsewhere = phantom(home, "devices", "renew", "-p", "laptop")
    assert (elsewhere.returncode, elsewhere.stderr) == (
        2,
        "phantom: only the first device can add and remove devices\n",
    )


def test_destroying_a_linked_device_says_that_it_is_one(home: Path) -> None:
    alice = alices_id(home)
    linked(home)
    told = [phantom(home, "destroy", "-p", name, stdin="n\n") for name in ("laptop", "alice", "bob")]
    go_on = (
        "Your other devices go on as you, and without this one nobody can remove them; to do so first, run: "
        "phantom devices remove -p alice DEVICE\n"
    )
    assert [go_on in one.stderr for one in told] == [False, True, False]
    asked = [one.stdout for one in told]
    assert (
        f"'laptop' (only this device of {alice}, which your first device goes on listing), and its account" in asked[0]
    )
    assert f"'alice' ({alice}), and its account" in asked[1], "control"


@pytest.mark.parametrize("has_history", [True, False])
def test_what_was_said_before_goes_over_if_it_is_to(home: Path, has_history: bool) -> None:
    out(home, "send", "-p", "alice", "bob", "from before")
    out(home, "settings", "-p", "alice", "typing", "off")
    ends = linked(home, *([] if has_history else ["--no-history"]))
    assert ("from before" in out(home, "history", "-p", "laptop", "bob")) is has_history
    assert ("1 message from before" in ends) is has_history
    assert out(home, "settings", "-p", "laptop") == out(home, "settings", "-p", "alice")


def begun(home: Path) -> tuple[Running, Running, str]:
    """Both devices, of which the new one shows digits and asks its question, and what it shows."""
    new = Running(home, "devices", "link", "-p", "laptop", "--name", "laptop", "--no-qr")
    (code,) = new.wait_for(1)
    first = Running(home, "devices", "link", "-p", "alice", code)
    first.type("y")
    _, shown = new.wait_for(2, PATIENCE)
    found = re.search(r"\d{3} \d{3}", shown)
    assert found is not None
    return new, first, found[0]


def test_digits_that_are_wrong_link_nothing_and_both_sides_say_so(home: Path) -> None:
    new, first, digits = begun(home)
    wrong = "000000" if digits != "000 000" else "000001"
    for typed in ("abc", wrong, "", "12345", wrong):
        first.type(typed)
    assert eventually(lambda: sum("look again" in line for line in first.errors) == 2)
    assert sum("type the six digits" in line for line in first.errors) == 3  # what is no six digits is no try
    first.type(wrong)
    assert first.finish() == 1
    assert first.errors[-1].endswith("the digits were wrong three times; show a new code")
    assert new.ended() == 1  # although its question is not answered
    assert new.errors[-1].startswith("phantom: your first device has ended it, or the digits typed there were wrong")
    assert "only device" in phantom(home, "devices", "-p", "alice").stderr


def test_no_on_the_new_device_is_told_on_the_first(home: Path) -> None:
    new, first, _ = begun(home)
    new.type("maybe")
    new.type("n")
    assert new.finish() == 1
    assert new.errors[-2].endswith("[y/N]: type y or n")
    assert new.errors[-1].endswith("[y/N]: phantom: nothing was done")
    assert first.ended() == 1  # although it waits for digits
    assert first.errors[-1].startswith("phantom: the new device has ended it, or its user has said")


def test_ctrl_c_ends_a_link_at_once_on_both_sides(home: Path) -> None:
    new, first, _ = begun(home)
    assert first.stop() == 1
    assert first.errors[-1] == "phantom: interrupted"
    assert new.ended() == 1
    assert "only device" in phantom(home, "devices", "-p", "alice").stderr


@pytest.mark.parametrize(
    ("is_linking", "seconds"),
    [(False, devices.LEAVE_SECONDS), (True, devices.TELL_SECONDS)],
    ids=["handing over", "control: linking"],
)
def test_ctrl_c_while_history_goes_over_does_not_wait_until_all_of_it_has_left(
    is_linking: bool, seconds: float
) -> None:
    waited: list[float] = []

    class Busy:
        """A client with more to send than it may for minutes."""

        devices = SimpleNamespace(is_linking=is_linking, cancel=lambda: None)

        @staticmethod
        async def flush(seconds: float) -> int:
            waited.append(seconds)
            return 1

    async def main() -> None:
        async with devices._or_tell(Busy()):  # type: ignore[arg-type] # as one
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert waited == [seconds]
    assert devices.LEAVE_SECONDS <= 1


def test_code_that_is_none_is_refused_before_anything_is_asked(home: Path) -> None:
    refused = phantom(home, "devices", "link", "-p", "alice", "phantom:link?v=1&id=x")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "phantom: the code of a new device names no relay; copy it again\n"
    used = phantom(home, "devices", "link", "-p", "alice")
    assert (used.returncode, used.stderr) == (
        2,
        "phantom: this profile is not new; run this on the new device, in a new profile (--profile NAME), and here "
        "with the code that it shows\n",
    )


def test_code_of_another_relay_is_spoken_of_before_the_question(home: Path, relay: RelayProcess) -> None:
    secret, device = "s=" + "A" * 22, "id=" + "A" * 43
    for url, is_other in (("wss://elsewhere.test/ws", True), (relay.url, False)):
        code = f"phantom:link?v=1&relay={url}&{device}&{secret}"
        asked = phantom(home, "devices", "link", "-p", "alice", code, stdin="n\n")
        assert asked.returncode == 1
        assert (f"only if wss://elsewhere.test/ws is the same relay as yours, {relay.url}" in asked.stderr) is is_other


def test_only_device_is_listed_and_says_what_to_do(home: Path, relay: RelayProcess) -> None:
    (row,) = [json.loads(line) for line in out(home, "devices", "list", "-p", "alice", "--json").splitlines()]
    assert (row["name"], row["added"], row["isFirst"], row["isThis"]) == ("", None, True, True)
    alone = phantom(home, "devices", "-p", "alice")
    assert (alone.stdout, alone.stderr) == (
        "",
        "this is your only device; to use another one, run there, in a new profile: "
        f"phantom devices link -p NAME --server {relay.url}\n",
    )


def test_link_that_nobody_goes_on_with_ends_with_a_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "LINK_SECONDS", 0.1)
    with pytest.raises(PhantomError, match="within five minutes; begin again, with a new code"):
        run(devices._show(opened(home, "laptop"), "laptop", "", has_qr=False))
    assert capsys.readouterr().out.startswith("phantom:link?")


def test_code_that_nobody_answers_is_said_to_be_old(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "HINT_SECONDS", 0.1)
    monkeypatch.setattr(devices, "LINK_SECONDS", 0.5)
    with closing(opened(home, "laptop")) as laptop:
        old = laptop.devices.show_code("laptop")
    monkeypatch.setattr(devices, "is_so", lambda _: asyncio.sleep(0, result=True))
    with pytest.raises(PhantomError, match="within five minutes"):
        run(devices._link(opened(home, "alice"), old, history=True))
    assert devices.OLD_CODE in capsys.readouterr().err.splitlines()
