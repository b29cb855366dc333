"""What the tasks of an application wait for: events, the connection, deliveries, and the end of the client."""

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Final

from phantom_messenger.client.delivery import Delivery
from phantom_messenger.client.errors import PhantomError, VaultError
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    Event,
    WarningEvent,
)

MAX_EVENTS: Final = 1_000
"""Events kept for a reader who does not read; after that the oldest are dropped."""

RECHECK_SECONDS: Final = 0.25
"""How often a condition is checked when no event says that it may have changed."""

NOT_CONNECTED_YET: Final = ConnectionEvent(state=ConnectionState.OFFLINE, reason="not connected yet")

_log: Final = logging.getLogger("phantom_messenger")
_log.addHandler(logging.NullHandler())

EventQueue = asyncio.Queue[Event | None]
"""None: nothing more will come."""


class EventHub:
    """Passes events on to whoever waits, and remembers the state of the connection.

    ``failure`` says why nothing more will come; it is None as long as something may. ``not_stored`` says what could not
    be written to the profile, if that is why there is no connection. ``is_closed``: the application is done with it.
    """

    def __init__(self) -> None:
        self.connection = NOT_CONNECTED_YET
        self.failure: PhantomError | None = None
        self.not_stored: VaultError | None = None
        self._deliveries: weakref.WeakValueDictionary[tuple[str, str], Delivery] = weakref.WeakValueDictionary()
        self._awaited: set[Delivery] = set()
        self._queues: list[EventQueue] = []
        self._changed = asyncio.Event()
        self.is_closed = False

    @property
    def is_online(self) -> bool:
        """Whether the client is logged in."""
        return self.connection.state is ConnectionState.ONLINE

    def track(self, message_id: str, peer: Contact) -> Delivery:
        """The delivery of a message that has just been queued; kept up to date as long as somebody holds it."""
        delivery = Delivery(message_id, peer, DeliveryState.QUEUED, waited=self._awaited)
        self._deliveries[message_id, peer.user_id] = delivery
        if self.failure is not None:
            delivery.fail(self.failure)
        return delivery

    def publish(self, event: Event) -> None:
        """Log an event, apply it and pass it on."""
        match event:
            case ConnectionEvent(state=state, reason=reason):
                self.connection = event
                if state is ConnectionState.ONLINE:
                    self.not_stored = None
                is_good = state in {ConnectionState.CONNECTING, ConnectionState.ONLINE}
                _log.log(logging.INFO if is_good else logging.WARNING, "%s%s", state, f": {reason}" if reason else "")
            case WarningEvent(code=code):
                _log.warning("warning: %s", code)  # the message can name users
            case DeliveryEvent(message_id=message_id, peer=peer, state=reached):
                if (message_id, peer.user_id) in self._deliveries:
                    self._deliveries[message_id, peer.user_id].advance(reached)
            case _:
                pass
        self._put(event)

    def end(self, failure: PhantomError) -> None:
        """Nothing more will come: whoever waits has ``failure`` raised. The first one counts."""
        if self.failure is None:
            self.failure = failure
        if self.is_online:
            self.connection = ConnectionEvent(state=ConnectionState.OFFLINE, reason=str(failure))
        for delivery in list(self._deliveries.values()):
            delivery.fail(self.failure)
        self.wake()
        self._put(None)

    def close(self, failure: PhantomError) -> None:
        """The application is done with the client: ``end``, and nothing that is here already is handed out either."""
        self.is_closed = True
        self.end(failure)

    def raise_if_closed(self) -> None:
        """Raise ``failure`` once the client is closed."""
        if self.is_closed:
            self.raise_if_ended()

    def raise_if_ended(self) -> None:
        """Raise ``failure``, if there is one."""
        if self.failure is not None:
            raise self.failure

    def raise_if_not_stored(self) -> None:
        """Raise ``not_stored``, if there is something: then it is not for the relay that one waits."""
        if self.not_stored is not None:
            raise type(self.not_stored)(str(self.not_stored)) from self.not_stored

    def wake(self) -> None:
        """Something may have changed, with or without an event."""
        self._changed.set()

    async def change(self) -> None:
        """Wait for the next ``wake``."""
        self._changed.clear()
        await self._changed.wait()

    @contextlib.contextmanager
    def subscription(self) -> Iterator[EventQueue]:
        """All events from now on."""
        queue: EventQueue = asyncio.Queue(MAX_EVENTS)
        self._queues.append(queue)
        try:
            yield queue
        finally:
            self._queues.remove(queue)

    async def wait_online(self, timeout: float | None, attempts: int | None) -> ConnectionEvent | None:
        """Wait until the client is logged in, or the time or the attempts are over.

        Args:
            timeout: seconds; None waits forever.
            attempts: that have failed, not counting those that the relay was too busy for; None for any number.

        Returns:
            Why the latest attempt failed, if one did.

        Raises:
            VaultError: there is no connection because something could not be written to the profile.
            PhantomError: nothing more will come.
        """
        now = self.connection
        failed = now if now.state is ConnectionState.OFFLINE and now is not NOT_CONNECTED_YET else None
        # Subscribed before the first look, so that nothing falls in between.
        with self.subscription() as queue, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self.is_online and (attempts is None or attempts > 0):
                    self.raise_if_ended()
                    event = await queue.get()
                    if isinstance(event, ConnectionEvent) and event.state is ConnectionState.OFFLINE:
                        failed = event
                        if attempts is not None and not event.busy:
                            attempts -= 1
        if not self.is_online:
            self.raise_if_not_stored()
        return failed

    async def wait_until(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until a condition is met.

        Args:
            condition: checked after each event, and every ``RECHECK_SECONDS``.
            timeout: seconds; None waits forever.

        Returns:
            Whether it is met; False if the time is over.

        Raises:
            PhantomError: nothing more will come.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not condition():
                    self.raise_if_ended()
                    await self._next_event()
        return condition()

    async def _next_event(self) -> None:
        with self.subscription() as queue, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECHECK_SECONDS):
                await queue.get()

    def _put(self, event: Event | None) -> None:
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)
