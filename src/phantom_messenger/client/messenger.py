"""Everything a client is, without input, output or time of its own.

Fed with what a connection brings and with the passing of time, drained of texts to send
and of events. Everything that must survive is in the vault before it is acknowledged.

Texts to one peer leave one at a time, each after the one before was accepted: so they
arrive in order even when the relay refuses one for a while.
"""

import base64
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET

from phantom_messenger.client import content, records
from phantom_messenger.client.acks import Acks
from phantom_messenger.client.contacts import Contacts, is_user_id
from phantom_messenger.client.conversations import Conversations, bundle_of, conversation_id
from phantom_messenger.client.errors import InvalidUserId, UsageError, VaultError
from phantom_messenger.client.inbox import Inbox
from phantom_messenger.client.link import Link, LinkEvent, LinkState, LoggedIn, LoginFailed, Lost, PongSeen
from phantom_messenger.client.pacing import Pacing
from phantom_messenger.client.plain import one_line
from phantom_messenger.client.prekeychain import PreKeyChain
from phantom_messenger.client.publishing import Publishing
from phantom_messenger.client.records import (
    IdentityRecord,
    Number,
    OutboxRecord,
    ReceivedRecord,
    SentRecord,
)
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    Event,
    MessageEvent,
    PresenceEvent,
    TroubleEvent,
)
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import RECONNECT_AFTER, CloseCode, ErrorCode
from phantom_messenger.wire.limits import MAX_EXPIRES_IN_MS, RATES, RateClass

EXCHANGE_MS: Final = 20_000
"""How long a key exchange may stay unanswered before it is begun anew."""

_DENIED: Final = set(CloseCode) - RECONNECT_AFTER - {CloseCode.NORMAL, CloseCode.POLICY_VIOLATION}
"""After these a client must not connect again by itself (protocol/phantom.md, Close codes)."""

CLOCK_STEP_MS: Final = 2_000
"""How far the local clock may drift from what is remembered of it."""

SOON_MS: Final = 1_000
TELL_AGAIN_MS: Final = 60_000
"""How often a person is told of a trouble that goes on."""

HOUSEKEEPING_MS: Final = 5_000


@dataclass(slots=True)
class Exchange:
    """A KEY_EXCHANGE_INIT under way."""

    ephemeral: KeyPair
    since: int


