"""Two sorts of people at a relay, used alike: who writes with the browser's client, and who does with the SDK.

The browser's client is the worker's loop and the core in a Node process, with a file in place of IndexedDB.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from phantom_messenger import Client
from phantom_messenger.client import link
from phantom_messenger.client.status import WarningEvent
from support.node import node
from support.relay_process import RelayProcess
from support.sdk_clients import PASSPHRASE

FILE_PASSPHRASE = "battery staple"
PATIENCE = 120.0
"""Seconds until what is waited for is missed."""

WHOLE = 400.0
"""Seconds for all that a test does."""

TIMEOUT = 600
"""When pytest ends a test: whatever waits in vain has said before what it waits for."""


class Line(NamedTuple):
    """A text of a conversation; ``text`` is None if it is not there (any more)."""

    id: str
    is_mine: bool
    text: str | None


def program(folder: Path) -> Path:
    """The browser's client as a program, made of the sources; skips without Node or what it is made with."""
    made = folder / "peer.mjs"
    done = node("test.mjs", "--bundle", "tests/interop/peer.ts", str(made))
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(name="made", scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The browser's client as a program."""
    return program(tmp_path_factory.mktemp("web"))


@pytest.fixture(name="relay", scope="module")
def relay_of_all(made: Path) -> Iterator[RelayProcess]:
    """A relay without limits, for all of these tests."""
    process = RelayProcess(made.parent, "--limits", "off")
    yield process
    process.kill()


async def until(what: Callable[[], Awaitable[bool]], why: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until something is so; it is asked for less and less often, for an answer can be a whole history."""
    end, pause = asyncio.get_running_loop().time() + patience, 0.02
    try:
        while not await what():
            assert asyncio.get_running_loop().time() < end, why()
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
    except (asyncio.CancelledError, TimeoutError) as error:
        error.add_note(f"it waited for {what.__qualname__}: {why()}")
        raise


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, but not for ever."""
    asyncio.run(asyncio.wait_for(main, WHOLE))


class HasUrl(Protocol):
    """A relay, of whatever sort."""

    url: str


class Person(Protocol):
    """What both sorts can do."""

    id: str
    warnings: list[str]

    async def add(self, name: str, peer: str) -> None: ...
    async def accept(self, peer: str) -> None: ...
    async def allow_older(self, peer: str) -> None: ...
    async def send(self, peer: str, text: str, *, burn: bool = False, expires_in: float | None = None) -> str: ...
    async def read_all(self, peer: str) -> list[str]: ...
    async def history(self, peer: str) -> list[Line]: ...
    async def state(self, peer: str, message_id: str) -> str: ...
    async def requests(self) -> list[str]: ...
    async def offline(self) -> None: ...
    async def online(self) -> None: ...
    async def is_online(self) -> bool: ...
    async def is_done(self) -> bool: ...
    async def lose_sessions(self, peer: str) -> None: ...
    async def export_to(self, path: Path) -> None: ...
    async def close(self) -> None: ...


class WebPerson:
    """Somebody with the browser's client.

    Args:
        made: the program.
        folder: holds the profile.
        relay: where to.
    """

    def __init__(self, made: Path, folder: Path, relay: HasUrl) -> None:
        self._made = made
        self.path = folder / "profile"
        self._relay = relay
        self.id = ""
        self.warnings: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.troubles: list[str] = []
        self._ids = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self, file: Path | None = None) -> None:
        """Start it; of an exported file, if one is named."""
        restored = [] if file is None else [str(file), FILE_PASSPHRASE]
        flags = ["--experimental-websocket", "--no-warnings"]
        self._process = await asyncio.create_subprocess_exec(
            "node",
            *flags,
            str(self._made),
            str(self.path),
            self._relay.url,
            *restored,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        self.id = (await self.do("status"))["userId"]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while (line := await process.stdout.readline()).endswith(b"\n"):  # the last one may be cut off
            said = json.loads(line)
            if "event" in said:
                self.events.append(said["event"])
                if said["event"]["kind"] == "warning":
                    self.warnings.append(said["event"]["code"])
            elif "trouble" in said:
                self.troubles.append(said["trouble"])
            elif (answer := self._answers.pop(said["id"], None)) is not None and not answer.done():
                if "error" in said:
                    answer.set_exception(RuntimeError(said["error"]))
                else:
                    answer.set_result(said["result"])
        assert process.stderr is not None
        errors = (await process.stderr.read()).decode()
        if errors:
            self.troubles.append(errors)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the program has ended"))
        self._answers.clear()

    async def do(self, what: str, **given: Any) -> Any:
        """Tell it to do something; ConnectionError if it dies meanwhile."""
        if self.is_dead:
            raise ConnectionError("the program has ended")
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "do": what, **given}).encode() + b"\n")
        try:
            return await asyncio.wait_for(answer, PATIENCE)
        except TimeoutError as late:
            late.add_note(f"the browser's client has not answered {what!r}; {self.troubles}")
            raise

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended."""
        return (
            self._reader is None
            or self._reader.done()
            or (self._process is not None and bool(self._process.returncode))
        )

    async def died(self) -> None:
        """Wait until it has died, as it was told to."""
        assert self._process is not None
        assert self._reader is not None
        await asyncio.wait_for(self._process.wait(), PATIENCE)
        await self._reader

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self.died()

    async def close(self) -> None:
        await self.kill()
        assert self.troubles == []

    async def add(self, name: str, peer: str) -> None:
        await self.do("add", name=name, peer=peer)

    async def accept(self, peer: str) -> None:
        await self.do("accept", peer=peer)

    async def allow_older(self, peer: str) -> None:
        await self.do("allowOlder", peer=peer)

    async def send(self, peer: str, text: str, *, burn: bool = False, expires_in: float | None = None) -> str:
        lifetime = None if expires_in is None else round(expires_in * 1000)
        sent: str = await self.do("send", peer=peer, text=text, burn=burn, expiresIn=lifetime)
        return sent

    async def read_all(self, peer: str) -> list[str]:
        found: list[str] = await self.do("readAll", peer=peer)
        return found

    async def history(self, peer: str) -> list[Line]:
        found = await self.do("history", peer=peer)
        return [Line(one["id"], one["isMine"], one["text"]) for one in found if "isUnreadable" not in one]

    async def state(self, peer: str, message_id: str) -> str:
        found = await self.do("history", peer=peer)
        return next(str(one["state"]) for one in found if one["id"] == message_id)

    async def requests(self) -> list[str]:
        return [peer for peer, _ in await self.do("requests")]

    async def offline(self) -> None:
        await self.do("offline")

    async def online(self) -> None:
        await self.do("online")

    async def is_online(self) -> bool:
        return bool((await self.do("status"))["isOnline"])

    async def is_done(self) -> bool:
        found = await self.do("status")
        return bool(found["isOnline"] and found["isPublished"] and not found["waiting"] + found["pendingReceipts"])

    async def lose_sessions(self, peer: str) -> None:
        await self.do("loseSessions", peer=peer)

    async def export_to(self, path: Path) -> None:
        await self.do("export", to=str(path))


class SdkPerson:
    """Somebody with the SDK; it goes online when it is opened.

    Args:
        home: holds the profile.
        relay: where to.
    """

    def __init__(self, home: Path, relay: HasUrl) -> None:
        self._home = home
        self._relay = relay
        self.id = ""
        self.warnings: list[str] = []
        self._client: Client | None = None
        self._hears: asyncio.Task[None] | None = None
        self._is_online = False

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    async def start(self, file: Path | None = None) -> None:
        """Open it; of an exported file, if one is named."""
        if file is not None:
            Client.import_from(file, FILE_PASSPHRASE, home=self._home, passphrase=PASSPHRASE)
        self._client = Client.open(server=self._relay.url, home=self._home, passphrase=PASSPHRASE)
        self.id = self.client.user_id
        self._hears = asyncio.create_task(self._hear(self.client))
        await self.online()

    async def _hear(self, client: Client) -> None:
        with contextlib.suppress(Exception):  # it ends with the client
            async for event in client.events():
                if isinstance(event, WarningEvent):
                    self.warnings.append(event.code)

    async def add(self, name: str, peer: str) -> None:
        self.client.contacts.add(name, peer)

    async def accept(self, peer: str) -> None:
        self.client.accept(peer)

    async def allow_older(self, peer: str) -> None:
        self.client.contacts.allow_older(peer)

    async def send(self, peer: str, text: str, *, burn: bool = False, expires_in: float | None = None) -> str:
        return (await self.client.send(peer, text, burn_after_read=burn, expires_in=expires_in)).message_id

    async def read_all(self, peer: str) -> list[str]:
        found = []
        while (one := self.client._messenger.next_received(0, peer)) is not None:
            found.append(one[1].text or "")
            self.client._messenger.mark_read(peer, one[1].message_id)
            self.client._changed()
        return found

    async def history(self, peer: str) -> list[Line]:
        return [Line(one.message_id, one.is_own, one.text) for one in self.client.history(peer)]

    async def state(self, peer: str, message_id: str) -> str:
        assert peer
        return str(self.client._messenger.state_of(message_id))

    async def requests(self) -> list[str]:
        return [one.contact.user_id for one in self.client.requests()]

    async def offline(self) -> None:
        if self._is_online:
            self._is_online = False
            await self.client._loop.stop()
            self.client._messenger.disconnected(None, "the network is off")
            self.client._changed()

    async def online(self) -> None:
        if not self._is_online:
            self._is_online = True
            self.client._loop.start()

    async def is_online(self) -> bool:
        return self.client._messenger.is_online

    async def is_done(self) -> bool:
        it = self.client._messenger
        return it.is_online and it.prekeys_confirmed and not it.waiting + it.pending_receipts

    async def lose_sessions(self, peer: str) -> None:
        with self.client._vault.transaction() as tx:
            self.client._messenger._stores.conversations.forget(tx, peer)

    async def export_to(self, path: Path) -> None:
        self.client.export_to(path, FILE_PASSPHRASE)

    async def close(self) -> None:
        if self._client is not None:
            if self._is_online:
                self._is_online = False
                await self.client._loop.stop()
            self._client.close()
            self._client = None
        if self._hears is not None:
            self._hears.cancel()


@contextlib.contextmanager
def older() -> Iterator[None]:
    """The SDK says nothing of suite 2 meanwhile, as version 0.1.0: it is handed no dates, and publishes none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "FEATURES", ["ack"])
        yield


