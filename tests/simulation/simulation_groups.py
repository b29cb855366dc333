"""One group in the simulation: its people found it, change it, write in it and leave it, while everything breaks.

What they do is decided by a generator of its own, so that a run without a group is what it was before there were any.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import apsw
from simulation_checks import Checker, Owner
from simulation_device import DevicePart
from simulation_extra import Acting
from simulation_group_checks import GroupChecker
from simulation_network import Setting

from phantom_messenger.client.groups.groups import Groups
from phantom_messenger.client.groups.store import INVITED
from support.simulated import MINUTE, SECOND

TIMERS: Final = (0, 0, MINUTE, 20 * MINUTE)


class GroupPart(Acting):
    """What the people do with their group; the first one makes it, and stays an admin.

    Args:
        setting: the run's.
        checker: of the run.
        devices: of all people; filled later.
    """

    steps = 40
    """It takes some to have a group."""
    is_beside = True

    def __init__(self, setting: Setting, checker: Checker, devices: list[DevicePart]) -> None:
        chance = random.Random(f"{setting.seed} groups")  # noqa: S311 - the same in every run
        super().__init__(setting, chance, " in the group")
        self._checker = GroupChecker(setting, checker.names, wrong=checker.wrong, kept=checker.kept)
        checker.extra = self._checker
        self._devices = devices
        self._positions: dict[tuple[str, int], int] = {}
        self.share = self._chance.choice((0.5, 0.8, 1.0))
        """How much of what people do has to do with the group."""

    def begin(self, pass_time: Callable[[int], None]) -> None:
        """The first one makes the group, and invites some, of whom some accept."""
        pass_time(5 * SECOND)
        first, *others = self._devices
        with self._with_groups(first) as groups:
            invited = [other.id for other in others if self._chance.random() < 0.8]
            self._checker.group = groups.create("Tea", invited)
        pass_time(5 * SECOND)
        self._accept()

    def _accept(self) -> None:
        for device in self._devices[1:]:
            with self._with_groups(device) as groups:
                if groups.has(self._checker.group) and self._chance.random() < 0.8:
                    groups.accept(self._checker.group)
        with self._with_groups(self._devices[0]) as groups:
            if self._chance.random() < 0.7:
                groups.set_role(self._checker.group, self._other(self._devices[0]), "admin")

    def acts(self) -> bool:
        """Whether what somebody does next has to do with the group."""
        return self._chance.random() < self.share

    def act(self, device: DevicePart) -> None:
        """Somebody does something."""
        kind = self._chance.random()
        with self._with_groups(device) as groups:
            if not groups.has(self._checker.group):
                return
            if groups.find(self._checker.group).relation == "invited":
                if kind < 0.5:
                    groups.accept(self._checker.group)
            elif kind < 0.4:
                self._write(device)
            elif kind < 0.65:
                self.read(device, self._chance.choice((1, 2, 10)))
            elif kind < 0.97:
                self._change(device, groups)
            elif device is not self._devices[0]:
                groups.leave(self._checker.group)
                self._setting.happened("group: left by its user", device.name)

    @contextmanager
    def _with_groups(self, device: DevicePart) -> Iterator[Groups]:
        with self._trying(device) as messenger:
            yield messenger.groups

    def _other(self, device: DevicePart) -> str:
        return self._chance.choice([other.id for other in self._devices[1:] if other is not device])

    def _change(self, device: DevicePart, groups: Groups) -> None:
        group, kind = self._checker.group, self._chance.random()
        other = self._other(device)
        if kind < 0.2:
            groups.rename(group, f"Tea {self._chance.randrange(100)}")
        elif kind < 0.4:
            groups.remove(group, [other])
        elif kind < 0.65:
            groups.add(group, [other], self._chance.choice(("member", "member", "admin")))
        elif kind < 0.95:
            groups.set_role(group, other, self._chance.choice(("admin", "admin", "member")))
        else:
            groups.set_timer(group, self._chance.choice(TIMERS))

    def _write(self, device: DevicePart) -> None:
        for _ in range(self._chance.choice((1, 1, 2, 4))):
            self.write(device, f"group text {len(self._checker.texts)}")

    def write(self, device: DevicePart, body: str) -> None:
        """Write to the group."""
        found = device.messenger._stores.groups.get(self._checker.group)
        assert found is not None
        number = device.messenger.groups.send_text(self._checker.group, body)
        self._checker.wrote(device.id, number, body, found)

    def _take_next(self, device: DevicePart) -> "partial[None] | None":
        place = device.id, device.life
        found = device.messenger.groups.next_text(self._positions.get(place, 0), self._checker.group)
        if found is None:
            return None
        self._positions[place], _, entry = found
        self._checker.handed_out(device.id, entry, device.life)
        read = self._chance.random() < 0.8
        return partial(self._finish, device, device.life, entry.sender.user_id, entry.message_id, read=read)

    def _finish(self, device: DevicePart, life: int, sender: str, number: str, *, read: bool) -> None:
        """The person is done with a text, if the program still runs that handed it out."""
        if life != device.life or not device.is_running:
            return
        with self._with_groups(device) as groups:
            if read:
                groups.mark_read(self._checker.group, sender, number)
            else:
                groups.handled(self._checker.group, sender, number)
            self._checker.handled(device.id, number, read=read)

    # --- the end ------------------------------------------------------------------------

    def read_all(self) -> None:
        """Everybody who is in it reads everything."""
        for device in self._devices:
            if device.is_running and device.messenger.groups.has(self._checker.group):
                while (done := self._take_next(device)) is not None:
                    done()

    def last_words(self) -> None:
        """Everybody who is in it says something: whoever has missed a change learns of it now.

        An invitation of one admin's may come after another has removed that person again; who accepts it is told.
        """
        for device in self._devices:
            with self._trying(device):
                if self._is_outdated(device):
                    device.messenger.groups.accept(self._checker.group)
                elif device.messenger.groups.has(self._checker.group):
                    self.write(device, f"group text {len(self._checker.texts)}")

    def _is_outdated(self, device: DevicePart) -> bool:
        """Whether somebody holds an invitation to a group in which they are not any more."""
        stores = [one.messenger._stores.groups for one in self._devices if one.is_running]
        found = [group for store in stores if (group := store.get(self._checker.group)) is not None and group.is_live]
        own = device.messenger._stores.groups.get(self._checker.group)
        newest = max(found, key=lambda group: group.state.revision, default=None)
        is_invited = own is not None and own.record.relation == INVITED
        return is_invited and newest is not None and device.id not in newest.people

    def finish(self, owners: list[Owner], connection: apsw.Connection) -> None:
        """All are online and nothing is under way."""
        self._checker.finish(owners, connection)
