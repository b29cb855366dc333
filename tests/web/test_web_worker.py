"""The page's worker: two browsers at one relay, call by call as the page makes them."""

from pathlib import Path

import pytest

from support.node import NODE_TIMEOUT, run_web_tests
from support.relay_process import RelayProcess


@pytest.mark.timeout(NODE_TIMEOUT)
def test_two_browsers_talk_through_the_calls_of_the_page(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path, "--limits", "off")
    try:
        printed = run_web_tests("tests/worker/talk.test.ts", PHANTOM_RELAY=relay.url)
    finally:
        relay.kill()
    assert "# skipped 0" in printed
    assert "# pass 1" in printed
