"""``phantom id``: the id to give to others."""

import json

import click

from phantom_messenger.cli.common import open_client, print_qr, profile_option, reports_errors
from phantom_messenger.client.ids import written_id


@click.command("id")
@profile_option
@click.option("--qr", is_flag=True, help="show it as a QR code too")
@click.option("--base64", "as_base64", is_flag=True, help="print it as it stands in the protocol")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@reports_errors
def show_id(profile: str, qr: bool, as_base64: bool, as_json: bool) -> None:
    """Print your id; give it to those who are to write to you.

    A wrong or swapped character is noticed where it is used. 'phantom contacts add' takes both forms.
    """
    client = open_client(profile)
    try:
        shown = written_id(client.user_id)
        if as_json:
            row = {"type": "id", "userId": client.user_id, "id": shown, "server": client.server}
            click.echo(json.dumps(row))
        else:
            click.echo(client.user_id if as_base64 else shown)
        if qr:
            print_qr(shown.upper(), error="m")
    finally:
        client.close()
