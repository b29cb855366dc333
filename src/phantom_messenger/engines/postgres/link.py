"""The way from relay to relay: LISTEN and NOTIFY of the database that they share."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import psycopg

from phantom_messenger.engines.postgres.connect import connect_later
from phantom_messenger.engines.postgres.watchdog import shut_down
from phantom_messenger.events import Event, log

CHANNEL: Final = "phantom_relays"
MAX_UNSENT: Final = 10_000
"""Texts that wait while the database is away; the oldest are dropped, for what they say is found in the store too."""

_AGAIN_SECONDS: Final = 1.0


class PostgresLink:
    """Two connections: one listens, and one sends; a ``relay.ports.RelayLink``.

    Args:
        url: of the database.
        hear: called with each text of another relay.
    """

    def __init__(self, url: str, hear: Callable[[str], None]) -> None:
        self._url = url
        self._hear = hear
        self._unsent: asyncio.Queue[str | None] = asyncio.Queue()
        """None behind the last one."""
        self._own: set[int] = set()
        self._open: set[psycopg.AsyncConnection[Any]] = set()
        self._is_closing = False
        self._tasks = [asyncio.create_task(self._keep_on(work)) for work in (self._listen, self._send)]

    def __call__(self, text: str) -> None:
        """See ``relay.ports.RelayLink``."""
        if self._unsent.qsize() >= MAX_UNSENT:
            self._unsent.get_nowait()
            self._unsent.task_done()
        self._unsent.put_nowait(text)

    async def close(self) -> None:
        """Send what waits, if that takes no time; then end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_SECONDS):
                await self._unsent.join()
        self._is_closing = True
        self._unsent.put_nowait(None)
        # A task that is cancelled while the server owes it an answer would wait for that: the answer is given up first.
        for connection in self._open:
            with contextlib.suppress(psycopg.Error):  # closed by the server already
                shut_down(connection.fileno())
        _, late = await asyncio.wait(self._tasks, timeout=_AGAIN_SECONDS)
        for task in late:  # they dial, or are between two tries
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _keep_on(self, work: Callable[["psycopg.AsyncConnection[Any]"], Any]) -> None:
        is_known = False
        while not self._is_closing:
            try:
                async with await connect_later(self._url) as connection:
                    is_known = False
                    self._open.add(connection)
                    try:
                        await work(connection)
                    finally:
                        self._open.discard(connection)
            except psycopg.Error as error:
                if not is_known and not self._is_closing:
                    log(Event.LINK_LOST, error=type(error).__name__)
                is_known = True
            if not self._is_closing:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        await connection.execute(f"LISTEN {CHANNEL}")
        async for notice in connection.notifies():
            if notice.pid not in self._own:
                self._hear(notice.payload)

    async def _send(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        self._own = {connection.info.backend_pid}
        while (text := await self._unsent.get()) is not None:
            try:
                await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, text))
            finally:
                self._unsent.task_done()
