"""Whoever is killed amid a group, at whatever write: all have one history in the end, and each text once.

An admin, a member and the relay die in turn, the first two at one of their own transactions, the relay at one of its
batches. The other people write and change the group meanwhile.
"""

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from phantom_messenger import Client
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.status import GroupEvent, GroupNews
from support.amounts import amount, seeds
from support.postgres_server import PostgresServer
from support.relay_process import WARM, RelayProcess, StartRelay, environment, patched
from support.sdk_clients import opened, reached

PROGRAM: Final = Path(__file__).with_name("group_kill_program.py")
POINTS: Final = seeds(2, 50)
"""Deaths in each of the four tests."""

SEED: Final = 12
PATIENCE: Final = float(amount(60, 900))
"""Seconds. In the long form the mailboxes of the dead get full, and their senders wait for a minute each time."""
RUN_SECONDS: Final = amount(250, 7_200)
HARMLESS: Final = {GroupNews.CHANGED, GroupNews.JOINED, GroupNews.WAITING}
"""What people may hear of their group; whoever is dead is waited for, if the relay has a change of theirs."""

MOST_WAITING: Final = 200
"""Texts of one person that the relay has not taken yet: more are not written until it lives and has room for them."""

LONGEST_LINE: Final = 16 << 20
"""Bytes: a program tells all texts of the group in one line."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name
NAMES: Final = ("alice", "bob", "carol")

DIES: Final = """
import os, signal
from phantom_messenger.engines.{engine} import {store}
from phantom_messenger.relay.commands import AcceptMany
real, left = {store}.run, [{count}]
def run(self, commands, **more):
    left[0] -= any(isinstance(command, AcceptMany) for command in commands)
    if not left[0] and not {behind}:
        os.kill(os.getpid(), signal.SIGKILL)
    found = real(self, commands, **more)
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
{store}.run = run
"""
STORES: Final = {"sqlite": "SQLiteStore", "postgres": "PostgresStore"}


class Person:
    """Somebody whose program lives all the time: what they wrote, and what they are told."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client
        self.sent: list[str] = []
        self.news: list[GroupNews] = []

    @property
    def group(self) -> str:
        [info] = self.client.groups.all()
        return info.group

    async def live(self) -> None:
        """Write without end, and change the group if that is allowed."""
        while True:
            await asyncio.sleep(0.05)
            if self.client._messenger.waiting >= MOST_WAITING:
                continue
            text = f"{self.name} {len(self.sent)}"
            await self.client.groups.send(self.group, text)
            self.sent.append(text)
            if self.client.groups.find(self.group).is_admin and len(self.sent) % 4 == 0:
                with suppress(UsageError):  # so many wait to be put in order
                    self.client.groups.rename(self.group, f"Tea {len(self.sent)} of {self.name}")

    async def read(self) -> None:
        async for message in self.client.groups.messages():
            await message.mark_read()

    async def hear(self) -> None:
        async for event in self.client.events():
            if isinstance(event, GroupEvent):
                self.news.append(event.news)

    def tell(self) -> dict[str, Any]:
        """What is known here: as the program tells it that is killed."""
        info = self.client.groups.find(self.group)
        texts = [entry.text for entry in self.client.groups.history(self.group)]
        digits = self.client.groups.digits(self.group)
        return {"digits": digits, "texts": texts, "doubt": info.doubt, "behind": info.is_behind}


@asynccontextmanager
async def town(home: Path, relay: RelayProcess) -> AsyncIterator[list[Person]]:
    """Three people in one group; Alice and Bob are its admins."""
    async with AsyncExitStack() as stack:
        people = [Person(name, await stack.enter_async_context(opened(home, name, relay))) for name in NAMES]
        for one in people:
            await one.client.wait_published(PATIENCE)
        alice, *others = people
        for other in others:
            alice.client.contacts.add(other.name, other.client.user_id)
            other.client.contacts.add(alice.name, alice.client.user_id)
        info = alice.client.groups.create("Tea", [other.name for other in others])
        for other in others:
            assert await other.client.groups.wait_known(info.group, PATIENCE)
            other.client.groups.accept(info.group)
        await reached(lambda: all(len(one.client.groups.find(one.group).members) == 3 for one in people), PATIENCE)
        alice.client.groups.set_role(info.group, "bob", "admin")
        await reached(lambda: others[0].client.groups.find(info.group).is_admin, PATIENCE)
        yield people


