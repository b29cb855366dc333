"""``phantom requests``: what strangers have written, and whether to let them in."""

import json
from typing import Final

import click

from phantom_messenger.cli.common import one_line, open_client, profile_option, reports_errors, run
from phantom_messenger.cli.contacts import refuse
from phantom_messenger.cli.groups import Group
from phantom_messenger.cli.listen import message_line, message_row
from phantom_messenger.cli.times import moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import UnknownContact
from phantom_messenger.client.ids import short_id, written_id

LEAST: Final = 6
"""Characters of an id that may stand for the whole one, if they fit one request alone."""


@click.group(cls=Group, invoke_without_command=True)
@profile_option
@click.pass_context
def requests(context: click.Context, profile: str) -> None:
    """See what strangers have written; let them in, or keep them away.

    Until then nobody is told anything, not even that it has come.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_requests, profile=profile, as_json=False)
    else:
        context.default_map = {context.invoked_subcommand: {"profile": profile}}


@requests.command("list")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@reports_errors
def list_requests(profile: str, as_json: bool) -> None:
    """List the strangers who have written."""
    client = open_client(profile)
    try:
        found = client.requests()
    finally:
        client.close()
    option = "" if profile == "default" else f" -p {profile}"
    for one in found:
        user_id = one.contact.user_id
        if as_json:
            row = {"type": "request", "userId": user_id, "id": written_id(user_id)}
            click.echo(json.dumps({**row, "waiting": one.waiting, "since": one.since}))
        else:
            show = f"phantom requests show{option} {_beginning(user_id)}"
            click.echo(f"{one.waiting} message(s) since {moment(one.since)}; look with: {show}")
    if not found and not as_json:
        click.echo(f"no stranger has written; what waits at the relay comes with: phantom listen{option}", err=True)


@requests.command()
@click.argument("who")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@reports_errors
def show(who: str, profile: str, as_json: bool) -> None:
    """Show what WHO has written, an id or the beginning of one. They are not told."""
    client = open_client(profile)
    try:
        user_id = _meant(client, who)
        found = client.peek(user_id)
    finally:
        client.close()
    if not as_json:
        click.echo(f"from {written_id(user_id)}:")
    for message in found:
        click.echo(json.dumps(message_row(message)) if as_json else message_line(message, burns="burns"))
    if not as_json:
        option = "" if profile == "default" else f" -p {profile}"
        lost = "" if found else "nothing can be read yet; "
        click.echo(f"{lost}let them in with: phantom requests accept{option} {_beginning(user_id)} NAME", err=True)


@requests.command()
@click.argument("who")
@click.argument("name", required=False)
@profile_option
@click.option("--yes", is_flag=True, help="take a NAME that looks like another contact's, too")
@reports_errors
def accept(who: str, name: str | None, profile: str, yes: bool) -> None:
    """Let WHO in, an id or the beginning of one, and call them NAME. Their texts come with 'phantom listen'."""
    client = open_client(profile)
    try:
        user_id = _meant(client, who)
        contact = client.contacts.add(name, user_id, alike=yes) if name else client.accept(user_id)
    finally:
        client.close()
    option = "" if profile == "default" else f" -p {profile}"
    click.echo(f"{one_line(contact.label)} is let in; their texts come with: phantom listen{option}")


@requests.command()
@click.argument("who")
@profile_option
@reports_errors
def block(who: str, profile: str) -> None:
    """Keep WHO away, an id or the beginning of one: what they sent is dropped unread. They are not told."""
    client = open_client(profile)
    try:
        user_id = _meant(client, who)
        run(refuse(client, lambda: client.block(user_id), "blocked"))
    finally:
        client.close()


def _beginning(user_id: str) -> str:
    return short_id(user_id).removesuffix("…")


def _meant(client: Client, who: str) -> str:
    """The stranger of an id, or of the beginning of one that fits one request alone."""
    begin = who.strip().removesuffix("…")
    ids = [one.contact.user_id for one in client.requests()]
    found = [one for one in ids if written_id(one).startswith(begin.lower()) or one.startswith(begin)]
    if len(found) == 1 and len(begin) >= LEAST:
        return found[0]
    if len(found) > 1:
        raise UnknownContact(f"'{begin}' is the beginning of {len(found)} ids; give more of it")
    if len(found) == 1 and begin:
        raise UnknownContact(f"give at least {LEAST} characters of an id; 'phantom requests' lists them")
    try:
        user_id = client.contacts.find(who).user_id
    except UnknownContact:
        raise UnknownContact(f"no message request begins with '{begin}'; 'phantom requests' lists them") from None
    if user_id not in ids:
        raise UnknownContact(f"no message request of {short_id(user_id)} waits; 'phantom requests' lists them")
    return user_id
