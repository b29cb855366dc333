"""SIGTERM while ten people write to ten others: everybody is told, what was accepted stays, and it is quick."""

import asyncio
import itertools
import json
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from delivery_variants import ANSWERS_BEFORE_THE_COMMIT, Variant

from phantom_messenger.relay.relay import Relay
from phantom_messenger.relay.session import Session
from support.amounts import LONG, seeds
from support.load import Connections, Peer, ids, make_contacts
from support.people import Frame, Person, canonical
from support.raw_socket import TEXT, RawSocket, frame
from support.relay_process import WARM, patched
from support.simulated import World

PEOPLE = 10
FRIENDS = (0, 1, 3)
"""Sender number ``i`` writes to the recipients ``i + friend``, around in a circle."""

IN_FLIGHT = 8
STOP_SECONDS = 5.0 if LONG else 12.0
"""Within which a relay has ended; a short run shares the machine with other tests."""
GOING_AWAY = 1001

Pair = tuple[str, str]
"""Ids of a sender and a recipient."""

Stop = Callable[[Variant], None]
"""Asks a relay to end."""


class Round(NamedTuple):
    """What was seen of one stop; message ids by pair, in order.

    Attributes:
        ends: the codes with which the connections were closed, None for none.
        code: of the exit; None if it had to be killed.
        seconds: from the first signal to the end.
        sent, accepted, came: before the end.
        waiting: after a restart.
        acknowledged: pairs whose recipient acknowledges what comes.
    """

    ends: list[int | None]
    code: int | None
    seconds: float
    sent: dict[Pair, list[str]]
    accepted: dict[Pair, list[str]]
    came: dict[Pair, list[str]]
    waiting: dict[Pair, list[str]]
    acknowledged: set[Pair]


def faults(seen: Round) -> list[str]:
    """In what a stop was not as it is promised."""
    found = []
    if others := [end for end in seen.ends if end != GOING_AWAY]:
        found.append(f"{len(others)} of {len(seen.ends)} connections closed with {set(others)}")
    if seen.code != 0 or seen.seconds > STOP_SECONDS:
        found.append(f"ended with {seen.code} after {seen.seconds:.1f} s")
    found += [f"invented for {pair}" for pair in (seen.came.keys() | seen.waiting.keys()) - seen.sent.keys()]
    for pair, sent in seen.sent.items():
        accepted, came, waiting = (part.get(pair, []) for part in (seen.accepted, seen.came, seen.waiting))
        before = came if pair in seen.acknowledged else []
        arrived = before + [message for message in waiting if message not in before]
        if len(arrived) < len(accepted):
            found.append(f"lost {len(accepted) - len(arrived)} of {len(accepted)} accepted")
        for name, some in (("accepted", accepted), ("came", came), ("arrived", arrived)):
            if some != sent[: len(some)]:
                found.append(f"{name} is not what was sent, in order, once")
        if len(set(waiting)) != len(waiting):
            found.append("doubled")
    return found


# --- the load ---------------------------------------------------------------------


class Load:
    """Senders who write until their connection ends; ``enough`` is set after ``limit`` messages were accepted."""

    def __init__(self, senders: Sequence[Peer], limit: int) -> None:
        self.sent: dict[Pair, list[str]] = {}
        self.enough = asyncio.Event()
        self._senders = senders
        self._limit = limit

    async def write(self, sender: Peer, recipients: Sequence[Person]) -> None:
        for number in itertools.count():
            if not await sender.until(lambda number=number: len(sender.accepted) + IN_FLIGHT > number):  # type: ignore[misc]
                break
            recipient = recipients[number % len(recipients)]
            message = sender.person.message(recipient)
            self.sent.setdefault((sender.person.id, recipient.id), []).extend(ids([message]))
            if sum(len(peer.accepted) for peer in self._senders) >= self._limit:
                self.enough.set()
            await sender.send(message)
        self.enough.set()

    def accepted(self) -> dict[Pair, list[str]]:
        pair_of = {message: pair for pair, messages in self.sent.items() for message in messages}
        found: dict[Pair, list[str]] = {}
        for message in itertools.chain.from_iterable(sender.accepted for sender in self._senders):
            found.setdefault(pair_of[message], []).append(message)
        return found


def by_pair(recipients: Sequence[Peer]) -> dict[Pair, list[str]]:
    """Ids of what came to them."""
    found: dict[Pair, list[str]] = {}
    for peer in recipients:
        for message in peer.messages:
            found.setdefault((message["payload"]["senderId"], peer.person.id), []).extend(ids([message]))
    return found


