"""``phantom devices``: your other devices."""

import asyncio
import contextlib
import json
import platform
import time
from collections.abc import AsyncGenerator, Callable
from typing import cast

import click

from phantom_messenger.cli.common import (
    column,
    confirmed,
    one_line,
    open_client,
    print_qr,
    profile_flag,
    profile_option,
    reports_errors,
    run,
)
from phantom_messenger.cli.groups import Group
from phantom_messenger.cli.times import moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.devices.front import label
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.status import Event, LinkingEvent, LinkingStep

ONLINE_SECONDS = 20.0
LINK_SECONDS = 300.0
QUIET_SECONDS = 150.0
SHOW_SECONDS = 3.0


@click.group(cls=Group, invoke_without_command=True, short_help="Use several devices: list, link and remove them.")
@profile_option
@click.pass_context
def devices(context: click.Context, profile: str) -> None:
    """Use several devices: list, link and remove them.

    All of them send and receive as you. The first one, on which you began, links and removes the others.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_devices, profile=profile, as_json=False)
    else:
        context.default_map = {context.invoked_subcommand: {"profile": profile}}


@devices.command("list", short_help="List your devices.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object per line")
@reports_errors
def list_devices(profile: str, as_json: bool) -> None:
    """List your devices."""
    client = open_client(profile)
    try:
        found, is_restored = client.devices.everybody(), client.devices.is_restored
    finally:
        client.close()
    for one in found:
        if as_json:
            row = {"type": "device", "userId": one.user_id, "name": one.name, "added": one.added}
            click.echo(json.dumps({**row, "isFirst": one.is_first, "isThis": one.is_this}))
            continue
        marks = [word for word, is_so in (("first", one.is_first), ("this one", one.is_this)) if is_so]
        name = column(one_line(label(one)), 20)
        click.echo(f"{name} since {moment(one.added)}{'  ' * bool(marks)}{', '.join(marks)}")
    if is_restored and not as_json:
        renew_it = f"phantom devices renew{profile_flag(profile)}"
        click.echo(f"restored from a backup: remove what is not yours any more, then run: {renew_it}", err=True)
    if not found and not as_json:
        click.echo(
            f"this is your only device; to use another one, run there: phantom devices link{profile_flag(profile)}",
            err=True,
        )


@devices.command(short_help="Link a new device.")
@click.argument("code", required=False)
@profile_option
@click.option("--name", default=platform.node, help="what the new device is called; its host name if not given")
@click.option("--no-qr", is_flag=True, help="show the code as a line only")
@click.option("--no-history", is_flag=True, help="with CODE: do not hand over what was said before")
@reports_errors
def link(code: str | None, profile: str, name: str, no_qr: bool, no_history: bool) -> None:
    """Link a new device: run it there without CODE, and on your first device with the CODE that the new one shows.

    The new device gets your contacts and settings, what was said before, but for what burns or expires, and everything
    that is sent and received from then on.
    """
    client = open_client(profile)
    if code is None:
        run(_show(client, name[:64] or "device", has_qr=not no_qr))
        return
    sees = "all your contacts" if no_history else "all your contacts, and what was said so far"
    click.echo(f"The new device will send and receive as you, and see {sees}.", err=True)
    click.echo("Only go on if you are holding it, and its code was shown by 'phantom devices link' just now.", err=True)
    if not confirmed("Link it?", err=True):
        raise click.Abort
    run(_link(client, code, history=not no_history))


async def _show(client: Client, name: str, *, has_qr: bool) -> None:
    """On the new device."""
    async with client:
        await client.wait_published(ONLINE_SECONDS)
        async with contextlib.aclosing(cast("AsyncGenerator[Event, None]", client.events())) as events:
            shown = client.devices.show_code(name)
            if has_qr:
                print_qr(shown, error="l")
            click.echo(shown)
            click.echo("On your first device, run: phantom devices link 'CODE'", err=True)
            asked = await _next(events)
            click.echo(f"Digits to type on your first device: {asked.digits[:3]} {asked.digits[3:]}")
            who = written_id(asked.person)
            question = f"This device will belong to {who}; is that your ID, as 'phantom id' shows it there?"
            if not await asyncio.to_thread(confirmed, question, err=True):
                client.devices.cancel()
                raise click.Abort
            client.devices.agree()
            await _next(events)
            click.echo("linked; to read and write, run: phantom listen, phantom send")
            await _hand_over(events, lambda: client.devices.is_history_coming)
        await client.flush(ONLINE_SECONDS)


async def _link(client: Client, code: str, *, history: bool) -> None:
    """On the first device."""
    async with client:
        await client.wait_online(ONLINE_SECONDS)
        async with contextlib.aclosing(cast("AsyncGenerator[Event, None]", client.events())) as events:
            client.devices.link(code, history=history)
            answered = await _next(events)
            click.echo(f"'{one_line(answered.name)}' has answered.", err=True)
            is_right = False
            while not is_right:
                digits = await asyncio.to_thread(click.prompt, "The six digits that it shows", err=True)
                is_right = client.devices.confirm(digits)
                if not is_right:
                    click.echo("phantom: these are not the digits; look again", err=True)
            if client.devices.is_linking:
                click.echo("waiting for the new device: answer the question that it asks", err=True)
                await _next(events)
            click.echo(f"linked '{one_line(answered.name)}'")
            await _hand_over(events, lambda: client.devices.is_history_going)
        await client.flush(ONLINE_SECONDS)


async def _next(events: "AsyncGenerator[Event, None]") -> LinkingEvent:
    """The next step of linking.

    Raises:
        UsageError: there will be none.
    """
    async with asyncio.timeout(LINK_SECONDS):
        async for event in events:
            if isinstance(event, LinkingEvent) and event.step not in {LinkingStep.HISTORY, LinkingStep.COMPLETE}:
                if event.step is LinkingStep.ENDED:
                    raise UsageError(event.reason)
                return event
    raise UsageError("the new device was not linked in time; begin again")


async def _hand_over(events: "AsyncGenerator[Event, None]", goes_on: Callable[[], bool]) -> None:
    """Wait until what was said before is on the new device, and show how far it is."""
    shown = time.monotonic()
    while goes_on():
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                event = await anext(events)
        except (TimeoutError, StopAsyncIteration):
            click.echo("phantom: the other device is silent; it goes on when both are connected again", err=True)
            return
        if not isinstance(event, LinkingEvent):
            continue
        if event.step is LinkingStep.COMPLETE:
            click.echo(f"{event.texts:,} messages from before", err=True)
        elif event.step is LinkingStep.HISTORY and time.monotonic() - shown >= SHOW_SECONDS:
            shown = time.monotonic()
            click.echo(f"{event.texts:,} messages from before, about {event.left:,} to go", err=True)


@devices.command(short_help="Remove one of your devices.")
@click.argument("device")
@profile_option
@click.option("--yes", is_flag=True, help="do not ask for confirmation")
@reports_errors
def remove(device: str, profile: str, yes: bool) -> None:
    """Remove DEVICE, its name or ID, from your first device: it gets nothing any more, and erases its profile."""
    client = open_client(profile)
    if not yes and not confirmed(f"Remove '{one_line(device)}'? It erases its profile, with all messages there."):
        raise click.Abort
    run(_remove(client, device))


async def _remove(client: Client, device: str) -> None:
    removed = client.devices.remove(device)
    click.echo(f"removed '{one_line(label(removed))}'")
    async with client:
        await _told(client)


@devices.command(short_help="Confirm your devices after a restore.")
@profile_option
@reports_errors
def renew(profile: str) -> None:
    """Confirm that the devices listed are yours, after your first one was restored from a backup."""
    client = open_client(profile)
    client.devices.renew()
    run(_renewed(client))


async def _renewed(client: Client) -> None:
    click.echo("confirmed")
    async with client:
        await _told(client)


async def _told(client: Client) -> None:
    """Let everybody know, or say that it is still to come."""
    if await client.flush(ONLINE_SECONDS):
        click.echo("phantom: not everybody was told yet; that goes on the next time you connect", err=True)
