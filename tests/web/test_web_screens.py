"""The page's screens and how it behaves, in a real Chromium, with a worker that invents its people.

PHANTOM_SCREENSHOTS=FOLDER keeps a picture of every screen in light, dark, 320 pixels, right to left and forced colours.
"""

from typing import Final

import pytest

from support.node import NODE_TIMEOUT, chromium, run_web_tests, web_tests

SCREENS: Final = "tests/ui/screens.test.ts"
PARTS: Final = 4
BEHAVIOUR: Final = [file for file in web_tests() if file.startswith("tests/ui/") and file != SCREENS]


def played(file: str, **given: str) -> None:
    printed = run_web_tests(file, PHANTOM_CHROMIUM=chromium(), **given)
    assert "# skipped 0" in printed
    assert "# fail 0" in printed
    assert "# pass 0" not in printed


@pytest.mark.timeout(NODE_TIMEOUT)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_screen_is_accessible_in_each_mode(part: int) -> None:
    played(SCREENS, PHANTOM_PART=f"{part}/{PARTS}")


@pytest.mark.timeout(NODE_TIMEOUT)
@pytest.mark.parametrize("file", BEHAVIOUR)
def test_page_behaves_as_its_tests_say(file: str) -> None:
    played(file)
