"""Whether this device is still one of its person's: found out at each login, before anything is handed out.

The list that leaves it out waits at the relay behind all that was written to it before.
"""

from collections.abc import Callable
from typing import Final

from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.link import Link
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.notices import DEVICE_REMOVED
from phantom_messenger.client.status import ConnectionEvent, DeliveryEvent, Event, LinkingEvent, WarningEvent
from phantom_messenger.client.visibility import Visibility

FIND_OUT_MS: Final = 5_000
"""For how long it is waited at most: a large mailbox takes longer, and its user waits for what is in it."""


class Standing:
    """Keeps back what a linked device has got, and its receipts, until it knows.

    Args:
        devices: knows whether it is a linked one.
        visibility: learns that nobody is told until then what has come.
        moment: what the clocks show.
    """

    def __init__(self, devices: DeviceBook, visibility: Visibility, moment: Callable[[], Moment]) -> None:
        self._devices = devices
        self._visibility = visibility
        self._moment = moment
        self._link: Link | None = None
        self._until: int | None = None
        """Until when it is waited; None if it is not."""

    def dialling(self) -> None:
        """An attempt to connect begins."""
        if not self._devices.is_first:
            self._link, self._until = None, self._moment().monotonic + FIND_OUT_MS
            self._visibility.is_unsure = True

    def logged_in(self, link: Link) -> None:
        """A login is through: what waits at the relay may say that this device is nobody's."""
        self.dialling()
        if self._until is not None:
            link.look()
            self._link = link

    def disconnected(self) -> None:
        """There is no connection, and it may take long until there is one."""
        self._link = self._until = None

    @property
    def is_held(self) -> bool:
        """Whether nothing that has come is to be handed out: not yet, or not at all."""
        is_over = self._until is not None and self._moment().monotonic >= self._until
        if is_over or (self._link is not None and self._link.has_fetched()):
            self._link = self._until = None
        self._visibility.is_unsure = self._until is not None or self._devices.is_removed
        return self._visibility.is_unsure

    def let_out(self, events: list[Event]) -> tuple[list[Event], list[Event]]:
        """Which of these the application hears now, and which it hears later, if it does."""
        if not self.is_held:
            return events, []
        now = [event for event in events if _may_pass(event)]
        return now, [] if self._devices.is_removed else [event for event in events if not _may_pass(event)]

    def waits(self, now: int) -> list[int]:
        """Milliseconds until it is not waited any more."""
        return [] if self._until is None else [max(0, self._until - now)]


def _may_pass(event: Event) -> bool:
    """Whether it says nothing of what others have written."""
    is_of_removal = isinstance(event, WarningEvent) and event.code == DEVICE_REMOVED
    return is_of_removal or isinstance(event, ConnectionEvent | DeliveryEvent | LinkingEvent)
