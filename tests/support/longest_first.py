"""Where tests that take long stand in a run of several processes: first, so that at its end no process works alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

LONGEST: Final = (
    "web/test_web_journeys.py",
    "web/test_web_screens.py",
    "web/test_web_core.py",
    "web/test_web_firefox.py",
    "delivery/test_d11_several_relays.py",
    "web/test_web_interop.py",
    "simulation/test_simulation.py",
    "delivery/test_d03_kill.py",
    "web/test_web_evil.py",
)
"""Files, by how long they take: half a minute to two."""


def dealt(items: Sequence[T], file_of: Callable[[T], str], processes: int) -> list[T]:
    """The same tests, in the order in which so many processes begin with what takes longest.

    Args:
        items: the tests, as they were collected.
        file_of: the file of a test, relative to the folder of all tests.
        processes: how many there are; pytest-xdist (``--dist worksteal``) gives each an equal part of the whole to
            begin with, the first to the first. A file stays in one part.
    """
    parts: list[list[T]] = [[] for _ in range(processes)]
    files = {file_of(item) for item in items}
    there = [file for file in LONGEST if file in files]
    for place, file in zip(_there_and_back(processes), there, strict=False):
        parts[place] += [item for item in items if file_of(item) == file]
    rest = [item for item in items if file_of(item) not in LONGEST]
    found: list[T] = []
    for number, part in enumerate(parts):
        share = (len(items) - len(found)) // (processes - number)
        more = max(share - len(part), 0)
        found += [*part, *rest[:more]]
        del rest[:more]
    return [*found, *rest]


def _there_and_back(count: int) -> Iterable[int]:
    """0, 1, 2, 2, 1, 0, 0, 1, 2 ..."""
    while True:
        yield from range(count)
        yield from reversed(range(count))
