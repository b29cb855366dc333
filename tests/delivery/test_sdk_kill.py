"""A program that uses the SDK is killed again and again while it sends and receives: exactly once, in order."""

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from phantom_messenger import Client
from phantom_messenger.client.errors import VaultInUse
from phantom_messenger.client.status import WarningEvent
from support.amounts import amount, seeds
from support.relay_process import RelayProcess, environment
from support.sdk_clients import opened

PROGRAM = Path(__file__).with_name("sdk_kill_program.py")
KILLS = seeds(2, 100)
KILLS_OF_MANY = seeds(2, 40)
"""Carol is away meanwhile, and a mailbox has 1,000 places: with 100 lives there are more texts."""

SEED = 11
PATIENCE = 60.0
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name
RUN_SECONDS = amount(250, 7_200)


# --- two programs -----------------------------------------------------------------


class Life:
    """One run of the program that is killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """What it notes next."""
        assert self._process.stdout is not None
        found = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)
        assert found, f"it has ended by itself: {await self._errors()}"
        return found.decode().rstrip("\n")

    async def lines(self, number: int) -> None:
        for _ in range(number):
            await self.line()

    async def until(self, *words: str) -> None:
        """Wait until there was a line with each of these words, in whatever order."""
        missing = set(words)
        while missing:
            line = await self.line()
            missing = {word for word in missing if word not in line}

    async def kill(self) -> None:
        assert self._process.returncode is None, await self._errors()
        self._process.send_signal(signal.SIGKILL)
        await self._process.communicate()

    async def end(self) -> None:
        """Let it end as it should."""
        _, errors = await asyncio.wait_for(self._process.communicate(b"\n"), PATIENCE)
        assert (self._process.returncode, errors) == (0, b"")

    async def _errors(self) -> str:
        _, errors = await asyncio.wait_for(self._process.communicate(), PATIENCE)
        return errors.decode()


@dataclass
class Bob:
    """Who is never killed: what he sent and got, each as message id and text."""

    client: Client
    sent: list[tuple[str, str]] = field(default_factory=list)
    got: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    patience: float = PATIENCE

    async def send_all(self, peer: str) -> None:
        while True:
            text = f"b {len(self.sent)}"
            delivery = await self.client.send(peer, text)
            self.sent.append((delivery.message_id, text))
            await asyncio.sleep(0.03)

    async def receive_all(self) -> None:
        async for message in self.client.messages():
            self.got.append((message.id, message.text))
            self.news.set()

    async def hear_troubles(self) -> None:
        async for event in self.client.events():
            if isinstance(event, WarningEvent):
                self.troubles.append(event.code)

    async def gets(self, number: str) -> None:
        """Wait until this message has come; not for long, for it may be lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                while number not in [there for there, _ in self.got]:
                    self.news.clear()
                    await self.news.wait()


