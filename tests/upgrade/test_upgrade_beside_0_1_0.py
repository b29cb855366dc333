"""A program of version 0.1.0, as it was, beside one of the present, at the present relay; then it is upgraded, too.

Its source comes from the history of this repository. Both profiles, and what the relay has of both, are the files that
0.1.0 left (``fixtures_0_1_0``): Alice's program is the first to be a new one.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, Queue
from typing import Final

import pytest
from test_upgrade_from_0_1_0 import CLOCK, FILES, STORY

from phantom_messenger.client import records
from phantom_messenger.client.profile import vault_path
from phantom_messenger.client.records import ContactRecord, ReceivedRecord, Strength
from phantom_messenger.client.sessions import Sessions
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.crypto import session, session2
from phantom_messenger.crypto.suites import suite_of
from support.relay_process import RelayProcess, environment, patched
from support.sdk_clients import PASSPHRASE

pytestmark = [pytest.mark.usefixtures("real_passphrases"), pytest.mark.timeout(600)]

FROZEN: Final = "b2c4bea0e8802ddd775dd68cb1d1ed633e65fabc"
"""The commit with the files of 0.1.0: its source is that of 0.1.0, and the next one changes the protocol."""

REPOSITORY: Final = Path(__file__).parents[2]
PROGRAM: Final = Path(__file__).with_name("beside_program.py")
PATIENCE: Final = 90.0
NEVER_LEARNS: Final = """
from phantom_messenger.client.conversations import PeerState
PeerState.begins_with = lambda self, _: self.sending is None
"""


@pytest.fixture(scope="module")
def old_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the package as it was."""
    archive = ["git", "-C", str(REPOSITORY), "archive", FROZEN, "src/phantom_messenger"]
    try:
        done = subprocess.run(archive, capture_output=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip("git is not installed: version 0.1.0 is taken from the history")
    if done.returncode:
        pytest.skip("this clone has no history back to version 0.1.0")
    folder = tmp_path_factory.mktemp("0.1.0")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder / "src"


class End:
    """A program at one end of the conversation.

    Args:
        people: whom it belongs to.
        name: of its profile.
        source: where the package is; the present one if None.
        patch: Python text that is run first.
    """

    def __init__(self, people: "People", name: str, source: Path | None = None, patch: str = "") -> None:
        other = {"alice": "bob", "bob": "alice"}[name]
        start = f"{CLOCK}{patch}\nimport runpy\nrunpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
        more = {} if source is None else {"PYTHONPATH": str(source)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", start, name, people.relay.url, people.home, PASSPHRASE, STORY[other]],
            env=environment(more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.wait_for("online")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def write(self, *texts: str) -> None:
        """Send these."""
        assert self._process.stdin is not None
        for text in texts:
            self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def wait_for(self, wanted: str) -> None:
        """Wait until it has printed a line, whatever comes before."""
        try:
            while self._lines.get(timeout=PATIENCE) != wanted:
                pass
        except Empty:
            raise AssertionError(f"{wanted!r} has not come") from None

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()
        self._close()

    def end(self) -> None:
        """Let it end as it should."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0
        self._close()

    def _close(self) -> None:
        self._process.wait(PATIENCE)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                stream.close()


class People:
    """Alice and Bob, who have known each other since 0.1.0, and a relay that is upgraded already."""

    def __init__(self, folder: Path, old_source: Path, stack: ExitStack) -> None:
        self.home = folder / "home"
        profiles = self.home / "profiles"
        profiles.mkdir(parents=True, mode=0o700)
        for name in ("alice", "bob"):
            shutil.copy(FILES / f"{name}.vault", profiles)
        data = folder / "data"
        data.mkdir(mode=0o700)
        shutil.copy(FILES / "relay.db", data)
        self.relay = RelayProcess(folder, "--rate-auth", "60", command=patched(CLOCK))
        self._old_source = old_source
        self._stack = stack
        stack.callback(self.relay.kill)

    def new(self, name: str, patch: str = "") -> End:
        """Start the present program on a profile."""
        return self._started(End(self, name, patch=patch))

    def old(self, name: str) -> End:
        """Start the program of 0.1.0 on a profile."""
        return self._started(End(self, name, self._old_source))

    def _started(self, made: End) -> End:
        self._stack.callback(made.kill)
        return made

    def look(self, name: str) -> tuple[list[str], Strength, int]:
        """What a profile has received of this conversation, the floor of the other, the suite of the session in use."""
        other = STORY[{"alice": "bob", "bob": "alice"}[name]]
        vault = Vault(vault_path(name, self.home), Secret(PASSPHRASE), create=False)
        try:
            got = [record.text or "" for _, record in vault.all(records.RECEIVED, ReceivedRecord)]
            contact = vault.get(records.CONTACT, other, ContactRecord)
            assert contact is not None
            suite = suite_of(next(iter(Sessions(vault).load(other))))
        finally:
            vault.close()
        return [text for text in got if text.startswith("talk")], contact.floor, suite


@pytest.fixture
def people(tmp_path: Path, old_source: Path) -> Iterator[People]:
    with ExitStack() as stack:
        yield People(tmp_path, old_source, stack)


def talk(ends: dict[str, End], stage: str, first: str, written: dict[str, list[str]]) -> None:
    """Each writes three times, in turns if one is ``first`` and at once otherwise."""
    order = [first, "alice" if first == "bob" else "bob"] if first != "both" else ["alice", "bob"]
    for number in range(3):
        for name in order:
            text = f"talk, {stage} {number} of {name}"
            ends[name].write(text)
            written[name].append(text)
            if first != "both":
                ends["alice" if name == "bob" else "bob"].wait_for(text)
    if first == "both":
        ends["alice"].wait_for(written["bob"][-1])
        ends["bob"].wait_for(written["alice"][-1])


@pytest.mark.parametrize("first", ["alice", "bob", "both"])
def test_old_program_and_new_one_talk_until_both_are_new_and_nothing_is_lost_or_doubled(
    people: People, first: str
) -> None:
    written: dict[str, list[str]] = {"alice": [], "bob": []}
    ends = {"alice": people.new("alice"), "bob": people.old("bob")}
    talk(ends, "one is new", first, written)
    under_way = [f"talk, while bob is upgraded {number}" for number in range(3)]
    ends["alice"].write(under_way[0])
    ends["bob"].kill()  # with what is under way
    ends["alice"].write(*under_way[1:])
    written["alice"] += under_way
    ends["bob"] = people.new("bob")
    ends["bob"].wait_for(under_way[-1])
    talk(ends, "both are new", first, written)
    talk(ends, "later", first, written)
    for end in ends.values():
        end.end()
    assert people.look("alice") == (written["bob"], Strength.SUITE_2, session2.SUITE)
    assert people.look("bob") == (written["alice"], Strength.SUITE_2, session2.SUITE)
    assert people.relay.doubts == []


def test_control_ends_that_make_no_use_of_dated_prekeys_stay_at_suite_1(people: People) -> None:
    written: dict[str, list[str]] = {"alice": [], "bob": []}
    ends = {name: people.new(name, NEVER_LEARNS) for name in ("alice", "bob")}
    talk(ends, "both are new", "alice", written)
    for end in ends.values():
        end.end()
    assert people.look("bob") == (written["alice"], Strength.SUITE_1, session.SUITE)


def test_old_program_is_that_of_0_1_0(old_source: Path) -> None:
    code = "import phantom_messenger.crypto as found; print(found.__file__)"
    command = [sys.executable, "-c", code]
    path = environment({"PYTHONPATH": str(old_source)})
    printed = subprocess.run(command, env=path, capture_output=True, text=True, check=True).stdout
    folder = Path(printed.strip()).parent
    assert folder.is_relative_to(old_source)
    assert (folder / "session.py").is_file()
    assert not (folder / "session2.py").exists()
