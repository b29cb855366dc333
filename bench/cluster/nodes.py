"""A cluster: database nodes (PostgreSQL, Patroni, etcd) and relays, to start, to break and to end."""

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster import processes, settings
from cluster.claims import HOST, choose_ports, give, hold, must_be_free
from cluster.network import Machine, Network
from cluster.programs import PATRONI, ClusterError, Pinned, Programs, Progress, install
from cluster.relay import START_SECONDS, STOP_SECONDS, RelayNode, revive, start_all
from cluster.server import make_store


class Node:
    """A database node: etcd, Patroni, and the PostgreSQL server that Patroni keeps; on a ``machine``, or with us."""

    def __init__(self, place: settings.Place, folder: Path, programs: Programs, machine: Machine | None = None) -> None:
        self.place = place
        self.machine = machine
        self.folder = folder
        self._programs = programs
        self._all_of = [place]
        self._etcd: subprocess.Popen[bytes] | None = None
        self._patroni: subprocess.Popen[bytes] | None = None
        self._held: list[int] = []

    @property
    def name(self) -> str:
        """Its name in Patroni and etcd."""
        return self.place.name

    @property
    def host(self) -> str:
        """Where all of it listens."""
        return self.place.host

    @property
    def port(self) -> int:
        """Of its PostgreSQL server."""
        return self.place.postgres

    @property
    def etcd_pid(self) -> int | None:
        """Of its etcd, if that runs."""
        return self._etcd.pid if self._etcd and self._etcd.poll() is None else None

    @property
    def patroni_pid(self) -> int | None:
        """Of its Patroni, if that runs."""
        return self._patroni.pid if self._patroni and self._patroni.poll() is None else None

    @property
    def postmaster_pid(self) -> int | None:
        """Of the server that runs now."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            if Path(f"/proc/{pid}/comm").read_text().strip() == "postgres":
                return pid
        return None

    def write_settings(self, all_of: list[settings.Place], password: str, replication: settings.Replication) -> None:
        """Write what its Patroni reads; ``all_of`` are the nodes."""
        self._all_of = all_of
        self.folder.mkdir(mode=0o700, exist_ok=True)
        text = settings.patroni(self.place, self.folder, all_of=all_of, password=password, replication=replication)
        (self.folder / "patroni.json").write_text(text)
        give(self.folder)
        give(self.folder / "patroni.json")

    def start(self) -> None:
        """Start what of it does not run. Its server follows when Patroni sees fit."""
        if not processes.is_running(self._etcd):
            arguments = settings.etcd(self.place, self.folder, all_of=self._all_of)
            command: list[str | Path] = [self._programs.etcd, *arguments]
            self._etcd = processes.start(command, self.folder / "etcd.log", on=self.machine)
        if not processes.is_running(self._patroni):
            postgres = self._programs.postgres
            path = f"{postgres.folder}:{os.environ.get('PATH', '')}"
            command = [self._programs.patroni, self.folder / "patroni.json"]
            more = {**postgres.environment, "PATH": path}
            self._patroni = processes.start(command, self.folder / "patroni.log", more=more, on=self.machine)

    def kill_postmaster(self) -> None:
        """Kill its server; Patroni starts it again, or another node leads."""
        processes.tell(self.postmaster_pid, signal.SIGKILL)

    def kill(self) -> None:
        """The node's Patroni and server are gone at once; its etcd stays."""
        processes.tell(self.patroni_pid, signal.SIGKILL)
        self.kill_postmaster()
        if self._patroni:
            self._patroni.wait()

    def kill_etcd(self) -> None:
        """Kill its etcd."""
        processes.tell(self.etcd_pid, signal.SIGKILL)
        if self._etcd:
            self._etcd.wait()

    def pause(self) -> None:
        """Hold all of its processes."""
        self._hold(self.patroni_pid, self.etcd_pid)
        self.pause_server()

    def pause_server(self) -> None:
        """Hold the processes of its server; Patroni goes on."""
        server = self.postmaster_pid
        self._hold(server)  # first: then it starts no more
        self._hold(*(processes.children(server) if server else []))

    def pause_etcd(self) -> None:
        """Hold its etcd."""
        self._hold(self.etcd_pid)

    def _hold(self, *pids: int | None) -> None:
        for pid in pids:
            if pid is not None:
                processes.tell(pid, signal.SIGSTOP)
                self._held.append(pid)

    def resume(self) -> None:
        """Let go on what was held."""
        for pid in self._held:
            processes.tell(pid, signal.SIGCONT)
        self._held = []

    def stop_database(self) -> None:
        """Patroni ends its server with itself."""
        self.resume()
        processes.end(self._patroni, within=STOP_SECONDS)
        processes.tell(self.postmaster_pid, signal.SIGQUIT)
        processes.wait_for(lambda: None if self.postmaster_pid else True, within=STOP_SECONDS)

    def stop_etcd(self) -> None:
        """End its etcd."""
        processes.end(self._etcd, within=STOP_SECONDS)

    def ask(self, what: str) -> Any:
        """An answer of its Patroni, or ``None``."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.place.patroni}/{what}", timeout=2) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None


class Cluster:
    """Database nodes and relays on loopback ports. What they store stays in the folder, for the next start.

    Args:
        folder: for everything; made if it is not there.
        nodes: how many database nodes.
        relays: how many relays.
        replication: for which standbys a commit waits.
        patroni: which Patroni; the controls of tests have others.
        network: has a machine for each node then, and ends with us; otherwise they are on loopback ports.
        first_port: the ports from there on; free ones if nothing is said.
        programs: the folder for programs that the system lacks.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 3,
        relays: int = 3,
        replication: settings.Replication = settings.QUORUM,
        patroni: Pinned = PATRONI,
        network: Network | None = None,
        first_port: int | None = None,
        programs: Path | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._programs_folder = (programs or folder / "programs").resolve()
        self._counts = (nodes, relays)
        self._replication = replication
        self._patroni = patroni
        self._network = network
        self._first_port = first_port
        self._lock: int | None = None
        self._password = ""
        self._leading = ""
        self.nodes: list[Node] = []
        self.relays: list[RelayNode] = []

    @property
    def url(self) -> str:
        """Of the store, with all of the hosts."""
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.nodes)
        return f"postgresql://phantom:{self._password}@{hosts}/phantom"

    def start(self, progress: Progress) -> None:
        """Start everything, and wait until all relays listen; ends what runs already if something does not start.

        Raises:
            ClusterError: it could not be started, in a sentence.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = hold(self.folder)
        try:
            self._start(progress)
        except BaseException:
            self.stop()
            raise

    def _start(self, progress: Progress) -> None:
        programs = install(self._programs_folder, progress, self._patroni)
        self._make(programs)
        progress(f"Starting {len(self.nodes)} database nodes ...")
        for node in self.nodes:
            node.start()
        if processes.wait_for(lambda: True if self.is_whole() else None, within=START_SECONDS) is None:
            raise ClusterError(f"the database nodes do not come up; {self.folder}/node*/patroni.log may say why")
        self._prepare()
        progress(f"Starting {len(self.relays)} relays ...")
        start_all(self.relays)

    def _make(self, programs: Programs) -> None:
        nodes, relays = self._counts
        kept = self.folder / "cluster.json"
        if kept.exists():
            known = json.loads(kept.read_text())
        else:
            known = {"password": secrets.token_hex(16), "ports": choose_ports(nodes * 4 + relays, self._first_port)}
            kept.touch(mode=0o600)
            kept.write_text(json.dumps(known))
        ports = known["ports"]
        if self._network is None:
            must_be_free(ports)
        self._password = known["password"]
        for index in range(nodes):
            machine = self._network.add() if self._network else None
            host = machine.host if machine else HOST
            a, b, c, d = ports[index * 4 : index * 4 + 4]
            name = f"node{index + 1}"
            place = settings.Place(name=name, host=host, postgres=a, patroni=b, etcd=c, etcd_peers=d)
            self.nodes.append(Node(place, self.folder / name, programs, machine))
        places = [node.place for node in self.nodes]
        for node in self.nodes:
            node.write_settings(places, self._password, self._replication)
        logs = self.folder / "relays"
        logs.mkdir(exist_ok=True)
        give(logs)
        self.relays = [
            RelayNode(f"relay{index}", port, logs, self.url) for index, port in enumerate(ports[nodes * 4 :], 1)
        ]

    def members(self) -> list[dict[str, Any]]:
        """What Patroni knows of the nodes, asked of the first that answers."""
        for node in self.nodes:
            answer = node.ask("cluster") if node.patroni_pid else None
            if answer and any(member.get("role") == "leader" for member in answer.get("members", [])):
                return list(answer["members"])
        return []

    def leader(self) -> Node | None:
        """Who takes writes, as far as Patroni knows."""
        leading = {member["name"] for member in self.members() if member.get("role") == "leader"}
        return next((node for node in self.nodes if node.name in leading), None)

    def is_whole(self) -> bool:
        """Whether all nodes run, and commits wait for as many standbys as they should."""
        members = self.members()
        running = [member for member in members if member.get("state") in ("running", "streaming")]
        awaited = [member for member in members if member.get("role") == self._replication.role]
        most = min(self._replication.awaited, len(self.nodes) - 1)
        return len(running) == len(self.nodes) and len(awaited) == most

    def _prepare(self) -> None:
        """Make the relays' role and database, if they are not there."""
        leader = self.leader()
        if leader is None:
            raise ClusterError("the database nodes came up, and went away again; start the cluster once more")
        make_store(leader.host, leader.port, self._password)

    def ready(self) -> Iterator[str]:
        """Where clients connect."""
        for relay in self.relays:
            yield f"listening on {relay.url}"

    def attend(self) -> Iterator[str]:
        """Start relays again that have ended, and say who leads when that changes."""
        yield from revive(self.relays)
        leader = self.leader()
        leading = f"{leader.name} leads" if leader else "nobody leads"
        if leading != self._leading:
            yield leading
            self._leading = leading

    def switchover(self) -> None:
        """Have another node lead, as before a restart for maintenance; returns when Patroni has done it."""
        leader = self.leader()
        if leader is None:
            raise ClusterError("nobody leads")
        token = base64.b64encode(f"patroni:{self._password}".encode()).decode()
        request = urllib.request.Request(
            f"http://{leader.host}:{leader.place.patroni}/switchover",
            data=json.dumps({"leader": leader.name}).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - a fixed scheme
            answer.read()

    def stop(self) -> None:
        """End everything that was started."""
        for relay in self.relays:
            relay.stop()
        for node in self.nodes:
            node.stop_database()
        for node in self.nodes:
            node.stop_etcd()
            if node.machine:
                node.machine.end()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
