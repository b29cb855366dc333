"""``phantom init``: make an identity and tell the relay."""

import click

from phantom_messenger.cli.common import DEFAULT_SERVER, one_line, open_client, profile_option, reports_errors, run
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import RelayUnreachable
from phantom_messenger.client.ids import written_id

PATIENCE = 8.0
"""Seconds to wait for the relay; it is told at the next contact otherwise."""


@click.command()
@profile_option
@click.option("--server", metavar="URL", help=f"the relay, ws:// or wss://  [default: {DEFAULT_SERVER}]")
@reports_errors
def init(profile: str, server: str | None) -> None:
    """Make your identity, remember the relay, and register there."""
    client = open_client(profile, server=server, create=True)
    if not client.server:
        client.set_server(DEFAULT_SERVER)
    run(_register(client, profile), interrupted="interrupted; the profile is made, and registers at the next contact")


async def _register(client: Client, profile: str) -> None:
    click.echo(f"profile  {profile}")
    click.echo(f"your id  {written_id(client.user_id)}")
    async with client:
        try:
            await client.wait_published(PATIENCE, attempts=1)
        except RelayUnreachable as error:
            click.echo(f"relay    {client.server}")
            click.echo(
                f"phantom: not registered yet, for {one_line(str(error))}; it is done at the next contact", err=True
            )
        else:
            click.echo(f"relay    {client.server} (registered)")
