"""``phantom id``: the user ID to share."""

import json

import click

from phantom_messenger.cli.common import open_client, print_qr, profile_option, reports_errors
from phantom_messenger.client.ids import written_id


@click.command("id", short_help="Print your user ID to share with contacts.")
@profile_option
@click.option("--qr", is_flag=True, help="also show it as a QR code")
@click.option("--base64", "as_base64", is_flag=True, help="print it as the protocol spells it")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@reports_errors
def show_id(profile: str, qr: bool, as_base64: bool, as_json: bool) -> None:
    """Print your user ID to share with contacts.

    It contains a checksum, so a wrong or swapped character is noticed. Every command takes both spellings of an ID.
    """
    client = open_client(profile)
    shown = written_id(client.user_id)
    if as_json:
        row = {"type": "id", "userId": client.user_id, "id": shown, "server": client.server}
        click.echo(json.dumps(row))
    else:
        click.echo(client.user_id if as_base64 else shown)
    if qr:
        print_qr(shown.upper(), error="m")
