"""What is done to a cluster while people use it, and how long they may have to wait for it."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cluster import processes
from cluster.nodes import Cluster, Node
from support.relay_process import RelayProcess

SWITCHOVER, STANDBY, POSTMASTER, NODE = 5.0, 3.0, 15.0, 30.0
"""Seconds, at most, in which nothing is accepted."""

WHOLE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster, and the relays on it."""

    cluster: Cluster
    relays: Sequence[RelayProcess]

    def leader(self) -> Node:
        """The node that takes writes; waited for."""
        found = processes.wait_for(self.cluster.leader, within=WHOLE_SECONDS)
        if found is None:
            raise TimeoutError("nobody leads")
        return found

    def standby(self) -> Node:
        """A node that follows."""
        leader = self.leader()
        return next(node for node in self.cluster.nodes if node is not leader)

    def until_whole(self) -> None:
        """Wait until all nodes run, and the standbys follow."""

        def is_whole() -> bool | None:
            states = [member.get("state") for member in self.cluster.members()]
            return True if sum(state in ("running", "streaming") for state in states) == len(states) == 3 else None  # noqa: PLR2004 - nodes

        if processes.wait_for(is_whole, within=WHOLE_SECONDS) is None:
            raise TimeoutError(f"the cluster is not whole: {self.cluster.members()}")


def kill_relay(scene: Scene) -> None:
    """A relay is gone at once; it is started again."""
    scene.relays[0].kill()
    time.sleep(3)
    scene.relays[0].restart()


def pause_relay(scene: Scene) -> None:
    """A relay does nothing, and then goes on as if nothing had been."""
    processes.tell(scene.relays[0].pid, signal.SIGSTOP)
    time.sleep(20)
    processes.tell(scene.relays[0].pid, signal.SIGCONT)


def roll_relays(scene: Scene) -> None:
    """Each relay ends and is started again, as for an update."""
    for relay in scene.relays:
        relay.stop()
        relay.restart()
        time.sleep(1)


def kill_postmaster(scene: Scene) -> None:
    """The primary's server is gone; its Patroni lives."""
    scene.leader().kill_postmaster()


def kill_primary(scene: Scene) -> None:
    """The primary and its Patroni are gone; they come back when another one leads."""
    _lose(scene, scene.leader())


def kill_late(scene: Scene) -> None:
    """The standbys hang, and then the primary is gone: whatever they have not got is lost if it was accepted."""
    primary = scene.leader()
    standbys = [node for node in scene.cluster.nodes if node is not primary]
    held = [pid for node in standbys for pid in _server_of(node)]
    for pid in held:
        processes.tell(pid, signal.SIGSTOP)
    time.sleep(2)
    primary.kill()
    for pid in held:
        processes.tell(pid, signal.SIGCONT)
    _until_other(scene, primary)
    primary.start()


def _lose(scene: Scene, primary: Node) -> None:
    primary.kill()
    _until_other(scene, primary)
    primary.start()


def _until_other(scene: Scene, primary: Node) -> None:
    def other_leads() -> bool | None:
        leader = scene.cluster.leader()
        return True if leader and leader is not primary else None

    if processes.wait_for(other_leads, within=WHOLE_SECONDS) is None:
        raise TimeoutError("no other node leads")


def kill_standby(scene: Scene) -> None:
    """A standby and its Patroni are gone for a while."""
    standby = scene.standby()
    standby.kill()
    time.sleep(10)
    standby.start()


def kill_etcd(scene: Scene) -> None:
    """The etcd beside the primary is gone for a while."""
    node = scene.leader()
    node.kill_etcd()
    time.sleep(10)
    node.start()


def pause_primary(scene: Scene) -> None:
    """All of the primary's node does nothing, until long after another one leads; then it goes on."""
    _pause(scene.leader(), 40)


def pause_standby(scene: Scene) -> None:
    """All of a standby's node does nothing for a while."""
    _pause(scene.standby(), 20)


def _pause(node: Node, seconds: float) -> None:
    node.pause()
    time.sleep(seconds)
    node.resume()


def pause_postmaster(scene: Scene) -> None:
    """The primary's server does nothing; its Patroni lives."""
    _hold(_server_of(scene.leader()), 40)


def pause_etcd(scene: Scene) -> None:
    """The etcd beside the primary does nothing for a while."""
    pid = scene.leader().etcd_pid
    _hold([] if pid is None else [pid], 20)


def _server_of(node: Node) -> list[int]:
    """The processes of its PostgreSQL server."""
    pid = node.postmaster_pid
    return [] if pid is None else [pid, *processes.children(pid)]


def _hold(pids: Sequence[int], seconds: float) -> None:
    for pid in pids:
        processes.tell(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in pids:
        processes.tell(pid, signal.SIGCONT)


def switchover(scene: Scene) -> None:
    """Another node leads, as planned."""
    scene.cluster.switchover()


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done, and the longest silence that it may bring, in seconds."""

    do: Callable[[Scene], None]
    most: float


FAULTS: Final = {
    "roll-relays": Fault(roll_relays, STANDBY),
    "kill-relay": Fault(kill_relay, STANDBY),
    "pause-relay": Fault(pause_relay, STANDBY),
    "switchover": Fault(switchover, SWITCHOVER),
    "kill-standby": Fault(kill_standby, STANDBY),
    "pause-standby": Fault(pause_standby, STANDBY),
    "kill-etcd": Fault(kill_etcd, STANDBY),
    "pause-etcd": Fault(pause_etcd, STANDBY),
    "kill-postmaster": Fault(kill_postmaster, POSTMASTER),
    "pause-postmaster": Fault(pause_postmaster, NODE),
    "kill-primary": Fault(kill_primary, NODE),
    "pause-primary": Fault(pause_primary, NODE),
    "kill-late": Fault(kill_late, NODE),
}
