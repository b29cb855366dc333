"""Conversations of somebody with the browser's client and somebody with the SDK, made up from a seed."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from web_peers import Line, Person, SdkPerson, WebPerson, meet, settled, until

from support.relay_process import RelayProcess

STEPS = 14
LETTERS = 'aäß你👩\u200d🚀ש\u202e \n"\\\u0000'
DISASTERS_AT_MOST = 1
"""Of sorts that cost both sides a new session: of more in an hour, some would wait for its end."""


@dataclass
class Story:
    """One conversation.

    Args:
        seed: decides on everything but the pace.
        made: the program of the browser's client.
        folder: holds both profiles.
        relay: where they meet.
    """

    seed: int
    made: Path
    folder: Path
    relay: RelayProcess
    told: list[str] = field(default_factory=list)
    """What has happened, for whoever has to understand it."""
    sent: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(f"web story {self.seed}")  # noqa: S311 - a story, no secret
        self.folder.mkdir()
        self.web = WebPerson(self.made, self.folder, self.relay)
        self.sdk = SdkPerson(self.folder / "home", self.relay)
        self._away: set[Person] = set()
        self._disasters = 0
        self._is_mixed = self._is_restored = False
        self._burns: set[str] = set()
        self._short_lived: set[str] = set()
        self._written: dict[str, str] = {}
        self._seen: tuple[list[Line], list[Line]] = [], []

    async def play(self) -> None:
        """Play it, and compare what both sides have in the end."""
        try:
            await asyncio.gather(self.web.start(), self.sdk.start())
            await until(self._is_known, lambda: "the relay does not know both")
            await self._meet()
            for _ in range(STEPS):
                await self._revive()
                with suppress(ConnectionError):  # it has died, as it was told to
                    await self._step()
            await self._end()
        except BaseException as error:
            await self.web.kill()
            error.add_note(f"seed {self.seed}: {'; '.join(self.told)}; {self.web.troubles}; {self.web.warnings}")
            raise
        finally:
            await self.sdk.close()
        await self.web.close()

    async def _end(self) -> None:
        """Both come online and read everything; then they have one history."""
        await self._revive()
        with suppress(ConnectionError):
            await self.web.do("die", point="never", times=1)
        await self._revive()
        for one in tuple(self._away):
            await self._return(one)
        await until(self._agree_on_ids, self._differences)
        for one, other in ((self.web, self.sdk), (self.sdk, self.web)):
            await one.read_all(other.id)
        await settled(self.web, self.sdk)
        await until(self._agree, self._differences)
        for lines in self._seen:
            assert len({line.id for line in lines}) == len(lines), "a text is there twice"
            known = [line for line in self._lasting(lines) if line.id in self._written]
            assert all(line.text == (None if line.id in self._burns else self._written[line.id]) for line in known)

    async def _look(self) -> None:
        self._seen = await self.web.history(self.sdk.id), await self.sdk.history(self.web.id)

    async def _agree_on_ids(self) -> bool:
        await self._look()
        return self._is_same(lambda line: line.id)

    async def _agree(self) -> bool:
        await self._look()
        return self._is_same(lambda line: (line.id, line.text))

    def _is_same(self, what: Callable[[Line], Any]) -> bool:
        web, sdk = (self._lasting(lines) for lines in self._seen)
        order: Callable[[Any], list[Any]] = sorted if self._is_mixed else list
        return all(
            order(what(line) for line in web if line.is_mine is who)
            == order(what(line) for line in sdk if line.is_mine is not who)
            for who in (True, False)
        )

    def _lasting(self, lines: list[Line]) -> list[Line]:
        """Without what burns or expires, if there was a backup, for that is not in it."""
        return [line for line in lines if not (self._is_restored and line.id in self._short_lived)]

    def _differences(self) -> str:
        web, sdk = self._seen
        return f"web: {web}\nsdk: {sdk}"

    async def _is_known(self) -> bool:
        """Whether both have logged in: whoever is not known to the relay yet is asked for again after 30 seconds."""
        return await self.web.is_online() and await self.sdk.is_online()

    async def _meet(self) -> None:
        """From either side, or both at once, with or without having published anything."""
        sort = self._chance.randrange(4)
        self.told.append(f"meeting {sort}")
        if sort < 2:
            one, other = self._both()
            await one.add("other", other.id)
            await self._write(one, other)

            async def is_asked() -> bool:
                return one.id in await other.requests()

            await until(is_asked, lambda: "no request has come")
            await other.accept(one.id)
        else:
            await meet(self.web, self.sdk)
            if sort == 3:
                await self._leave(self.web)
                await self._leave(self.sdk)

    def _both(self) -> tuple[Person, Person]:
        pair: list[Person] = [self.web, self.sdk]
        self._chance.shuffle(pair)
        return pair[0], pair[1]

    async def _step(self) -> None:
        one, other = self._both()
        steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (10, lambda: self._write(one, other)),
            (4, lambda: self._read(one, other)),
            (3, lambda: self._leave(one)),
            (5, lambda: self._return(one)),
            (3, self._kill),
            (3, self._kill_at_a_commit),
            (1, lambda: self._lose_sessions(one, other)),
            (1, self._restore),
            (1, self._mix),
            (2, lambda: asyncio.sleep(self._chance.random() / 2)),
        ]
        (step,) = self._chance.choices([step for _, step in steps], [weight for weight, _ in steps])
        await step()

    # --- what can happen ----------------------------------------------------------

    async def _write(self, one: Person, other: Person) -> None:
        for _ in range(self._chance.choice([1, 1, 2, 5])):
            self.sent += 1
            length = self._chance.choice([3, 3, 40, 300, 9_000])
            text = f"{self.sent} " + "".join(self._chance.choices(LETTERS, k=length))
            burn = self._chance.random() < 0.1
            expires_in = 3600.0 if self._chance.random() < 0.1 else None
            self.told.append(f"{self._name(one)} writes {self.sent}{' burning' if burn else ''}")
            message_id = await one.send(other.id, text, burn=burn, expires_in=expires_in)
            self._written[message_id] = text
            if burn:
                self._burns.add(message_id)
            if burn or expires_in:
                self._short_lived.add(message_id)

    async def _read(self, one: Person, other: Person) -> None:
        self.told.append(f"{self._name(one)} reads")
        await one.read_all(other.id)

    async def _leave(self, one: Person) -> None:
        self.told.append(f"{self._name(one)} leaves")
        self._away.add(one)
        await one.offline()

    async def _return(self, one: Person) -> None:
        if one in self._away:
            self.told.append(f"{self._name(one)} returns")
            self._away.discard(one)
            await one.online()

    async def _kill(self) -> None:
        self.told.append("web is killed")
        await self.web.kill()
        await self._revive()

    async def _kill_at_a_commit(self) -> None:
        """It dies before or after one of the next steps is stored, whenever that is."""
        point, times = self._chance.choice(["before", "after"]), self._chance.randint(1, 6)
        self.told.append(f"web is to die {point} commit {times}")
        await self.web.do("die", point=point, times=times)

    async def _revive(self) -> None:
        if self.web.is_dead:
            self.told.append("web is started again")
            await self.web.died()
            await self.web.start()
            if self.web in self._away:
                await self.web.offline()

    async def _lose_sessions(self, one: Person, other: Person) -> None:
        if self._disasters < DISASTERS_AT_MOST:
            self._disasters += 1
            self._is_mixed = True
            self.told.append(f"{self._name(one)} loses the sessions")
            await one.lose_sessions(other.id)

    async def _restore(self) -> None:
        """The browser's profile is exported, deleted, and imported; what is under way meanwhile is asked for again.

        It is offline meanwhile: what it received and answered after the backup would be lost, as it is with everybody.
        """
        if self._disasters < DISASTERS_AT_MOST and not self._away:
            self._disasters += 1
            self._is_mixed = self._is_restored = True
            self.told.append("web is restored")
            await settled(self.web, self.sdk)
            await self.web.offline()
            file = self.folder / "file"
            await self.web.export_to(file)
            await self.web.kill()
            self.web.path.unlink()
            await self._write(self.sdk, self.web)
            await self.web.start(file)

    async def _mix(self) -> None:
        self._is_mixed = True
        self.told.append("what comes to web is mixed")
        await self.web.do("mix", on=True)
        for _ in range(3):
            await self._write(self.sdk, self.web)
        await asyncio.sleep(1)
        await self.web.do("mix", on=False)

    def _name(self, one: Person) -> str:
        return "web" if one is self.web else "sdk"
