"""Which files pytest takes tests from, for one list of arguments after another, without importing any of them.

    python tests/support/collected_files.py JSON

JSON is a list of lists of arguments; what is printed is a list of lists of paths.
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest


class _Unread(pytest.File):
    found: ClassVar[list[str]] = []

    def collect(self) -> Iterable[pytest.Item]:
        self.found.append(self.path.relative_to(Path.cwd()).as_posix())
        return ()


class _Files:
    @staticmethod
    def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.File:
        """Make one for each file beside those that are asked for, too: these are not collected."""
        made: pytest.File = _Unread.from_parent(parent, path=module_path)
        return made


def collected(arguments: list[str]) -> list[str]:
    """Paths in the working folder."""
    said = io.StringIO()
    _Unread.found.clear()
    with contextlib.redirect_stdout(said):
        ended = pytest.main([*arguments, "-n", "0", "--collect-only"], plugins=[_Files()])
    if ended != pytest.ExitCode.NO_TESTS_COLLECTED:
        raise SystemExit(said.getvalue())
    return sorted(_Unread.found)


if __name__ == "__main__":
    sys.stdout.write(json.dumps([collected(arguments) for arguments in json.loads(sys.argv[1])]))
