"""D3: kill -9 again and again under 20 senders and 20 recipients."""

import asyncio
import logging
import os
import random
import signal
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import pytest
from delivery_checker import DeliveryChecker
from virtual_users import PATIENCE, LoadGenerator, Member, alive, dice, empty_mailboxes, make_contacts, person

from support.amounts import LONG, replayed, seeds
from support.people import Person
from support.relay_process import SERVE, RelayProcess, StartRelay, patched

LOG: Final = logging.getLogger(__name__)
SEED: Final = replayed() or 3
MEDIAN_READY, LONGEST_READY = 2.0, 10.0
"""Seconds from the start of a relay after kill -9 until it listens: what is promised, and with a busy machine."""


@dataclass
class Report:
    """What happened in a storm."""

    ready: list[float] = field(default_factory=list)
    under_way: list[int] = field(default_factory=list)
    """Unanswered messages at each kill."""
    while_starting: int = 0
    left: int = 0
    """Items that came though everything had been confirmed."""


@dataclass
class Cast:
    """Who writes to whom."""

    senders: list[Person]
    recipients: list[Person]
    targets: dict[str, list[Person]]

    @property
    def pairs(self) -> list[tuple[Person, Person]]:
        return [(sender, to) for sender in self.senders for to in self.targets[sender.id]]


def cast(checker: DeliveryChecker, count: int) -> Cast:
    chance = dice(SEED)
    senders = [person(checker, f"sender {number}") for number in range(count)]
    recipients = [person(checker, f"recipient {number}") for number in range(count)]
    return Cast(senders, recipients, {one.id: chance.sample(recipients, min(4, count)) for one in senders})


async def storm(relay: RelayProcess, checker: DeliveryChecker, people: Cast, *, kills: int, stay: float) -> Report:
    """Kill the relay so often under load; then let everybody finish.

    Every second recipient is online for at most ``stay`` seconds at a time.
    """
    generator, report, chance = LoadGenerator(relay.url, checker), Report(), dice(SEED)
    for one in people.senders:
        Member(generator, one, dice(chance.random()), targets=people.targets[one.id])
    for number, one in enumerate(people.recipients):
        Member(generator, one, dice(chance.random()), stay=None if number % 2 else stay)
    async with alive(generator):
        for _ in range(kills):
            await _progress(generator, chance)
            await _kill(relay, generator, report)
            while chance.random() < 0.1:
                await _kill_while_starting(relay, chance, report)
            await _restart(relay, generator, report)
        await _calm(generator)
    report.left = await empty_mailboxes(relay.url, checker, people.recipients, people.senders)
    return report


async def _progress(generator: LoadGenerator, chance: random.Random) -> None:
    """Wait for a random number of accepted messages, between none and 400, and a moment."""
    wanted = generator.checker.accepted + int(10 ** chance.uniform(0, 2.6)) - 1
    with suppress(TimeoutError):
        await asyncio.wait_for(generator.progress.until(lambda: generator.checker.accepted >= wanted), 5)
    await asyncio.sleep(chance.uniform(0, 0.01))


async def _kill(relay: RelayProcess, generator: LoadGenerator, report: Report) -> None:
    report.under_way.append(generator.under_way)
    generator.up.clear()
    await asyncio.to_thread(relay.kill)


async def _kill_while_starting(relay: RelayProcess, chance: random.Random, report: Report) -> None:
    starting = asyncio.create_task(asyncio.to_thread(relay.restart))
    await asyncio.sleep(chance.uniform(0, 0.2))
    with suppress(AssertionError):  # not begun yet
        os.kill(relay.pid, signal.SIGKILL)
    with suppress(AssertionError):  # ended before it listened
        await starting
        await asyncio.to_thread(relay.kill)
    report.while_starting += 1


async def _restart(relay: RelayProcess, generator: LoadGenerator, report: Report) -> None:
    report.ready.append(await asyncio.to_thread(seconds_to_listen, relay))
    generator.up.set()


def seconds_to_listen(relay: RelayProcess) -> float:
    """Start a relay that was killed."""
    began = time.monotonic()
    relay.restart()
    return time.monotonic() - began


async def _calm(generator: LoadGenerator) -> None:
    """Nobody writes anything new; wait until everything was answered."""
    generator.calm = True
    generator.stir()
    async with asyncio.timeout(PATIENCE):
        await generator.progress.until(lambda: not generator.unanswered)


def run_storm(
    relay: RelayProcess,
    *,
    people: int,
    kills: int,
    stay: float = 1.5,
    patch: str | None = None,
) -> tuple[DeliveryChecker, Report]:
    """Make contacts, then kill; the relay that is killed may have a protection off."""
    checker = DeliveryChecker()
    parts = cast(checker, people)
    asyncio.run(make_contacts(relay.url, checker, parts.pairs))
    relay.kill()
    if patch is not None:
        relay.command = patched(patch)
    relay.restart()
    return checker, asyncio.run(storm(relay, checker, parts, kills=kills, stay=stay))


