"""Hands out what has been received, oldest first, and waits where there is nothing."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from phantom_messenger.client.event_hub import EventHub

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - as in the standard library

_log: Final = logging.getLogger("phantom_messenger")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """Something that was not handled yet.

    ``position``: where it stands among all that was received. ``handled`` is called once the application is done.
    """

    position: int
    item: T
    handled: Callable[[], None]


Find = Callable[[int], Found[T] | None]
"""The first one behind a position; what was handled is not found any more."""


class Reader(Generic[T]):
    """One reader's place in what was received; several can look for different things.

    Args:
        finds: where it looks; what stands first of all of them is next.
        hub: tells of changes.
    """

    def __init__(self, finds: list[Find[T]], hub: EventHub) -> None:
        self._places = [(find, 0) for find in finds]
        self._hub = hub
        self._last: Found[T] | None = None
        self._is_logged = False

    async def next(self) -> T:
        """The next one, as soon as there is one; the one before it counts as handled by then.

        Raises:
            PhantomError: nothing more will come.
        """
        last, self._last = self._last, None
        if last is not None:
            last.handled()
        while True:
            await asyncio.sleep(0)  # a program that handles a backlog must not hold up its own connection
            self._hub.raise_if_closed()
            found = self._first()
            if found is not None:
                self._last = found
                return found.item
            self._hub.raise_if_ended()
            if not self._hub.is_online and not self._is_logged:
                self._is_logged = True
                reason = self._hub.connection.reason or "connecting"
                _log.warning("messages() waits, and there is no connection: %s", reason)
            await self._hub.change()

    def _first(self) -> Found[T] | None:
        """The oldest of what each finds next."""
        best: tuple[int, Found[T]] | None = None
        for number, (find, after) in enumerate(self._places):
            found = find(after)
            if found is not None and (best is None or found.position < best[1].position):
                best = number, found
        if best is None:
            return None
        number, found = best
        self._places[number] = self._places[number][0], found.position
        return found
