"""The measurement of linking a device does what it says, with few texts."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("options", [[], ["--rate-alone"]], ids=["", "rate-alone"])
def test_few_texts_come_and_are_counted(options: list[str]) -> None:
    command = [sys.executable, str(ROOT / "bench/linking.py"), "--texts", "2000", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "2,000 texts, 4 chunks:" in done.stdout
    assert "processor time: both clients" in done.stdout
