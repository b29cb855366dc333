"""What the people of a run do besides writing to each other: they have a group, or several devices."""

import re
from collections.abc import Callable
from typing import Final, Protocol

import apsw
from simulation_checks import Owner
from simulation_device import DevicePart

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


def copies_stored(frame: bytes) -> tuple[str, int]:
    """Of an answer that something was accepted: the message, and for how many it was stored."""
    number, several = _MESSAGE_ID.search(frame), _ACCEPTED.search(frame)
    assert number is not None
    return number[1].decode(), 1 if several is None else int(several[1])
