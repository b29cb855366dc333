"""D5: live push races the backlog while the recipient comes and goes."""

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import Final

import pytest
from delivery_checker import DeliveryChecker
from virtual_users import PATIENCE, Line, LoadGenerator, Member, alive, dice, empty_mailboxes, make_contacts, person

from support.amounts import amount, replayed
from support.people import Person
from support.relay_process import RelayProcess, StartRelay, patched

LOG: Final = logging.getLogger(__name__)
SEED: Final = replayed() or 5
SENDERS: Final = 5
MOST: Final = 850
"""Messages that may wait: below the limit of a mailbox."""

AHEAD: Final = 150
"""Messages that are written while a reader pauses."""

SIZES: Final = (300, 300, 300, 3_000, 3_000, 3_000, 3_000, 30_000)
"""Bytes of messages: so much that a long backlog is many pages for the relay, and more than sockets hold."""

QUIET: Final = 0.1
"""Seconds without a frame after which a visit ends: nobody writes any more, or too much waits."""


@dataclass
class Report:
    """What happened: how visits ended, and the largest backlog at a login."""

    ends: dict[str, int] = field(default_factory=lambda: {"close": 0, "cut": 0, "takeover": 0})
    most_waiting: int = 0
    taken_over: set[int | None] = field(default_factory=set)
    """The close codes of lines that a later login replaced."""
    left: int = 0
    """Items that came though everything had been confirmed."""


