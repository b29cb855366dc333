"""``phantom history``: past messages."""

import json
from typing import Any

import click

from phantom_messenger.cli.common import one_line, open_client, printable, profile_option, reports_errors
from phantom_messenger.cli.group_lines import MARKS, group_history_row, group_line, is_group
from phantom_messenger.cli.listen import NEWER
from phantom_messenger.cli.times import Since, moment
from phantom_messenger.client.history import HistoryEntry
from phantom_messenger.client.status import Contact


@click.command(short_help="Show past messages with a contact.")
@click.argument("who")
@profile_option
@click.option("--since", type=Since(), metavar="WHEN", help="a date (2026-11-23), or the last 30m, 12h, 7d")
@click.option("--search", metavar="TEXT", help="only messages that contain TEXT")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="only the last N messages")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@reports_errors
def history(  # noqa: PLR0917 - click passes them by name
    who: str, profile: str, since: float | None, search: str | None, limit: int | None, as_json: bool
) -> None:
    """Show past messages with WHO, a contact's name, a user ID or a group.

    Nobody is notified that you looked. A message that burns is shown once, by 'phantom listen' or 'phantom chat'.
    """
    client = open_client(profile)
    try:
        if is_group(client, who):
            info = client.groups.find(who)
            texts = client.groups.history(who, since=since, search=search, limit=limit)
            where = f"in {one_line(info.label)}"
            lines = [json.dumps(group_history_row(one, info.group)) if as_json else group_line(one) for one in texts]
        else:
            contact = client.contacts.find(who)
            found = client.history(who, since=since, search=search, limit=limit)
            where = f"with {one_line(contact.label)}"
            lines = [json.dumps(history_row(one, contact)) if as_json else history_line(one, contact) for one in found]
    finally:
        client.close()
    for line in lines:
        click.echo(line)
    if not lines and not as_json:
        nothing = "no matching messages" if since or search else f"no messages {where} yet"
        click.echo(nothing, err=True)


def history_line(entry: HistoryEntry, contact: Contact) -> str:
    """A past message as a user sees it; further lines are indented."""
    name = "you" if entry.is_own else one_line(contact.label)
    if entry.state is not None and entry.gone != str(entry.state):
        mark = f" ({MARKS[entry.state]})"
    else:
        mark = " (unread)" if entry.is_waiting else ""
    text = _gone(entry.gone) if entry.text is None else printable(entry.text).replace("\n", "\n        ")
    return f"{moment(entry.sent_at)} {name}{mark}: {text}"


def _gone(why: str) -> str:
    match why:
        case "sealed":
            return "[burns once you have read it, with 'phantom listen']"
        case "newer":
            return NEWER
        case _:
            return f"[{why}]"


def history_row(entry: HistoryEntry, contact: Contact) -> dict[str, Any]:
    """A past message as documented JSON; times in milliseconds since 1970."""
    return {
        "type": "history",
        "id": entry.message_id,
        "peer": entry.peer,
        "name": contact.name,
        "own": entry.is_own,
        "text": entry.text,
        "gone": entry.gone or None,
        "sentAt": entry.sent_at,
        "keptAt": entry.kept_at,
        "state": None if entry.state is None else str(entry.state),
        "waiting": entry.is_waiting,
        "burnAfterRead": entry.burn_after_read,
        "expiresAt": entry.expires_at,
    }
