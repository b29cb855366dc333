"""Messages to many leave: encrypted once, with a head for each recipient, in as few frames as may be.

Ratchets, heads and what they are for are stored in one transaction before a frame is sent. Whoever cannot be written
to now, for lack of a session or because something is in flight to them, gets their copy later, under the same message
id. A relay that does not know MESSAGE_MANY gets a MESSAGE for each.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from phantom_messenger.client import notices
from phantom_messenger.client.content import LEAST_PADDED
from phantom_messenger.client.conversations import PeerState
from phantom_messenger.client.key_exchanges import KeyExchanges
from phantom_messenger.client.link import Link
from phantom_messenger.client.many import packing
from phantom_messenger.client.many.listener import (
    Listener,
    OrderDenied,
    Ordered,
    OrderRefused,
    OrderStale,
    OrderTaken,
)
from phantom_messenger.client.many.store import KEEP_MS, ManyMessage
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.pacing import Pacing, reason_of
from phantom_messenger.client.records import CopyRecord, ManyRecord
from phantom_messenger.client.refusals import Refusal, Refusals
from phantom_messenger.client.sanitize import quoted
from phantom_messenger.client.status import DeliveryEvent, DeliveryState, Event, Trust
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.client.visibility import Visibility
from phantom_messenger.crypto import body, head, padding
from phantom_messenger.crypto.session2 import Session2
from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.base64_text import decode_base64
from phantom_messenger.wire.codes import ErrorCode, Reason
from phantom_messenger.wire.frames import Feature
from phantom_messenger.wire.limits import MAX_SAFE_INTEGER, RateClass
from phantom_messenger.wire.orders import DIGEST_BYTES
from phantom_messenger.wire.splice import SIGNATURE_CHARS

WAITS_MS: Final = 5_000
"""How long a message waits for recipients to whom something is in flight: so that one frame is enough for all, now and
for what follows. With an order it waits for all who are busy, so that it reaches all mailboxes with the order; and for
anybody at all, if nobody can be written to. Then the revision goes to the relay alone, and the copies later."""

KEEP_FREE: Final = 10
"""Frames of a minute that what is sent again leaves to what was not sent yet: it may be much, for a new device."""

UNANSWERED_MS: Final = 120_000
"""How long an answer is waited for: then a frame is sent again, which the relay takes for what it is."""

_MAX_REVISION: Final = 2**32 - 1
_NO_ORDER: Final = "the relay cannot keep the order of changes; it must be updated first"
_ENVELOPE: Final = frames.MessageMany(
    id="0" * 20,
    payload=frames.MessageManyPayload(common="", conversation_id="", message_id="", recipients=[]),
    signature="0" * SIGNATURE_CHARS,
    timestamp=MAX_SAFE_INTEGER,
)
"""At least as long as any that is sent, but for its payload."""


WaitsFor = Callable[[str, str], bool]
"""Whether a copy of a conversation, by its id, is kept for a user whom the relay does not know."""


class Flight(NamedTuple):
    """Copies of a message that were sent in one frame; ``at``: when, in monotonic milliseconds."""

    message_id: str
    peers: Sequence[str]
    at: int
    is_ordered: bool = False


class _Part(NamedTuple):
    """A recipient whose copy may leave now; ``state`` and ``session`` are None if it is encrypted already."""

    copy: CopyRecord
    state: PeerState | None
    session: Session2 | None

    @property
    def head_chars(self) -> int:
        size = len(self.copy.head) if self.session is None else head.length(self.session.kem.carried)
        return packing.base64_chars(size)


class _Deliveries:
    """Reports copies as deliveries: the listener of messages without a purpose of their own."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def advanced(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:  # noqa: ARG002 - as every listener
        return [DeliveryEvent(message_id=message_id, peer=self._stores.book.contact(peer), state=state)]

    def ordered(
        self, tx: Transaction, message_id: str, outcome: Ordered, peers: Sequence[str], now: Moment
    ) -> list[Event]:
        if isinstance(outcome, OrderTaken):
            return []
        return [event for peer in peers for event in self.advanced(tx, message_id, peer, DeliveryState.FAILED, now)]


