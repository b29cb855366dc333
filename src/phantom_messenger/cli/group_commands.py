"""``phantom groups``: make groups, invite, join, and change them."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from phantom_messenger.cli.asking import is_so
from phantom_messenger.cli.common import (
    check_quoted,
    confirmed,
    count,
    one_line,
    open_client,
    print_qr,
    profile_flag,
    profile_option,
    reports_errors,
    run,
    sentence,
    shell_word,
)
from phantom_messenger.cli.group_lines import called, check_free, group_summary
from phantom_messenger.cli.groups import Group, list_or_go_on
from phantom_messenger.cli.joining import join_by
from phantom_messenger.cli.pictures import read_picture
from phantom_messenger.cli.times import Duration, moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import PhantomError, RelayError, UsageError
from phantom_messenger.client.groups.views import GroupInfo
from phantom_messenger.client.groups.words import lasting
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.status import GroupEvent, GroupNews, WarningEvent

T = TypeVar("T")

_own_name = click.option(
    "--as", "own_name", metavar="NAME", default="", help="what members call you who have not added you"
)

HEARD: Final = 0.05
"""How long events that have happened are waited for, in seconds."""

PATIENCE: Final = 8.0
"""Seconds for which a change waits for the relay; after that it goes on with the next command that connects."""


@click.group(cls=Group, invoke_without_command=True, short_help="Make groups, invite to them, and change them.")
@profile_option
@click.pass_context
def groups(context: click.Context, profile: str) -> None:
    """List your groups; make, join, change and leave them.

    Write to a group with 'phantom chat GROUP' or 'phantom send GROUP TEXT'.
    """
    list_or_go_on(context, profile, list_groups)


@groups.command("list", short_help="List your groups.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@reports_errors
def list_groups(profile: str, as_json: bool) -> None:
    """List your groups, and invitations to others."""
    client, flag = open_client(profile), profile_flag(profile)
    found = client.groups.all()
    for info in found:
        click.echo(json.dumps(group_row(info)) if as_json else group_summary(info, called(client, info), flag))
    if as_json:
        return
    waiting = sum(len(client.groups.invitations_of(one.contact.user_id)) for one in client.requests())
    if waiting:
        invitations = count(waiting, "invitation")
        who, them = ("a stranger", "it") if waiting == 1 else ("strangers", "them")
        click.echo(f"{invitations} from {who}; to see {them}, run: phantom requests{flag}", err=True)
    elif not found:
        fetch = f"an invitation that waits at the relay is fetched by: phantom listen{flag}"
        click.echo(f"no groups yet; make one with: phantom groups create{flag} NAME WHO...; {fetch}", err=True)


@groups.command(short_help="Make a group.")
@click.argument("name")
@click.argument("who", nargs=-1)
@profile_option
@_own_name
@click.option("--yes", is_flag=True, help="allow a NAME that looks like that of another group or a contact")
@reports_errors
def create(name: str, who: tuple[str, ...], profile: str, own_name: str, yes: bool) -> None:
    """Make the group NAME, and invite WHO: names of contacts or user IDs."""
    client = open_client(profile)
    if not yes:
        check_free(client, name, of_group="")
    changed(client, lambda: client.groups.create(name, who, own_name=own_name), f"made the group {one_line(name)}")


@groups.command(short_help="Invite people, or make a link.")
@click.argument("group")
@click.argument("who", nargs=-1)
@profile_option
@click.option("--admin", is_flag=True, help="they can change the group, too")
@click.option("--link", "as_link", is_flag=True, help="print a link (and a QR code) with which somebody can join")
@click.option(
    "--uses", type=click.IntRange(1, 100), default=1, show_default=True, help="how many people a link lets in"
)
@click.option(
    "--days", type=click.FloatRange(0, 30, min_open=True), default=7.0, show_default=True, help="a link's life"
)
@reports_errors
def invite(  # noqa: PLR0917 - click passes them by name
    group: str, who: tuple[str, ...], profile: str, admin: bool, as_link: bool, uses: int, days: float
) -> None:
    """Invite WHO, names of contacts or user IDs, to GROUP; or print a link with --link."""
    client = open_client(profile)
    if as_link:
        link = client.groups.link(group, uses=uses, days=days)
        print_qr(link, error="l")
        click.echo(link)
        guests = "one person" if uses == 1 else f"{uses} people"
        how = "they run: phantom groups join 'LINK', or paste it in the page, under New conversation"
        click.echo(f"whoever has it can use it; it lets in {guests}, within {days:g} days; {how}", err=True)
        return
    if not who:
        raise click.UsageError("name whom to invite, or make a link with --link")

    def invite_them() -> None:
        check_members(client, group, who, are_in=False)
        client.groups.invite(group, who, role="admin" if admin else "member")

    changed(client, invite_them, "invited")


def check_members(client: Client, group: str, who: tuple[str, ...], *, are_in: bool) -> None:
    """Refuse a change that would change nothing.

    Raises:
        UsageError: somebody is a member already, or is none.
    """
    info = client.groups.find(group)
    members = {one.contact.user_id for one in info.members}
    for one in who:
        if (client.contacts.find(one).user_id in members) is not are_in:
            relation = "not a member" if are_in else "already a member"
            known = "as far as is known here; what is new is fetched by: phantom listen"
            raise UsageError(f"{one_line(one)} is {relation} of {one_line(info.label)}, {known}")


@groups.command(short_help="List your links to a group, or end them.")
@click.argument("group")
@profile_option
@click.option("--end", "ends", is_flag=True, help="end all of them: nobody can join by them any more")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object per line")
@reports_errors
def links(group: str, profile: str, ends: bool, as_json: bool) -> None:
    """List the links to GROUP that you have made and that still work; or end them with --end."""
    client = open_client(profile)
    found = client.groups.links(group)
    if ends:
        client.groups.end_links(group)
        them = "it" if len(found) == 1 else "them"
        ended = f"ended {count(len(found), 'link')}; nobody can join by {them} any more"
        said = ended if found else "there is no link of yours that still works"
        click.echo(json.dumps({"type": "group-links-ended", "links": len(found)}) if as_json else said)
        return
    for one in found:
        row = {"type": "group-link", "link": one.link, "uses": one.uses, "until": one.until}
        people = "one person" if one.uses == 1 else f"{one.uses} people"
        click.echo(json.dumps(row) if as_json else f"{one.link}  lets in {people}, until {moment(one.until)}")
    if not found and not as_json:
        make = f"phantom groups invite{profile_flag(profile)} {shell_word(group)} --link"
        click.echo(f"there is no link of yours that still works; to make one, run: {make}", err=True)


@groups.command(short_help="Join a group by a link.")
@click.argument("link")
@profile_option
@_own_name
@reports_errors
def join(link: str, profile: str, own_name: str) -> None:
    """Ask to be added to the group of LINK ('phantom:join?...'; put it in quotes)."""
    check_quoted(link, "the link")
    run(join_by(open_client(profile), link, profile_flag(profile), own_name))


@groups.command(short_help="Accept an invitation.")
@click.argument("group")
@profile_option
@_own_name
@reports_errors
def accept(group: str, profile: str, own_name: str) -> None:
    """Accept the invitation to GROUP."""
    client = open_client(profile)
    flag = profile_flag(profile)

    def done(info: GroupInfo) -> str:
        return f"you are in {one_line(info.label)}; write with: phantom chat{flag} {shell_word(called(client, info))}"

    run(_changed(client, lambda: client.groups.accept(group, own_name=own_name), done, awaits=group))


@groups.command(short_help="Leave a group, or decline an invitation.")
@click.argument("group")
@profile_option
@click.option("--forget", is_flag=True, help="also erase what was said in it")
@click.option("--yes", is_flag=True, help="do not ask for confirmation")
@reports_errors
def leave(group: str, profile: str, forget: bool, yes: bool) -> None:
    """Leave GROUP: nothing is sent to it, or taken in, any more."""
    client = open_client(profile)
    info = client.groups.find(group)
    name, is_invited, is_live = one_line(info.label), info.relation == "invited", info.relation in {"invited", "member"}
    if is_live:
        check_may_leave(client, info, profile_flag(profile))
    elif not forget:
        raise UsageError(f"you are not in {name} any more; to take it off the list, add --forget")
    verb = "Decline the invitation to" if is_invited else "Leave" if is_live else "Forget"
    if not yes and not confirmed(f"{verb} {name}{' and erase it' if forget else ''}?", err=True):
        raise click.Abort
    if is_live:
        done = f"declined the invitation to {name}" if is_invited else f"left {name}"

        def go() -> None:
            check_may_leave(client, client.groups.find(info.group), profile_flag(profile))  # by what was fetched now
            client.groups.leave(info.group)

        changed(client, go, done)
    if forget:
        (open_client(profile) if is_live else client).groups.forget(info.group)
        click.echo(f"erased what was said in {name}")


def check_may_leave(client: Client, info: GroupInfo, flag: str) -> None:
    """Refuse before anything is asked what would be refused afterwards.

    Raises:
        UsageError: it cannot be left yet, or not here.
    """
    check_first(client)
    others = [one for one in info.members if not one.is_you and not one.is_leaving]
    if info.is_admin and others and not any(one.role == "admin" for one in others):
        role = f"phantom groups role{flag} {shell_word(called(client, info))} WHO admin"
        raise UsageError(
            f"you are the last admin of {one_line(info.label)}; make somebody else one with '{role}', or close it"
        )


def check_first(client: Client) -> None:
    """Refuse on a linked device what only the first one can do, before anything is asked.

    Raises:
        UsageError: this is a linked one.
    """
    if any(one.is_this and not one.is_first for one in client.devices.everybody()):
        raise UsageError("groups are changed on your first device; run this there")


@groups.command(short_help="Show who is in a group.")
@click.argument("group")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@reports_errors
def members(group: str, profile: str, as_json: bool) -> None:
    """Show who is in GROUP, and 20 digits that are the same for all who know the same members."""
    client = open_client(profile)
    info = client.groups.find(group)
    for member in info.members:
        own = f"you, called {one_line(info.own_name)}" if info.own_name else "you"
        name = own if member.is_you else one_line(member.contact.label)
        if as_json:
            row = {"userId": member.contact.user_id, "name": member.contact.name, "role": member.role}
            row["says"] = info.own_name if member.is_you else member.contact.says
            is_there = {"joined": member.has_joined, "leaving": member.is_leaving}
            click.echo(json.dumps({"type": "member", **row, "you": member.is_you, **is_there}))
        else:
            marks = [member.role if member.role == "admin" else "", "" if member.has_joined else "invited"]
            marks.append("leaving" if member.is_leaving else "")
            mark = ", ".join(mark for mark in marks if mark)
            click.echo(f"{name}{f' ({mark})' if mark else ''}  {written_id(member.contact.user_id)}")
    digits, others = client.groups.digits(group), client.groups.rival_digits(group)
    if as_json:
        rival = None if info.rival is None else info.rival.user_id
        known = {"digits": digits, "revision": info.revision, "rival": rival, "rivalDigits": others or None}
        click.echo(json.dumps({"type": "group-digits", **known}))
        return
    compare = "compare them with those of another member who has as many: equal digits mean the same group"
    if info.relation not in {"member", "invited"}:
        compare = "this is how you last saw it, for you are not in it any more"
    click.echo(f"digits: {digits}  (after {count(info.revision, 'change')}; {compare})")
    if info.doubt:
        go_on = f"phantom groups go-on{profile_flag(profile)} {shell_word(called(client, info))}"
        click.echo(forked(info, others, go_on) if info.doubt == "forked" else changed_by_newer(info, go_on))


def forked(info: GroupInfo, others: str, go_on: str) -> str:
    """What a user can do about a group with two histories; ``others``: the digits of the other one, if known."""
    who = "the relay" if info.rival is None else one_line(info.rival.label)
    theirs = f"digits: {others}  (those of {who})\n" if others else ""
    return (
        f"{theirs}{who} knows another history of this group, so nothing is sent to it. Ask the members for their"
        f" digits, face to face or by telephone: who has yours sees the members above. To write to these all the same,"
        f" run: {go_on}"
    )


def changed_by_newer(info: GroupInfo, go_on: str) -> str:
    """What a user can do about a group that a newer version of this program has changed."""
    who = "somebody" if info.rival is None else one_line(info.rival.label)
    return (
        f"{who} has changed this group with a newer version of this program, and what it is now cannot be said here, so"
        " nothing is sent to it. Update this program to see it. To write to the members above all the same, run:"
        f" {go_on} (a change that is made then divides the group from those who have the other one)"
    )


@groups.command(short_help="Say what members are to call you.")
@click.argument("group")
@click.argument("name", required=False)
@profile_option
@click.option("--none", "withholds", is_flag=True, help="no longer say a name")
@reports_errors
def me(group: str, name: str | None, profile: str, withholds: bool) -> None:
    """Say the NAME that members of GROUP are shown who have not added you; without one, show it.

    They see it with the beginning of your user ID, as anybody can say any name; the relay cannot read it.
    """
    if name is not None and withholds:
        raise click.UsageError("say a NAME, or --none")
    client = open_client(profile)
    if name is None and not withholds:
        click.echo(one_line(client.groups.find(group).own_name) or "no name")
        return
    said = f"they are told that you are {one_line(name)}" if name else "they are no longer told a name"
    changed(client, lambda: client.groups.call_me(group, name or ""), said)


@groups.command(short_help="Remove members.")
@click.argument("group")
@click.argument("who", nargs=-1, required=True)
@profile_option
@reports_errors
def remove(group: str, who: tuple[str, ...], profile: str) -> None:
    """Remove WHO from GROUP: they can read nothing that is written from then on."""
    client = open_client(profile)

    def remove_them() -> None:
        check_members(client, group, who, are_in=True)
        client.groups.remove(group, who)

    changed(client, remove_them, "removed")


@groups.command(short_help="Make somebody an admin, or a member.")
@click.argument("group")
@click.argument("who")
@click.argument("role", type=click.Choice(["admin", "member"]))
@profile_option
@reports_errors
def role(group: str, who: str, role: str, profile: str) -> None:
    """Give WHO, who is in GROUP, the ROLE admin or member."""
    client = open_client(profile)
    changed(
        client,
        lambda: client.groups.set_role(group, who, role),
        f"{one_line(who)} is now {'an admin' if role == 'admin' else 'a member'}",
    )


@groups.command(short_help="Give a group another name.")
@click.argument("group")
@click.argument("name")
@profile_option
@click.option("--yes", is_flag=True, help="allow a NAME that looks like that of another group or a contact")
@reports_errors
def rename(group: str, name: str, profile: str, yes: bool) -> None:
    """Call GROUP by another NAME, for everybody."""
    client = open_client(profile)
    if not yes:
        check_free(client, name, of_group=client.groups.find(group).group)
    changed(client, lambda: client.groups.rename(group, name), "renamed")


@groups.command(short_help="Give a group a picture, or save it.")
@click.argument("group")
@click.argument("file", required=False)
@profile_option
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="write the group's picture to this file")
@reports_errors
def picture(group: str, file: str | None, profile: str, save: Path | None) -> None:
    """Give GROUP the picture in FILE (PNG, JPEG or WebP, at most 4,096 bytes), or 'none', for everybody."""
    if (file is None) == (save is None):
        raise click.UsageError("name a FILE, or 'none'; or save the picture with --save")
    client = open_client(profile)
    if file is not None:
        data = b"" if file == "none" else read_picture(Path(file))
        changed(client, lambda: client.groups.set_picture(group, data), "changed" if data else "the group has none now")
    elif save is not None:
        info = client.groups.find(group)
        if not info.picture:
            raise UsageError(f"{one_line(info.label)} has no picture, or it has not come yet")
        with save.open("xb") as out:
            out.write(info.picture)
        click.echo(f"saved: {info.picture_type}")


@groups.command(short_help="Let messages expire.")
@click.argument("group")
@click.argument("time", type=Duration(or_none=True))
@profile_option
@reports_errors
def timer(group: str, time: float, profile: str) -> None:
    """Have messages that are written to GROUP from now on expire after TIME: 30s, 10m, 1h, 7d; 0: they stay."""
    client = open_client(profile)
    done = f"messages that are written from now on {f'expire after {lasting(round(time * 1000))}' if time else 'stay'}"
    changed(client, lambda: client.groups.set_timer(group, time), done)


@groups.command(short_help="Say who may write and invite.")
@click.argument("group")
@profile_option
@click.option("--write", type=click.Choice(["admin", "member"]), help="who may write, at least")
@click.option("--invite", "inviting", type=click.Choice(["admin", "member"]), help="who may have others invited")
@reports_errors
def rights(group: str, profile: str, write: str | None, inviting: str | None) -> None:
    """Say who may write to GROUP, and who may have others invited; without options, show it."""
    client = open_client(profile)
    if write is None and inviting is None:
        info, who = client.groups.find(group), {"member": "members", "admin": "admins"}
        click.echo(f"{who[info.write]} write, {who[info.invite]} invite")
        return
    changed(client, lambda: client.groups.set_rights(group, write=write, invite=inviting), "changed")


@groups.command(short_help="Leave a group's messages unread.")
@click.argument("group")
@profile_option
@reports_errors
def mute(group: str, profile: str) -> None:
    """Have 'listen' leave the messages to GROUP unread; 'chat' shows them. Nobody else learns of it."""
    client = open_client(profile)
    info = client.groups.mute(group)
    chat = f"phantom chat{profile_flag(profile)} {shell_word(called(client, info))}"
    click.echo(f"muted {one_line(info.label)}; to read it, run: {chat}")


@groups.command(short_help="Hear a group again.")
@click.argument("group")
@profile_option
@reports_errors
def unmute(group: str, profile: str) -> None:
    """Have 'listen' print the messages to GROUP again, and those that wait."""
    info = open_client(profile).groups.mute(group, muted=False)
    click.echo(f"{one_line(info.label)} is not muted any more")


@groups.command(short_help="End a group for everybody.")
@click.argument("group")
@profile_option
@click.option("--yes", is_flag=True, help="do not ask for confirmation")
@reports_errors
def close(group: str, profile: str, yes: bool) -> None:
    """End GROUP: nobody can write to it any more."""
    client = open_client(profile)
    info = client.groups.find(group)
    check_first(client)
    question = f"Close {one_line(info.label)} for everybody?"
    if not yes and may_close(info):
        if not confirmed(question, err=True):
            raise click.Abort
        yes = True

    async def sure() -> None:
        """Ask whoever may do it by what was fetched now, and nobody who is refused."""
        if not yes and may_close(client.groups.find(info.group)) and not await is_so(question):
            raise click.Abort

    run(_changed(client, lambda: client.groups.close(info.group), "closed", first=sure))


def may_close(info: GroupInfo) -> bool:
    """Whether this user can close a group, as far as is known."""
    return info.relation == "member" and info.is_admin and not info.doubt


@groups.command("go-on", short_help="Go on with a group that is in doubt, or waits.")
@click.argument("group")
@profile_option
@reports_errors
def go_on(group: str, profile: str) -> None:
    """Go on with GROUP, and the members that are shown by 'members'.

    Messages are sent again although somebody knows another history of it, or a newer version of this program has
    changed it; and your changes no longer wait for one of somebody else's that has not come. If it comes later, it
    divides the group.
    """
    client = open_client(profile)
    info = client.groups.go_on(group)
    members = f"phantom groups members{profile_flag(profile)} {shell_word(called(client, info))}"
    click.echo(f"messages go to the members that are shown by: {members}")


def changed(client: Client, change: Callable[[], T], done: str | Callable[[T], str]) -> None:
    """Make a change, connect, and wait a while until the relay has it; ``done``: what is said of it then."""
    run(_changed(client, change, done))


async def _changed(
    client: Client,
    change: Callable[[], T],
    done: str | Callable[[T], str],
    *,
    awaits: str = "",
    first: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Do it.

    ``awaits``: a group that may not be known yet, because its invitation waits at the relay. ``first``: what is done
    once it is known what others have changed.
    """
    waits, refused, waiting = False, list[str](), list[GroupEvent]()
    async with client:
        watching = asyncio.create_task(_refusals(client, refused, waiting))
        await asyncio.sleep(0)  # so that it sees every event
        try:
            with contextlib.suppress(RelayError):  # what others have changed decides what may be done
                await client.fetch(PATIENCE)
                if awaits and not client.groups.has(awaits):
                    await client.groups.wait_known(awaits, PATIENCE)
            if first is not None:
                await first()
            made = change()
            try:
                await client.wait_online(PATIENCE)
                waits = not await client.groups.settled(PATIENCE) or bool(await client.flush(PATIENCE))
            except RelayError:
                waits = True
            await asyncio.wait({watching}, timeout=HEARD)
        finally:
            watching.cancel()
        if refused:
            raise PhantomError(refused[0])
        if waits and waiting:
            group = shell_word(called(client, client.groups.find(waiting[0].group)))
            hint = f"to hear when it has come: phantom listen; to go on without it: phantom groups go-on {group}"
            click.echo(sentence(f"{waiting[0].message}; {hint}"))
            return
        later = "; the relay will be told the next time you connect, for example with: phantom listen" if waits else ""
        click.echo((done if isinstance(done, str) else done(made)) + sentence(later))


async def _refusals(client: Client, found: list[str], waiting: list[GroupEvent]) -> None:
    """Keep what is said of changes that could not be made, or not yet; and say what the user should know."""
    async for event in client.events():
        match event:
            case GroupEvent(news=GroupNews.REFUSED):
                found.append(event.message)
            case GroupEvent(news=GroupNews.WAITING):
                waiting.append(event)
            case WarningEvent():
                click.echo(f"phantom: {sentence(event.message)}", err=True)
            case _:
                pass


def group_row(info: GroupInfo) -> dict[str, Any]:
    """A group as documented JSON."""
    return {
        "type": "group",
        "group": info.group,
        "name": info.name,
        "relation": info.relation,
        "doubt": info.doubt or None,
        "behind": info.is_behind,
        "inviter": info.inviter.user_id if info.inviter is not None else None,
        "wasNoAdmin": info.was_no_admin,
        "admin": info.is_admin,
        "members": [member.contact.user_id for member in info.members],
        "timer": info.timer,
        "invite": info.invite,
        "write": info.write,
        "muted": info.muted,
        "unread": info.unread,
        "revision": info.revision,
        "picture": info.picture_type or None,
    }
