"""A month of a group (G1): people with two devices each, some of whom are away for weeks, while connections break.

In full ten people with two devices each, in short four; of those who are away, one comes back after 20 days, and one
after the relay has dropped what was the oldest for them.
"""

import random
from pathlib import Path
from typing import Final

import pytest
from client_samples import Device, Town, fast_folder, pass_time, settle
from device_samples import link
from group_people import digits, group_of, info, names, news, said, write

from phantom_messenger.client.status import GroupNews
from support.amounts import amount
from support.simulated import HOUR, SECOND, MakeWorld

PEOPLE: Final = ("ada", "cleo", "dan", "ben", "eve", "fay", "gus", "hal", "ivy", "jim")[: amount(4, 10)]
NIGHT: Final = amount(6, 1)
"""Days between two of which anything is told."""

DAYS: Final = 36
WEEKS: Final = range(5, 26)
MONTH: Final = range(1, 34)
"""Those days Cleo is away, and those Dan is; mail is kept for 30."""

MAIL_DAYS: Final = 30


class Month:
    """Ada is there every day, and makes all changes: of who is in it only the last one, who is away for no day."""

    def __init__(self, town: Town) -> None:
        self.chance = random.Random(1)  # noqa: S311 - a schedule
        self.people = town.friends(*PEOPLE)
        self.own = {one.name: [one, town.device(f"{one.name}'s laptop", strangers="ask")] for one in self.people}
        for first, laptop in self.own.values():
            laptop.login()
            pass_time(amount(1, 60) * SECOND, *self.all_so_far(laptop), step=5 * SECOND, reconnect=True)
            link(first, laptop, *(one for one in self.people if one is not first))
        self.world = town.world
        group_of(*self.people, admins=2)
        pass_time(10 * SECOND, *self.all())
        self.group = info(self.people[0]).group
        self.texts: dict[str, tuple[int, set[str]]] = {}
        """On which day, and for whom."""
        self.day = 0

    def all_so_far(self, laptop: Device) -> list[Device]:
        return [device for device in self.all() if device.is_connected or device is laptop]

    def all(self) -> list[Device]:
        return [device for own in self.own.values() for device in own]

    @property
    def ada(self) -> Device:
        return self.people[0]

    def is_away(self, name: str) -> bool:
        return self.day in {"cleo": WEEKS, "dan": MONTH}.get(name, range(0))

    def live(self) -> None:
        """One day after the other: whoever is not away is there for a while, and something breaks."""
        while self.day < DAYS:
            self.day += NIGHT
            for device in self.all():
                if device.is_connected:
                    device.cut()
            self.world.clock.advance(NIGHT * 24 * HOUR)
            self.world.tick()
            there = [device for name, own in self.own.items() if not self.is_away(name) for device in own]
            for device in there:
                device.login()
            pass_time(20 * SECOND, *there, step=5 * SECOND, reconnect=True)
            self.change()
            settle(*there)
            for _ in range(amount(2, 6)):
                self.write(self.chance.choice(there))
                self.move(there)
                broken = self.chance.choice(there)
                if self.chance.randrange(2):
                    broken.kill()
                elif broken.is_connected:
                    broken.cut()
            pass_time(100 * SECOND, *there, step=20 * SECOND, reconnect=True)

    def change(self) -> None:
        """Ada renames it, or lets the last one in or out."""
        groups, last = self.ada.messenger.groups, self.people[-1]
        if self.chance.randrange(2):
            groups.rename(self.group, f"Tea of day {self.day}")
        elif last.id in names(self.ada, self.group):
            groups.remove(self.group, [last.id])
        else:
            groups.add(self.group, [last.id])

    def write(self, device: Device) -> None:
        known = info(device, self.group)
        if known.relation == "invited" and device in self.people:
            device.messenger.groups.accept(self.group)
        elif known.relation == "member":
            text = f"text {len(self.texts)} of day {self.day}"
            write(device, text, group=self.group)
            self.texts[text] = (self.day, names(device, self.group))

    def move(self, there: list[Device]) -> None:
        """Some frames arrive."""
        for _ in range(self.chance.randrange(60)):
            device = self.chance.choice(there)
            device.fetch()
            _ = device.step_up() if self.chance.randrange(2) else device.step_down()

    def must_have(self, person: Device, day: int, readers: set[str]) -> bool:
        """Whether a text that was written on a day had to be read."""
        has_expired = person.name == "dan" and day in MONTH and MONTH.stop - day > MAIL_DAYS - NIGHT
        return person.id in readers and person is not self.people[-1] and not has_expired


def lived(make_world: MakeWorld, usual: Path, mail_days: int) -> None:
    """Let a month pass, and compare what everybody has read in the end."""
    with fast_folder(usual) as folder:
        town = Town(make_world(mail_days=mail_days), folder)
        try:
            month = Month(town)
            month.live()
            check(month)
        finally:
            town.close()


def test_who_is_away_for_weeks_reads_what_was_for_them_and_knows_the_same(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    lived(make_world, tmp_path, MAIL_DAYS)


def test_control_relay_that_keeps_mail_for_less_is_noticed(make_world: MakeWorld, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="cleo lacks text"):
        lived(make_world, tmp_path, 10)


def check(month: Month) -> None:
    inside = [one for one in month.people if info(one, month.group).relation == "member"]
    assert len(inside) >= len(PEOPLE) - 1
    devices = [device for one in inside for device in month.own[one.name]]
    assert len(digits(*devices, name=month.group)) == 1
    assert not [device.name for device in devices if GroupNews.FORKED in news(device)]
    for person in month.people:
        for device in month.own[person.name]:
            shown = said(device, month.group)
            assert len(shown) == len(set(shown))
            for text in shown:
                assert person.id in month.texts[text or ""][1], f"{text} was not for {device.name}"
            for text, (day, readers) in month.texts.items():
                assert text in shown or not month.must_have(person, day, readers), f"{device.name} lacks {text}"
    assert len(month.texts) > DAYS / NIGHT
