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
from cluster.programs import ClusterError, Programs, Progress, install
from cluster.relay import START_SECONDS, STOP_SECONDS, RelayNode, revive, start_all
from cluster.server import make_store


class Node:
    """A database node: etcd, Patroni, and the PostgreSQL server that Patroni keeps."""

    def __init__(self, place: settings.Place, folder: Path, programs: Programs) -> None:
        self.place = place
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

    def write_settings(self, all_of: list[settings.Place], password: str, standby_names: str | None) -> None:
        """Write what its Patroni reads; ``all_of`` are the nodes."""
        self._all_of = all_of
        self.folder.mkdir(mode=0o700, exist_ok=True)
        text = settings.patroni(self.place, self.folder, all_of=all_of, password=password, standby_names=standby_names)
        (self.folder / "patroni.json").write_text(text)
        give(self.folder)
        give(self.folder / "patroni.json")

    def start(self) -> None:
        """Start what of it does not run. Its server follows when Patroni sees fit."""
        if not processes.is_running(self._etcd):
            arguments = settings.etcd(self.place, self.folder, all_of=self._all_of)
            self._etcd = processes.start([self._programs.etcd, *arguments], self.folder / "etcd.log")
        if not processes.is_running(self._patroni):
            postgres = self._programs.postgres
            path = f"{postgres.folder}:{os.environ.get('PATH', '')}"
            command = [self._programs.patroni, self.folder / "patroni.json"]
            self._patroni = processes.start(
                command, self.folder / "patroni.log", more={**postgres.environment, "PATH": path}
            )

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
        server = self.postmaster_pid
        self._hold(self.patroni_pid, self.etcd_pid, server)  # the server before its processes: it starts no more
        self._hold(*(processes.children(server) if server else []))

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
        standby_names: ``synchronous_standby_names`` instead of Patroni's own choice (a test's control).
        first_port: the ports from there on; free ones if nothing is said.
        programs: the folder for programs that the system lacks.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 3,
        relays: int = 3,
        standby_names: str | None = None,
        first_port: int | None = None,
        programs: Path | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._programs_folder = (programs or folder / "programs").resolve()
        self._counts = (nodes, relays)
        self._standby_names = standby_names
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
        programs = install(self._programs_folder, progress)
        self._make(programs)
        progress(f"Starting {len(self.nodes)} database nodes ...")
        for node in self.nodes:
            node.start()
        if processes.wait_for(lambda: True if self._is_whole() else None, within=START_SECONDS) is None:
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
        must_be_free(ports)
        self._password = known["password"]
        numbers = [ports[index * 4 : index * 4 + 4] for index in range(nodes)]
        places = [
            settings.Place(name=f"node{index}", host=HOST, postgres=a, patroni=b, etcd=c, etcd_peers=d)
            for index, (a, b, c, d) in enumerate(numbers, 1)
        ]
        self.nodes = [Node(place, self.folder / place.name, programs) for place in places]
        for node in self.nodes:
            node.write_settings(places, self._password, self._standby_names)
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

    def _is_whole(self) -> bool:
        members = self.members()
        running = [member for member in members if member.get("state") in ("running", "streaming")]
        awaited = [member for member in members if member.get("role") == "quorum_standby"]
        standbys = len(self.nodes) - 1 if self._standby_names is None else 0  # the control's are not Patroni's
        return len(running) == len(self.nodes) and len(awaited) == standbys

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
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
