"""Two relay processes on one database: one is paused, or the database is away, and everything is right after."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from support.amounts import amount
from support.load import PATIENCE
from support.people import Frame, Person, canonical
from support.postgres_server import PostgresServer, programs
from support.relay_process import RelayProcess, StartRelay, patched

HOST = "relay.test"
USERS = amount(200, 600)
PAUSE = amount(0, 20)
"""Seconds for which a relay is paused at least; it is taken for dead sooner if the database says it has been silent."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    made = PostgresServer()
    yield made
    made.end()


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.make_database()


@pytest.fixture
def relays(url: str, tmp_path: Path) -> Iterator[list[RelayProcess]]:
    made: list[RelayProcess] = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        arguments = ("--limits", "off", "--public-names", HOST)
        made.append(RelayProcess(folder, *arguments, more={"PHANTOM_STORE": url}))
    yield made
    for relay in made:
        os.kill(relay.pid, signal.SIGCONT)
        relay.stop()


class Device:
    """A connection that keeps what its user was told."""

    def __init__(self, person: Person, connection: ClientConnection) -> None:
        self.person = person
        self.shown: list[str] = []
        self.messages: list[str] = []
        self.accepted: list[str] = []
        self.code: int | None = None
        self._connection = connection
        self._reader = asyncio.create_task(self._read())

    async def send(self, frame: Frame) -> None:
        await self._connection.send(canonical(frame).decode())

    async def leave(self) -> None:
        await self._connection.close()
        await self._reader

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self._connection:
                await self._take(json.loads(text))
        self.code = self._connection.close_code

    async def _take(self, frame: Frame) -> None:
        match frame["type"]:
            case "PRESENCE":
                self.shown.append(frame["payload"]["status"])
            case "MESSAGE":
                self.messages.append(frame["payload"]["messageId"])
                await self.send(self.person.ack(frame))
            case "MESSAGE_ACK" if "seq" in frame:
                await self.send(self.person.confirm(frame["seq"]))
            case "MESSAGE_ACK":
                self.accepted.append(frame["payload"]["messageId"])


async def log_in(relay: RelayProcess, person: Person) -> Device | None:
    """Connect and log in; None if the relay refuses for now."""
    connection = await connect(
        relay.url, compression=None, proxy=None, ping_interval=None, close_timeout=2, open_timeout=PATIENCE
    )
    acknowledgement = json.loads(await connection.recv())
    await connection.send(canonical(person.auth(acknowledgement, HOST, features=["ack"])).decode())
    answer = json.loads(await connection.recv())
    if answer["type"] == "AUTH_SUCCESS":
        return Device(person, connection)
    assert answer["payload"]["code"] == 1007, answer
    assert answer["payload"]["retryAfter"] > 0
    await connection.close()
    return None


@contextlib.asynccontextmanager
async def everybody() -> AsyncIterator[Callable[[RelayProcess, Person], Coroutine[Any, Any, Device]]]:
    """Logs people in, again and again until the relay lets them; they leave at the end."""
    there: list[Device] = []

    async def join(relay: RelayProcess, person: Person) -> Device:
        while (device := await log_in(relay, person)) is None:  # noqa: ASYNC110 - the relay says when it is back to nobody
            await asyncio.sleep(0.5)
        there.append(device)
        return device

    yield join
    for device in there:
        await device.leave()


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - of a database too
            await asyncio.sleep(0.05)


async def writes(sender: Device, recipient: Device) -> None:
    """A message is accepted and delivered."""
    frame = sender.person.message(recipient.person)
    name = frame["payload"]["messageId"]
    await sender.send(frame)
    await until(lambda: name in sender.accepted and name in recipient.messages)