class Visitor:
    """The recipient: comes, reads, acknowledges some of it, and leaves in one of three ways."""

    def __init__(self, generator: LoadGenerator, who: Person, chance: random.Random, *, messages: int) -> None:
        self.report = Report()
        self._written = len(generator.checker.letters)
        self._messages = messages
        self._generator = generator
        self._person = who
        self._chance = chance
        self._hoards = True

    @property
    def _last(self) -> int:
        """How many letters there are at the end."""
        return self._written + self._messages

    async def come(self, visits: int) -> None:
        """Make all visits; there is something new to write for most of them."""
        line = await self._login(self._quota(1, visits))
        for visit in range(2, visits + 1):
            await self._read_some(line)
            end = self._chance.choice(("close", "cut", "takeover"))
            self.report.ends[end] += 1
            quota = self._quota(visit, visits)
            if end == "takeover":
                line = await self._take_over(line, quota)
            else:
                await (line.close() if end == "close" else line.cut())
                line = await self._login(quota)
        await self._finish(line)

    def _quota(self, visit: int, visits: int) -> int:
        return max(len(self._generator.checker.letters), self._written + self._messages * visit // visits)

    async def _login(self, quota: int) -> Line:
        """Log in while the senders write, before it, meanwhile, or both."""
        generator, before = self._generator, self._chance.random()
        written = len(generator.checker.letters)
        await self._have_written(written + int(before * (quota - written)))
        generator.quota = quota
        generator.stir()
        self.report.most_waiting = max(self.report.most_waiting, generator.checker.unsettled[self._person.id])
        # A socket that takes little makes a pause in reading felt by the relay.
        buffer = self._chance.choice((None, 8_192))
        return await Line.login(generator.url, self._person, generator.checker, buffer=buffer)

    async def _have_written(self, quota: int) -> None:
        """Wait until so many letters are accepted, or as many as may wait."""
        generator, checker = self._generator, self._generator.checker
        generator.quota = quota
        generator.stir()

        def waiting() -> bool:
            return not generator.unanswered and (len(checker.letters) >= quota or not generator.has_room(self._person))

        async with asyncio.timeout(PATIENCE):
            await generator.progress.until(waiting)

    async def _take_over(self, older: Line, quota: int) -> Line:
        reading = asyncio.create_task(older.drain())
        newer = await self._login(quota)
        async with asyncio.timeout(PATIENCE):
            await reading
        self.report.taken_over.add(older.close_code)
        await older.close()
        return newer

    async def _read_some(self, line: Line) -> None:
        chance = self._chance
        if chance.random() < 0.2 or not self._generator.has_room(self._person):
            self._hoards = not self._hoards
        if chance.random() < 0.3:
            await self._fall_behind()
        for _ in range(chance.choice((0, 3, 30, 300))):
            try:
                frame = await asyncio.wait_for(line.receive(), QUIET)
            except TimeoutError:
                break
            if frame["type"] == "PONG":
                self._generator.stir()
            if chance.random() < 0.01:
                await asyncio.sleep(chance.uniform(0, 0.05))  # a reader who pauses
            if not self._hoards and chance.random() < 0.1:
                count = chance.randint(0, len(line.pending))
                items, line.pending = line.pending[:count], line.pending[count:]
                await line.acknowledge(items)

    async def _fall_behind(self) -> None:
        """Do not read while the senders write what was meant for the next visits."""
        await self._have_written(min(len(self._generator.checker.letters) + AHEAD, self._last))

    async def _finish(self, line: Line) -> None:
        """Read and acknowledge until everything was accepted."""
        async with asyncio.timeout(PATIENCE):
            while self._generator.checker.accepted < self._last:
                await line.settle()
                self._generator.stir()
        await line.close()


async def write_and_visit(
    relay: RelayProcess, checker: DeliveryChecker, people: list[Person], *, messages: int, visits: int
) -> Report:
    """Let the others write to the first of these people, who comes and goes."""
    chance = dice(SEED)
    generator = LoadGenerator(relay.url, checker, most=MOST)
    generator.quota = len(checker.letters)
    for one in people[1:]:
        Member(generator, one, dice(chance.random()), targets=people[:1], sizes=SIZES)
    visitor = Visitor(generator, people[0], chance, messages=messages)
    async with alive(generator):
        await visitor.come(visits)
    visitor.report.left = await empty_mailboxes(relay.url, checker, people[:1], people[1:])
    return visitor.report


def race(relay: RelayProcess, messages: int, visits: int) -> tuple[DeliveryChecker, Report]:
    """All of it: contacts are made, messages written, visits made."""
    checker = DeliveryChecker()
    people = [person(checker, f"person {number}") for number in range(SENDERS + 1)]
    asyncio.run(make_contacts(relay.url, checker, [(people[0], one) for one in people[1:]]))
    return checker, asyncio.run(write_and_visit(relay, checker, people, messages=messages, visits=visits))


def test_backlog_comes_first_and_nothing_is_lost_or_moved_while_the_recipient_comes_and_goes(
    relay: RelayProcess,
) -> None:
    messages, visits = amount(400, 10_000), amount(10, 200)
    checker, report = race(relay, messages, visits)
    figures = {**report.ends, "most waiting at a login": report.most_waiting, "accepted": checker.accepted}
    said = f"seed {SEED}, {figures}"
    LOG.info(said)
    assert checker.verdict() == {}, said
    assert report.left == 0, f"confirmed items came again; {said}"
    assert checker.accepted == len(checker.letters) == messages + 2 * SENDERS, said
    assert report.taken_over <= {1008}, said


PUSHES_TOO_EARLY = """
from phantom_messenger.relay import outbox
outbox.OVERFLOW = 1 << 40
from phantom_messenger.relay.mailbox_push import MailboxPush
def deliver(mailboxes, recipient, item):
    session = mailboxes._hub.of(recipient)
    if session is not None:
        mailboxes.push(session, item)
MailboxPush.deliver = deliver
"""
READS_FROM_THE_START = """
from phantom_messenger.relay.mailbox_push import MailboxPush
catch_up = MailboxPush.catch_up
def catch_up_again(mailboxes, session):
    session.cursor.last_pushed = 0
    catch_up(mailboxes, session)
MailboxPush.catch_up = catch_up_again
"""
TAKES_THE_FIRST_PAGE_FOR_ALL = """
from phantom_messenger.relay.records import Page
Page.complete = property(lambda _: True, lambda *_: None)
"""
KEEPS_WHAT_WAS_ACKNOWLEDGED = """
from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
SQLiteMailboxes.acknowledge = lambda *_: True
"""


@pytest.mark.parametrize(
    ("patch", "fault"),
    [
        pytest.param(
            PUSHES_TOO_EARLY,
            "new message came before the backlog",
            id="pushes too early",
        ),
        pytest.param(READS_FROM_THE_START, "seq does not rise on a connection", id="reads from the start again"),
        pytest.param(TAKES_THE_FIRST_PAGE_FOR_ALL, "out of order", id="takes the first page for all"),
        pytest.param(KEEPS_WHAT_WAS_ACKNOWLEDGED, "confirmed item came again", id="keeps what was acknowledged"),
    ],
)
def test_control_relay_with_a_broken_feed_is_caught(patch: str, fault: str, start_relay: StartRelay) -> None:
    checker, _ = race(start_relay("--limits", "off", command=patched(patch)), 300, 8)
    assert fault in checker.verdict(), f"seed {SEED}, {checker.verdict()}"