def test_accepted_messages_survive_kill_after_kill(start_relay: StartRelay) -> None:
    kills = seeds(3, 100)
    relay = start_relay("--limits", "off", command=SERVE)  # a start is timed
    checker, report = run_storm(relay, people=20, kills=kills)
    figures = {
        "kills": kills,
        "kills while starting": report.while_starting,
        "accepted": checker.accepted,
        "sent again": sum(len(letter.versions) - 1 for letter in checker.letters.values()),
        "kills with messages under way": sum(map(bool, report.under_way)),
        "under way, most": max(report.under_way),
        "ready, median": round(statistics.median(report.ready), 3),
        "ready, longest": round(max(report.ready), 3),
    }
    said = f"seed {SEED}, {figures}"
    LOG.info(said)
    assert checker.verdict() == {}, said
    assert report.left == 0, f"confirmed items came again; {said}"
    assert checker.accepted == len(checker.letters), said
    assert sum(map(bool, report.under_way)) >= kills // 2, f"the kills hit nothing; {said}"
    if LONG:  # the short form shares the machine with other tests
        assert statistics.median(report.ready) <= MEDIAN_READY, said
    assert max(report.ready) <= LONGEST_READY, said


ACCEPTS_BEFORE_THE_COMMIT = """
import time
import apsw
from phantom_messenger.engines.sqlite import store as sqlite
class Late(apsw.Connection):
    committed = 0.0
    def execute(self, sql, *rest):
        if sql == "BEGIN IMMEDIATE" and self.in_transaction:
            sql = "SELECT 1"
        elif sql == "COMMIT" and time.monotonic() < self.committed + 0.5:
            sql = "SELECT 1"
        elif sql == "COMMIT":
            self.committed = time.monotonic()
        return super().execute(sql, *rest)
sqlite.apsw.Connection = Late
"""
ANSWERS_PING_BEFORE_IT_HAS_STORED = """
import time
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.handlers import HANDLERS
from phantom_messenger.wire import frames
def ping(core, admitted, frame):
    core.replies.send(admitted.session, frames.Pong(id=frame.id, timestamp=core.clock.wall_ms()))
    yield from ()
HANDLERS[frames.Ping] = ping
run = SQLiteStore.run
def slow(store, jobs, **rest):
    time.sleep(0.03)
    return run(store, jobs, **rest)
SQLiteStore.run = slow
"""
TURNS_THE_ORDER_ROUND = """
from phantom_messenger.relay.pipeline import Pipeline
verify_arrived = Pipeline._verify_arrived
def backwards(pipeline):
    pipeline._arriving.frames.reverse()
    pipeline._arriving.checks.reverse()
    verify_arrived(pipeline)
Pipeline._verify_arrived = backwards
"""
CHANGES_A_MESSAGE = """
from msgspec.structs import replace
from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
append = SQLiteMailboxes.append
def change(mailboxes, recipient, item, **rest):
    changed = replace(item, head=item.head.replace(b'"encrypted":"', b'"encrypted":"AAAA'))
    return append(mailboxes, recipient, changed, **rest)
SQLiteMailboxes.append = change
"""
GIVES_SEQ_AGAIN = """
from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
def again(mailboxes, account):
    mailboxes._reserved[account] = 0
    last = "SELECT coalesce(max(seq), 0) FROM items WHERE recipient = ?"
    return mailboxes._connection.execute(last, (account,)).get + 1
SQLiteMailboxes._reserve = again
"""
TELLS_NO_SENDER = """
from phantom_messenger.engines.sqlite import messages
messages._store_receipt = lambda *_, **__: []
"""
LISTENS_LATE = """
import time
time.sleep(2.5)
"""


@pytest.mark.parametrize(
    ("patch", "fault"),
    [
        pytest.param(ACCEPTS_BEFORE_THE_COMMIT, "lost", id="accepts before the commit"),
        pytest.param(ANSWERS_PING_BEFORE_IT_HAS_STORED, "came again", id="PONG before the commit"),
        pytest.param(TURNS_THE_ORDER_ROUND, "out of order", id="turns the order round"),
        pytest.param(CHANGES_A_MESSAGE, "invented", id="changes a message"),
        pytest.param(GIVES_SEQ_AGAIN, "seq given to two items", id="gives seq again"),
        pytest.param(TELLS_NO_SENDER, "without receipt", id="tells no sender"),
    ],
)
def test_control_relay_with_a_protection_off_is_caught(patch: str, fault: str, start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")
    checker, _ = run_storm(relay, people=6, kills=2, stay=0.1, patch=patch)
    assert any(fault in found for found in checker.verdict()), f"seed {SEED}, {checker.verdict()}"


def test_control_relay_that_listens_late_is_caught(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")
    relay.kill()
    relay.command = patched(LISTENS_LATE)
    assert seconds_to_listen(relay) > MEDIAN_READY
