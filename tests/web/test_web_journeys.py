"""People with browsers at a real relay that serves them the page: ``web/tests/journeys``."""

import json
import os
from pathlib import Path

import pytest

from support.command_line import PASSPHRASE, QUICK
from support.node import chromium, run_web_tests
from support.relay_process import StartRelay


@pytest.mark.timeout(900)
def test_people_with_browsers_at_a_real_relay(start_relay: StartRelay, tmp_path: Path) -> None:
    browser = chromium()
    relay = start_relay("--limits", "off", "--public-names", "any")
    printed = run_web_tests(
        "tests/journeys/journeys.test.ts",
        PHANTOM_CHROMIUM=browser,
        PHANTOM_RELAY=relay.url,
        PHANTOM_CLI=json.dumps(QUICK),
        PHANTOM_HOME=str(tmp_path / "home"),
        PHANTOM_PASSPHRASE=PASSPHRASE,
        PHANTOM_EXPORT_PASSPHRASE="seven green bottles",
        PYTHONPATH=os.pathsep.join(map(str, (Path(__file__).parents[1], os.environ.get("PYTHONPATH", "")))),
    )
    assert "# fail 0" in printed
    assert "# skipped 0" in printed
    assert [line for line in relay.doubts if "any-name" not in line and "limits-off" not in line] == []
