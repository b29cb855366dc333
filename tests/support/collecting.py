"""What collecting thousands of tests costs each of several processes, and how little of it is done twice.

Each of them imports all test modules, which is quick once somebody has compiled them. In a fresh clone nobody has, and
processes that go through the same list at the same pace would all compile all of it.
"""

import importlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import pytest

T = TypeVar("T")
PATTERN: Final = "test_*.py"


def turned(files: Sequence[T], number: int, processes: int) -> list[T]:
    """The same, from another place on in each process, so that each finds what the others have compiled.

    Args:
        files: of all tests.
        number: of this process, from 0.
        processes: how many there are.
    """
    begin = len(files) * number // processes
    return [*files[begin:], *files[:begin]]


def modules(places: Iterable[str], ignored: Iterable[str], folder: Path = Path()) -> Iterator[Path]:
    """The files of tests in these folders, and these files themselves.

    Args:
        places: as pytest is told them, with or without the name of a test.
        ignored: files and folders to leave out.
        folder: in which they are named.
    """
    out = [(folder / one).resolve() for one in ignored]
    for place in places:
        named = (folder / place.partition("::")[0]).resolve()
        for file in sorted(named.rglob(PATTERN)) if named.is_dir() else [named]:
            if not any(file.is_relative_to(one) for one in out):
                yield file


def import_ahead(files: Iterable[Path]) -> None:
    """Import modules of tests; one that cannot be imported is left to pytest, which says why."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for file in files:
            folder = str(file.parent)
            if folder not in sys.path:
                sys.path.insert(0, folder)
            with suppress(Exception, pytest.skip.Exception):
                importlib.import_module(file.stem)
