"""``phantom requests``: messages from strangers, and whether to accept them."""

import json
from typing import Any, Final

import click

from phantom_messenger.cli.common import (
    count,
    one_line,
    open_client,
    profile_flag,
    profile_option,
    reports_errors,
    run,
    shell_word,
)
from phantom_messenger.cli.contacts import apply_change
from phantom_messenger.cli.group_lines import check_free
from phantom_messenger.cli.groups import Group, list_or_go_on
from phantom_messenger.cli.listen import message_line, message_row
from phantom_messenger.cli.times import moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import ContactExists, UnknownContact, UsageError
from phantom_messenger.client.groups.invitations import told
from phantom_messenger.client.groups.views import GroupInvitation
from phantom_messenger.client.ids import short_id, written_id

LEAST: Final = 6
"""Characters of a user ID that may stand for all of it, if they match only one request."""


OF_GROUPS: Final = (
    "they are writing in a group that you have not joined: if you are invited to it, accept the invitation, and this"
    " request goes away by itself; if you block them, you will not see what they write in groups"
)


@click.group(cls=Group, invoke_without_command=True, short_help="Read messages from strangers; accept or block them.")
@profile_option
@click.pass_context
def requests(context: click.Context, profile: str) -> None:
    """Read messages from strangers; accept or block them.

    Until you accept, they are told nothing, not even that their messages have arrived.
    """
    list_or_go_on(context, profile, list_requests)


@requests.command("list", short_help="List strangers who have written.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object per line")
@reports_errors
def list_requests(profile: str, as_json: bool) -> None:
    """List strangers who have written."""
    client = open_client(profile)
    try:
        found = client.requests()
    finally:
        client.close()
    option = profile_flag(profile)
    for one in found:
        user_id = one.contact.user_id
        if as_json:
            row = {"type": "request", "userId": user_id, "id": written_id(user_id)}
            click.echo(json.dumps({**row, "waiting": one.waiting, "since": one.since}))
        else:
            show = f"phantom requests show{option} {_beginning(user_id)}"
            them = "it" if one.waiting == 1 else "them"
            click.echo(f"{count(one.waiting, 'message')}, here since {moment(one.since)}; to read {them}, run: {show}")
    if not found and not as_json:
        click.echo(f"no message requests; to fetch what waits at the relay: phantom listen{option}", err=True)


@requests.command(short_help="Show what a stranger has written.")
@click.argument("who")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object per line")
@reports_errors
def show(who: str, profile: str, as_json: bool) -> None:
    """Show what WHO has written; WHO is a user ID or the start of one. They are not notified."""
    client = open_client(profile)
    try:
        user_id = _meant(client, who)
        found = client.peek(user_id)
        groups = client.groups.invitations_of(user_id)
        is_of_groups = client.groups.concern(user_id)
        names = [one.group if not one.name or client.groups.has(one.name) else one.name for one in groups]
    finally:
        client.close()
    if not as_json:
        click.echo(f"from {written_id(user_id)}:")
    for message in found:
        click.echo(json.dumps(message_row(message)) if as_json else message_line(message, burns="burns"))
    for one in groups:
        click.echo(json.dumps(invitation_row(one)) if as_json else told(one))
    if not as_json:
        unreadable = "" if found or groups else "nothing can be read yet; "
        if is_of_groups:
            unreadable = ""
            click.echo(OF_GROUPS, err=True)
        accept_it = f"phantom requests accept{profile_flag(profile)} {_beginning(user_id)} NAME"
        click.echo(f"{unreadable}to accept, run: {accept_it}", err=True)
        if groups:
            join = f"phantom groups accept{profile_flag(profile)} {shell_word(names[0])}"
            click.echo(f"its members learn nothing before you also run: {join}", err=True)


def invitation_row(invitation: GroupInvitation) -> dict[str, Any]:
    """A stranger's invitation to a group as documented JSON."""
    return {
        "type": "group-invitation",
        "group": invitation.group,
        "name": invitation.name,
        "by": invitation.inviter.user_id,
        "members": invitation.members,
        "admins": invitation.admins,
        "known": [contact.user_id for contact in invitation.known],
        "timer": invitation.timer,
    }


@requests.command(short_help="Accept a stranger's messages.")
@click.argument("who")
@click.argument("name", required=False)
@profile_option
@click.option("--yes", is_flag=True, help="allow a NAME that looks like that of another contact or a group")
@reports_errors
def accept(who: str, name: str | None, profile: str, yes: bool) -> None:
    """Accept messages from WHO, a user ID or the start of one, and add them as NAME."""
    client = open_client(profile)
    try:
        user_id = _meant(client, who)
        if name:
            _check_another(client, name, user_id, profile_flag(profile))
        if name and not yes:
            check_free(client, name)
        contact = client.contacts.add(name, user_id, alike=yes) if name else client.accept(user_id)
    finally:
        client.close()
    click.echo(
        f"accepted {one_line(contact.label)}; to read their messages, run: phantom listen{profile_flag(profile)}"
    )


@requests.command(short_help="Block a stranger.")
@click.argument("who")
@profile_option
@reports_errors
def block(who: str, profile: str) -> None:
    """Block WHO, a user ID or the start of one: what they sent is dropped unread. They are not notified."""
    client = open_client(profile)
    user_id = _meant(client, who)
    if client.groups.concern(user_id):
        click.echo("what they write in groups will not be shown to you either", err=True)
    run(apply_change(client, lambda: client.block(user_id), "blocked"))


def _check_another(client: Client, name: str, user_id: str, flag: str) -> None:
    """Refuse the name of another contact; the SDK's sentence names an option that this command does not have.

    Raises:
        ContactExists: it is.
    """
    try:
        other = client.contacts.find(name)
    except UsageError:
        return
    if other.name and other.user_id != user_id:
        replace = f"phantom contacts add{flag} {shell_word(other.name)} {written_id(user_id)} --replace"
        raise ContactExists(
            f"'{name}' is another contact already; choose another name, or, if {one_line(other.name)} has a new ID, "
            f"run: {replace}"
        )


def _beginning(user_id: str) -> str:
    return short_id(user_id).removesuffix("…")


def _meant(client: Client, who: str) -> str:
    """The stranger with this user ID, or the only one whose ID starts like this."""
    begin = who.strip().removesuffix("…")
    ids = [one.contact.user_id for one in client.requests()]
    found = [one for one in ids if written_id(one).startswith(begin.lower()) or one.startswith(begin)]
    if len(found) == 1 and len(begin) >= LEAST:
        return found[0]
    if len(found) > 1:
        raise UnknownContact(f"{len(found)} IDs start with '{begin}'; give more characters")
    if len(found) == 1 and begin:
        raise UnknownContact(f"give at least {LEAST} characters of the ID; 'phantom requests' lists them")
    try:
        user_id = client.contacts.find(who).user_id
    except UnknownContact:
        raise UnknownContact(f"no message request starts with '{begin}'; 'phantom requests' lists them") from None
    if user_id not in ids:
        raise UnknownContact(f"there is no message request from {short_id(user_id)}; 'phantom requests' lists them")
    return user_id
