"""``phantom export`` and ``import`` as a person uses them: a new machine, and the mistakes on the way."""

import json
import os
import subprocess
import time
from pathlib import Path

from e2e_people import meet

from support.command_line import PATIENCE, QUICK, Running, environment, phantom
from support.relay_process import RelayProcess

WORDS = {"PHANTOM_EXPORT_PASSPHRASE": "words for the file"}


def with_words(home: Path, *arguments: str, words: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command that has the passphrase of the file."""
    return phantom(home, *arguments, more=WORDS if words is None else words)


def test_person_goes_on_with_a_new_machine(tmp_path: Path, relay: RelayProcess) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", str(tmp_path / "alice.phantom")
    meet(old, relay)
    user_id = phantom(old, "id", "-p", "alice").stdout.strip()
    assert phantom(old, "send", "-p", "alice", "bob", "before").returncode == 0
    assert "before" in phantom(old, "listen", "-p", "bob", "--count", "1").stdout
    assert phantom(old, "send", "-p", "bob", "alice", "an answer").returncode == 0
    assert "an answer" in phantom(old, "listen", "-p", "alice", "--count", "1").stdout
    done = with_words(old, "export", file, "-p", "alice")
    assert done.returncode == 0, done.stderr
    assert "exported 1 contact and 2 messages" in done.stdout
    # Written while nobody was there: made for keys that are not in the file.
    assert phantom(old, "send", "-p", "bob", "alice", "under way").returncode == 0
    done = with_words(new, "import", file, "-p", "alice")
    assert done.returncode == 0, done.stderr
    assert "imported 1 contact and 2 messages as profile 'alice'; go on with: phantom chat -p alice WHO" in done.stdout
    assert "in one place at a time: if the old profile still exists, run 'phantom destroy --local-only'" in done.stdout
    assert phantom(old, "destroy", "-p", "alice", "--local-only", "--yes").returncode == 0
    assert phantom(new, "id", "-p", "alice").stdout.strip() == user_id
    (contact,) = phantom(new, "contacts", "list", "-p", "alice", "--json").stdout.splitlines()
    assert json.loads(contact)["name"] == "bob"
    # Bob must be there to send it again.
    bob = subprocess.Popen([*QUICK, "listen", "-p", "bob"], env=environment(old), stdout=subprocess.DEVNULL)
    try:
        heard = phantom(new, "listen", "-p", "alice", "--count", "1")
    finally:
        bob.terminate()
        bob.wait(PATIENCE)
    assert "under way" in heard.stdout
    assert "waiting for it to be sent again" in heard.stderr


def test_mistakes_are_told_in_a_sentence_and_make_nothing(tmp_path: Path, relay: RelayProcess) -> None:
    home, file = tmp_path / "home", tmp_path / "alice.phantom"
    meet(home, relay)
    assert "set PHANTOM_EXPORT_PASSPHRASE" in phantom(home, "export", str(file), "-p", "alice").stderr
    assert not file.exists()
    assert with_words(home, "export", str(file), "-p", "alice").returncode == 0
    refused = [
        (with_words(home, "export", str(file), "-p", "alice"), "use --force"),
        (with_words(home, "export", str(tmp_path / "no folder" / "x"), "-p", "alice"), "No such file or directory"),
        (with_words(home, "export", str(tmp_path / ("x" * 300)), "-p", "alice"), "cannot write"),
        (with_words(home, "export", str(tmp_path / "x"), "-p", "nobody"), "phantom init"),
        (with_words(home, "import", str(file), "-p", "alice"), "--profile"),
        (with_words(home, "import", str(tmp_path / "absent"), "-p", "new"), "No such file"),
        (with_words(home, "import", str(Path(__file__)), "-p", "new"), "not an exported profile"),
        (
            with_words(home, "import", str(file), "-p", "new", words={"PHANTOM_EXPORT_PASSPHRASE": "others"}),
            "the passphrase does not open",
        ),
        (with_words(home, "import", str(file), "-p", "new", words={}), "set PHANTOM_EXPORT_PASSPHRASE"),
    ]
    for done, sentence in refused:
        assert done.returncode == 1, done
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    no_text = os.fsdecode(b"\xff" * 8)
    for command, profile in (("export", "alice"), ("import", "new")):
        target = str(tmp_path / "x") if command == "export" else str(file)
        done = with_words(home, command, target, "-p", profile, words={"PHANTOM_EXPORT_PASSPHRASE": no_text})
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "not UTF-8" in done.stderr
    assert not list(home.rglob("*new*"))
    assert with_words(home, "export", str(file), "-p", "alice", "--force").returncode == 0


def test_import_that_is_killed_leaves_no_other_identity_under_the_name(tmp_path: Path, relay: RelayProcess) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", str(tmp_path / "alice.phantom")
    meet(old, relay)
    user_id = phantom(old, "id", "-p", "alice").stdout.strip()
    assert with_words(old, "export", file, "-p", "alice").returncode == 0
    killed = subprocess.Popen(
        [*QUICK, "import", file, "-p", "alice"],
        env=environment(new) | WORDS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE
    while not list(new.rglob("*alice*.vault")) and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.kill()
    killed.wait(PATIENCE)
    after = phantom(new, "id", "-p", "alice")
    assert after.stdout.strip() in {"", user_id}
    if after.returncode:
        assert "does not exist" in after.stderr
        assert with_words(new, "import", file, "-p", "alice").returncode == 0
    assert phantom(new, "id", "-p", "alice").stdout.strip() == user_id


def test_one_line_says_that_the_same_identity_is_used_elsewhere(tmp_path: Path, relay: RelayProcess) -> None:
    meet(tmp_path, relay)
    file = str(tmp_path / "alice.phantom")
    assert with_words(tmp_path, "export", file, "-p", "alice").returncode == 0
    assert with_words(tmp_path, "import", file, "-p", "again").returncode == 0
    here = Running(tmp_path, "listen", "-p", "alice")
    assert phantom(tmp_path, "send", "-p", "bob", "alice", "are you there?").returncode == 0
    here.wait_for(1)
    elsewhere = Running(tmp_path, "listen", "-p", "again")
    assert here.ended() == 1
    assert here.errors == ["phantom: the same identity has logged in elsewhere; use it in one place at a time"]
    assert elsewhere.stop() == 0
