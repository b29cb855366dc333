"""What leaves a client, and when: texts and receipts, key exchanges, questions for what could not be read.

Texts to one peer leave one at a time, each after the one before was accepted: so they
arrive in order even when the relay refuses one for a while.
"""

import base64
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET

from phantom_messenger.client import content
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.conversations import (
    ChangedKey,
    Conversations,
    NoPostQuantumKey,
    bundle_of,
    conversation_id,
)
from phantom_messenger.client.healing import Healing
from phantom_messenger.client.link import Link
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.pacing import Pacing, asked, span
from phantom_messenger.client.plain import one_line
from phantom_messenger.client.receipts import UNDECRYPTABLE, Receipts
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.status import Contact, DeliveryState, Trust
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.limits import RATES, RateClass

EXCHANGE_MS: Final = 20_000
"""How long a key exchange may stay unanswered before it is begun anew."""

CLASSICAL_AGAIN_MS: Final = 600_000
"""How long to wait before asking again for the keys of somebody of whom the relay gave none that is post-quantum."""

SOON_MS: Final = 1_000
TELL_PAUSE_MS: Final = 3_000
"""Pauses for a limit that are told: of one that is shorter nobody need hear."""

TELL_AGAIN_MS: Final = 60_000
"""How often a person is told of a trouble that goes on."""

GATHER_MS: Final = 250
"""How long receipts are gathered: so that what is received and read at once is one message."""

GATHER_STEPS: Final = ((40, GATHER_MS), (20, 2_000), (0, 5_000))
"""The fewer messages the relay still takes in this minute, the longer they are gathered: texts go first."""

KEEP_FREE: Final = 10
"""Messages of a minute that receipts leave to texts, until they have waited for ``TELL_LATEST_MS``."""

TELL_LATEST_MS: Final = 60_000

_KEEP_OF_CLASS: Final = 5
"""Frames of a minute that what may be left out leaves to the rest."""

Trouble = Callable[[Contact | None, str, str], None]
Advance = Callable[[OutboxRecord, DeliveryState], None]


@dataclass(slots=True)
class Exchange:
    """A KEY_EXCHANGE_INIT under way; ``heals``: for what could not be read, although there is a session."""

    ephemeral: KeyPair
    since: int
    heals: bool


