"""What ``Client.groups`` offers to applications."""

import asyncio
import functools
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

from phantom_messenger.client.connection_loop import ConnectionLoop
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.conversation_front import Conversation, PastMessage, ReceivedMessage
from phantom_messenger.client.delivery import Delivery
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.event_hub import EventHub
from phantom_messenger.client.groups.groups import Groups as GroupsCore
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.views import GroupEntry, GroupInfo, GroupInvitation, GroupLink, contact_of
from phantom_messenger.client.handing_out import Found, Reader
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.status import Contact, DeliveryState
from phantom_messenger.client.translate import guarded

_MILLISECONDS: Final = 1_000


class GroupMessage:
    """A received message to a group.

    ``id`` and ``sender`` (a user id) identify it; ``contact`` is what is known of its sender, ``group`` of the group,
    and ``conversation`` is that with the group. ``text``: its text. ``sent_at``: when it was written, as the sender
    says; ``received_at``: when this device got it; ``expires_at``: when it will be deleted, or None; all in
    milliseconds since 1970. ``is_newer``: always False.
    """

    def __init__(self, entry: GroupEntry, group: GroupInfo, groups: "Groups", conversation: Conversation) -> None:
        self._groups = groups
        self.id = entry.message_id
        self.group = group
        self.conversation = conversation
        self.sender = entry.sender.user_id
        self.contact = entry.sender
        self.text = entry.text or ""
        self.is_newer = False
        self.sent_at = entry.sent_at
        self.received_at = entry.kept_at
        self.expires_at = entry.expires_at

    def __repr__(self) -> str:
        return f"GroupMessage({self.id} from {self.contact.label})"

    async def reply(self, text: str) -> Delivery:
        """Write to the group; arguments and errors are those of ``Groups.send``."""
        return await self._groups.send(self.group.group, text)

    async def mark_read(self) -> None:
        """Notify the sender that it was read, if read receipts are on; on disk even if this is cancelled."""
        self._groups.mark_read(self)
        await asyncio.sleep(0)  # a program that handles a backlog must not hold up its own connection


