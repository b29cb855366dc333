"""Two people with programs of suite 1 are upgraded amid a talk, and their devices lose and roll back what they know."""

import base64
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from client_samples import DAY, Device, Town, fast_folder, pass_time, settle
from msgspec.structs import replace
from recovery_faults import FaultyDevice, Ordeal

from phantom_messenger.client import link
from phantom_messenger.client.conversations import PeerState
from phantom_messenger.wire.frames import Feature
from support.amounts import seeds
from support.simulated import MINUTE, SECOND, World

RUNS: Final = seeds(3, 300)
CONTROLS: Final = 20
"""Runs at most until one shows what is missing; most do."""
STEPS: Final = 80

pytestmark = pytest.mark.usefixtures("few_prekeys")


class UpgradedDevice(FaultyDevice):
    """A device whose program knows suite 1 alone, until ``upgrade``."""

    is_old = True

    def connect(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if self.is_old:
                patch.setattr(link, "FEATURES", [Feature.ACK])
            super().connect()

    def upgrade(self) -> None:
        """The program gives way to the present one, which finds contacts as the other wrote them."""
        self.kill()
        self.is_old = False
        book = self.messenger._stores.book
        with self.vault.transaction() as tx:
            for user_id in book.user_ids():
                book.put(tx, replace(book.get(user_id), suite=0, newest=0, allows_older=False, asked_at=None))
        self.kill()


class Upgrades(Ordeal):
    """An ordeal in which each of both is upgraded at some step."""

    device = UpgradedDevice

    def __init__(self, town: Town, seed: int) -> None:
        super().__init__(town, seed)
        for one in self.people:
            one.messenger.contacts.allow_older(self.other(one).id)
        settle(*self.people)
        pass_time(3 * SECOND, *self.people)
        for one in self.people:
            self.copies[one.id] = [one.backup()]
            one.events.clear()
        chance = random.Random(f"{seed} upgrades")  # noqa: S311 - the same in every run
        self.upgrades = [(chance.randrange(5, STEPS), one) for one in self.people]

    def play(self) -> None:
        """All of it, until both have written to each other a day after all."""
        faults = {self.chance.randrange(10, STEPS) for _ in range(3)}
        for number in range(STEPS):
            self.step()
            for at, one in self.upgrades:
                if at == number:
                    assert isinstance(one, UpgradedDevice)
                    self.read(one)
                    one.upgrade()
            if number in faults:
                self.fault()
        self.calm()
        pass_time(DAY + MINUTE, *self.people, step=10 * MINUTE, reconnect=True)
        for _ in range(2):
            for one in self.people:
                self.write(one)
            pass_time(10 * SECOND, *self.people, reconnect=True)
        self.calm()


def last_suite(one: Device) -> int:
    """The suite of what was sent last."""
    return base64.b64decode(one.frames_sent("MESSAGE")[-1]["payload"]["encrypted"])[0]


def look_at(seed: int, tmp_path: Path, look: Callable[[Upgrades], None]) -> None:
    """Play one run."""
    world = World()
    with fast_folder(tmp_path) as folder:
        run = Upgrades(Town(world, folder), seed)
        run.play()
        look(run)
        run.close()
    world.close()


def test_no_text_is_lost_and_both_come_to_suite_2_whatever_devices_forget(tmp_path: Path) -> None:
    def look(run: Upgrades) -> None:
        assert run.lost() == run.invented() == [], run.faults
        assert [last_suite(one) for one in run.people] == [2, 2], run.faults
        told = {code for one in run.people for code in one.troubles()}
        assert told <= {"waiting", "resent", "unknown-user"}, run.faults

    for seed in range(RUNS):
        look_at(seed, tmp_path, look)


def test_control_programs_that_make_no_use_of_dated_prekeys_do_not_all_come_to_suite_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeerState, "begins_with", lambda state, _: state.sending is None)
    found: set[int] = set()
    for seed in range(CONTROLS):
        look_at(seed, tmp_path, lambda run: found.update(map(last_suite, run.people)))
        if 1 in found:
            return
    pytest.fail("all of them have come to suite 2")