class SendingMany:
    """Sends what waits for many.

    Args:
        stores: of the profile.
        pacing: counts frames.
        exchanges: asks for prekeys.
        refusals: judges what the relay does not take.
        visibility: who may see that we are there.
    """

    def __init__(
        self,
        stores: Stores,
        pacing: Pacing,
        exchanges: KeyExchanges,
        refusals: Refusals,
        visibility: Visibility,
    ) -> None:
        self._stores = stores
        self._pacing = pacing
        self._exchanges = exchanges
        self._refusals = refusals
        self._visibility = visibility
        self._listeners: dict[str, Listener] = {"": _Deliveries(stores)}
        self._waits_for: dict[str, WaitsFor] = {}
        self._requests: dict[str, Flight] = {}
        self._waits_since: dict[str, int] = {}
        """Messages with an order that wait for somebody who is busy."""

    def listen(self, purpose: str, listener: Listener, waits_for: WaitsFor | None) -> None:
        """Tell a part of the client of the messages that it sends; before any can be answered."""
        self._listeners[purpose] = listener
        if waits_for is not None:
            self._waits_for[purpose] = waits_for

    def disconnected(self) -> None:
        """What was under way will not be answered."""
        self._requests.clear()
        self._waits_since.clear()
        self._stores.many.disconnected()

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each thing that waits for a time."""
        times = [since + WAITS_MS for since in self._waits_since.values()]
        times += [flight.at + UNANSWERED_MS for flight in self._requests.values()]
        return [at - now for at in times if at > now]

    def put(
        self, tx: Transaction, link: Link | None, record: ManyRecord, recipients: Sequence[str], now: Moment
    ) -> None:
        """Store a message, and encrypt for those to whom ``send`` would send it at once.

        Args:
            tx: stores it.
            link: open, or None.
            record: the message.
            recipients: users, each once.
            now: this moment.
        """
        message = ManyMessage.new(record, recipients, now.persistent)
        if link is not None and Feature.MANY in link.relay_features and record.order is None:
            message = self._seal(tx, message, self._first_ones(link, message, now))
        self._stores.many.add(tx, message)

    def _first_ones(self, link: Link, message: ManyMessage, now: Moment) -> list[_Part]:
        """Of a new message, those to whom it would be sent at once."""
        if not self._pacing.may_send(RateClass.MESSAGE, now.monotonic) or self._waits_for_answers(message, now):
            return []
        outbox, many = self._stores.outbox, self._stores.many
        free = [peer for peer in message.copies if not outbox.is_waiting_for(peer) and not many.count(peer)]
        room = self._pacing.free(RateClass.MESSAGE, link.limit(RateClass.MESSAGE), now.monotonic)
        parts, _ = self._parts(message, free, now)
        return [part for together in self._frames(message, parts, now)[:room] for part in together]

    def send(self, link: Link, now: Moment) -> Iterator[Event]:
        """Send whatever may be sent now, and yield the events; the caller must exhaust it."""
        self._give_up(now)
        if not self._stores.many.count():
            return
        ready = self._stores.many.ready(self._stores.outbox)
        # What was never sent goes first: what is sent again can be much, and is late already.
        for message, peers in sorted(ready, key=_is_again):
            if not self._pacing.may_send(RateClass.MESSAGE, now.monotonic):
                return
            if _is_again((message, peers)) and not self._has_room(link, now):
                return
            if message.expires_at is not None and message.expires_at <= now.persistent:
                continue  # it is erased with what else has expired
            yield from self._send(link, message, peers, now)

    def _has_room(self, link: Link, now: Moment) -> bool:
        """Whether what is sent again leaves enough of this minute."""
        limit = link.limit(RateClass.MESSAGE)
        return limit is None or self._pacing.free(RateClass.MESSAGE, limit, now.monotonic) > min(KEEP_FREE, limit // 2)

    def _give_up(self, now: Moment) -> None:
        """Wait no longer for answers that do not come: nothing else would go to these users while this lasts."""
        for request, flight in list(self._requests.items()):
            if now.monotonic - flight.at >= UNANSWERED_MS:
                del self._requests[request]
                self._stores.many.given_up(flight.message_id, flight.peers)

    # --- one message --------------------------------------------------------------

    def _send(self, link: Link, message: ManyMessage, peers: list[str], now: Moment) -> Iterator[Event]:
        if message.is_unordered:
            if Feature.MANY not in link.relay_features:
                yield from self._settle(message, OrderRefused(_NO_ORDER), now)
                return
            if any(flight.message_id == message.id for flight in self._requests.values()):
                return
        elif gone := self._for_nobody(message, peers, now):
            yield from self._dropped(message, gone, now)
            peers = [peer for peer in peers if peer not in gone]
        yield from self._warn_of_changed(peers)
        if self._waits_for_answers(message, now):
            return
        parts, without_session = self._parts(message, peers, now)
        self._exchanges.want_for_many(link, without_session, now)
        if message.is_unordered and self._waits_for_somebody(message, parts, now):
            return
        if Feature.MANY not in link.relay_features:
            self._send_singly(link, message, parts, now)
            return
        alone: list[list[_Part]] = [[]] if message.is_unordered else []
        for together in self._frames(message, parts, now) or alone:
            if not self._may_send(link, together, now):
                return
            self._send_frame(link, message, together, now)
            if message.is_unordered:
                return  # the rest only once the relay has taken the revision

    def _for_nobody(self, message: ManyMessage, peers: Sequence[str], now: Moment) -> list[str]:
        """Those of these users whom the relay does not know, and for whom no copy need be kept, or not any longer."""
        unknown = [peer for peer in peers if self._pacing.is_unknown(peer)]
        if now.persistent - message.at >= KEEP_MS:
            return unknown
        waits_for, conversation = self._waits_for.get(message.record.purpose), message.record.conversation_id
        return [] if waits_for is None else [peer for peer in unknown if not waits_for(conversation, peer)]

    def _dropped(self, message: ManyMessage, peers: Sequence[str], now: Moment) -> list[Event]:
        """These are sent no copy any more."""
        with self._stores.vault.transaction() as tx:
            failed = self._stores.many.failed(tx, message.id, peers)
            return self._advanced(tx, message.record, failed, DeliveryState.FAILED, now)

    def _waits_for_answers(self, message: ManyMessage, now: Moment) -> bool:
        """Whether an answer of the relay will soon let more recipients have their copies in the same frame."""
        since, many = now.monotonic - WAITS_MS, self._stores.many
        return any(copy.waits and many.is_soon_its_turn(message.id, one, since) for one, copy in message.copies.items())

    def _waits_for_somebody(self, message: ManyMessage, parts: list[_Part], now: Moment) -> bool:
        """Whether a message with an order waits a while: for those who are only busy now, or for anybody at all.

        Whom the relay does not know is not waited for: their account may be gone for good.
        """
        now_ones, stores = {part.copy.peer for part in parts}, self._stores
        later = [peer for peer, copy in message.copies.items() if copy.waits and peer not in now_ones]
        known = [peer for peer in later if not self._pacing.is_unknown(peer)]
        is_soon = any(self._exchanges.is_under_way(peer, now) for peer in later) or any(
            not parts or peer in stores.outbox or peer in stores.many for peer in known
        )
        since = self._waits_since.setdefault(message.id, now.monotonic)
        return is_soon and now.monotonic - since < WAITS_MS

    def _warn_of_changed(self, peers: Sequence[str]) -> Iterator[Event]:
        book = self._stores.book
        for peer in peers:
            if book.person(peer).trust == Trust.CHANGED:
                yield from self._exchanges.warn_if_changed(book.contact(peer))

    def _parts(self, message: ManyMessage, peers: Sequence[str], now: Moment) -> tuple[list[_Part], list[str]]:
        """Those of these users whose copy may leave now, and those with whom there is no session for it."""
        parts: list[_Part] = []
        without_session: list[str] = []
        reached = [copy for copy in map(message.copies.__getitem__, peers) if self._may_reach(copy, now)]
        states = iter(self._stores.conversations.load_several([copy.peer for copy in reached if not copy.head]))
        for copy in reached:
            if copy.head:
                parts.append(_Part(copy, None, None))
                continue
            state = next(states)
            session = state.sending_to_many
            if session is None:
                without_session.append(copy.peer)
            else:
                parts.append(_Part(copy, state, session))
        return parts, without_session

    def _may_reach(self, copy: CopyRecord, now: Moment) -> bool:
        peer = copy.peer
        return (
            self._pacing.may_reach(peer, now.monotonic)
            and self._stores.book.get(peer).trust != Trust.CHANGED
            and not self._exchanges.is_to_be_renewed(peer)
            and not (copy.resends and self._visibility.is_hidden_from(peer) and not self._stores.many.is_for(peer))
        )

    # --- frames -------------------------------------------------------------------

    def _frames(self, message: ManyMessage, parts: list[_Part], now: Moment) -> list[list[_Part]]:
        """Recipients divided into frames."""
        padded = padding.padded_size(len(message.record.content), LEAST_PADDED, body.MAX_PADDED)
        common = packing.base64_chars(body.length(padded))
        bare = replace(_ENVELOPE, payload=_payload(message, "", [], now))
        sized = [(part, packing.Sizes(part.head_chars, len(part.copy.peer))) for part in parts]
        return packing.pack(sized, fixed=len(codec.encode(bare)) + common, common=common)

    def _may_send(self, link: Link, parts: list[_Part], now: Moment) -> bool:
        """Count a frame for these, unless the relay would refuse it now."""
        pacing, time = self._pacing, now.monotonic
        limit = link.limit(RateClass.MESSAGE)
        only = parts[0].copy.peer if len(parts) == 1 else ""
        # What only asks stands before what counts, so that nothing is counted for a frame that does not leave.
        return (
            pacing.may_send(RateClass.MESSAGE, time)
            and (pacing.allowed(only, time) > 0 or pacing.free(RateClass.MESSAGE, limit, time) > 0)
            and pacing.acquire_several(RateClass.RECIPIENTS, link.limit(RateClass.RECIPIENTS), len(parts), time)
            and pacing.acquire_message(only, limit, time)
        )

    def _seal(self, tx: Transaction, message: ManyMessage, parts: list[_Part]) -> ManyMessage:
        """The message with heads for these; their ratchets are stored here, the message by whoever calls."""
        chosen = [(part.state, part.session) for part in parts if part.state and part.session]
        if not chosen:
            return message
        sealed_body, key = _body(message.record), message.record.key
        heads = self._stores.conversations.seal_heads(tx, chosen, key, sealed_body)
        return message.with_copies(
            replace(message.copies[state.contact.user_id], head=sealed, key=session.peer.public)
            for (state, session), sealed in zip(chosen, heads, strict=True)
        )

    def _with_heads(self, message: ManyMessage, parts: list[_Part]) -> ManyMessage:
        """The message with heads for these, on disk."""
        if all(part.copy.head for part in parts):
            return message
        with self._stores.vault.transaction() as tx:
            # Of the frames before, some may be in flight; what is stored is what memory holds.
            sealed = self._seal(tx, self._stores.many.waiting(message.id) or message, parts)
            self._stores.many.sealed(tx, sealed)
        return sealed

    def _send_frame(self, link: Link, message: ManyMessage, parts: list[_Part], now: Moment) -> None:
        message = self._with_heads(message, parts)
        peers = [part.copy.peer for part in parts]
        common = base64.b64encode(_body(message.record)).decode()
        recipients = [
            frames.ManyRecipientPart(
                head=base64.b64encode(message.copies[peer].head).decode(), recipient_id=peer, signature=""
            )
            for peer in peers
        ]
        frame = frames.MessageMany(payload=_payload(message, common, recipients, now), signature="", timestamp=0)
        request = link.send_many(frame, now.monotonic)
        self._stores.many.took_off(message, peers, now.monotonic)
        self._requests[request] = Flight(message.id, peers, now.monotonic, message.is_unordered)

    def _send_singly(self, link: Link, message: ManyMessage, parts: list[_Part], now: Moment) -> None:
        """One MESSAGE for each: what a relay makes of a MESSAGE_MANY."""
        for part in parts:
            peer, limit = part.copy.peer, link.limit(RateClass.MESSAGE)
            if not self._pacing.acquire_message(peer, limit, now.monotonic):
                return
            message = self._with_heads(message, [part])
            payload = frames.MessagePayload(
                conversation_id=message.record.conversation_id,
                encrypted=base64.b64encode(message.copies[peer].head + _body(message.record)).decode(),
                message_id=message.id,
                metadata=_metadata(message, now),
                recipient_id=peer,
            )
            request = link.send_signed(frames.Message(payload=payload, signature="", timestamp=0), now.monotonic)
            self._stores.many.took_off(message, [peer], now.monotonic)
            self._requests[request] = Flight(message.id, [peer], now.monotonic)

    # --- answers ------------------------------------------------------------------

    def answered(self, request: str, message_id: str, peer: str) -> None:
        """The relay has a copy that was sent by itself, and says so; what names another one answers nothing."""
        flight = self._requests.get(request)
        if flight is not None and flight.message_id == message_id and [*flight.peers] == [peer]:
            del self._requests[request]

    def result(self, frame: frames.ManyResult, now: Moment) -> Iterator[Event]:
        """The relay has a message, and has said for whom not."""
        flight = None if frame.id is UNSET else self._requests.get(frame.id)
        if flight is None or flight.message_id != frame.payload.message_id:
            return
        del self._requests[str(frame.id)]
        refused = {part.recipient_id: part for part in frame.payload.refused if part.recipient_id in flight.peers}
        message = self._stores.many.waiting(flight.message_id)
        if message is not None and flight.is_ordered and message.is_unordered:
            yield from self._settle(message, OrderTaken(), now)
        taken = [peer for peer in flight.peers if peer not in refused]
        for peer in taken:
            self._pacing.exists(peer)
        yield from self.accepted(flight.message_id, taken, now)
        for peer, part in refused.items():
            refusal = Refusal(part.code, part.reason, part.reason, part.retry_after)
            yield from self._copy_refused(flight.message_id, peer, refusal, now)
        self._stores.many.landed(flight.peers)

    def accepted(self, message_id: str, peers: Sequence[str], now: Moment) -> Iterator[Event]:
        """The relay has the copies for these users."""
        message = self._stores.many.waiting(message_id)
        if message is None:
            self._stores.many.landed(peers)
            return
        with self._stores.vault.transaction() as tx:
            news = self._stores.many.accepted(tx, message_id, peers, now.persistent)
            if not message.record.group:
                for peer in peers:
                    self._stores.book.introduced(tx, peer)
            events = self._advanced(tx, message.record, news, DeliveryState.ACCEPTED, now)
        self._stores.many.landed(peers)
        yield from events

    def refused(self, error: frames.Error, now: Moment) -> list[Event] | None:
        """An error has come; None if it was for none of these."""
        flight = None if error.id is UNSET else self._requests.pop(error.id, None)
        if flight is None:
            return None
        self._stores.many.landed(flight.peers)
        message = self._stores.many.waiting(flight.message_id)
        if message is None:
            return []
        outcome = _outcome(error) if flight.is_ordered and message.is_unordered else None
        if outcome is not None:
            return list(self._settle(message, outcome, now))
        refusal = Refusal.of(error)
        peers = [peer for peer in flight.peers if message.copies[peer].waits]
        if len(peers) == 1:
            return list(self._copy_refused(message.id, peers[0], refusal, now))
        about = next(iter(peers or ([] if flight.peers else message.copies)), None)
        events = [] if about is None else self._refusals.judge(about, refusal, now, waits_for_user=False)
        if events is not None:
            return events
        return [event for peer in peers for event in self._copy_failed(message.id, peer, refusal, now)]

    def follow(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:
        """A recipient has said how far their copy has come."""
        message = self._stores.many.advance(tx, message_id, peer, state)
        return [] if message is None else self._advanced(tx, message.record, [peer], state, now)

    def _advanced(
        self, tx: Transaction, record: ManyRecord, peers: Sequence[str], state: DeliveryState, now: Moment
    ) -> list[Event]:
        listener = self._listeners.get(record.purpose, self._listeners[""])
        return [event for peer in peers for event in listener.advanced(tx, record.message_id, peer, state, now)]

    def _copy_refused(self, message_id: str, peer: str, refusal: Refusal, now: Moment) -> Iterator[Event]:
        """The relay does not take a copy now, or for good; unless it has taken it, or its recipient has it."""
        message = self._stores.many.waiting(message_id)
        if message is None or not message.copies[peer].waits:
            return
        events = self._refusals.judge(peer, refusal, now, waits_for_user=True)
        if events is None:
            events = self._copy_failed(message_id, peer, refusal, now)
        yield from events

    def _copy_failed(self, message_id: str, peer: str, refusal: Refusal, now: Moment) -> list[Event]:
        """The relay will never take a copy."""
        message = self._stores.many.waiting(message_id)
        if message is None:  # it has failed for all of them by now
            return []
        with self._stores.vault.transaction() as tx:
            failed = self._stores.many.failed(tx, message_id, [peer])
            events = self._advanced(tx, message.record, failed, DeliveryState.FAILED, now)
        warnings = [notices.refused(self._stores.book.contact(one), refusal.message) for one in failed]
        return [*events, *warnings]

    def _settle(self, message: ManyMessage, outcome: Ordered, now: Moment) -> Iterator[Event]:
        """It is known what has become of a revision; the message goes, unless the relay has taken it."""
        listener = self._listeners.get(message.record.purpose, self._listeners[""])
        with self._stores.vault.transaction() as tx:
            if isinstance(outcome, OrderTaken):
                self._stores.many.took_order(tx, message.id)
            else:
                self._stores.many.remove(tx, message.id)
            events = listener.ordered(tx, message.id, outcome, list(message.copies), now)
        self._waits_since.pop(message.id, None)
        yield from events


def _is_again(ready: tuple[ManyMessage, Sequence[str]]) -> bool:
    """Whether a message goes to nobody now but those to whom it is sent again."""
    message, peers = ready
    return bool(peers) and all(message.copies[peer].resends for peer in peers)


def _outcome(error: frames.Error) -> Ordered | None:
    """What an error says of an order; None if the frame may be sent again."""
    code, reason, details = error.payload.code, reason_of(error), error.payload.details
    if code == ErrorCode.INVALID_MESSAGE and reason == Reason.ORDER:
        said = {} if details is UNSET else details
        revision, author = said.get("revision"), said.get("author")
        is_one = type(revision) is int and 0 < revision <= _MAX_REVISION  # a relay may say anything
        known = decode_base64(author) if isinstance(author, str) else None
        by = known if known is not None and len(known) == DIGEST_BYTES else b""
        return OrderStale(revision, by) if is_one else OrderStale(None)
    if code == ErrorCode.UNAUTHORIZED and reason in {Reason.ORDER, Reason.WRITER}:
        return OrderDenied()
    is_later = code in {ErrorCode.RATE_LIMITED, ErrorCode.INTERNAL_ERROR} or reason == Reason.CLOCK
    return None if is_later else OrderRefused(quoted(error.payload.message))


def _body(record: ManyRecord) -> bytes:
    """The body, the same whenever it is made: of one content under one key."""
    return body.seal(padding.pad(record.content, LEAST_PADDED, body.MAX_PADDED), record.key)


def _metadata(message: ManyMessage, now: Moment) -> msgspec.Raw | UnsetType:
    """``metadata``; once somebody has the message, its time runs for all."""
    record = message.record
    found: dict[str, Any] = {}
    if record.burn:
        found["burnAfterRead"] = True
    if record.expires_in is not None:
        left = record.expires_in if message.expires_at is None else message.expires_at - now.persistent
        found["expiresIn"] = max(1, left)
    return msgspec.Raw(msgspec.json.encode(found)) if found else UNSET


def _payload(
    message: ManyMessage, common: str, recipients: list[frames.ManyRecipientPart], now: Moment
) -> frames.MessageManyPayload:
    record, order = message.record, message.record.order if message.is_unordered else None
    return frames.MessageManyPayload(
        common=common,
        conversation_id=record.conversation_id,
        group=True if record.group else UNSET,
        message_id=record.message_id,
        metadata=_metadata(message, now),
        order=UNSET
        if order is None
        else frames.OrderPart(
            name=base64.b64encode(order.name).decode(), revision=order.revision, writers=order.writers
        ),
        recipients=recipients,
    )
