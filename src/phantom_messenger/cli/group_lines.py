"""Texts to groups as users and programs see them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import click

from phantom_messenger.cli.common import count, current_flag, one_line, printable, sentence, shell_word
from phantom_messenger.cli.times import moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import ContactExists, PhantomError, UnknownContact, UsageError
from phantom_messenger.client.group_front import GroupMessage
from phantom_messenger.client.groups.store import LEAST_OF_ID
from phantom_messenger.client.groups.views import GroupEntry, GroupInfo
from phantom_messenger.client.groups.words import lasting
from phantom_messenger.client.names import normal_name, skeleton
from phantom_messenger.client.status import DeliveryState, GroupEvent, GroupNews

MARKS: Final = {
    DeliveryState.QUEUED: "waiting",
    DeliveryState.ACCEPTED: "sent",
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.READ: "read",
    DeliveryState.BURNED: "burned",
    DeliveryState.EXPIRED: "expired",
    DeliveryState.FAILED: "failed",
}

_OVER: Final = {
    "left": "you have left",
    "removed": "you were removed",
    "closed": "closed",
    "invited": "you are invited",
}


def is_group(client: Client, who: str) -> bool:
    """Whether a word of the command line means a group.

    A contact of that name comes first, and a user id is always a person's: others give groups their names, and could
    give one the id of somebody to whom the user writes.

    Raises:
        UnknownContact: it means neither a group nor anybody else.
        InvalidUserId: it is meant as a user id, and has a wrong character.
    """
    try:
        contact = client.contacts.find(who)
    except UnknownContact:
        if client.groups.has(who):
            return True
        lists = "'phantom contacts' and 'phantom groups' list yours"
        raise UnknownContact(f"there is no contact and no group '{who}'; {lists}") from None
    except UsageError:
        if client.groups.has(who):
            return True
        raise
    is_id_of_group = any(info.group == who for info in client.groups.all())
    return is_id_of_group and not contact.name and contact.key is None


def called(client: Client, info: GroupInfo) -> str:
    """What a command takes to mean this group alone: its name, or the beginning of its id if that means another too."""
    found = client.groups.all()
    is_alone = [one.group for one in found if normal_name(one.name) == normal_name(info.name)] == [info.group]
    if info.name and is_alone and not info.name.startswith("-") and is_group(client, info.name):
        return info.name
    others = [one.group for one in found if one.group != info.group]
    lengths = range(LEAST_OF_ID, len(info.group))
    return next(
        (info.group[:end] for end in lengths if not any(one.startswith(info.group[:end]) for one in others)), info.group
    )


def check_free(client: Client, name: str, *, of_group: str | None = None) -> None:
    """Refuse a name that looks like that of another group or a contact: a user could not tell them apart.

    Args:
        client: open.
        name: a new one, for a group or a contact.
        of_group: of which group, '' for a new one; None for a contact, whom the address book compares with the others.

    Raises:
        ContactExists: it does.
    """
    contacts = [] if of_group is None else [(one.name, "contact") for one in client.contacts.everybody()]
    groups = [one for one in client.groups.all() if one.relation in {"invited", "member"} and one.group != of_group]
    for theirs, kind in [*contacts, *((one.name, "group") for one in groups)]:
        if theirs and skeleton(theirs) == skeleton(name):
            how = f"is the name of a {kind} of yours" if theirs == name else f"looks like your {kind} '{theirs}'"
            raise ContactExists(f"'{name}' {how}; choose another name, or use --yes to keep both")


def group_summary(info: GroupInfo, name: str, flag: str = "") -> str:
    """A group as one line.

    Args:
        info: the group.
        name: see ``called``.
        flag: see ``profile_flag``.
    """
    is_in = info.relation == "member"
    parts = [count(len(info.members), "member")] if is_in or info.relation == "invited" else []
    if info.relation == "invited" and info.inviter is not None:
        who = one_line(info.inviter.label)
        parts += [f"{who} was no admin of it when you were in it"] if info.was_no_admin else []
        parts.append(f"{who} invites you: phantom groups accept{flag} {shell_word(name)}")
    elif not is_in:
        parts.append(_OVER[info.relation])
    if info.is_admin and is_in:
        parts.append("you are an admin")
    if info.timer:
        parts.append(f"messages expire after {lasting(info.timer)}")
    if info.unread:
        parts.append(f"{info.unread:,} unread")
    if info.muted:
        parts.append("muted")
    if info.doubt == "forked":
        parts.append("somebody knows another history of it")
    elif info.doubt:
        parts.append("a newer version has changed it")
    begin = f" ({name})" if info.name and name != info.name else ""
    return f"{one_line(info.label)}{begin}: {', '.join(parts)}"


def news_line(client: Client, event: GroupEvent, flag: str) -> str:
    """What has become of a group, as a line; of an invitation, also what accepts it. ``flag``: see ``profile_flag``."""
    if event.news is not GroupNews.INVITED:
        return sentence(event.message)
    try:
        name = shell_word(called(client, client.groups.find(event.group)))
    except PhantomError:  # it is over by now, or the client was closed
        return sentence(event.message)
    return f"{one_line(event.message)}; to accept, run: phantom groups accept{flag} {name}"


@contextlib.asynccontextmanager
async def news_of_groups(client: Client) -> AsyncIterator[None]:
    """Print what becomes of groups until the client is closed: what one command hears, no later one hears again."""
    flag = current_flag()

    async def tell() -> None:
        async for event in client.events():
            if isinstance(event, GroupEvent):
                click.echo(f"phantom: {news_line(client, event, flag)}", err=True)

    telling = asyncio.create_task(tell())
    await asyncio.sleep(0)  # so that it sees every event
    try:
        yield
    finally:
        await asyncio.wait({telling}, timeout=1.0)  # it ends with the client, which is closed by now
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


def group_line(entry: GroupEntry) -> str:
    """A past text to a group as a user sees it; further lines are indented."""
    name = "you" if entry.is_own else one_line(entry.sender.label)
    state = " (unread)" if entry.state is None else f" ({MARKS[entry.state]})"
    mark = state if entry.is_own or entry.is_waiting else ""
    text = "[expired]" if entry.text is None else printable(entry.text).replace("\n", "\n        ")
    return f"{moment(entry.sent_at)} {name}{mark}: {text}"


def group_message_line(message: GroupMessage, *, names_group: bool = False) -> str:
    """A received text to a group as a user sees it; ``names_group``: which one it is to be said."""
    group = f" in {one_line(message.group.label)}" if names_group else ""
    text = printable(message.text).replace("\n", "\n        ")
    mark = "" if message.expires_at is None else " (expires)"
    return f"{moment(message.sent_at)} {one_line(message.contact.label)}{group}{mark}: {text}"


def group_message_row(message: GroupMessage) -> dict[str, Any]:
    """A received text to a group as documented JSON; times in milliseconds since 1970."""
    return {
        "type": "group-message",
        "id": message.id,
        "group": message.group.group,
        "groupName": message.group.name,
        "sender": message.sender,
        "name": message.contact.name,
        "says": message.contact.says,
        "text": message.text,
        "sentAt": message.sent_at,
        "receivedAt": message.received_at,
        "expiresAt": message.expires_at,
    }


def group_history_row(entry: GroupEntry, group: str) -> dict[str, Any]:
    """A past text to a group as documented JSON; times in milliseconds since 1970."""
    return {
        "type": "group-history",
        "id": entry.message_id,
        "group": group,
        "sender": entry.sender.user_id,
        "name": entry.sender.name,
        "says": entry.sender.says,
        "own": entry.is_own,
        "text": entry.text,
        "sentAt": entry.sent_at,
        "keptAt": entry.kept_at,
        "state": None if entry.state is None else str(entry.state),
        "waiting": entry.is_waiting,
        "expiresAt": entry.expires_at,
    }
