"""The asyncio front of the SDK: ``Client``."""

import asyncio
import contextlib
import logging
import math
import os
import random
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from phantom_messenger.client import profile as profiles
from phantom_messenger.client.backup import Summary, export_profile, import_profile
from phantom_messenger.client.border import guarded, translated
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.dial import dial
from phantom_messenger.client.errors import (
    ClientClosed,
    LoginRefused,
    NoKeyYet,
    PhantomError,
    ProfileExists,
    RelayBusy,
    RelayError,
    RelayUnreachable,
    Replaced,
    UsageError,
    VaultError,
)
from phantom_messenger.client.handles import Delivery, Message
from phantom_messenger.client.history import HistoryText
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.outages import no_answer, outage
from phantom_messenger.client.records import ReceivedRecord
from phantom_messenger.client.requests import MessageRequest
from phantom_messenger.client.settings import Settings
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    Event,
    WarningEvent,
)
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.clock import boot_id, since_boot_ms
from phantom_messenger.wire.frames import PresenceStatus
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS

FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 30.0
"""Seconds; the wait before the n-th attempt is drawn from 0 to the n-th bound (full jitter)."""

DISK_PAUSE: Final = 1.0
"""Seconds before the next attempt to store something that could not be stored."""

_NOT_YET: Final = ConnectionEvent(state=ConnectionState.OFFLINE, reason="not connected yet")

_log: Final = logging.getLogger("phantom_messenger")
_log.addHandler(logging.NullHandler())

_YEAR_SECONDS: Final = MAX_EXPIRES_IN_MS // 1000
MAX_EVENTS: Final = 1_000
"""Events kept for a reader who does not come; then the oldest are dropped."""


