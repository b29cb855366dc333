"""Commands that a program runs which has loaded already what they need: see ``warm_phantom.py``."""

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

_PROGRAM: Final = Path(__file__).parents[1] / "warm_phantom.py"
_SECONDS: Final = 100.0
_USUAL: Final = dict(os.environ)


def is_usual(variables: Mapping[str, str]) -> bool:
    """Whether nothing is set that Python looks at when it starts."""
    names = {name for name in variables.keys() | _USUAL.keys() if not name.startswith("PHANTOM_")}
    return all(variables.get(name) == _USUAL.get(name) for name in names if name != "PYTEST_CURRENT_TEST")


class WarmProcess:
    """A command, with what ``subprocess.Popen`` has for it; text in lines.

    Args:
        command: as it would be called.
        told: where its number and its exit code come.
        stdin, stdout, stderr: ends of pipes.
    """

    def __init__(
        self,
        command: Sequence[str],
        told: socket.socket,
        stdin: IO[str] | None,
        stdout: IO[str],
        stderr: IO[str] | None,
    ) -> None:
        self.args = command
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.returncode: int | None = None
        self._told = told
        self.pid = int(told.recv(64))

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._code(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended."""
        code = self._code(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal; none if it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has, and its exit code is on its way
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _code(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            waits = select.poll()
            waits.register(self._told, select.POLLIN)
            if waits.poll(None if timeout is None else timeout * 1_000):
                self.returncode = int(self._told.recv(64) or -signal.SIGKILL)  # the program ends all that it runs
                self._told.close()
        return self.returncode


class Warm:
    """The program.

    Args:
        role: whose commands it runs: "relay" or "client".
    """

    def __init__(self, role: str) -> None:
        self._commands, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._program = subprocess.Popen(
                [sys.executable, str(_PROGRAM), str(theirs.fileno()), role],
                env=_USUAL,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,  # as each command has: Python looks at them when it starts
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the tests, which end it
            )

    def start(
        self, arguments: Sequence[str], variables: Mapping[str, str], log: IO[str] | None = None, patch: str = ""
    ) -> WarmProcess:
        """Start a command.

        Args:
            arguments: its own.
            variables: its environment.
            log: gets its errors, and it has no input; pipes if it is None.
            patch: Python text that is run before the command.
        """
        asked = json.dumps(
            {"arguments": [*arguments], "variables": {**variables}, "folder": str(Path.cwd()), "patch": patch}
        )
        told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stdin, to = os.pipe() if log is None else (os.open(os.devnull, os.O_RDONLY), None)
        out, output = os.pipe()
        err, errors = os.pipe() if log is None else (None, os.dup(log.fileno()))
        socket.send_fds(self._commands, [asked.encode()], [stdin, output, errors, theirs.fileno()])
        theirs.close()
        for file in (stdin, output, errors):
            os.close(file)
        return WarmProcess(
            ["phantom", *arguments],
            told,
            None if to is None else os.fdopen(to, "w", 1),
            os.fdopen(out),
            None if err is None else os.fdopen(err),
        )

    def end(self) -> None:
        """End it, and what it still runs."""
        self._commands.close()
        self._program.communicate(timeout=_SECONDS)


@functools.cache
def warm(role: str) -> Warm:
    """The one that all tests of this process share."""
    made = Warm(role)
    atexit.register(made.end)
    return made


def finished(process: WarmProcess, stdin: str, patience: float) -> "subprocess.CompletedProcess[str]":
    """Wait for a command's end, for so many seconds; as ``subprocess.run``."""
    assert process.stdin is not None
    assert process.stderr is not None
    with ThreadPoolExecutor(3) as threads:
        writing = threads.submit(_write, process.stdin, stdin)
        texts = [threads.submit(_read, pipe) for pipe in (process.stdout, process.stderr)]
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise subprocess.TimeoutExpired(process.args, patience, *(text.result() for text in texts)) from None
        writing.result()
        stdout, stderr = (text.result() for text in texts)
    return subprocess.CompletedProcess(process.args, code, stdout, stderr)


def _write(pipe: IO[str], text: str) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(text)


def _read(pipe: IO[str]) -> str:
    with pipe:
        return pipe.read()
