"""The core of the page in the browser, in Node: wire and crypto against the vectors, and against the relay's codec."""

import json
from pathlib import Path
from typing import Final

import pytest
from judged_frames import judged

from support.amounts import amount, seeds
from support.node import NODE_TIMEOUT, chromium, run_web_tests, web_tests

ROOT = Path(__file__).parents[2]


SCREENS: Final = ("tests/ui/", "tests/journeys/")
"""Where the tests are that need the page in a browser: other tests run them."""

PARTS: Final = (
    "tests/crypto/",
    "tests/client/devices",
    "tests/client/evil",
    "tests/client/groups",
    "tests/client/",
    "tests/",
)
"""Parts of the core's tests that take about as long as each other: a file belongs to the first that it begins with."""


def files_of(part: str) -> list[str]:
    before = PARTS[: PARTS.index(part)]
    return [file for file in web_tests() if file.startswith(part) and not file.startswith((*before, *SCREENS))]


@pytest.mark.timeout(NODE_TIMEOUT)
@pytest.mark.parametrize("part", PARTS)
def test_the_core_passes_its_tests(part: str) -> None:
    printed = run_web_tests(*files_of(part))
    assert "# fail 0" in printed
    assert ("no case is skipped" in printed) == (part == "tests/crypto/")


def test_every_test_of_the_core_is_in_one_part() -> None:
    files = [file for part in PARTS for file in files_of(part)]
    assert all(files_of(part) for part in PARTS)
    assert sorted(files) == [file for file in web_tests() if not file.startswith(SCREENS)]


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
