"""Many people at one relay at once, over real sockets; they keep to the protocol and forget nothing.

Nothing of the project is imported here.
"""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self
from urllib.parse import urlsplit

from delivery_checker import DeliveryChecker, Key, Reading
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from support.people import Frame, Person, base64_text, canonical, wall_ms

GONE: Final = (ConnectionClosed, InvalidHandshake, OSError, EOFError)
"""What a connection to a relay that dies raises."""

PATIENCE: Final = 60.0
"""Seconds until something that must happen is missed."""

MOST: Final = 600
"""Letters that may wait for somebody: the limit is 1,000, and what is sent again after a kill comes on top."""


class Leaving(Exception):
    """Somebody goes away."""


class Progress:
    """Wakes those who wait for something to become true."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def made(self) -> None:
        self._event.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._event.clear()
            await self._event.wait()


def rising_clock() -> Callable[[], int]:
    """Wall time that never stands still, so that each version of a message has a time of its own."""
    last = 0

    def now() -> int:
        nonlocal last
        last = max(last + 1, wall_ms())
        return last

    return now


def dice(seed: float) -> random.Random:
    """Chance that is the same in every run."""
    return random.Random(seed)  # noqa: S311 - no secret


class Line:
    """One connection after its login.

    ``pending``: frames of the mailbox that came and were not acknowledged here.
    """

    def __init__(
        self, connection: ClientConnection, person: Person, checker: DeliveryChecker, reading: Reading
    ) -> None:
        self.pending: list[Frame] = []
        self.ready = Progress()
        """Made when something is pending."""
        self.person = person
        self._connection = connection
        self._checker = checker
        self._reading = reading
        self._asked: dict[str, list[Frame]] = {}
        self._questions = 0
        self._answered = Progress()

    @classmethod
    async def login(cls, url: str, person: Person, checker: DeliveryChecker, *, buffer: int | None = None) -> Self:
        """Connect and log in with the feature ``ack``.

        Args:
            url: of the relay.
            person: who logs in.
            checker: judges what comes.
            buffer: bytes that the socket takes for a reader who pauses; the system's choice if left out.
        """
        where = urlsplit(url)
        assert where.hostname is not None
        taken = socket.socket()
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer is not None:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1_400)  # a loopback's segments do not fit
        taken.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(taken, (where.hostname, where.port))
            connection = await connect(
                url,
                sock=taken,
                compression=None,
                proxy=None,
                ping_interval=None,
                close_timeout=5,
                open_timeout=PATIENCE,
            )
        except BaseException:
            taken.close()
            raise
        try:
            acknowledgement = json.loads(await connection.recv())
            line = cls(connection, person, checker, checker.open(person.id))
            await line.send(person.auth(acknowledgement, where.netloc, features=["ack"]))
            answer = await line.receive()
            if answer["type"] == "ERROR":  # the checker has judged it
                raise EOFError("the login was not stored")
            if answer["type"] != "AUTH_SUCCESS":
                checker.fault("login refused", answer)
        except BaseException:
            connection.transport.abort()
            raise
        return line

    @property
    def close_code(self) -> int | None:
        return self._connection.close_code

    async def send(self, frame: Frame) -> None:
        await self._connection.send(canonical(frame), text=True)

    async def receive(self) -> Frame:
        """The next frame, judged; what is of the mailbox is pending then."""
        frame = self._reading.take(await self._connection.recv(decode=False))
        if "seq" in frame:
            self.pending.append(frame)
            self.ready.made()
        elif frame["type"] == "PONG":
            self._checker.confirm(self.person.id, self._asked.pop(frame["id"]))
            self._answered.made()
        elif frame["type"] == "ERROR":
            self._acknowledge_again(frame.get("id"))
        return frame

    def _acknowledge_again(self, refused: str | None) -> None:
        """An acknowledgement, or the question after it, was refused: each that is not known to be stored is pending."""
        if refused is not None and self._asked.pop(refused, None) is None:
            return  # it was about something else
        for items in self._asked.values():
            self.pending += items
            items.clear()
        self._answered.made()
        self.ready.made()

    async def acknowledge(self, items: Sequence[Frame]) -> str:
        """Acknowledge, and ask whether it is stored; the id of the question."""
        self._checker.acknowledge(self.person.id, items)
        for item in items:
            await self.send(self.person.ack(item) if item["type"] == "MESSAGE" else self.person.confirm(item["seq"]))
        self._questions += 1
        question = f"stored-{self._questions}"
        self._asked[question] = list(items)
        await self.send(self.person.ping(id=question))
        return question

    async def is_alive(self) -> None:
        """Ask something, and wait for the answer; somebody else receives."""
        question = await self.acknowledge([])
        await self._answered.until(lambda: question not in self._asked)

    async def settle(self) -> list[Frame]:
        """Acknowledge until the mailbox is empty; the items that came meanwhile.

        PONG may come before the next page of a long backlog, but not twice.
        """
        came: list[Frame] = []
        empty = 0
        while empty < 2:
            items, self.pending = self.pending, []
            question = await self.acknowledge(items)
            while (await self.receive()).get("id") != question:
                pass
            came += self.pending
            empty = 0 if self.pending else empty + 1
        return came

    async def drain(self) -> None:
        """Read until the relay closes."""
        with suppress(ConnectionClosed):
            while True:
                await self.receive()

    async def close(self) -> None:
        """Say goodbye, and read what is on its way until the relay answers."""
        await asyncio.gather(self._connection.close(), self.drain())

    async def cut(self) -> None:
        """Drop the connection without a word, as a lost network does."""
        self._connection.transport.abort()
        await self._connection.wait_closed()


class LoadGenerator:
    """The people at one relay, and what they share.

    ``calm``: nobody begins anything new, leaves or dawdles. ``quota``: letters that may be written.

    Args:
        url: of the relay.
        checker: judges it.
        most: letters that may wait for one of them.
    """

    def __init__(self, url: str, checker: DeliveryChecker, *, most: int = MOST) -> None:
        self.url = url
        self._most = most
        self.checker = checker
        self.up = asyncio.Event()
        self.up.set()
        self.calm = False
        self.quota: float = float("inf")
        self.progress = Progress()
        self.members: list[Member] = []

    def has_room(self, to: Person) -> bool:
        """Whether one more letter may wait for somebody."""
        return self.checker.unsettled[to.id] < self._most

    def stir(self) -> None:
        """Something has happened for which people wait."""
        self.progress.made()
        for member in self.members:
            member.progress.made()

    @property
    def unanswered(self) -> int:
        """Letters that were neither accepted nor refused."""
        return sum(len(member.unanswered) for member in self.members)

    @property
    def under_way(self) -> int:
        """Of these, what was sent on connections that are open."""
        return sum(len(member.under_way) for member in self.members)


def person(checker: DeliveryChecker, name: str) -> Person:
    """Somebody whom the checker knows."""
    found = Person(name, now=rising_clock())
    checker.keys[found.id] = found.public_key
    return found


class Member:
    """Somebody who writes to others, reads, acknowledges after a while, and comes again after every loss.

    Args:
        generator: where.
        who: the identity.
        chance: decides all that is left to chance.
        targets: to whom to write, if to anybody.
        window: letters under way at a time.
        stay: seconds online until a pause, at most; always online if left out.
        sizes: bytes of messages; one is taken by chance.
    """

    def __init__(
        self,
        generator: LoadGenerator,
        who: Person,
        chance: random.Random,
        *,
        targets: Sequence[Person] = (),
        window: int = 8,
        stay: float | None = None,
        sizes: Sequence[int] = (30, 300, 3_000),
    ) -> None:
        self.person = who
        self.unanswered: dict[Key, str] = {}
        """What was not accepted yet, in the order of writing, with what is encrypted."""
        self.under_way: set[Key] = set()
        """Of it, what was sent on this connection."""
        self.progress = Progress()
        self._generator = generator
        self._chance = chance
        self._targets = targets
        self._window = window
        self._stay = stay
        self._sizes = sizes
        generator.members.append(self)

    async def live(self) -> None:
        """Come again and again until cancelled."""
        while True:
            await self._generator.up.wait()
            try:
                line = await self._login()
            except GONE:
                await asyncio.sleep(self._chance.uniform(0.005, 0.03))  # the protocol's pause, shortened
                continue
            try:
                await self._be_online(line)
            except* GONE:
                pass
            except* Leaving:
                await line.cut()
                await asyncio.sleep(self._chance.uniform(0, 0.6))
            finally:
                self.under_way.clear()
                await line.cut()

    async def _login(self) -> Line:
        return await Line.login(self._generator.url, self.person, self._generator.checker)

    def _work(self, line: Line) -> list[Coroutine[Any, Any, None]]:
        """All that is done at a time while online."""
        work = [self._read(line), self._acknowledge(line)]
        return [*work, self._write(line)] if self._targets else work

    async def _be_online(self, line: Line) -> None:
        async with asyncio.TaskGroup() as group:
            for work in self._work(line):
                group.create_task(work)
            if self._stay is not None and not self._generator.calm:
                group.create_task(self._leave(self._chance.uniform(0, self._stay)))

    async def _read(self, line: Line) -> None:
        generator = self._generator
        while True:
            frame = await line.receive()
            if frame["type"] == "MESSAGE_ACK" and "seq" not in frame:
                self._answered(generator.checker.accept(frame, self.person.id))
            elif frame["type"] == "PONG":
                generator.stir()
            elif frame["type"] == "ERROR":  # the checker has judged it
                for key in [key for key in self.unanswered if key.name == frame.get("id")]:
                    self._refused(key)
            else:
                self._come(frame)

    def _refused(self, key: Key) -> None:
        """Nobody waits for its answer."""
        self._answered(key)

    def _come(self, frame: Frame) -> None:
        """Something else has come."""

    def _answered(self, key: Key) -> None:
        self.unanswered.pop(key, None)
        self.under_way.discard(key)
        self.progress.made()
        self._generator.progress.made()

    async def _dawdle(self) -> None:
        """Let time pass before something is acknowledged."""
        if not self._generator.calm:
            await asyncio.sleep(self._chance.uniform(0, 0.15))

    async def _acknowledge(self, line: Line) -> None:
        while True:
            await line.ready.until(lambda: bool(line.pending))
            await self._dawdle()
            count = len(line.pending) if self._generator.calm else self._chance.randint(1, len(line.pending))
            items, line.pending = line.pending[:count], line.pending[count:]
            if self._chance.random() < 0.3:
                self._chance.shuffle(items)
            await line.acknowledge(items)

    async def _write(self, line: Line) -> None:
        for key, encrypted in list(self.unanswered.items()):
            await self._post(line, key.recipient, encrypted, key.name)
        while True:
            await self.progress.until(lambda: bool(self._open_targets()))
            await self._write_one(line)

    async def _write_one(self, line: Line) -> None:
        to = self._chance.choice(self._open_targets())
        content = base64_text(self._chance.randbytes(self._chance.choice(self._sizes)))
        await self._post(line, to.id, content, self.person.new_message_id())

    async def _post(self, line: Line, to: str, encrypted: str, name: str) -> None:
        # The envelope's id names the message, so that a refusal can be told from others.
        frame = self.person.message(to, encrypted=encrypted, message_id=name, id=name)
        key = self._generator.checker.write(frame, self.person.id)
        self.unanswered[key] = encrypted
        self.under_way.add(key)
        await line.send(frame)

    def _open_targets(self) -> list[Person]:
        generator = self._generator
        if generator.calm or len(self.unanswered) >= self._window or len(generator.checker.letters) >= generator.quota:
            return []
        return [to for to in self._targets if generator.has_room(to)]

    async def _leave(self, after: float) -> None:
        await asyncio.sleep(after)
        if not self._generator.calm:
            raise Leaving


@asynccontextmanager
async def alive(generator: LoadGenerator) -> AsyncIterator[None]:
    """All members live meanwhile; what ends one of them is raised."""
    tasks = [asyncio.create_task(member.live()) for member in generator.members]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def make_contacts(url: str, checker: DeliveryChecker, pairs: Sequence[tuple[Person, Person]]) -> None:
    """Make contacts who have nothing waiting: each writes to the other and has it acknowledged."""
    everybody = {one.id: one for pair in pairs for one in pair}
    lines = {user: await Line.login(url, one, checker) for user, one in everybody.items()}
    for one, other in [*pairs, *((other, one) for one, other in pairs)]:
        frame = one.message(other)
        key = checker.write(frame, one.id, receipt=False)
        await lines[one.id].send(frame)
        while not checker.letters[key].accepted:
            answer = await lines[one.id].receive()
            if answer["type"] == "MESSAGE_ACK" and "seq" not in answer:
                checker.accept(answer, one.id)
    for _ in range(2):  # the messages, then what is told of them
        for line in lines.values():
            await line.settle()
    for line in lines.values():
        await line.close()


async def collect(url: str, checker: DeliveryChecker, people: Sequence[Person]) -> int:
    """Everybody comes and acknowledges all there is; how much that was."""

    async def come(one: Person) -> int:
        line = await Line.login(url, one, checker)
        came = await line.settle()
        await line.close()
        return len(came)

    return sum(await asyncio.gather(*map(come, people)))


async def empty_mailboxes(
    url: str, checker: DeliveryChecker, readers: Sequence[Person], writers: Sequence[Person]
) -> int:
    """Let everybody acknowledge all there is; how much came when they logged in once more.

    Readers first: what they acknowledge is told to those who wrote.
    """
    await collect(url, checker, readers)
    await collect(url, checker, writers)
    return await collect(url, checker, [*readers, *writers])
