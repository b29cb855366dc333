"""Two people at a simulated relay whose devices lose, damage or roll back what they know, as chance has it."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from client_samples import Device, Town, pass_time, settle

from phantom_messenger.client import records
from phantom_messenger.client.records import SentRecord
from support.simulated import HOUR, MINUTE, SECOND

SESSIONS: Final = (records.SESSIONS, records.SESSION, records.SKIPPED)
STATE: Final = (*SESSIONS, records.PREKEY, records.HANDSHAKE, records.LAST_PREKEY_ID)
"""The kinds of records that are live cryptographic state."""


class FaultyDevice(Device):
    """A device whose files can be put back, emptied or damaged while its program is down."""

    def backup(self) -> Path:
        """A copy of the profile as it is now."""
        self._lives += 1
        copy = self.folder / f"{self.name}-{self._lives}.backup"
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.vault.path}{suffix}", f"{copy}{suffix}")
        return copy

    def restore(self, copy: Path) -> None:
        """The program ends, and starts on an older copy of its profile."""

        def put_back(path: Path) -> None:
            for suffix in ("", "-wal"):
                shutil.copy(f"{copy}{suffix}", f"{path}{suffix}")

        self._while_down(put_back)

    def lose(self, *kinds: str) -> None:
        """The records of some kinds are gone."""
        self._change("DELETE FROM records WHERE kind = ?", kinds)

    def damage(self, *kinds: str) -> None:
        """The records of some kinds do not decrypt any more."""
        self._change("UPDATE records SET value = zeroblob(length(value)) WHERE kind = ?", kinds)

    def _change(self, statement: str, kinds: tuple[str, ...]) -> None:
        self.kill()
        with self.vault.transaction():
            for kind in kinds:
                self.vault._connection.execute(statement, (kind,))
        self.kill()

    def _while_down(self, change: Callable[[Path], None]) -> None:
        self.kill()
        path = self.vault.path
        self.vault.close()
        change(path)
        self._start(path)


class Ordeal:
    """A talk with faults; a run is a function of its seed.

    ``written`` are the texts by writer, ``got`` the ids that a person has been handed, in any life
    of their device. A text whose writer went back to a time before it is lost with that writer's own copy.
    """

    device: type[FaultyDevice] = FaultyDevice

    def __init__(self, town: Town, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - the same in every run
        self.world = town.world
        self.people = [self.device(town.world, town.folder / f"{name}-{seed}", name) for name in ("one", "other")]
        self.written: dict[str, dict[str, str]] = {device.id: {} for device in self.people}
        self.got: dict[str, dict[str, str]] = {device.id: {} for device in self.people}
        self.faults: list[str] = []
        for device in self.people:
            device.messenger.contacts.add(self.other(device).name, self.other(device).id)
            device.login()
        settle(*self.people)
        pass_time(3 * SECOND, *self.people)
        self.copies = {device.id: [device.backup()] for device in self.people}

    def other(self, device: Device) -> FaultyDevice:
        return self.people[self.people[0] is device]

    def close(self) -> None:
        for device in self.people:
            device.close()

    def step(self) -> None:
        """Something that happens to one of them."""
        device = self.chance.choice(self.people)
        device.fetch()
        action = self.chance.random()
        if not device.is_connected and action < 0.5:
            device.connect()
        elif action < 0.55:
            (device.step_up if self.chance.random() < 0.5 else device.step_down)()
        elif action < 0.58 and device.is_connected:
            device.cut()
        elif action < 0.75:
            self.write(device)
        elif action < 0.85:
            self.read(device)
        elif action < 0.87:
            self.copies[device.id].append(device.backup())
        else:
            self.world.clock.advance(self.chance.choice([10, 500, 3_000, 21_000]))
            self.world.tick()
            device.messenger.tick()

    def fault(self) -> None:
        """What they know is gone, at one of them or at both."""
        hurt = self.chance.choice([self.people[:1], self.people[1:], self.people])
        for device in hurt:
            self.read(device)  # what was received is with its reader before the device forgets it
            kind = self.chance.choice(["restart", "backup", "sessions gone", "all gone", "sessions bad", "all bad"])
            self.faults.append(f"{device.name}: {kind}")
            match kind:
                case "restart":
                    device.kill()
                case "backup":
                    device.restore(self.chance.choice(self.copies[device.id]))
                case "sessions gone":
                    device.lose(records.SESSIONS)
                case "all gone":
                    device.lose(*STATE)
                case "sessions bad":
                    device.damage(records.SESSIONS)
                case _:
                    device.damage(*STATE)

    def write(self, device: Device) -> None:
        text = f"{len(self.written[device.id])} of {device.name}"
        (number,) = device.send(self.other(device), text)
        self.written[device.id][number] = text

    def read(self, device: Device) -> None:
        for record in device.waiting():
            self.got[device.id][record.message_id] = record.text or ""
            device.messenger.mark_read(record.sender, record.message_id)

    def calm(self) -> None:
        """No more faults, and hours pass."""
        for _ in range(2):
            pass_time(MINUTE, *self.people, step=5 * SECOND, reconnect=True)
            for device in self.people:
                self.read(device)
        for _ in range(8):
            pass_time(HOUR, *self.people, step=2 * MINUTE, reconnect=True)
            for device in self.people:
                self.read(device)
            if not self.lost():
                break

    def lost(self) -> list[str]:
        """Texts that their writer still has and that never reached their reader."""
        return [
            text
            for device in self.people
            for number, text in self.written[device.id].items()
            if number not in self.got[self.other(device).id]
            and device.vault.get(records.SENT, number, SentRecord) is not None
        ]

    def invented(self) -> list[str]:
        """Texts that were read and never written like that."""
        return [
            text
            for device in self.people
            for number, text in self.got[device.id].items()
            if self.written[self.other(device).id].get(number) != text
        ]


def run(town: Town, seed: int, *, steps: int = 60) -> Ordeal:
    """A whole run; faults come at three random moments."""
    ordeal = Ordeal(town, seed)
    moments = {ordeal.chance.randrange(10, steps) for _ in range(3)}
    for number in range(steps):
        ordeal.step()
        if number in moments:
            ordeal.fault()
    ordeal.calm()
    return ordeal
