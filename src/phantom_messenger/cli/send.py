"""``phantom send``: one text."""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any, Final

import click

from phantom_messenger.cli.common import one_line, open_client, profile_option, reports_errors, run
from phantom_messenger.cli.times import Duration
from phantom_messenger.client.client import Client, Delivery
from phantom_messenger.client.content import MAX_TEXT_BYTES
from phantom_messenger.client.errors import RelayUnreachable, UsageError
from phantom_messenger.client.plain import is_blank, plain_lines
from phantom_messenger.client.status import ConnectionEvent, ConnectionState, DeliveryState, WarningEvent

HOPELESS = {"unknown-user", "backlog", "refused", "key-exchange", "key-changed"}
"""Warnings about the recipient that a short wait does not clear."""

OF_THE_WAY = {"paused", "clock"}
"""Warnings about nobody in particular that explain why a message waits or may be rejected."""

WAITS = {"accepted": DeliveryState.ACCEPTED, "delivered": DeliveryState.DELIVERED, "read": DeliveryState.READ}


TIMEOUT: Final = 20.0
LONGEST: Final = 90.0
"""How long to wait if nothing is said, and if a relay that was reached asks for more."""

SPARE: Final = 10.0
"""Beyond the time that a relay names: for the login and the text."""


@dataclass
class Patience:
    """Until when to wait, in the loop's time; longer if the relay says so and the user has not said how long."""

    until: float
    may_grow: bool

    def wait_for(self, seconds: float) -> None:
        """The relay lets nobody in before so many seconds."""
        if self.may_grow:
            now = asyncio.get_running_loop().time()
            self.until = max(self.until, now + min(seconds, LONGEST) + SPARE)


@click.command()
@click.argument("who")
@click.argument("text")
@profile_option
@click.option("--burn", is_flag=True, help="the recipient's copy goes once it was read")
@click.option("--expires", type=Duration(), metavar="TIME", help="delete it everywhere after 30s, 10m, 1h, 7d")
@click.option(
    "--wait", type=click.Choice(list(WAITS)), default="accepted", show_default=True, help="until when to wait"
)
@click.option(
    "--timeout",
    type=Duration(),
    metavar="TIME",
    help="how long to wait  [default: 20s, and as long as the relay asks for, at most 90s]",
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
    """Send TEXT to WHO, a contact's name or an id; '-' reads the text from standard input."""
    if text == "-":
        try:
            stdin = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_TEXT_BYTES + 2)
            if len(stdin) > MAX_TEXT_BYTES + 1:
                raise UsageError(f"the text has more than {MAX_TEXT_BYTES:,} bytes; send it in parts")
            text = plain_lines(stdin.decode()).removesuffix("\n")
        except UnicodeDecodeError:
            raise UsageError("standard input is not UTF-8 text; phantom sends text only") from None
    if is_blank(text):
        raise UsageError("the text is empty, or nothing in it can be seen; give a text")
    client = open_client(profile)
    sending = _send(client, who, text, burn=burn, expires=expires, wait=WAITS[wait], timeout=timeout, as_json=as_json)
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
) -> None:
    loop = asyncio.get_running_loop()
    patience = Patience(loop.time() + (timeout or TIMEOUT), may_grow=timeout is None)
    async with client:
        peer = client.contacts.find(who).user_id
        obstacle = asyncio.create_task(_obstacle(client, peer, patience))
        tasks: set[asyncio.Task[Any]] = {obstacle}
        delivery = None
        try:
            await asyncio.sleep(0)  # so that it hears everything
            delivery = await client.send(who, text, burn_after_read=burn, expires_in=expires)
            arrival = asyncio.create_task(delivery.wait(wait))
            tasks.add(arrival)
            while (left := patience.until - loop.time()) > 0:
                done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
            if as_json:
                state, to = str(delivery.state), delivery.peer.user_id
                click.echo(json.dumps({"type": "sent", "id": delivery.message_id, "state": state, "to": to}))
            if not arrival.done():
                why = obstacle.result() if obstacle.done() else ""
                raise RelayUnreachable(_why_not(client, delivery, wait, why))
            arrival.result()
            if not as_json:
                click.echo(f"{delivery.state}: {delivery.message_id}")
        except asyncio.CancelledError:
            click.echo(f"phantom: interrupted; {_how_far(delivery)}", err=True)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _obstacle(client: Client, peer: str, patience: Patience) -> str:
    """What will not go away by waiting a little, as a sentence; an outage is only mentioned."""
    mentioned = False
    async for event in client.events():
        if isinstance(event, WarningEvent) and event.peer is not None and event.peer.user_id == peer:
            if event.code in HOPELESS:
                return event.message
            click.echo(f"phantom: {one_line(event.message)}", err=True)
        if isinstance(event, WarningEvent) and event.peer is None and event.code in OF_THE_WAY:
            click.echo(f"phantom: {one_line(event.message)}", err=True)
        if isinstance(event, ConnectionEvent) and event.state is ConnectionState.OFFLINE:
            if event.busy:
                patience.wait_for(event.retry_after or 0.0)
            if not mentioned:
                left = max(0.0, patience.until - asyncio.get_running_loop().time())
                click.echo(f"phantom: no connection yet, trying for {left:.0f} s: {one_line(event.reason)}", err=True)
            mentioned = True
    return ""


def _how_far(delivery: Delivery | None) -> str:
    if delivery is None:
        return "nothing was sent"
    if delivery.state is DeliveryState.QUEUED:
        return "the text is saved and leaves at the next contact ('phantom listen')"
    return f"the text was {delivery.state}"


def _why_not(client: Client, delivery: Delivery, wait: DeliveryState, why: str) -> str:
    name = one_line(delivery.peer.label)
    if delivery.state is DeliveryState.QUEUED:
        why = why or f"the relay at {client.server} has not accepted it"
        return f"{why}; the text is saved and leaves at the next contact ('phantom listen')"
    return (
        f"the text was {delivery.state}, but not {wait} in time; "
        f"{name} may be away, or has not added or answered you yet"
    )
