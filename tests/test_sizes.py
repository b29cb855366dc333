"""Files and functions are short enough to be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = ("src", "tests", "bench", "fuzz", "examples")
MOST_OF_A_FILE: Final = 600
MOST_OF_A_FUNCTION: Final = 60

EXCEPTIONS: Final = {
    # One table with a row for each case, which says nothing more in two halves.
    "src/phantom_messenger/engines/sqlite/execute.py:execute",
    "tests/engines/test_engines_agree.py:_command",
    "tests/vectors/maker_content2.py:_faults_of_fields",
    "tests/vectors/maker_content2.py:_read",
    "tests/vectors/maker_groups.py:_refused",
    "tests/vectors/maker_suite2.py:_refused_bundles",
}


def too_long(name: str, code: str) -> Iterator[str]:
    """The file if it is, and its functions that are."""
    if code.count("\n") > MOST_OF_A_FILE:
        yield name
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.end_lineno or node.lineno
            if last - node.lineno + 1 > MOST_OF_A_FUNCTION:
                yield f"{name}:{node.name}"


def test_files_and_functions_are_short() -> None:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    found = {one for path in paths for one in too_long(path.relative_to(ROOT).as_posix(), path.read_text())}
    assert found == EXCEPTIONS


def test_control_what_is_longer_is_found() -> None:
    statement = "    pass\n"
    function = "def work() -> None:\n" + statement * (MOST_OF_A_FUNCTION - 1)
    assert list(too_long("file", function)) == []
    assert list(too_long("file", function + statement)) == ["file:work"]
    assert list(too_long("file", "async " + function + statement)) == ["file:work"]
    assert list(too_long("file", "pass\n" * MOST_OF_A_FILE)) == []
    assert list(too_long("file", "pass\n" * (MOST_OF_A_FILE + 1))) == ["file"]
