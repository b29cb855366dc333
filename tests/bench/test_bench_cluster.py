"""``make cluster``: its parts, with processes that are quick to start; in the long form all of it."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster.claims import HOST, choose_ports, hold, must_be_free
from cluster.programs import ClusterError

from support.amounts import LONG
from support.cluster_process import ROOT, ClusterProcess, left, missing, open_folder, owners, relays, remove
from support.sdk_clients import first, friends, run
from support.waiting import eventually

PORTS = 15
TOY = """
import os, signal, sys, time
from pathlib import Path
from cluster import console, processes
from cluster.programs import ClusterError

KINDS = sys.argv[2:]

class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # what a handler raises here is printed, and forgotten

class Toy:
    def start(self, progress):
        self.known = [processes.start(["sleep", "1000"], Path(sys.argv[1]) / "log")]
        processes.start(["sleep", "1000"], Path(sys.argv[1]) / "log")  # nobody remembers this one
        progress("starting")
        if "starts slowly" in KINDS:
            time.sleep(1000)
        if "swallows it while it starts" in KINDS:
            Swallows()
            progress("further")
            time.sleep(1000)
        if "does not start" in KINDS:
            raise ClusterError("there is no toy")
    def ready(self):
        return ["ready"]
    def attend(self):
        if "swallows it" in KINDS:
            Swallows()
        if "breaks" in KINDS:
            raise OSError("broken")
        return ["attended"]
    def stop(self):
        console.show("stopping")
        if "ends slowly" in KINDS:
            time.sleep(1)
        for one in self.known:
            processes.end(one, within=5)

sys.exit(console.run(Toy()))
"""

Start = Callable[..., ClusterProcess]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = open_folder()
    yield made
    remove(made)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:  # noqa: ARG001 - it is removed after they have ended
    """Starts a command."""
    made: list[ClusterProcess] = []

    def begin(*command: str | Path) -> ClusterProcess:
        process = ClusterProcess(*command)
        made.append(process)
        return process

    yield begin
    for process in made:
        process.stop()


@pytest.fixture
def start_toy(start: Start, folder: Path) -> Start:
    """Starts two processes of no use, as a cluster's are started."""
    (folder / "toy.py").write_text(TOY)
    return lambda *kinds: start(folder / "toy.py", folder, *kinds)


def test_folder_is_held_once(folder: Path) -> None:
    held = hold(folder)
    with pytest.raises(ClusterError, match="runs already"):
        hold(folder)
    os.close(held)
    os.close(hold(folder))


def test_folder_that_nobody_can_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o600)
    if not os.geteuid():
        with pytest.raises(ClusterError, match="cannot enter"):
            hold(tmp_path)
    tmp_path.chmod(0o700)


def test_ports_follow_each_other_or_are_free() -> None:
    assert choose_ports(PORTS, 8180) == list(range(8180, 8195))
    found = choose_ports(PORTS)
    assert len(set(found)) == PORTS
    must_be_free(found)


def test_ports_that_are_taken_are_named_even_if_they_would_be_shared() -> None:
    with socket.socket() as one, socket.socket() as other:
        for listening in (one, other):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.bind((HOST, 0))
            listening.listen()
        ports = [listening.getsockname()[1] for listening in (one, other)]
        with pytest.raises(ClusterError) as refused:
            must_be_free(ports)
    assert (
        str(refused.value)
        == f"taken by another program: port {ports[0]}, {ports[1]} of {HOST}; stop it, or choose another: ARGS=--help"
    )


def end(toy: ClusterProcess, number: signal.Signals) -> int:
    """Tell it to end, and see that nothing is left."""
    processes = toy.processes()
    assert len(processes) == 2
    assert left(processes, seconds=0.1) == processes, "control: what runs is found"
    toy.signal(number)
    status = toy.wait()
    assert left(processes) == []
    return status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_told_to_end_ends_with_all_processes(start_toy: Start, number: signal.Signals) -> None:
    toy = start_toy()
    toy.wait_for("attended")
    assert end(toy, number) == 0
    assert toy.lines[-2:] == ["Ending ...", "stopping"]


def test_what_is_killed_leaves_no_process(start_toy: Start) -> None:
    toy = start_toy()
    toy.wait_for("attended")
    assert end(toy, signal.SIGKILL) == -signal.SIGKILL


def test_what_is_told_to_end_while_it_starts_ends_with_all_processes(start_toy: Start) -> None:
    toy = start_toy("starts slowly")
    toy.wait_for("starting")
    assert end(toy, signal.SIGINT) == 130


def test_second_interrupt_leaves_nothing_running(start_toy: Start) -> None:
    toy = start_toy("ends slowly")
    toy.wait_for("attended")
    toy.signal(signal.SIGINT)
    toy.wait_for("stopping")
    assert end(toy, signal.SIGINT) == 0


@pytest.mark.parametrize(("kind", "status"), [("swallows it", 0), ("swallows it while it starts", 130)])
def test_interrupt_that_a_finalizer_swallows_is_not_lost(start_toy: Start, kind: str, status: int) -> None:
    toy = start_toy(kind)
    toy.wait_for("starting")
    processes = toy.processes()
    assert toy.wait() == status
    assert left(processes) == []


def test_what_breaks_ends_with_all_processes(start_toy: Start) -> None:
    toy = start_toy("breaks")
    toy.wait_for("ready")
    assert toy.wait() == 1
    assert "OSError: broken" in toy.lines[-1]
    assert "stopping" in toy.lines


def test_why_it_does_not_start_is_said_in_a_sentence(start_toy: Start) -> None:
    toy = start_toy("does not start")
    assert toy.wait() == 1
    assert toy.lines == ["starting", "there is no toy"]


@pytest.mark.skipif(not LONG, reason="a cluster that fails over takes half a minute to start: make test-long")
@pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")
def test_users_of_two_relays_of_a_cluster_meet(start: Start, folder: Path, tmp_path: Path) -> None:
    own = ("--folder", folder / "nodes", "--programs", ROOT / ".cluster" / "programs", "--first-port", "0")
    whole = start("-m", "cluster", *own)
    line = whole.wait_for(("listening on ", "cannot get ", "this is no "))
    if not line.startswith("listening on "):
        pytest.skip(f"clusters on this machine: {line}")
    assert whole.wait_for("node").endswith(" leads")
    urls = [line.removeprefix("listening on ") for line in whole.lines if line.startswith("listening on ")]
    assert len(urls) == 3

    async def meet() -> None:
        async with friends(tmp_path, urls[0], urls[1]) as (alice, bob):
            await alice.send("bob", "hello")
            assert (await first(bob)).text == "hello"

    run(meet())

    second = start("-m", "cluster", *own)
    assert second.wait() == 1
    assert second.lines == [f"a cluster runs already in {folder / 'nodes'}; end that one first"]

    [killed, *_] = relays(whole)
    os.kill(killed, signal.SIGKILL)
    assert "(killed by SIGKILL); starting it again" in whole.wait_for("relay")
    assert eventually(lambda: len(relays(whole)) == 3)

    processes = whole.processes()
    assert os.geteuid() or 0 not in owners(processes), "root runs none of it"
    whole.signal(signal.SIGINT)
    assert whole.wait() == 0
    assert left(processes) == []
