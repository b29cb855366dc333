"""What a cluster takes for itself on this machine: a folder, and ports."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cluster.programs import ClusterError, as_whom, must_be_enterable

HOST: Final = "127.0.0.1"


def hold(folder: Path) -> int:
    """Hold a folder while the descriptor is open.

    Raises:
        ClusterError: another process holds it, or those who are to work in it cannot enter it.
    """
    must_be_enterable(folder)
    held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise ClusterError(f"a cluster runs already in {folder}; end that one first") from None
    return held


def choose_ports(count: int, first: int | None = None) -> list[int]:
    """The ports from ``first`` on, or free ones."""
    if first is not None:
        return list(range(first, first + count))
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def must_be_free(ports: Iterable[int]) -> None:
    """Refuse ports that somebody listens on, even if they would share them.

    Raises:
        ClusterError: at least one is taken.
    """
    taken = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                taken.append(str(port))
    if taken:
        raise ClusterError(
            f"taken by another program: port {', '.join(taken)} of {HOST}; stop it, or choose another: ARGS=--help"
        )


def give(path: Path) -> None:
    """Let the user as whom the processes run own a file or folder."""
    whom = as_whom()
    if whom:
        os.chown(path, whom["user"], whom["group"])
