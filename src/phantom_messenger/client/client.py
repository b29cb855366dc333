"""The asyncio front of the SDK: ``Client``."""

import asyncio
import contextlib
import functools
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Self

import msgspec

from phantom_messenger.client import profile as profiles
from phantom_messenger.client.connection_loop import ConnectionLoop
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.conversation_front import Conversation, PersonConversation, ReceivedMessage
from phantom_messenger.client.delivery import Delivery, Message
from phantom_messenger.client.devices.front import Devices
from phantom_messenger.client.errors import (
    ClientClosed,
    NoKeyYet,
    RelayBusy,
    RelayError,
    RelayUnreachable,
    UnknownContact,
    UsageError,
)
from phantom_messenger.client.event_hub import EventHub
from phantom_messenger.client.group_front import GroupConversation, Groups, next_text
from phantom_messenger.client.handing_out import Found, Reader
from phantom_messenger.client.history import HistoryEntry
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.outages import no_answer
from phantom_messenger.client.profile_front import ProfileFront
from phantom_messenger.client.records import ReceivedRecord
from phantom_messenger.client.requests import MessageRequest
from phantom_messenger.client.settings import Settings
from phantom_messenger.client.status import ConnectionEvent, Contact, Event
from phantom_messenger.client.translate import guarded
from phantom_messenger.client.vault import Vault
from phantom_messenger.clock import boot_id, since_boot_ms
from phantom_messenger.wire.frames import PresenceStatus
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS

_YEAR_SECONDS: Final = MAX_EXPIRES_IN_MS // 1000
_log: Final = logging.getLogger("phantom_messenger")


