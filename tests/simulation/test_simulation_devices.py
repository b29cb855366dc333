"""Persons with several devices in the simulation: all devices of a person have the same texts, each once."""

from pathlib import Path
from typing import Final

import pytest
from simulation_runs import MARKS, folder_of_runs, show_fault, show_no_fault  # noqa: F401 - one is a fixture

from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.devices.desk import DeviceDesk
from phantom_messenger.client.devices.in_step import InStep
from phantom_messenger.client.groups.speaking import Speaking
from phantom_messenger.client.groups.texts import Texts
from simulation import FIRST_WITH_BOTH, FIRST_WITH_DEVICES
from support.amounts import amount, seeds

RUNS: Final = seeds(4, 500)
PARTS: Final = seeds(2, 20)
MOST_SEEDS: Final = amount(100, 500)

SITUATIONS: Final = {
    "link: linked": 500,
    "text handed out at a device": 10_000,
    "text that had to be on a device": 20_000,
}
"""How often 1,000 runs must at least come to each situation."""

pytestmark = MARKS


@pytest.mark.parametrize("part", range(PARTS))
def test_no_run_with_several_devices_shows_a_fault(part: int, folder: Path) -> None:
    each = RUNS // PARTS
    first = FIRST_WITH_DEVICES + part * each
    show_no_fault(range(first, first + each), folder, SITUATIONS)


WITH_BOTH: Final = {
    "group text handed out at a device": 5_000,
    "group text that had to be on a device": 20_000,
    "group text that had to be read on a device": 5_000,
    "group muted or not any more": 500,
}


@pytest.mark.parametrize("part", range(PARTS))
def test_no_run_with_several_devices_and_a_group_shows_a_fault(part: int, folder: Path) -> None:
    each = RUNS // PARTS // 2
    first = FIRST_WITH_BOTH + part * each
    show_no_fault(range(first, first + each), folder, WITH_BOTH)


# --- controls ---------------------------------------------------------------------


def finds(folder: Path, expected: str, *, seen: int) -> None:
    show_fault(folder, expected, first=FIRST_WITH_DEVICES, seen=seen, most=MOST_SEEDS)


def test_text_that_goes_to_first_devices_alone_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceBook, "devices_of", lambda _, person: [person])
    finds(folder, "is lost", seen=FIRST_WITH_DEVICES + 1)


def test_reading_that_own_devices_are_not_told_of_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceDesk, "read_elsewhere", lambda *_: None)
    finds(folder, "is not read, and was on another device", seen=FIRST_WITH_DEVICES + 1)


def test_group_text_that_goes_to_first_devices_alone_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say = Speaking.say
    monkeypatch.setattr(Speaking, "say", lambda *said, **options: say(*said, **{**options, "alone": True}))
    show_fault(folder, "group text .* is lost", first=FIRST_WITH_BOTH, seen=FIRST_WITH_BOTH, most=MOST_SEEDS)


def test_reading_in_a_group_that_own_devices_are_not_told_of_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Texts, "read_elsewhere", lambda *_: None)
    expected = "group text .* is not read, and was on another device"
    show_fault(folder, expected, first=FIRST_WITH_BOTH, seen=FIRST_WITH_BOTH, most=MOST_SEEDS)


def test_muting_a_group_that_own_devices_are_not_told_of_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InStep, "take_muted", lambda *_: None)
    show_fault(folder, "muted on some devices", first=FIRST_WITH_BOTH, seen=FIRST_WITH_BOTH + 1, most=MOST_SEEDS)