class Town:
    """Senders and recipients who live through several runs of a relay."""

    def __init__(self, relay: Variant, seed: int) -> None:
        self._relay = relay
        self._chance = random.Random(seed)  # noqa: S311 - the same in every run
        self._senders = [Person(f"sender {number}") for number in range(PEOPLE)]
        self._recipients = [Person(f"recipient {number}") for number in range(PEOPLE)]

    def _friends(self, index: int) -> list[int]:
        return [(index + friend) % PEOPLE for friend in FRIENDS]

    async def meet(self) -> None:
        """Make contacts of those who will write to each other, and empty all mailboxes."""
        async with Connections(self._relay.url) as connections:
            senders = [await connections.login(person, acks=True) for person in self._senders]
            recipients = [await connections.login(person, acks=True) for person in self._recipients]
            await asyncio.gather(
                *(
                    make_contacts(senders[index], recipients[friend])
                    for index in range(PEOPLE)
                    for friend in self._friends(index)
                )
            )
            await asyncio.gather(*(peer.settle() for peer in (*senders, *recipients)))

    async def round(self, stop: Stop) -> Round:
        """Write, stop the relay at a random moment, start it again, and see what is there; every other one acks."""
        async with Connections(self._relay.url) as connections, asyncio.TaskGroup() as tasks:
            recipients = [
                await connections.login(person, acks=number % 2 == 0) for number, person in enumerate(self._recipients)
            ]
            senders = [await connections.login(person, acks=True) for person in self._senders]
            load = Load(senders, self._chance.randrange(100, 500))
            for index, sender in enumerate(senders):
                friends = [self._recipients[friend] for friend in self._friends(index)]
                tasks.create_task(load.write(sender, friends))
            await load.enough.wait()
            began = time.monotonic()
            stop(self._relay)
            code = await asyncio.to_thread(self._relay.ended, began + STOP_SECONDS + 0.5 - time.monotonic())
            seconds = time.monotonic() - began
            ends = [await peer.closed() for peer in (*senders, *recipients)]
        return Round(
            ends=ends,
            code=code,
            seconds=seconds,
            sent=load.sent,
            accepted=load.accepted(),
            came=by_pair(recipients),
            waiting=await self._waiting(),
            acknowledged={
                pair for pair in load.sent if pair[1] in [peer.person.id for peer in recipients if peer.acks]
            },
        )

    async def _waiting(self) -> dict[Pair, list[str]]:
        await asyncio.to_thread(self._relay.restart)
        async with Connections(self._relay.url) as connections:
            recipients = [await connections.login(person, acks=True) for person in self._recipients]
            await asyncio.gather(*(peer.settle() for peer in recipients))
            return by_pair(recipients)


StartVariant = Callable[..., Variant]


@pytest.fixture
def start_variant(tmp_path: Path) -> Iterator[StartVariant]:
    """Starts a relay without limits."""
    with ExitStack() as stack:

        def start(command: Sequence[str | Path] = WARM) -> Variant:
            relay = Variant(tmp_path / "relay", "--limits", "off", command=command)
            stack.callback(relay.kill)
            return relay

        yield start


def once(relay: Variant) -> None:
    relay.signal(signal.SIGTERM)


def by_hand(relay: Variant) -> None:
    relay.signal(signal.SIGINT)


def twice(relay: Variant) -> None:
    relay.signal(signal.SIGTERM)
    relay.signal(signal.SIGTERM)


def stopped(relay: Variant, stop: Stop, *, seed: int, rounds: int = 1) -> list[str]:
    """The faults of these stops, one after the other."""

    async def run() -> list[str]:
        town = Town(relay, seed)
        await town.meet()
        found: list[str] = []
        for number in range(rounds):
            found += [f"seed {seed}, round {number}: {fault}" for fault in faults(await town.round(stop))]
        return found

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("stop", "rounds"),
    [(once, seeds(1, 50)), (by_hand, seeds(1, 10)), (twice, seeds(1, 10))],
    ids=["SIGTERM", "SIGINT", "SIGTERM twice"],
)
def test_stop_tells_everybody_and_loses_nothing(start_variant: StartVariant, stop: Stop, rounds: int) -> None:
    assert stopped(start_variant(), stop, seed=9, rounds=rounds) == []


SLOW_DISK = """
import time
from phantom_messenger.engines.sqlite import SQLiteStore
run = SQLiteStore.run

def slow(self, jobs, **options):
    time.sleep(0.1 if len(jobs) > 3 else 0)
    return run(self, jobs, **options)

SQLiteStore.run = slow
"""


def test_stop_on_a_slow_disk_tells_everybody_and_loses_nothing(start_variant: StartVariant) -> None:
    assert stopped(start_variant(patched(SLOW_DISK)), once, seed=9) == []


