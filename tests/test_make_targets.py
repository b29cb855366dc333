"""``make test`` and ``make test-web`` together run every test, each of them once; the first needs no Node."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
ROOT: Final = TESTS.parent
PAGE: Final = "tests/web/"
TARGETS: Final = ("test", "test-web")
CHOOSING: Final = re.compile(r"-k|-m|--deselect|--ignore-glob|--lf|--ff|--co")
"""Options by which pytest takes some tests of a file, and others not."""

OF_THE_PAGE: Final = {"support.node", "support.bidi", "web_peers", "web_stories"}
WITH_A_BROWSER: Final = re.compile(r"which\(\"(node|npm|chromium|firefox)")


def arguments(target: str) -> list[str]:
    """What pytest is called with by a target of the Makefile."""
    variables = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "ARGS"}}
    said = subprocess.run(["make", "-n", target], cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    [line] = [line for line in said.stdout.splitlines() if " -m pytest -n " in line]
    words = shlex.split(line)
    return words[words.index("pytest") + 1 :]


def files_of(*lists: list[str]) -> list[list[str]]:
    script = TESTS / "support/collected_files.py"
    command = [sys.executable, str(script), json.dumps(lists)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    listed: list[list[str]] = json.loads(found.stdout)
    return listed


def test_every_test_is_run_by_one_target() -> None:
    """The control is a target that leaves out too much."""
    called = {target: arguments(target) for target in TARGETS}
    assert [word for words in called.values() for word in words if CHOOSING.fullmatch(word)] == []
    of_all, of_the_page, of_less, whole = files_of(*called.values(), [*called["test"], "--ignore", "tests/wire"], [])
    assert whole == sorted(path.relative_to(ROOT).as_posix() for path in TESTS.rglob("test_*.py"))
    assert sorted(of_all + of_the_page) == whole
    assert set(whole) - {*of_less, *of_the_page} == {path for path in whole if path.startswith("tests/wire/")} != set()
    assert {path for path in whole if path.startswith(PAGE)} == set(of_the_page) != set()


def test_ci_runs_what_a_developer_runs() -> None:
    commands = (ROOT / ".ci/run").read_text().splitlines()
    assert [line for line in commands if line.startswith("make ")] == [
        "make check",
        *(f"make {one}" for one in TARGETS),
    ]


def needs_of_the_page(code: str) -> Iterator[str]:
    """What a file takes that needs Node or a browser."""
    for node in ast.walk(ast.parse(code if any(name in code for name in OF_THE_PAGE) else "")):
        if isinstance(node, ast.ImportFrom) and node.module in OF_THE_PAGE:
            yield node.module
    yield from (found[0] for found in WITH_A_BROWSER.finditer(code))


def test_make_test_needs_neither_node_nor_a_browser() -> None:
    files = [path for path in TESTS.rglob("*.py") if not path.relative_to(ROOT).as_posix().startswith(PAGE)]
    helpers = {TESTS / "support/node.py", TESTS / "support/bidi.py", Path(__file__)}
    assert {
        str(path): found for path in files if path not in helpers and (found := [*needs_of_the_page(path.read_text())])
    } == {}


@pytest.mark.parametrize("file", ["test_web_interop.py", "test_web_firefox.py", "test_web_core.py"])
def test_control_tests_of_the_page_are_seen_to_need_them(file: str) -> None:
    assert [*needs_of_the_page((TESTS / "web" / file).read_text())]
    assert [*needs_of_the_page('NODE = shutil.which("node")')] == ['which("node']