@asynccontextmanager
async def listening(people: list[Person]) -> AsyncIterator[None]:
    """They read what comes, and hear of nothing but what may happen to a group."""
    tasks = [asyncio.create_task(task) for one in people for task in (one.read(), one.hear())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
    assert {news for one in people for news in one.news} <= HARMLESS


@asynccontextmanager
async def busy(people: list[Person]) -> AsyncIterator[None]:
    """They write."""
    working = [asyncio.create_task(one.live()) for one in people]
    try:
        yield
    finally:
        for task in working:
            task.cancel()
        ended = await asyncio.gather(*working, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def all_is_done(people: list[Person]) -> None:
    """Wait until all that they wanted has been done: whoever was killed has to live, or their mailbox stays full."""
    for one in people:
        assert await one.client.flush(PATIENCE) == 0
        assert await one.client.groups.settled(PATIENCE)


@asynccontextmanager
async def living(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program; it does not outlive the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        *arguments,
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def die(*arguments: str) -> None:
    """Let the program live until it dies at its point."""
    async with living(*arguments) as process:
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == -signal.SIGKILL, errors.decode()


async def ask(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """What the program knows by now."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"tell\n")
    while True:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        assert line, "it has ended by itself"
        if line.startswith(b"known "):
            found: dict[str, Any] = json.loads(line.removeprefix(b"known "))
            return found


def points(most: int) -> list[int]:
    chance = random.Random(SEED)  # noqa: S311 - the same in every run
    return [chance.randint(1, most) for _ in range(POINTS)]


def check(sent: dict[str, list[str]], tried: set[str], known: dict[str, dict[str, Any]]) -> None:
    """All know one group, and each text once, those of one person in their order."""
    assert len({one["digits"] for one in known.values()}) == 1
    assert [(one["doubt"], one["behind"]) for one in known.values()] == [("", False)] * len(known)
    for who, one in known.items():
        texts = one["texts"]
        assert len(set(texts)) == len(texts), f"doubled at {who}"
        for writer, theirs in sent.items():
            found = [text for text in texts if text.split()[0] == writer]
            assert set(theirs) <= set(found), f"lost at {who}: {sorted(set(theirs) - set(found))}"
            assert set(found) <= set(theirs) | tried, f"never written, and at {who}"
            assert found == sorted(found, key=lambda text: int(text.split()[1])), f"another order at {who}"


async def known_in_the_end(
    tell: Callable[[], Awaitable[dict[str, dict[str, Any]]]], least: int, patience: float
) -> dict[str, dict[str, Any]]:
    """What all know once they know one group and so many texts.

    What they know then, if all know one group and the texts do not come while ``patience`` lasts, in seconds.
    """
    now = asyncio.get_running_loop().time
    begun = one_since = now()
    while True:
        known = await tell()
        is_one = len({one["digits"] for one in known.values()}) == 1
        one_since = one_since if is_one else now()
        is_all = is_one and all(len(one["texts"]) >= least for one in known.values())
        if is_all or now() - one_since > patience or now() - begun > PATIENCE:
            return known
        await asyncio.sleep(0.1)


async def killed(home: Path, relay: RelayProcess, name: str, *faults: str) -> None:
    """One of them is killed again and again, with ``faults`` only once."""
    async with town(home, relay) as people:
        [victim] = [one for one in people if one.name == name]
        others = [one for one in people if one is not victim]
        await victim.client._loop.stop()
        victim.client.close()
        arguments = (str(home), relay.url, name, str(home / "journal"))
        async with listening(others):
            async with busy(others):
                for point in [1] if faults else points(60):
                    await die(*arguments, str(point), *faults)
            async with living(*arguments, "0") as process:
                lines = (home / "journal").read_text().splitlines()
                tried = {f"{name} {line.split()[1]}" for line in lines if line.startswith("try ")}
                wrote = [f"{name} {line.split()[1]}" for line in lines if line.startswith("sent ")]
                sent = {**{one.name: one.sent for one in others}, name: wrote}
                least = sum(map(len, sent.values()))

                async def tell() -> dict[str, dict[str, Any]]:
                    return {one.name: one.tell() for one in others} | {name: await ask(process)}

                patience = 1.0 if faults else PATIENCE
                # It is asked meanwhile: a program whose output nobody reads stands still.
                await asyncio.gather(all_is_done(others), known_in_the_end(tell, least, patience))
                known = await known_in_the_end(tell, least, patience)
                check(sent, tried, known)
                _, errors = await asyncio.wait_for(process.communicate(b"\n"), PATIENCE)
                assert (process.returncode, errors) == (0, b"")
        assert wrote


async def relay_killed(home: Path, relay: RelayProcess, engine: str) -> None:
    """The relay is killed again and again."""
    async with town(home, relay) as people:
        async with listening(people):
            async with busy(people):
                for point in points(16):
                    relay.kill()
                    relay.command = patched(
                        DIES.format(engine=engine, store=STORES[engine], count=(point + 1) // 2, behind=point % 2 == 0)
                    )
                    relay.restart()
                    await reached(lambda: relay.has_ended, PATIENCE)
                relay.kill()
                relay.command = WARM
                relay.restart()
            await all_is_done(people)
        sent = {one.name: one.sent for one in people}
        least = sum(map(len, sent.values()))

        async def tell() -> dict[str, dict[str, Any]]:
            return {one.name: one.tell() for one in people}

        check(sent, set(), await known_in_the_end(tell, least, PATIENCE))
        assert all(sent.values())


def run(usual: Path, story: Callable[[Path], Any]) -> None:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else usual) as home:
        asyncio.run(asyncio.wait_for(story(Path(home)), RUN_SECONDS))


pytestmark = pytest.mark.timeout(RUN_SECONDS + 20)


@pytest.mark.parametrize("name", ["alice", "carol"])
def test_admin_or_member_who_is_killed_loses_doubles_and_divides_nothing(
    tmp_path: Path, relay: RelayProcess, name: str
) -> None:
    run(tmp_path, lambda home: killed(home, relay, name))


def test_relay_that_is_killed_loses_doubles_and_divides_nothing(tmp_path: Path, start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")
    run(tmp_path, lambda home: relay_killed(home, relay, "sqlite"))


def test_relay_on_postgresql_that_is_killed_loses_doubles_and_divides_nothing(
    tmp_path: Path, start_relay: StartRelay, postgres: PostgresServer
) -> None:
    relay = start_relay("--limits", "off", "--store", postgres.make_database())
    run(tmp_path, lambda home: relay_killed(home, relay, "postgres"))


def test_control_texts_that_wait_in_memory_alone_are_lost(tmp_path: Path, relay: RelayProcess) -> None:
    with pytest.raises(AssertionError, match="lost at alice"):
        run(tmp_path, lambda home: killed(home, relay, "carol", "forget"))
