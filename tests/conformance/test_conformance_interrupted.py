"""A run that is interrupted deletes its accounts, whatever was on its way at that moment."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from test_conformance_command import PATIENCE, accounts

from phantom_messenger.conformance.client import Client
from phantom_messenger.conformance.run import Run
from phantom_messenger.conformance.socket import Target
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Case
from support.relay_process import RelayProcess, StartRelay

TURNS = 100
"""Of the event loop: more than the kit needs to come from an interrupt to what it does next."""

Play = Callable[[Stage], Awaitable[None]]


async def interrupted(target: Target, play: Play, at: asyncio.Event, goes_on: Callable[[], object]) -> int:
    """Play a case, interrupt it at a moment, and say how many accounts are left, as the run says."""
    run = Run(target, lambda *_: None)
    case = Case(group="test", name="interrupted", section="", rule="", play=play)
    task = asyncio.create_task(run.play([case]))
    await asyncio.wait_for(at.wait(), PATIENCE)
    task.cancel()
    for _ in range(TURNS):
        await asyncio.sleep(0)
    goes_on()
    with pytest.raises(asyncio.CancelledError):
        await task
    return run.accounts_left


def leaving(relay: RelayProcess, at: asyncio.Event) -> Play:
    """A user says goodbye to a relay that is busy: the answer to that is not the answer to a deletion."""

    async def play(stage: Stage) -> None:
        alice = await stage.user()
        os.kill(relay.pid, signal.SIGSTOP)
        at.set()
        await alice.leave()

    return play


async def left_by_who_was_leaving(relay: RelayProcess) -> int:
    at = asyncio.Event()
    return await interrupted(
        Target(relay.url, PATIENCE), leaving(relay, at), at, lambda: os.kill(relay.pid, signal.SIGCONT)
    )


def test_account_of_who_was_leaving_is_deleted(start_relay: StartRelay) -> None:
    relay = start_relay()
    assert asyncio.run(left_by_who_was_leaving(relay)) == 0
    assert accounts(relay) == 0


def test_control_who_takes_any_close_for_a_deletion_leaves_the_account(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = start_relay()
    monkeypatch.setattr(
        Client, "is_in", property(lambda self: self.socket.has_logged_in and self.socket.closed is None)
    )
    assert asyncio.run(left_by_who_was_leaving(relay)) == 0
    assert accounts(relay) == 1


class LateLogins:
    """A proxy that holds up the login of its second client, as a network does."""

    def __init__(self, relay: RelayProcess) -> None:
        self.count = 0
        self.held = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.answered = asyncio.Event()
        self._relay = relay
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.count += 1
        is_late = self.count == 2  # the first one looks whether there is a relay
        there, to_there = await asyncio.open_connection(*self._relay.address)
        await asyncio.gather(
            self._to_relay(reader, to_there, is_late=is_late), self._to_client(there, writer, is_late=is_late)
        )

    async def _to_relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_late: bool) -> None:
        has_shaken_hands = False
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if is_late and has_shaken_hands and not self.held.is_set():
                    self.held.set()
                    await self.goes_on.wait()
                has_shaken_hands = True
                writer.write(data)
        if is_late:
            await self.answered.wait()  # a login whose client has hung up already would not be looked at
        writer.close()

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_late: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if is_late and b"AUTH_SUCCESS" in data:
                    self.answered.set()
                writer.write(data)
        writer.close()


async def left_by_who_was_logging_in(relay: RelayProcess, *, waits: bool) -> int:
    """The login comes while the kit waits for its answer or, if it does not, when it has ended."""

    async def play(stage: Stage) -> None:
        await stage.user()

    proxy = LateLogins(relay)
    async with proxy.listening() as url:
        target = Target(url, PATIENCE)
        target.audience = Target(relay.url, PATIENCE).audience  # the relay knows itself by its own name alone
        left = await interrupted(target, play, proxy.held, proxy.goes_on.set if waits else lambda: None)
        proxy.goes_on.set()
        await asyncio.wait_for(proxy.answered.wait(), PATIENCE)
    assert proxy.count == (2 if waits else 3)
    return left


def test_account_of_who_was_logging_in_is_deleted(start_relay: StartRelay) -> None:
    relay = start_relay()
    assert asyncio.run(left_by_who_was_logging_in(relay, waits=True)) == 0
    assert accounts(relay) == 0


def test_control_who_does_not_wait_for_the_answer_to_a_login_leaves_the_account(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = start_relay()

    async def settle(self: Client) -> None:
        """Does not wait."""

    monkeypatch.setattr(Client, "settle", settle)
    assert asyncio.run(left_by_who_was_logging_in(relay, waits=False)) == 0
    assert accounts(relay) == 1
