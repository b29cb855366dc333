"""A cluster: database nodes (PostgreSQL, Patroni, etcd) and relays, to start, to break and to end."""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psycopg

from cluster import processes, settings
from cluster.programs import ClusterError, Programs, Progress, as_whom, install

START_SECONDS = 120.0
STOP_SECONDS = 20.0
HOST = "127.0.0.1"
PHANTOM = Path(sys.executable).with_name("phantom")


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
        _give(self.folder)
        _give(self.folder / "patroni.json")

    def start(self) -> None:
        """Start what of it does not run. Its server follows when Patroni sees fit."""
        if not processes.is_running(self._etcd):
            arguments = settings.etcd(self.place, self.folder, all_of=self._all_of)
            self._etcd = processes.start([self._programs.etcd, *arguments], self.folder / "etcd.log")
        if not processes.is_running(self._patroni):
            path = f"{self._programs.postgres}:{os.environ.get('PATH', '')}"
            command = [self._programs.patroni, self.folder / "patroni.json"]
            self._patroni = processes.start(command, self.folder / "patroni.log", more={"PATH": path})

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


class RelayNode:
    """A relay of the cluster, on a port of its own."""

    def __init__(self, name: str, port: int, folder: Path, store: str, *, shares_port: bool = False) -> None:
        self.name = name
        self.port = port
        self._folder = folder
        self._store = store
        self._shares_port = shares_port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{HOST}:{self.port}/ws"

    @property
    def pid(self) -> int | None:
        """Of its process, if that runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        """What it says."""
        return self._folder / f"{self.name}.log"

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            ClusterError: it has ended instead, or does not listen in time.
        """
        begins = self.log.stat().st_size if self.log.exists() else 0
        command: list[str | Path] = [PHANTOM, "serve", "--host", HOST, "--port", str(self.port), "--rate-auth", "60"]
        command += ["--share-port", "on"] if self._shares_port else []
        started = self._process = processes.start(
            command, self.log, more={"PHANTOM_STORE": self._store}, as_ourselves=True
        )

        def listens() -> bool | None:
            if started.poll() is not None:
                return False
            return True if b"listening on" in self.log.read_bytes()[begins:] else None

        if not processes.wait_for(listens, within=START_SECONDS):
            raise ClusterError(f"{self.name} does not start; {self.log} says why")

    def stop(self) -> None:
        """Ask it to end, and wait."""
        processes.end(self._process, within=STOP_SECONDS)

    def kill(self) -> None:
        """Kill it."""
        processes.tell(self.pid, signal.SIGKILL)
        if self._process:
            self._process.wait()

    def pause(self) -> None:
        """Hold it."""
        processes.tell(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let go on what was held."""
        processes.tell(self.pid, signal.SIGCONT)


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
        self._lock = lock(self.folder)
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
        for relay in self.relays:
            relay.start()

    def _make(self, programs: Programs) -> None:
        nodes, relays = self._counts
        kept = self.folder / "cluster.json"
        if kept.exists():
            known = json.loads(kept.read_text())
        else:
            known = {"password": secrets.token_hex(16), "ports": _ports(nodes * 4 + relays, self._first_port)}
            kept.touch(mode=0o600)
            kept.write_text(json.dumps(known))
        ports = known["ports"]
        _must_be_free(ports)
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
        _give(logs)
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
        where: dict[str, Any] = {"host": leader.host, "port": leader.port, "user": "postgres"}
        with psycopg.connect(**where, password=self._password, dbname="postgres", autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'phantom'").fetchone():
                connection.execute(f"CREATE ROLE phantom LOGIN PASSWORD '{self._password}'".encode())
                connection.execute("GRANT pg_checkpoint TO phantom")
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'phantom'").fetchone():
                connection.execute("CREATE DATABASE phantom OWNER phantom")
        with psycopg.connect(**where, password=self._password, dbname="phantom", autocommit=True) as connection:
            connection.execute("GRANT EXECUTE ON FUNCTION pg_switch_wal() TO phantom")

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


def lock(folder: Path) -> int:
    """Hold a folder while the descriptor is open.

    Raises:
        ClusterError: another process holds it.
    """
    held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise ClusterError(f"a cluster runs already in {folder}; end that one first") from None
    return held


def _ports(count: int, first: int | None) -> list[int]:
    if first is not None:
        return list(range(first, first + count))
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def _must_be_free(ports: list[int]) -> None:
    taken = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                taken.append(str(port))
    if taken:
        raise ClusterError(f"taken by another program: port {', '.join(taken)} of {HOST}")


def _give(path: Path) -> None:
    whom = as_whom()
    if whom:
        os.chown(path, whom["user"], whom["group"])
