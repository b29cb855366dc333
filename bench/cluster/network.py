"""A network of our own: machines, each a network namespace, at one bridge, to be cut off and joined again.

Needs root, and touches nothing of this machine's network. We move into a namespace ourselves, where the bridge is; the
others are held by processes that end with us. Namespaces and all that is in them are gone with their last process, so
there is nothing to clean up, however a run ends, and no name that two runs could both want.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from cluster.programs import ClusterError

SUBNET: Final = "10.87.0"
BRIDGE: Final = "bridge"
CLONE_NEWNET: Final = 0x4000_0000
"""Of ``sched.h``; ``os.unshare`` is there from Python 3.12 on."""

NOWHERE: Final = "02:00:00:00:00:01"
"""The address of no interface: what is sent there is lost without a word."""


class Machine:
    """A machine of a network; ``host`` is its address."""

    def __init__(self, number: int) -> None:
        self.host = f"{SUBNET}.{number}"
        self._port = f"machine{number}"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._holder.stdin  # noqa: S101 - a pipe
        assert self._holder.stdout  # noqa: S101 - a pipe
        self._holder.stdin.write(b"\n")
        if not self._holder.stdout.read(1):
            raise ClusterError("cannot make network namespaces")
        _run("ip", "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", str(self._holder.pid))
        _run("ip", "link", "set", self._port, "master", BRIDGE, "up")
        self._ip("link", "set", "lo", "up")
        self._ip("address", "add", f"{self.host}/24", "dev", "eth0")
        self._ip("link", "set", "eth0", "up")

    def enter(self, whom: Mapping[str, Any] | None = None) -> list[str]:
        """What stands before a command that runs there.

        Args:
            whom: ``user`` and ``group`` whose process it is; root's if left out.
        """
        command = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]
        if whom:
            command += ["setpriv", "--reuid", str(whom["user"]), "--regid", str(whom["group"]), "--clear-groups"]
            command += ["--pdeathsig", "TERM"]  # again: changing the user has cleared it
        return command

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Cut it off from everybody meanwhile."""
        _run("ip", "link", "set", self._port, "down")
        try:
            yield
        finally:
            _run("ip", "link", "set", self._port, "up")

    @contextmanager
    def losing(self, other: "Machine") -> Iterator[None]:
        """Whatever it sends to another one meanwhile is lost; what that one sends arrives."""
        self._ip("neigh", "replace", other.host, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")
        try:
            yield
        finally:
            self._ip("neigh", "del", other.host, "dev", "eth0")

    def _ip(self, *arguments: str) -> None:
        _run(*self.enter(), "ip", *arguments)

    def end(self) -> None:
        """Let go of it: it is gone with the last process that runs there."""
        self._holder.kill()
        self._holder.wait()


class Network:
    """This process and all that it starts are in it, at address 1, from now on.

    Raises:
        ClusterError: it cannot be made.
    """

    def __init__(self) -> None:
        if os.geteuid():
            raise ClusterError("networks that can be cut need root")
        if ctypes.CDLL(None).unshare(CLONE_NEWNET):
            raise ClusterError("this system has no network namespaces, or denies them")
        self._count = 1
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{SUBNET}.1/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")

    def add(self) -> Machine:
        """A machine more."""
        self._count += 1
        return Machine(self._count)


@contextmanager
def cut(one: Machine, others: Iterable[Machine]) -> Iterator[None]:
    """Nothing gets through between a machine and others meanwhile, in neither direction."""
    with ExitStack() as stack:
        for other in others:
            stack.enter_context(one.losing(other))
            stack.enter_context(other.losing(one))
        yield


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", "") or str(error)
        raise ClusterError(f"cannot make a network to cut ({why.strip()})") from None
