"""Three times what a relay can carry: too much is refused at once, what was accepted arrives, then all is well again.

The relay's verification is slowed down, by sleeping and not by working, so that three times its
capacity is little for the load and for this machine, whatever else it does.
"""

import asyncio
import json
import statistics
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from support.amounts import LONG
from support.people import Frame, Person, canonical
from support.relay_process import RelayProcess, StartRelay, patched

PEOPLE = 10
SECONDS = 30.0 if LONG else 5.0
TIMES = 3
EACH = 6
"""Messages of each by which the capacity is found: all together are fewer than a relay refuses."""
ANSWERED_MS = 7_000
"""A second's work is on its way, as much again is in the sockets, and the machine does other things."""

SLOW = """
import time
from phantom_messenger.relay import load, signatures
load.LEAST_LOAD = 64
quick = signatures.verify
def slow(batch):
    time.sleep(0.01 * len(batch))
    return quick(batch)
signatures.verify = slow
"""
NEVER_FULL = f"{SLOW}\nload.LoadGauge.is_full = property(lambda self: False)"


@dataclass(slots=True)
class Sender:
    """Somebody who writes to themselves: the mailbox is their own, so the load is all on the relay."""

    person: Person
    connection: ClientConnection
    sent: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)
    refused: dict[str, Frame] = field(default_factory=dict)
    came: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether all is answered, and all that was accepted has come."""
        return len(self.answered) == len(self.sent) and len(self.came) >= len(self.accepted)

    async def send(self, text: str, name: str) -> None:
        self.sent[name] = time.monotonic()
        await self.connection.send(text)

    async def read(self) -> None:
        async for text in self.connection:
            frame = json.loads(text)
            payload = frame["payload"]
            match frame["type"]:
                case "MESSAGE":
                    self.came.append(payload["messageId"])
                case "MESSAGE_ACK" if payload["status"] == "accepted":
                    self.accepted.append(payload["messageId"])
                    self.answered[payload["messageId"]] = time.monotonic()
                case "ERROR":
                    self.refused[frame["id"]] = payload
                    self.answered[frame["id"]] = time.monotonic()

    def signed(self, count: int) -> list[tuple[str, str]]:
        """Messages to oneself, ready to be sent, with their ids."""
        names = [self.person.new_message_id() for _ in range(count)]
        return [
            (canonical(self.person.message(self.person, message_id=name, id=name)).decode(), name) for name in names
        ]


class Load:
    """Some senders at one relay, logged in while it is at rest."""

    def __init__(self, relay: RelayProcess) -> None:
        self.senders: list[Sender] = []
        self._url = relay.url
        self._open = AsyncExitStack()
        self._readers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for _ in range(PEOPLE):
            connection = await self._open.enter_async_context(
                connect(
                    self._url,
                    compression=None,
                    proxy=None,
                    ping_interval=None,
                    max_queue=None,
                    close_timeout=2,
                    open_timeout=60,
                )
            )
            person = Person()
            hello = json.loads(await connection.recv())
            await connection.send(canonical(person.auth(hello, urlsplit(self._url).netloc)).decode())
            assert json.loads(await connection.recv())["type"] == "AUTH_SUCCESS"
            sender = Sender(person, connection)
            self._readers.append(asyncio.get_running_loop().create_task(sender.read()))
            self.senders.append(sender)
        return self

    async def __aexit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._open.aclose()

    async def capacity(self) -> float:
        """Messages a second when each sender waits for its answers."""

        async def talk(sender: Sender) -> None:
            for text, name in sender.signed(EACH):
                await sender.send(text, name)

        began = time.monotonic()
        await asyncio.gather(*map(talk, self.senders))
        await self.all_answered(60)
        assert not any(sender.refused for sender in self.senders)
        return PEOPLE * EACH / (time.monotonic() - began)

    async def pour(self, rate: float) -> None:
        """Send at this rate, whatever is answered."""
        each = int(rate * SECONDS / PEOPLE)
        ready = [sender.signed(each) for sender in self.senders]
        began = time.monotonic()
        for number in range(each):
            await asyncio.sleep(began + number / each * SECONDS - time.monotonic())
            await asyncio.gather(*(sender.send(*ready[index][number]) for index, sender in enumerate(self.senders)))

    async def all_answered(self, seconds: float) -> float:
        """Wait until everything is answered and all that was accepted has come; how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            while not all(sender.is_done for sender in self.senders):  # noqa: ASYNC110 - frames come all the time
                await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def lone_message(self) -> float:
        """Milliseconds to an answer, the median of a few."""
        times = []
        sender = self.senders[0]
        for text, name in sender.signed(5):
            await sender.send(text, name)
            await self.all_answered(60)
            times.append(sender.answered[name] - sender.sent[name])
        return statistics.median(times) * 1_000

    def waits(self) -> list[float]:
        """Milliseconds to each answer, the longest last."""
        return sorted(
            (sender.answered[name] - sender.sent[name]) * 1_000 for sender in self.senders for name in sender.sent
        )


@dataclass(slots=True, kw_only=True)
class Course:
    """How an overload went: messages a second that can be carried, seconds until rest, milliseconds of a lone one."""

    load: Load
    capacity: float
    rest: float
    alone: float
    waits: list[float]


async def overload(relay: RelayProcess) -> Course:
    """Pour three times the capacity, come to rest, send some of what was refused again."""
    async with Load(relay) as load:
        capacity = await load.capacity()
        for sender in load.senders:
            sender.sent.clear()
            sender.answered.clear()
        await load.pour(capacity * TIMES)
        rest = await load.all_answered(60)
        waits = load.waits()
        alone = await load.lone_message()
        sender = load.senders[0]
        again = list(sender.refused)[:20]
        for name in again:
            del sender.answered[name]
            message = sender.person.message(sender.person, message_id=name, id=name)
            await sender.send(canonical(message).decode(), name)
        await load.all_answered(60)
        assert set(again) <= set(sender.accepted), "what was refused can be sent again"
        return Course(load=load, capacity=capacity, rest=rest, alone=alone, waits=waits)


def slow_answers(relay: RelayProcess) -> float:
    """Milliseconds until the slowest answer."""
    return asyncio.run(overload(relay)).waits[-1]


def test_overload_is_refused_early_and_loses_nothing(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off", "--verify-workers", "0", command=patched(SLOW))
    course = asyncio.run(overload(relay))
    load = course.load
    refused = [payload for sender in load.senders for payload in sender.refused.values()]
    accepted = [name for sender in load.senders for name in sender.accepted]
    assert {(payload["code"], payload["details"]["reason"]) for payload in refused} == {(1003, "overload")}
    assert all(1_000 <= payload["retryAfter"] <= 5_000 for payload in refused)
    assert course.waits[-1] <= ANSWERED_MS, "every answer comes soon"
    assert course.rest <= 30, "back to normal"
    assert course.alone <= (200 if LONG else 2_000), "a short run shares the machine with others"
    assert all(sorted(sender.came) == sorted(sender.accepted) for sender in load.senders), "accepted is kept, once"
    assert len(accepted) >= course.capacity * SECONDS * (0.5 if LONG else 0.25), "it goes on working meanwhile"
    relay.stop()
    words = [line.split(" ", 3)[2] for line in relay.log.splitlines()]
    assert words.count("overloaded:") == 1


def test_overload_that_is_not_refused_is_answered_late(start_relay: StartRelay) -> None:
    """The control: a relay that takes everything."""
    assert (
        slow_answers(start_relay("--limits", "off", "--verify-workers", "0", command=patched(NEVER_FULL))) > ANSWERED_MS
    )
