"""Clients that take nothing of what is sent to them: bounded, cut in time, no harm to others, and nothing lost."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import pytest

from support.amounts import LONG, amount
from support.load import Connections, Peer, accepted, ids, make_contacts
from support.measures import resident
from support.people import Person, base64_text, canonical
from support.raw_socket import TEXT, RawSocket, frame
from support.relay_process import RelayProcess, StartRelay, patched

READERS: Final = amount(10, 100)
MESSAGES: Final = amount(60, 100)
KIB: Final = 1_024
EACH: Final = 256 * KIB
SLACK: Final = 6 * 1_048_576
"""What the relay's allocator and its store keep of the work itself, whoever reads."""

CUT_SECONDS: Final = 10
SHARED_SECONDS: Final = 0.0 if LONG else 8.0
"""What a short run, which shares the machine with other tests, adds to what is timed."""

LONGEST_SECONDS: Final = 40
"""After which nobody waits for a cut any more; the control waits no longer than ``UNCUT_SECONDS``."""

UNCUT_SECONDS: Final = 13
NEVER_FULL: Final = """
from phantom_messenger.relay import outbox
outbox.HIGH_WATER = outbox.LOW_WATER = outbox.PAGE = outbox.OVERFLOW = 1 << 40
outbox.STALL_MS = 1 << 40
"""
BODY: Final = base64_text(os.urandom(46_000))
assert 60_000 <= len(BODY) <= 61_440


class Reader:
    """Somebody who logs in and then takes nothing, or everything, of what comes."""

    def __init__(self, person: Person, relay: RelayProcess) -> None:
        self.person = person
        self._address = relay.address
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._reads: asyncio.Task[None] | None = None
        self.cut_at: float | None = None

    def login(self) -> None:
        """Log in with acknowledgements, which then never come."""
        self._socket.connect(self._address)
        raw = RawSocket.__new__(RawSocket)
        raw.address, raw._socket, raw._unread = self._address, self._socket, b""
        self._socket.settimeout(60)
        raw.upgrade()
        hello = json.loads(raw.read().payload)
        auth = self.person.auth(hello, f"{self._address[0]}:{self._address[1]}", features=["ack"])
        raw.send(frame(TEXT, canonical(auth)))
        assert b"AUTH_SUCCESS" in raw.read().payload
        self._socket.setblocking(False)

    def read(self) -> None:
        """From now on take all that comes."""
        self._reads = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while await loop.sock_recv(self._socket, 262_144):
                pass

    def is_cut(self) -> bool:
        """Whether the relay has ended the connection, by what the operating system says of it."""
        state = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state != 1  # established

    def close(self) -> None:
        if self._reads is not None:
            self._reads.cancel()
        self._socket.close()


@contextlib.asynccontextmanager
async def readers(relay: RelayProcess, sender: Peer, connections: Connections) -> AsyncIterator[list[Reader]]:
    """Contacts of the sender, logged in; they take nothing until they are told to."""
    made = []
    for _ in range(READERS):
        person = Person()
        peer = await connections.login(person, acks=True)
        await make_contacts(sender, peer)
        await peer.settle()
        await peer._connection.close()
        reader = Reader(person, relay)
        reader.login()
        made.append(reader)
    try:
        yield made
    finally:
        for reader in made:
            reader.close()


async def times(peer: Peer, stop: Callable[[], bool]) -> list[float]:
    """Milliseconds until a message to oneself is accepted, again and again."""
    found = []
    while not stop():
        began = time.monotonic()
        await accepted(peer, peer.person.message(peer.person))
        found.append((time.monotonic() - began) * 1_000)
        await asyncio.sleep(0.02)
    return sorted(found)


async def pour(sender: Peer, to: list[Reader]) -> dict[str, list[str]]:
    """Send every reader its messages, a few at a time; their ids by reader."""
    sent: dict[str, list[str]] = {reader.person.id: [] for reader in to}
    for _ in range(MESSAGES):
        messages = [sender.person.message(reader.person, encrypted=BODY) for reader in to]
        for message in messages:
            sent[message["payload"]["recipientId"]].append(message["payload"]["messageId"])
        await sender.send(*messages)
        wanted = set(ids(messages))
        assert await sender.until(lambda wanted=wanted: wanted <= set(sender.accepted[-2 * READERS :])), sender.errors  # type: ignore[misc]
    return sent


