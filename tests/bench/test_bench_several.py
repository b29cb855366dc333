"""``make bench-several`` in tiny sizes: everything works; its figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.postgres_server import programs

BENCH = Path(__file__).parents[2] / "bench" / "several.py"


@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed: the benchmark of several relays")
def test_two_relays_on_one_database_are_measured(tmp_path: Path) -> None:
    scenarios = [word for name in ("closed", "lone", "logins") for word in ("--only", name)]
    tiny = ["--rounds", "1", "--seconds", "0.1", "--logins", "20", "--form", "PostgreSQL, 2 relays"]
    done = subprocess.run(
        [sys.executable, str(BENCH), *scenarios, *tiny, "--out", str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    [file] = tmp_path.iterdir()
    [run] = json.loads(file.read_text())["runs"]["PostgreSQL, 2 relays"]
    assert run["closed"]["per_second"] > 0
    assert min(run["closed"][name] for name in ("relay_us", "primary_us", "load_us")) > 0
    assert run["lone"]["ack_ms"]["count"] == 200
    assert run["logins"]["logins"] == 20
    assert "20 logins after the database was killed" in done.stdout
