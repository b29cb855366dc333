"""``phantom listen``: print what comes."""

import asyncio
import json
import sys
from typing import Any

import click

from phantom_messenger.cli.common import one_line, open_client, printable, profile_option, reports_errors, run
from phantom_messenger.cli.times import moment
from phantom_messenger.client.client import Client, Message
from phantom_messenger.client.ids import short_id
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    DeliveryEvent,
    Event,
    MessageEvent,
    PresenceEvent,
    RequestEvent,
    WarningEvent,
)


@click.command()
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="stop after N texts")
@click.option("--events", "with_events", is_flag=True, help="with --json: also deliveries, presence and connection")
@click.option("--accept-strangers", is_flag=True, help="let everybody in who writes: for bots")
@reports_errors
def listen(profile: str, as_json: bool, count: int | None, with_events: bool, accept_strangers: bool) -> None:
    """Print texts as they come, and tell their senders that they were read; Ctrl-C stops.

    What strangers write waits: 'phantom requests' lists it.
    """
    client = open_client(profile, strangers="accept" if accept_strangers else "ask")
    run(_listen(client, as_json=as_json, count=count, with_events=with_events), interrupted="", code=0)


async def _listen(client: Client, *, as_json: bool, count: int | None, with_events: bool) -> None:
    async with client:
        waiting = len(client.requests())
        if waiting:
            click.echo(
                f"phantom: {waiting} message request(s) of strangers wait; 'phantom requests' lists them", err=True
            )
        watcher = asyncio.create_task(_watch(client, as_json=as_json, with_events=with_events))
        left = count
        try:
            async for message in client.messages():
                click.echo(json.dumps(message_row(message)) if as_json else message_line(message))
                sys.stdout.flush()
                await message.mark_read()
                if left is not None:
                    left -= 1
                    if not left:
                        break
        finally:
            watcher.cancel()
            await asyncio.wait({watcher})
        await client.flush_receipts()


async def _watch(client: Client, *, as_json: bool, with_events: bool) -> None:
    said = ""
    asked: set[str] = set()
    async for event in client.events():
        if as_json and with_events:
            click.echo(json.dumps(event_row(event)))
            sys.stdout.flush()
        elif isinstance(event, RequestEvent):
            if event.peer.user_id not in asked:
                asked.add(event.peer.user_id)  # one line for a stranger, however much they write
                click.echo(f"phantom: {request_line(event)}", err=True)
        elif isinstance(event, WarningEvent):
            click.echo(f"phantom: {one_line(event.message)}", err=True)
        elif isinstance(event, ConnectionEvent):
            # One line for an outage, however often it is tried again.
            if event.state is ConnectionState.ONLINE and said:
                click.echo("phantom: online again", err=True)
                said = ""
            elif event.reason and event.reason != said:
                said = event.reason
                click.echo(f"phantom: {event.state}: {one_line(said)}", err=True)


def request_line(event: RequestEvent) -> str:
    """That a stranger has written, for people."""
    who = short_id(event.peer.user_id).removesuffix("…")
    return f"a message request of {who}… waits: phantom requests show {who}"


def message_line(message: Message, *, burns: str = "burned") -> str:
    """A received text for people; ``burns``: what is said of one that burns."""
    mark = f" ({burns})" if message.burn_after_read else ""
    # Further lines are indented, so that none can pass for a line of somebody else.
    text = printable(message.text).replace("\n", "\n        ")
    return f"{moment(message.sent_at)} {one_line(message.contact.label)}{mark}: {text}"


def message_row(message: Message) -> dict[str, Any]:
    """A received text as documented JSON; times in milliseconds since 1970."""
    return {
        "type": "message",
        "id": message.id,
        "sender": message.sender,
        "name": message.contact.name,
        "text": message.text,
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
        case WarningEvent():
            user_id = None if event.peer is None else event.peer.user_id
            return {"type": "warning", "code": event.code, "userId": user_id, "message": event.message}
