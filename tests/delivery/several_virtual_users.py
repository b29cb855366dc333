"""People at several relays on one database, of which any part may die, stop or be cut off.

They keep to the protocol: what was not answered, or was refused because the database is away, is sent again under its
id; whose relay ends, or is silent, goes to the next one.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from delivery_checker import Key
from several_checker import SeveralChecker
from virtual_users import GONE, Leaving, Line, LoadGenerator, Member, dice, person

from support.people import Frame, Person

REPLACED: Final = 1008
AGAIN_SECONDS: Final = 0.25
"""Before something is sent again that was put off; ``retryAfter``, shortened."""

APART_SECONDS: Final = 0.5
"""Between two logins, of which the second must win: clocks of relays are milliseconds apart."""

PREKEYS: Final = 60
ASKS: Final = 10
"""Bundles that somebody may have of each other person in an hour, each with a one-time prekey."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where virtual users are.

    Attributes:
        urls: of the relays.
        checker: judges them.
        patience: seconds without an answer until somebody leaves a relay for another one.
    """

    urls: Sequence[str]
    checker: SeveralChecker
    patience: float = 5.0


class Traveller(Member):
    """Somebody who is at one relay after the other.

    One message at a time is under way to each target: if it is put off, the next one does not overtake it.

    Args:
        generator, who, chance, targets, stay: see ``Member``.
        place: the relays.
        first: the number of the relay to begin with.
    """

    def __init__(
        self,
        generator: LoadGenerator,
        who: Person,
        chance: random.Random,
        *,
        place: Place,
        first: int,
        targets: Sequence[Person] = (),
        stay: float | None = None,
    ) -> None:
        super().__init__(generator, who, chance, targets=targets, window=len(targets), stay=stay)
        self.is_asking = False
        self._place = place
        self._next = first
        self._put_off: list[Key] = []
        self._asks = [to for to in targets for _ in range(ASKS)]

    async def _login(self) -> Line:
        url = self._place.urls[self._next % len(self._place.urls)]
        self._next += 1
        try:
            async with asyncio.timeout(self._place.patience):
                return await Line.login(url, self.person, self._place.checker)
        except GONE:
            await asyncio.sleep(self._chance.uniform(0.1, 0.4))
            raise

    async def _be_online(self, line: Line) -> None:
        try:
            await super()._be_online(line)
        except* GONE:
            self._place.checker.closings[line.close_code] += 1
            raise

    def _work(self, line: Line) -> list[Coroutine[Any, Any, None]]:
        self._put_off.clear()  # all that was not accepted is sent again in any case
        return [*super()._work(line), self._ask_for_prekeys(line), self._watch(line)]

    async def _watch(self, line: Line) -> None:
        """Leave a relay that does not answer: it may have been stopped, or cut off."""
        while True:
            try:
                async with asyncio.timeout(self._place.patience):
                    await line.is_alive()
            except TimeoutError:
                raise Leaving from None
            await asyncio.sleep(self._chance.uniform(0.2, 0.6))

    # --- messages -----------------------------------------------------------------

    async def _dawdle(self) -> None:
        """However calm it is: an acknowledgement that was refused is tried again after that."""
        await asyncio.sleep(self._chance.uniform(0, 0.15))

    def _open_targets(self) -> list[Person]:
        waiting = {key.recipient for key in self.unanswered}
        return [to for to in super()._open_targets() if to.id not in waiting]

    def _refused(self, key: Key) -> None:
        self._put_off.append(key)
        self.progress.made()

    async def _write(self, line: Line) -> None:
        for key, encrypted in list(self.unanswered.items()):
            await self._post(line, key.recipient, encrypted, key.name)
        while True:
            await self.progress.until(lambda: bool(self._put_off or self._open_targets()))
            if self._put_off:
                await asyncio.sleep(AGAIN_SECONDS)
                keys, self._put_off = self._put_off, []
                for key in keys:
                    if key in self.unanswered:
                        await self._post(line, key.recipient, self.unanswered[key], key.name)
            else:
                await self._write_one(line)
                await asyncio.sleep(self._chance.uniform(0, 0.02))

    # --- prekeys ------------------------------------------------------------------

    async def _ask_for_prekeys(self, line: Line) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
            if not self._asks or self._generator.calm:
                return
            self.is_asking = True
            try:
                await self._ask(line, self._asks.pop(self._chance.randrange(len(self._asks))))
            finally:
                self.is_asking = False
                self._generator.progress.made()

    async def _ask(self, line: Line, target: Person) -> None:
        """Ask for a bundle, and wait until that is stored or refused."""
        name = self.person.new_message_id()
        frame = self.person.signed({**self.person.init(target, name=name), "id": name})
        self._place.checker.ask(frame)
        await line.send(frame)
        await line.is_alive()

    def _come(self, frame: Frame) -> None:
        if frame["type"] == "KEY_EXCHANGE_RESPONSE":
            self._place.checker.hand_out(frame)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who writes to whom: each writer to some readers, all over the relays."""

    writers: Sequence[Person]
    readers: Sequence[Person]
    targets: dict[str, Sequence[Person]]

    @property
    def pairs(self) -> list[tuple[Person, Person]]:
        """All that write to each other."""
        return [(writer, reader) for writer in self.writers for reader in self.targets[writer.id]]


