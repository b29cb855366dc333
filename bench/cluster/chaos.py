"""``make cluster-chaos``: a cluster loses one part after the other while people write; what they were told must hold.

For each fault there are new people, and a ledger that knows all that they sent and were told. Those who are put off try
again after a quarter of a second, not after ``retryAfter``: the silence is that of the servers.
"""

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import several_crowd
from crowd import Crowd, alive, befriend, quiet_port
from several_crowd import Place
from several_ledger import SeveralLedger

from cluster import processes
from cluster.chaos_faults import FAULTS, Fault, Scene
from cluster.nodes import Cluster
from cluster.programs import ClusterError
from support.relay_process import SERVE, RelayProcess, patched

PROGRAMS: Final = Path(".cluster") / "programs"
FOLDER: Final = Path(".cluster") / "chaos"
"""Of the last cluster; its logs stay, for whoever wants to know why."""

RELAYS: Final = 3
WORTH: Final = 150
"""Messages that are accepted before each fault, and again after it."""

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

UNSYNCED: Final = """
from phantom_messenger.engines.postgres import schema, store
store._SESSION["synchronous_commit"] = "off"
functions = schema.functions
schema.functions = lambda: functions().replace("NOT IN ('on', 'remote_apply')", "= ''")
"""


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
            f"{self.name:18}{self.accepted:9}{self.put_off:9}"
            + "".join(f"{figure:9}" for figure in figures)
            + f"{self.silence:8.1f} s of {self.most:2.0f}   {'good' if self.is_good else 'BAD'}"
        )


HEAD: Final = (
    f"{'fault':18}{'accepted':>9}{'put off':>9}{'lost':>9}{'doubled':>9}{'prekeys':>9}{'other':>9}{'silence':>10}"
)


def say(text: str) -> None:
    """Print it at once."""
    print(text, flush=True)


async def play(scene: Scene, name: str, fault: Fault) -> Row:
    """Break a part under load and let everybody finish."""
    ledger = SeveralLedger()
    place = Place([relay.url for relay in scene.relays], ledger)
    people = several_crowd.cast(ledger, SEED, of=f" {name} {time.time_ns()}")
    await befriend(place.urls[0], ledger, people.pairs)
    await several_crowd.publish(place, people.readers)
    crowd = Crowd(place.urls[0], ledger)
    several_crowd.gather(crowd, place, people, SEED)
    async with alive(crowd):
        await several_crowd.accepted(crowd, WORTH, PATIENCE)
        begun = time.monotonic()
        await asyncio.to_thread(fault.do, scene)
        await several_crowd.accepted(crowd, WORTH, PATIENCE)
        ended = time.monotonic()
        await several_crowd.calm(crowd, PATIENCE)
    await asyncio.to_thread(scene.until_whole)
    async with asyncio.timeout(PATIENCE):
        await several_crowd.collect(place, people)
        await several_crowd.judge_sessions(place, [*people.writers[:2], *people.readers[:2]])
    silence = ledger.longest_silence(begun, ended)
    return Row(name, ledger.accepted, ledger.put_off, ledger.verdict(), silence, fault.most)


def wait_for_quorum(cluster: Cluster) -> None:
    """Patroni names the standbys a moment after they have begun to follow."""
    with psycopg.connect(cluster.url, target_session_attrs="read-write", autocommit=True) as connection:

        def is_named() -> bool | None:
            row = connection.execute("SELECT current_setting('synchronous_standby_names')").fetchone()
            return True if row and row[0] else None

        if processes.wait_for(is_named, within=PATIENCE) is None:
            raise TimeoutError("Patroni names no standbys")


@contextmanager
def scene_of(*, patch: str | None = None, standby_names: str | None = None, durability: str = "") -> Iterator[Scene]:
    """A new cluster with its relays, ended afterwards."""
    with ExitStack() as stack:
        shutil.rmtree(FOLDER, ignore_errors=True)
        folder = FOLDER.resolve()
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        cluster = Cluster(folder / "nodes", relays=0, programs=PROGRAMS, standby_names=standby_names)
        cluster.start(say)
        stack.callback(cluster.stop)
        if standby_names is None:
            wait_for_quorum(cluster)
        relays = []
        say(f"Starting {RELAYS} relays ...")
        for number in range(RELAYS):
            own = folder / f"relay{number}"
            own.mkdir()
            options = ["--limits", "off", "--store", cluster.url]
            options += ["--durability", durability] if durability else []
            command = SERVE if patch is None else patched(patch)
            relay = RelayProcess(own, *options, port=quiet_port(), command=command)
            stack.callback(relay.kill)
            relays.append(relay)
        yield Scene(cluster, relays)


def run(names: Sequence[str]) -> list[Row]:
    """Each of these faults, on one cluster."""
    rows = []
    with scene_of() as scene:
        for number, name in enumerate(names, 1):
            say(f"{number} of {len(names)}: {name}")
            row = asyncio.run(play(scene, name, FAULTS[name]))
            say(str(row))
            for kind, said in row.found.items():
                say(f"    {kind}: {said}")
            rows.append(row)
    return rows


def run_controls() -> bool:
    """Whether the ledger finds what is lost where the protections are off."""
    seen = True
    for name, fault, options in (
        ("control: synchronous_commit=off, checks off", "kill-late", {"patch": UNSYNCED}),
        ("control: no standby names, durability single", "kill-late", {"standby_names": "", "durability": "single"}),
    ):
        say(name)
        with scene_of(**options) as scene:
            row = asyncio.run(play(scene, fault, FAULTS[fault]))
        say(str(row))
        is_seen = row.count(LOST) > 0
        say(f"    {'red, as it must be' if is_seen else 'NOT NOTICED'}")
        seen = seen and is_seen
    return seen


def main() -> int:
    """Break, show, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=FAULTS, help="this fault alone; may be given several times")
    parser.add_argument("--controls", action="store_true", help="the negative controls instead")
    chosen = parser.parse_args()
    try:
        if chosen.controls:
            return 0 if run_controls() else 1
        rows = run(chosen.only or list(FAULTS))
    except (ClusterError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    say("")
    say(HEAD)
    for row in rows:
        say(str(row))
    return 0 if all(row.is_good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