@contextlib.asynccontextmanager
async def living(*arguments: str) -> AsyncIterator[Life]:
    """The program; if it still lives at the end of the block it is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        *arguments,
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Life(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def tell(home: Path, relay: RelayProcess, kills: int, *modes: str) -> tuple[list[str], Bob]:
    """Kill the program so many times, then let it finish: its journal, and what Bob has."""
    faults = [mode for mode in modes if not mode.startswith("many:")]
    chance = random.Random(SEED)  # noqa: S311 - the same in every run
    async with opened(home, "alice", relay) as alice, opened(home, "bob", relay) as client:
        await alice.wait_published(PATIENCE)
        await client.wait_published(PATIENCE)
        alice.contacts.add("bob", client.user_id)
        client.contacts.add("alice", alice.user_id)
        await client.wait_key("alice", PATIENCE)
        alice_id, bob = alice.user_id, Bob(client, patience=1.0 if faults else PATIENCE)
        await alice._loop.stop()
        alice.close()
        arguments = (str(home), relay.url, client.user_id, str(home / "journal"), *modes)
        sending = asyncio.create_task(bob.send_all(alice_id))
        receiving = asyncio.create_task(bob.receive_all())
        hearing = asyncio.create_task(bob.hear_troubles())
        for _ in range(kills):
            async with living(*arguments) as life:
                if "handle-early" in faults:
                    await life.until("work")
                else:
                    await life.lines(chance.randrange(1, 80))
                    await asyncio.sleep(chance.uniform(0, 0.03))
                await life.kill()
        sending.cancel()
        async with living(*arguments, "finish") as life:
            last = () if faults else (f"got {bob.sent[-1][0]}",)
            await life.until("flushed", *last)
            await life.end()
        lines = (home / "journal").read_text().splitlines()
        await bob.gets([line.split()[2] for line in lines if line.startswith("sent ")][-1])
        receiving.cancel()
        hearing.cancel()
        return lines, bob


# --- what must hold ---------------------------------------------------------------


def check(journal: list[str], bob: Bob) -> int:
    """Everything came exactly once and in order; how many texts left in a later life than they were sent in."""
    tried = [int(line.split()[1]) for line in journal if line.startswith("try ")]
    sent = {f"a {line.split()[1]}": line.split()[2] for line in journal if line.startswith("sent ")}
    texts = [text for _, text in bob.got]
    numbers = [int(text.split()[1]) for text in texts]
    assert tried == list(range(len(tried)))
    assert numbers == sorted(set(numbers)), f"doubled, or out of order: {numbers} (seed {SEED})"
    assert set(numbers) <= set(tried), f"never sent (seed {SEED})"
    assert sent.keys() <= set(texts), f"lost: {sorted(sent.keys() - set(texts))} (seed {SEED})"
    assert {text: number for number, text in bob.got if text in sent} == sent, f"another id (seed {SEED})"
    assert handled(journal) == bob.sent, f"at the killed one's (seed {SEED})"
    troubles = [*bob.troubles, *(line for line in journal if line.startswith("trouble "))]
    assert troubles == [], f"who is killed has lost nothing, yet hears {troubles} (seed {SEED})"
    return sum(len(sent_in(life) - accepted_in(life)) for life in lives(journal))


def lives(journal: list[str]) -> list[list[str]]:
    found: list[list[str]] = []
    for line in journal:
        if line == "life":
            found.append([])
        found[-1].append(line)
    return found


def sent_in(life: list[str]) -> set[str]:
    return {line.split()[2] for line in life if line.startswith("sent ")}


def accepted_in(life: list[str]) -> set[str]:
    return {line.split()[1] for line in life if line.startswith("accepted ")}


def handled(journal: list[str]) -> list[tuple[str, str]]:
    """The texts that the killed program handled.

    The one that it worked on when it died it may handle again, first of all in its next life, unless
    it had marked it as read.
    """
    found: list[tuple[str, str]] = []
    is_open = False
    for life in lives(journal):
        is_first = True
        for line in life:
            word, number, text = (*line.split(maxsplit=2), "", "")[:3]
            if word == "got":
                if not (is_first and is_open and found[-1] == (number, text)):
                    found.append((number, text))
                is_first, is_open = False, True
            elif word == "read":
                is_open = False
    return found


def run(usual: Path, relay: RelayProcess, kills: int, *faults: str) -> tuple[list[str], Bob]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else usual) as home:
        return asyncio.run(asyncio.wait_for(tell(Path(home), relay, kills, *faults), RUN_SECONDS))


async def tell_many(home: Path, relay: RelayProcess, kills: int, *faults: str) -> tuple[list[str], Bob, list[str]]:
    """As ``tell``; each text goes to Carol, too, who is away meanwhile. What she has in the end."""
    async with opened(home, "alice", relay) as alice, opened(home, "carol", relay) as carol:
        await alice.wait_published(PATIENCE)
        await carol.wait_published(PATIENCE)
        carol.contacts.add("alice", alice.user_id)  # a stranger has 100 places in a mailbox
        await carol.wait_key("alice", PATIENCE)
        carol_id = carol.user_id
    journal, bob = await tell(home, relay, kills, f"many:{carol_id}", *faults)
    texts: list[str] = []
    async with opened(home, "carol", relay) as carol:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bob.patience):
                async for message in carol.messages():
                    texts.append(message.text)
                    if message.text == bob.got[-1][1]:
                        break
    return journal, bob, texts


def run_many(usual: Path, relay: RelayProcess, kills: int, *faults: str) -> tuple[list[str], Bob, list[str]]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else usual) as home:
        return asyncio.run(asyncio.wait_for(tell_many(Path(home), relay, kills, *faults), RUN_SECONDS))


# --- the promise ------------------------------------------------------------------


def test_killed_program_loses_and_doubles_nothing(tmp_path: Path, relay: RelayProcess) -> None:
    journal, bob = run(tmp_path, relay, KILLS)
    left_later = check(journal, bob)
    assert len(lives(journal)) == KILLS + 1
    assert left_later > 0, "no text was under way when the program was killed"


def test_killed_program_that_writes_to_many_loses_and_doubles_nothing_for_any_of_them(
    tmp_path: Path, relay: RelayProcess
) -> None:
    journal, bob, texts = run_many(tmp_path, relay, KILLS_OF_MANY)
    assert check(journal, bob) > 0, "no text was under way when the program was killed"
    assert texts == [text for _, text in bob.got]


def test_second_program_is_told_that_the_profile_is_in_use(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with living(str(tmp_path), relay.url, "0" * 43 + "=", str(tmp_path / "journal"), "finish") as life:
            await life.until("flushed")
            with pytest.raises(VaultInUse, match=r"the profile 'alice' is in use by another program, such as"):
                opened(tmp_path, "alice", relay)
            await life.kill()
        opened(tmp_path, "alice", relay).close()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


# --- controls ---------------------------------------------------------------------


def test_outbox_in_memory_alone_is_caught(tmp_path: Path, relay: RelayProcess) -> None:
    journal, bob = run(tmp_path, relay, 2, "forget-the-outbox")
    with pytest.raises(AssertionError, match="lost"):
        check(journal, bob)


def test_copies_in_memory_alone_are_caught(tmp_path: Path, relay: RelayProcess) -> None:
    journal, bob, _ = run_many(tmp_path, relay, 2, "forget-the-outbox")
    with pytest.raises(AssertionError, match="lost"):
        check(journal, bob)


def test_text_that_counts_as_handled_too_early_is_caught(tmp_path: Path, relay: RelayProcess) -> None:
    journal, bob = run(tmp_path, relay, 2, "handle-early")
    with pytest.raises(AssertionError, match="at the killed one's"):
        check(journal, bob)
