"""Whoever waits on a client hears when nothing will come any more."""

import asyncio
import contextlib
import gc
import logging
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from phantom_messenger import Client, Delivery
from phantom_messenger.client import connect, connection_loop, records
from phantom_messenger.client.errors import ClientClosed, RelayUnreachable
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.records import ReceivedRecord
from phantom_messenger.client.status import ConnectionState, DeliveryState
from support.relay_process import RelayProcess
from support.sdk_clients import NOBODY, PATIENCE, first, friends, opened, reached, run

NOWHERE = "ws://127.0.0.1:9/ws"
SOMEBODY = "A" * 43 + "="


async def first_message(client: Client) -> None:
    async for _ in client.messages():
        return


async def first_end_of_events(client: Client) -> None:
    async for _ in client.events():
        pass


async def delivery(client: Client) -> None:
    await (await client.send(SOMEBODY, "hello")).wait()


async def flush(client: Client) -> None:
    await client.send(SOMEBODY, "hello")
    await client.flush()


WAITERS: list[Callable[[Client], Coroutine[Any, Any, None]]] = [first_message, first_end_of_events, delivery, flush]


@pytest.mark.parametrize("wait", WAITERS)
def test_waiter_is_told_that_the_client_was_closed(
    tmp_path: Path, wait: Callable[[Client], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        async with Client.open("me", server=NOWHERE, home=tmp_path, passphrase="x") as client:
            waiter = asyncio.create_task(wait(client))
            await asyncio.sleep(0.2)
            assert not waiter.done()
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(waiter, PATIENCE)

    asyncio.run(main())


def test_closed_client_refuses_to_send(tmp_path: Path) -> None:
    async def main() -> None:
        async with Client.open("me", server=NOWHERE, home=tmp_path, passphrase="x") as client:
            pass
        with pytest.raises(ClientClosed):
            await client.send(SOMEBODY, "hello")

    asyncio.run(main())


# --- what holds a waiter, and what is told ------------------------------------------


async def waits_on_a_delivery(home: Path) -> bool:
    """Whether a task that waits on a delivery, and that nobody else holds, lives on."""
    async with opened(home, "alice", NOWHERE) as alice:

        async def write() -> None:
            with contextlib.suppress(ClientClosed):
                await (await alice.send(NOBODY, "hello")).wait()

        task = weakref.ref(asyncio.get_running_loop().create_task(write()))
        while not alice.history(NOBODY):  # noqa: ASYNC110 - it is stored where it is written
            await asyncio.sleep(0.01)
        for _ in range(20):
            await asyncio.sleep(0)  # a few turns, and it waits
        gc.collect()
        is_kept = task() is not None
        assert len(alice._hub._awaited) == is_kept
    await asyncio.sleep(0)
    assert alice._hub._awaited == set()
    return is_kept


def test_task_that_waits_on_a_delivery_is_kept(tmp_path: Path) -> None:
    assert run(waits_on_a_delivery(tmp_path))


def test_task_that_waits_on_a_delivery_that_nobody_holds_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""

    async def next_change(self: Delivery) -> None:
        self._changed.clear()
        await self._changed.wait()

    monkeypatch.setattr(Delivery, "_next_change", next_change)
    assert not run(waits_on_a_delivery(tmp_path))


def test_entering_a_closed_client_raises(tmp_path: Path) -> None:
    client = opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")
    client.close()

    async def main() -> None:
        async with client:
            raise AssertionError("it is closed")

    with pytest.raises(ClientClosed):
        run(main())


def test_state_of_the_connection_is_logged_and_nothing_of_people(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with opened(tmp_path, "alice", "ws://127.0.0.1:9/ws") as alice:
            alice.contacts.add("a-name-of-somebody", NOBODY)
            await alice.send(NOBODY, "a text of somebody")
            with contextlib.suppress(RelayUnreachable):
                await alice.wait_online(PATIENCE, attempts=1)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(first(alice), 0.1)

    with caplog.at_level(logging.INFO, "phantom_messenger"):
        run(main())
    assert "connecting" in caplog.text
    assert "offline: the connection was refused" in caplog.text
    assert "messages() waits, and there is no connection" in caplog.text
    for private in ("a-name-of-somebody", "a text of somebody", NOBODY):
        assert private not in caplog.text


def test_client_goes_to_the_relay_that_was_chosen(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with opened(tmp_path, "alice", "ws://127.0.0.1:9/ws") as alice:
            with contextlib.suppress(RelayUnreachable):
                await alice.wait_online(PATIENCE, attempts=1)
            alice.set_server(relay.url)
            await alice.wait_online(PATIENCE)
            alice.set_server("ws://127.0.0.1:9/ws")
            with pytest.raises(RelayUnreachable, match="cannot be reached because the connection was refused"):
                await alice.wait_online(PATIENCE, attempts=2)

    run(main())


def test_relay_that_is_chosen_while_another_one_is_dialled_is_the_one_to_go_to(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[str] = []
    is_dialling, goes_on, is_next = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def dial(url: str) -> ClientConnection:
        dialled.append(url)
        if len(dialled) > 1:
            is_next.set()
        is_dialling.set()
        await goes_on.wait()
        return await connect.dial(url)

    monkeypatch.setattr(connection_loop, "dial", dial)

    async def main() -> None:
        async with opened(tmp_path, "alice", relay) as alice, asyncio.timeout(PATIENCE):
            await is_dialling.wait()
            alice.set_server(NOWHERE)
            goes_on.set()
            await is_next.wait()
            assert alice.connection.state is not ConnectionState.ONLINE

    run(main())
    assert dialled[:2] == [relay.url, NOWHERE]


async def stays_offline(home: Path, relay: RelayProcess, patience: float = PATIENCE) -> list[str | None]:
    """What is on Bob's disk of a text that lived for an hour, when he has had no relay since."""
    async with friends(home, relay) as (alice, bob):
        await (await alice.send("bob", "for an hour", expires_in=3_600)).wait(DeliveryState.DELIVERED)
        bob.set_server("ws://127.0.0.1:9/ws")
        bob._messenger._clock._at_boot += 3_600_000  # the machine has slept for so long

        def texts() -> list[str | None]:
            return [record.text for _, record in bob._vault.all(records.RECEIVED, ReceivedRecord)]

        with contextlib.suppress(TimeoutError):
            await reached(lambda: texts() == [None], patience)
        assert bob.connection.state is not ConnectionState.ONLINE
        return texts()


def test_what_expires_goes_while_there_is_no_relay(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phantom_messenger.client.housekeeping.INTERVAL_MS", 100)
    assert run(stays_offline(tmp_path, relay)) == [None]


def test_client_whose_time_passes_only_with_a_relay_keeps_it(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    genuine = Messenger.tick

    def tick(self: Messenger) -> None:
        if self._link is not None:
            genuine(self)

    monkeypatch.setattr(Messenger, "tick", tick)
    monkeypatch.setattr("phantom_messenger.client.housekeeping.INTERVAL_MS", 100)
    assert run(stays_offline(tmp_path, relay, 2)) == ["for an hour"]
