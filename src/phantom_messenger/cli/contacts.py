"""``phantom contacts``: names for ids, and whether their keys were compared."""

import json
from collections.abc import Callable

import click

from phantom_messenger.cli.common import (
    column,
    one_line,
    open_client,
    print_qr,
    profile_option,
    reports_errors,
    run,
    shell_word,
)
from phantom_messenger.cli.groups import Group
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import NoKeyYet, UsageError
from phantom_messenger.client.ids import plain_id, written_id
from phantom_messenger.client.status import Contact, Trust
from phantom_messenger.crypto.safety import grouped

PATIENCE = 8.0


@click.group(cls=Group)
def contacts() -> None:
    """Give names to ids; list them; verify their keys."""


@contacts.command()
@click.argument("name")
@click.argument("id", metavar="ID")
@profile_option
@click.option("--replace", is_flag=True, help="NAME has a new id; compare safety numbers before anything is sent")
@click.option("--claimed", is_flag=True, help="take an id that does not certify its key (of another program)")
@click.option("--yes", is_flag=True, help="take a NAME that looks like another contact's, too")
@reports_errors
def add(name: str, id: str, profile: str, replace: bool, claimed: bool, yes: bool) -> None:  # noqa: A002, PLR0917 - the word of the command line; click passes them by name
    """Call the user with this ID by NAME. An ID that has a name already is renamed."""
    client = open_client(profile)
    option = "" if profile == "default" else f" -p {profile}"
    try:
        if replace:
            contact = client.contacts.replace(name, id)
            click.echo(
                f"{one_line(contact.name)} has a new id; before anything is sent: "
                f"phantom contacts verify{option} {shell_word(contact.name)}"
            )
        else:
            before = client.contacts.of(plain_id(id)).name
            contact = client.contacts.add(name, id, claimed=claimed, alike=yes)
            now = one_line(contact.name)
            done = f"{one_line(before)} is called {now} now" if before not in {"", contact.name} else f"added {now}"
            click.echo(f"{done}; write with: phantom send{option} {shell_word(contact.name)} TEXT")
    finally:
        client.close()


@contacts.command()
@click.argument("name")
@profile_option
@click.option("--classical", is_flag=True, help="send without post-quantum protection until there is a key for it")
@reports_errors
def accept(name: str, profile: str, classical: bool) -> None:
    """Take the changed key of NAME without comparing it; texts are sent again."""
    client = open_client(profile)
    try:
        if classical:
            allowed = client.contacts.allow_classical(name)
            click.echo(f"texts to {one_line(allowed.label)} go without a post-quantum key until there is one")
            return
        changed = client.contacts.find(name).trust is Trust.CHANGED
        contact = client.contacts.accept(name)
        done = "accepted; compare it soon with 'phantom contacts verify'" if changed else "has not changed"
        click.echo(f"the key of {one_line(contact.label)} {done}")
    finally:
        client.close()


@contacts.command()
@click.argument("who")
@profile_option
@click.option("--history", is_flag=True, help="erase what was said, too")
@click.option("--yes", is_flag=True, help="do not ask")
@reports_errors
def remove(who: str, profile: str, history: bool, yes: bool) -> None:
    """Forget WHO: name, key and what waits to be sent. They are a stranger then, as if you had never written.

    What was said stays ('phantom history ID' shows it), unless you give --history.
    """
    client = open_client(profile)
    try:
        contact = client.contacts.find(who)
        if not yes:
            what = " and all that was said" if history else ""
            click.confirm(f"Forget {one_line(contact.label)}{what}?", abort=True, err=True)
        run(refuse(client, lambda: client.contacts.remove(who, history=history), "removed"))
    finally:
        client.close()


@contacts.command()
@click.argument("who")
@profile_option
@reports_errors
def block(who: str, profile: str) -> None:
    """Keep WHO away, a name or an id: what they send is dropped unread. They are not told."""
    client = open_client(profile)
    run(refuse(client, lambda: client.block(who), "blocked"))


@contacts.command()
@click.argument("who")
@profile_option
@reports_errors
def unblock(who: str, profile: str) -> None:
    """Keep WHO away no longer. What they sent meanwhile is gone."""
    client = open_client(profile)
    run(refuse(client, lambda: client.unblock(who), "unblocked"))


async def refuse(client: Client, change: Callable[[], Contact], done: str) -> None:
    """Change it here, and tell the relay if it can be reached."""
    async with client:
        contact = change()
        told = await client.wait_blocks_confirmed(PATIENCE)
    later = "" if told else "; the relay is told at the next contact"
    click.echo(f"{one_line(contact.label)} is {done}{later}")


@contacts.command("list")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@reports_errors
def list_contacts(profile: str, as_json: bool) -> None:
    """List everybody you know, and strangers who wrote to you."""
    client = open_client(profile)
    try:
        found = client.contacts.everybody()
        for contact in found:
            if as_json:
                row = {
                    "type": "contact",
                    "name": contact.name,
                    "userId": contact.user_id,
                    "id": written_id(contact.user_id),
                    "trust": contact.trust,
                    "classical": contact.classical,
                    "blocked": contact.blocked,
                }
                click.echo(json.dumps(row))
            else:
                name = one_line(contact.name) or "(stranger)"
                mark = ("  classical" if contact.classical else "") + ("  blocked" if contact.blocked else "")
                click.echo(f"{column(name, 20)} {written_id(contact.user_id)}  {contact.trust}{mark}")
        if not found and not as_json:
            click.echo("nobody yet; add somebody with 'phantom contacts add NAME ID'")
    finally:
        client.close()


@contacts.command()
@click.argument("name")
@profile_option
@click.option("--yes", is_flag=True, help="the numbers match: mark as verified, without asking")
@click.option("--no", is_flag=True, help="they do not, or no longer: mark as unverified")
@reports_errors
def verify(name: str, profile: str, yes: bool, no: bool) -> None:
    """Show the safety number you share with NAME; compare it by phone or face to face."""
    if yes and no:
        raise UsageError("--yes or --no: choose one")
    client = open_client(profile)
    try:
        number = _safety_number(client, name)
        _show(name, number)
        matches = yes or (not no and click.confirm("Does it match what your contact sees?"))
        client.contacts.set_trust(name, Trust.VERIFIED if matches else Trust.UNVERIFIED)
    finally:
        client.close()
    click.echo("marked as verified" if matches else "marked as unverified; do not send secrets until it matches")


def _safety_number(client: Client, name: str) -> str:
    try:
        return client.contacts.safety_number(name)
    except NoKeyYet:
        # Adding a contact has begun a key exchange: let it come through.
        run(client.fetch_key(name, PATIENCE))
        return client.contacts.safety_number(name)


def _show(label: str, number: str) -> None:
    click.echo(f"safety number with {one_line(label)}:\n")
    groups = grouped(number).split()
    for row in range(0, len(groups), 4):
        click.echo("  " + " ".join(groups[row : row + 4]))
    click.echo("")
    print_qr(number, error="l")
