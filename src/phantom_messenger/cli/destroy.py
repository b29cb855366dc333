"""``phantom destroy``: delete an identity."""

import click

from phantom_messenger.cli.common import open_client, profile_option, reports_errors, run
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import RelayError


@click.command()
@profile_option
@click.option("--yes", is_flag=True, help="do not ask")
@click.option(
    "--local-only", is_flag=True, help="delete it here alone: you use it elsewhere, or the relay is gone for good"
)
@reports_errors
def destroy(profile: str, yes: bool, local_only: bool) -> None:
    """Delete your identity, texts and contacts here, and your account and waiting mail at the relay.

    A copy of the profile elsewhere loses that mail too: --local-only leaves the relay alone.
    """
    client = open_client(profile)
    if not yes:
        what = "" if local_only else " and the account with its waiting mail at the relay, for every copy of it,"
        click.confirm(f"Delete profile '{profile}' ({client.user_id}){what} for ever?", abort=True)
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
