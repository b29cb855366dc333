"""``phantom send``: one message."""

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from typing import Any, Final

import click

from phantom_messenger.cli.common import (
    one_line,
    open_client,
    profile_flag,
    profile_option,
    reports_errors,
    run,
    sentence,
)
from phantom_messenger.cli.group_lines import news_of_groups
from phantom_messenger.cli.talk import GroupTalk, talk_with
from phantom_messenger.cli.times import Duration
from phantom_messenger.client.client import Client
from phantom_messenger.client.content import MAX_TEXT_BYTES
from phantom_messenger.client.delivery import Delivery
from phantom_messenger.client.errors import RelayError, RelayUnreachable, UsageError
from phantom_messenger.client.sanitize import is_blank, plain_lines
from phantom_messenger.client.status import ConnectionEvent, ConnectionState, DeliveryState, WarningEvent

HOPELESS = {"unknown-user", "backlog", "refused", "key-exchange", "key-changed"}
"""Warnings about the recipient that a short wait does not clear."""

OF_THE_WAY = {"paused", "clock"}
"""Warnings about nobody in particular that explain why a message waits or may be rejected."""

WAITS = {"accepted": DeliveryState.ACCEPTED, "delivered": DeliveryState.DELIVERED, "read": DeliveryState.READ}


TIMEOUT: Final = 20.0
LONGEST: Final = 90.0
"""Seconds to wait: by default, and at most if a relay that was reached asks to retry later."""

FETCH_SECONDS: Final = 8.0
"""For what others have changed in a group, at most, and no more than half of the time that there is."""

SPARE: Final = 10.0
"""Seconds beyond what the relay asks for: for the login and the message."""


@dataclass
class Deadline:
    """Until when to wait, in the loop's time; a relay may ask for more unless the user has set a timeout."""

    until: float
    may_grow: bool

    def extend(self, seconds: float) -> None:
        """The relay admits nobody for so many seconds."""
        if self.may_grow:
            now = asyncio.get_running_loop().time()
            self.until = max(self.until, now + min(seconds, LONGEST) + SPARE)


@click.command(short_help="Send one message.")
@click.argument("who")
@click.argument("text")
@profile_option
@click.option("--burn", is_flag=True, help="delete the recipient's copy after it has been read")
@click.option("--expires", type=Duration(), metavar="TIME", help="delete it everywhere after 30s, 10m, 1h, 7d")
@click.option(
    "--wait", type=click.Choice(list(WAITS)), default="accepted", show_default=True, help="how far it has to get"
)
@click.option(
    "--timeout",
    type=Duration(),
    metavar="TIME",
    help="how long to wait  [default: 20s, or as long as a busy relay asks for, at most 90s]",
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@reports_errors
def send(  # noqa: PLR0917 - click passes them by name
    who: str,
    text: str,
    profile: str,
    burn: bool,
    expires: float | None,
    wait: str,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Send TEXT to WHO, a contact's name, a user ID or a group. If TEXT is '-', it is read from standard input."""
    if text == "-":
        try:
            stdin = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_TEXT_BYTES + 2)
            if len(stdin) > MAX_TEXT_BYTES + 1:
                raise UsageError(f"the message is longer than {MAX_TEXT_BYTES:,} bytes; split it")
            text = plain_lines(stdin.decode()).removesuffix("\n")
        except UnicodeDecodeError:
            raise UsageError("standard input is not UTF-8 text; phantom sends only text") from None
    if is_blank(text):
        raise UsageError("the message is empty, or has no visible characters")
    client = open_client(profile)
    listen = f"phantom listen{profile_flag(profile)}"
    later = f"the message is saved and will be sent the next time you connect, for example with: {listen}"
    sending = _send(
        client,
        who,
        text,
        burn=burn,
        expires=expires,
        wait=WAITS[wait],
        timeout=timeout,
        as_json=as_json,
        later=later,
    )
    run(sending, interrupted="")


async def _send(
    client: Client,
    who: str,
    text: str,
    *,
    burn: bool,
    expires: float | None,
    wait: DeliveryState,
    timeout: float | None,
    as_json: bool,
    later: str,
) -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop.time() + (timeout or TIMEOUT), may_grow=timeout is None)
    async with news_of_groups(client), client:
        talk = talk_with(client, who)
        obstacle = asyncio.create_task(_obstacle(client, talk.contact.user_id, deadline))
        tasks: set[asyncio.Task[Any]] = {obstacle}
        delivery = None
        try:
            await asyncio.sleep(0)  # so that it sees every event
            if isinstance(talk, GroupTalk):
                await _fetch(client, min(FETCH_SECONDS, (deadline.until - loop.time()) / 2))
            delivery = await talk.send(text, burn=burn, expires_in=expires)
            arrival = asyncio.create_task(delivery.wait(wait))
            tasks.add(arrival)
            while (left := deadline.until - loop.time()) > 0:
                done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
            if as_json:
                state, to = str(delivery.state), delivery.peer.user_id
                click.echo(json.dumps({"type": "sent", "id": delivery.message_id, "state": state, "to": to}))
            if not arrival.done():
                why = obstacle.result() if obstacle.done() else ""
                raise RelayUnreachable(_why_not(client, delivery, wait, why, later))
            arrival.result()
            if not as_json:
                click.echo(f"{delivery.state}: {delivery.message_id}")
        except asyncio.CancelledError:
            click.echo(f"phantom: interrupted; {_how_far(delivery, later)}", err=True)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _fetch(client: Client, seconds: float) -> None:
    """Learn what others have changed in a group: it decides whether a text is shown to anybody.

    Without a relay, the text is saved as one to a person is.
    """
    with contextlib.suppress(RelayError):
        await client.fetch(seconds)


async def _obstacle(client: Client, peer: str, deadline: Deadline) -> str:
    """What a short wait will not clear, as a sentence; outages are only mentioned."""
    mentioned = False
    async for event in client.events():
        if isinstance(event, WarningEvent) and event.peer is not None and event.peer.user_id == peer:
            if event.code in HOPELESS:
                return event.message
            click.echo(f"phantom: {sentence(event.message)}", err=True)
        if isinstance(event, WarningEvent) and event.peer is None and event.code in OF_THE_WAY:
            click.echo(f"phantom: {sentence(event.message)}", err=True)
        if isinstance(event, ConnectionEvent) and event.state is ConnectionState.OFFLINE:
            if event.busy:
                deadline.extend(event.retry_after or 0.0)
            if not mentioned:
                left = max(0.0, deadline.until - asyncio.get_running_loop().time())
                click.echo(f"phantom: not connected, retrying for {left:.0f} s: {one_line(event.reason)}", err=True)
            mentioned = True
    return ""


def _how_far(delivery: Delivery | None, later: str) -> str:
    if delivery is None:
        return "nothing was sent"
    return later if delivery.state is DeliveryState.QUEUED else f"the message was {delivery.state}"


def _why_not(client: Client, delivery: Delivery, wait: DeliveryState, why: str, later: str) -> str:
    name = one_line(delivery.peer.label)
    if delivery.state is DeliveryState.QUEUED:
        return f"{why or f'the relay at {client.server} has not accepted it'}; {later}"
    return (
        f"the message was {delivery.state}, but not {wait} in time; "
        f"{name} may be offline, or has not added or answered you yet"
    )
