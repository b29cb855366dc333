"""``phantom destroy``: delete an identity."""

import click

from phantom_messenger.cli.common import open_client, profile_option, reports_errors, run
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import RelayError


@click.command()
@profile_option
@click.option("--yes", is_flag=True, help="do not ask")
@click.option("--local-only", is_flag=True, help="delete it here alone, if the relay is gone for good")
@reports_errors
def destroy(profile: str, yes: bool, local_only: bool) -> None:
    """Delete your identity, texts and contacts here, and your account at the relay."""
    client = open_client(profile)
    if not yes:
        click.confirm(f"Delete profile '{profile}' ({client.user_id}) for ever?", abort=True)
    run(_destroy(client, profile, local_only=local_only))


async def _destroy(client: Client, profile: str, *, local_only: bool) -> None:
    if local_only:
        await client.destroy(local_only=True)
    else:
        async with client:
            try:
                await client.destroy()
            except RelayError as error:
                raise type(error)(f"{error}; nothing was deleted (--local-only deletes it here alone)") from None
    click.echo(f"profile '{profile}' is gone")
