"""``phantom init``: create an identity and register it."""

import asyncio

import click

from phantom_messenger.cli.common import (
    DEFAULT_SERVER,
    one_line,
    open_client,
    profile_flag,
    profile_option,
    reports_errors,
    run,
)
from phantom_messenger.cli.times import Duration
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import RelayUnreachable
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.status import ConnectionEvent

PATIENCE = 90.0
"""Seconds to wait for a relay that has asked to retry later; one that cannot be reached is tried once."""


@click.command(short_help="Create an identity and register it with a relay.")
@profile_option
@click.option("--server", metavar="URL", help=f"the relay, ws:// or wss://  [default: {DEFAULT_SERVER}]")
@click.option("--timeout", type=Duration(), default=PATIENCE, metavar="TIME", help="how long to wait  [default: 90s]")
@reports_errors
def init(profile: str, server: str | None, timeout: float) -> None:
    """Create an identity, remember its relay and register there. Run it again to change the relay.

    If the relay asks to retry later, init waits. Exit code 1: the identity exists, but is not registered yet.
    """
    client = open_client(profile, server=server, create=True)
    if not client.server:
        client.set_server(DEFAULT_SERVER)
    run(
        _register(client, profile, timeout),
        interrupted="interrupted; the profile was created and will be registered the next time you connect",
    )


async def _register(client: Client, profile: str, timeout: float) -> None:
    click.echo(f"profile  {profile}")
    click.echo(f"your id  {written_id(client.user_id)}")
    async with client:
        waits = asyncio.create_task(_report_waits(client))
        try:
            await asyncio.sleep(0)  # so that it sees every event
            await client.wait_published(timeout, attempts=1)
        except RelayUnreachable:
            click.echo(f"relay    {client.server} (not registered; that is done the next time you connect)")
            click.echo(f"         for another address: phantom init{profile_flag(profile)} --server URL")
            raise
        finally:
            waits.cancel()
            await asyncio.wait({waits})
    click.echo(f"relay    {client.server} (registered)")


async def _report_waits(client: Client) -> None:
    async for event in client.events():
        if isinstance(event, ConnectionEvent) and event.busy:
            click.echo(f"phantom: {one_line(event.reason)}", err=True)
