"""Opening a link to a group, and what comes of it."""

import asyncio
from typing import Final

import click

from phantom_messenger.cli.common import one_line, sentence, shell_word
from phantom_messenger.cli.group_lines import called, news_line
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import PhantomError, RelayError, RelayUnreachable
from phantom_messenger.client.groups.views import GroupInfo
from phantom_messenger.client.groups.words import listed
from phantom_messenger.client.status import Contact, GroupEvent, GroupNews, WarningEvent

PATIENCE: Final = 8.0
"""Seconds for which the relay is waited for."""

ANSWER: Final = 8.0
"""Seconds for which an admin's program is waited for: it may be running, or not."""


class LinkRefused(PhantomError):
    """The link to a group serves no more."""


async def join_by(client: Client, link: str, flag: str, own_name: str = "") -> None:
    """Open a link, and wait a while for the admin's program.

    Args:
        client: not connected yet.
        link: the link.
        flag: see ``profile_flag``.
        own_name: what members are to call this user.

    Raises:
        LinkRefused: the admin's program has said that it serves no more.
    """
    groups = client.groups.all()
    before = {info.group for info in groups if info.relation == "member"}
    met = {one.user_id for one in client.contacts.everybody() if client.contacts.is_known(one.user_id)}
    async with client:
        admin = client.groups.join(link, own_name=own_name)
        answer, why = asyncio.create_task(_let_in(client, admin.user_id, before, flag)), ""
        known = [info for info in groups if _may_be_of(info, admin)]
        for line in _known_already(client, known, admin, flag):
            click.echo(f"phantom: {line}", err=True)
        try:
            await client.wait_online(PATIENCE)
            waits = bool(await client.flush(PATIENCE))
        except RelayError as error:
            waits, why = True, f"{sentence(str(error))}; "
        done, _ = await asyncio.wait({answer}, timeout=0 if waits else ANSWER)
        answer.cancel()
        if done:
            try:
                click.echo(answer.result())
            except LinkRefused:
                if admin.user_id not in met:
                    await _forget(client, admin.user_id)
                raise
            return
    later = f"{why}the request will be sent the next time you connect"
    sent = later if waits else "the request is sent, and not answered yet"
    it_is = f"it is {' or '.join(one_line(info.label) for info in known)}, or " if known else ""
    click.echo(
        f"{sent}; you will be in the group once the admin's program has answered, unless {it_is}the link is used up or"
        f" too old; to wait for it, run: phantom listen{flag}"
    )


async def _forget(client: Client, admin: str) -> None:
    """A stranger whose link was of no use is a stranger again: no contact without a name is left of it.

    Not if there is more between the two by now: a message, a name, or a group in which both are.
    """
    fellows = {one.contact.user_id for info in client.groups.all() for one in info.members}
    if admin in fellows or client.contacts.of(admin).name or client.history(admin, limit=1):
        return
    client.contacts.remove(admin)
    await client.wait_blocks_confirmed(PATIENCE)


def _may_be_of(info: GroupInfo, admin: Contact) -> bool:
    """Whether a link of an admin may lead to a group that is known: it does not say to which one it does."""
    roles = {one.contact.user_id: one.role for one in info.members}
    return info.relation in {"invited", "member"} and roles.get(admin.user_id) == "admin"


def _known_already(client: Client, known: list[GroupInfo], admin: Contact, flag: str) -> list[str]:
    """What is said at once of groups to which a link may lead: whoever is in one, or invited, is not answered."""
    who = one_line(admin.label)
    lines = [
        f"you are invited to {one_line(info.label)}, of which {who} is an admin; if the link is to that group, run:"
        f" phantom groups accept{flag} {shell_word(called(client, info))}"
        for info in known
        if info.relation == "invited"
    ]
    names = [one_line(info.label) for info in known if info.relation == "member"]
    if names:
        that = "one of them" if names[1:] else "that group"
        is_in = f"you are in {listed(names)}, of which {who} is an admin"
        lines.append(f"{is_in}; if the link is to {that}, there is nothing to do")
    return lines


async def _let_in(client: Client, admin: str, before: set[str], flag: str) -> str:
    """What has come of a link, as a line: an admin has let in or invited this user, who was in those groups before."""
    async for event in client.events():
        if isinstance(event, WarningEvent) and event.code == "link-refused":
            raise LinkRefused(event.message)
        answers = {GroupNews.JOINED, GroupNews.INVITED}  # a link may not lead back into a group by itself
        if isinstance(event, GroupEvent) and event.news in answers and event.group not in before:
            info = client.groups.find(event.group)
            if info.inviter is None or info.inviter.user_id != admin:
                continue
            if event.news is GroupNews.INVITED:
                return news_line(client, event, flag)
            write = f"phantom chat{flag} {shell_word(called(client, info))}"
            return f"you have joined {one_line(info.label)}; write with: {write}"
    raise RelayUnreachable("the client was closed")