class Sending:
    """Decides what is sent now. Times are monotonic milliseconds, but for ``steady``, by which what is kept grows old.

    Args:
        vault: for transactions over the rooms below.
        identity: signs.
        contacts: who may be told what.
        conversations: encrypt.
        outbox: what waits.
        receipts: what senders are to be told.
        healing: what could not be read.
        random: a source of random bytes.
        wall: milliseconds since 1970 by the device's clock.
        trouble: called with what a person should know.
        advance: called when a text has come further.
        greeted: called, inside a transaction, when the relay has seen us write to somebody.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        identity: OwnIdentity,
        contacts: Contacts,
        conversations: Conversations,
        outbox: Outbox,
        receipts: Receipts,
        healing: Healing,
        random: Callable[[int], bytes],
        wall: Callable[[], int],
        trouble: Trouble,
        advance: Advance,
        greeted: Callable[[str], None],
    ) -> None:
        self._vault = vault
        self._identity = identity
        self._own_id = base64.b64encode(identity.peer.user_id).decode()
        self._contacts = contacts
        self._conversations = conversations
        self._outbox = outbox
        self._receipts = receipts
        self._healing = healing
        self._random = random
        self._wall = wall
        self._trouble = trouble
        self._advance = advance
        self._greeted = greeted
        self._pacing = Pacing()
        self._requests: dict[str, Callable[[frames.Error], None]] = {}
        self._exchanges: dict[str, Exchange] = {}
        self._tell_at: dict[str, int] = {}
        self._waiting_since: dict[str, int] = {}
        self._storage_told_at: int | None = None
        self._pause_told_at: int | None = None
        self._refused_since: dict[str, int] = {}
        """Users for whom the relay takes nothing just now, and since when."""
        self._blocked: set[str] = set()
        self._held: set[str] = set()
        self._absent = False
        self._may_know: set[str] = set()
        """Users who may be told once what waits for them, although we look absent."""
        self._freed: set[str] = set()
        """Receipts, and messages to be sent again, that may leave although we look absent."""
        self._greets: set[str] = set()
        """Users whose key may be asked for, although we look absent."""
        self._classical_until: dict[str, int] = {}
        """Users of whom the relay gave no post-quantum key: when they are asked for again."""
        self._renew: set[str] = set()
        """Users who have lost the session that one writes to them in."""
        self._hurry = False
        self._link: Link | None = None
        self._now = self._steady = 0

    def disconnected(self) -> None:
        """What was under way will not be answered."""
        self._link = None
        self._requests.clear()
        self._exchanges.clear()
        self._outbox.disconnected()
        self._pacing.disconnected()

    def moved(self) -> None:
        """Another relay was chosen: it has counted nothing yet, and may know whom this one did not."""
        self._pacing = Pacing()

    def hurry(self) -> None:
        """Gather receipts no longer: the program is about to leave."""
        self._hurry = True

    def forgive(self, peer: str) -> None:
        """Try this user at once: something about them has changed."""
        self._pacing.forgive(peer)
        self._blocked.discard(peer)
        self._classical_until.pop(peer, None)
        self._tell_at.pop(peer, None)

    def drop(self, peer: str) -> None:
        """This user is written to no more: what was begun for it is of no use."""
        self._exchanges.pop(peer, None)
        self._waiting_since.pop(peer, None)
        self._tell_at.pop(peer, None)
        self._renew.discard(peer)

    def look_absent(self, *, absent: bool) -> None:
        """Say nothing by itself that shows that this device is there, or say it again.

        No receipts, no questions for what could not be read, nothing that somebody has asked for again: they wait
        until the user writes to whom they concern, or ``show`` is called.
        """
        self._absent = absent

    def show(self, peer: str) -> None:
        """What waits for this user may be said, although one looks absent: the user lets them know all the same."""
        if self._absent:
            self._may_know.add(peer)
            self._freed.update(self._outbox.again_for(peer))

    def _is_hidden(self, entry: OutboxRecord) -> bool:
        shows = entry.text is not None and not entry.again
        return not shows and entry.message_id not in self._freed and self._is_still(entry.peer)

    def _is_still(self, peer: str) -> bool:
        """Whether this user is to see nothing of a device that looks absent."""
        return self._absent and not self._outbox.is_for(peer)

    def greet(self, peer: str) -> None:
        """Ask for this user's key, although one looks absent."""
        self._greets.add(peer)

    def has_room(self, link: Link, rate: RateClass, now: int) -> bool:
        """Whether more than a few frames of a class may be sent now: for what may be left out."""
        return self._pacing.free(rate, _limit(link, rate), now) > _KEEP_OF_CLASS

    def hold(self, peer: str) -> None:
        """Write nothing to this user: the relay is to forget first that one ever did."""
        self._held.add(peer)

    def release(self, peer: str) -> None:
        """Write to this user again."""
        self._held.discard(peer)

    def may_be_told(self, peer: str) -> None:
        """This user may learn what became of their messages from now on."""
        self._tell_at.pop(peer, None)
        self._refused_since.pop(peer, None)

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each thing that waits for a time."""
        # What is overdue waits for an answer of the relay, not for a time.
        return self._pacing.waits(now) + [at - now for at in self._tell_at.values() if at > now]

    def may_send(self, link: Link, rate: RateClass, now: int) -> bool:
        """Count a frame of a class, unless the relay would refuse it now."""
        return self._pacing.may_send(rate, now) and self._pacing.take(rate, _limit(link, rate), now)

    def pump(self, link: Link, now: int, *, steady: int, greet: set[str]) -> None:
        """Send whatever may be sent now.

        Args:
            link: logged in.
            now: monotonic milliseconds.
            steady: milliseconds of steady time.
            greet: users to whom the relay is to see a key exchange.
        """
        self._link, self._now, self._steady = link, now, steady
        self._ask()
        for peer in list(self._renew):
            # It shows that we are there, and costs: so not for a stranger's word, nor while one looks absent.
            is_told = self._contacts.may_tell(peer) and not self._is_still(peer)
            if is_told and self._healing.needs_session(peer, steady, now):
                self._want_session(peer, heals=True)
        self._tell()
        self._may_know &= set(self._receipts.senders())
        if self._pacing.may_send(RateClass.MESSAGE, now):
            for entry in self._outbox.ready():
                self._send_entry(entry)
        self._tell_pause()
        for peer in list(greet):
            if peer not in self._blocked and (peer in self._greets or not self._is_still(peer)):
                self._want_session(peer)

    def _tell_pause(self) -> None:
        """Say that texts wait for a limit, if it is not over at once; and not again and again."""
        wait = self._pacing.until(RateClass.MESSAGE) - self._now
        if wait >= TELL_PAUSE_MS:
            self._tell_waiting(self._outbox.texts(), wait)

    def _tell_refused(self, peer: str, wait: int) -> None:
        """The relay takes nothing for this user now: say so if it lasts, in one wait or in many."""
        since = self._refused_since.setdefault(peer, self._now)
        if self._now + wait - since >= TELL_PAUSE_MS:
            self._tell_waiting(self._outbox.texts(peer), wait)

    def _tell_waiting(self, waiting: int, wait: int) -> None:
        if waiting and (self._pause_told_at is None or self._now - self._pause_told_at >= TELL_AGAIN_MS):
            self._pause_told_at = self._now
            what = "a text waits" if waiting == 1 else f"{waiting} texts wait"
            self._trouble(None, "paused", f"{what}: the relay takes the next in {span(wait)}")

    # --- texts and receipts -------------------------------------------------------

    def _ask(self) -> None:
        """Ask for what could not be read, in a session that is new enough."""
        for sender in self._healing.senders():
            missing = self._healing.due(sender, self._steady)[: content.MAX_RECEIPTS]
            if not missing or not self._contacts.may_tell(sender) or (self._absent and sender not in self._may_know):
                continue
            is_new = self._conversations.has_session(sender) and not self._healing.needs_session(
                sender, self._steady, self._now
            )
            if not is_new:
                self._want_session(sender, heals=True)
                continue
            with self._vault.transaction():
                self._healing.asked(sender, missing, self._steady)
                for name in missing:
                    self._receipts.put(sender, name, UNDECRYPTABLE, self._steady)

    def _tell(self) -> None:
        """Put receipts that were gathered long enough into the outbox."""
        senders = self._receipts.senders()
        self._tell_at = {sender: self._tell_at.get(sender, self._now + self._gather_ms()) for sender in senders}
        for sender in senders:
            if self._absent and sender not in self._may_know:
                continue
            is_urgent = self._hurry or self._receipts.urgent(sender)
            if (self._now < self._tell_at[sender] and not is_urgent) or self._outbox.carriers(sender):
                continue
            if not self._contacts.may_tell(sender):
                self._tell_at[sender] = self._now + TELL_AGAIN_MS
                continue
            since = self._waiting_since.setdefault(sender, self._now)
            if not is_urgent and self._free() < KEEP_FREE and self._now - since < TELL_LATEST_MS:
                self._tell_at[sender] = self._now + self._gather_ms()
                continue
            del self._tell_at[sender], self._waiting_since[sender]
            carrier = str(uuid.UUID(bytes=self._random(16), version=4))
            entry = OutboxRecord(
                message_id=carrier,
                peer=sender,
                text=None,
                burn=False,
                expires_in=None,
                made_at=content.time_of(self._wall()),
            )
            with self._vault.transaction():
                self._receipts.load(sender, carrier)
                self._outbox.put(entry, first=is_urgent)
            if self._absent:
                self._freed.add(carrier)

    def _gather_ms(self) -> int:
        free = self._free()
        return next(wait for least, wait in GATHER_STEPS if free >= least)

    def _free(self) -> int:
        """Messages that may still be sent in this minute, besides the receipts that wait to be."""
        assert self._link is not None  # noqa: S101 - pump has set it
        free = self._pacing.free(RateClass.MESSAGE, _limit(self._link, RateClass.MESSAGE), self._now)
        return max(0, free - self._outbox.carriers())

    def _send_entry(self, entry: OutboxRecord) -> None:
        link, now = self._link, self._now
        if link is None or entry.peer in self._held or self._is_hidden(entry):
            return
        if not self._pacing.may_reach(entry.peer, now) or self._is_blocked(entry):
            return
        if not entry.sealed and not self._conversations.has_session(entry.peer):
            self._want_session(entry.peer)
            return
        if entry.peer in self._renew:
            return
        expires_in = self._lifetime(entry)
        if expires_in is not None and expires_in <= 0:
            self._outbox.remove(entry.message_id, entry.peer, is_over=True)
            return
        if not self.may_send(link, RateClass.MESSAGE, now):
            return
        if not entry.sealed:
            with self._vault.transaction():
                entry = self._conversations.seal(entry, self._receipts.carried(entry.peer, entry.message_id))
                self._outbox.put(entry)
        self._outbox.in_flight(entry)
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
        self._send_signed(
            link,
            lambda request, time: frames.Message(id=request, payload=payload, signature="", timestamp=time),
            lambda error: self._message_refused(entry, error),
        )

    def _lifetime(self, entry: OutboxRecord) -> int | None:
        """``expiresIn``: of a text that is sent again, what is left of it."""
        sent = self._outbox.sent(entry.message_id) if entry.again else None
        return entry.expires_in if sent is None or sent.expires_at is None else sent.expires_at - self._steady

    def _is_blocked(self, entry: OutboxRecord) -> bool:
        """Whether the user must look at a changed key first; said once."""
        peer = self._contacts.of(entry.peer)
        if peer.trust is not Trust.CHANGED:
            return False
        if entry.peer not in self._blocked:
            self._blocked.add(entry.peer)
            self.tell_changed(peer)
        return True

    def tell_changed(self, peer: Contact) -> None:
        """A person must look at a changed key."""
        self._trouble(
            peer,
            "key-changed",
            f"the key of {peer.label} has changed: nothing is sent until you compare it with 'phantom contacts verify "
            f"{peer.name or peer.user_id}' or take it with 'phantom contacts accept {peer.name or peer.user_id}'",
        )

    def _message_refused(self, entry: OutboxRecord, error: frames.Error) -> None:
        self._outbox.refused(entry)
        now = self._now
        reason = "" if error.payload.details is UNSET else error.payload.details.get("reason", "")
        wait = max(asked(error.payload.retry_after, SOON_MS), SOON_MS)
        peer = self._contacts.of(entry.peer)
        match error.payload.code:
            case ErrorCode.RATE_LIMITED if reason == "backlog":
                self._pacing.pause_peer(entry.peer, now + wait)
                self._trouble(
                    peer, "backlog", f"the mailbox of {peer.label} is full; the text is sent when there is room"
                )
            case ErrorCode.RATE_LIMITED:
                self._pacing.pause(RateClass.MESSAGE, now + wait)
                self._tell_refused(entry.peer, wait)
            case ErrorCode.USER_NOT_FOUND if entry.text is not None:
                self._unknown_user(peer)
            case ErrorCode.INTERNAL_ERROR:
                self._pacing.pause(RateClass.MESSAGE, now + max(wait, SOON_MS))
                if self._storage_told_at is None or now - self._storage_told_at >= TELL_AGAIN_MS:
                    self._storage_told_at = self._pause_told_at = now  # it waits, and is told why
                    self._trouble(peer, "storage", "the relay cannot store texts now; they are sent as soon as it can")
            case ErrorCode.INVALID_MESSAGE if reason == "clock":
                self._pacing.pause(RateClass.MESSAGE, now + SOON_MS)
                self._tell_refused(entry.peer, SOON_MS)
            case _ if entry.again and entry.text is not None:
                self._outbox.remove(entry.message_id, entry.peer, is_over=True)  # it had been accepted once
            case _ if entry.text is None:
                self._outbox.remove(entry.message_id, entry.peer)
                self._receipts.told(entry.peer, entry.message_id)  # nobody is there to hear it
            case _:
                self._advance(entry, DeliveryState.FAILED)
                self._trouble(
                    peer, "refused", f"the relay refused a text to {peer.label}: {one_line(error.payload.message)}"
                )

    # --- key exchange -------------------------------------------------------------

    def _want_session(self, peer: str, *, heals: bool = False) -> None:
        link, now = self._link, self._now
        if peer in self._held:
            return
        exchange = self._exchanges.get(peer)
        if exchange is not None and now - exchange.since < EXCHANGE_MS:
            exchange.heals = exchange.heals or heals
            return
        if (
            link is None
            or now < self._classical_until.get(peer, now)
            or not self._pacing.may_reach(peer, now)
            or not self.may_send(link, RateClass.KEY_EXCHANGE, now)
        ):
            return
        ephemeral = KeyPair.from_private(self._random(32))
        self._exchanges[peer] = Exchange(ephemeral, now, heals)
        payload = frames.KeyExchangeInitPayload(
            ephemeral_key=base64.b64encode(ephemeral.public).decode(),
            identity_key=base64.b64encode(self._identity.peer.public).decode(),
            target_id=peer,
        )
        self._send_signed(
            link,
            lambda request, time: frames.KeyExchangeInit(id=request, payload=payload, signature="", timestamp=time),
            lambda error: self._exchange_refused(peer, error),
        )

    def take_bundle(self, payload: frames.RoutedKeyExchangeResponsePayload, now: int, steady: int) -> bool:
        """Prekeys of a peer have come; whether a session was begun with them."""
        peer = payload.sender_id
        exchange = self._exchanges.pop(peer, None)
        if exchange is None:
            return False
        contact = self._contacts.of(peer)
        try:
            begins = exchange.heals or not self._conversations.has_session(peer)
            with self._vault.transaction():
                if begins:
                    self._conversations.begin(peer, bundle_of(payload), exchange.ephemeral)
                    self._vault.when_kept(lambda: self._renew.discard(peer))
                if exchange.heals:
                    self._healing.began(peer, steady, now)
                self._greeted(peer)
        except ChangedKey:
            self._conversations.note_offered(peer, base64.b64decode(payload.identity_key))
            self._blocked.add(peer)
            self._pacing.pause_peer(peer, now + TELL_AGAIN_MS)
            self.tell_changed(self._contacts.of(peer))
        except NoPostQuantumKey as error:
            is_told = peer in self._classical_until
            self._classical_until[peer] = now + CLASSICAL_AGAIN_MS
            if not is_told:
                self.tell_classical(contact, had_one=error.had_one)
        except CryptoError as error:
            self._pacing.unknown_peer(peer, now)
            self._trouble(contact, "key-exchange", f"the relay's key for {contact.label} is wrong: {error}")
        else:
            return begins
        return False

    def renew(self, peer: str) -> None:
        """They have lost the session that one writes to them in: nothing is sent until there is a new one."""
        self._renew.add(peer)

    def tell_classical(self, peer: Contact, *, had_one: bool) -> None:
        """A person must decide whether texts may go without a post-quantum secret."""
        word = "downgrade" if had_one else "classical"
        lack = "gives no post-quantum key any more, which can be an attack" if had_one else "gives no post-quantum key"
        self._trouble(
            peer,
            word,
            f"the relay {lack}: nothing is sent to {peer.label}; 'phantom contacts accept "
            f"{peer.name or peer.user_id} --classical' sends without",
        )

    def tell_weak(self, peer: Contact) -> None:
        """Somebody began a session without a post-quantum secret: it is read, and not answered in."""
        word = "downgrade" if self._conversations.had_kem(peer.user_id) else "classical"
        what = "is not safe from a quantum computer; nothing is sent to them like that"
        self._trouble(peer, word, f"a message of {peer.label} {what}")

    def _exchange_refused(self, peer: str, error: frames.Error) -> None:
        self._exchanges.pop(peer, None)
        now = self._now
        wait = max(asked(error.payload.retry_after, EXCHANGE_MS), SOON_MS)
        reason = "" if error.payload.details is UNSET else error.payload.details.get("reason", "")
        match error.payload.code:
            case ErrorCode.RATE_LIMITED if reason != "backlog":
                self._pacing.pause(RateClass.KEY_EXCHANGE, now + wait)
                self._tell_refused(peer, wait)
            case ErrorCode.USER_NOT_FOUND:
                self._unknown_user(self._contacts.of(peer))
            case _:
                self._pacing.pause_peer(peer, now + wait)
                self._tell_refused(peer, wait)

    def _unknown_user(self, peer: Contact) -> None:
        self._pacing.unknown_peer(peer.user_id, self._now)
        if peer.key is None:
            what = f"the relay does not know {peer.label} yet; texts wait until they have connected once"
        else:
            what = (
                f"the relay does not know {peer.label} any more: the account was deleted, or is at another relay; "
                "texts wait in case it comes back"
            )
        self._trouble(peer, "unknown-user", what)

    # --- requests -----------------------------------------------------------------

    def refused(self, frame: frames.Error, now: int) -> bool:
        """An error has come; whether it was for one of these."""
        handle = None if frame.id is UNSET else self._requests.pop(frame.id, None)
        if handle is None:
            return False
        self._now = now
        handle(frame)
        return True

    def answered(self, request: Any) -> None:
        """A request was answered directly, so it will not be refused."""
        if request is not UNSET:
            self._requests.pop(request, None)

    def _send_signed(
        self, link: Link, build: Callable[[str, int], frames.SignedFrame], refused: Callable[[frames.Error], None]
    ) -> None:
        self._requests[link.send_signed(build, self._now)] = refused


def _limit(link: Link, rate: RateClass) -> int | None:
    """Frames of a class a minute; None if the relay does not limit them."""
    if not link.is_limited:
        return None
    return link.messages_per_minute if rate is RateClass.MESSAGE else RATES[rate]
