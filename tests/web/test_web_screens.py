"""The page's screens and how it behaves, in a real Chromium, with a worker that invents its people.

PHANTOM_SCREENSHOTS=FOLDER keeps a picture of every screen in light, dark, 320 pixels, right to left and forced colours.
"""

import pytest

from support.node import NODE_TIMEOUT, chromium, run_web_tests


@pytest.mark.timeout(NODE_TIMEOUT)
def test_every_screen_is_accessible_in_each_mode() -> None:
    printed = run_web_tests("tests/ui/screens.test.ts", PHANTOM_CHROMIUM=chromium())
    assert "# skipped 0" in printed
    assert "# fail 0" in printed


@pytest.mark.timeout(NODE_TIMEOUT)
def test_page_behaves_as_its_tests_say() -> None:
    names = ("parts", "keys", "log", "groups", "behaviour", "sayings")
    printed = run_web_tests(*(f"tests/ui/{name}.test.ts" for name in names), PHANTOM_CHROMIUM=chromium())
    assert "# skipped 0" in printed
    assert "# fail 0" in printed
