"""``phantom listen``: print messages as they arrive."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import click

from phantom_messenger.cli.common import (
    count as counted,
)
from phantom_messenger.cli.common import (
    one_line,
    open_client,
    printable,
    profile_flag,
    profile_option,
    reports_errors,
    run,
    sentence,
)
from phantom_messenger.cli.group_lines import group_message_line, group_message_row, news_line
from phantom_messenger.cli.times import moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.delivery import Message
from phantom_messenger.client.group_front import GroupMessage
from phantom_messenger.client.ids import short_id
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    DeliveryEvent,
    Event,
    GroupEvent,
    GroupMessageEvent,
    LinkingEvent,
    MessageEvent,
    PresenceEvent,
    RequestEvent,
    WarningEvent,
    WrittenEvent,
)

FETCH_SECONDS: Final = 10.0

NEWER: Final = "[sent with a newer version of Phantom; update this program to read it]"
"""What is shown of a message that this version does not know."""


@click.command(short_help="Print messages as they arrive.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object per line")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="stop after N messages")
@click.option(
    "--events", "with_events", is_flag=True, help="with --json: also print deliveries, presence and the connection"
)
@click.option("--accept-strangers", is_flag=True, help="accept messages from everybody; for bots")
@reports_errors
def listen(profile: str, as_json: bool, count: int | None, with_events: bool, accept_strangers: bool) -> None:
    """Print messages as they arrive, and notify their senders that they were read. Ctrl-C stops.

    Messages from strangers wait until you accept them: see 'phantom requests'. Messages to muted groups stay unread.
    """
    client = open_client(profile, strangers="accept" if accept_strangers else "ask")
    flag = profile_flag(profile)
    run(_listen(client, flag, as_json=as_json, count=count, with_events=with_events), interrupted="", code=0)


async def _listen(client: Client, flag: str, *, as_json: bool, count: int | None, with_events: bool) -> None:
    async with client:
        waiting = len(client.requests())
        if waiting:
            requests = counted(waiting, "message request")
            strangers = "a stranger" if waiting == 1 else "strangers"
            click.echo(f"phantom: you have {requests} from {strangers}; see: phantom requests{flag}", err=True)
        if not as_json and sys.stderr.isatty():
            click.echo("phantom: messages are printed here as they arrive; Ctrl-C stops", err=True)
        news = _News()
        watcher = asyncio.create_task(_watch(client, flag, news, as_json=as_json, with_events=with_events))
        printer, readers = _Printer(count, as_json=as_json), set[asyncio.Task[None]]()
        try:
            await know_of_removal(client)
            news.release()
            readers = {
                asyncio.create_task(printer.persons(client.messages())),
                asyncio.create_task(printer.groups(client.groups.messages(muted=False))),
            }
            done, _ = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
            for reader in done:
                reader.result()
        finally:
            for task in (watcher, *readers):
                task.cancel()
            await asyncio.gather(watcher, *readers, return_exceptions=True)  # what has ended one, ends the other too
        await client.flush_receipts()


async def know_of_removal(client: Client) -> None:
    """On a further device, first fetch what waits: one that was removed is to show and to tell nothing any more.

    Raises:
        PhantomError: it was.
    """
    if any(one.is_this and not one.is_first for one in client.devices.everybody()):
        await client.fetch(FETCH_SECONDS)


class _News:
    """Lines that wait until it is known that this device is one of the user's."""

    def __init__(self) -> None:
        self._waiting: list[str] | None = []

    def say(self, line: str) -> None:
        """Print a line, now or then."""
        if self._waiting is None:
            click.echo(line, err=True)
        else:
            self._waiting.append(line)

    def release(self) -> None:
        """It is known."""
        for line in self._waiting or []:
            click.echo(line, err=True)
        self._waiting = None


class _Printer:
    """Prints what arrives, and marks it as read; returns after ``count`` messages, if that is not None."""

    def __init__(self, count: int | None, *, as_json: bool) -> None:
        self._left = count
        self._as_json = as_json

    async def persons(self, messages: AsyncIterator[Message]) -> None:
        async for message in messages:
            line = json.dumps(message_row(message)) if self._as_json else message_line(message)
            if await self._print(line, message.mark_read):
                return

    async def groups(self, messages: AsyncIterator[GroupMessage]) -> None:
        async for message in messages:
            line = (
                json.dumps(group_message_row(message))
                if self._as_json
                else group_message_line(message, names_group=True)
            )
            if await self._print(line, message.mark_read):
                return

    async def _print(self, line: str, mark_read: Callable[[], Awaitable[None]]) -> bool:
        """Whether that was the last one."""
        if self._left == 0:
            return True
        click.echo(line)
        sys.stdout.flush()
        self._left = None if self._left is None else self._left - 1
        await mark_read()
        return self._left == 0


