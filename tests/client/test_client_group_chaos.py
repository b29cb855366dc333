"""Whole clients in one group, whose admins change it while connections are cut and programs die."""

import random
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from client_samples import Device, Town, fast_folder, pass_time, settle
from group_people import digits, group_of, info, names, news, said, write

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.groups import Groups
from phantom_messenger.client.status import GroupNews
from support.amounts import seeds
from support.simulated import SECOND, MakeWorld

RUNS: Final = seeds(2, 100)
NAMES: Final = ("ada", "ben", "cleo", "dan", "eve")


class Story:
    """Five people, of whom two to four begin the group as admins; Ada stays one, and in it."""

    def __init__(self, town: Town, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a schedule
        self.people = town.friends(*NAMES)
        group_of(*self.people, admins=self.chance.randint(2, 4))
        self.group = info(self.people[0]).group
        self.written: list[str] = []

    def act(self) -> None:
        device = self.chance.choice(self.people)
        match self.chance.randrange(9):
            case 0:
                device.cut() if device.is_connected else self.login(device)
            case 1:
                device.kill()
            case 2 | 3:
                self.change(device)
            case 4 | 5:
                with suppress(UsageError):
                    write(device, f"text {len(self.written)}", group=self.group)
                    self.written.append(device.name)
            case _:
                self.move()

    def login(self, device: Device) -> None:
        """Later than the last one: the relay lets each address log in ten times a minute."""
        device.world.clock.advance(10 * SECOND)
        device.login()

    def change(self, device: Device) -> None:
        groups: Groups = device.messenger.groups
        other = self.chance.choice([one for one in self.people[1:] if one is not device])
        with suppress(UsageError):
            match self.chance.randrange(5):
                case 0:
                    groups.rename(self.group, f"Tea {self.chance.randrange(100)}")
                case 1:
                    groups.remove(self.group, [other.id])
                case 2:
                    groups.add(self.group, [other.id])
                case 3:
                    groups.set_role(self.group, other.id, self.chance.choice(["admin", "member"]))
                case 4 if info(device, self.group).relation == "invited":
                    groups.accept(self.group)
                case _:
                    pass

    def move(self) -> None:
        """Some frames arrive, in any order of those who send and receive."""
        for _ in range(self.chance.randrange(30)):
            device = self.chance.choice(self.people)
            device.fetch()
            _ = device.step_up() if self.chance.randrange(2) else device.step_down()

    def end(self) -> None:
        """Everybody is there again, and everything is said."""
        for device in self.people:
            if not device.is_connected:
                self.login(device)
        settle(*self.people)
        pass_time(90 * SECOND, *self.people, step=3 * SECOND, reconnect=True)
        with suppress(UsageError):  # all others may have been removed
            write(self.people[0], "is everybody there?", group=self.group)
        pass_time(30 * SECOND, *self.people, step=3 * SECOND, reconnect=True)

    def members(self) -> list[Device]:
        return [one for one in self.people if info(one, self.group).relation == "member"]


@pytest.mark.parametrize("seed", range(RUNS))
def test_group_is_one_in_the_end(make_world: MakeWorld, tmp_path: Path, seed: int) -> None:
    with fast_folder(tmp_path) as folder:
        town = Town(make_world(), folder)
        try:
            story = Story(town, seed)
            for _ in range(120):
                story.act()
            story.end()
            ada, inside = story.people[0], story.members()
            assert len(digits(*inside, name=story.group)) == 1
            assert {one.id for one in inside} <= names(ada, story.group)
            invited = {one.id for one in story.people if info(one, story.group).relation == "invited"}
            assert names(ada, story.group) - {one.id for one in inside} <= invited
            assert not [one.name for one in story.people if GroupNews.FORKED in news(one)]
            full = said(ada, story.group)
            assert len(full) == len(set(full))
            for one in inside if len(names(ada, story.group)) > 1 else []:
                assert said(one, story.group)[-1] == "is everybody there?"
        finally:
            town.close()