async def settled(*people: Person) -> None:
    """Wait until everybody has said what there is to say."""

    async def is_so() -> bool:
        return all([await one.is_done() for one in people])

    await until(is_so, lambda: "something still waits")


async def meet(one: Person, other: Person) -> None:
    """Both have each other as contacts."""
    await one.add("other", other.id)
    await other.add("other", one.id)


async def agree(
    one: Person, other: Person, *, texts: int | None = None, ordered: bool = True, patience: float = PATIENCE
) -> None:
    """Wait until both have the same history: each text once, and, if ``ordered``, in the order of its writer."""
    order: Callable[[list[Any]], list[Any]] = list if ordered else sorted
    seen: list[list[Line]] = [[], []]

    async def is_same() -> bool:
        seen[:] = [await one.history(other.id), await other.history(one.id)]
        mine, theirs = seen
        return all(order(_of(mine, mine=who)) == order(_of(theirs, mine=not who)) for who in (True, False))

    await until(is_same, lambda: f"{seen[0]}\n\n{seen[1]}", patience)
    assert texts in {None, len(seen[0])}
    for lines in seen:
        assert len({line.id for line in lines}) == len(lines), "a text is there twice"


def _of(lines: list[Line], *, mine: bool) -> list[tuple[str, str | None]]:
    return [(line.id, line.text) for line in lines if line.is_mine is mine]
