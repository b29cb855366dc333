"""``make cores``: real relays on one port, with a database of their own."""

import os
import pwd
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cluster_process import ClusterProcess, left, missing, open_folder, owners, relays, remove
from support.sdk_clients import first, friends, run
from support.waiting import eventually

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")

Start = Callable[..., ClusterProcess]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """What is stored stays there from one start to the next."""
    made = open_folder()
    half = made / "cores" / "database" / "data.new"  # a start that was killed has left this
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("")
    yield made
    remove(made)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts all of it, with further options."""
    made: list[ClusterProcess] = []

    def begin(*options: str, port: int = 0, relays: int = 2) -> ClusterProcess:
        own: list[str | Path] = ["--folder", folder / "cores", "--programs", folder / "programs"]
        process = ClusterProcess("-m", "cluster.cores", *own, "--port", str(port), "--relays", str(relays), *options)
        made.append(process)
        return process

    yield begin
    for process in made:
        process.stop()


def url(cores: ClusterProcess) -> str:
    """Where they listen, once they do."""
    found = cores.wait_for("listening on ").removeprefix("listening on ")
    assert cores.wait_for("served by ") == "served by 2 relays"
    return found


def listeners(address: str) -> int:
    """How many sockets listen on its port."""
    port = int(address.rpartition(":")[2].removesuffix("/ws"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1] == f"0100007F:{port:04X}" and row[3] == "0A" for row in rows)


def test_users_meet_through_one_port_relays_are_replaced_and_nobody_starts_twice(
    start: Start, folder: Path, tmp_path: Path
) -> None:
    cores = start()
    address = url(cores)
    assert len(relays(cores)) == listeners(address) == 2

    async def meet() -> None:
        async with friends(tmp_path, address) as (alice, bob):
            await alice.send("bob", "hello")
            assert (await first(bob)).text == "hello"

    run(meet())

    second = start()
    assert second.wait() == 1
    assert second.lines == [f"a cluster runs already in {folder / 'cores'}; end that one first"]

    [killed, other] = relays(cores)
    os.kill(killed, signal.SIGKILL)
    assert "(killed by SIGKILL); starting it again" in cores.wait_for("relay")
    assert eventually(lambda: listeners(address) == 2)
    assert other in relays(cores)
    assert killed not in relays(cores)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_it_ends_with_all_processes(start: Start, number: signal.Signals, status: int) -> None:
    cores = start(relays=1)
    cores.wait_for("served by 1 relay")
    processes = cores.processes()
    assert len(processes) > 5
    assert os.geteuid() or owners(processes) == {pwd.getpwnam("nobody").pw_uid}, "root runs none of it"
    assert set(left(processes, seconds=0.1)) >= set(relays(cores)) > set(), "control: what runs is found"
    cores.signal(number)
    assert cores.wait() == status
    assert left(processes) == []


@pytest.mark.parametrize("step", ["Starting the database", "Starting 2 relays"])
def test_it_ends_with_all_processes_while_it_starts(start: Start, step: str) -> None:
    cores = start()
    cores.wait_for(step)
    assert eventually(lambda: len(cores.processes()) > 0)
    processes = cores.processes()
    cores.signal(signal.SIGINT)
    assert cores.wait() == 130
    assert left(processes) == []


def test_port_that_is_taken_is_said_to_be(start: Start) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        cores = start(port=port)
        assert cores.wait() == 1
    assert cores.lines == [
        f"taken by another program: port {port} of 127.0.0.1; stop it, or choose another: ARGS=--help"
    ]


def test_data_of_another_version_is_shown_with_what_the_database_says(start: Start, folder: Path) -> None:
    before = start(relays=1)
    before.wait_for("served by")
    before.stop()
    version = folder / "cores" / "database" / "data" / "PG_VERSION"
    right = version.read_text()
    version.write_text("9\n")
    after = start()
    assert after.wait() == 1
    version.write_text(right)
    assert after.lines[-1].startswith("the database does not start")
    assert "PostgreSQL version 9" in after.lines[-1]


def test_option_that_no_relay_knows_is_shown_with_what_the_relay_says(start: Start) -> None:
    cores = start("--limits", "perhaps")
    assert cores.wait() == 1
    assert "phantom serve: --limits must be 'on' or 'off'" in cores.lines[-1]
