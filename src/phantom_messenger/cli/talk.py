"""A conversation as commands see it: with a person, or with a group."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from phantom_messenger.cli.common import one_line, printable, shell_word
from phantom_messenger.cli.group_lines import called, group_line, group_message_line, group_summary, is_group
from phantom_messenger.cli.history import history_line
from phantom_messenger.cli.listen import message_line
from phantom_messenger.cli.times import moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.delivery import Delivery
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.views import GroupEntry
from phantom_messenger.client.groups.words import lasting
from phantom_messenger.client.history import HistoryEntry
from phantom_messenger.client.sanitize import cut
from phantom_messenger.client.status import (
    Contact,
    DeliveryState,
    Event,
    GroupMessageEvent,
    MessageEvent,
    WrittenEvent,
)

Incoming = tuple[str, str, Callable[[], Awaitable[None]]]
"""The id of a message, a line to be printed, and what marks it as read."""


RECENT: Final = 100
"""Messages among which one is looked for that was stored a moment ago."""

EXCERPT: Final = 40
"""Columns of a message by which its writer knows it again."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A message that was written on another device: its line, and how far it has come."""

    message_id: str
    line: str
    state: DeliveryState

    @classmethod
    def of(cls, entry: HistoryEntry | GroupEntry) -> "Elsewhere":
        """One that is found in a history."""
        burns = isinstance(entry, HistoryEntry) and entry.burn_after_read
        marks = [mark for mark, is_set in (("burns", burns), ("expires", entry.expires_at is not None)) if is_set]
        mark = f" ({', '.join(marks)})" if marks else ""
        line = own_line(entry.text or "[gone]", mark, at=entry.sent_at)
        return cls(entry.message_id, line, entry.state or DeliveryState.ACCEPTED)


def _unsent(found: Sequence[HistoryEntry | GroupEntry]) -> dict[str, str]:
    """See ``Talk.unsent``."""
    waiting = [one for one in found if one.is_own and one.state is DeliveryState.QUEUED]
    return {one.message_id: f"{moment(one.sent_at)} you: {cut(one_line(one.text or ''), EXCERPT)}" for one in waiting}


def own_line(text: str, mark: str = "", *, at: int | None = None) -> str:
    """Your own message as you see it above the prompt; ``at``: when it was written, if not now."""
    shown = printable(text).replace("\n", "\n        ")
    return f"{moment(time.time_ns() // 1_000_000 if at is None else at)} you{mark}: {shown}"


class Talk(Protocol):
    """What a chat does with the other side.

    ``contact``: the other side; a group stands in the place of a contact. ``label``: how it is called.
    """

    contact: Contact
    label: str

    async def send(self, text: str, *, burn: bool, expires_in: float | None) -> Delivery:
        """Write."""

    def past(self, limit: int) -> list[str]:
        """The last lines that were read or written."""

    def unsent(self) -> dict[str, str]:
        """What of one's own still waits to be sent: message ids, and a short line for each."""

    def unread(self) -> list[str]:
        """Ids of what has come and is still to be printed."""

    def arrived(self, event: Event) -> str:
        """The id of a message to this conversation, if it is that which has come; '' else."""

    def incoming(self) -> AsyncIterator[Incoming]:
        """What arrives."""

    def elsewhere(self, event: WrittenEvent) -> Elsewhere | None:
        """What one has written to the other side on another device; None if it was written to somebody else."""

    def typing(self) -> None:
        """Say that one is writing."""

    def ask_presence(self) -> None:
        """Ask what the other side is doing."""

    def waiting(self) -> str | None:
        """Whose messages wait to be sent; None: anybody's."""

    def about(self) -> str:
        """What there is to say of the other side now; '' if that is their presence and trust."""

    def expires(self) -> bool:
        """Whether all that is written expires."""