@guarded
class Groups:
    """The groups of a client: ``Client.groups``.

    Wherever a method takes ``group``, it is the name of one, its id, or 8 or more characters with which that begins;
    where it takes people, these are names of contacts or user ids. What changes a group is on disk when the method
    returns, and sent as soon as possible. Only admins change a group; whatever cannot be done raises ``UsageError``,
    and an unknown name ``UnknownContact``.
    """

    def __init__(self, messenger: Messenger, hub: EventHub, loop: ConnectionLoop) -> None:
        self._messenger = messenger
        self._core = messenger.groups
        self._hub = hub
        self._loop = loop

    @property
    def _contacts(self) -> Contacts:
        return self._messenger.contacts

    def _ids(self, people: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(self._contacts.find(who).user_id for who in people))

    # --- looking ------------------------------------------------------------------

    def all(self) -> list[GroupInfo]:
        """All groups, also those that were left, the oldest first."""
        return self._core.all()

    def find(self, group: str) -> GroupInfo:
        """A group by its name or id; ``UsageError`` if several have this name."""
        return self._core.find(group)

    def invitations_of(self, who: str) -> list[GroupInvitation]:
        """To which groups a stranger invites whose messages wait as a request (``Client.requests``).

        Nobody is notified. Once the stranger is accepted, each is a group of ``all`` that waits to be accepted.

        Args:
            who: a user id.
        """
        return self._core.invitations_of(self._contacts.find(who).user_id)

    def concern(self, who: str) -> bool:
        """Whether what waits of a stranger is about groups to which they do not invite: they are in one, or were.

        It goes on waiting until you have accepted the invitation of whoever does invite you, and need not be accepted.

        Args:
            who: a user id.
        """
        return self._core.concern(self._contacts.find(who).user_id)

    def has(self, group: str) -> bool:
        """Whether there is a group of this name or id."""
        return self._core.has(group)

    def digits(self, group: str) -> str:
        """20 digits that are the same for all who know the same group; takes some hundredths of a second."""
        return self._core.digits(group)

    def rival_digits(self, group: str) -> str:
        """Of a group that is 'forked': the digits of what its ``rival`` knows instead; '' if that is not known."""
        return self._core.rival_digits(group)

    def contact(self, group: str) -> Contact:
        """A group in the place of a contact, as ``DeliveryEvent`` names it."""
        info = self._core.find(group)
        return contact_of(info.group, info.name)

    async def wait_known(self, group: str, timeout: float | None = None) -> bool:
        """Wait until there is a group of this name or id: an invitation may be on its way.

        Args:
            group: its name or id.
            timeout: seconds; None waits forever.

        Returns:
            Whether there is one.
        """
        return await self._hub.wait_until(lambda: self._core.has(group), timeout)

    async def settled(self, timeout: float | None = None) -> bool:
        """Wait until all changes that you wanted are in order at the relay, or were refused.

        Args:
            timeout: seconds; None waits forever.

        Returns:
            Whether they are.
        """
        return await self._hub.wait_until(lambda: not self._core.wanted, timeout)

    # --- being in it --------------------------------------------------------------

    def create(self, name: str, people: Iterable[str] = (), *, own_name: str = "") -> GroupInfo:
        """Make a group whose admin you are, and have people invited; ``own_name``: see ``call_me``."""
        group = self._core.create(name, self._ids(people), own_name)
        self._loop.changed()
        return self._core.find(group)

    def accept(self, group: str, *, own_name: str = "") -> GroupInfo:
        """Accept an invitation: what has been said since is handed out, and the others learn that you are there.

        Args:
            group: you are invited to it.
            own_name: see ``call_me``.
        """
        name = self._core.accept(group, own_name)
        self._loop.changed()
        return self._core.find(name)

    def leave(self, group: str) -> None:
        """Leave a group, or decline an invitation; an admin who is the last one names another first."""
        self._core.leave(group)
        self._loop.changed()

    def forget(self, group: str) -> None:
        """Erase a group that was left, with all that was said in it."""
        self._core.forget(group)

    def join(self, link: str, *, own_name: str = "") -> Contact:
        """Open a link ('phantom:join?…'): its admin is asked to add you. Who that is comes back.

        Args:
            link: must be of the relay that you use.
            own_name: see ``call_me``.
        """
        found = JoinLink.parse(link)
        if self._messenger.server and found.relay != self._messenger.server:
            raise UsageError(f"this invitation is for another relay, {found.relay}; use it with a profile there")
        self._core.join(found, own_name)
        self._loop.changed()
        return self._contacts.of(found.admin)

    def call_me(self, group: str, name: str) -> GroupInfo:
        """Say what members are to call you who have not added you; the relay cannot read it.

        They are shown it with the beginning of your id, as anybody can say any name. Whoever is added later learns it
        too, in groups of up to 32 members at once, in larger ones with your next message.

        Args:
            group: you are in it.
            name: 1 to 64 characters, without brackets; '' for none any more.
        """
        return self._done(group, lambda: self._core.call_me(group, name))

    def mute(self, group: str, *, muted: bool = True) -> GroupInfo:
        """Note whether you want to be told of messages; applications keep to it. It holds on all your devices.

        Nobody else learns of it.
        """
        return self._done(group, lambda: self._core.mute(group, muted=muted))

    def go_on(self, group: str) -> GroupInfo:
        """Write again to a group that is in doubt, with the members as shown here."""
        return self._done(group, lambda: self._core.go_on(group))

    # --- changing it --------------------------------------------------------------

    def invite(self, group: str, people: Iterable[str], *, role: str = "member") -> None:
        """Have people added: 'member' or 'admin'. Members may propose members if the group's rights say so."""
        self._core.add(group, self._ids(people), role)
        self._loop.changed()

    def link(self, group: str, *, uses: int = 1, days: float = 7.0) -> str:
        """A link with which others can join; whoever has it can use it.

        Args:
            group: the group.
            uses: how many people it lets in, at most 100.
            days: how long it serves, at most 30.
        """
        if not math.isfinite(days):
            raise UsageError("a link serves for a number of days")
        return self._core.link(group, self._messenger.server, uses=uses, life=round(days * 86_400_000))

    def links(self, group: str) -> list[GroupLink]:
        """Your links to a group that still let somebody in, made on this device."""
        return self._core.links.of(self._core.find(group).group, self._messenger.server)

    def end_links(self, group: str) -> None:
        """End all of them: whoever opens one is told that it does not work any more."""
        self._core.links.end(self._core.find(group).group)

    def remove(self, group: str, people: Iterable[str]) -> None:
        """Have members removed: nothing that is written from then on is encrypted for them."""
        self._core.remove(group, self._ids(people))
        self._loop.changed()

    def set_role(self, group: str, who: str, role: str) -> None:
        """Make somebody an 'admin', or a 'member'."""
        self._core.set_role(group, self._contacts.find(who).user_id, role)
        self._loop.changed()

    def rename(self, group: str, name: str) -> None:
        """Give the group another name."""
        self._core.rename(group, name)
        self._loop.changed()

    def set_picture(self, group: str, data: bytes | None) -> None:
        """Give the group another picture, or none.

        Args:
            group: the group.
            data: a PNG, JPEG or WebP of at most 4,096 bytes, as all members are to get it. It is not decoded: what a
                camera has written into it goes with it.
        """
        self._core.set_picture(group, data or b"")
        self._loop.changed()

    def set_timer(self, group: str, seconds: float) -> None:
        """Have messages that are written from now on expire after so many seconds; 0: they stay."""
        if not math.isfinite(seconds):
            raise UsageError("the timer is a number of seconds")
        self._core.set_timer(group, round(seconds * _MILLISECONDS))
        self._loop.changed()

    def set_rights(self, group: str, *, invite: str | None = None, write: str | None = None) -> None:
        """Say who may have others added, and who may write: 'member' or 'admin'; None: as it is."""
        self._core.set_rights(group, invite=invite, write=write)
        self._loop.changed()

    def close(self, group: str) -> None:
        """End the group for everybody."""
        self._core.close(group)
        self._loop.changed()

    # --- texts --------------------------------------------------------------------

    async def send(self, group: str, text: str) -> Delivery:
        """Write to a group; it is on disk when this returns, and is sent as soon as possible.

        Returns:
            How far it has come: accepted once the relay has it for somebody, delivered and read once all have.
        """
        await asyncio.sleep(0)  # a program that sends many must not hold up its own connection
        self._hub.raise_if_closed()
        info = self._core.find(group)
        message_id = self._core.send_text(group, text)
        delivery = self._hub.track(message_id, contact_of(info.group, info.name))
        self._loop.changed()
        return delivery

    def progress(self, message_id: str) -> dict[str, DeliveryState]:
        """How far a message of yours has come with each member, by user id; nothing after 30 days."""
        return self._core.progress(message_id)

    async def messages(self, group: str | None = None, *, muted: bool = True) -> AsyncIterator[GroupMessage]:
        """Received messages to groups, oldest first, without end; as ``Client.messages``.

        Args:
            group: only messages to this one; the others stay for later.
            muted: whether also messages to muted groups; else they stay for later.
        """
        find = functools.partial(next_text, self, self._core, group, muted=muted)
        reader = Reader([find], self._hub)
        while True:
            yield await reader.next()

    def mark_read(self, message: GroupMessage) -> None:
        """As ``message.mark_read``."""
        self._core.mark_read(message.group.group, message.sender, message.id)
        self._loop.changed()

    def history(
        self, group: str, *, since: float | None = None, search: str | None = None, limit: int | None = None
    ) -> list[GroupEntry]:
        """What was said in a group, oldest first; arguments as ``Client.history``."""
        if (since is not None and not math.isfinite(since)) or (limit is not None and limit < 0):
            raise UsageError("since is a number of seconds since 1970, and limit a number of messages")
        begin = None if since is None else round(since * _MILLISECONDS)
        return self._core.history(group, since=begin, search=search, limit=limit)

    def _done(self, group: str, change: Callable[[], None]) -> GroupInfo:
        name = self._core.find(group).group
        change()
        self._loop.changed()
        return self._core.find(name)


