"""The order of tests in a run of several processes."""

from pathlib import Path
from typing import Final

import pytest

from support.longest_first import LONGEST, OF_THE_PAGE, OTHERS, dealt, waiting

HERE: Final = Path(__file__).parent
FILES: Final = [*(f"bench/test_{number}.py" for number in range(90)), *sorted(LONGEST), "wire/test_last.py"]
ITEMS: Final = [(file, number) for file in FILES for number in range(7)]


def file_of(item: tuple[str, int]) -> str:
    return item[0]


def test_files_that_are_named_are_there() -> None:
    assert [name for name in LONGEST if not (HERE / name).is_file()] == []


@pytest.mark.parametrize("processes", range(1, 9))
def test_every_test_is_there_once(processes: int) -> None:
    found = dealt(ITEMS, file_of, processes)
    assert sorted(found) == sorted(ITEMS)


def beginnings(items: list[tuple[str, int]], processes: int) -> set[str]:
    """With which files so many processes begin, as pytest-xdist deals them."""
    begin, found = 0, set()
    for left in range(processes, 0, -1):
        found.add(file_of(items[begin]))
        begin += (len(items) - begin) // left
    return found


@pytest.mark.parametrize("processes", [2, 3, 4, 5])
def test_each_process_begins_with_what_takes_longest(processes: int) -> None:
    """The control is the order in which they were collected."""
    assert beginnings(dealt(ITEMS, file_of, processes), processes) == set(OF_THE_PAGE[:processes])
    assert beginnings(ITEMS, processes) != set(OF_THE_PAGE[:processes])


@pytest.mark.parametrize(("processes", "wait"), [(2, 2), (3, 2), (4, 2), (5, 3), (8, 4)])
def test_half_of_the_processes_begin_with_what_waits(processes: int, wait: int) -> None:
    """Without tests of the page, and the control is the order in which they were collected."""
    assert waiting(processes) == wait
    items = [item for item in ITEMS if file_of(item) not in OF_THE_PAGE]
    found = beginnings(dealt(items, file_of, processes), processes)
    assert found & set(LONGEST) == set(OTHERS[:wait])
    assert len(found) == processes
    assert beginnings(items, processes) & set(LONGEST) != set(OTHERS[:wait])


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
