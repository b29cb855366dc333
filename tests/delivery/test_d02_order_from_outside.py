"""What the kernel sees of a relay under load: written, committed, synced, and only then accepted.

strace writes a line when a call begins and one when it ends, in the order of what happened; a
line's number is therefore a time.
"""

import asyncio
import codecs
import os
import re
import shutil
import subprocess
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from delivery_variants import ANSWERS_BEFORE_THE_COMMIT, Variant

from support.amounts import amount
from support.load import Connections, Peer, ids, make_contacts
from support.people import Frame, Person
from support.relay_process import SERVE, patched

PEOPLE = 10
MESSAGES = amount(400, 2_000)
CONTROL_MESSAGES = 100
IN_FLIGHT = 8
"""Messages that a sender lets wait for their answer: many batches, none of them small."""

SYNCS_PER_MESSAGE = 0.2
PATIENCE = 60.0

LONGEST = "2000000"
"""Bytes of a write that strace shows: more than the relay gives to a socket at once."""

CALLS = "pwrite64,write,writev,sendto,sendmsg,fdatasync,fsync"
BEGAN = re.compile(r"(\d+) +(\w+)\(\d+<([^>]*)>")
ENDED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>")
RESULT = re.compile(r" = (-?\d+)")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
ACCEPTED = re.compile(rf'"messageId":"({UUID.pattern})"[^{{}}]*"status":"accepted"')
FRAME_HEADER_BYTES = 24
"""Of a write-ahead log; a frame's page is written behind it (sqlite.org/fileformat2.html, section 4)."""


@dataclass(slots=True)
class Call:
    """One call: its text, and the lines at which it began and ended."""

    name: str
    target: str
    text: str
    began: int
    ended: int = -1
    result: int = -1

    def data(self) -> str:
        """What was written, one character a byte."""
        return codecs.decode("".join(STRING.findall(self.text)), "unicode_escape")


@dataclass(slots=True)
class Story:
    """What a trace tells; times are line numbers.

    Attributes:
        written: for each message id when the first write that carries it to the log had ended.
        commits: when the page of each frame that ends a transaction had been written.
        syncs: (began, ended) of each successful sync of the log.
        accepted: for each message id when the first write that accepts it to a socket began.
        all_syncs: when each sync of any file ended.
    """

    written: dict[str, int] = field(default_factory=dict)
    commits: list[int] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)
    accepted: dict[str, int] = field(default_factory=dict)
    all_syncs: list[int] = field(default_factory=list)


def parse(lines: Sequence[str]) -> list[Call]:
    """All calls, in the order of their beginnings."""
    calls: list[Call] = []
    running: dict[str, Call] = {}
    for number, line in enumerate(lines):
        if began := BEGAN.match(line):
            thread, name, target = began.groups()
            calls.append(Call(name, target, line[began.end() :], number))
            running[thread] = calls[-1]
            if line.endswith("<unfinished ...>"):
                continue
        elif ended := ENDED.match(line):
            thread = ended[1]
            assert running[thread].name == ended[2], line
        else:
            continue
        call = running.pop(thread)
        call.ended = number
        results = RESULT.findall(line)
        call.result = int(results[-1]) if results else -1
    return calls


def told_by(calls: Sequence[Call]) -> Story:
    story = Story()
    unread: defaultdict[str, str] = defaultdict(str)
    ends_transaction = False
    for call in calls:
        if call.name in ("fdatasync", "fsync"):
            story.all_syncs.append(call.ended)
            if call.target.endswith("relay.db-wal") and call.result == 0:
                story.syncs.append((call.began, call.ended))
        elif call.target.endswith("relay.db-wal"):
            if call.result == FRAME_HEADER_BYTES:
                ends_transaction = call.data()[4:8] != "\0\0\0\0"
            elif ends_transaction:
                story.commits.append(call.ended)
            for message in UUID.findall(call.text):
                story.written.setdefault(message, call.ended)
        elif call.target.startswith("socket:"):
            # A frame may be cut into two writes: what is not matched yet stays in front of the next one.
            text, last = unread[call.target] + call.data(), 0
            for found in ACCEPTED.finditer(text):
                story.accepted.setdefault(found[1], call.began)
                last = found.end()
            unread[call.target] = text[last:][-500:]
    return story


def violations(story: Story, messages: Sequence[str]) -> list[str]:
    """Of these messages, those that were not committed and synced before they were accepted."""
    found = []
    began = [at for at, _ in story.syncs]
    for message in messages:
        accepted = story.accepted.get(message)
        if accepted is None or message not in story.written:
            found.append(f"{message}: accepted in line {accepted}, written in {story.written.get(message)}")
            continue
        commit = bisect_left(story.commits, story.written[message])
        sync = bisect_left(began, story.commits[commit]) if commit < len(story.commits) else len(began)
        if sync == len(began) or story.syncs[sync][1] >= accepted:
            found.append(f"{message}: accepted in line {accepted}, before the sync of its commit")
    return found


