"""The URL of a relay that a command is to measure or to judge."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

import click

from phantom_messenger.client.profile import url_hint

_SCHEMES: Final = frozenset({"ws", "wss"})


def relay_url(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Take an argument for the URL of a relay: see ``click.Parameter.callback``.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        found: SplitResult = urlsplit(value)
        is_usable = found.scheme in _SCHEMES and bool(found.hostname) and found.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise click.BadParameter(f"'{value}' is not the URL of a relay{url_hint(value)}", ctx, param)
    return value
