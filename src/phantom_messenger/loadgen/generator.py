"""Virtual users who write to each other as fast as a relay answers, or at a fixed rate whatever it answers.

Each sender has a recipient; both are connected, and contacts, so that receipts flow too. A
message counts as accepted when the relay has answered its sender, and as delivered when it
reaches its recipient's socket. A run is over when every message is both, and its sender has
the receipt.
"""

import asyncio
import base64
import contextlib
import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self
from urllib.parse import urlsplit

from phantom_messenger.loadgen import wire
from phantom_messenger.loadgen.connection import DEFAULT_PORTS, Connection, LoadError, describe_failure
from phantom_messenger.loadgen.stats import Stats

__all__ = ["Connection", "LoadError", "LoadGenerator"]

STALL_SECONDS: Final = 30.0
"""After so long without progress the run has failed."""

RECEIPT_SECONDS: Final = 2.0
CONCURRENT_LOGINS: Final = 128
DELETE_SECONDS: Final = 10.0
_TICK: Final = 0.001
_GREETING: Final = "c2VjcmV0"

Progress = Callable[[str], None]


def _no_progress(text: str) -> None:
    """Show nothing."""


@contextlib.contextmanager
def _no_gc() -> Iterator[None]:
    """Keep the garbage collector away: the prepared frames are many, and none of them is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class LoadGenerator:
    """Pairs of a sender and a recipient at a relay, or at several that share a store.

    Args:
        url: of the relay; if there are several, senders connect to them in turn, and recipients to the next one.
        pairs: how many.
        acks: whether all have the feature ``ack``; without it a message counts as delivered once it is written.
        sources: loopback addresses to connect from in turn, for more sockets than one address has ports.
        users: sender and recipient alternately; new ones by default.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        pairs: int,
        *,
        acks: bool = False,
        sources: Sequence[str] = (),
        users: Sequence[wire.VirtualUser] = (),
    ) -> None:
        self._urls = [urlsplit(one) for one in ([url] if isinstance(url, str) else url)]
        self._pairs = pairs
        self._acks = acks
        self._sources = sources
        self._users = users or [wire.VirtualUser() for _ in range(2 * pairs)]
        self.stats = Stats()
        self.senders: list[Connection] = []
        self.recipients: list[Connection] = []
        self._connections: list[Connection] = []

    async def __aenter__(self) -> Self:
        """Nothing is connected yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop all sockets."""
        self.close()

    async def connect(self, progress: Progress = _no_progress) -> None:
        """Log everyone in.

        Raises:
            LoadError: the relay refuses.
        """
        connected: dict[int, Connection] = {}
        failures: list[LoadError] = []
        remaining = iter(enumerate(self._users))

        async def worker() -> None:
            for number, user in remaining:
                if failures:
                    return
                try:
                    connected[number] = await self.login(user, number)
                except LoadError as error:
                    failures.append(error)
                if len(connected) % 100 == 0:
                    progress(f"{len(connected):,} of {len(self._users):,} logged in")

        await asyncio.gather(*(worker() for _ in range(CONCURRENT_LOGINS)))
        if failures:
            raise failures[0]
        everybody = [connected[number] for number in range(len(self._users))]
        self.senders, self.recipients = everybody[::2], everybody[1::2]

    async def login(self, user: wire.VirtualUser, number: int = 0) -> Connection:
        """Open one connection of this user.

        Raises:
            LoadError: the relay refuses, or cannot be reached.
        """
        url = self._urls[(number // 2 + number % 2) % len(self._urls)]
        try:
            async with asyncio.timeout(STALL_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(user, self.stats, url, acks=self._acks),
                    url.hostname or "",
                    url.port or DEFAULT_PORTS[url.scheme],
                    ssl=True if url.scheme == "wss" else None,
                    local_addr=(self._sources[number % len(self._sources)], 0) if self._sources else None,
                )
                self._connections.append(connection)
                connection.begin()
                # An interrupted login still counts when the accounts are deleted.
                await asyncio.shield(connection.ready)
        except TimeoutError:
            raise LoadError("the relay does not answer") from None
        except OSError as error:
            raise LoadError(f"no connection to {url.netloc}: {error.strerror or error}") from None
        return connection

    @property
    def pairs(self) -> list[tuple[Connection, Connection]]:
        """Senders and their recipients."""
        return list(zip(self.senders, self.recipients, strict=True))

    async def reconnect(self, number: int) -> None:
        """Drop a user's connection, and log in again; ``number`` counts senders and recipients alternately."""
        side = (self.senders, self.recipients)[number % 2]
        index = number // 2 % self._pairs
        old = side[index]
        old.close()
        self._connections.remove(old)
        side[index] = await self.login(old.user, number)

    async def make_contacts(self) -> None:
        """Have each recipient write to its sender once: with the first reply they become contacts."""
        for sender, recipient in zip(self.senders, self.recipients, strict=True):
            recipient.frames.append(recipient.user.message(sender.user.id, _GREETING, recipient.now_ms()))
            recipient.send(1)
        # A stranger gets no receipt.
        self.stats.awaiting_receipt.clear()
        await self._wait_until_done()
        self.stats.clear()

    def prepare(self, count: int, size: int, progress: Progress = _no_progress) -> None:
        """Sign ``count`` messages, shared out among the senders, with bodies of ``size`` base64 characters."""
        body = base64.b64encode(os.urandom(size)).decode()[: size // 4 * 4]
        at = self.senders[0].now_ms()
        for number in range(count):
            index = number % self._pairs
            sender, recipient = self.senders[index], self.recipients[index]
            sender.frames.append(sender.user.message(recipient.user.id, body, at))
            if number % 2_000 == 0:
                progress(f"{number:,} of {count:,} messages signed")

    async def closed_loop(self, in_flight: int) -> float:
        """Send everything that was prepared, ``in_flight`` unanswered per sender; returns the seconds it took.

        Raises:
            LoadError: the relay refused some, or makes no progress.
        """
        began = time.perf_counter()
        with _no_gc():
            for sender in self.senders:
                sender.window = in_flight
                sender.send(in_flight)
            return await self._wait_until_done() - began

    async def open_loop(self, rate: float, *, spins: bool = False) -> float:
        """Send everything that was prepared at a fixed rate, whatever is answered; returns the seconds it took.

        What the relay refuses for overload is counted, not raised.

        Args:
            rate: messages a second.
            spins: poll the clock continuously, for a core of one's own, instead of once a millisecond.

        Raises:
            LoadError: the relay refused some for another reason, or makes no progress.
        """
        count = sum(len(sender.frames) for sender in self.senders)
        lateness = self.stats.lateness
        began = time.perf_counter() + 0.05
        sent = 0
        with _no_gc():
            while sent < count:
                now = time.perf_counter()
                for number in range(sent, min(math.floor((now - began) * rate) + 1, count)):
                    due = began + number / rate
                    self.senders[number % self._pairs].send_due(due)
                    lateness.add(int((now - due) * 1e6))
                    sent += 1
                self._check("overload")
                await asyncio.sleep(0 if spins else _TICK)
            return await self._wait_until_done("overload") - began

    def _check(self, *tolerated: str) -> None:
        """Raise if the relay refused anything for a reason that is not tolerated."""
        if self.stats.refused.keys() - set(tolerated):
            raise LoadError(describe_failure(self.stats))

    async def _wait_until_done(self, *tolerated: str) -> float:
        """Wait until every message is done, except those refused for a tolerated reason.

        Receipts are awaited as long as any arrive: a relay may drop them if too many are waiting.

        Returns:
            The time of the last progress.
        """
        stats = self.stats
        before, progress_at = -1, time.perf_counter()
        while max(stats.missing, len(stats.awaiting_receipt)) > stats.refused.total():
            self._check(*tolerated)
            await asyncio.sleep(2 * _TICK)
            now = time.perf_counter()
            if stats.progress != before:
                before, progress_at = stats.progress, now
            elif now - progress_at > RECEIPT_SECONDS and stats.missing <= stats.refused.total():
                break
            elif now - progress_at > STALL_SECONDS:
                raise LoadError(describe_failure(stats))
        self._check(*tolerated)
        return progress_at

    async def delete_accounts(self) -> tuple[int, int]:
        """Ask the relay to delete all accounts; returns how many it deleted, and of how many."""
        found = await asyncio.gather(*(connection.delete_account(DELETE_SECONDS) for connection in self._connections))
        self.close()
        return found.count(True), len(found) - found.count(None)

    def close(self) -> None:
        """Drop all sockets."""
        for connection in self._connections:
            connection.close()