class Messenger:
    """The core of the SDK.

    Args:
        vault: open; gets an identity if it has none.
        notify: called when there may be something to drain, outside of a feeding call too.
        wall: milliseconds since 1970, however wrong.
        monotonic: milliseconds that never go back.
        random: a source of random bytes.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        wall: Callable[[], int],
        monotonic: Callable[[], int],
        random: Callable[[int], bytes],
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        self._vault = vault
        self._notify = notify
        self._wall = wall
        self._monotonic = monotonic
        self._random = random
        record = vault.get(records.IDENTITY, "", IdentityRecord)
        if record is None:
            record = IdentityRecord(seed=random(32), server="")
            with vault.transaction():
                vault.put(records.IDENTITY, "", record)
        self._identity = OwnIdentity(record.seed)
        self._server = record.server
        self.user_id: str = base64.b64encode(self._identity.peer.user_id).decode()
        self.contacts = Contacts(
            vault, own_id=self.user_id, own_key=self._identity.peer.public, added=self._contact_added
        )
        prekeys = PreKeyChain(vault, self._identity, random)
        self._conversations = Conversations(vault, self._identity, prekeys, random)
        self._publishing = Publishing(prekeys)
        self._acks = Acks(vault)
        self._inbox = Inbox(vault, self._conversations, self._acks)
        self._pacing = Pacing()
        self._events: list[Event] = []
        self._outbox: dict[str, OutboxRecord] = {
            entry.message_id: entry for _, entry in vault.all(records.OUTBOX, OutboxRecord)
        }
        self._link: Link | None = None
        self._requests: dict[str, Callable[[frames.Error], None]] = {}
        self._in_flight: dict[str, str] = {}
        self._exchanges: dict[str, Exchange] = {}
        self._ungreeted: set[str] = set(self.contacts.ungreeted())
        self.retry_after: int | None = None
        """Milliseconds for which the relay has asked to stay away, if it has."""
        offset = vault.get(records.CLOCK_OFFSET, "", Number)
        self._offset = 0 if offset is None else offset.value
        self._is_deleting = False
        self._is_clock_known = False
        self.is_deleted = False
        """Whether the relay has confirmed that it forgot this identity."""
        self._is_refused = False
        self._storage_told_at: int | None = None
        self._housekeeping_at = 0

    # --- profile ------------------------------------------------------------------

    @property
    def server(self) -> str:
        """The relay's URL, '' if none was set."""
        return self._server

    def set_server(self, url: str) -> None:
        """Remember the relay."""
        if url != self._server:
            with self._vault.transaction():
                self._vault.put(records.IDENTITY, "", IdentityRecord(seed=self._identity.seed, server=url))
            self._server = url

    @property
    def is_online(self) -> bool:
        """Whether the login is through."""
        return self._link is not None and self._link.state is LinkState.OPEN

    def waiting_for(self, peer: str | None) -> int:
        """How many texts wait in the outbox; for one user, if one is named."""
        return sum(1 for entry in self._outbox.values() if peer in {None, entry.peer})

    @property
    def waiting(self) -> int:
        """How many texts wait in the outbox."""
        return len(self._outbox)

    @property
    def untold(self) -> int:
        """How many texts were read of which the relay has not been told yet."""
        return len(self._acks)

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
            expires_in: milliseconds after acceptance by the relay.

        Raises:
            InvalidUserId, TextTooLong, UsageError: it cannot be sent as it is.
        """
        if not is_user_id(peer) or peer == self.user_id:
            raise InvalidUserId(f"'{peer}' is not the id of somebody else; ask your contact for 'phantom id'")
        try:
            content.check_length(text)
        except UnicodeEncodeError:
            raise UsageError("the text holds half a character (a lone surrogate); send it without") from None
        if expires_in is not None and not 1 <= expires_in <= MAX_EXPIRES_IN_MS:
            raise UsageError("a text can expire after 1 millisecond to 365 days; choose a time in between")
        message_id = str(uuid.UUID(bytes=self._random(16), version=4))
        made_at = min(max(self._relay_time(), 0), content.LAST_TIME_MS)
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
            self._vault.put(records.OUTBOX, message_id, entry)
            self._vault.put(records.SENT, message_id, sent)
        self._outbox[message_id] = entry
        with suppress(VaultError):  # the text is kept; what else could not be stored is tried again
            self._pump()
        return entry

    def state_of(self, message_id: str) -> DeliveryState | None:
        """How far a text of one's own has come."""
        sent = self._vault.get(records.SENT, message_id, SentRecord)
        return None if sent is None else DeliveryState(sent.state)

    def next_received(self, after: int, sender: str | None = None) -> tuple[int, ReceivedRecord] | None:
        """The first received text behind a position, of a sender if one is named, that was not handled."""
        return self._inbox.next(after, sender, self._relay_time(), is_clock_known=self._is_clock_known)

    def handled(self, sender: str, message_id: str) -> None:
        """The application is done with a received text; it will not be handed out again."""
        self._inbox.handled(sender, message_id)

    def mark_read(self, sender: str, message_id: str) -> None:
        """The user has read a text: it is handled, its sender is told, and it burns if that was asked; idempotent."""
        self._inbox.mark_read(sender, message_id)
        with suppress(VaultError):  # it is marked; what else could not be stored is tried again
            self._pump()

    def tell_presence(self, status: frames.PresenceStatus, peer: str | None = None) -> None:
        """Say what one is doing; ``typing`` needs the peer. Lost while offline, for then it means nothing."""
        if not self._may_send(RateClass.PRESENCE, self._monotonic()):
            return
        conversation = UNSET if peer is None else conversation_id(self.user_id, peer)
        payload = frames.PresencePayload(status=status, conversation_id=conversation)
        self._send(lambda request, time: frames.Presence(id=request, payload=payload, timestamp=time))

    def ask_presence(self, peer: str) -> None:
        """Ask what a contact is doing; the answer is an event."""
        if not self._may_send(RateClass.PRESENCE, self._monotonic()):
            return
        payload = frames.PresencePayload(user_id=peer)
        self._send(lambda request, time: frames.Presence(id=request, payload=payload, timestamp=time))

    def delete_account(self) -> bool:
        """Ask the relay to forget this identity; it closes the connection once it has. False if offline."""
        if not self.is_online or self._link is None:
            return False
        self._is_deleting = True
        self._link.send_signed(
            lambda request, time: frames.AccountDelete(
                id=request, payload=frames.Empty(), signature="", timestamp=time
            ),
            self._monotonic(),
        )
        return True

    # --- what the world does ------------------------------------------------------

    def connected(self, audience: str) -> None:
        """A WebSocket connection to the relay is open; ``audience`` is host[:port] as dialled."""
        now = self._monotonic()
        self.retry_after = None
        self._is_refused = self._is_clock_known = False
        self._link = Link(
            self._identity, user_id=self.user_id, audience=audience, now=now, wall=self._wall(), offset=self._offset
        )

    def disconnected(self, code: int | None, reason: str) -> bool:
        """The connection is gone.

        Returns:
            Whether to connect again.
        """
        reason = one_line(reason)
        self._link = None
        self._is_clock_known = False
        self._requests.clear()
        self._in_flight.clear()
        self._exchanges.clear()
        replaced = code == CloseCode.POLICY_VIOLATION
        self.is_deleted = code == CloseCode.NORMAL and self._is_deleting
        denied = code in _DENIED and not self._is_refused and self.retry_after is None
        self._is_refused = self._is_refused or denied
        if replaced:
            self._emit(ConnectionEvent(state=ConnectionState.REPLACED, reason="the same identity logged in elsewhere"))
        elif denied:
            self._emit(ConnectionEvent(state=ConnectionState.REFUSED, reason=reason))
        elif not self._is_refused:
            self._emit(ConnectionEvent(state=ConnectionState.OFFLINE, reason=reason))
        # Once the relay was asked to forget this identity, logging in would bring it back.
        return not (replaced or self._is_deleting or self._is_refused)

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
        times += self._pacing.waits(now)
        return max(10, min(times))

    @property
    def is_lost(self) -> bool:
        """Whether the connection is to be dropped: it is dead or was refused."""
        return self._link is not None and self._link.state is LinkState.FAILED

    # --- frames -------------------------------------------------------------------

    def _take(self, events: list[LinkEvent]) -> None:
        for event in events:
            match event:
                case LoggedIn():
                    self._emit(ConnectionEvent(state=ConnectionState.ONLINE, reason=""))
                    self._is_clock_known = True
                    self._remember_clock()
                    self._housekeeping_at = 0  # what has expired meanwhile is erased now
                    self._publishing.connected(self._monotonic())
                    self._acks.connected()
                case LoginFailed():
                    self.retry_after = event.retry_after
                    self._is_refused = event.retry_after is None
                    state = ConnectionState.REFUSED if event.retry_after is None else ConnectionState.OFFLINE
                    self._emit(ConnectionEvent(state=state, reason=one_line(event.reason)))
                case Lost():
                    self._emit(ConnectionEvent(state=ConnectionState.OFFLINE, reason=event.reason))
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
                        self._publishing.take(event, self._link, self._monotonic())
                case frames.PresenceNotice():
                    self._take_presence(event)
                case frames.Error():
                    self._take_error(event)
                case _:
                    pass  # a frame that is legal and says nothing here
        self._pump()

    def _take_message(self, frame: frames.RoutedMessage) -> None:
        payload, now = frame.payload, self._relay_time()
        try:
            opened = self._inbox.take(frame, now)
        except CryptoError:
            # It is not acked: it stays with the relay.
            if self._inbox.note_unreadable(frame, now):
                peer = self.contacts.of(payload.sender_id)
                self._trouble(peer, "unreadable", f"a message of {peer.label} cannot be decrypted; ask for it again")
            return
        if opened is not None:
            peer = self.contacts.of(payload.sender_id)
            self._emit(MessageEvent(message_id=payload.message_id, peer=peer))
            if opened.is_new:
                self._warn_if_classical(payload.sender_id)
            if opened.late:
                self._trouble(peer, "late", f"a text of {peer.label} came after ones that were written later")
        if self._link is not None:
            delivered = frames.MessageAckPayload(
                message_id=payload.message_id, sender_id=payload.sender_id, status="delivered"
            )
            self._acks.confirm(self._link, delivered, self._monotonic())

    def _warn_if_classical(self, user_id: str) -> None:
        if self._conversations.is_classical(user_id):
            peer = self.contacts.of(user_id)
            self._trouble(
                peer, "classical", f"texts with {peer.label} are not safe from a quantum computer: no KEM prekey"
            )

    def _take_receipt(self, frame: frames.Receipt) -> None:
        payload = frame.payload
        self._answered(frame.id)
        sent = self._vault.get(records.SENT, payload.message_id, SentRecord)
        if sent is not None and sent.peer == payload.recipient_id:
            self._advance(sent, DeliveryState[payload.status.name])
        self._confirm(frame.seq)

    def _advance(self, sent: SentRecord, state: DeliveryState) -> None:
        """A text has come further; an older news than the known one changes nothing."""
        if state <= sent.state:
            self._left_outbox(sent)
            return
        gone = state in {DeliveryState.BURNED, DeliveryState.EXPIRED}
        expires_at = sent.expires_at
        if expires_at is None and sent.expires_in is not None:
            expires_at = self._relay_time() + sent.expires_in  # it was accepted just now
        after = msgspec.structs.replace(sent, state=int(state), text=None if gone else sent.text, expires_at=expires_at)
        with self._vault.transaction():
            self._vault.delete(records.OUTBOX, sent.message_id)
            self._vault.put(records.SENT, sent.message_id, after, due=None if after.text is None else expires_at)
            if state is DeliveryState.ACCEPTED:
                self._greeted(sent.peer)
        self._left_outbox(sent)
        self._emit(DeliveryEvent(message_id=sent.message_id, peer=self.contacts.of(sent.peer), state=state))

    def _left_outbox(self, sent: SentRecord) -> None:
        self._outbox.pop(sent.message_id, None)
        if self._in_flight.get(sent.peer) == sent.message_id:
            del self._in_flight[sent.peer]

    def _take_bundle(self, frame: frames.RoutedKeyExchangeResponse) -> None:
        payload = frame.payload
        if frame.signature is UNSET:
            self._answered(frame.id)  # else the id is the peer's own
        peer = payload.sender_id
        exchange = self._exchanges.pop(peer, None)
        if exchange is not None:
            try:
                if not self._conversations.has_session(peer):
                    self._conversations.begin(peer, bundle_of(payload), exchange.ephemeral)
                    self._warn_if_classical(peer)
                with self._vault.transaction():
                    self._greeted(peer)
            except CryptoError as error:
                self._pacing.unknown_peer(peer, self._monotonic())
                contact = self.contacts.of(peer)
                self._trouble(contact, "key-exchange", f"the relay's key for {contact.label} is wrong: {error}")
        self._confirm(frame.seq)

    def _take_presence(self, frame: frames.PresenceNotice) -> None:
        payload = frame.payload
        last_seen = None if payload.last_seen is UNSET else payload.last_seen
        if last_seen is not None and last_seen > self._relay_time():
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
        handle = None if frame.id is UNSET else self._requests.pop(frame.id, None)
        if handle is not None:
            handle(frame)
        elif self._publishing.refused(frame, now):
            self._trouble(None, "prekeys", f"the relay refused the prekeys: {one_line(frame.payload.message)}")
        else:
            self._acks.refused(frame, now)

    def _answered(self, request: Any) -> None:
        """A request was answered directly, so it will not be refused."""
        if request is not UNSET:
            self._requests.pop(request, None)

    # --- sending ------------------------------------------------------------------

    def _pump(self) -> None:
        """Send whatever may be sent now."""
        if not self.is_online or self._link is None:
            return
        now = self._monotonic()
        self._publishing.tick(self._link, now)
        self._acks.tick(self._link, now)
        if self._pacing.may_send(RateClass.MESSAGE, now):
            busy = set(self._in_flight)
            for entry in list(self._outbox.values()):
                if entry.peer not in busy:
                    busy.add(entry.peer)
                    self._send_entry(entry, now)
        for peer in list(self._ungreeted):
            self._want_session(peer, now)

    def _send_entry(self, entry: OutboxRecord, now: int) -> None:
        if not self._pacing.may_reach(entry.peer, now):
            return
        if not entry.sealed and not self._conversations.has_session(entry.peer):
            self._want_session(entry.peer, now)
            return
        if not self._may_send(RateClass.MESSAGE, now):
            return
        if not entry.sealed:
            with self._vault.transaction():
                entry = self._conversations.seal(entry)
                self._vault.put(records.OUTBOX, entry.message_id, entry)
            self._outbox[entry.message_id] = entry
        self._in_flight[entry.peer] = entry.message_id
        metadata: dict[str, Any] = {}
        if entry.burn:
            metadata["burnAfterRead"] = True
        if entry.expires_in is not None:
            metadata["expiresIn"] = entry.expires_in
        payload = frames.MessagePayload(
            conversation_id=conversation_id(self.user_id, entry.peer),
            encrypted=base64.b64encode(entry.sealed).decode(),
            message_id=entry.message_id,
            metadata=msgspec.Raw(msgspec.json.encode(metadata)) if metadata else UNSET,
            recipient_id=entry.peer,
        )
        self._send_signed(
            lambda request, time: frames.Message(id=request, payload=payload, signature="", timestamp=time),
            lambda error: self._message_refused(entry, error),
        )

    def _message_refused(self, entry: OutboxRecord, error: frames.Error) -> None:
        self._in_flight.pop(entry.peer, None)
        now = self._monotonic()
        reason = "" if error.payload.details is UNSET else error.payload.details.get("reason", "")
        wait = SOON_MS if error.payload.retry_after is UNSET else error.payload.retry_after
        peer = self.contacts.of(entry.peer)
        match error.payload.code:
            case ErrorCode.RATE_LIMITED if reason == "backlog":
                self._pacing.pause_peer(entry.peer, now + wait)
                self._trouble(
                    peer, "backlog", f"the mailbox of {peer.label} is full; the text is sent when there is room"
                )
            case ErrorCode.RATE_LIMITED:
                self._pacing.pause(RateClass.MESSAGE, now + wait)
            case ErrorCode.USER_NOT_FOUND:
                self._unknown_user(peer, now)
            case ErrorCode.INTERNAL_ERROR:
                self._pacing.pause(RateClass.MESSAGE, now + max(wait, SOON_MS))
                if self._storage_told_at is None or now - self._storage_told_at >= TELL_AGAIN_MS:
                    self._storage_told_at = now
                    self._trouble(peer, "storage", "the relay cannot store texts now; they are sent as soon as it can")
            case ErrorCode.INVALID_MESSAGE if reason == "clock":
                self._pacing.pause(RateClass.MESSAGE, now + SOON_MS)
            case _:
                sent = self._vault.get(records.SENT, entry.message_id, SentRecord)
                if sent is not None:
                    self._advance(sent, DeliveryState.FAILED)
                self._trouble(
                    peer, "refused", f"the relay refused a text to {peer.label}: {one_line(error.payload.message)}"
                )

    def _want_session(self, peer: str, now: int) -> None:
        exchange = self._exchanges.get(peer)
        if exchange is not None and now - exchange.since < EXCHANGE_MS:
            return
        if not (self._pacing.may_reach(peer, now) and self._may_send(RateClass.KEY_EXCHANGE, now)):
            return
        ephemeral = KeyPair.from_private(self._random(32))
        self._exchanges[peer] = Exchange(ephemeral, now)
        payload = frames.KeyExchangeInitPayload(
            ephemeral_key=base64.b64encode(ephemeral.public).decode(),
            identity_key=base64.b64encode(self._identity.peer.public).decode(),
            target_id=peer,
        )
        self._send_signed(
            lambda request, time: frames.KeyExchangeInit(id=request, payload=payload, signature="", timestamp=time),
            lambda error: self._exchange_refused(peer, error),
        )

    def _exchange_refused(self, peer: str, error: frames.Error) -> None:
        self._exchanges.pop(peer, None)
        now = self._monotonic()
        wait = EXCHANGE_MS if error.payload.retry_after is UNSET else error.payload.retry_after
        contact = self.contacts.of(peer)
        reason = "" if error.payload.details is UNSET else error.payload.details.get("reason", "")
        match error.payload.code:
            case ErrorCode.RATE_LIMITED if reason != "backlog":
                self._pacing.pause(RateClass.KEY_EXCHANGE, now + wait)
            case ErrorCode.USER_NOT_FOUND:
                self._unknown_user(contact, now)
            case _:
                self._pacing.pause_peer(peer, now + wait)

    def _unknown_user(self, peer: Contact, now: int) -> None:
        self._pacing.unknown_peer(peer.user_id, now)
        self._trouble(
            peer, "unknown-user", f"the relay does not know {peer.label} yet; texts wait until they have connected once"
        )

    def _confirm(self, seq: Any) -> None:
        if seq is not UNSET and self._link is not None and self.is_online:
            self._acks.confirm(self._link, frames.MessageAckPayload(seq=seq, status="delivered"), self._monotonic())

    def _send(self, build: Callable[[str, int], frames.Frame]) -> str:
        if self._link is None or not self.is_online:
            return ""
        return self._link.send(build, self._monotonic())

    def _may_send(self, rate: RateClass, now: int) -> bool:
        """Count a frame of a class, unless the relay would refuse it now."""
        if self._link is None or not self.is_online or not self._pacing.may_send(rate, now):
            return False
        limit = self._link.messages_per_minute if rate is RateClass.MESSAGE else RATES[rate]
        return self._pacing.take(rate, limit if self._link.is_limited else None, now)

    def _send_signed(
        self, build: Callable[[str, int], frames.SignedFrame], refused: Callable[[frames.Error], None]
    ) -> str:
        if self._link is None:
            return ""
        request = self._link.send_signed(build, self._monotonic())
        self._requests[request] = refused
        return request

    # --- the rest -----------------------------------------------------------------

    def _forget_expired(self) -> None:
        if not self._is_clock_known:
            return
        now = self._relay_time()
        with self._vault.transaction():
            self._inbox.forget_expired(now)
            for sent in self._vault.overdue(records.SENT, now, SentRecord):
                self._vault.put(records.SENT, sent.message_id, msgspec.structs.replace(sent, text=None))

    def _greeted(self, peer: str) -> None:
        self.contacts.greeted(peer)
        self._ungreeted.discard(peer)

    def _contact_added(self, peer: str) -> None:
        self._ungreeted.update(self.contacts.ungreeted())
        self._pacing.forgive(peer)
        self._pump()
        self._notify()

    def _remember_clock(self) -> None:
        """A wrong local clock must not harm while the relay is away: texts would expire early."""
        offset = self._relay_time() - self._wall()
        if abs(offset - self._offset) > CLOCK_STEP_MS:
            self._offset = offset
            with self._vault.transaction():
                self._vault.put(records.CLOCK_OFFSET, "", Number(offset))

    def _relay_time(self) -> int:
        return self._wall() + self._offset if self._link is None else self._link.relay_time(self._monotonic())

    def _emit(self, event: Event) -> None:
        self._events.append(event)

    def _trouble(self, peer: Contact | None, word: str, sentence: str) -> None:
        self._emit(TroubleEvent(peer=peer, word=word, sentence=sentence))
