"""``make bench`` in tiny sizes, as a real process: every scenario runs, counts right and leaves complete results."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import relays
import scenarios
import stages
from goals import goals, tables
from growth import fill, slope
from picture import picture
from relays import CORES, WITHOUT_SYNCING, WITHOUT_VERIFYING, Relay

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.loadgen import wire
from support.people import flipped
from support.reference_client import Connect
from support.relay_process import WARM, StartRelay, patched

ROOT = Path(__file__).parents[2]
LOOPS = {"ack_ms", "delivery_ms"}


class Run:
    """What one quick run printed and wrote."""

    def __init__(self, out: Path, *arguments: str) -> None:
        self.done = subprocess.run(
            [sys.executable, "bench/measure.py", "--quick", "--out", str(out), *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert self.done.returncode == 0, self.done.stderr
        [file] = out.glob("*.json")
        self.found: dict[str, Any] = json.loads(file.read_bytes())
        [self.image] = out.glob("*.svg")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("bench"))


def test_every_scenario_has_figures(quick: Run) -> None:
    found = quick.found
    assert set(found) == {
        *("machine", "guarantees", "quick", "closed", "both", "lone", "logins", "idle", "backlog", "open", "stages"),
    }
    assert all(spent > 0 for stage, spent in found["stages"]["us"].items() if stage != "around")
    assert found["lone"]["ack_ms"]["count"] == scenarios.QUICK.lone
    assert found["lone"]["fsync_ms"] > 0
    assert found["lone"]["resting_mb"] > 10
    assert found["logins"]["per_second"] > 0
    assert found["idle"]["connections"] == scenarios.QUICK.idle
    assert found["backlog"]["ms"] > 0


def test_everything_that_was_sent_was_accepted_and_delivered(quick: Run) -> None:
    assert [(run["senders"], run["in_flight"]) for run in quick.found["closed"]] == list(scenarios.QUICK.closed)
    for run in [*quick.found["closed"], quick.found["both"]]:
        assert run["messages"] == run["accepted"] == run["delivered"] == run["receipts"] > 0
        assert run["per_second"] > 0
        assert run["relay_us"] > 0
        assert run["load_us"] > 0
    assert [run["share"] for run in quick.found["open"]] == [0.25, 0.5, 0.7, 0.9]
    for run in quick.found["open"]:
        assert run["sent"] == run["accepted"] + run["refused"]
        assert run["accepted"] == run["delivered"] > 0
    for run in quick.found["closed"] + quick.found["open"]:
        for kind in LOOPS:
            assert run[kind]["count"] == run["accepted"]
            assert 0 < run[kind]["p50"] <= run[kind]["p99"] <= run[kind]["p99.9"] <= run[kind]["max"]


def test_table_and_picture_show_them(quick: Run) -> None:
    assert quick.done.stdout.startswith(tables(quick.found))
    assert "1 x 1" in quick.done.stdout
    assert quick.found["guarantees"].startswith("L2: synced before the answer; S: every signature checked")
    image = ET.fromstring(quick.image.read_text())  # noqa: S314 - our own
    shapes = [element.tag.rpartition("}")[2] for element in image.iter()]
    assert shapes.count("polyline") == 2 * len(quick.found["open"])
    bars = len(quick.found["closed"]) + len(quick.found["open"])
    assert shapes.count("rect") == 1 + bars + 2 * sum(us > 0 for us in quick.found["stages"]["us"].values())


def test_scenarios_are_named_while_it_runs(quick: Run) -> None:
    named = [line.split()[-1] for line in quick.done.stderr.splitlines() if line]
    order = ["closed", "both", "lone", "logins", "idle", "backlog", "open", "stages"]
    assert [name for name in named if name in quick.found] == order


def test_nothing_of_a_quick_run_counts(quick: Run) -> None:
    rows = goals(quick.found)
    assert len(rows) == 15
    assert {row.met for row in rows} == {None}
    assert None not in {row.met for row in goals({**quick.found, "quick": False}) if row.what.startswith("memory")}


def test_growth_compares_two_stores(tmp_path: Path) -> None:
    small, big = Run(tmp_path, "--only", "growth", "--acks").found["growth"]
    assert (small["stored"], big["stored"]) == (40, 400)
    assert big["store_mb"] > small["store_mb"]
    for run in (small, big):
        assert run["messages"] == run["accepted"] == run["delivered"] > 0
        assert 0 < run["start_seconds"] < 20


def test_soak_loses_nothing_while_connections_come_and_go(tmp_path: Path) -> None:
    one = Run(tmp_path, "--soak", "3").found["soak"]
    assert one["sent"] == one["accepted"] == one["delivered"] > 0
    assert one["renewed"] >= 1
    assert one["most_mb"] > 10
    assert len(one["resident_mb"]) >= 1


def test_store_is_filled_as_it_was_asked(tmp_path: Path) -> None:
    people = [wire.VirtualUser() for _ in range(4)]
    fill(tmp_path / "data", 60, 20, people)
    store = SQLiteStore(tmp_path / "data")
    [pages] = store.run_jobs([lambda tx: [tx.mailboxes.read(person.id, 0, 1 << 20, 0) for person in people]])
    store.close()
    for page in pages:
        assert len(page.items) == 3
        for item in page.items:
            assert json.loads(item.text)["payload"]["messageId"] == item.name
            assert len(item.text) > 1_024


# --- what is taken away ---------------------------------------------------------------


@pytest.mark.parametrize(("patch", "level"), [("", 2), (WITHOUT_SYNCING, 0)], ids=["the product", "without sync"])
def test_syncing_is_on_unless_it_was_taken_away(tmp_path: Path, patch: str, level: int) -> None:
    look = (
        "from pathlib import Path\nfrom phantom_messenger.engines.sqlite import SQLiteStore\n"
        f"store = SQLiteStore(Path({str(tmp_path / 'data')!r}))\nprint(store._connection.pragma('synchronous'))"
    )
    done = subprocess.run([sys.executable, "-c", f"{patch}\n{look}"], capture_output=True, text=True, check=True)
    assert int(done.stdout) == level


def test_signatures_are_checked_unless_that_was_taken_away(start_relay: StartRelay, connect: Connect) -> None:
    answers = []
    for command in (WARM, patched(WITHOUT_VERIFYING)):
        client = connect(start_relay("--limits", "off", command=command)).login()
        frame = client.person.message(client.person)
        answers.append(client.ask({**frame, "signature": flipped(frame["signature"])})["type"])
    assert answers == ["ERROR", "MESSAGE_ACK"]


# --- parts ----------------------------------------------------------------------------


def test_relay_has_a_core_of_its_own() -> None:
    with Relay() as relay:
        core = os.sched_getaffinity(relay.pid)
        assert core == ({CORES[0]} if len(CORES) > 1 else set(CORES))
        assert relay.cpu_seconds() > 0
        assert relay.resident() > 10_000_000
        folder = relay.data
        assert folder.exists()
    assert not folder.exists()


def test_processor_time_of_children_counts() -> None:
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {work!r}])"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        relay = Relay()
        relay._process = process  # type: ignore[assignment] # text or not
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        alone = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        assert relay.cpu_seconds() - alone > 0.4, "the kernel counts whole ticks: less than was used, by a tick or two"
        process.communicate(b"\n", timeout=100)


def test_closed_loop_counts_if_the_relay_was_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "CORES", [0, 1])
    assert scenarios.doubt(0.95, 0.5) == ""
    assert "load" in scenarios.doubt(0.95, 0.9)
    assert "relay was not busy" in scenarios.doubt(0.89, 0.5)
    monkeypatch.setattr(scenarios, "CORES", [0])
    assert "share a core" in scenarios.doubt(0.95, 0.5)


def run_of(per_second: float, doubt: str = "") -> dict[str, Any]:
    return {"senders": 64, "in_flight": 8, "per_second": per_second, "doubt": doubt}


@pytest.mark.parametrize(
    ("runs", "met"),
    [
        ([run_of(11_000)], True),
        ([run_of(10_999)], False),
        ([run_of(20_000, "the load was the limit"), run_of(9_000)], False),
        ([run_of(20_000, "the load was the limit")], None),
        ([run_of(12_000), {"senders": 1, "in_flight": 1, "failed": "it stands still"}], True),
    ],
)
def test_goal_is_judged_by_what_counts(runs: list[dict[str, Any]], met: bool | None) -> None:
    [row] = goals({"closed": runs, "quick": False})
    assert row.met is met


def test_failed_run_has_its_reason_in_the_table() -> None:
    failed = [{"senders": 1_000, "in_flight": 4, "failed": "it stands still"}]
    found = {
        "machine": ["m"],
        "guarantees": "g",
        "quick": False,
        "closed": failed,
        "open": [{"share": 0.5, "rate": 1.0, "failed": "too much"}],
    }
    assert "1,000 x 4" in tables(found)
    assert "it stands still" in tables(found)
    assert "too much" in tables(found)
    ET.fromstring(picture(found))  # noqa: S314 - our own


def test_slope_is_that_of_a_line() -> None:
    assert slope([(hour / 10, 40 + 3 * hour / 10 + (hour % 2) * 0.001) for hour in range(11)]) == pytest.approx(
        3, abs=0.01
    )
    assert slope([(1.0, 40.0)]) == 0


def test_relay_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "STOP_SECONDS", 0.5)
    with Relay() as relay:
        os.kill(relay.pid, signal.SIGSTOP)
        began = time.monotonic()
    assert time.monotonic() - began < 60


def test_stages_add_up_to_what_the_relay_needs() -> None:
    spent = stages.stages(scenarios.Settings(scenarios.QUICK), None)["us"]
    assert spent["around"] == 0
    whole = stages.stages(scenarios.Settings(scenarios.QUICK), 10_000.0)["us"]
    assert sum(whole.values()) == pytest.approx(10_000.0)
    assert stages.stages(scenarios.Settings(scenarios.QUICK), 1.0)["us"]["around"] == 0
    assert 20 < spent["signature"] < 2_000