def codes_while_frames_go_on_coming(world: World) -> set[int | None]:
    """Stop a relay to which each message comes while the one before is being stored; how it closed its clients."""
    sender, recipient = world.login("alice"), world.login("bob")
    world.writer.holding = True
    sender.put(sender.person.message(recipient.person))
    world.run()
    world.relay.stop(lambda: None)
    for _ in range(100):
        sender.put(sender.person.message(recipient.person))
        world.run()
        world.writer.run_held()
        world.run()
    return {sender.close_code(), recipient.close_code()}


def test_stop_takes_nothing_more_in(world: World) -> None:
    assert codes_while_frames_go_on_coming(world) == {GOING_AWAY}


# --- clients that do not read -----------------------------------------------------

DEAF = 3
LONG_TEXT = "QUJD" * 15_000
LONG_TEXTS = 60


def deaf(relay: Variant, person: Person) -> RawSocket:
    """A client that has logged in and reads no more."""
    client = RawSocket(relay.address)
    client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    assert client.upgrade().status == 101
    acknowledgement: Frame = json.loads(client.read().payload)
    login = person.auth(acknowledgement, f"127.0.0.1:{relay.port}", features=["ack"])
    client.send(frame(TEXT, canonical(login)))
    assert json.loads(client.read().payload)["type"] == "AUTH_SUCCESS"
    return client


async def stop_beside_the_deaf(relay: Variant) -> list[str]:
    """Fill up clients that do not read, stop the relay, and see whether it minds."""
    people = [Person() for _ in range(DEAF)]
    with ExitStack() as stack:
        for person in people:
            stack.enter_context(deaf(relay, person))
            stack.enter_context(RawSocket(relay.address)).send(b"GET /ws HTTP/1.1\r\n")
        async with Connections(relay.url) as connections:
            sender = await connections.login(Person())
            messages = [sender.person.message(person, encrypted=LONG_TEXT) for person in people * (LONG_TEXTS // DEAF)]
            await sender.send(*messages)
            assert await sender.until(lambda: len(sender.accepted) == len(messages))
            began = time.monotonic()
            relay.signal(signal.SIGTERM)
            end = await sender.closed()
            relay.signal(signal.SIGTERM)  # it waits for the others still
            code = await asyncio.to_thread(relay.ended, began + STOP_SECONDS + 0.5 - time.monotonic())
            seconds = time.monotonic() - began
    await asyncio.to_thread(relay.restart)
    async with Connections(relay.url) as connections:
        waiting = []
        for person in people:
            peer = await connections.login(person)
            await peer.until(lambda peer=peer: len(peer.messages) >= LONG_TEXTS // DEAF)  # type: ignore[misc]
            waiting.append(ids(await peer.settle()))
    expected = [ids(messages[number::DEAF]) for number in range(DEAF)]
    return faults(
        Round(
            ends=[end],
            code=code,
            seconds=seconds,
            sent={("", str(number)): found for number, found in enumerate(expected)},
            accepted={("", str(number)): found for number, found in enumerate(expected)},
            came={},
            waiting={("", str(number)): found for number, found in enumerate(waiting)},
            acknowledged=set(),
        )
    )


def test_stop_does_not_wait_long_for_clients_that_do_not_read(start_variant: StartVariant) -> None:
    assert asyncio.run(stop_beside_the_deaf(start_variant())) == []


# --- the controls -----------------------------------------------------------------

EXITS_AT_ONCE = """
import os
from phantom_messenger.relay import server
server.RelayServer.stop = lambda self: os._exit(0)
"""

WAITS_LONG = """
from phantom_messenger.relay import server, websocket
server.SETTLE_SECONDS = server.STOP_SECONDS = websocket.CLOSE_TIMEOUT = 60.0
"""


def test_relay_that_takes_more_in_while_it_stops_is_caught(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Relay.receive

    def receive_all(self: Relay, session: Session, text: bytes) -> None:
        stopping, self._is_stopping = self._is_stopping, False
        receive(self, session, text)
        self._is_stopping = stopping

    monkeypatch.setattr(Relay, "receive", receive_all)
    assert codes_while_frames_go_on_coming(world) == {None}


def test_relay_that_exits_at_once_is_caught(start_variant: StartVariant) -> None:
    found = stopped(start_variant(patched(EXITS_AT_ONCE)), once, seed=9)
    assert any("20 of 20 connections closed with {None}" in fault for fault in found), found


def test_relay_that_loses_what_it_accepted_is_caught(start_variant: StartVariant) -> None:
    found = stopped(start_variant(patched(ANSWERS_BEFORE_THE_COMMIT + EXITS_AT_ONCE)), once, seed=9)
    assert any("lost" in fault for fault in found), found


def test_relay_that_waits_long_is_caught(start_variant: StartVariant) -> None:
    found = asyncio.run(stop_beside_the_deaf(start_variant(patched(WAITS_LONG))))
    assert any("ended with None" in fault for fault in found), found
