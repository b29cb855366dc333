"""``phantom contacts``: names for user IDs, and whether their keys have been compared."""

import difflib
import json
from collections.abc import Callable

import click

from phantom_messenger.cli.common import (
    column,
    confirmed,
    one_line,
    open_client,
    print_qr,
    profile_flag,
    profile_option,
    reports_errors,
    run,
    shell_word,
)
from phantom_messenger.cli.group_lines import check_free, news_of_groups
from phantom_messenger.cli.groups import Group, list_or_go_on
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import NoKeyYet, UnknownContact, UsageError
from phantom_messenger.client.groups.link import is_link
from phantom_messenger.client.ids import is_user_id, looks_written, plain_id, written_id
from phantom_messenger.client.status import Contact, Trust
from phantom_messenger.crypto.safety import grouped

PATIENCE = 8.0


@click.group(cls=Group, invoke_without_command=True, short_help="Add, list, verify, block and remove contacts.")
@profile_option
@click.pass_context
def contacts(context: click.Context, profile: str) -> None:
    """List your contacts; add, verify, block and remove them."""
    list_or_go_on(context, profile, list_contacts)


@contacts.command(short_help="Add a contact, or rename one.")
@click.argument("name")
@click.argument("id", metavar="ID")
@profile_option
@click.option("--replace", is_flag=True, help="NAME has a new ID; nothing is sent until you verify or accept it")
@click.option("--claimed", is_flag=True, help="allow an ID that does not certify its key (from another program)")
@click.option("--yes", is_flag=True, help="allow a NAME that looks like that of another contact or a group")
@reports_errors
def add(name: str, id: str, profile: str, replace: bool, claimed: bool, yes: bool) -> None:  # noqa: A002, PLR0917 - the word of the command line; click passes them by name
    """Add a contact: NAME for user ID. A contact that already has this ID is renamed."""
    client = open_client(profile)
    option = profile_flag(profile)
    if is_link(id):
        raise UsageError("this is a link to a group; to join it, run 'phantom groups join' with it, in quotes")
    if looks_written(name) and not (looks_written(id) or is_user_id(id)):
        turned = f"phantom contacts add{option} {shell_word(id)} {shell_word(name)}"
        raise UsageError(f"the name comes first, then the ID: {turned}")
    if replace:
        contact = client.contacts.replace(name, id)
        click.echo(
            f"{one_line(contact.name)} has a new ID; nothing is sent until you verify it with: "
            f"phantom contacts verify{option} {shell_word(contact.name)}"
        )
    else:
        before = client.contacts.of(plain_id(id)).name
        if not yes and before != name:
            check_free(client, name)
        contact = client.contacts.add(name, id, claimed=claimed, alike=yes)
        now = one_line(contact.name)
        done = f"renamed {one_line(before)} to {now}" if before not in {"", contact.name} else f"added {now}"
        click.echo(f"{done}; write with: phantom send{option} {shell_word(contact.name)} TEXT")


@contacts.command(short_help="Accept a contact's changed key.")
@click.argument("name")
@profile_option
@click.option("--older", is_flag=True, help="allow messages in the older encryption")
@click.option("--classical", is_flag=True, help="allow messages without post-quantum protection")
@reports_errors
def accept(name: str, profile: str, older: bool, classical: bool) -> None:
    """Accept NAME's changed key without comparing safety numbers; waiting messages are sent.

    With --older: send to NAME as version 0.1.0 did, until their program is seen with the newer encryption.
    With --classical: send to NAME without post-quantum protection until their program offers a key for it.
    """
    client = open_client(profile)
    known(client, name)
    if classical:
        allowed = client.contacts.allow_classical(name)
        name = one_line(allowed.label)
        click.echo(f"messages to {name} are sent without post-quantum protection until {name} offers a key for it")
        return
    if older:
        name = one_line(client.contacts.allow_older(name).label)
        click.echo(f"messages to {name} are sent in the older encryption until {name} has a newer program")
        return
    changed = client.contacts.find(name).trust is Trust.CHANGED
    contact = client.contacts.accept(name)
    who = one_line(contact.label)
    verify_it = (
        f"phantom contacts verify{profile_flag(profile)} {shell_word(contact.name or written_id(contact.user_id))}"
    )
    done = f"accepted the new key of {who}; compare safety numbers soon with: {verify_it}"
    click.echo(done if changed else f"the key of {who} has not changed")


@contacts.command(short_help="Remove a contact.")
@click.argument("who")
@profile_option
@click.option("--history", is_flag=True, help="also erase the messages exchanged")
@click.option("--yes", is_flag=True, help="do not ask for confirmation")
@reports_errors
def remove(who: str, profile: str, history: bool, yes: bool) -> None:
    """Remove WHO: name, key and messages that wait to be sent. They become a stranger, as if you had never written.

    Past messages stay ('phantom history ID' shows them), unless you give --history.
    """
    client = open_client(profile)
    known(client, who)
    contact = client.contacts.check_removable(who, history=history)
    if not yes:
        what = " and all messages exchanged" if history else ""
        if not confirmed(f"Remove {one_line(contact.label)}{what}?", err=True):
            raise click.Abort
    run(apply_change(client, lambda: client.contacts.remove(who, history=history), "removed"))


