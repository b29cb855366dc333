"""``make cluster-chaos``: a cluster loses one part after the other while people write; what they were told must hold.

For each fault there are new people, and a checker that knows all that they sent and were told. Those who are put off
try again after a quarter of a second, not after ``retryAfter``: the silence is that of the servers.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import several_virtual_users
from several_checker import SeveralChecker
from several_virtual_users import Cast, Place
from virtual_users import LoadGenerator, alive, make_contacts

from cluster import console, processes
from cluster.aside import Aside
from cluster.chaos_faults import FAULTS, PARTITIONS, UPDATE, Fault, Scene
from cluster.claims import hold
from cluster.network import Network
from cluster.nodes import Cluster
from cluster.programs import PATRONI, REQUIREMENTS, ClusterError, Pinned, install
from cluster.settings import CHOSEN_STANDBY, NO_STANDBY, QUORUM, Replication
from support import older_version
from support.relay_process import SERVE, RelayProcess, patched

PROGRAMS: Final = Path(".cluster") / "programs"
FOLDER: Final = Path(".cluster") / "chaos"
"""Of the last cluster; its logs stay, for whoever wants to know why."""

ALL: Final = {**FAULTS, **PARTITIONS}
RELAYS: Final = 3
WORTH: Final = 150
"""Messages that are accepted before each fault, again after it, and when all is whole."""

AFTER_SECONDS: Final = 15.0
"""In which what comes back may do harm."""

PATIENCE: Final = 120.0
SEED: Final = 11
DOUBLED: Final = frozenset(
    {
        "confirmed item came again",
        "confirmed message came again",
        "key exchange doubled",
        "message came twice on a connection",
        "seq given to two items",
    }
)
LOST: Final = frozenset({"lost", "key exchange lost"})
TWICE: Final = frozenset({"prekey handed out twice"})


@dataclass(frozen=True, kw_only=True)
class Control:
    """A cluster with a protection off, and a fault that it does not stand; by default, all are on.

    Attributes:
        patch: Python text that its relays run first.
        options: of its relays.
    """

    fault: str = ""
    patch: str = ""
    options: tuple[str, ...] = ()
    replication: Replication = QUORUM
    patroni: Pinned = PATRONI


UNSYNCED: Final = """
from phantom_messenger.engines.postgres import schema, store
store._SESSION["synchronous_commit"] = "off"
functions = schema.functions
schema.functions = lambda: functions().replace("NOT IN ('on', 'remote_apply')", "= ''")
"""

CONTROLS: Final = {
    "commits that wait for no standby": Control(fault="cut-late", patch=UNSYNCED),
    "no standby is named": Control(fault="cut-late", replication=NO_STANDBY, options=("--durability", "single")),
    "Patroni 3.0.2": Control(
        fault="pause-primary",
        replication=CHOSEN_STANDBY,
        patroni=Pinned("patroni 3.0.2", REQUIREMENTS / "patroni-3.0.2.txt"),
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a fault."""

    name: str
    accepted: int
    put_off: int
    found: dict[str, list[str]]
    silence: float
    most: float

    def count(self, kinds: frozenset[str]) -> int:
        """How often something of these kinds was found."""
        return sum(int(said[0].split()[0]) for kind, said in self.found.items() if kind in kinds)

    @property
    def is_good(self) -> bool:
        """Whether everything held, in time."""
        return not self.found and self.silence <= self.most

    def __str__(self) -> str:
        known = LOST | DOUBLED | TWICE
        figures = (self.count(LOST), self.count(DOUBLED), self.count(TWICE), len(self.found.keys() - known))
        return (
            f"{self.name:22}{self.accepted:9}{self.put_off:9}"
            + "".join(f"{figure:9}" for figure in figures)
            + f"{self.silence:8.1f} s of {self.most:2.0f}   {'good' if self.is_good else 'BAD'}"
        )


HEAD: Final = (
    f"{'fault':22}{'accepted':>9}{'put off':>9}{'lost':>9}{'doubled':>9}{'prekeys':>9}{'other':>9}{'silence':>10}"
)


def play(scene: Scene, name: str, fault: Fault) -> Row:
    """Break a part under load and let everybody finish."""
    checker = SeveralChecker()
    place = Place([relay.url for relay in scene.relays], checker)
    people = several_virtual_users.cast(checker, SEED, of=f" {name} {time.time_ns()}")
    generator = LoadGenerator(place.urls[0], checker)
    several_virtual_users.gather(generator, place, people, SEED)
    with Aside() as aside:
        aside.do(make_contacts(place.urls[0], checker, people.pairs))
        aside.do(several_virtual_users.publish(place, people.readers))
        with aside.within(alive(generator)):
            aside.do(several_virtual_users.accepted(generator, WORTH, PATIENCE))
            begun = time.monotonic()
            fault.do(scene)
            aside.do(several_virtual_users.accepted(generator, WORTH, PATIENCE))
            time.sleep(AFTER_SECONDS)
            scene.until_whole()
            aside.do(several_virtual_users.accepted(generator, WORTH, PATIENCE))
            ended = time.monotonic()
            aside.do(several_virtual_users.calm(generator, PATIENCE))
        aside.do(judge(place, people))
    for code in checker.closings.keys() - {fault.closes} if fault.closes else ():
        checker.fault("closed with another code", code)
    silence = checker.longest_silence(begun, ended)
    return Row(name, checker.accepted, checker.put_off, checker.verdict(), silence, fault.most)


