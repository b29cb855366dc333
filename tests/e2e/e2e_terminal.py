"""A command on a pseudo-terminal, as a person sees it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyte

from support.command_line import QUICK, environment

PATIENCE = 100.0
ROWS, COLUMNS = 24, 110
LOCAL_FLAGS = 3


class _Screen(pyte.Screen):
    """A screen that answers when the program asks where the cursor is."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        super().__init__(COLUMNS, ROWS)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data)


class Terminal:
    """A command on a pseudo-terminal.

    ``pid``: its process. ``is_left_as_it_was``: at its end, whether a shell could go on there.
    """

    is_left_as_it_was = False

    def __init__(
        self, home: Path, *arguments: str, program: Sequence[str] = QUICK, without: tuple[str, ...] = ()
    ) -> None:
        self.pid, self._master = pty.fork()
        if not self.pid:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            kept = {name: value for name, value in environment(home).items() if name not in without}
            variables = {**kept, "TERM": "xterm", "LANG": "C.UTF-8"}
            os.execve(program[0], [*program, *arguments], variables)  # noqa: S606 - the program under test
        self._screen = _Screen(self._write)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def shown(self) -> str:
        """The screen as a person sees it."""
        return "\n".join(line.rstrip() for line in self._screen.display).strip()

    @property
    def reads_lines(self) -> bool:
        """Whether the terminal is as a shell needs it; a program that reads keys has changed it."""
        flags: int = termios.tcgetattr(self._master)[LOCAL_FLAGS]
        return bool(flags & termios.ICANON and flags & termios.ECHO and flags & termios.ISIG)

    @property
    def _hides_what_is_typed(self) -> bool:
        flags: int = termios.tcgetattr(self._master)[LOCAL_FLAGS]
        return not flags & termios.ECHO

    @property
    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def type(self, text: str) -> None:
        """Type once the program reads keys, and not lines: while it prints, the terminal takes Ctrl-C for itself."""
        deadline = time.monotonic() + PATIENCE
        while self.reads_lines:
            assert time.monotonic() < deadline, f"it reads no keys: {self.shown}"
            time.sleep(0.01)
        self._write(text)

    def _write(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str | re.Pattern[str]) -> None:
        """Wait until the text is shown, or what matches the pattern."""
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        deadline = time.monotonic() + PATIENCE
        while not pattern.search(self.shown):
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} was not shown: {self.shown}"
            try:
                self._stream.feed(os.read(self._master, 65_536))
            except OSError:
                raise AssertionError(f"it ended before {text!r} was shown: {self.shown}") from None

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.ended()

    def interrupt(self) -> int:
        """Ctrl-C while it asks for a passphrase; the exit code.

        As a person would, it presses again while it is still asked: the program discards what was typed before it
        asks, and Python overlooks a signal that comes right before it begins to read.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._hides_what_is_typed and time.monotonic() < deadline:
            time.sleep(0.01)
        while not self._has_ended and self._hides_what_is_typed and time.monotonic() < deadline:
            self._write("\x03")
            again = time.monotonic() + 0.5
            while not self._has_ended and time.monotonic() < again:
                time.sleep(0.01)
        return self.ended()

    def leave(self) -> int:
        """Ctrl-D; the exit code."""
        self.type("\x04")
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if ready:
                try:
                    if not os.read(self._master, 65_536):
                        break
                except OSError:
                    break
        while not self._has_ended and time.monotonic() < deadline:
            time.sleep(0.01)
        if not self._has_ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise AssertionError(f"it does not end: {self.shown}")
        _, status = os.waitpid(self.pid, 0)
        self.is_left_as_it_was = self.reads_lines
        os.close(self._master)
        return os.waitstatus_to_exitcode(status)
