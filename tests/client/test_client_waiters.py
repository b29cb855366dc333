"""Whoever waits on a client hears when nothing will come any more."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from phantom_messenger import Client
from phantom_messenger.client.errors import ClientClosed

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
            await asyncio.wait_for(waiter, 5)

    asyncio.run(main())


def test_closed_client_refuses_to_send(tmp_path: Path) -> None:
    async def main() -> None:
        async with Client.open("me", server=NOWHERE, home=tmp_path, passphrase="x") as client:
            pass
        with pytest.raises(ClientClosed):
            await client.send(SOMEBODY, "hello")

    asyncio.run(main())