def cast(checker: SeveralChecker, seed: int, *, people: int = 6, targets: int = 4, of: str = "") -> Cast:
    """So many writers and as many readers, others for each name that they are ``of``."""
    chance = dice(seed)
    writers = [person(checker, f"writer {number}{of}") for number in range(people)]
    readers = [person(checker, f"reader {number}{of}") for number in range(people)]
    return Cast(writers, readers, {one.id: chance.sample(readers, targets) for one in writers})


def gather(generator: LoadGenerator, place: Place, people: Cast, seed: int) -> None:
    """All of them as members of a load generator; every second one moves from relay to relay."""
    chance = dice(seed)
    for number, one in enumerate([*people.writers, *people.readers]):
        stay = 6.0 if number % 2 else None
        targets = people.targets.get(one.id, ())
        Traveller(generator, one, dice(chance.random()), place=place, first=number // 2, targets=targets, stay=stay)


async def publish(place: Place, people: Sequence[Person]) -> None:
    """Let each have one-time prekeys at the relays."""
    for one in people:
        line = await _login(place.urls[0], one, place.checker)
        await line.send(one.publish(range(1, PREKEYS + 1)))
        await line.settle()
        await line.close()


async def calm(generator: LoadGenerator, seconds: float) -> None:
    """Nobody writes anything new; wait until everything was answered."""

    def asking() -> bool:
        return any(isinstance(member, Traveller) and member.is_asking for member in generator.members)

    generator.calm = True
    generator.stir()
    async with asyncio.timeout(seconds):
        await generator.progress.until(lambda: not (generator.unanswered or asking()))


async def accepted(generator: LoadGenerator, count: int, seconds: float) -> None:
    """Wait until so many more messages were accepted."""
    wanted = generator.checker.accepted + count
    async with asyncio.timeout(seconds):
        await generator.progress.until(lambda: generator.checker.accepted >= wanted)


async def _login(url: str, one: Person, checker: SeveralChecker) -> Line:
    """Log in, when the database lets them."""
    while True:
        try:
            return await Line.login(url, one, checker)
        except GONE:
            await asyncio.sleep(AGAIN_SECONDS)


async def collect(place: Place, people: Cast) -> None:
    """Everybody acknowledges all there is, at whatever relay; a fault if something comes when they come once more."""

    async def come(one: Person, number: int) -> list[Frame]:
        line = await _login(place.urls[number % len(place.urls)], one, place.checker)
        came = await line.settle()
        await line.close()
        return came

    async def all_come(some: Sequence[Person], first: int) -> list[Frame]:
        came = await asyncio.gather(*(come(one, first + number) for number, one in enumerate(some)))
        return [item for items in came for item in items]

    await all_come(people.readers, 0)
    await all_come(people.writers, 1)
    for item in await all_come([*people.readers, *people.writers], 1):
        place.checker.fault("came when everything was collected", item)


async def judge_sessions(place: Place, people: Sequence[Person]) -> None:
    """Whoever logs in elsewhere is closed where they were: a user has one session."""
    for one in people:
        lines = []
        for url in place.urls:
            lines.append(await _login(url, one, place.checker))
            await asyncio.sleep(APART_SECONDS)
        for line in lines[:-1]:
            with suppress(*GONE):
                await asyncio.wait_for(line.drain(), place.patience * 6)
            if line.close_code != REPLACED:
                place.checker.fault("several sessions of one user", (one.id, line.close_code))
        await lines[-1].settle()
        await lines[-1].close()