def syncs_per_message(story: Story, messages: Sequence[str]) -> float:
    """Syncs of all files from the first write of one of these messages to the last acceptance."""
    first = min(story.written[message] for message in messages)
    last = max(story.accepted[message] for message in messages)
    return len([at for at in story.all_syncs if first <= at <= last]) / len(messages)


# --- the load ---------------------------------------------------------------------


async def send_all(url: str, count: int) -> list[str]:
    """Contacts in pairs send each other so many messages in all, pipelined; the ids."""
    async with Connections(url) as connections:
        peers = [await connections.login(Person()) for _ in range(PEOPLE)]
        others = [peers[index ^ 1] for index in range(PEOPLE)]
        for index in range(0, PEOPLE, 2):
            await make_contacts(peers[index], peers[index + 1])
        loads = [
            [peer.person.message(other.person) for _ in range(count // PEOPLE)]
            for peer, other in zip(peers, others, strict=True)
        ]

        async def send(peer: Peer, load: list[Frame]) -> None:
            for sent, message in enumerate(load):
                assert await peer.until(lambda sent=sent: len(peer.accepted) + IN_FLIGHT > 1 + sent)  # type: ignore[misc]
                await peer.send(message)
            assert await peer.until(lambda: len(peer.accepted) == 1 + len(load)), peer.errors
            assert peer.accepted[1:] == ids(load)

        await asyncio.gather(*map(send, peers, loads))
        return [message for load in loads for message in ids(load)]


def traced(folder: Path, command: Sequence[str | Path], count: int) -> tuple[Story, list[str]]:
    """What the kernel saw of a relay while so many messages were sent, and their ids."""
    pipe, trace = folder / "pipe", folder / "trace"
    os.mkfifo(pipe)
    strace: list[str | Path] = [
        "strace",
        "-D",
        "-f",
        "-y",
        "-s",
        LONGEST,
        "--seccomp-bpf",
        "-o",
        pipe,
        "-e",
        f"trace={CALLS}",
    ]
    with (
        trace.open("wb") as file,
        subprocess.Popen(["cat", pipe], stdout=file) as reader,  # it ends when strace does
    ):
        relay = None
        try:
            relay = Variant(folder, "--limits", "off", command=[*strace, *command])
            messages = asyncio.run(send_all(relay.url, count))
            assert relay.stop() == 0
            assert reader.wait(PATIENCE) == 0
        finally:
            if relay is not None:
                relay.kill()
            reader.kill()
    return told_by(parse(trace.read_text().splitlines())), messages


@pytest.fixture(scope="module", autouse=True)
def strace() -> None:
    """Skips where nothing can be traced."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt install strace")
    probe = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"]
    if subprocess.run(probe, capture_output=True, check=False, timeout=PATIENCE).returncode:
        pytest.skip("strace may not trace here: needs ptrace")


def test_accepted_leaves_after_the_sync_of_its_commit(tmp_path: Path) -> None:
    story, messages = traced(tmp_path, SERVE, MESSAGES)
    assert len(set(messages)) == MESSAGES
    assert violations(story, messages) == []
    assert syncs_per_message(story, messages) <= SYNCS_PER_MESSAGE


# --- the controls -----------------------------------------------------------------

WITHOUT_SYNCS = """
from phantom_messenger.engines.sqlite import SQLiteStore
prepare = SQLiteStore._prepare

def unsynced(self, place):
    prepare(self, place)
    self._connection.pragma("synchronous", "normal")

SQLiteStore._prepare = unsynced
"""

ONE_AT_A_TIME = "from phantom_messenger.relay import pipeline; pipeline.MAX_BATCH = 1"


@pytest.mark.parametrize("patch", [WITHOUT_SYNCS, ANSWERS_BEFORE_THE_COMMIT], ids=["unsynced", "before the commit"])
def test_relay_that_answers_too_early_is_caught(tmp_path: Path, patch: str) -> None:
    story, messages = traced(tmp_path, patched(patch), CONTROL_MESSAGES)
    assert len(violations(story, messages)) > CONTROL_MESSAGES // 2


def test_relay_that_syncs_for_every_message_is_caught(tmp_path: Path) -> None:
    story, messages = traced(tmp_path, patched(ONE_AT_A_TIME), CONTROL_MESSAGES)
    assert violations(story, messages) == []
    assert syncs_per_message(story, messages) > SYNCS_PER_MESSAGE
