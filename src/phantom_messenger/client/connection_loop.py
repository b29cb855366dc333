"""Keeps a client connected: dials, feeds and drains the messenger, and lets time pass for it."""

import asyncio
import logging
import math
import random
import time
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from phantom_messenger.client.connect import dial
from phantom_messenger.client.errors import ClientClosed, LoginRefused, PhantomError, Replaced, VaultError
from phantom_messenger.client.event_hub import EventHub
from phantom_messenger.client.faults import NO_FAULTS, note
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.outages import outage
from phantom_messenger.client.profile import audience_of
from phantom_messenger.client.reconnecting import Backoff
from phantom_messenger.client.sanitize import quoted
from phantom_messenger.client.status import ConnectionEvent, ConnectionState
from phantom_messenger.client.translate import translated

DISK_PAUSE: Final = 1.0
"""Seconds before the next attempt to store something that could not be stored."""

LONGEST_PAUSE: Final = 60.0
"""Seconds, at most, before the next tick after one at which this program has failed: twice as long each time."""

_log: Final = logging.getLogger("phantom_messenger")


class ConnectionLoop:
    """The asyncio side of a ``Messenger``: one task from ``start`` to ``stop``.

    Args:
        messenger: says what to send and when, and is told what arrives; it does no I/O.
        hub: gets its events.
    """

    def __init__(self, messenger: Messenger, hub: EventHub) -> None:
        self._messenger = messenger
        self._hub = hub
        self._task: asyncio.Task[None] | None = None
        self._has_output = asyncio.Event()
        self._has_changed = asyncio.Event()
        self._is_dropped = asyncio.Event()
        self._drop_reason = ""
        self._backoff = Backoff()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._task is not None

    def start(self) -> None:
        """Connect, and stay connected."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Close the connection, if there is one, and end."""
        if self._task is not None:
            self._task.cancel()
            await self.ended()
            self._task = None

    def cancel(self) -> None:
        """As ``stop``, without waiting for the end."""
        if self._task is not None and not self._task.done():
            self._task.cancel()

    async def ended(self, timeout: float | None = None) -> None:
        """Wait until it has ended by itself: the relay does not want this client any more.

        Args:
            timeout: seconds to wait at most.
        """
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout)

    def changed(self) -> None:
        """The messenger may have something to send or to tell: call it after everything that was done with it."""
        for event in self._messenger.drain_events():
            self._hub.publish(event)
            if isinstance(event, ConnectionEvent):
                self._end_if_final(event)
        if self._messenger.desk.is_removed:
            what = "your first device has removed this one, which can no longer be used: its profile is erased now"
            self._hub.end(ClientClosed(what))
        if self._messenger.is_online:
            self._backoff.online(time.monotonic())
        if self._messenger.is_lost:
            self._is_dropped.set()
        self._has_output.set()
        self._hub.wake()
        self._has_changed.set()

    def drop(self, reason: str) -> None:
        """Give up the connection, if there is one; another is made."""
        self._drop_reason = reason
        self._is_dropped.set()

    def moved(self) -> None:
        """Another relay was chosen: leave this one, if there is a connection, and wait for the other as for a first."""
        self._backoff = Backoff()
        self.drop("another relay was chosen")

    async def _run(self) -> None:
        """Stay connected; and let time pass for what is stored here, even while there is no connection."""
        tasks = {asyncio.create_task(self._stay_connected()), asyncio.create_task(self._keep_time())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except Exception as error:  # noqa: BLE001 - whoever waits for this client has to hear of it
            self._hub.end(error if isinstance(error, PhantomError) else translated(error) or _unexpected(error))
        finally:
            await _cancel(tasks)

    async def _stay_connected(self) -> None:
        jitter = random.SystemRandom()
        while True:
            self._messenger.dialling()
            self.changed()
            if not await self._connect_once(self._messenger.server):
                return
            bound = self._backoff.ended(time.monotonic())
            asked = (self._messenger.retry_after or 0) / 1000
            # By chance: a relay that restarts loses all its clients in one moment, and must not get them back in one.
            await asyncio.sleep(asked + jitter.uniform(0, bound))

    async def _connect_once(self, url: str) -> bool:
        """Connect and stay; returns whether to connect again."""
        code, retry_after, busy = None, None, False
        try:
            connection = await dial(url)
        except Exception as error:  # noqa: BLE001 - whatever the network, TLS and the library make of it is an outage
            _log.debug("no connection", exc_info=error)
            reason, retry_after, busy = await outage(url, error)
            self._hub.not_stored = None
        else:
            async with connection:
                code, reason = await self._talk(connection, url)
        again = self._messenger.disconnected(code, reason, retry_after=retry_after, busy=busy)
        self.changed()
        return again

    async def _talk(self, connection: ClientConnection, url: str) -> tuple[int | None, str]:
        """Feed and drain until the link is lost; returns the code of the close frame, if there was one, and why."""
        if url != self._messenger.server:  # another one was chosen while this one was dialled
            return None, self._drop_reason
        self._is_dropped.clear()
        self._drop_reason = ""
        tasks: set[asyncio.Task[Any]] = set()
        try:
            self._messenger.connected(audience_of(url))
            tasks |= {
                asyncio.create_task(self._is_dropped.wait()),
                asyncio.create_task(self._read(connection)),
                asyncio.create_task(self._write(connection)),
            }
            self._has_changed.set()
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ConnectionClosed as closed:
            code = None if closed.rcvd is None else closed.rcvd.code
            reason = "" if closed.rcvd is None else closed.rcvd.reason
            return code, quoted(reason) if reason else "the connection was lost"
        except VaultError as error:
            self._hub.not_stored = error
            return None, str(error)  # a full disk passes, as an outage does
        except NO_FAULTS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its user has everything else all the same
            return None, _fault(error)
        finally:
            await _cancel(tasks)
        return None, self._drop_reason or self._hub.connection.reason or "the relay has stopped answering"

    async def _read(self, connection: ClientConnection) -> None:
        while True:
            text = await connection.recv()
            self._messenger.receive(text)
            self.changed()
            await asyncio.sleep(0)  # what has come already is handed over without a turn of the others

    async def _write(self, connection: ClientConnection) -> None:
        while True:
            # Before draining: what is added while something is sent sets it again, and is not overlooked.
            self._has_output.clear()
            for number, text in enumerate(self._messenger.drain()):
                if number:
                    await asyncio.sleep(0)  # as above: sending waits for nothing while there is room
                await connection.send(text)
            await self._has_output.wait()

    async def _keep_time(self) -> None:
        """Tick when it is time; after a fault of this program later each time: what comes is taken in between."""
        pause = DISK_PAUSE
        while True:
            try:
                await self._until_due()
                self._messenger.tick()
                pause = DISK_PAUSE
            except VaultError as error:
                self._hub.not_stored = error
                # With the connection goes what is only remembered of it: what was not stored was not acknowledged, and
                # comes again.
                self.drop(str(error))
                await asyncio.sleep(DISK_PAUSE)
            except NO_FAULTS:
                raise
            except Exception as error:  # noqa: BLE001 - as where the connection is read
                self.drop(_fault(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            self.changed()

    async def _until_due(self) -> None:
        """Wait until it is time to tick; that can become earlier while one waits, and not later."""
        clock, due = asyncio.get_running_loop().time, math.inf
        while True:
            # Before the question, so that a change behind it still wakes this up.
            self._has_changed.clear()
            due = min(due, clock() + self._messenger.next_tick() / 1000)
            try:
                async with asyncio.timeout_at(due):  # before Python 3.12, wait_for can swallow a cancellation
                    await self._has_changed.wait()
            except TimeoutError:
                return

    def _end_if_final(self, event: ConnectionEvent) -> None:
        """After these two the messenger does not connect again."""
        if event.state is ConnectionState.REPLACED:
            self._hub.end(Replaced("the same identity has logged in elsewhere; use it in one place at a time"))
        elif event.state is ConnectionState.REFUSED:
            self._hub.end(LoginRefused(f"the relay at {self._messenger.server} refused the login: {event.reason}"))


def _fault(error: Exception) -> str:
    """This program has failed: the connection ends, and with it all that is only remembered of it; returns why."""
    kind = note("the connection ends", error)
    return f"something failed that should not ({kind}); please report it"


def _unexpected(error: Exception) -> PhantomError:
    failure = PhantomError(f"something failed that should not ({type(error).__name__}); please report it")
    failure.__cause__ = error
    return failure


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    """End tasks; what they raised has been seen, or has the same cause."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
