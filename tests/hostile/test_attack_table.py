"""docs/attacks.md names tests: each is there, and those of hostile/ and login/ have a control."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = (ROOT / "docs/attacks.md").read_text()
ROWS: Final = [
    row
    for row in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| `(.+?)` \|$", DOCUMENT, re.MULTILINE)
    if row[0] != "attack"
]


def test_every_row_is_whole() -> None:
    lines = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| attack ")]
    assert len(ROWS) == len(lines) >= 40


@pytest.mark.parametrize("named", sorted({row[3] for row in ROWS}))
def test_tests_that_are_named_are_there(named: str) -> None:
    """The first, others of the same file as ``::name``, and files of the page from the root on."""
    first, *others = re.split(r"`[^`]*`", named)
    file = first.partition("::")[0]
    for one in (first, *others):
        place, _, name = one.partition("::")
        text = (ROOT / place if place.startswith("web/tests/") else ROOT / "tests" / (place or file)).read_text()
        assert not name or f"def {name}(" in text


FILES: Final = sorted({row[3].partition("::")[0] for row in ROWS if row[3].startswith(("hostile/", "login/"))})


@pytest.mark.parametrize("file", FILES)
def test_file_that_is_named_has_a_control(file: str) -> None:
    assert re.search(r"\bcontrols?\b", (ROOT / "tests" / file).read_text())
