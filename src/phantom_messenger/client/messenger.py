"""A whole client, without input, output or time of its own: the parts together, and what applications ask of them.

Fed with what a connection brings and with the passing of time, drained of texts to send
and of events. Everything that must survive is in the vault before it is acknowledged.
"""

import base64
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from phantom_messenger.client import content, housekeeping, notices, records
from phantom_messenger.client.blocking import Blocking
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.content import Text
from phantom_messenger.client.devices.parts import DeviceParts
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.expiry import ExpiryClock
from phantom_messenger.client.groups.groups import Groups
from phantom_messenger.client.history import HistoryEntry
from phantom_messenger.client.housekeeping import Housekeeping
from phantom_messenger.client.identity import identity_of
from phantom_messenger.client.link import Link, LinkEvent, LinkState, LoggedIn, LoginFailed, Lost, PongSeen
from phantom_messenger.client.many.outgoing import Options, Outgoing
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.prekey_upload import PreKeyUpload
from phantom_messenger.client.presence import Presence
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.reconnecting import Reconnecting
from phantom_messenger.client.records import IdentityRecord, OutboxRecord, ReceivedRecord, SentRecord
from phantom_messenger.client.requests import MessageRequest
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.settings import Settings
from phantom_messenger.client.status import ConnectionEvent, ConnectionState, DeliveryState, Event, LinkingEvent
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.told import Told
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.client.writing import check_text
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.wire import frames
from phantom_messenger.wire.frames import Feature
from phantom_messenger.wire.limits import RateClass

CLOCK_WARNING_MS: Final = 180_000
"""How far this machine's clock may be from the relay's without a warning: signed frames may be 5 minutes off."""

PUBLISH_MS: Final = 5
"""For how long prekeys are made at each time; nobody is to notice."""

HISTORY_INDEX_MS: Final = 200
"""For how long a look at the history may enter messages in the index first, if many are not."""


