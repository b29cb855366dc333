"""The core of the page in the browser, in Node: wire and crypto against the vectors, and against the relay's codec."""

import json
from pathlib import Path

import pytest
from judged_frames import judged

from support.amounts import amount, seeds
from support.node import NODE_TIMEOUT, chromium, run_web_tests

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(NODE_TIMEOUT)
def test_the_core_passes_its_tests() -> None:
    printed = run_web_tests()
    assert "# fail 0" in printed
    assert "no case is skipped" in printed


@pytest.mark.timeout(NODE_TIMEOUT)
def test_vectors_are_played_in_chromium() -> None:
    assert "# pass 1" in run_web_tests("tests/crypto/chromium.test.ts", PHANTOM_CHROMIUM=chromium())


@pytest.mark.timeout(NODE_TIMEOUT)
def test_frames_are_judged_as_the_relay_judges_them(tmp_path: Path) -> None:
    listed = json.loads((ROOT / "protocol/vectors/canonical.json").read_text())
    for seed in range(seeds(1, 5)):
        texts = list(judged(listed, seed, amount(1_500, 20_000)))
        (tmp_path / "judged.json").write_text(json.dumps(texts))
        run_web_tests("tests/wire/codec.test.ts", PHANTOM_JUDGED_FRAMES=str(tmp_path / "judged.json"))