class GroupConversation(Conversation):
    """In a group; see ``Conversation``.

    Args:
        groups: the groups of a client.
        core: has what was received.
        group: its id.
    """

    is_group = True

    def __init__(self, groups: Groups, core: GroupsCore, group: str) -> None:
        super().__init__(group, functools.partial(next_text, groups, core, group, muted=True))
        self._groups = groups

    @property
    def name(self) -> str:
        """See ``Conversation``."""
        return self._groups.find(self.id).name

    @property
    def label(self) -> str:
        """See ``Conversation``."""
        return self._groups.find(self.id).label

    async def send(self, text: str) -> Delivery:
        """See ``Conversation``."""
        return await self._groups.send(self.id, text)

    async def messages(self) -> AsyncIterator[ReceivedMessage]:
        """See ``Conversation``."""
        async for message in self._groups.messages(self.id):
            yield message

    def history(
        self, *, since: float | None = None, search: str | None = None, limit: int | None = None
    ) -> Sequence[PastMessage]:
        """See ``Conversation``."""
        return self._groups.history(self.id, since=since, search=search, limit=limit)

    def set_typing(self) -> None:
        """See ``Conversation``."""


def next_text(
    groups: Groups, core: GroupsCore, group: str | None, after: int, *, muted: bool
) -> Found[GroupMessage] | None:
    """The first text behind a position that was not handled.

    Further in front there is something again once an invitation was accepted, or a group is not muted any more.

    Args:
        groups: answers to it.
        core: has it.
        group: name or id, if only messages to this one.
        after: the position.
        muted: whether also messages to muted groups.
    """
    found = core.next_text(after, group, muted=muted) or core.next_text(0, group, muted=muted)
    if found is None:
        return None
    position, info, entry = found
    handled = functools.partial(core.handled, info.group, entry.sender.user_id, entry.message_id)
    conversation = GroupConversation(groups, core, info.group)
    return Found(position, GroupMessage(entry, info, groups, conversation), handled)
