"""16 runs of a relay and its people in which everything breaks; 3,000 in the long form.

A run that shows a fault names its seed; ``make replay SEED=…`` runs it again and prints its events.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from simulation_checks import Violation

from simulation import FAULTS, FIRST_WITH_GROUP, extra_of, fast_folder, simulate, small_amounts
from support.amounts import LONG, amount, replayed, seeds

RUNS: Final = seeds(16, 3_000)
PARTS: Final = seeds(4, 60)
HERE: Final = Path(__file__).parent

SITUATIONS: Final = {
    "closed for a limit": 15,
    "device cannot store": 20,
    "device killed with a receipt under way": 4,
    "device killed with a text under way": 10,
    "device killed with frames unsent": 10,
    "expired before it came": 50,
    "expired, and its recipient had it": 20,
    "frame of an old connection after a new login": 50,
    "idle connection closed": 50,
    "item of a mailbox sent again": 500,
    "login broken off": 30,
    "login that could not be stored": 50,
    "mailbox full": 30,
    "mailbox full for a receipt": 2,
    "memory compared with a full disk": 500,
    "more than one session with a peer": 200,
    "news from the relay for which there was no room": 5,
    "part of a batch": 500,
    "receipt sent": 3_000,
    "receipt sent again that was stored already": 40,
    "refused for its time": 50,
    "refused for want of room": 200,
    "relay killed between commit and answer": 20,
    "relay killed with a batch held": 20,
    "session that is fed from disk": 500,
    "stalled reader cut": 50,
    "takeover": 100,
    "takeover with frames under way": 50,
    "text sent again that was stored already": 100,
    "trouble: unknown-user": 100,
    **{f"fault: {fault}": 50 for fault in FAULTS},
}
"""How often 2,000 runs must at least come to each situation: about a fifth of what was seen."""

PER: Final = amount(1_600, 2_000)
"""Few runs come to the common situations as often as many do; of the rare ones nothing is asked."""

IN_FEW_RUNS: Final = () if LONG else ("memory compared with a full disk",)
"""What comes often where it comes, but comes in few runs."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_amounts(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as made:
        yield made


@pytest.fixture
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    found = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "simulation"
    found.mkdir(exist_ok=True)
    return found


def run_seed(seed: int, folder: Path) -> Counter[str]:
    """Run a seed in a folder of its own; what happened in it."""
    place = folder / str(seed)
    place.mkdir()
    try:
        return simulate(seed, place, has_old=seed >= FIRST_WITH_OLD).counts
    except Violation as violation:
        raise AssertionError(f"seed {seed}: {violation}; see its events with: make replay SEED={seed}") from violation
    finally:
        for file in place.iterdir():
            file.unlink()


@pytest.mark.skipif(replayed() is not None, reason="one seed is replayed")
@pytest.mark.parametrize("part", range(PARTS))
def test_no_run_shows_a_fault_and_all_together_reach_what_they_should(part: int, folder: Path, results: Path) -> None:
    counts: Counter[str] = Counter()
    each = RUNS // PARTS
    for seed in range(part * each, (part + 1) * each):
        counts += run_seed(seed, folder)
    unfinished = results / f"{part}.new"
    unfinished.write_text(json.dumps(counts))
    unfinished.rename(results / f"{part}.json")
    parts = list(results.glob("*.json"))
    if len(parts) == PARTS:  # the last one to come looks at all
        total: Counter[str] = sum((Counter(json.loads(file.read_text())) for file in parts), Counter())
        (results / "total").write_text("".join(f"{count:9} {name}\n" for name, count in sorted(total.items())))
        asked = {name: least * RUNS // PER for name, least in SITUATIONS.items() if name not in IN_FEW_RUNS}
        rare = {name: total[name] for name, least in asked.items() if total[name] < least}
        assert not rare, f"too rare to prove anything: {rare}"


@pytest.mark.skipif(replayed() is None, reason="no seed to replay: make replay SEED=17")
def test_replayed_seed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = replayed()
    assert seed is not None
    with capsys.disabled():
        has_old = FIRST_WITH_OLD <= seed < FIRST_WITH_GROUP
        simulate(seed, folder, traced=True, has_old=has_old, extra=extra_of(seed))


FIRST_WITH_OLD: Final = 500_000
RUNS_WITH_OLD: Final = seeds(5, 600)


@pytest.mark.skipif(replayed() is not None, reason="one seed is replayed")
def test_no_run_shows_a_fault_in_which_one_program_is_old_and_then_upgraded(folder: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in range(FIRST_WITH_OLD, FIRST_WITH_OLD + RUNS_WITH_OLD):
        counts += run_seed(seed, folder)
    assert counts["program upgraded"] == RUNS_WITH_OLD
    assert counts["suite 1 with an old program"] > 4 * RUNS_WITH_OLD
    assert counts["suite 2 after an upgrade"] > RUNS_WITH_OLD


SAME: Final = range(900_000, 900_000 + seeds(2, 40))

DIGESTS: Final = """
import sys
from pathlib import Path
import pytest
from simulation import simulate, small_amounts
small_amounts(pytest.MonkeyPatch())
for seed in map(int, sys.argv[2:]):
    folder = Path(sys.argv[1]) / str(seed)
    folder.mkdir()
    print(simulate(seed, folder).digest)
"""


def digests(folder: Path, hash_seed: str) -> list[str]:
    """The digests of some runs in a process of their own."""
    tests = HERE.parent
    paths = os.pathsep.join(map(str, (tests, HERE)))
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS, str(folder), *map(str, SAME)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(replayed() is not None, reason="one seed is replayed")
def test_run_is_the_same_whenever_its_seed_is_run(folder: Path) -> None:
    for name in ("here", "one", "two"):
        (folder / name).mkdir()
    here = []
    for seed in SAME:
        place = folder / "here" / str(seed)
        place.mkdir()
        here.append(simulate(seed, place).digest)
    assert len(set(here)) == len(here)
    assert digests(folder / "one", "1") == here
    assert digests(folder / "two", "2") == here
