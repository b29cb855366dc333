"""The order of tests in a run of several processes."""

from pathlib import Path
from typing import Final

import pytest

from support.longest_first import LONGEST, dealt

HERE: Final = Path(__file__).parent
FILES: Final = [*(f"bench/test_{number}.py" for number in range(10)), *sorted(LONGEST), "wire/test_last.py"]
ITEMS: Final = [(file, number) for file in FILES for number in range(7)]


def file_of(item: tuple[str, int]) -> str:
    return item[0]


def test_files_that_are_named_are_there() -> None:
    assert [name for name in LONGEST if not (HERE / name).is_file()] == []


@pytest.mark.parametrize("processes", range(1, 9))
def test_every_test_is_there_once(processes: int) -> None:
    found = dealt(ITEMS, file_of, processes)
    assert sorted(found) == sorted(ITEMS)


@pytest.mark.parametrize("processes", [2, 3, 4, 5])
def test_each_process_begins_with_what_takes_longest(processes: int) -> None:
    """The control is the order in which they were collected."""

    def beginnings(items: list[tuple[str, int]]) -> set[str]:
        begin, found = 0, set()
        for left in range(processes, 0, -1):  # as pytest-xdist deals them
            found.add(file_of(items[begin]))
            begin += (len(items) - begin) // left
        return found

    assert beginnings(dealt(ITEMS, file_of, processes)) == set(LONGEST[:processes])
    assert beginnings(ITEMS) != set(LONGEST[:processes])


def test_file_stays_together_and_in_its_order() -> None:
    found = dealt(ITEMS, file_of, 3)
    for file in FILES:
        places = [place for place, item in enumerate(found) if file_of(item) == file]
        own = [found[place] for place in places]
        assert own == sorted(own)
        if file in LONGEST:
            assert places == list(range(places[0], places[0] + len(places)))


def test_few_tests_are_dealt_too() -> None:
    assert dealt([], file_of, 3) == []
    only = [(LONGEST[0], number) for number in range(5)]
    assert dealt(only, file_of, 3) == only