async def _watch(client: Client, flag: str, groups: "_News", *, as_json: bool, with_events: bool) -> None:
    """Print what happens."""
    outage = ""
    strangers: set[str] = set()
    async for event in client.events():
        if as_json and with_events:
            click.echo(json.dumps(event_row(event)))
            sys.stdout.flush()
        elif isinstance(event, RequestEvent):
            if event.peer.user_id not in strangers:
                strangers.add(event.peer.user_id)  # one line for a stranger, however much they write
                click.echo(f"phantom: {request_line(event, flag)}", err=True)
        elif isinstance(event, WarningEvent) and event.code == "device-removed":
            pass  # it is what this command ends with
        elif isinstance(event, ConnectionEvent) and event.state in {ConnectionState.REPLACED, ConnectionState.REFUSED}:
            pass  # so are these
        elif isinstance(event, WarningEvent):
            click.echo(f"phantom: {sentence(event.message)}", err=True)
        elif isinstance(event, GroupEvent):
            groups.say(f"phantom: {news_line(client, event, flag)}")
        elif isinstance(event, ConnectionEvent):
            # One line for an outage, however often the client retries.
            if event.state is ConnectionState.ONLINE and outage:
                click.echo("phantom: online again", err=True)
                outage = ""
            elif event.reason and event.reason != outage:
                outage = event.reason
                click.echo(f"phantom: {event.state}: {one_line(outage)}", err=True)


def request_line(event: RequestEvent, flag: str) -> str:
    """A line about a stranger who has written; ``flag``: see ``profile_flag``."""
    who = short_id(event.peer.user_id).removesuffix("…")
    return f"message request from {who}…; to read it, run: phantom requests show{flag} {who}"


def marked(marks: list[str]) -> str:
    """What is to be known of a message, behind the name of whoever has written it."""
    return f" ({', '.join(marks)})" if marks else ""


def message_line(message: Message, *, burns: str = "burned") -> str:
    """A received message as a user sees it; ``burns``: how one that burns is marked."""
    marks = ["burns" if message.is_newer else burns] if message.burn_after_read else []
    mark = marked([*marks, *([] if message.expires_at is None else ["expires"])])
    # Further lines are indented, so that none can look like a line of somebody else.
    text = NEWER if message.is_newer else printable(message.text).replace("\n", "\n        ")
    return f"{moment(message.sent_at)} {one_line(message.contact.label)}{mark}: {text}"


def message_row(message: Message) -> dict[str, Any]:
    """A received message as documented JSON; times in milliseconds since 1970."""
    return {
        "type": "message",
        "id": message.id,
        "sender": message.sender,
        "name": message.contact.name,
        "text": message.text,
        "newer": message.is_newer,
        "sentAt": message.sent_at,
        "receivedAt": message.received_at,
        "burnAfterRead": message.burn_after_read,
        "expiresAt": message.expires_at,
    }


def event_row(event: Event) -> dict[str, Any]:
    """An event as documented JSON."""
    match event:
        case MessageEvent():
            return {"type": "arrived", "id": event.message_id, "sender": event.peer.user_id}
        case WrittenEvent():
            row = {"type": "written", "id": event.message_id}
            return {**row, **({"group": event.group} if event.group else {"to": event.peer.user_id})}
        case DeliveryEvent():
            peer = event.peer
            return {"type": "delivery", "id": event.message_id, "to": peer.user_id, "state": str(event.state)}
        case PresenceEvent():
            peer = event.peer
            return {
                "type": "presence",
                "userId": peer.user_id,
                "name": peer.name,
                "status": event.status,
                "lastSeen": event.last_seen,
            }
        case ConnectionEvent():
            return {"type": "connection", "state": str(event.state), "reason": event.reason}
        case RequestEvent():
            return {"type": "request", "sender": event.peer.user_id, "waiting": event.waiting}
        case GroupMessageEvent():
            return {"type": "group-arrived", "id": event.message_id, "group": event.group, "sender": event.peer.user_id}
        case GroupEvent():
            by = None if event.by is None else event.by.user_id
            row = {"type": "group", "group": event.group, "name": event.name, "news": str(event.news)}
            return {**row, "by": by, "message": event.message}
        case LinkingEvent():
            row = {"type": "link", "step": str(event.step), "reason": event.reason}
            return {**row, "texts": event.texts, "left": event.left}
        case WarningEvent():
            user_id = None if event.peer is None else event.peer.user_id
            return {"type": "warning", "code": event.code, "userId": user_id, "message": event.message}
