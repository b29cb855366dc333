"""Everything a client is, without input, output or time of its own.

Fed with what a connection brings and with the passing of time, drained of texts to send
and of events. Everything that must survive is in the vault before it is acknowledged.
"""

import base64
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from msgspec import UNSET

from phantom_messenger.client import content, records
from phantom_messenger.client.acks import Acks
from phantom_messenger.client.ageing import Ageing
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.conversations import Conversations, Opened
from phantom_messenger.client.errors import InvalidUserId, KeyChanged, UsageError, VaultDamaged, VaultError
from phantom_messenger.client.healing import Healing
from phantom_messenger.client.history import History, HistoryEntry
from phantom_messenger.client.inbox import Inbox
from phantom_messenger.client.link import Link, LinkEvent, LinkState, LoggedIn, LoginFailed, Lost, PongSeen
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.pacing import LONGEST_LOGIN_MS, asked, span
from phantom_messenger.client.plain import one_line
from phantom_messenger.client.prekeychain import PreKeyChain
from phantom_messenger.client.presence import Presence
from phantom_messenger.client.publishing import Publishing
from phantom_messenger.client.receipts import Receipts
from phantom_messenger.client.records import (
    IdentityRecord,
    OutboxRecord,
    ReceiptRecord,
    ReceivedRecord,
    SentRecord,
)
from phantom_messenger.client.refusing import Refusing
from phantom_messenger.client.requests import MessageRequest, Requests
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.settings import Settings
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    Event,
    MessageEvent,
    PresenceEvent,
    RequestEvent,
    Trust,
    WarningEvent,
)
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.errors import CryptoError, UndecryptableMessage, UnknownPreKey, UnknownSuite
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import RECONNECT_AFTER, CloseCode, Reason
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS, RateClass

_AT_ODDS: Final = set(CloseCode) - RECONNECT_AFTER - {CloseCode.NORMAL, CloseCode.POLICY_VIOLATION}
"""After these a client connects again late (protocol/phantom.md, Close codes)."""

FIRST_LATE_MS: Final = 60_000
LONGEST_LATE_MS: Final = 300_000
"""How long to stay away from a relay that is at odds with this client, or does not know its own name: twice as long
each time. It passes only when somebody mends it."""

_REFUSALS: Final[dict[str, str]] = {
    Reason.AUDIENCE: "the relay does not go by the name that was dialled; its operator has to look at its public names",
    Reason.RATE: "too many logins from here",
    Reason.OVERLOAD: "the relay has more to do than it can",
    Reason.STORAGE: "the relay cannot store logins now",
}
_BUSY: Final = frozenset({"rate", "overload", "storage", "quota"})

CLOCK_TELL_MS: Final = 180_000
"""How far this machine's clock may be from the relay's without a word: signed frames may be 5 minutes off."""