class Messenger:
    """The core of the SDK.

    Args:
        vault: open; gets an identity if it has none.
        notify: called when there may be something to drain, outside of a feeding call too.
        wall: milliseconds since 1970, however wrong.
        monotonic: milliseconds that never go back.
        random: a source of random bytes.
        since_boot: milliseconds since the machine was started, those in which it slept included; as ``monotonic`` if
            None.
        boot: what names this start of the machine, '' if unknown.
        strangers: "ask" if what they write waits until the user lets them in.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        wall: Callable[[], int],
        monotonic: Callable[[], int],
        random: Callable[[int], bytes],
        notify: Callable[[], None] = lambda: None,
        since_boot: Callable[[], int] | None = None,
        boot: str = "",
        strangers: str = "ask",
    ) -> None:
        self._vault = vault
        self._notify = notify
        self._wall = wall
        self._monotonic = monotonic
        self._random = random
        self._told = told = Told()
        record = identity_of(vault, random)
        self._server = record.server
        self._identity = identity = OwnIdentity(record.seed)
        self.user_id: str = base64.b64encode(identity.peer.user_id).decode()
        self._clock = ExpiryClock(vault, wall=wall, since_boot=since_boot or monotonic, boot=boot)
        self._stores = stores = Stores.of(vault, identity, random, asks=strangers == "ask")
        public = identity.peer.public
        self.contacts = Contacts(vault, stores.book, own_id=self.user_id, own_key=public, owner=self)
        self._sending = sending = Sending(stores, identity, random)
        own_id, moment = self.user_id, self._now
        self.presence = presence = Presence(vault)
        """What others may learn of what this user does."""
        sending.visibility.is_absent = presence.looks_absent
        self.many = Outgoing(
            stores,
            sending.many,
            random,
            own_id=own_id,
            moment=moment,
            sender=self,
        )
        """Takes messages to many."""
        self.groups = Groups(stores, self.many, identity, random, moment=moment, presence=presence, told=told)
        """The groups of this user."""
        self._blocking = blocking = Blocking(stores, sending)
        self.device_parts = parts = DeviceParts(
            stores, sending, self.many, identity, blocking, presence, self.groups.arrivals, random=random, moment=moment
        )
        self.desk, self.linking, self.handover = parts.desk, parts.linking, parts.handover
        self._receiving = Receiving(stores, sending, own_id, self.groups.arrivals, parts)
        self._housekeeping = Housekeeping(stores, self._receiving, self._clock, monotonic)
        self._prekey_upload = PreKeyUpload(stores.prekeys, stores.devices)
        self._know_oneself()
        self._reconnecting = Reconnecting()
        self._receiving.read_newer()
        self._link: Link | None = None
        self._clock_warned: int | None = None
        """How far the relay's clock was ahead when the user was last warned of it."""

    @property
    def person(self) -> str:
        """One's user id as others see it: that of the first device."""
        own = self._stores.devices
        return self.user_id if own.is_first else own.person

    def _know_oneself(self) -> None:
        """On a linked device, others see the person: safety numbers are theirs."""
        self.contacts.become(self.person, self._stores.devices.person_key)

    def _now(self) -> Moment:
        return Moment(self._monotonic(), self._clock.now(), self._wall())

    # --- profile ------------------------------------------------------------------

    @property
    def server(self) -> str:
        """The relay's URL, '' if none was set."""
        return self._server

    def set_server(self, url: str) -> None:
        """Remember the relay, for the next connection; one that is there is not used any more."""
        if url == self._server:
            return
        is_move = bool(self._server)
        with self._vault.transaction() as tx:
            tx.put(records.IDENTITY, "", IdentityRecord(seed=self._identity.seed, server=url))
            if is_move:
                self._stores.book.moved(tx)
                self._blocking.moved(tx)
        self._server = url
        if is_move:
            if self._link is not None:
                self._told.add(ConnectionEvent(state=ConnectionState.OFFLINE, reason="another relay was chosen"))
            self._reconnecting.moved(has_left=self._link is not None)
            self._link = None
            self._sending.moved()

    @property
    def is_online(self) -> bool:
        """Whether the login is through."""
        return self.open_link is not None

    @property
    def open_link(self) -> Link | None:
        """The connection, if the login is through."""
        return self._link if self._link is not None and self._link.state is LinkState.OPEN else None

    @property
    def retry_after(self) -> int | None:
        """Milliseconds to stay away, if more than after any outage: the relay has asked for it, or is at odds."""
        return self._reconnecting.retry_after

    @property
    def is_deleted(self) -> bool:
        """Whether the relay has confirmed that it forgot this identity."""
        return self._reconnecting.is_deleted

    def waiting_for(self, peer: str | None) -> int:
        """How many messages wait in the outbox; for one user, if one is named."""
        return self._stores.waiting(peer)

    @property
    def waiting(self) -> int:
        """How many messages wait in the outbox; one to many counts once."""
        return self.waiting_for(None)

    @property
    def pending_receipts(self) -> int:
        """How many receipts and acknowledgements the relay does not have yet."""
        stores = self._stores
        waiting = sum(1 for sender in stores.receipts.senders() if stores.book.may_notify(sender))
        return len(stores.acks) + waiting + stores.outbox.batches()

    @property
    def unconfirmed(self) -> int:
        """How many users the relay is still to keep away, or no longer."""
        return len(self._blocking)

    @property
    def prekeys_confirmed(self) -> bool:
        """Whether the relay has said that it has enough of this identity's prekeys."""
        return self._prekey_upload.confirmed

    # --- what the application does ------------------------------------------------

    def send_text(self, peer: str, text: str, *, burn: bool = False, expires_in: int | None = None) -> OutboxRecord:
        """Put a message into the outbox; on disk when this returns.

        Args:
            peer: user id.
            text: at most ``content.MAX_TEXT_BYTES`` bytes of UTF-8.
            burn: the recipient's copy goes once it was read.
            expires_in: milliseconds, at the relay after acceptance, here after that is known, there after receipt.

        Raises:
            InvalidUserId, MessageTooLong, UsageError: it cannot be sent as it is.
            KeyChanged: the user must look at the key of this contact first.
        """
        now, stores = self._now(), self._stores
        peer = stores.devices.person_of(peer)
        own = {self.user_id, self.person}
        check_text(stores.book, peer, text, expires_in, user_id=self.user_id, own=own)
        message_id = str(uuid.UUID(bytes=self._random(16), version=4))
        made_at = content.time_of(now.wall)
        entry = OutboxRecord(
            message_id=message_id, peer=peer, text=text, burn=burn, expires_in=expires_in, made_at=made_at
        )
        sent = SentRecord(
            message_id=message_id,
            peer=peer,
            text=text,
            made_at=made_at,
            burn=burn,
            state=DeliveryState.QUEUED,
            expires_in=expires_in,
        )
        is_new = not stores.book.is_known(peer)
        is_wide = self.desk.is_wide(peer)
        is_alone = not is_wide or self.desk.goes_alone(peer)

        def keep(tx: Transaction) -> None:
            tx.put(records.SENT, message_id, sent)
            if is_alone:
                stores.outbox.put(tx, entry)
            stores.book.admit(tx, peer)
            if is_alone and (link := self.open_link) is not None:
                self._sending.seal_now(tx, link, entry, now)

        if is_wide:
            said = Text(sent_at=made_at, body=text)
            self.desk.send(peer, said, message_id, Options(burn=burn, expires_in=expires_in), also=keep)
        else:
            with self._vault.transaction() as tx:
                keep(tx)
        if is_new:
            self.contact_changed(peer)
        self._show(peer)
        with suppress(VaultError):  # the message is kept; what else could not be stored is tried again
            self.send_pending()
        return entry

    def state_of(self, message_id: str) -> DeliveryState | None:
        """How far a message of one's own has come."""
        sent = self._stores.outbox.sent(message_id)
        return None if sent is None else DeliveryState(sent.state)

    def next_received(self, after: int, sender: str | None = None) -> tuple[int, ReceivedRecord] | None:
        """The first received message behind a position, of a sender if one is named, that was not handled."""
        return self._stores.inbox.next(after, sender, self._clock.now())

    def shown(self, moment: int) -> int:
        """A moment of ``expires_at`` as milliseconds since 1970 by this machine's clock, for people."""
        return self._now().wall_at(moment)

    def requests(self) -> list[MessageRequest]:
        """The strangers who have written, the one who waits longest first."""
        return self._stores.requests.listed()

    def look(self, peer: str) -> list[ReceivedRecord]:
        """Decrypt what waits of a stranger; nobody is notified."""
        return self._stores.requests.look(peer, self._clock.now())

    def history(
        self, peer: str, *, since: int | None = None, search: str | None = None, limit: int | None = None
    ) -> list[HistoryEntry]:
        """What was said with somebody; arguments as ``History.with_peer``."""
        if self._stores.index.is_far_behind():
            with suppress(VaultError), self._vault.transaction() as tx:  # on a full disk, it takes longer
                self._stores.index.extend(tx, self._housekeeping.within(HISTORY_INDEX_MS))
        return self._stores.history.with_peer(peer, self._now(), since=since, search=search, limit=limit)

    def handled(self, sender: str, message_id: str) -> None:
        """The application is done with a received message; it will not be handed out again."""
        self._stores.inbox.handled(sender, message_id)

    def mark_read(self, sender: str, message_id: str) -> None:
        """The user has read a message: it is handled, and burns if asked; its sender is notified if that is allowed.

        Idempotent.
        """
        quiet = not self.presence.settings.read_receipts
        is_read = self._stores.inbox.mark_read(sender, message_id, self._clock.now(), quiet=quiet)
        if is_read and not quiet:
            self._show(sender)
        with suppress(VaultError):  # it is marked; what else could not be stored is tried again
            self.send_pending()

    def _show(self, person: str) -> None:
        """Let somebody know that one is there."""
        for device in self._stores.devices.devices_of(person):
            self._sending.visibility.show(device)

    def flush(self) -> None:
        """Send receipts at once: the program is about to exit."""
        self._sending.flush()
        self.groups.flush()
        self.groups.step()
        self.send_pending()

    def tell_presence(self, status: frames.PresenceStatus) -> None:
        """What one wants to be shown as from now on: over connections too, and as soon as the relay takes it."""
        self.presence.want(status)
        self._presence_changed()

    def change_settings(self, **changes: bool) -> Settings:
        """Change what others may learn; see ``SettingsStore.change``."""
        after = self.presence.change(**changes)
        self._presence_changed()
        return after

    def _presence_changed(self) -> None:
        self._sending.visibility.is_absent = self.presence.looks_absent
        self.send_pending()

    def tell_typing(self, peer: str) -> None:
        """Say that one is writing to somebody. Lost while offline, for then it means nothing."""
        link, now, devices = self.open_link, self._monotonic(), self._stores.devices
        typing = self.presence.typing(devices.person, devices.person_of(peer))
        # It leaves room for what matters more.
        if link is not None and typing is not None and self._sending.has_room(link, RateClass.PRESENCE, now):
            self._send_presence(link, typing, now)

    def want_key(self, peer: str) -> None:
        """Ask for somebody's key, although one looks absent."""
        self._sending.visibility.introduce(peer)
        self.send_pending()

    def ask_presence(self, peer: str) -> None:
        """Ask what a contact is doing; the answer is an event."""
        if (link := self.open_link) is not None:
            for device in self._stores.devices.devices_of(peer):
                self._send_presence(link, self.presence.question(device), self._monotonic())

    def block(self, peer: str) -> None:
        """Keep a user away; see ``Blocking``."""
        self._blocking.block(peer)
        self.contact_changed(peer)

    def unblock(self, peer: str) -> None:
        """Keep a user away no longer."""
        self._blocking.unblock(peer)
        self.contact_changed(peer)

    def remove(self, peer: str, history: bool) -> None:
        """Forget a user."""
        self._blocking.remove(peer, history=history)
        self.contact_changed(peer)

    def may_remove(self, peer: str, *, history: bool) -> bool:
        """Whether there is somebody to remove; see ``Stores``."""
        return self._stores.may_remove(peer, history=history)

    def contact_changed(self, user_id: str) -> None:
        """Somebody was added, or is to be treated otherwise than before: what waits for that is done."""
        self._sending.reset_backoff(user_id)
        with suppress(VaultError):  # what waits is on disk, and looked at again
            if not self._stores.requests.holds(user_id):
                self._report(self._receiving.open_requests(user_id, self._now()))
            self.send_pending()
        self._notify()

    def delete_account(self) -> bool:
        """Ask the relay to forget this identity; it closes the connection once it has. False if offline."""
        link = self.open_link
        if link is None:
            return False
        self._reconnecting.is_deleting = True
        payload = frames.AccountDeletePayload(audience=link.audience, challenge=link.challenge)
        link.send_signed(frames.AccountDelete(payload=payload, signature="", timestamp=0), self._monotonic())
        return True

    # --- the connection -----------------------------------------------------------

    def dialling(self) -> None:
        """An attempt to connect begins."""
        self._told.add(self._reconnecting.dialling())

    def connected(self, audience: str) -> None:
        """A WebSocket connection to the relay is open; ``audience`` is host[:port] as dialled."""
        self._reconnecting.connected()
        self._receiving.connected()
        absent = self.presence.connected()
        self._link = Link(
            self._identity,
            user_id=self.user_id,
            audience=audience,
            now=self._monotonic(),
            wall=self._wall(),
            absent=absent,
        )

    def disconnected(
        self, code: int | None, reason: str, *, retry_after: float | None = None, busy: bool = False
    ) -> bool:
        """The connection is gone, or could not be made.

        Args:
            code: of the close frame, if there was one.
            reason: a sentence for people.
            retry_after: seconds for which the address has asked to stay away.
            busy: it was the relay, or something before it, that has no room or too much to do.

        Returns:
            Whether to connect again.
        """
        is_in = self.is_online
        self._link = None
        self._sending.disconnected()
        again, events = self._reconnecting.disconnected(code, reason, is_in=is_in, retry_after=retry_after, busy=busy)
        self._told.extend(events)
        return again

    @property
    def is_lost(self) -> bool:
        """Whether the connection is to be dropped: it is dead or was refused."""
        return self._link is not None and self._link.state is LinkState.FAILED

    def receive(self, text: str | bytes) -> None:
        """A WebSocket message has come."""
        if self._link is not None:
            self._handle(self._link, self._link.receive(text, self._monotonic()))

    def drain(self) -> list[str]:
        """The texts to be sent."""
        return [] if self._link is None else self._link.drain()

    def drain_events(self) -> list[Event]:
        """What the application is to hear."""
        return self._told.drain()

    def tick(self) -> None:
        """Time has passed."""
        self._report(self._housekeeping.tick(self._now()))
        self.groups.step()
        self._report(self.desk.tick(self._now(), is_online=self.is_online))
        if self._link is not None:
            self._handle(self._link, self._link.tick(self._monotonic()))
        if (link := self.open_link) is not None:
            self._publish(link)
        self.send_pending()

    def next_tick(self) -> int:
        """Milliseconds until ``tick`` has something to do; at most five seconds."""
        now = self._monotonic()
        times = [housekeeping.INTERVAL_MS]
        if self._link is not None:
            times.append(self._link.next_tick(now))
            times += [self._prekey_upload.wait(now)] if self.is_online else []
            times += [wait for wait in (self._stores.acks.wait(now),) if wait is not None]
        times += self._sending.waits(now) + self._blocking.waits(now) + self._housekeeping.waits(now)
        times += self.groups.waits(now) + self.device_parts.waits(now)
        return max(10, min(times))

    # --- in one place -------------------------------------------------------------

    def _report(self, events: Iterable[Event]) -> None:
        """Tell the application, each as soon as it is true: what comes after may fail."""
        for event in events:
            self._told.add(event)
            if isinstance(event, LinkingEvent):
                self._know_oneself()

    def _handle(self, link: Link, found: list[LinkEvent]) -> None:
        for event in found:
            match event:
                case LoggedIn():
                    self._logged_in(link)
                case LoginFailed():
                    self._told.add(self._reconnecting.login_failed(event))
                case Lost():
                    self._told.add(self._reconnecting.left(event.reason))
                case PongSeen():
                    self._stores.acks.answered(event.request)
                case frames.PreKeyStatus():
                    if taken := self._prekey_upload.handle(event, self._now()):
                        self.desk.published(taken)
                    self._publish(link)
                case frames.BlockDone():
                    self._blocking.done(event, self._monotonic())
                case frames.Error():
                    self._refused(event)
                case _:
                    self._report(self._receiving.receive(link, event, self._now()))
        with suppress(VaultError):  # what is to be done for groups is on disk, and looked at again
            self.groups.step()
        self.send_pending()

    def _logged_in(self, link: Link) -> None:
        self._told.add(self._reconnecting.logged_in())
        self._warn_of_clock(link)
        self._housekeeping.hasten()  # what has expired meanwhile is erased now
        self._prekey_upload.connected(
            self._monotonic(),
            takes_dates=Feature.SUITE2 in link.relay_features,
            takes_lists=Feature.DEVICES in link.relay_features,
        )
        self._stores.acks.connected()
        self._blocking.connected()

    def _warn_of_clock(self, link: Link) -> None:
        """When this machine's clock and the relay's differ; nothing else hangs on it but what is signed."""
        ahead = link.offset
        if abs(ahead) < CLOCK_WARNING_MS:
            self._clock_warned = None
        elif self._clock_warned is None or abs(ahead - self._clock_warned) >= CLOCK_WARNING_MS:
            self._clock_warned = ahead
            self._told.add(notices.clock(ahead))

    def _publish(self, link: Link) -> None:
        """Go on with a publication of prekeys, if one is being made."""
        self._prekey_upload.publish(link, self._monotonic(), self._housekeeping.within(PUBLISH_MS))

    def _refused(self, error: frames.Error) -> None:
        """Each part knows its own requests."""
        now = self._now()
        refusal = self._sending.refused(error, now)
        if refusal is not None:
            if refusal.failed is not None:
                self._report(self._receiving.failed(refusal.failed.message_id, now))
            self._report(refusal.events)
            return
        warnings = self._blocking.refused(error, now.monotonic)
        if warnings is not None:
            self._report(warnings)
        elif self._prekey_upload.refused(error, now.monotonic):
            self._told.add(notices.prekeys_refused(error.payload.message))
        else:
            self._stores.acks.refused(error, now.monotonic)

    def send_pending(self) -> None:
        """Send whatever may be sent now."""
        for user_id in self.device_parts.in_step.take_changed():
            if user_id is None:
                self._presence_changed()
            else:
                self.contact_changed(user_id)
        link, now = self.open_link, self._now()
        self._report(self.device_parts.run(link, now))
        if link is None:
            return
        self._prekey_upload.tick(link, now.monotonic)
        announcement = self.presence.to_announce()
        if announcement is not None and self._send_presence(link, announcement, now.monotonic):
            self.presence.announced()
        self._stores.acks.tick(link, now.monotonic)
        self._blocking.tick(link, now.monotonic)
        self._report(self._sending.send_pending(link, now))

    def _send_presence(self, link: Link, frame: frames.Presence, now: int) -> bool:
        """Send it unless there were too many; whether it was sent."""
        if not self._sending.may_send(link, RateClass.PRESENCE, now):
            return False
        link.send(frame, now)
        return True