@dataclass(slots=True, kw_only=True)
class Course:
    """How it went: milliseconds of others, bytes it took, seconds until all were cut, and what was sent to whom."""

    waits: list[float]
    most: int
    seconds: float
    sent: dict[str, list[str]]
    readers: list[Reader]

    @property
    def slow(self) -> float:
        """The 99th percentile; of a short run, which shares the machine with other tests, the median."""
        return self.waits[int(len(self.waits) * (0.99 if LONG else 0.5))]


async def course(relay: RelayProcess, *, reading: bool, longest: float = LONGEST_SECONDS) -> Course:
    """Pour while somebody else writes too, then wait until all are cut who do not read, or for so many seconds."""
    async with Connections(relay.url) as connections:
        sender, honest = await connections.login(Person()), await connections.login(Person(), acks=True)
        async with readers(relay, sender, connections) as made:
            for reader in made if reading else []:
                reader.read()
            before = resident(relay.pid)
            poured = asyncio.get_running_loop().create_task(pour(sender, made))
            waited = await times(honest, poured.done)
            sent = await poured
            most = resident(relay.pid) - before
            began = time.monotonic()
            while not reading and not all(reader.is_cut() for reader in made) and time.monotonic() - began < longest:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            seconds = time.monotonic() - began
            return Course(waits=waited, most=most, seconds=seconds, sent=sent, readers=made)


async def collected(relay: RelayProcess, reader: Reader, count: int) -> list[str]:
    """What somebody gets who comes back and reads."""
    async with Connections(relay.url) as connections:
        peer = await connections.login(reader.person, acks=True)
        texts: list[str] = []

        def enough() -> bool:
            texts[:] = [name for name in ids(peer.messages) if name]
            return len(texts) >= count

        assert await peer.until(enough)
        return ids(await peer.settle())


@pytest.mark.timeout(7_200 if LONG else 300)
def test_readers_that_take_nothing_are_bounded_and_cut_and_lose_nothing(start_relay: StartRelay) -> None:
    async def main() -> None:
        willing = await course(relay, reading=True)
        found = await course(relay, reading=False)
        assert found.most <= READERS * EACH + SLACK
        assert found.seconds <= CUT_SECONDS + 1 + SHARED_SECONDS, "from the last message; they took nothing long before"
        assert found.slow <= max(2 * willing.slow, 100) + (0 if LONG else 2_000)
        for reader in found.readers:
            names = found.sent[reader.person.id]
            assert await collected(relay, reader, len(names)) == names, "in order, each once"

    relay = start_relay("--limits", "off")
    asyncio.run(main())


def test_relay_without_bounds_grows_and_cuts_nobody(start_relay: StartRelay) -> None:
    """The control."""

    async def main() -> None:
        found = await course(relay, reading=False, longest=UNCUT_SECONDS)
        assert found.most > READERS * EACH + SLACK
        assert found.seconds >= UNCUT_SECONDS

    relay = start_relay("--limits", "off", command=patched(NEVER_FULL))
    asyncio.run(main())


# --- those who ask and do not listen ----------------------------------------------


def test_answers_that_nobody_takes_are_bounded(start_relay: StartRelay, request: pytest.FixtureRequest) -> None:
    relay = start_relay("--limits", "off")
    reader = Reader(Person(), relay)
    request.addfinalizer(reader.close)
    reader.login()
    before = resident(relay.pid)
    reader._socket.setblocking(True)
    reader._socket.settimeout(3)
    query = frame(TEXT, canonical(reader.person.asks_for(base64.b64encode(bytes(32)).decode())))
    with contextlib.suppress(OSError):
        for _ in range(2_000):
            reader._socket.sendall(query * 50)
    began = time.monotonic()
    while not reader.is_cut() and time.monotonic() - began < LONGEST_SECONDS:
        time.sleep(0.1)
    assert reader.is_cut()
    assert resident(relay.pid) - before <= 64 * 1_048_576, "its answers, and the jobs that may wait for the store"


def test_reader_who_is_slow_is_not_cut(start_relay: StartRelay, request: pytest.FixtureRequest) -> None:
    relay = start_relay("--limits", "off")
    reader = Reader(Person(), relay)
    request.addfinalizer(reader.close)
    reader.login()
    reader._socket.setblocking(True)
    reader._socket.settimeout(60)
    for _ in range(30):
        message = reader.person.message(reader.person, encrypted=BODY)
        reader._socket.sendall(frame(TEXT, canonical(message)))
    got = 0
    began = time.monotonic()
    while time.monotonic() - began < 13:
        got += len(reader._socket.recv(2_048))
        time.sleep(0.5)
    assert not reader.is_cut()
    assert got > 0
