"""Processes of a cluster: started as an unprivileged user, and ended, held or let go by their ids."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from cluster.network import Machine
from cluster.programs import as_whom

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)

Result = TypeVar("Result")


def start(
    command: Sequence[str | Path], log: Path, *, more: Mapping[str, str] | None = None, on: Machine | None = None
) -> subprocess.Popen[bytes]:
    """Start a program as nobody of importance, in a session of its own: Ctrl-C at the terminal is for us alone.

    Args:
        command: the program and its arguments.
        log: what it says is added there.
        more: for its environment.
        on: where it runs; with us if left out.
    """
    whom = as_whom()
    if on is not None:  # entering is root's
        command, whom = [*on.enter(whom), *command], {}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PHANTOM_", "PATRONI_", "PG", "ETCD_", "PYTHONPATH"))
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=log.parent,
            env={**kept, "HOME": str(log.parent), **(more or {})},
            start_new_session=True,
            preexec_fn=_end_with_us if sys.platform == "linux" else None,  # noqa: PLW1509 - one call of the system
            **whom,
        )


def _end_with_us() -> None:
    """Have the system tell the process to end when ours does, even if ours is killed: prctl(2)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def is_running(process: "subprocess.Popen[bytes] | None") -> bool:
    """Whether it was started and has not ended."""
    return process is not None and process.poll() is None


def tell(pid: int | None, number: signal.Signals) -> None:
    """Send a signal; a process that is gone is no error."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def ending(process: "subprocess.Popen[bytes] | None") -> str:
    """How a process ended, in words; empty if it runs, or was never started."""
    status = process.poll() if process else None
    if status is None:
        return ""
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def last_words(log: Path, begins: int = 0) -> str:
    """The last line of a log from an offset on."""
    return log.read_bytes()[begins:].decode(errors="replace").strip().rpartition("\n")[2] or "nothing"


def end(process: "subprocess.Popen[bytes] | None", *, within: float, number: signal.Signals = signal.SIGTERM) -> None:
    """Ask a process to end by this signal, and kill it if it does not."""
    if process is None or process.poll() is not None:
        return
    tell(process.pid, signal.SIGCONT)
    tell(process.pid, number)
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_children(*, within: float) -> None:
    """End whatever this process has started: an interruption may have come before somebody knew of it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in children(os.getpid()):
            tell(pid, number)
        wait_for(_has_no_children, within=within)


def _has_no_children() -> bool | None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return None


def children(pid: int) -> list[int]:
    """The processes that a process has started itself."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def wait_for(look: "Callable[[], Result | None]", *, within: float) -> "Result | None":
    """What ``look`` finds, or ``None`` after so many seconds."""
    ends = time.monotonic() + within
    while (found := look()) is None and time.monotonic() < ends:
        time.sleep(0.1)
    return found