class PersonTalk:
    """With a person; see ``Talk``.

    Args:
        client: open.
        who: a contact's name or a user id.
    """

    def __init__(self, client: Client, who: str) -> None:
        self._client = client
        self.contact = client.contacts.find(who)
        self._who = self.contact.user_id  # the name can be another one tomorrow, or now, from another device
        self.label = one_line(self.contact.label)

    async def send(self, text: str, *, burn: bool, expires_in: float | None) -> Delivery:
        """See ``Talk``."""
        return await self._client.send(self._who, text, burn_after_read=burn, expires_in=expires_in)

    def past(self, limit: int) -> list[str]:
        """See ``Talk``."""
        found = self._client.history(self._who, limit=limit)
        # What waits is about to be printed, and marked as read.
        return [history_line(entry, self.contact) for entry in found if not entry.is_waiting]

    def unsent(self) -> dict[str, str]:
        """See ``Talk``."""
        return _unsent(self._client.history(self._who, limit=RECENT))

    def unread(self) -> list[str]:
        """See ``Talk``."""
        return [one.message_id for one in self._client.history(self._who, limit=RECENT) if one.is_waiting]

    def arrived(self, event: Event) -> str:
        """See ``Talk``."""
        if isinstance(event, MessageEvent) and event.peer.user_id == self.contact.user_id:
            return event.message_id
        return ""

    async def incoming(self) -> AsyncIterator[Incoming]:
        """See ``Talk``."""
        async for message in self._client.messages(sender=self.contact.user_id):
            yield message.id, message_line(message), message.mark_read

    def elsewhere(self, event: WrittenEvent) -> Elsewhere | None:
        """See ``Talk``."""
        is_here = not event.group and event.peer.user_id == self.contact.user_id
        found = self._client.history(self._who, limit=RECENT) if is_here else []
        return next((Elsewhere.of(one) for one in found if one.is_own and one.message_id == event.message_id), None)

    def typing(self) -> None:
        """See ``Talk``."""
        self._client.set_typing(self._who)

    def ask_presence(self) -> None:
        """See ``Talk``."""
        self._client.ask_presence(self._who)

    def waiting(self) -> str | None:
        """See ``Talk``."""
        return self._who

    def about(self) -> str:
        """See ``Talk``."""
        return ""

    def expires(self) -> bool:
        """See ``Talk``; each message says it."""
        return False


class GroupTalk:
    """With a group; see ``Talk``.

    Args:
        client: open.
        group: its name or id.
        flag: see ``profile_flag``.
    """

    def __init__(self, client: Client, group: str, flag: str = "") -> None:
        self._client = client
        self._flag = flag
        self._group = client.groups.find(group).group
        self.contact = client.groups.contact(group)
        info = client.groups.find(group)
        self._name = called(client, info)
        timer = f"; messages expire after {lasting(info.timer)}" if info.timer else ""
        self.label = f"{one_line(info.label)} (group{timer})"

    async def send(self, text: str, *, burn: bool, expires_in: float | None) -> Delivery:
        """See ``Talk``."""
        if burn or expires_in is not None:
            timer = f"phantom groups timer{self._flag} {shell_word(self._name)} TIME"
            raise UsageError(
                f"not sent: a message to a group neither burns nor expires by itself; all of them do with: {timer}"
            )
        return await self._client.groups.send(self._group, text)

    def past(self, limit: int) -> list[str]:
        """See ``Talk``."""
        found = self._client.groups.history(self._group, limit=limit)
        return [group_line(entry) for entry in found if not entry.is_waiting]

    def unsent(self) -> dict[str, str]:
        """See ``Talk``."""
        return _unsent(self._client.groups.history(self._group, limit=RECENT))

    def unread(self) -> list[str]:
        """See ``Talk``."""
        found = self._client.groups.history(self._group, limit=RECENT)
        return [one.message_id for one in found if one.is_waiting]

    def arrived(self, event: Event) -> str:
        """See ``Talk``."""
        return event.message_id if isinstance(event, GroupMessageEvent) and event.group == self._group else ""

    async def incoming(self) -> AsyncIterator[Incoming]:
        """See ``Talk``."""
        async for message in self._client.groups.messages(self._group):
            yield message.id, group_message_line(message), message.mark_read

    def elsewhere(self, event: WrittenEvent) -> Elsewhere | None:
        """See ``Talk``."""
        found = self._client.groups.history(self._group, limit=RECENT) if event.group == self._group else []
        return next((Elsewhere.of(one) for one in found if one.is_own and one.message_id == event.message_id), None)

    def typing(self) -> None:
        """See ``Talk``; groups are not told."""

    def ask_presence(self) -> None:
        """See ``Talk``; groups are not asked."""

    def waiting(self) -> str | None:
        """See ``Talk``."""
        return None

    def about(self) -> str:
        """See ``Talk``."""
        return group_summary(self._client.groups.find(self._group), self._name, self._flag)

    def expires(self) -> bool:
        """See ``Talk``."""
        return bool(self._client.groups.find(self._group).timer)


def talk_with(client: Client, who: str, flag: str = "") -> Talk:
    """A conversation with a contact, or with a group if no contact has this name; ``flag``: see ``profile_flag``.

    Raises:
        UnknownContact: there is neither.
    """
    return GroupTalk(client, who, flag) if is_group(client, who) else PersonTalk(client, who)
