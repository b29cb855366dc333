"""``phantom settings``: what others may learn about you."""

import json
from dataclasses import asdict
from typing import Final

import click

from phantom_messenger.cli.common import open_client, profile_option, reports_errors

NAMES: Final = {"read-receipts": "read_receipts", "typing": "typing", "presence": "presence"}
MEANINGS: Final = {
    "read-receipts": ("senders see that you have read a message", "nobody learns that you have read a message"),
    "typing": ("contacts see that you are typing", "nobody learns that you are typing"),
    "presence": ("contacts see that you are online", "you appear offline"),
}
"""What holds if it is on, and if it is off."""


@click.command(short_help="Show or change what others may learn about you.")
@click.argument("name", required=False, type=click.Choice(list(NAMES)), metavar="[NAME]")
@click.argument("value", required=False, type=click.Choice(["on", "off"]), metavar="[on|off]")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@reports_errors
def settings(name: str | None, value: str | None, profile: str, as_json: bool) -> None:
    """Show or change what others may learn about you: read-receipts, typing and presence, each on or off."""
    client = open_client(profile)
    try:
        if name is not None and value is not None:
            client.change_settings(**{NAMES[name]: value == "on"})
        now = asdict(client.settings)
    finally:
        client.close()
    if as_json:
        click.echo(json.dumps({"type": "settings", "readReceipts": now.pop("read_receipts"), **now}))
        return
    for one in NAMES if name is None else [name]:
        is_on, (on, off) = now[NAMES[one]], MEANINGS[one]
        click.echo(f"{one:<14} {'on ' if is_on else 'off'}  {on if is_on else off}")
