"""What is done to a cluster while people use it, and how long they may have to wait for it."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cluster import etcd, processes
from cluster.network import Machine, cut
from cluster.nodes import Cluster, Node
from support.relay_process import SERVE, RelayProcess

SWITCHOVER, STANDBY, POSTMASTER, NODE = 5.0, 3.0, 15.0, 30.0
"""Seconds, at most, in which nothing is accepted."""

WHOLE_SECONDS: Final = 120.0
SHORT_SECONDS: Final = 20.0
"""Longer than a relay waits for an answer."""

LONG_SECONDS: Final = 40.0
"""Longer than it takes until another node leads."""

GOING_AWAY: Final = 1001


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster, and the relays on it.

    Attributes:
        machines: those that the relays run on, if there is a network to be cut.
    """

    cluster: Cluster
    relays: Sequence[RelayProcess]
    machines: Sequence[Machine] = ()

    def leader(self) -> Node:
        """The node that takes writes; waited for."""
        self.until(lambda: self.cluster.leader() is not None, "somebody leads")
        leader = self.cluster.leader()
        if leader is None:
            raise TimeoutError("who led a moment ago leads no more")
        return leader

    def standbys(self) -> list[Node]:
        """The nodes that follow."""
        leader = self.leader()
        return [node for node in self.cluster.nodes if node is not leader]

    def until_whole(self) -> None:
        """Wait until all nodes run, and the standbys follow."""
        self.until(self.cluster.is_whole, "the cluster is whole")

    def until(self, so: Callable[[], bool], what: str) -> None:
        """Wait for something.

        Raises:
            TimeoutError: it does not happen.
        """
        if processes.wait_for(lambda: so() or None, within=WHOLE_SECONDS) is None:
            raise TimeoutError(f"waited in vain until {what}: {self.cluster.members()}")


def kill_relay(scene: Scene) -> None:
    """A relay is gone at once; it is started again."""
    scene.relays[0].kill()
    time.sleep(3)
    scene.relays[0].restart()


def pause_relay(scene: Scene) -> None:
    """A relay does nothing, and then goes on as if nothing had been."""
    processes.tell(scene.relays[0].pid, signal.SIGSTOP)
    time.sleep(SHORT_SECONDS)
    processes.tell(scene.relays[0].pid, signal.SIGCONT)


def roll_relays(scene: Scene) -> None:
    """Each relay ends and is started again, as for an update."""
    for relay in scene.relays:
        if status := relay.stop():
            raise RuntimeError(f"a relay that was told to end did so with {status}")
        relay.restart()
        time.sleep(1)


def update_relays(scene: Scene) -> None:
    """Relays of an older version end, one after another, and are started in the version of today."""
    for relay in scene.relays:
        relay.command = SERVE
    roll_relays(scene)


def kill_postmaster(scene: Scene) -> None:
    """The primary's server is gone; its Patroni lives."""
    scene.leader().kill_postmaster()


def kill_primary(scene: Scene) -> None:
    """The primary and its Patroni are gone; they come back when another one leads."""
    primary = scene.leader()
    primary.kill()
    _until_other(scene, primary)
    primary.start()


def kill_late(scene: Scene) -> None:
    """The standbys hang, and then the primary is gone."""
    primary, standbys = scene.leader(), scene.standbys()
    for node in standbys:
        node.pause_server()
    time.sleep(2)
    primary.kill()
    for node in standbys:
        node.resume()
    _until_other(scene, primary)
    primary.start()


def _until_other(scene: Scene, primary: Node) -> None:
    scene.until(lambda: scene.cluster.leader() not in (None, primary), "another node leads")


def kill_standby(scene: Scene) -> None:
    """A standby and its Patroni are gone for a while."""
    standby = scene.standbys()[0]
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
    primary = scene.leader()
    primary.pause()
    time.sleep(LONG_SECONDS)
    primary.resume()