def sql(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True, options="-c search_path=phantom") as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def test_relay_that_was_paused_and_taken_for_dead_goes_on_as_if_nothing_had_been(
    url: str, relays: list[RelayProcess]
) -> None:
    paused, other = relays

    async def main() -> None:
        async with everybody() as join:
            alice, mover = [await join(paused, Person(name)) for name in ("alice", "mover")]
            bob = await join(other, Person("bob"))
            for device in (alice, mover):
                await writes(device, bob)
                await writes(bob, device)
            await until(lambda: bob.shown == ["online", "online"])
            os.kill(paused.pid, signal.SIGSTOP)
            try:
                moved = await join(other, mover.person)
                await asyncio.sleep(PAUSE)
                silent = "seen_at < (SELECT max(seen_at) FROM relays)"
                while bob.shown.count("offline") == 0:
                    sql(url, f"UPDATE relays SET seen_at = seen_at - interval '20 seconds' WHERE {silent}")  # noqa: S608 - fixed
                    await asyncio.sleep(1)
                await bob.send(bob.person.presence("idle"))
                await asyncio.sleep(0.5)
            finally:
                os.kill(paused.pid, signal.SIGCONT)
            await until(lambda: mover.code is not None)
            assert mover.code == 1008, "moved, and is not connected twice"
            await until(lambda: bob.shown[-2:] == ["offline", "online"])
            await until(lambda: alice.shown[-1] == "idle")
            assert alice.code is None
            assert bob.shown.count("offline") == 1, "of Alice; who moved was never gone"
            assert moved.shown[-1] == "idle"
            for sender, recipient in ((alice, bob), (bob, alice), (moved, alice), (alice, moved)):
                await writes(sender, recipient)
            await until(lambda: len(sql(url, "SELECT DISTINCT relay FROM sessions WHERE NOT has_ended")) == 2)
            await until(lambda: len(sql(url, "SELECT account FROM sessions WHERE NOT has_ended")) == 3)

    asyncio.run(main())


def test_everybody_is_let_in_when_the_database_is_back(
    server: PostgresServer, url: str, relays: list[RelayProcess]
) -> None:
    people = [Person(f"user {number}") for number in range(USERS)]

    async def main() -> None:
        async with everybody() as join:
            stay = [await join(relays[number % 2], person) for number, person in enumerate(people[: USERS // 4])]
            server.stop("immediate")
            refused = await asyncio.gather(*(log_in(relays[0], person) for person in people[USERS // 4 :]))
            assert refused == [None] * len(refused)
            assert {device.code for device in stay} == {None}, "who is connected stays"
            joining = [
                asyncio.create_task(join(relays[number % 2], person))
                for number, person in enumerate(people[USERS // 4 :])
            ]
            await asyncio.sleep(1)
            server.start()
            async with asyncio.timeout(PATIENCE):
                come = await asyncio.gather(*joining)
            await writes(come[0], come[1])
            await writes(stay[0], come[1])
            count = "SELECT count(*) FROM sessions WHERE NOT has_ended"
            await until(lambda: sql(url, count) == [(USERS,)])
            assert {device.code for device in (*stay, *come)} == {None}

    asyncio.run(main())
    assert not [line for line in relays[0].log.splitlines() if "Traceback" in line]


PATIENT = """
from phantom_messenger.engines.postgres import watchdog
watchdog.SECONDS = 1_000.0
"""


def test_relay_ends_although_its_database_does_not_answer(
    server: PostgresServer, url: str, start_relay: StartRelay
) -> None:
    relay = start_relay("--public-names", HOST, "--store", url, command=patched(PATIENT))

    async def main() -> None:
        async with everybody() as join:
            alice = await join(relay, Person("alice"))
            server.pause()
            await alice.send(alice.person.message(alice.person))
            await asyncio.to_thread(relay.stop, signal.SIGTERM)
            await until(lambda: alice.code is not None)
            assert alice.code == 1001

    try:
        asyncio.run(main())
    finally:
        server.resume()
    assert "Traceback" not in relay.log
    assert [line for line in relay.log.splitlines() if " stopped: " in line]
