"""``phantom id``: the id to give to others."""

import json

import click
import segno

from phantom_messenger.cli.common import open_client, profile_option, reports_errors


@click.command("id")
@profile_option
@click.option("--qr", is_flag=True, help="show it as a QR code too")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@reports_errors
def show_id(profile: str, qr: bool, as_json: bool) -> None:
    """Print your id; give it to those who are to write to you."""
    client = open_client(profile)
    try:
        if as_json:
            click.echo(json.dumps({"type": "id", "userId": client.user_id, "server": client.server}))
        else:
            click.echo(client.user_id)
        if qr:
            segno.make(client.user_id, error="m", micro=False).terminal(compact=True)
    finally:
        client.close()
