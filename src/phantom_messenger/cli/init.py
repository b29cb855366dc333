"""``phantom init``: make an identity and tell the relay."""

import asyncio

import click

from phantom_messenger.cli.common import DEFAULT_SERVER, one_line, open_client, profile_option, reports_errors, run
from phantom_messenger.cli.times import Duration
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import RelayUnreachable
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.status import ConnectionEvent

PATIENCE = 90.0
"""Seconds to wait for a relay that is there and has asked for patience; one that is not is tried once."""


@click.command()
@profile_option
@click.option("--server", metavar="URL", help=f"the relay, ws:// or wss://  [default: {DEFAULT_SERVER}]")
@click.option("--timeout", type=Duration(), default=PATIENCE, metavar="TIME", help="how long to wait  [default: 90s]")
@reports_errors
def init(profile: str, server: str | None, timeout: float) -> None:
    """Make your identity, remember the relay, and register there.

    If the relay asks to come back later, that is waited for. Exit code 1: the identity is made, but not registered.
    """
    client = open_client(profile, server=server, create=True)
    if not client.server:
        client.set_server(DEFAULT_SERVER)
    run(
        _register(client, profile, timeout),
        interrupted="interrupted; the profile is made, and registers at the next contact",
    )


async def _register(client: Client, profile: str, timeout: float) -> None:
    click.echo(f"profile  {profile}")
    click.echo(f"your id  {written_id(client.user_id)}")
    async with client:
        waits = asyncio.create_task(_say_what_is_waited_for(client))
        try:
            await asyncio.sleep(0)  # so that it hears everything
            await client.wait_published(timeout, attempts=1)
        except RelayUnreachable as error:
            click.echo(f"relay    {client.server}")
            again = "" if profile == "default" else f" -p {profile}"
            raise RelayUnreachable(
                f"the identity is made, and registers at the next contact: {error}"
                f" (if the address is wrong: phantom init{again} --server URL)"
            ) from None
        finally:
            waits.cancel()
            await asyncio.wait({waits})
    click.echo(f"relay    {client.server} (registered)")


async def _say_what_is_waited_for(client: Client) -> None:
    async for event in client.events():
        if isinstance(event, ConnectionEvent) and event.busy:
            click.echo(f"phantom: {one_line(event.reason)}", err=True)