HOUSEKEEPING_MS: Final = 5_000
OLD_KEYS_MS: Final = 3_600_000
"""How often keys that are too old to be kept are looked for."""


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
        record = vault.get(records.IDENTITY, "", IdentityRecord)
        if record is None:
            if not vault.is_unused():
                raise VaultDamaged(f"{vault.path} has lost its identity; restore it from a backup")
            record = IdentityRecord(seed=random(32), server="")
            with vault.transaction():
                vault.put(records.IDENTITY, "", record)
        self._ageing = Ageing(vault, wall=wall, since_boot=since_boot or monotonic, boot=boot)
        self._identity = OwnIdentity(record.seed)
        self._server = record.server
        self.user_id: str = base64.b64encode(self._identity.peer.user_id).decode()
        self.contacts = Contacts(
            vault,
            own_id=self.user_id,
            own_key=self._identity.peer.public,
            added=self._contact_added,
            remove=self.remove,
        )
        prekeys = PreKeyChain(vault, self._identity, random)
        self._conversations = Conversations(vault, self._identity, prekeys, random)
        self._publishing = Publishing(prekeys)
        self._acks = Acks(vault)
        self._outbox = Outbox(vault)
        self._receipts = Receipts(vault, self._outbox.is_open)
        self._healing = Healing(vault)
        self._history = History(vault, self.shown)
        self._inbox = Inbox(vault, self._conversations, self._acks, self._receipts, self._healing)
        self._requests = Requests(vault, self.contacts, self._conversations, self._inbox, asks=strangers == "ask")
        self._sending = Sending(
            vault,
            identity=self._identity,
            contacts=self.contacts,
            conversations=self._conversations,
            outbox=self._outbox,
            receipts=self._receipts,
            healing=self._healing,
            random=random,
            wall=wall,
            trouble=self._trouble,
            advance=self._entry_advance,
            greeted=self._greeted,
        )
        self.presence = Presence(vault, self.user_id, self._sending)
        """What others are told of what this user does."""
        self._refusing = Refusing(
            vault,
            contacts=self.contacts,
            conversations=self._conversations,
            outbox=self._outbox,
            receipts=self._receipts,
            healing=self._healing,
            acks=self._acks,
            requests=self._requests,
            sending=self._sending,
        )
        self._events: list[Event] = []
        self._link: Link | None = None
        self._ungreeted: set[str] = set(self.contacts.ungreeted())
        self.retry_after: int | None = None
        """Milliseconds to stay away, if more than after any outage: the relay has asked for it, or is at odds."""
        self._late = 0
        self._was_in = False
        """Whether this relay has let this identity in, since the program has started."""
        self._is_deleting = False
        self._clock_told: int | None = None
        self.is_deleted = False
        """Whether the relay has confirmed that it forgot this identity."""
        self._is_refused = False
        self._is_told = False
        """Whether the application has heard why this connection fails."""
        self._is_relay_wrong = False
        """Whether it was told, on this connection, that the relay delivers other people's mail."""
        self._housekeeping_at = 0
        self._old_keys_at = 0

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
        with self._vault.transaction():
            self._vault.put(records.IDENTITY, "", IdentityRecord(seed=self._identity.seed, server=url))
            if is_move:
                self.contacts.moved()
                self._refusing.moved()
        self._server = url
        if is_move:
            if self._link is not None:
                self._is_told = True
                self._emit(ConnectionEvent(state=ConnectionState.OFFLINE, reason="another relay was chosen"))
            self._link = None
            self._was_in, self._late, self.retry_after = False, 0, None
            self._sending.moved()
            self._ungreeted.update(self.contacts.ungreeted())

    @property
    def is_online(self) -> bool:
        """Whether the login is through."""
        return self._link is not None and self._link.state is LinkState.OPEN

    def waiting_for(self, peer: str | None) -> int:
        """How many texts wait in the outbox; for one user, if one is named."""
        return self._outbox.texts(peer)

    @property
    def waiting(self) -> int:
        """How many texts wait in the outbox."""
        return self._outbox.texts()

    @property
    def untold(self) -> int:
        """How much is to be told of which the relay does not have anything yet."""
        waiting = sum(1 for sender in self._receipts.senders() if self.contacts.may_tell(sender))
        return len(self._acks) + waiting + self._outbox.carriers()

    @property
    def unconfirmed(self) -> int:
        """How many users the relay is still to keep away, or no longer."""
        return len(self._refusing)

    def hurry(self) -> None:
        """Tell at once what is to be told: the program is about to leave."""
        self._sending.hurry()
        self._pump()

    @property
    def prekeys_confirmed(self) -> bool:
        """Whether the relay has said that it has enough of this identity's prekeys."""
        return self._publishing.confirmed

    # --- what the application does ------------------------------------------------

    def send_text(self, peer: str, text: str, *, burn: bool = False, expires_in: int | None = None) -> OutboxRecord:
        """Put a text into the outbox; on disk when this returns.

        Args:
            peer: user id.
            text: at most ``content.MAX_TEXT_BYTES`` bytes of UTF-8.
            burn: the recipient's copy goes once it was read.
            expires_in: milliseconds, at the relay after acceptance, here after that is known, there after receipt.

        Raises:
            InvalidUserId, MessageTooLong, UsageError: it cannot be sent as it is.
            KeyChanged: the user must look at the key of this contact first.
        """
        if peer == self.user_id:
            raise InvalidUserId("this is your own id; ask your contact for theirs")
        if not self.contacts.can_be(peer):
            raise InvalidUserId(f"'{peer}' is not the id of somebody else; ask your contact for 'phantom id'")
        try:
            content.check_length(text)
        except UnicodeEncodeError:
            raise UsageError("the text holds half a character (a lone surrogate); send it without") from None
        if expires_in is not None and not 1 <= expires_in <= MAX_EXPIRES_IN_MS:
            raise UsageError("a text can expire after 1 millisecond to 365 days; choose a time in between")
        contact = self.contacts.of(peer)
        if contact.blocked:
            who = contact.name or peer
            raise UsageError(f"{contact.label} is blocked; 'phantom contacts unblock {who}' first")
        if contact.trust is Trust.CHANGED:
            who = contact.name or peer
            raise KeyChanged(
                f"the key of {contact.label} has changed; compare it with 'phantom contacts verify {who}'"
                f" or take it with 'phantom contacts accept {who}', then send again"
            )
        message_id = str(uuid.UUID(bytes=self._random(16), version=4))
        made_at = content.time_of(self._wall())
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
        with self._vault.transaction():
            self._vault.put(records.SENT, message_id, sent)
            self._outbox.put(entry)
            self.contacts.let_in(peer)
        self._sending.show(peer)
        with suppress(VaultError):  # the text is kept; what else could not be stored is tried again
            self._pump()
        return entry

    def state_of(self, message_id: str) -> DeliveryState | None:
        """How far a text of one's own has come."""
        sent = self._outbox.sent(message_id)
        return None if sent is None else DeliveryState(sent.state)

    def next_received(self, after: int, sender: str | None = None) -> tuple[int, ReceivedRecord] | None:
        """The first received text behind a position, of a sender if one is named, that was not handled."""
        return self._inbox.next(after, sender, self._ageing.now())

    def shown(self, moment: int) -> int:
        """A moment of ``expires_at`` as milliseconds since 1970 by this machine's clock, for people."""
        return self._ageing.shown(moment)

    def requests(self) -> list[MessageRequest]:
        """The strangers who have written, the one who waits longest first."""
        return self._requests.listed()

    def look(self, peer: str) -> list[ReceivedRecord]:
        """Decrypt what waits of a stranger, and tell nobody."""
        return self._requests.look(peer, self._ageing.now())

    def history(
        self, peer: str, *, since: int | None = None, search: str | None = None, limit: int | None = None
    ) -> list[HistoryEntry]:
        """What was said with somebody; arguments as ``History.with_peer``."""
        return self._history.with_peer(peer, self._ageing.now(), since=since, search=search, limit=limit)

    def handled(self, sender: str, message_id: str) -> None:
        """The application is done with a received text; it will not be handed out again."""
        self._inbox.handled(sender, message_id)

    def mark_read(self, sender: str, message_id: str) -> None:
        """The user has read a text: it is handled, and burns if that was asked; its sender is told if they may be.

        Idempotent.
        """
        quiet = not self.presence.settings.read_receipts
        self._inbox.mark_read(sender, message_id, self._ageing.now(), quiet=quiet)
        if not quiet:
            self._sending.show(sender)
        with suppress(VaultError):  # it is marked; what else could not be stored is tried again
            self._pump()

    def tell_presence(self, status: frames.PresenceStatus) -> None:
        """What one wants to be shown as from now on: over connections too, and as soon as the relay takes it."""
        self.presence.want(status)
        self._pump()

    def change_settings(self, **changes: bool) -> Settings:
        """Change what others are told; see ``SettingsStore.change``."""
        after = self.presence.change(**changes)
        self._pump()
        return after

    def tell_typing(self, peer: str) -> None:
        """Say that one is writing to somebody. Lost while offline, for then it means nothing."""
        if self._link is not None and self.is_online:
            self.presence.typing(self._link, self._monotonic(), peer)

    def want_key(self, peer: str) -> None:
        """Greet somebody although one looks absent: their key was asked for."""
        self._sending.greet(peer)
        self._pump()

    def ask_presence(self, peer: str) -> None:
        """Ask what a contact is doing; the answer is an event."""
        if not self._may_send(RateClass.PRESENCE, self._monotonic()):
            return
        payload = frames.PresencePayload(user_id=peer)
        self._send(lambda request, time: frames.Presence(id=request, payload=payload, timestamp=time))

    def block(self, peer: str) -> None:
        """Keep a user away; see ``Refusing``."""
        self._refusing.block(peer)
        self._pump()

    def unblock(self, peer: str) -> None:
        """Keep a user away no longer."""
        self._refusing.unblock(peer)
        self._pump()

    def remove(self, peer: str, history: bool) -> None:
        """Forget a user."""
        self._refusing.remove(peer, history=history)
        self._pump()
        self._notify()

    def delete_account(self) -> bool:
        """Ask the relay to forget this identity; it closes the connection once it has. False if offline."""
        if not self.is_online or self._link is None:
            return False
        self._is_deleting = True
        payload = frames.AccountDeletePayload(audience=self._link.audience, challenge=self._link.challenge)
        self._link.send_signed(
            lambda request, time: frames.AccountDelete(id=request, payload=payload, signature="", timestamp=time),
            self._monotonic(),
        )
        return True

    # --- what the world does ------------------------------------------------------

    def dialling(self) -> None:
        """An attempt to connect begins."""
        self.retry_after = None
        self._emit(ConnectionEvent(state=ConnectionState.CONNECTING, reason=""))

    def connected(self, audience: str) -> None:
        """A WebSocket connection to the relay is open; ``audience`` is host[:port] as dialled."""
        now = self._monotonic()
        self.retry_after = None
        self._is_refused = self._is_told = self._is_relay_wrong = False
        absent = self.presence.connected()
        self._link = Link(
            self._identity, user_id=self.user_id, audience=audience, now=now, wall=self._wall(), absent=absent
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
        reason = one_line(reason)
        # Before the login such a close is somebody's on the way, or for a login that came too late.
        is_in = self.is_online
        self._link = None
        self._sending.disconnected()
        is_replaced = is_in and code == CloseCode.POLICY_VIOLATION
        self.is_deleted = code == CloseCode.NORMAL and self._is_deleting
        if retry_after is not None:
            self.retry_after = min(round(retry_after * 1000), LONGEST_LOGIN_MS)
        elif code in _AT_ODDS and self.retry_after is None and not self._is_refused:
            self.retry_after = self._later()
        if is_replaced:
            self._emit(ConnectionEvent(state=ConnectionState.REPLACED, reason="the same identity logged in elsewhere"))
        elif not self._is_refused and not self._is_told:
            self._offline(reason, busy=busy or code == CloseCode.RATE_LIMITED)
        self._is_told = False
        # Once the relay was asked to forget this identity, logging in would bring it back.
        return not (is_replaced or self._is_deleting or self._is_refused)

    def _later(self) -> int:
        self._late = min(2 * self._late or FIRST_LATE_MS, LONGEST_LATE_MS)
        return self._late

    def _offline(self, reason: str, *, busy: bool = False) -> None:
        wait = self.retry_after
        if wait:
            reason = f"{reason}; it is tried again in {span(wait)}"
        seconds = None if wait is None else wait / 1000
        self._emit(ConnectionEvent(state=ConnectionState.OFFLINE, reason=reason, busy=busy, retry_after=seconds))

    def _login_failed(self, event: LoginFailed) -> None:
        """Only a refusal of this identity is the end; of a relay that names no reason, one that never let it in."""
        self._is_refused = not self._was_in if event.is_final is None else event.is_final
        if self._is_refused:
            self._emit(ConnectionEvent(state=ConnectionState.REFUSED, reason=one_line(event.reason)))
            return
        is_busy = event.word in _BUSY or event.retry_after is not None
        wait = event.retry_after
        self.retry_after = self._later() if wait is None else asked(wait, wait, longest=LONGEST_LOGIN_MS)
        self._is_told = True
        self._offline(_REFUSALS.get(event.word, one_line(event.reason).rstrip(".")), busy=is_busy)

    def receive(self, text: str | bytes) -> None:
        """A WebSocket message has come."""
        if self._link is not None:
            self._take(self._link.receive(text, self._monotonic()))

    def drain(self) -> list[str]:
        """The texts to be sent."""
        return [] if self._link is None else self._link.drain()

    def drain_events(self) -> list[Event]:
        """What the application is to hear."""
        events, self._events = self._events, []
        return events

    def tick(self) -> None:
        """Time has passed."""
        now = self._monotonic()
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING_MS
            self._forget_expired()
            self._vault.tidy()
        if self._link is not None:
            self._take(self._link.tick(now))
        self._pump()

    def next_tick(self) -> int:
        """Milliseconds until ``tick`` has something to do; at most five seconds."""
        now = self._monotonic()
        times = [HOUSEKEEPING_MS]
        if self._link is not None:
            times.append(self._link.next_tick(now))
            times += [self._publishing.wait(now)] if self.is_online else []
            times += [wait for wait in (self._acks.wait(now),) if wait is not None]
        times += self._sending.waits(now) + self._refusing.waits(now)
        return max(10, min(times))

    @property
    def is_lost(self) -> bool:
        """Whether the connection is to be dropped: it is dead or was refused."""
        return self._link is not None and self._link.state is LinkState.FAILED

    # --- frames -------------------------------------------------------------------

    def _take(self, events: list[LinkEvent]) -> None:
        for event in events:
            if self._is_misdirected(event):
                continue
            match event:
                case LoggedIn():
                    self._emit(ConnectionEvent(state=ConnectionState.ONLINE, reason=""))
                    self._was_in, self._late = True, 0
                    self._look_at_clock()
                    self._housekeeping_at = 0  # what has expired meanwhile is erased now
                    self._publishing.connected(self._monotonic())
                    self._acks.connected()
                    self._refusing.connected()
                case LoginFailed():
                    self._login_failed(event)
                case Lost():
                    self._is_told = True
                    self._offline(event.reason)
                case PongSeen():
                    self._acks.told(event.request)
                case frames.RoutedMessage():
                    self._take_message(event)
                case frames.Receipt():
                    self._take_receipt(event)
                case frames.RoutedKeyExchangeResponse():
                    self._take_bundle(event)
                case frames.RoutedKeyExchangeInit():
                    self._confirm(event.seq)
                case frames.PreKeyStatus():
                    if self._link is not None:
                        self._publishing.take(event, self._link, self._monotonic(), self._ageing.now())
                case frames.PresenceNotice():
                    self._take_presence(event)
                case frames.BlockDone():
                    self._refusing.done(event, self._monotonic())
                case frames.Error():
                    self._take_error(event)
                case _:
                    pass  # a frame that is legal and says nothing here
        self._pump()

    def _is_misdirected(self, event: LinkEvent) -> bool:
        """Whether it is for somebody else: before anything else is asked of it; nothing follows from it.

        Not acknowledged either: a relay that mixes up its mailboxes must not lose somebody's mail by our word.
        """
        match event:
            case frames.RoutedMessage():
                named: Any = event.payload.recipient_id
            case frames.RoutedKeyExchangeInit() | frames.RoutedKeyExchangeResponse():
                named = event.payload.target_id
            case _:
                return False
        if named is UNSET or named == self.user_id:
            return False
        if not self._is_relay_wrong:
            self._is_relay_wrong = True
            self._trouble(None, "misdirected", "the relay delivers what is for somebody else; tell its operator")
        return True

    def _take_message(self, frame: frames.RoutedMessage) -> None:
        payload = frame.payload
        if self.contacts.is_blocked(payload.sender_id):
            self._confirm_message(payload.sender_id, payload.message_id)
            return
        if self._requests.holds(payload.sender_id):
            self._take_request(frame)
            return
        self._open_requests(payload.sender_id)
        try:
            opened = self._inbox.take(frame, self._ageing.now(), self._take_told, wall=self._wall())
        except CryptoError as error:
            self._cannot_read(payload.sender_id, payload.message_id, error)
            return
        if opened is not None:
            self._opened(payload.sender_id, payload.message_id, opened)
        self._confirm_message(payload.sender_id, payload.message_id)

    def _confirm_message(self, sender: str, message_id: str) -> None:
        """The relay need not keep it."""
        if self._link is not None:
            delivered = frames.MessageAckPayload(message_id=message_id, sender_id=sender, status="delivered")
            self._acks.confirm(self._link, delivered, self._monotonic())

    def _take_request(self, frame: frames.RoutedMessage) -> None:
        """A stranger has written: it waits here, so that it does not fill the mailbox, and nothing else is done."""
        sender = frame.payload.sender_id
        if self._requests.take(frame, self._ageing.now(), self._wall()):
            self._emit(RequestEvent(peer=self.contacts.of(sender), waiting=self._requests.waiting(sender)))
        self._confirm_message(sender, frame.payload.message_id)

    def _open_requests(self, sender: str) -> None:
        """What waited of somebody who is no stranger any more is received now."""
        now, looked_at = self._ageing.now(), False
        for record in self._requests.of(sender):
            try:
                opened = self._requests.receive(record, now, self._take_told)
            except CryptoError as error:
                with self._vault.transaction():
                    self._note_unreadable(sender, record.message_id, error)
                    self._requests.drop(sender, record.message_id)
                continue
            if isinstance(opened, Opened):
                self._opened(sender, record.message_id, opened)
            elif opened:
                looked_at = True
                self._emit(MessageEvent(message_id=record.message_id, peer=self.contacts.of(sender)))

        if looked_at:
            self._warn_if_classical(self.contacts.of(sender))

    def _opened(self, sender: str, message_id: str, opened: Opened) -> None:
        peer = self.contacts.of(sender)
        if opened.is_new and peer.trust is Trust.CHANGED:
            self._sending.tell_changed(peer)
        if opened.is_new and opened.is_weak:
            self._sending.tell_weak(peer)
        elif opened.is_new:
            self._warn_if_classical(peer)
        if isinstance(opened.content, content.Receipt):
            if opened.is_weak and opened.content.undecryptable:
                self._sending.renew(sender)
            return
        self._emit(MessageEvent(message_id=message_id, peer=peer))
        if opened.late:
            self._trouble(peer, "late", f"a text of {peer.label} came after ones that were written later")

    def _cannot_read(self, sender: str, message_id: str, error: CryptoError) -> None:
        """It is not acked: it stays with the relay until the same one comes readable."""
        self._note_unreadable(sender, message_id, error)
        if not self._healing.keeps(sender, message_id, known=self.contacts.may_tell(sender)):
            # So many would fill the mailbox for good. They can be asked for all the same.
            self._confirm_message(sender, message_id)

    def _note_unreadable(self, sender: str, message_id: str, error: CryptoError) -> None:
        """Remember it, so that it is asked for if that helps, and tell the user once."""
        is_curable = isinstance(error, UndecryptableMessage | UnknownPreKey)
        is_known = self.contacts.may_tell(sender)
        if not self._healing.note(sender, message_id, self._ageing.now(), curable=is_curable):
            return
        peer = self.contacts.of(sender)
        if isinstance(error, UnknownSuite):
            word, what = "newer", "is of a newer version; update this program"
        elif not is_curable:
            word, what = "unreadable", "cannot be decrypted; ask for it again"
        elif is_known:
            word, what = "waiting", "cannot be decrypted: waiting for it to be sent again"
        else:
            word, what = "unreadable", "cannot be decrypted; add them with 'phantom contacts add' to ask for it again"
        self._trouble(peer, word, f"a message of {peer.label} {what}")

    def _take_told(self, sender: str, told: content.Receipt) -> None:
        """What became of our messages, from their recipient itself; part of the transaction that keeps the receipt."""
        answered = [*told.delivered, *told.read, *told.burned]
        self._outbox.suspect(sender, self._outbox.overtaken(sender, answered), self._monotonic())
        if told.undecryptable:
            self._outbox.unseal(sender)
        for state, message_ids in (
            (DeliveryState.DELIVERED, told.delivered),
            (DeliveryState.READ, told.read),
            (DeliveryState.BURNED, told.burned),
        ):
            for message_id in message_ids:
                sent = self._outbox.sent(message_id, sender)
                if sent is not None:
                    self._advance(sent, state)
        for message_id in told.undecryptable:
            if self._receipts.may_resend(sender, message_id):
                self._outbox.put(self._carrier(message_id, sender), first=True)
        self._send_again(sender, told.undecryptable)

    def _send_again(self, peer: str, message_ids: list[str]) -> None:
        contact = self.contacts.of(peer)
        count = self._outbox.again(peer, message_ids, self._ageing.now(), contact.key or b"")
        if count:
            what = f"{contact.label} could not read {count} text(s) of yours; they are sent again"
            self._vault.when_kept(lambda: self._trouble(contact, "resent", what))

    def _carrier(self, message_id: str, peer: str) -> OutboxRecord:
        """A receipt to be sent again."""
        made_at = content.time_of(self._wall())
        return OutboxRecord(
            message_id=message_id, peer=peer, text=None, burn=False, expires_in=None, made_at=made_at, again=True
        )

    def _warn_if_classical(self, peer: Contact) -> None:
        if peer.classical:
            self._trouble(
                peer, "classical", f"texts with {peer.label} are not safe from a quantum computer: no KEM prekey"
            )

    def _take_receipt(self, frame: frames.Receipt) -> None:
        """The relay's word: taken for what it knows alone, that it has a message, or that its time has come."""
        payload = frame.payload
        self._sending.answered(frame.id)
        state = DeliveryState[payload.status.name]
        sent = self._outbox.sent(payload.message_id, payload.recipient_id)
        if sent is not None:
            if state is DeliveryState.ACCEPTED or (state is DeliveryState.EXPIRED and sent.expires_in is not None):
                self._advance(sent, state)
        elif state is DeliveryState.ACCEPTED:
            self._outbox.remove(payload.message_id, payload.recipient_id)
        else:
            self._receipts.told(payload.recipient_id, payload.message_id)
        self._confirm(frame.seq)

    def _advance(self, sent: SentRecord, state: DeliveryState) -> None:
        with self._vault.transaction():
            is_news = self._outbox.advance(sent, state, self._ageing.now())
            if state is DeliveryState.ACCEPTED:
                self._greeted(sent.peer)
            if is_news:
                event = DeliveryEvent(message_id=sent.message_id, peer=self.contacts.of(sent.peer), state=state)
                self._vault.when_kept(lambda: self._emit(event))

    def _entry_advance(self, entry: OutboxRecord, state: DeliveryState) -> None:
        sent = self._outbox.sent(entry.message_id)
        if sent is not None:
            self._advance(sent, state)

    def _take_bundle(self, frame: frames.RoutedKeyExchangeResponse) -> None:
        if frame.signature is UNSET:
            self._sending.answered(frame.id)  # else the id is the peer's own
        if self._sending.take_bundle(frame.payload, self._monotonic(), self._ageing.now()):
            self._warn_if_classical(self.contacts.of(frame.payload.sender_id))
        self._confirm(frame.seq)

    def _take_presence(self, frame: frames.PresenceNotice) -> None:
        payload = frame.payload
        if self.contacts.is_blocked(payload.user_id):
            return
        last_seen = None if payload.last_seen is UNSET else payload.last_seen
        if last_seen is not None and self._link is not None and last_seen > self._link.relay_time(self._monotonic()):
            last_seen = None  # no honest relay has seen the future
        self._emit(
            PresenceEvent(
                peer=self.contacts.of(payload.user_id),
                status=payload.status.value,
                last_seen=last_seen,
            )
        )

    def _take_error(self, frame: frames.Error) -> None:
        now = self._monotonic()
        if self._sending.refused(frame, now):
            return
        sentence = self._refusing.refused(frame, now)
        if sentence is not None:
            if sentence:
                self._trouble(None, "block", sentence)
            return
        if self._publishing.refused(frame, now):
            self._trouble(None, "prekeys", f"the relay refused the prekeys: {one_line(frame.payload.message)}")
        else:
            self._acks.refused(frame, now)

    # --- sending ------------------------------------------------------------------

    def _pump(self) -> None:
        """Send whatever may be sent now."""
        if not self.is_online or self._link is None:
            return
        now = self._monotonic()
        self._publishing.tick(self._link, now)
        self.presence.tick(self._link, now)
        self._acks.tick(self._link, now)
        self._refusing.tick(self._link, now)
        self._sending.pump(self._link, now, steady=self._ageing.now(), greet=self._ungreeted)

    def _confirm(self, seq: Any) -> None:
        if seq is not UNSET and self._link is not None and self.is_online:
            self._acks.confirm(self._link, frames.MessageAckPayload(seq=seq, status="delivered"), self._monotonic())

    def _send(self, build: Callable[[str, int], frames.Frame]) -> str:
        if self._link is None or not self.is_online:
            return ""
        return self._link.send(build, self._monotonic())

    def _may_send(self, rate: RateClass, now: int) -> bool:
        """Count a frame of a class, unless the relay would refuse it now."""
        return self._link is not None and self.is_online and self._sending.may_send(self._link, rate, now)

    # --- the rest -----------------------------------------------------------------

    def _forget_expired(self) -> None:
        now = self._ageing.now()
        with self._vault.transaction():
            self._ageing.keep()
            self._inbox.forget_expired(now)
            self._outbox.forget_expired(now)
            self._healing.forget(now)
            self._requests.forget(now)
            self._receipts.forget(self._vault.overdue(records.RECEIPT, now, ReceiptRecord))
            for peer, message_ids in self._outbox.lost(self._monotonic()).items():
                self._send_again(peer, message_ids)
            if now >= self._old_keys_at:
                self._old_keys_at = now + OLD_KEYS_MS
                self._conversations.forget_old(now)
        for sender in self._requests.senders():
            if not self._requests.holds(sender):
                self._open_requests(sender)

    def _greeted(self, peer: str) -> None:
        self.contacts.greeted(peer)
        self._ungreeted.discard(peer)
        self._sending.may_be_told(peer)

    def _contact_added(self, peer: str) -> None:
        (self._ungreeted.add if self.contacts.is_ungreeted(peer) else self._ungreeted.discard)(peer)
        self._sending.forgive(peer)
        self._vault.when_kept(lambda: self._let_in(peer))

    def _let_in(self, peer: str) -> None:
        with suppress(VaultError):  # what waits is on disk, and looked at again
            if not self._requests.holds(peer):
                self._open_requests(peer)
            self._pump()
        self._notify()

    def _look_at_clock(self) -> None:
        """Tell when this machine's clock and the relay's differ; nothing else hangs on it but what is signed."""
        if self._link is None:
            return
        ahead = self._link.offset
        if abs(ahead) < CLOCK_TELL_MS:
            self._clock_told = None
        elif self._clock_told is None or abs(ahead - self._clock_told) >= CLOCK_TELL_MS:
            self._clock_told = ahead
            way = "behind" if ahead > 0 else "ahead of"
            self._trouble(
                None, "clock", f"this machine's clock is {span(abs(ahead))} {way} the relay's; check its date and time"
            )

    def _emit(self, event: Event) -> None:
        self._events.append(event)

    def _trouble(self, peer: Contact | None, code: str, message: str) -> None:
        self._emit(WarningEvent(peer=peer, code=code, message=message))