@guarded
class Client(ProfileFront):
    """A user of a relay: ``async with Client.open(...) as me`` connects, and stays connected.

    ``groups``: see ``Groups``. Use it from one event loop and its thread. What changes the profile is synced to disk
    before the method returns: a few milliseconds for a message on an SSD, during which the event loop waits.
    """

    def __init__(self, vault: Vault, server: str | None, strangers: str = "ask") -> None:
        super().__init__(vault, server, strangers)
        try:
            self._messenger = Messenger(
                vault,
                wall=lambda: time.time_ns() // 1_000_000,
                monotonic=lambda: time.monotonic_ns() // 1_000_000,
                random=os.urandom,
                notify=self._changed,
                since_boot=since_boot_ms,
                boot=boot_id(),
                strangers=strangers,
            )
            if server is not None:
                self._messenger.set_server(profiles.checked_url(server))
        except BaseException:
            vault.close()
            raise
        self._hub = EventHub()
        self._loop = ConnectionLoop(self._messenger, self._hub)
        self._devices = Devices(self._messenger, self._loop)
        self.groups = Groups(self._messenger, self._hub, self._loop)

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def connect(self) -> Self:
        """Connect, and stay connected, as ``async with`` does; end it with ``aclose``. It does not wait for the relay.

        Returns:
            The client itself.

        Raises:
            UsageError: no relay is known. The client is closed then.
            ClientClosed: it was closed before.
        """
        self._hub.raise_if_closed()
        if not self._messenger.server:
            self.close()
            raise UsageError("no relay is known; give its URL with server=... or 'phantom init --server URL'")
        if not self._loop.is_running:
            self._loop.start()
        return self

    async def aclose(self) -> None:
        """Close the connection and then the profile, as ``async with`` does at its end; idempotent."""
        await self._loop.stop()
        self.close()

    def close(self) -> None:
        """Close the profile, and the connection without waiting for its end. Waiting tasks get ``ClientClosed``."""
        if not self._hub.is_closed:
            self._loop.cancel()
            self._hub.close(ClientClosed("this client was closed; open it again"))
            if self._messenger.desk.is_removed:
                profiles.erase(self._vault)
            self._vault.close()

    async def destroy(self, *, local_only: bool = False, timeout: float = 10.0) -> None:
        """Delete the identity: the account at the relay, then everything on this machine.

        Args:
            local_only: leave the account alone, for a relay that will never be reachable again.
            timeout: seconds to wait for the relay.

        Raises:
            RelayUnreachable, LoginRefused: nothing was deleted.
        """
        if not local_only and self._loop.is_running:
            await self.wait_online(timeout)
            self._messenger.delete_account()
            self._changed()
            await self._loop.ended(timeout)
            if not self._messenger.is_deleted:
                raise RelayUnreachable(
                    "the relay has not confirmed that it deleted the account, and nothing was deleted here; try again"
                )
        await self._loop.stop()
        self._hub.close(ClientClosed("this identity was destroyed"))
        profiles.erase(self._vault)

    @property
    def user_id(self) -> str:
        """Your own user id, in base64, to give to others."""
        return self._messenger.person

    @property
    def server(self) -> str:
        """The relay's URL; '' if none is known."""
        return self._messenger.server

    def set_server(self, url: str) -> None:
        """Remember another relay, and connect to it instead if there is a connection.

        Args:
            url: ws:// or wss://.

        Raises:
            UsageError: not the URL of a relay.
        """
        before = self.server
        self._messenger.set_server(profiles.checked_url(url))
        if before not in {"", self.server}:
            self._loop.moved()
            self._changed()

    @property
    def contacts(self) -> Contacts:
        """The address book."""
        return self._messenger.contacts

    @property
    def devices(self) -> Devices:
        """Your devices, if you use several."""
        return self._devices

    @property
    def connection(self) -> ConnectionEvent:
        """The state of the connection to the relay."""
        return self._hub.connection

    async def wait_online(self, timeout: float | None = None, *, attempts: int | None = None) -> None:
        """Wait until the client is logged in.

        Args:
            timeout: seconds; None waits forever.
            attempts: give up after this many failed ones.

        Raises:
            RelayUnreachable: not within the time or the attempts. ``RelayBusy`` if the relay is there but admits
                nobody at the moment; such attempts do not count.
            VaultError: what the relay sends cannot be stored in the profile, for example on a full disk.
            LoginRefused, Replaced: it will never be.
        """
        failed = await self._hub.wait_online(timeout, attempts)
        if self._hub.is_online:
            return
        if failed is not None and failed.busy:
            why = f"the relay at {self.server} lets nobody in just now because {failed.reason}"
            raise RelayBusy(why, failed.retry_after)
        reason = no_answer(self.server) if failed is None else failed.reason
        raise RelayUnreachable(f"the relay at {self.server} cannot be reached because {reason}")

    async def wait_published(self, timeout: float | None = None, *, attempts: int | None = None) -> None:
        """Wait until the relay has this identity's prekeys, so that others can write to it.

        Arguments and errors are those of ``wait_online``.
        """
        began = time.monotonic()
        await self.wait_online(timeout, attempts=attempts)
        left = None if timeout is None else timeout - (time.monotonic() - began)
        if not await self._hub.wait_until(lambda: self._messenger.prekeys_confirmed, left):
            self._hub.raise_if_not_stored()
            raise RelayUnreachable(f"the relay at {self.server} has not confirmed the prekeys in time; try again")

    async def wait_key(self, who: str, timeout: float | None = None) -> None:
        """Wait until a contact's key has been seen.

        Args:
            who: a contact's name or a user id.
            timeout: seconds; None waits forever.

        Raises:
            NoKeyYet: not within the time.
        """
        self._messenger.want_key(self.contacts.find(who).user_id)
        self._changed()
        if not await self._hub.wait_until(lambda: self.contacts.find(who).key is not None, timeout):
            raise NoKeyYet(f"the key of {who} has not been seen yet; have they connected once?")

    async def fetch_key(self, who: str, timeout: float) -> None:
        """Connect only to see a contact's key; for a client that is not inside ``async with``.

        Arguments and errors are those of ``wait_online`` and ``wait_key``.
        """
        self._loop.start()
        try:
            await self.wait_online(timeout)
            await self.wait_key(who, timeout)
        finally:
            await self._loop.stop()

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens from now on: see ``Event``. A reader that is 1,000 behind misses the oldest.

        Raises:
            LoginRefused, Replaced, ClientClosed: nothing more will come.
        """
        with self._hub.subscription() as queue:
            while True:
                event = await queue.get()
                if event is None:
                    self._hub.raise_if_ended()
                else:
                    yield event

    async def send(
        self, who: str, text: str, *, burn_after_read: bool = False, expires_in: float | None = None
    ) -> Delivery:
        """Send a message; it is on disk when this returns, and is sent as soon as possible.

        If the call is cancelled, nothing was sent.

        Args:
            who: a contact's name or a user id.
            text: at most 40,000 bytes in UTF-8.
            burn_after_read: erase the recipient's copy after it has been read.
            expires_in: seconds after which the relay and both sides delete it.

        Returns:
            How far it has come, which can be awaited.

        Raises:
            UsageError: it cannot be sent as it is; the message says why.
            VaultError: it could not be stored.
        """
        await asyncio.sleep(0)  # a program that sends many must not hold up its own connection
        self._hub.raise_if_closed()
        contact = self.contacts.find(who)
        if not (expires_in is None or (isinstance(expires_in, int | float) and 0 < expires_in <= _YEAR_SECONDS)):
            raise UsageError("expires_in is a number of seconds, at most a year of them")
        lifetime = None if expires_in is None else max(1, round(expires_in * 1000))
        entry = self._messenger.send_text(contact.user_id, text, burn=burn_after_read, expires_in=lifetime)
        delivery = self._hub.track(entry.message_id, contact)
        self._changed()
        return delivery

    async def messages(self, sender: str | None = None) -> AsyncIterator[Message]:
        """Received messages, oldest first, without end.

        A message counts as handled, and is not handed out again, once it has been marked as read or the next one is
        asked for. A program that dies while it works on one gets that one again.

        Args:
            sender: only messages from this user id; the others stay for later.

        Raises:
            LoginRefused, Replaced, ClientClosed: nothing more will come.
        """
        reader = Reader([functools.partial(self._find, sender=sender)], self._hub)
        while True:
            yield await reader.next()

    def mark_read(self, message: Message) -> None:
        """As ``message.mark_read``."""
        self._messenger.mark_read(message.sender, message.id)
        self._changed()

    def history(
        self, who: str, *, since: float | None = None, search: str | None = None, limit: int | None = None
    ) -> list[HistoryEntry]:
        """The conversation with somebody, oldest first. Nobody is notified that you looked.

        Deleted messages are listed without their text; so are those that burn, until they have been read.

        Args:
            who: a contact's name or a user id.
            since: leave out what was received or written earlier; seconds since 1970.
            search: only messages that contain this, in upper or lower case.
            limit: only the last so many.

        Raises:
            UnknownContact: no such contact.
            UsageError: ``since`` or ``limit`` is not a usable number.
            VaultError: the profile cannot be read.
        """
        if (since is not None and not math.isfinite(since)) or (limit is not None and limit < 0):
            raise UsageError("since is a number of seconds since 1970, and limit a number of messages")
        peer = self.contacts.find(who).user_id
        begin = None if since is None else round(since * 1000)
        return self._messenger.history(peer, since=begin, search=search, limit=limit)

    async def flush(self, timeout: float | None = None, *, who: str | None = None) -> int:
        """Wait until the relay has accepted every message of the outbox.

        Args:
            timeout: seconds; None waits forever.
            who: only messages to this contact.

        Returns:
            How many still wait when the time is over; 0 if none.
        """
        peer = None if who is None else self.contacts.find(who).user_id
        await self._hub.wait_until(lambda: not self._messenger.waiting_for(peer), timeout)
        return self._messenger.waiting_for(peer)

    async def fetch(self, timeout: float = 10.0) -> bool:
        """Wait until everything is here that waited at the relay, and for a moment nothing more comes.

        Before ``devices.remove``: what a device has sent can be read no more once it is removed.

        Args:
            timeout: seconds.

        Returns:
            Whether it is; False if the time is over, or the relay could not be reached twice.

        Raises:
            LoginRefused, Replaced, VaultError: as ``wait_online``.
        """
        with contextlib.suppress(TimeoutError, RelayUnreachable):
            async with asyncio.timeout(timeout):
                await self.wait_online(attempts=2)
                self._devices.look()
                return await self._hub.wait_until(self._devices.has_fetched)
        return False

    async def flush_receipts(self, timeout: float = 3.0) -> None:
        """Before closing: send receipts at once, and wait until the relay has them if it can be reached.

        Args:
            timeout: seconds.
        """
        self._messenger.flush()
        self._changed()
        it = self._messenger
        await self._hub.wait_until(lambda: not (it.pending_receipts and it.is_online), timeout)

    # --- persons and groups alike ---------------------------------------------------

    def conversation(self, who: str) -> Conversation:
        """A person or a group, to be written to and read by the same code.

        Args:
            who: the name of a contact or a group, or the id of one.

        Raises:
            UnknownContact: nobody has that name, and it is no id.
            UsageError: several have it.
        """
        if not self.groups.has(who):
            return self._with(self.contacts.find(who).user_id)
        group = self.groups.find(who).group
        with contextlib.suppress(UnknownContact):
            if group != who and self.contacts.find(who):
                raise UsageError(f"a contact and a group are both called '{who}'; name one by its ID")
        return GroupConversation(self.groups, self._messenger.groups, group)

    def conversations(self) -> list[Conversation]:
        """All of them: contacts in the order in which they were met, then the groups that were not left."""
        core = self._messenger.groups
        live = [one.group for one in self.groups.all() if one.relation in {"invited", "member"}]
        people = [self._with(contact.user_id) for contact in self.contacts.everybody()]
        return [*people, *(GroupConversation(self.groups, core, group) for group in live)]

    async def received(self, *, muted: bool = True) -> AsyncIterator[ReceivedMessage]:
        """All received messages, of persons and to groups, oldest first, without end; otherwise as ``messages``.

        Args:
            muted: whether also those to muted groups; else they stay for later.
        """
        groups = functools.partial(next_text, self.groups, self._messenger.groups, None, muted=muted)
        reader = Reader[ReceivedMessage]([self._find, groups], self._hub)
        while True:
            yield await reader.next()

    # --- strangers and blocking ---------------------------------------------------

    def requests(self) -> list[MessageRequest]:
        """Strangers who have written, the longest waiting first; nothing of theirs is decrypted."""
        return self._messenger.requests()

    def peek(self, who: str) -> list[Message]:
        """What a stranger has written, oldest first. Nobody is notified; marking these as read does nothing.

        Args:
            who: a user id.

        Raises:
            UnknownContact: no such user.
            VaultError: it could not be stored.
        """
        contact = self.contacts.find(who)
        found, peer = self._messenger.look(contact.user_id), self.contacts.of(contact.user_id)
        conversation = self._with(peer.user_id)
        return [Message(self._shown(record), peer, lambda _: None, self.send, conversation) for record in found]

    def accept(self, who: str) -> Contact:
        """Let a stranger in: their messages arrive through ``messages``, and from now on they get receipts.

        Adding them as a contact, or writing to them, does it too.

        Args:
            who: a user id.

        Raises:
            UnknownContact: no such user.
            VaultError: it could not be stored.
        """
        contact = self.contacts.let_in(self.contacts.find(who).user_id)
        self._changed()
        return contact

    def block(self, who: str) -> Contact:
        """Drop unread what somebody sends, here and, once it has been notified, at the relay.

        They are not notified, and messages that wait for them here are not sent.

        Args:
            who: a contact's name or a user id.

        Raises:
            UnknownContact: no such contact.
            VaultError: it could not be stored.
        """
        return self._change_block(who, self._messenger.block)

    def unblock(self, who: str) -> Contact:
        """End ``block``; arguments and errors are the same."""
        return self._change_block(who, self._messenger.unblock)

    async def wait_blocks_confirmed(self, timeout: float) -> bool:
        """Wait until the relay has confirmed every ``block`` and ``unblock``.

        Args:
            timeout: seconds.

        Returns:
            Whether it has.
        """
        with contextlib.suppress(RelayError):
            await self._hub.wait_until(lambda: not self._messenger.unconfirmed, timeout)
        return not self._messenger.unconfirmed

    # --- presence and settings ----------------------------------------------------

    def set_typing(self, who: str) -> None:
        """Notify a contact (a name or a user id) that you are writing to them; does nothing while offline."""
        self._messenger.tell_typing(self.contacts.find(who).user_id)
        self._changed()

    def set_presence(self, status: str) -> None:
        """Show contacts another status; it holds across outages until it is changed.

        While you appear offline, nothing shows that this device is there: delivery receipts are sent only when you
        write to the sender, or read the message while read receipts are on.

        Args:
            status: 'online', 'idle' or 'offline' (appear offline).

        Raises:
            UsageError: any other word.
        """
        if status not in {PresenceStatus.ONLINE, PresenceStatus.IDLE, PresenceStatus.OFFLINE}:
            raise UsageError(f"'{status}' is not a presence status; use 'online', 'idle' or 'offline'")
        self._messenger.tell_presence(PresenceStatus(status))
        self._changed()

    def ask_presence(self, who: str) -> None:
        """Ask for the presence of a contact (a name or a user id); the answer is a ``PresenceEvent``."""
        self._messenger.ask_presence(self.contacts.find(who).user_id)
        self._changed()

    @property
    def settings(self) -> Settings:
        """What others may learn about you."""
        return self._messenger.presence.settings

    def change_settings(self, **changes: bool) -> Settings:
        """Change what others may learn about you; on disk when this returns.

        Args:
            **changes: ``read_receipts``, ``typing`` or ``presence``.

        Raises:
            UsageError: there is no such setting.
            VaultError: it could not be stored.
        """
        after = self._messenger.change_settings(**changes)
        self._changed()
        return after

    def _with(self, user_id: str) -> Conversation:
        return PersonConversation(self, user_id, functools.partial(self._find, sender=user_id))

    def _find(self, after: int, sender: str | None = None) -> Found[Message] | None:
        found = self._messenger.next_received(after, sender)
        if found is None:
            return None
        position, record = found
        contact, conversation = self.contacts.of(record.sender), self._with(record.sender)
        message = Message(self._shown(record), contact, self.mark_read, self.send, conversation)
        return Found(position, message, functools.partial(self._messenger.handled, record.sender, record.message_id))

    def _changed(self) -> None:
        self._loop.changed()

    def _change_block(self, who: str, change: Callable[[str], None]) -> Contact:
        contact = self.contacts.find(who)
        change(contact.user_id)
        self._changed()
        return self.contacts.of(contact.user_id)

    def _shown(self, record: ReceivedRecord) -> ReceivedRecord:
        """With the wall clock's time at which it expires."""
        at = record.expires_at
        return record if at is None else msgspec.structs.replace(record, expires_at=self._messenger.shown(at))