@contacts.command(short_help="Block a user.")
@click.argument("who")
@profile_option
@reports_errors
def block(who: str, profile: str) -> None:
    """Block WHO, a name or a user ID: what they send is dropped unread. They are not notified."""
    client = open_client(profile)
    try:
        client.contacts.find(who)
    except UnknownContact:
        raise UnknownContact(f"there is no contact '{who}'; to block somebody else, give their ID") from None
    run(apply_change(client, lambda: client.block(who), "blocked"))


@contacts.command(short_help="Unblock a user.")
@click.argument("who")
@profile_option
@reports_errors
def unblock(who: str, profile: str) -> None:
    """Unblock WHO. What they sent in the meantime is lost."""
    client = open_client(profile)
    known(client, who)
    run(apply_change(client, lambda: client.unblock(who), "unblocked"))


def known(client: Client, who: str) -> Contact:
    """A contact that there must be: adding one would not help.

    Raises:
        UnknownContact: there is none; the name may be mistyped.
        InvalidUserId: it is meant as a user id, and has a wrong character.
    """
    try:
        return client.contacts.find(who)
    except UnknownContact:
        names = {one.name.casefold(): one.name for one in client.contacts.everybody() if one.name}
        near = difflib.get_close_matches(who.casefold(), names, n=1)
        meant = f"did you mean '{one_line(names[near[0]])}'? " if near else ""
        raise UnknownContact(f"there is no contact '{who}'; {meant}'phantom contacts' lists yours") from None


async def apply_change(client: Client, change: Callable[[], Contact], done: str) -> None:
    """Apply a change here, and wait for the relay to confirm it if it can be reached."""
    async with news_of_groups(client), client:
        contact = change()
        is_confirmed = await client.wait_blocks_confirmed(PATIENCE)
    later = "" if is_confirmed else "; the relay will be notified the next time you connect"
    click.echo(f"{done} {one_line(contact.label)}{later}")


@contacts.command("list", short_help="List your contacts.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object per line")
@reports_errors
def list_contacts(profile: str, as_json: bool) -> None:
    """List your contacts, users without a name that you have written to, and strangers who wrote to you."""
    client = open_client(profile)
    strangers = {request.contact.user_id: request.contact for request in client.requests()}
    found = [
        contact
        for contact in client.contacts.everybody()
        if contact.blocked or client.contacts.is_known(contact.user_id)
    ]
    found += [contact for contact in strangers.values() if contact not in found]
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
            unnamed = "(stranger)" if contact.user_id in strangers else "(no name)"
            name = one_line(contact.name) or unnamed
            mark = ("  classical" if contact.classical else "") + ("  blocked" if contact.blocked else "")
            click.echo(f"{column(name, 20)} {written_id(contact.user_id)}  {contact.trust}{mark}")
    if not found and not as_json:
        click.echo(f"no contacts yet; add one with: phantom contacts add{profile_flag(profile)} NAME ID")


@contacts.command(short_help="Compare safety numbers with a contact.")
@click.argument("name")
@profile_option
@click.option("--yes", is_flag=True, help="they match: mark as verified without asking")
@click.option("--no", is_flag=True, help="they do not match, or no longer do: mark as unverified")
@reports_errors
def verify(name: str, profile: str, yes: bool, no: bool) -> None:
    """Show the safety number you share with NAME; compare it by phone or face to face."""
    if yes and no:
        raise UsageError("give either --yes or --no")
    client = open_client(profile)
    try:
        known(client, name)
        number = _safety_number(client, name)
        _show(name, number)
        matches = yes or (not no and confirmed("Does it match what your contact sees?", instead="--yes or --no"))
        client.contacts.set_trust(name, Trust.VERIFIED if matches else Trust.UNVERIFIED)
    finally:
        client.close()
    click.echo("marked as verified" if matches else "marked as unverified; do not send secrets until it matches")


def _safety_number(client: Client, name: str) -> str:
    try:
        return client.contacts.safety_number(name)
    except NoKeyYet:
        # Adding a contact has started a key exchange: let it finish.
        run(client.fetch_key(name, PATIENCE))
        return client.contacts.safety_number(name)


def _show(label: str, number: str) -> None:
    click.echo(f"safety number with {one_line(label)}:\n")
    groups = grouped(number).split()
    for row in range(0, len(groups), 4):
        click.echo("  " + " ".join(groups[row : row + 4]))
    click.echo("")
    print_qr(number, error="l")