def pause_standby(scene: Scene) -> None:
    """All of a standby's node does nothing for a while."""
    standby = scene.standbys()[0]
    standby.pause()
    time.sleep(SHORT_SECONDS)
    standby.resume()


def pause_postmaster(scene: Scene) -> None:
    """The primary's server does nothing; its Patroni lives."""
    primary = scene.leader()
    primary.pause_server()
    time.sleep(LONG_SECONDS)
    primary.resume()


def pause_etcd(scene: Scene) -> None:
    """The etcd beside the primary does nothing for a while."""
    primary = scene.leader()
    primary.pause_etcd()
    time.sleep(SHORT_SECONDS)
    primary.resume()


def switchover(scene: Scene) -> None:
    """Another node leads, as planned."""
    scene.cluster.switchover()


def cut_primary(scene: Scene) -> None:
    """The primary reaches nobody, and nobody it, until long after another node leads."""
    with _machine(scene.leader()).unplugged():
        time.sleep(LONG_SECONDS)


def cut_primary_and_etcd(scene: Scene) -> None:
    """The primary reaches nobody, and its etcd led the others."""
    primary = scene.leader()
    etcd.hand_over(scene.cluster.nodes, primary)
    with _machine(primary).unplugged():
        time.sleep(LONG_SECONDS)


def cut_standby(scene: Scene) -> None:
    """A standby reaches nobody for a while."""
    with _machine(scene.standbys()[0]).unplugged():
        time.sleep(SHORT_SECONDS)


def cut_etcd_leader(scene: Scene) -> None:
    """A standby reaches nobody for a while, and its etcd led the others."""
    standby = scene.standbys()[0]
    etcd.hand_over(scene.cluster.nodes, standby)
    with _machine(standby).unplugged():
        time.sleep(SHORT_SECONDS)


def cut_peers(scene: Scene) -> None:
    """The primary does not reach the other nodes, nor they it; all relays reach all of them."""
    with cut(_machine(scene.leader()), map(_machine, scene.standbys())):
        time.sleep(LONG_SECONDS)


def cut_late(scene: Scene) -> None:
    """The standbys get no more from the primary, and then it is gone: what it accepted meanwhile it had alone."""
    primary, standbys = scene.leader(), scene.standbys()
    with cut(_machine(primary), map(_machine, standbys)):
        time.sleep(2)
        primary.kill()
    _until_other(scene, primary)
    primary.start()


def cut_relay(scene: Scene) -> None:
    """A relay does not reach the primary, nor that the relay."""
    with cut(_machine(scene.leader()), scene.machines[:1]):
        time.sleep(SHORT_SECONDS)


def cut_answers(scene: Scene) -> None:
    """What a relay sends reaches the primary; what that answers is lost."""
    with _machine(scene.leader()).losing(scene.machines[0]):
        time.sleep(SHORT_SECONDS)


def _machine(node: Node) -> Machine:
    if node.machine is None:
        raise LookupError("there is no network to be cut")
    return node.machine


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done.

    Attributes:
        do: does it.
        most: the longest silence that it may bring, in seconds.
        closes: with what connections are closed by relays, if nothing else may end them.
    """

    do: Callable[[Scene], None]
    most: float
    closes: int | None = None


FAULTS: Final = {
    "roll-relays": Fault(roll_relays, STANDBY, closes=GOING_AWAY),
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
UPDATE: Final = Fault(update_relays, STANDBY, closes=GOING_AWAY)
PARTITIONS: Final = {
    "cut-relay": Fault(cut_relay, STANDBY),
    "cut-answers": Fault(cut_answers, STANDBY),
    "cut-standby": Fault(cut_standby, STANDBY),
    "cut-etcd-leader": Fault(cut_etcd_leader, STANDBY),
    "cut-primary": Fault(cut_primary, NODE),
    "cut-primary-and-etcd": Fault(cut_primary_and_etcd, NODE),
    "cut-peers": Fault(cut_peers, NODE),
    "cut-late": Fault(cut_late, NODE),
}
"""They need a network of our own."""
