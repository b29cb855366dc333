"""What has a long form runs in ``make test-long``."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
MAKEFILE: Final = TESTS.parent / "Makefile"


def has_long_form(code: str) -> bool:
    """Whether it asks how much it is to do."""
    return re.search(r"^[ \t]*from support\.amounts import ", code, re.MULTILINE) is not None


@cache
def with_long_forms() -> list[str]:
    """All files of these."""
    files = sorted(path for path in TESTS.rglob("*.py") if has_long_form(path.read_text()))
    return [path.relative_to(TESTS.parent).as_posix() for path in files]


def left_out(makefile: str) -> Iterator[str]:
    """Files with a long form that ``make test-long`` does not run."""
    (recipe,) = re.findall(r"^test-long:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    lists = dict(re.findall(r"^(\w+) := (.*)$", makefile, re.MULTILINE))
    places = [place for name in re.findall(r"\$\((LONG\w*)\)", recipe) for place in lists[name].split()]
    for name in with_long_forms():
        if not any(name == one or name.startswith(f"{one}/") for one in places):
            yield name


def test_all_that_has_a_long_form_runs_in_make_test_long() -> None:
    assert list(left_out(MAKEFILE.read_text())) == []


@pytest.mark.parametrize("place", ["tests/client/test_client_costs.py", "tests/hostile", "tests/wire"])
def test_control_file_that_is_not_listed_is_found(place: str) -> None:
    found = list(left_out(MAKEFILE.read_text().replace(f" {place}", "", 1)))
    assert found
    assert all(name.startswith(place) for name in found)
