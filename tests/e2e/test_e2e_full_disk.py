"""A chat whose profile is on a disk that is really full: what was typed is kept, and the chat goes on."""

import errno
import os
import re
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import pytest
from e2e_people import meet_offline
from e2e_terminal import PATIENCE, Terminal

from support.command_line import QUICK, Running
from support.mounts import own_mounts

pytestmark = pytest.mark.filterwarnings("ignore:This process")

SMALL = 'cp -a "$1" "$2" && mount -t tmpfs -o size=2m phantom-test "$1" && cp -a "$2/." "$1" && shift 2 && exec "$@"'
"""Runs a program whose home folder is on a disk of 2 MiB, which is gone with it."""

PAGE = 4_096
MOST = 1_000
"""Messages that find room at most where nothing is free: in what SQLite has taken already."""

OF_BEFORE = """
import pathlib, runpy, sys
sys.path.insert(0, str(pathlib.Path(sys.argv[1]).parent))
from phantom_messenger.cli import chat
chat.VaultError = ZeroDivisionError  # never raised here
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    meet_offline(home)
    return home


def small(home: Path, program: Sequence[str] = QUICK) -> list[str]:
    which = own_mounts()
    found = next(one for one in os.get_exec_path() if Path(one, which[0]).exists())
    return [f"{found}/{which[0]}", *which[1:], "sh", "-c", SMALL, "sh", str(home), str(home.with_name("b")), *program]


class Disk:
    """The disk of a program that runs, seen from outside."""

    def __init__(self, home: Path, pid: int) -> None:
        self._filler = Path(f"/proc/{pid}/root{home}/filler")

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file:
            while self._has_room(file):
                pass

    @staticmethod
    def _has_room(file: FileIO) -> bool:
        try:
            return file.write(bytes(PAGE)) > 0
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False

    def free(self) -> None:
        self._filler.unlink()


def typed_until(chat: Terminal, disk: Disk, pattern: re.Pattern[str]) -> int:
    """Type on a full disk until something is said of it; which line that was."""
    for number in range(MOST):
        disk.fill()
        chat.type(f"line {number}.\r")
        # With its time: without one it is what has been typed, before anything was made of it.
        chat.wait_for(re.compile(rf"\d\d:\d\d you: line {number}\.|{pattern.pattern}"))
        if pattern.search(chat.shown):
            return number
    raise AssertionError("the disk never was full")


def test_chat_on_a_full_disk_keeps_what_was_typed_and_goes_on(home: Path) -> None:
    chat = Terminal(home, "chat", "-p", "alice", "bob", program=small(home))
    chat.wait_for("/help shows more")
    disk = Disk(home, chat.pid)
    number = typed_until(chat, disk, re.compile(r"not saved and not sent"))
    chat.wait_for(re.compile(rf"the line again.*\nyou: line {number}\.", re.DOTALL))
    assert "free some disk space" in chat.shown.replace("\n", " ")
    disk.fill()
    chat.type("\r")
    chat.wait_for(re.compile(rf"(the line again.*){{2}}\nyou: line {number}\.", re.DOTALL))
    assert not re.search(rf"\d\d:\d\d you: line {number}\.", chat.shown), "it is not shown as if it was on its way"
    disk.free()
    chat.type(" And more.\r")
    chat.wait_for(re.compile(rf"\d\d:\d\d you: line {number}\. And more\."))
    chat.type("after\r")
    chat.wait_for(re.compile(r"\d\d:\d\d you: after"))
    assert chat.leave() == 0


def test_control_chat_that_does_not_expect_a_full_disk_ends_with_what_was_typed(home: Path) -> None:
    program = small(home, [QUICK[0], "-c", OF_BEFORE, *QUICK[1:]])
    chat = Terminal(home, "chat", "-p", "alice", "bob", program=program)
    chat.wait_for("/help shows more")
    typed_until(chat, Disk(home, chat.pid), re.compile("phantom: cannot write to"))
    assert chat.ended() == 1


def test_lines_of_a_file_end_at_the_first_that_finds_no_room_and_it_is_said_which(home: Path) -> None:
    chat = Running(home, "chat", "-p", "alice", "bob", program=small(home))
    chat.type("/help")
    deadline = time.monotonic() + PATIENCE
    while not chat.errors:
        assert time.monotonic() < deadline, "it takes no lines"
        time.sleep(0.01)
    Disk(home, chat._process.pid).fill()
    for number in range(MOST):
        try:
            chat.type(f"line {number}")
        except BrokenPipeError:
            break
    assert chat.ended() == 1
    said = chat.errors[-1]  # and nothing of a line that was still being read
    assert re.match(r"phantom: line [\d,]+ and what follows it was not sent: cannot write to .*; free some disk", said)
