"""People who write to each other as fast as a relay answers, or at a given rate whatever it answers.

Each sender has a recipient; both are connected, and contacts, so that receipts flow too. A
message counts as accepted when its sender has the relay's word, as delivered when its
recipient's socket has it. A run is over when every message is both, and its sender has the
receipt.
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

from phantom_messenger.bench import wire
from phantom_messenger.bench.connection import DEFAULT_PORTS, Connection, LoadError, why
from phantom_messenger.bench.ledger import Ledger

__all__ = ["Connection", "Crowd", "LoadError"]

PATIENCE: Final = 30.0
"""Seconds without anything new after which a relay is said to stand still."""

RECEIPT_PATIENCE: Final = 2.0
LOGINS_AT_ONCE: Final = 128
LEAVE_SECONDS: Final = 10.0
_TICK: Final = 0.001
_HELLO: Final = "c2VjcmV0"

Progress = Callable[[str], None]


def _silent(text: str) -> None:
    """Show nothing."""


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    """Keep the collector away: the frames that wait are many and none of them is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Crowd:
    """Senders with their recipients at one relay.

    Args:
        url: of the relay.
        pairs: how many.
        acks: whether all have the feature ``ack``; without it a relay counts what a socket has taken as delivered.
        sources: loopback addresses to connect from in turn, for more sockets than one address has ports.
        people: who they are, a sender and a recipient in turn; new ones if left out.
    """

    def __init__(
        self,
        url: str,
        pairs: int,
        *,
        acks: bool = False,
        sources: Sequence[str] = (),
        people: Sequence[wire.Person] = (),
    ) -> None:
        self._url = urlsplit(url)
        self._pairs = pairs
        self._acks = acks
        self._sources = sources
        self._people = people or [wire.Person() for _ in range(2 * pairs)]
        self.ledger = Ledger()
        self.senders: list[Connection] = []
        self.recipients: list[Connection] = []
        self._made: list[Connection] = []

    async def __aenter__(self) -> Self:
        """Nobody is connected yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of all sockets."""
        self.close()

    async def connect(self, progress: Progress = _silent) -> None:
        """Log everybody in.

        Raises:
            LoadError: the relay refuses.
        """
        made: dict[int, Connection] = {}
        failures: list[LoadError] = []
        waiting = iter(enumerate(self._people))

        async def work() -> None:
            for number, person in waiting:
                if failures:
                    return
                try:
                    made[number] = await self.login(person, number)
                except LoadError as error:
                    failures.append(error)
                if len(made) % 100 == 0:
                    progress(f"{len(made):,} of {len(self._people):,} logged in")

        await asyncio.gather(*(work() for _ in range(LOGINS_AT_ONCE)))
        if failures:
            raise failures[0]
        everybody = [made[number] for number in range(len(self._people))]
        self.senders, self.recipients = everybody[::2], everybody[1::2]

    async def login(self, person: wire.Person, number: int = 0) -> Connection:
        """One connection of this person.

        Raises:
            LoadError: the relay refuses, or is not there.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(person, self.ledger, self._url, acks=self._acks),
                    self._url.hostname or "",
                    self._url.port or DEFAULT_PORTS[self._url.scheme],
                    ssl=True if self._url.scheme == "wss" else None,
                    local_addr=(self._sources[number % len(self._sources)], 0) if self._sources else None,
                )
                self._made.append(connection)
                # Whoever is interrupted still leaves as one who has logged in.
                await asyncio.shield(connection.ready)
        except TimeoutError:
            raise LoadError("the relay does not answer") from None
        except OSError as error:
            raise LoadError(f"no connection to {self._url.netloc}: {error.strerror or error}") from None
        return connection

    async def renew(self, number: int) -> None:
        """Have somebody, senders and recipients counted in turn, go and come again."""
        side = (self.senders, self.recipients)[number % 2]
        index = number // 2 % self._pairs
        gone = side[index]
        gone.close()
        self._made.remove(gone)
        side[index] = await self.login(gone.person, number)

    async def befriend(self) -> None:
        """Have each recipient write to its sender once: with the answer they are contacts."""
        for sender, recipient in zip(self.senders, self.recipients, strict=True):
            recipient.frames.append(recipient.person.message(sender.person.id, _HELLO, recipient.now_ms()))
            recipient.send(1)
        # Nobody is told what became of a message to somebody who has not written yet.
        self.ledger.untold.clear()
        await self._settled()
        self.ledger.clear()

    def prepare(self, count: int, size: int, progress: Progress = _silent) -> None:
        """Make so many messages for all senders together, with bodies of ``size`` base64 characters."""
        body = base64.b64encode(os.urandom(size)).decode()[: size // 4 * 4]
        at = self.senders[0].now_ms()
        for number in range(count):
            index = number % self._pairs
            sender, recipient = self.senders[index], self.recipients[index]
            sender.frames.append(sender.person.message(recipient.person.id, body, at))
            if number % 2_000 == 0:
                progress(f"{number:,} of {count:,} messages signed")

    async def closed_loop(self, in_flight: int) -> float:
        """Send all that was prepared, so many unanswered for each sender; the seconds until all was through.

        Raises:
            LoadError: the relay has refused some, or stands still.
        """
        began = time.perf_counter()
        with _no_collecting():
            for sender in self.senders:
                sender.window = in_flight
                sender.send(in_flight)
            return await self._settled() - began

    async def open_loop(self, rate: float, *, spins: bool = False) -> float:
        """Send all that was prepared at this rate, whatever is answered; the seconds until all was through.

        What the relay refuses because it is too much counts as refused.

        Args:
            rate: messages a second.
            spins: look at the clock all the time, on a core of one's own, instead of each millisecond.

        Raises:
            LoadError: the relay has refused some for another reason, or stands still.
        """
        count = sum(len(sender.frames) for sender in self.senders)
        lateness = self.ledger.lateness
        began = time.perf_counter() + 0.05
        sent = 0
        with _no_collecting():
            while sent < count:
                now = time.perf_counter()
                for number in range(sent, min(math.floor((now - began) * rate) + 1, count)):
                    due = began + number / rate
                    self.senders[number % self._pairs].send_due(due)
                    lateness.add(int((now - due) * 1e6))
                    sent += 1
                self._check("overload")
                await asyncio.sleep(0 if spins else _TICK)
            return await self._settled("overload") - began

    def _check(self, *borne: str) -> None:
        """Raise what the relay has refused, but for these reasons."""
        if self.ledger.refused.keys() - set(borne):
            raise LoadError(why(self.ledger))

    async def _settled(self, *borne: str) -> float:
        """Wait until every message is through, but for those refused for these reasons; the moment of the last news.

        Receipts are waited for as long as any come: a relay may lose them if too many wait.
        """
        ledger = self.ledger
        before, news_at = -1, time.perf_counter()
        while max(ledger.missing, len(ledger.untold)) > ledger.refused.total():
            self._check(*borne)
            await asyncio.sleep(2 * _TICK)
            now = time.perf_counter()
            if ledger.progress != before:
                before, news_at = ledger.progress, now
            elif now - news_at > RECEIPT_PATIENCE and ledger.missing <= ledger.refused.total():
                break
            elif now - news_at > PATIENCE:
                raise LoadError(why(ledger))
        self._check(*borne)
        return news_at

    async def leave(self) -> tuple[int, int]:
        """Have the relay delete all accounts: how many it has deleted, of how many."""
        found = await asyncio.gather(*(connection.leave(LEAVE_SECONDS) for connection in self._made))
        self.close()
        return found.count(True), len(found) - found.count(None)

    def close(self) -> None:
        """Let go of all sockets."""
        for connection in self._made:
            connection.close()
