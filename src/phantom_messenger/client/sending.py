"""What leaves a client, and when: messages and receipts, below the relay's limits.

Messages to one peer leave one at a time, each after the one before was accepted: so they
arrive in order even when the relay refuses one for a while.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET

from phantom_messenger.client import notices
from phantom_messenger.client.batching import Batching
from phantom_messenger.client.conversations import PeerState, conversation_id
from phantom_messenger.client.devices.records import HISTORY_OUT, HistoryOutRecord
from phantom_messenger.client.flights import Flights
from phantom_messenger.client.key_exchanges import KeyExchanges
from phantom_messenger.client.link import Link
from phantom_messenger.client.many.sending import SendingMany
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.notices import PauseNotices
from phantom_messenger.client.pacing import Pacing
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.refusals import Refusal, Refusals
from phantom_messenger.client.status import Event, Trust, WarningEvent
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.client.visibility import Visibility
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.wire import frames
from phantom_messenger.wire.limits import ALLOWANCE_MS, ALLOWED_MESSAGES, RateClass

_KEEP_OF_CLASS: Final = 5
"""Frames of a minute that what may be left out leaves to the rest."""


@dataclass(frozen=True, slots=True)
class SendRefused:
    """What follows from an error of the relay: events, and a message that will never be delivered, if there is one."""

    events: list[Event]
    failed: OutboxRecord | None = None


class Sending:
    """Decides what is sent now.

    Args:
        stores: of the profile.
        identity: one's own.
        random: a source of random bytes.
    """

    def __init__(self, stores: Stores, identity: OwnIdentity, random: Callable[[int], bytes]) -> None:
        self._stores = stores
        self._own_id = base64.b64encode(identity.peer.user_id).decode()
        self._pacing = Pacing()
        self._pauses = PauseNotices()
        self.visibility = Visibility(stores.outbox)
        self.exchanges = KeyExchanges(stores, identity, self._pacing, self._pauses, random)
        self._batching = Batching(stores, self._pacing, self.visibility, random)
        self._refusals = Refusals(stores, self._pacing, self._pauses)
        self.many = SendingMany(stores, self._pacing, self.exchanges, self._refusals, self.visibility)
        self._flights = Flights()

    def disconnected(self) -> None:
        """What was under way will not be answered."""
        self._flights.disconnected()
        self.exchanges.disconnected()
        self.many.disconnected()
        self._stores.outbox.disconnected()
        self._pacing.disconnected()

    def moved(self) -> None:
        """Another relay was chosen: it has counted nothing yet, and may know whom this one did not."""
        self._pacing.reset()

    def flush(self) -> None:
        """Gather receipts no longer: the program is about to leave."""
        self._batching.flush()

    def reset_backoff(self, peer: str) -> None:
        """Try this user at once: something about them has changed."""
        self._pacing.reset_peer(peer)
        self.exchanges.reset(peer)
        self._batching.reset(peer)

    def drop(self, peer: str) -> None:
        """This user is written to no more: what was begun for it is of no use."""
        self.exchanges.drop(peer)
        self._batching.drop(peer)

    def hold(self, peer: str) -> None:
        """Write nothing to this user: the relay is to forget first that one ever did."""
        self._pacing.hold(peer)

    def release(self, peer: str) -> None:
        """Write to this user again."""
        self._pacing.release(peer)

    def accepted(self, peer: str) -> None:
        """The relay has taken a message for this user."""
        self._pauses.accepted(peer)

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each thing that waits for a time."""
        waits = self._pacing.waits(now) + self._batching.waits(now) + self._flights.waits(now)
        return waits + self.exchanges.waits(now) + self.many.waits(now)

    def may_send(self, link: Link, rate: RateClass, now: int) -> bool:
        """Count a frame of a class, unless the relay would refuse it now."""
        return self._pacing.acquire(rate, link.limit(rate), now)

    def has_room(self, link: Link, rate: RateClass, now: int) -> bool:
        """Whether more than a few frames of a class may be sent now: for what may be left out."""
        return self._pacing.free(rate, link.limit(rate), now) > _KEEP_OF_CLASS

    def free(self, link: Link, rate: RateClass, now: int) -> int:
        """How many frames of a class may be sent now."""
        return self._pacing.free(rate, link.limit(rate), now) if self._pacing.may_send(rate, now) else 0

    def allow(self, peer: str, messages: int, expires_in: int, now: int) -> None:
        """The relay says how many messages an own device, which is to get something, allows beside the rate.

        No relay is taken at its word.
        """
        devices, vault = self._stores.devices, self._stores.vault
        if peer in devices.own_others() and vault.find(HISTORY_OUT, peer, HistoryOutRecord) is not None:
            most, longest = min(messages, ALLOWED_MESSAGES), min(expires_in, ALLOWANCE_MS)
            self._pacing.allow(peer, most, now + longest, now)

    def has_room_for(self, link: Link, peer: str, now: int, *, keep: int) -> bool:
        """Whether a message to a user may be sent now that leaves so many of the rate to the rest."""
        return self._pacing.allowed(peer, now) > 0 or self.free(link, RateClass.MESSAGE, now) > keep

    def send_pending(self, link: Link, now: Moment) -> Iterator[Event]:
        """Send whatever may be sent now, and yield the events; the caller must exhaust it."""
        for entry in self._flights.overdue(now.monotonic):
            self._stores.outbox.refused(entry)
        for peer in self._batching.ask(now):
            self.exchanges.want(link, peer, now, recovers=True)
        for peer in self.exchanges.to_renew():
            # It shows that we are there, and costs: so not because a stranger says so, nor while one looks absent.
            may_know = self._stores.book.may_notify(peer) and not self.visibility.is_hidden_from(peer)
            if may_know and self._stores.recovery.needs_session(peer, now.persistent, now.monotonic):
                self.exchanges.want(link, peer, now, recovers=True)
        self._batching.fill(link, now)
        if self._pacing.may_send(RateClass.MESSAGE, now.monotonic):
            for entry in self._stores.outbox.ready():
                yield from self._send_entry(link, entry, now)
        yield from self.many.send(link, now)
        wait = self._pacing.until(RateClass.MESSAGE) - now.monotonic
        yield from self._pauses.paused(self._stores.waiting(), wait, now.monotonic)
        self._introduce(link, now)

    def _introduce(self, link: Link, now: Moment) -> None:
        """Let the relay see key exchanges to those whom it does not yet know as our contacts."""
        for peer in self._stores.book.to_introduce():
            if not self._pacing.may_send(RateClass.KEY_EXCHANGE, now.monotonic):
                break
            if not self.exchanges.has_changed(peer) and self.visibility.may_introduce(peer):
                self.exchanges.want(link, peer, now)

    # --- one entry ----------------------------------------------------------------

    def _send_entry(self, link: Link, entry: OutboxRecord, now: Moment) -> list[WarningEvent]:
        if self.visibility.is_hidden(entry) or not self._pacing.may_reach(entry.peer, now.monotonic):
            return []
        contact = self._stores.book.contact(entry.peer)
        if contact.trust is Trust.CHANGED:
            return self.exchanges.warn_if_changed(contact)
        state = None if entry.sealed else self._stores.conversations.load(entry.peer)
        if state is not None and state.sending is None:
            self.exchanges.want(link, entry.peer, now)
            return []
        if self.exchanges.is_to_be_renewed(entry.peer):
            return []
        expires_in = self._lifetime(entry, now.persistent)
        if expires_in is not None and expires_in <= 0:
            with self._stores.vault.transaction() as tx:
                self._stores.outbox.remove(tx, entry.message_id, entry.peer, is_over=True)
            return []
        if not self._pacing.acquire_message(entry.peer, link.limit(RateClass.MESSAGE), now.monotonic):
            return []
        if state is not None:
            with self._stores.vault.transaction() as tx:
                entry = self._seal(tx, state, entry)
        # Only now is the ratchet's new state on disk: a message that left before it could have its key used again.
        self._stores.outbox.in_flight(entry)
        request = link.send_signed(self._frame(entry, expires_in), now.monotonic)
        self._flights.begin(request, entry, now.monotonic)
        self.exchanges.learn(link, entry.peer, now)
        return []

    def _seal(self, tx: Transaction, state: PeerState, entry: OutboxRecord) -> OutboxRecord:
        statuses = self._stores.receipts.statuses(entry.peer, entry.message_id)
        sealed = self._stores.conversations.seal(tx, state, entry, statuses, self._stores.devices.claim())
        self._stores.outbox.put(tx, sealed)
        return sealed

    def seal_now(self, tx: Transaction, link: Link, entry: OutboxRecord, now: Moment) -> None:
        """Encrypt a message in the transaction that stores it, if ``send_pending`` would send it at once."""
        peer = entry.peer
        if (
            self._stores.outbox.is_waiting_for(peer)
            or self._batching.has_urgent(peer, now)
            or self.exchanges.is_to_be_renewed(peer)
            or not self._pacing.may_reach(peer, now.monotonic)
            or not self._pacing.may_send(RateClass.MESSAGE, now.monotonic)
            or not self._pacing.free(RateClass.MESSAGE, link.limit(RateClass.MESSAGE), now.monotonic)
        ):
            return
        state = self._stores.conversations.load(peer)
        if state.sending is not None:
            self._seal(tx, state, entry)

    def _frame(self, entry: OutboxRecord, expires_in: int | None) -> frames.Message:
        metadata: dict[str, Any] = {}
        if entry.burn:
            metadata["burnAfterRead"] = True
        if expires_in is not None:
            metadata["expiresIn"] = expires_in
        payload = frames.MessagePayload(
            conversation_id=conversation_id(self._own_id, entry.peer),
            encrypted=base64.b64encode(entry.sealed).decode(),
            message_id=entry.message_id,
            metadata=msgspec.Raw(msgspec.json.encode(metadata)) if metadata else UNSET,
            recipient_id=entry.peer,
        )
        return frames.Message(payload=payload, signature="", timestamp=0)

    def _lifetime(self, entry: OutboxRecord, now: int) -> int | None:
        """``expiresIn``: of a message that is sent again, what is left of it."""
        sent = self._stores.outbox.sent(entry.message_id) if entry.again else None
        return entry.expires_in if sent is None or sent.expires_at is None else sent.expires_at - now

    # --- answers ------------------------------------------------------------------

    def answered(self, request: Any, message_id: str, peer: str) -> None:
        """The relay has a message for a user, and says so directly: its request will not be refused."""
        if request is not UNSET:
            self.many.answered(request, message_id, peer)
            self._flights.answered(request, message_id, peer)

    def refused(self, error: frames.Error, now: Moment) -> SendRefused | None:
        """An error has come; None if it was for none of these."""
        events = self.exchanges.refused(error, now)
        if events is not None:
            return SendRefused(events)
        events = self.many.refused(error, now)
        if events is not None:
            return SendRefused(events)
        entry = None if error.id is UNSET else self._flights.end(error.id)
        if entry is None:
            return None
        self._stores.outbox.refused(entry)
        if not self._stores.outbox.waits(entry.message_id):
            return SendRefused([])  # the relay has taken it, or its recipient has it
        return self._message_refused(entry, error, now)

    def exists(self, peer: str) -> None:
        """A message of this user was decrypted: whatever the relay says, they exist."""
        self._pacing.exists(peer)

    def _message_refused(self, entry: OutboxRecord, error: frames.Error, now: Moment) -> SendRefused:
        refusal = Refusal.of(error)
        events = self._refusals.judge(entry.peer, refusal, now, waits_for_user=entry.text is not None)
        if events is not None:
            return SendRefused(events)
        if entry.text is not None and not entry.again:
            contact = self._stores.book.contact(entry.peer)
            return SendRefused([notices.refused(contact, refusal.message)], failed=entry)
        self._give_up(entry)
        return SendRefused([])

    def _give_up(self, entry: OutboxRecord) -> None:
        """Nobody is there to hear a receipt; and a message that was sent again had been accepted once."""
        stores = self._stores
        with stores.vault.transaction() as tx:
            stores.outbox.remove(tx, entry.message_id, entry.peer, is_over=entry.text is not None)
            if entry.text is None:
                stores.receipts.acknowledged(tx, entry.peer, entry.message_id)
