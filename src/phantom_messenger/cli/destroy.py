"""``phantom destroy``: delete an identity."""

import click

from phantom_messenger.cli.common import confirmed, open_client, profile_flag, profile_option, reports_errors, run
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import RelayError
from phantom_messenger.client.ids import written_id


@click.command(short_help="Delete your identity here and your account at the relay.")
@profile_option
@click.option("--yes", is_flag=True, help="do not ask for confirmation")
@click.option(
    "--local-only", is_flag=True, help="delete it only here: you use it elsewhere, or the relay is gone for good"
)
@reports_errors
def destroy(profile: str, yes: bool, local_only: bool) -> None:
    """Delete your identity, messages and contacts here, and your account and waiting mail at the relay.

    If you use a copy of the profile elsewhere, it loses that mail too; --local-only leaves the relay alone.
    """
    client = open_client(profile)
    if not yes:
        if not local_only and _is_first_of_several(client):
            removing = f"phantom devices remove{profile_flag(profile)} DEVICE"
            go_on = "Your other devices go on as you, and without this one nobody can remove them"
            click.echo(f"{go_on}; to do so first, run: {removing}", err=True)
        what = (
            ""
            if local_only
            else ", and its account at the relay with all mail that waits there, also for copies of the profile"
        )
        if not confirmed(f"Delete profile '{profile}' ({_whose(client)}){what}? This cannot be undone."):
            raise click.Abort
    run(_destroy(client, profile, local_only=local_only))


def _is_first_of_several(client: Client) -> bool:
    found = client.devices.everybody()
    return len(found) > 1 and any(one.is_this and one.is_first for one in found)


def _whose(client: Client) -> str:
    """Whose profile it is: on a further device, another one than the id says would be thought of."""
    shown = written_id(client.user_id)
    is_linked = any(one.is_this and not one.is_first for one in client.devices.everybody())
    return f"only this device of {shown}, which your first device goes on listing" if is_linked else shown


async def _destroy(client: Client, profile: str, *, local_only: bool) -> None:
    if local_only:
        await client.destroy(local_only=True)
    else:
        async with client:
            try:
                await client.destroy()
            except RelayError as error:
                raise type(error)(f"{error}; nothing was deleted (--local-only deletes it only here)") from None
    click.echo(f"deleted profile '{profile}'")