@guarded
class Client:
    """A user of a relay; use it as ``async with Client.open(...) as me``."""

    def __init__(self, vault: Vault, server: str | None, strangers: str = "ask") -> None:
        self._vault = vault
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
        self._deliveries: weakref.WeakValueDictionary[str, Delivery] = weakref.WeakValueDictionary()
        self._waited: set[Delivery] = set()
        self._queues: list[asyncio.Queue[Event | None]] = []
        self._state = _NOT_YET
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._sooner = asyncio.Event()
        self._is_over = asyncio.Event()
        self._why_over = ""
        self._tick_at = 0.0
        self._was_online = False
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._failure: PhantomError | None = None
        """Why nothing will come any more; None as long as something may."""

    @classmethod
    def open(
        cls,
        profile: str = "default",
        *,
        server: str | None = None,
        home: Path | str | None = None,
        passphrase: str | None = None,
        create: bool = True,
        strangers: str = "ask",
    ) -> "Client":
        """Open a profile; its identity is made on first use.

        Args:
            profile: a name of letters, digits, '.', '_' and '-'.
            server: the relay's URL, ws:// or wss://; remembered, so later calls may leave it out.
            home: the folder of all profiles; ``PHANTOM_HOME`` or the platform's place if None.
            passphrase: encrypts the profile; ``PHANTOM_PASSPHRASE`` or the system's keyring if None.
            create: make the profile if it is not there.
            strangers: "ask": what strangers write waits, unread, for ``look`` and ``accept``. "accept": it comes
                through ``messages`` at once, as bots want it; receipts still go only to those who are known.

        Raises:
            UsageError: a name, a URL or a word cannot be used.
            VaultError: the profile cannot be opened; its subclasses say why.
        """
        if strangers not in {"ask", "accept"}:
            raise UsageError(f"strangers can be 'ask' or 'accept', not '{strangers}'")
        path = profiles.vault_path(profile, profiles.home_folder(home))
        url = None if server is None else profiles.checked_url(server)
        if not create and not profiles.is_there(path):
            # Before a passphrase is asked for in vain.
            Vault(path, Secret(""), create=False)
        return cls(Vault(path, profiles.secret_for(path, passphrase), create=create), url, strangers)

    def export_to(self, path: Path, passphrase: str, *, replace: bool = False) -> Summary:
        """Write identity, contacts and history to a file, encrypted with a passphrase; see ``backup.export_profile``.

        Raises:
            BackupError, VaultError: it could not be done; the message says why.
        """
        return export_profile(self._vault, path, passphrase, replace=replace)

    @classmethod
    def import_from(
        cls,
        path: Path,
        file_passphrase: str,
        *,
        profile: str = "default",
        server: str | None = None,
        home: Path | str | None = None,
        passphrase: str | None = None,
    ) -> Summary:
        """Make a profile from an exported file; ``open`` it then. Conversations heal by themselves.

        Args:
            path: the file.
            file_passphrase: opens it.
            profile: name of the new profile.
            server: the relay's URL, if it is another one than before.
            home: as for ``open``.
            passphrase: of the new profile, as for ``open``.

        Raises:
            ProfileExists, WrongPassphrase, BackupError, VaultError: nothing was made; the message says why.
        """
        target = profiles.vault_path(profile, profiles.home_folder(home))
        url = None if server is None else profiles.checked_url(server)
        if profiles.is_there(target):
            raise ProfileExists(f"there is a profile '{profile}' already; import it under another name")
        return import_profile(path, file_passphrase, target, profiles.secret_for(target, passphrase), server=url)

    async def __aenter__(self) -> Self:
        if self._closed:
            self._raise_if_over()
        if self._messenger.server:
            self._task = asyncio.create_task(self._run())
        else:
            self.close()
            raise UsageError("no relay is known; give its URL with server=... or 'phantom init --server URL'")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()
        self.close()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def close(self) -> None:
        """Close the profile; ``async with`` does it by itself. Whoever still waits gets ``ClientClosed``."""
        if not self._closed:
            self._closed = True
            self._end(ClientClosed("this client was closed; open it again"))
            self._vault.close()

    def set_server(self, url: str) -> None:
        """Remember another relay, and go there if there is a connection.

        Raises:
            UsageError: not a relay's URL.
        """
        before = self._messenger.server
        self._messenger.set_server(profiles.checked_url(url))
        if before not in {"", self._messenger.server}:
            self._leave("another relay was chosen")
            self._changed()

    # --- who and where ------------------------------------------------------------

    @property
    def user_id(self) -> str:
        """One's own id, to give to others."""
        return self._messenger.user_id

    @property
    def server(self) -> str:
        """The relay's URL, '' if none is known."""
        return self._messenger.server

    @property
    def contacts(self) -> Contacts:
        """The address book."""
        return self._messenger.contacts

    @property
    def connection(self) -> ConnectionEvent:
        """The way to the relay as it is now."""
        return self._state

    async def wait_online(self, timeout: float | None = None, *, attempts: int | None = None) -> None:
        """Wait until the login is through.

        Args:
            timeout: seconds; None waits for ever.
            attempts: give up after so many failed ones.

        Raises:
            RelayUnreachable: not within the time or the attempts. ``RelayBusy`` if the relay is there, but lets nobody
                in just now; such attempts do not count.
            LoginRefused, Replaced: it never will be.
        """
        failed = self._state if self._state.state is ConnectionState.OFFLINE and self._state is not _NOT_YET else None
        with self._subscription() as queue, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while attempts is None or attempts > 0:
                    if self._state.state is ConnectionState.ONLINE:
                        return
                    self._raise_if_over()
                    event = await queue.get()
                    if isinstance(event, ConnectionEvent) and event.state is ConnectionState.OFFLINE:
                        failed = event
                        if attempts is not None and not event.busy:
                            attempts -= 1
        if failed is not None and failed.busy:
            raise RelayBusy(f"the relay at {self.server} lets nobody in just now: {failed.reason}", failed.retry_after)
        reason = no_answer(self.server) if failed is None else failed.reason
        raise RelayUnreachable(f"the relay at {self.server} cannot be reached: {reason}")

    async def wait_published(self, timeout: float | None = None, *, attempts: int | None = None) -> None:
        """Wait until the relay has this identity's prekeys; arguments and errors as ``wait_online``."""
        until = None if timeout is None else asyncio.get_running_loop().time() + timeout
        await self.wait_online(timeout, attempts=attempts)
        try:
            async with asyncio.timeout_at(until):
                while not self._messenger.prekeys_confirmed:
                    self._raise_if_over()
                    await self._next_change()
        except TimeoutError:
            raise RelayUnreachable(f"the relay at {self.server} did not take the prekeys in time; try again") from None

    async def wait_key(self, who: str, timeout: float | None = None) -> None:
        """Wait until the key of a contact was seen.

        Raises:
            NoKeyYet: not within the time.
        """
        self._messenger.want_key(self.contacts.find(who).user_id)
        self._changed()
        try:
            async with asyncio.timeout(timeout):
                while self.contacts.find(who).key is None:
                    self._raise_if_over()
                    await self._next_change()
        except TimeoutError:
            raise NoKeyYet(f"the key of {who} has not been seen yet; have they connected once?") from None

    # --- texts --------------------------------------------------------------------

    async def send(
        self, who: str, text: str, *, burn_after_read: bool = False, expires_in: float | None = None
    ) -> Delivery:
        """Send a text; it is on disk when this returns and leaves as soon as it can.

        Args:
            who: a contact's name or a user id.
            text: at most 40,000 bytes of UTF-8.
            burn_after_read: the recipient's copy goes once it was read.
            expires_in: seconds after which the relay and both sides delete it.

        Raises:
            UsageError: it cannot be sent as it is; the message says why.
            VaultError: it could not be stored.
        """
        if self._closed:
            self._raise_if_over()
        contact = self.contacts.find(who)
        if expires_in is not None and not (isinstance(expires_in, int | float) and 0 < expires_in <= _YEAR_SECONDS):
            raise UsageError("expires_in is a number of seconds, at most a year of them")
        lifetime = None if expires_in is None else max(1, round(expires_in * 1000))
        entry = self._messenger.send_text(contact.user_id, text, burn=burn_after_read, expires_in=lifetime)
        delivery = Delivery(entry.message_id, contact, DeliveryState.QUEUED, waited=self._waited)
        self._deliveries[entry.message_id] = delivery
        if self._failure is not None:
            delivery.fail(self._failure)
        self._changed()
        return delivery

    async def messages(self, sender: str | None = None) -> AsyncIterator[Message]:
        """Received texts, oldest first, without end.

        A text counts as handled, and is not handed out again, when it was marked as read or
        the next one is asked for: if the program dies while it works on one, it gets that
        one again.

        Args:
            sender: only texts of this user id; the others stay for later.

        Raises:
            LoginRefused, Replaced: nothing will come any more.
        """
        position, told = 0, False
        while True:
            if self._closed:
                self._raise_if_over()
            found = self._messenger.next_received(position, sender)
            if found is None:
                self._raise_if_over()
                if self._state.state is not ConnectionState.ONLINE and not told:
                    told = True
                    _log.warning("messages() waits, and there is no connection: %s", self._state.reason or "connecting")
                self._news.clear()
                await self._news.wait()
                continue
            position, record = found
            yield Message(self._shown(record), self.contacts.of(record.sender), self.mark_read, self.send)
            self._messenger.handled(record.sender, record.message_id)

    def _shown(self, record: ReceivedRecord) -> ReceivedRecord:
        """With the time when it expires by the wall clock."""
        at = record.expires_at
        return record if at is None else msgspec.structs.replace(record, expires_at=self._messenger.shown(at))

    def mark_read(self, message: Message) -> None:
        """As ``message.mark_read``."""
        self._messenger.mark_read(message.sender, message.id)
        self._changed()

    def requests(self) -> list[MessageRequest]:
        """Strangers who have written, the one who waits longest first; nothing of it is decrypted."""
        return self._messenger.requests()

    def look(self, who: str) -> list[Message]:
        """What a stranger has written, oldest first; nobody is told. Marking these as read does nothing.

        Args:
            who: a user id.

        Raises:
            UnknownContact: no such user.
            VaultError: it could not be stored.
        """
        contact = self.contacts.find(who)
        found = self._messenger.look(contact.user_id)
        peer = self.contacts.of(contact.user_id)
        return [Message(self._shown(record), peer, lambda _: None, self.send) for record in found]

    def accept(self, who: str) -> Contact:
        """Let a stranger in: their texts come through ``messages``, and they learn what becomes of them from now on.

        Adding a contact, and writing to them, does it too.

        Args:
            who: a user id.

        Raises:
            UnknownContact: no such user.
            VaultError: it could not be stored.
        """
        contact = self.contacts.let_in(self.contacts.find(who).user_id)
        self._changed()
        return contact

    def history(
        self, who: str, *, since: float | None = None, search: str | None = None, limit: int | None = None
    ) -> list[HistoryText]:
        """What was said with somebody, the oldest first; nobody is told that it was looked at.

        Texts that are gone stand there without their words; so do those that burn, until they were read.

        Args:
            who: a contact's name or a user id.
            since: leave out what came or was written earlier, in seconds since 1970.
            search: only texts in which this stands, in small or capital letters.
            limit: the last so many.

        Raises:
            UnknownContact: no such contact.
            UsageError: a number that is none.
            VaultError: the profile cannot be read.
        """
        if (since is not None and not math.isfinite(since)) or (limit is not None and limit < 0):
            raise UsageError("since is a number of seconds since 1970, and limit a number of texts")
        peer = self.contacts.find(who).user_id
        begin = None if since is None else round(since * 1000)
        return self._messenger.history(peer, since=begin, search=search, limit=limit)

    async def fetch_key(self, who: str, timeout: float) -> None:
        """Connect just to see a contact's key; errors as ``wait_online`` and ``wait_key``.

        Args:
            who: a contact's name or a user id.
            timeout: seconds.
        """
        self._task = asyncio.create_task(self._run())
        try:
            await self.wait_online(timeout)
            await self.wait_key(who, timeout)
        finally:
            await self._stop()
            self._task = None

    async def flush(self, timeout: float | None = None, *, who: str | None = None) -> int:
        """Wait until the relay has accepted every text of the outbox.

        Args:
            timeout: seconds.
            who: only texts to this contact.

        Returns:
            How many still wait when the time is over; 0 if none.
        """
        peer = None if who is None else self.contacts.find(who).user_id
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._messenger.waiting_for(peer):
                    self._raise_if_over()
                    await self._next_change()
        return self._messenger.waiting_for(peer)

    async def settle(self, timeout: float = 3.0) -> None:
        """Before leaving: wait until the relay was told what was read, if it can be reached."""
        self._messenger.hurry()
        self._changed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._messenger.untold and self._messenger.is_online:
                    await self._next_change()

    # --- saying no ----------------------------------------------------------------

    def block(self, who: str) -> Contact:
        """Keep somebody away: what they send is dropped unread, here and, once it knows, at the relay.

        They are not told, and what waits for them here is not sent. The relay is told at the next contact.

        Args:
            who: a contact's name or a user id.

        Raises:
            UnknownContact: no such contact.
            VaultError: it could not be stored.
        """
        return self._refuse(who, self._messenger.block)

    def unblock(self, who: str) -> Contact:
        """Keep somebody away no longer; arguments and errors as ``block``."""
        return self._refuse(who, self._messenger.unblock)

    async def told(self, timeout: float) -> bool:
        """Wait until the relay has confirmed who is blocked and who no longer.

        Args:
            timeout: seconds.

        Returns:
            Whether it has.
        """
        with contextlib.suppress(TimeoutError, RelayError):
            async with asyncio.timeout(timeout):
                while self._messenger.unconfirmed:
                    self._raise_if_over()
                    await self._next_change()
        return not self._messenger.unconfirmed

    def _refuse(self, who: str, change: Callable[[str], None]) -> Contact:
        contact = self.contacts.find(who)
        change(contact.user_id)
        self._changed()
        return self.contacts.of(contact.user_id)

    # --- presence and events ------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """Presence, deliveries, the connection and warnings from now on.

        Raises:
            LoginRefused, Replaced, ClientClosed: nothing will come any more.
        """
        with self._subscription() as queue:
            while True:
                event = await queue.get()
                if event is None:
                    self._raise_if_over()
                else:
                    yield event

    def set_typing(self, who: str) -> None:
        """Tell a contact that one is writing to them; nothing while offline."""
        self._messenger.tell_typing(self.contacts.find(who).user_id)
        self._changed()

    def set_presence(self, status: str) -> None:
        """Tell contacts: 'online', 'idle' or 'offline' (to look absent); until it is changed, over outages.

        While one looks absent nothing shows that this device is there: that a text was delivered is said only when
        one writes to its sender, or reads it and tells so.

        Raises:
            UsageError: any other word.
        """
        if status not in {PresenceStatus.ONLINE, PresenceStatus.IDLE, PresenceStatus.OFFLINE}:
            raise UsageError(f"'{status}' is no presence; it is 'online', 'idle' or 'offline'")
        self._messenger.tell_presence(PresenceStatus(status))
        self._changed()

    @property
    def settings(self) -> Settings:
        """What others are told."""
        return self._messenger.presence.settings

    def change_settings(self, **changes: bool) -> Settings:
        """Change what others are told: ``read_receipts``, ``typing``, ``presence``; on disk when this returns.

        Raises:
            UsageError: there is no such setting.
            VaultError: it could not be stored.
        """
        after = self._messenger.change_settings(**changes)
        self._changed()
        return after

    def ask_presence(self, who: str) -> None:
        """Ask what a contact is doing; the answer is an event."""
        self._messenger.ask_presence(self.contacts.find(who).user_id)
        self._changed()

    # --- the end ------------------------------------------------------------------

    async def destroy(self, *, local_only: bool = False, timeout: float = 10.0) -> None:
        """Delete the identity: the account at the relay, then everything on this machine.

        Args:
            local_only: leave the relay alone, for one that cannot be reached any more.
            timeout: seconds to wait for the relay.

        Raises:
            RelayUnreachable, LoginRefused: nothing was deleted.
        """
        if not local_only and self._task is not None:
            await self.wait_online(timeout)
            self._messenger.delete_account()
            self._changed()
            await asyncio.wait({self._task}, timeout=timeout)
            if not self._messenger.is_deleted:
                raise RelayUnreachable(
                    "the relay has not confirmed that it deleted the account, and nothing was deleted here; try again"
                )
        await self._stop()
        self._closed = True
        self._end(ClientClosed("this identity was destroyed"))
        path = self._vault.path
        self._vault.destroy()
        profiles.forget_secret(path)

    # --- the connection -----------------------------------------------------------

    async def _run(self) -> None:
        """Stay connected; and let time pass for what is kept here, also while there is no connection."""
        tasks = {asyncio.create_task(self._stay_connected()), asyncio.create_task(self._keep_time())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except Exception as error:  # noqa: BLE001 - whoever waits on this client must hear of it
            self._end(error if isinstance(error, PhantomError) else translated(error) or _unexpected(error))
        finally:
            await _cancelled(tasks)

    async def _stay_connected(self) -> None:
        bound = FIRST_BACKOFF
        jitter = random.SystemRandom()
        while True:
            self._messenger.dialling()
            self._changed()
            self._was_online = False
            if not await self._connect_once(self._messenger.server):
                return
            bound = FIRST_BACKOFF if self._was_online else min(bound * 2, LONGEST_BACKOFF)
            asked = (self._messenger.retry_after or 0) / 1000
            await asyncio.sleep(asked + jitter.uniform(0, bound))

    async def _connect_once(self, url: str) -> bool:
        """Connect and stay; returns whether to connect again."""
        code, retry_after, busy = None, None, False
        try:
            connection = await dial(url)
        except Exception as error:  # noqa: BLE001 - whatever the network, TLS and the library make of it is an outage
            _log.debug("no connection", exc_info=error)
            reason, retry_after, busy = await outage(url, error)
        else:
            async with connection:
                code, reason = await self._talk(connection, url)
        again = self._messenger.disconnected(code, reason, retry_after=retry_after, busy=busy)
        self._changed()
        return again

    async def _talk(self, connection: ClientConnection, url: str) -> tuple[int | None, str]:
        """Feed and drain until the link is lost; the code of the close frame, if there was one, and why."""
        self._is_over.clear()
        self._why_over = ""
        self._messenger.connected(profiles.audience_of(url))
        over = asyncio.create_task(self._is_over.wait())
        tasks: set[asyncio.Task[Any]] = {
            over,
            asyncio.create_task(self._read(connection)),
            asyncio.create_task(self._write(connection)),
        }
        self._sooner.set()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ConnectionClosed as closed:
            code = None if closed.rcvd is None else closed.rcvd.code
            reason = "" if closed.rcvd is None else closed.rcvd.reason
            return code, reason or "the connection was lost"
        except VaultError as error:
            return None, str(error)  # a full disk passes: as an outage does
        finally:
            await _cancelled(tasks)
        return None, self._why_over or self._state.reason or "the relay has stopped answering"

    async def _keep_time(self) -> None:
        """Tick when it is time, and that can become earlier while one waits."""
        while True:
            self._sooner.clear()
            wait = self._messenger.next_tick() / 1000
            self._tick_at = time.monotonic() + wait
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):  # before Python 3.12, wait_for can swallow a cancellation
                    await self._sooner.wait()
                continue
            try:
                self._messenger.tick()
            except VaultError as error:
                self._leave(str(error))
                await asyncio.sleep(DISK_PAUSE)
            self._changed()

    def _leave(self, why: str) -> None:
        """The connection, if there is one, is given up."""
        self._why_over = why
        self._is_over.set()

    async def _read(self, connection: ClientConnection) -> None:
        while True:
            text = await connection.recv()
            self._messenger.receive(text)
            self._changed()

    async def _write(self, connection: ClientConnection) -> None:
        while True:
            self._wake.clear()
            for text in self._messenger.drain():
                await connection.send(text)
            await self._wake.wait()

    # --- events -------------------------------------------------------------------

    def _changed(self) -> None:
        """Something may be there to send or to tell."""
        for event in self._messenger.drain_events():
            self._emit(event)
        self._was_online = self._was_online or self._messenger.is_online
        if self._messenger.is_lost:
            self._is_over.set()
        self._wake.set()
        self._news.set()
        if self._task is not None and time.monotonic() + self._messenger.next_tick() / 1000 < self._tick_at:
            self._sooner.set()

    def _emit(self, event: Event) -> None:
        match event:
            case ConnectionEvent():
                self._state = event
                level = (
                    logging.INFO
                    if event.state in {ConnectionState.CONNECTING, ConnectionState.ONLINE}
                    else logging.WARNING
                )
                _log.log(level, "%s%s", event.state, f": {event.reason}" if event.reason else "")
            case WarningEvent(code=code):
                _log.warning("warning: %s", code)  # the message can name users
            case DeliveryEvent():
                delivery = self._deliveries.get(event.message_id)
                if delivery is not None:
                    delivery.advance(event.state)
            case _:
                pass
        self._tell(event)
        if isinstance(event, ConnectionEvent) and event.state in {ConnectionState.REFUSED, ConnectionState.REPLACED}:
            self._end(self._refusal())

    def _tell(self, event: Event | None) -> None:
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    def _end(self, failure: PhantomError) -> None:
        """Nothing will come any more: whoever waits is told why."""
        if self._failure is None:
            self._failure = failure
        for delivery in list(self._deliveries.values()):
            delivery.fail(self._failure)
        self._news.set()
        self._tell(None)

    @contextlib.contextmanager
    def _subscription(self) -> Iterator[asyncio.Queue[Event | None]]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MAX_EVENTS)
        self._queues.append(queue)
        try:
            yield queue
        finally:
            self._queues.remove(queue)

    async def _next_change(self) -> None:
        with self._subscription() as queue, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.25):
                await queue.get()

    def _refusal(self) -> PhantomError:
        if self._state.state is ConnectionState.REPLACED:
            return Replaced("the same identity has logged in elsewhere; use one place at a time")
        return LoginRefused(f"the relay at {self.server} refused the login: {self._state.reason}")

    def _raise_if_over(self) -> None:
        if self._failure is not None:
            raise self._failure


def _unexpected(error: Exception) -> PhantomError:
    failure = PhantomError(f"something failed that should not ({type(error).__name__}); please report it")
    failure.__cause__ = error
    return failure


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    """End tasks; what they raised was seen, or came of the same loss."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


__all__ = ["Client", "Delivery", "Message"]
