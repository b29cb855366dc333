"""What the people of a run do besides writing to each other: they have a group, or several devices."""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import apsw
from simulation_checks import Owner
from simulation_device import DevicePart
from simulation_network import Setting

from phantom_messenger.client.errors import UsageError, VaultError
from phantom_messenger.client.messenger import Messenger

_ACCEPTED: Final = re.compile(rb'"accepted":(\d+)')
_MESSAGE_ID: Final = re.compile(rb'"messageId":"([^"]+)"')


class Extra(Protocol):
    """What a run calls.

    ``steps``: how many there are in a run. ``is_beside``: whether people know and write to each other as ever,
    too. ``begin`` is called before the first, with what lets time pass; ``act``, if
    ``acts`` says so, at each. ``read_all`` reads what waits, ``last_words`` writes to all, and ``finish`` checks.
    """

    steps: int
    is_beside: bool

    def begin(self, pass_time: Callable[[int], None]) -> None: ...

    def acts(self) -> bool: ...

    def act(self, device: DevicePart) -> None: ...

    def read_all(self) -> None: ...

    def last_words(self) -> None: ...

    def finish(self, owners: list[Owner], connection: apsw.Connection) -> None: ...


class Acting:
    """What people do in both.

    Args:
        setting: the run's.
        chance: decides on it.
        where: what a device cannot store what its user does in, in words.
    """

    def __init__(self, setting: Setting, chance: random.Random, where: str) -> None:
        self._setting = setting
        self._chance = chance
        self._where = where

    @contextmanager
    def _trying(self, device: DevicePart) -> Iterator[Messenger]:
        """What cannot be done is not done."""
        try:
            yield device.messenger
        except UsageError as error:
            self._setting.note(f"{device.name} cannot: {error}")
        except VaultError:
            self._setting.happened(f"device cannot store what its user does{self._where}")
        device._changed()

    def read(self, device: DevicePart, most: int) -> None:
        """Take up to so many texts that wait, and be done with them at once or later."""
        for _ in range(most):
            done = self._take_next(device)
            if done is None:
                return
            if self._chance.random() < 0.75:
                done()
            else:
                self._setting.after(self._chance.randint(1, 20_000), done)

    def _take_next(self, device: DevicePart) -> Callable[[], None] | None:
        """Take the next text; what ends it, or None if none waits."""
        raise NotImplementedError


def copies_stored(frame: bytes) -> tuple[str, int]:
    """Of an answer that something was accepted: the message, and for how many it was stored."""
    number, several = _MESSAGE_ID.search(frame), _ACCEPTED.search(frame)
    assert number is not None
    return number[1].decode(), 1 if several is None else int(several[1])
