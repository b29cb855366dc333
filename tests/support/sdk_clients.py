"""People who use the SDK as it is meant: ``Client`` objects at a real relay."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

from phantom_messenger import Client, Conversation, Message
from phantom_messenger.client.conversation_front import PersonConversation
from phantom_messenger.client.status import Event
from support.relay_process import RelayProcess

PATIENCE = 60.0
"""Seconds until a client is given up."""

WHOLE = 200.0
"""Seconds for all that a test does, on however busy a machine."""

PASSPHRASE = "correct horse"
NOBODY = "vmnP7t0JDBPvNpyhTkNuN8VYGxsJnJ8aMTjXo5GlhKg="
"""An id that no relay knows."""

T = TypeVar("T")
E = TypeVar("E", bound=Event)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine, but not for ever."""
    return asyncio.run(asyncio.wait_for(main, WHOLE))


def opened(home: Path, name: str, relay: RelayProcess | str | None = None, **options: Any) -> Client:
    """A client of this profile; not connected yet."""
    url = relay.url if isinstance(relay, RelayProcess) else relay
    return Client.open(name, server=url, home=home, passphrase=PASSPHRASE, **options)


@contextlib.asynccontextmanager
async def friends(
    home: Path, relay: RelayProcess | str, bobs: RelayProcess | str | None = None
) -> AsyncIterator[tuple[Client, Client]]:
    """Alice and Bob, online, who have each other as contacts; Bob at a relay of his own, if there is one."""
    async with opened(home, "alice", relay) as alice, opened(home, "bob", bobs or relay) as bob:
        await alice.wait_published(PATIENCE)
        await bob.wait_published(PATIENCE)
        alice.contacts.add("bob", bob.user_id)
        bob.contacts.add("alice", alice.user_id)
        await alice.wait_key("bob", PATIENCE)
        await bob.wait_key("alice", PATIENCE)
        yield alice, bob


def conversation_of(user_id: str) -> Conversation:
    """That with somebody, of no client: to be looked at alone."""
    return PersonConversation(cast("Client", None), user_id, lambda _: None)


async def reached(is_so: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(patience):
        while not is_so():  # noqa: ASYNC110 - other processes make it so
            await asyncio.sleep(0.05)


async def first(client: Client, **options: Any) -> Message:
    """The next received text, which is not handled by being looked at."""
    async with contextlib.aclosing(cast("AsyncGenerator[Message, None]", client.messages(**options))) as messages:
        return await anext(messages)


async def event(client: Client, kind: type[E], tell: Callable[[], object], **wanted: object) -> E:
    """Do something, then wait for the first event of a type whose fields are as wanted."""
    async with contextlib.aclosing(cast("AsyncGenerator[Event, None]", client.events())) as events:
        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        tell()
        while True:
            found = await coming
            if isinstance(found, kind) and all(getattr(found, name) == value for name, value in wanted.items()):
                return found
            coming = asyncio.ensure_future(anext(events))