async def judge(place: Place, people: Cast) -> None:
    """Let everybody have everything, and one session each."""
    async with asyncio.timeout(PATIENCE):
        await several_virtual_users.collect(place, people)
        await several_virtual_users.judge_sessions(place, [*people.writers[:2], *people.readers[:2]])


@contextmanager
def scene_of(control: Control, network: Network | None) -> Iterator[Scene]:
    """A new cluster with its relays, ended afterwards."""
    with ExitStack() as stack:
        folder = FOLDER.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        stack.callback(os.close, hold(folder))
        for old in (path for path in folder.iterdir() if path.is_dir()):
            shutil.rmtree(old)
        cluster = Cluster(
            folder / "nodes",
            relays=0,
            programs=PROGRAMS,
            replication=control.replication,
            patroni=control.patroni,
            network=network,
        )
        cluster.start(console.show)
        stack.callback(cluster.stop)
        console.show(f"Starting {RELAYS} relays ...")
        relays, machines = [], []
        for number in range(RELAYS):
            own = folder / f"relay{number}"
            own.mkdir()
            options = ["--limits", "off", "--store", cluster.url, *control.options]
            command = patched(control.patch) if control.patch else SERVE
            if network:
                machine = network.add()
                stack.callback(machine.end)
                machines.append(machine)
                options += ["--host", machine.host, "--public-names", "any"]
                command = [*machine.enter(), *command]
            relay = RelayProcess(own, *options, command=command)
            stack.callback(relay.kill)
            relays.append(relay)
        yield Scene(cluster, relays, machines)


def run(names: Sequence[str], network: Network | None) -> list[Row]:
    """Each of these faults, on one cluster."""
    rows = []
    with scene_of(Control(), network) as scene:
        for number, name in enumerate(names, 1):
            console.show(f"{number} of {len(names)}: {name}")
            rows.append(broken(scene, name))
    return rows


def broken(scene: Scene, name: str, fault: str = "") -> Row:
    """What comes of a fault, shown."""
    return shown(play(scene, name, ALL[fault or name]))


def shown(row: Row) -> Row:
    """Show what came of a fault."""
    console.show(str(row))
    for kind, said in row.found.items():
        console.show(f"    {kind}: {said}")
    return row


def run_update(commit: str) -> Row:
    """Relays of this commit, updated to what is here.

    Raises:
        ClusterError: there is no such commit.
    """
    with tempfile.TemporaryDirectory(prefix="phantom-older-") as folder:
        older = older_version.unpack(commit, Path(folder)) if commit else None
        if older is None:
            raise ClusterError("there is no such older version in the history of the repository")
        console.show(f"from {commit}")
        with scene_of(Control(patch=older), None) as scene:
            return shown(play(scene, "update-relays", UPDATE))


def run_controls() -> bool:
    """Whether the checker finds what is lost where the protections are off."""
    for control in CONTROLS.values():
        install(PROGRAMS.resolve(), console.show, control.patroni)
    network, seen = Network(), True
    for name, control in CONTROLS.items():
        console.show(name)
        with scene_of(control, network) as scene:
            is_seen = broken(scene, name, control.fault).count(LOST) > 0
        console.show(f"    {'red, as it must be' if is_seen else 'NOT NOTICED'}")
        seen = seen and is_seen
    return seen


def choose(only: Sequence[str]) -> Sequence[str]:
    """The faults to try: those that were asked for, or all that are possible here."""
    if only:
        return only
    if os.geteuid():
        console.show(f"left out, for networks are cut by root alone: {', '.join(PARTITIONS)}")
        return list(FAULTS)
    return list(ALL)


def network_for(names: Sequence[str]) -> Network | None:
    """A network of our own, if one of these faults needs it."""
    if not PARTITIONS.keys() & set(names):
        return None
    install(PROGRAMS.resolve(), console.show)  # as long as we reach other networks
    return Network()


def main() -> int:
    """Break, show, and judge."""
    parser = argparse.ArgumentParser(
        prog="make cluster-chaos",
        description=__doc__,
        epilog="All faults take 20 to 25 minutes, a minute each; the controls, which need root, six.",
    )
    parser.add_argument(
        "--only", action="append", default=[], choices=ALL, help="this fault alone; may be given several times"
    )
    parser.add_argument(
        "--controls", action="store_true", help="instead, see that messages are lost without the protections"
    )
    parser.add_argument(
        "--update",
        nargs="?",
        const=older_version.before_the_tables_changed() or "",
        metavar="COMMIT",
        help="instead, begin with relays of this commit, by default the one before the tables were last changed, and"
        " update them",
    )
    given = parser.parse_args()
    console.catch_signals()
    try:
        return _main(given)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except TimeoutError as error:
        print(f"what should have happened did not, for {PATIENCE:.0f} seconds: {error or FOLDER}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        processes.end_children(within=console.STOP_SECONDS)


def _main(given: argparse.Namespace) -> int:
    if given.controls:
        return 0 if run_controls() else 1
    if given.update is not None:
        return 0 if run_update(given.update).is_good else 1
    names = choose(given.only)
    rows = run(names, network_for(names))
    console.show("")
    console.show(HEAD)
    for row in rows:
        console.show(str(row))
    return 0 if all(row.is_good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
