"""Two people at a relay, all real but for the network, which cuts one connection where it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from cutting_proxy import CuttingProxy, End, cutting_proxy

from phantom_messenger import Client
from phantom_messenger.client import records
from phantom_messenger.client.event_hub import EventHub
from phantom_messenger.client.status import ConnectionState, DeliveryState, Event, WarningEvent
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.relay import public_names
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.records import Item
from phantom_messenger.relay.server import RelayServer

KEY: Final = Secret("a random key of a keyring", stretched=False)
PATIENCE: Final = 60.0
LATE: Final = 1 << 62


class PulsingHub(EventHub):
    """Sets ``pulse`` whenever anything may have changed, and notes warnings."""

    def __init__(self, pulse: asyncio.Event, troubles: list[str]) -> None:
        super().__init__()
        self._pulse = pulse
        self._troubles = troubles

    def wake(self) -> None:
        super().wake()
        self._pulse.set()

    def publish(self, event: Event) -> None:
        super().publish(event)
        if isinstance(event, WarningEvent):
            self._troubles.append(f"{event.code}: {event.message}")


class Person(Client):
    """A client that tells when anything may have changed, and whose application answers what it reads."""

    def __init__(self, name: str, vault: Vault, proxy: CuttingProxy, pulse: asyncio.Event) -> None:
        self.name = name
        self.pulse = pulse
        self.proxy = proxy
        self.got: list[str] = []
        self.answered: list[str] = []
        self.troubles: list[str] = []
        super().__init__(vault, f"ws://127.0.0.1:{proxy.port}/ws")
        self._hub = self._loop._hub = PulsingHub(pulse, self.troubles)

    async def application(self) -> None:
        """Read what comes, and answer questions."""
        async for message in self.messages():
            self.got.append(message.text)
            await message.mark_read()
            if message.text.endswith("?"):
                answer = await self.send(message.sender, f"{message.text[:-1]}!")
                self.answered.append(answer.message_id)

    def come_to(self, number: str) -> DeliveryState | None:
        return self._messenger.state_of(number)

    @property
    def is_online(self) -> bool:
        return self.connection.state is ConnectionState.ONLINE

    @property
    def left_over(self) -> tuple[int, int]:
        """What waits in the outbox, and what was read and is still to be told."""
        return self._messenger.waiting, self._messenger.pending_receipts

    @property
    def receipts(self) -> int:
        """What its senders may not know yet, as it is on disk."""
        return sum(1 for _ in self._vault.all(records.RECEIPT, records.ReceiptRecord))


class Network:
    """The relay and the people who are there; their applications run until they leave."""

    def __init__(self, folder: Path, server: RelayServer) -> None:
        self._folder = folder
        self._server = server
        self._applications: set[asyncio.Task[None]] = set()
        self.pulse = asyncio.Event()
        self.patience = PATIENCE

    @contextlib.asynccontextmanager
    async def person(self, name: str) -> AsyncIterator[Person]:
        """Somebody who is online and has published their prekeys."""
        host, port = self._server.url.removeprefix("ws://").removesuffix("/ws").split(":")
        async with (
            cutting_proxy((host, int(port))) as proxy,
            Person(name, Vault(self._folder / f"{name}.vault", KEY), proxy, self.pulse) as person,
        ):
            task = asyncio.create_task(person.application())
            self._applications.add(task)
            try:
                await self.until(lambda: person.is_online and person._messenger.prekeys_confirmed, name)
                yield person
            finally:
                self._applications.discard(task)
                task.cancel()
                await asyncio.wait({task})

    async def until(self, settled: Callable[[], bool], what: str) -> None:
        """Wait until it is so; looked at whenever something has changed."""
        try:
            async with asyncio.timeout(self.patience):
                while not settled():
                    self.pulse.clear()
                    await self.pulse.wait()
                    for task in self._applications:
                        if task.done():
                            task.result()
        except TimeoutError:
            raise AssertionError(f"never comes to rest: {what}") from None

    async def waiting(self, *people: Person) -> list[Item]:
        """What the relay still has for these people, all at one time."""

        def read(tx: Tables) -> list[Item]:
            return [item for person in people for item in tx.mailboxes.read(person.user_id, 0, 1 << 30, LATE).items]

        return (await self._ask(read))[0]

    async def _ask(self, job: Callable[[Tables], list[Item]]) -> list[list[Item]]:
        thread = self._server._store
        assert isinstance(thread._store, SQLiteStore)
        return await asyncio.get_running_loop().run_in_executor(thread._executor, thread._store.run_jobs, [job])

    async def delivered(self, *people: Person, what: str) -> None:
        """Wait until the relay has nothing for these people any more: to take one's last may make another's."""
        for _ in range(6_000):
            if not (left := await self.waiting(*people)):
                return
            await asyncio.sleep(0.005)  # the relay tells nobody when a mailbox is empty
        raise AssertionError(f"{what}: the relay still has {[item.kind.name for item in left]}")


@contextlib.asynccontextmanager
async def network(folder: Path) -> AsyncIterator[Network]:
    """A relay in memory, for as long as the block."""
    config = Config(port=0, limits=False, public_names=(public_names.ANY,))  # clients dial the proxies
    server = RelayServer(config, SQLiteStore(None))
    await server.start()
    try:
        yield Network(folder, server)
    finally:
        await server.stop()


class Dialogue:
    """Alice asks, Bob reads and answers, Alice reads: over and over, each time with another cut."""

    def __init__(self, net: Network, alice: Person, bob: Person) -> None:
        self._net = net
        self.alice = alice
        self.bob = bob
        self.asked: list[str] = []
        self.cuts = 0
        for person in (alice, bob):
            person.got.clear()

    async def make_contacts(self, one: Person, other: Person) -> None:
        """Let somebody add somebody as a contact."""
        one.contacts.add(other.name, other.user_id)
        await self._net.until(lambda: bool(one.contacts.find(other.name).key), "a contact")
        await self._net.delivered(one, other, what="a contact")

    async def survey(self, victim: Person) -> list[int]:
        """A round without a cut: how many bytes have passed over somebody's connection by each of its steps."""
        await self.round(victim, LATE, End.FIN, live=True)
        return victim.proxy.marks

    async def round(self, victim: Person, after: int, how: End, *, live: bool) -> None:
        """One round, in which a connection is cut after so many bytes.

        Args:
            victim: whose connection.
            after: bytes, both directions and the login included.
            how: the cut.
            live: ask once the victim is online again, instead of at once.
        """
        question = f"{len(self.asked)}?"
        what = f"{victim.name} cut after {after} bytes by {how.name}, {live=}, question {question}"
        victim.proxy.cut_next(after, how)
        victim.proxy.cut_all()
        if live:
            await self._net.until(lambda: not victim.is_online, what)
            await self._net.until(lambda: victim.is_online, what)
        self.asked.append(question)
        asked = await self.alice.send(self.bob.user_id, question)
        try:
            await self._net.until(lambda: self._is_settled(asked.message_id), what)
            await self._net.delivered(self.alice, self.bob, what=what)
            for person in (self.alice, self.bob):
                assert person.receipts == 0, f"{person.name} keeps receipts that have arrived; {what}"
        finally:
            self.check(what)
        self.cuts += victim.proxy.has_cut.is_set()
        victim.proxy.let_pass()

    def _is_settled(self, asked: str) -> bool:
        return (
            len(self.bob.got) >= len(self.asked)
            and len(self.alice.got) >= len(self.asked)
            and self.alice.come_to(asked) is DeliveryState.READ
            and self.bob.come_to(self.bob.answered[-1]) is DeliveryState.READ
            and self.alice.left_over == self.bob.left_over == (0, 0)
            and self.alice.is_online
            and self.bob.is_online
        )

    def check(self, what: str) -> None:
        """Nothing was lost, nothing doubled, nothing in another order, and nobody was bothered."""
        answers = [question.replace("?", "!") for question in self.asked]
        assert self.bob.got == self.asked, f"Bob has got ..{self.bob.got[-3:]}; {what}"
        assert self.alice.got == answers, f"Alice has got ..{self.alice.got[-3:]}; {what}"
        for person in (self.alice, self.bob):
            assert person.troubles == [], f"{person.name} hears {person.troubles}; {what}"
