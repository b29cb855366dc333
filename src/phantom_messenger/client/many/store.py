"""Messages to many: what waits for whom, how far each copy has come, and what may have to be sent again.

A copy is what one recipient gets of a message. Those for one recipient leave one after the other, in the order in
which the messages were written, as texts do. A message is kept until its time is over, or for ``KEEP_MS`` after the
relay has accepted the last copy: so long a recipient may ask for it again.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from functools import partial
from itertools import islice
from typing import Final, NamedTuple, Self

from msgspec import UnsetType
from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.records import CopiesRecord, CopyRecord, ManyRecord
from phantom_messenger.client.recovery import MAX_RESENDS
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.unanswered import Unanswered
from phantom_messenger.client.vault import Transaction, Vault

KEEP_MS: Final = 30 * 86_400_000
"""How long a message is kept of which no copy waits."""

ANSWER: Final = "group-answer"
"""The purpose of what others can ask for again, as often as they like: they could fill the disk with answers."""

KEEP_ANSWERS_MS: Final = 3_600_000
"""How long such a message is kept."""

_RANK: Final = {
    DeliveryState.QUEUED: 0,
    DeliveryState.ACCEPTED: 1,
    DeliveryState.EXPIRED: 2,
    DeliveryState.FAILED: 2,
    DeliveryState.DELIVERED: 3,
    DeliveryState.READ: 4,
    DeliveryState.BURNED: 5,
}


@dataclass(frozen=True, slots=True)
class ManyMessage:
    """A message and its copies, by recipient; ``at`` and the rest are as in ``CopiesRecord``."""

    record: ManyRecord
    copies: Mapping[str, CopyRecord]
    at: int
    ordered: bool = False
    expires_at: int | None = None

    @classmethod
    def new(cls, record: ManyRecord, recipients: Iterable[str], now: int) -> Self:
        """One that was not sent to anybody."""
        return cls(record, {peer: CopyRecord(peer) for peer in recipients}, now)

    @classmethod
    def of(cls, record: ManyRecord, stored: CopiesRecord) -> Self:
        """As it is on disk."""
        copies = {copy.peer: copy for copy in stored.copies}
        return cls(record, copies, stored.at, stored.ordered, stored.expires_at)

    @property
    def id(self) -> str:
        """Its message id."""
        return self.record.message_id

    @property
    def waits(self) -> bool:
        """Whether something is still to be sent: a copy, or the revision alone."""
        return self.is_unordered or any(copy.waits for copy in self.copies.values())

    @property
    def is_unordered(self) -> bool:
        """Whether it brings a revision that the relay has not stored."""
        return self.record.order is not None and not self.ordered

    def with_further(self, peers: Iterable[str]) -> Self:
        """As it is when it goes to further users, too: as if sent again, for it is older than what waits for them."""
        never = {DeliveryState.QUEUED, DeliveryState.FAILED}
        there = {peer for peer, copy in self.copies.items() if copy.waits or copy.state not in never}
        return self.with_copies(CopyRecord(peer, resends=1) for peer in peers if peer not in there)

    def with_copies(self, changed: Iterable[CopyRecord]) -> Self:
        """As it is after some of its copies have changed."""
        return replaced(self, copies={**self.copies, **{copy.peer: copy for copy in changed}})


class Flying(NamedTuple):
    """A copy that was sent and not answered yet: of which message, its head, and since when (monotonic)."""

    message_id: str
    head: bytes
    at: int


class ManyStore:
    """All messages to many of a profile. Times are milliseconds of the device's persistent clock.

    As a container, it holds those users to whom nothing else may be sent now: a copy is in flight to them, or is
    encrypted and waits, so that what is encrypted later must leave later.

    Args:
        vault: holds them.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._waiting: dict[str, ManyMessage] = {}
        self._queues: dict[str, dict[str, None]] = {}
        """Ids of messages by recipient, in the order in which they are to leave."""
        self._sealed: dict[str, str] = {}
        """The message whose copy for a recipient is encrypted and waits."""
        self._in_flight: dict[str, Flying] = {}
        self._unanswered = Unanswered()
        for _, stored in vault.all(records.COPIES, CopiesRecord):
            self._note_unanswered(stored)
            if any(copy.waits for copy in stored.copies):
                record = vault.find(records.MANY, stored.message_id, ManyRecord)
                if record is not None:
                    self._apply(ManyMessage.of(record, stored))
        self._sort(list(self._queues))

    def __contains__(self, peer: object) -> bool:
        return peer in self._in_flight or peer in self._sealed

    def _in_turn(self, peer: str, queue: Iterable[str], turns: Mapping[str, int]) -> dict[str, None]:
        """The messages for a user as they were written, those that are sent again before the others."""

        def place(message_id: str) -> tuple[bool, int]:
            is_new = not self._waiting[message_id].copies[peer].resends
            return is_new, turns[message_id] if is_new else self._written(message_id)

        return dict.fromkeys(sorted(queue, key=place))

    def _written(self, message_id: str) -> int:
        """Where a message stands in the order in which they were written: one to many may have been one to one."""
        vault = self._vault
        return vault.position(records.SENT, message_id) or vault.position(records.MANY, message_id)

    # --- what waits ---------------------------------------------------------------

    def _note_unanswered(self, stored: CopiesRecord) -> None:
        for copy in stored.copies:
            if _is_unanswered(stored.answered, copy):
                self._unanswered.put(copy.peer, stored.message_id)

    def count(self, peer: str | None = None) -> int:
        """How many messages wait; of those with a copy for one user, if one is named."""
        return len(self._waiting) if peer is None else len(self._queues.get(peer, {}))

    def count_but(self, waits_elsewhere: Callable[[str], bool]) -> int:
        """How many messages wait here alone."""
        return sum(not waits_elsewhere(message_id) for message_id in self._waiting)

    def ready(self, busy: Container[str]) -> list[tuple[ManyMessage, list[str]]]:
        """The messages whose turn it is, each with those to whom it may leave now; nobody, if it is for its revision.

        Args:
            busy: users to whom nothing may be sent for another reason.
        """
        found: dict[str, list[str]] = {}
        for peer, queue in self._queues.items():
            if peer not in self._in_flight and peer not in busy:
                found.setdefault(self._sealed.get(peer) or next(iter(queue)), []).append(peer)
        return [
            (message, found.get(name, []))
            for name, message in self._waiting.items()
            if name in found or message.is_unordered
        ]

    def is_for(self, peer: str) -> bool:
        """Whether a message waits for this user that was not sent before."""
        return any(not self._waiting[name].copies[peer].resends for name in self._queues.get(peer, {}))

    def is_soon_its_turn(self, message_id: str, peer: str, since: int) -> bool:
        """Whether a copy is in flight to this user that took off after ``since`` (monotonic), and this one is next."""
        flying, queue = self._in_flight.get(peer), self._queues.get(peer, {})
        is_next = message_id in islice(queue, 2) or (message_id not in queue and len(queue) == 1)
        return flying is not None and flying.at > since and is_next

    def took_off(self, message: ManyMessage, peers: Iterable[str], now: int) -> None:
        """Copies were sent, and not answered yet; ``now`` is monotonic."""
        for peer in peers:
            self._in_flight[peer] = Flying(message.id, message.copies[peer].head, now)

    def landed(self, peers: Iterable[str]) -> None:
        """Copies were answered."""
        for peer in peers:
            self._in_flight.pop(peer, None)

    def given_up(self, message_id: str, peers: Iterable[str]) -> None:
        """Copies of a message are in flight no more, whether they were answered or not."""
        self.landed(
            [peer for peer in peers if peer in self._in_flight and self._in_flight[peer].message_id == message_id]
        )

    def disconnected(self) -> None:
        """What was in flight will not be answered."""
        self._in_flight.clear()

    # --- what happens to them -----------------------------------------------------

    def get(self, message_id: str) -> ManyMessage | None:
        """A message as it is on disk, in this transaction too; None if there is none, or it was erased."""
        stored = self._vault.find(records.COPIES, message_id, CopiesRecord)
        record = None if stored is None else self._vault.find(records.MANY, message_id, ManyRecord)
        return None if record is None or stored is None else ManyMessage.of(record, stored)

    def has(self, message_id: str) -> bool:
        """Whether there is such a message."""
        return self._vault.has(records.COPIES, message_id)

    def is_to(self, message_id: str, peer: str) -> bool:
        """Whether there is such a message, with a copy for this user."""
        found = self.get(message_id)
        return found is not None and peer in found.copies

    def is_of_group_to(self, message_id: str, peer: str) -> bool:
        """The same, of what was said in a group."""
        found = self.get(message_id)
        return found is not None and peer in found.copies and found.record.group

    def waits_for(self, message_id: str, peer: str) -> bool:
        """Whether a copy for this user is of a message of which some copy waits."""
        found = self._waiting.get(message_id)
        return found is not None and peer in found.copies

    def waiting(self, message_id: str) -> ManyMessage | None:
        """A message of which a copy waits."""
        return self._waiting.get(message_id)

    def add(self, tx: Transaction, message: ManyMessage) -> None:
        """Store a new message."""
        tx.put(records.MANY, message.id, message.record)
        self._put(tx, message)

    def add_further(self, tx: Transaction, message: ManyMessage, peers: Sequence[str]) -> None:
        """Store a message that goes to further users, too; of several, the oldest first."""
        self.add(tx, message.with_further(peers))
        tx.on_commit(lambda: self._sort(peers))

    def _sort(self, peers: Iterable[str]) -> None:
        turns = {name: turn for turn, name in enumerate(self._waiting)}
        for peer in peers:
            if peer in self._queues:
                self._queues[peer] = self._in_turn(peer, self._queues[peer], turns)

    def sealed(self, tx: Transaction, message: ManyMessage) -> None:
        """Some of its copies were encrypted."""
        self._put(tx, message)

    def accepted(self, tx: Transaction, message_id: str, peers: Iterable[str], now: int) -> list[str]:
        """The relay has the copies for these users; those of whom that is news."""
        message = self.get(message_id)
        if message is None:
            return []
        if message.expires_at is None and message.record.expires_in is not None:
            message = replaced(message, expires_at=now + message.record.expires_in)
        news, changed = [], []
        for peer in peers:
            copy = message.copies.get(peer)
            if copy is None:
                continue
            state = max(copy.state, int(DeliveryState.ACCEPTED))
            if state != copy.state:
                news.append(peer)
            # It may be to be sent again meanwhile, encrypted again.
            flying = self._in_flight.get(peer)
            stays = copy.waits and flying is not None and (flying.message_id, flying.head) != (message_id, copy.head)
            changed.append(replace(copy, state=state) if stays else replace(copy, state=state, waits=False, head=b""))
            if _is_unanswered(message.record.answered, changed[-1]):
                tx.on_commit(partial(self._unanswered.put, peer, message_id))
        self._put(tx, replaced(message.with_copies(changed), at=now))
        return news

    def took_order(self, tx: Transaction, message_id: str) -> None:
        """The relay has stored the revision that a message brings."""
        message = self.get(message_id)
        if message is not None:
            self._put(tx, replaced(message, ordered=True))

    def failed(self, tx: Transaction, message_id: str, peers: Iterable[str]) -> list[str]:
        """The relay will never take the copies for these users; those who had not got one before."""
        message = self.get(message_id)
        if message is None:
            return []
        found = [message.copies[peer] for peer in peers if peer in message.copies]
        failed, ended = int(DeliveryState.FAILED), [copy for copy in found if copy.state == DeliveryState.QUEUED]
        changed = [
            replace(copy, state=failed if copy.state == DeliveryState.QUEUED else copy.state, waits=False, head=b"")
            for copy in found
        ]
        self._put(tx, message.with_copies(changed))
        return [copy.peer for copy in ended]

    def advance(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState) -> ManyMessage | None:
        """The recipient of a copy has said how far it has come; the message if that is news."""
        message = self.get(message_id)
        tx.on_commit(lambda: self._unanswered.answered(peer, message_id))
        tx.on_commit(lambda: self.given_up(message_id, [peer]))
        copy = None if message is None else message.copies.get(peer)
        if message is None or copy is None or _RANK[state] <= _RANK[DeliveryState(copy.state)]:
            return None
        changed = replace(copy, state=int(state), waits=False, head=b"")
        self._put(tx, message.with_copies([changed]))
        return message

    def resend(self, tx: Transaction, peer: str, message_ids: Iterable[str], now: int, key: bytes) -> int:
        """Put copies into the queue again that their recipient could not read; arguments as ``Outbox.resend``.

        Returns:
            How many will be sent again.
        """
        count = 0
        # Each goes before what waits, so the oldest comes last.
        for message_id in sorted(set(message_ids), key=lambda name: (-self._written(name), name)):
            message = self.get(message_id)
            copy = None if message is None else message.copies.get(peer)
            if message is None or copy is None or copy.waits or copy.resends >= MAX_RESENDS:
                continue
            is_gone = copy.state == DeliveryState.FAILED or _is_over(message, now)
            if is_gone or copy.key not in {b"", key}:
                continue
            count += 1
            again = replace(copy, waits=True, head=b"", resends=copy.resends + 1)
            self._put(tx, message.with_copies([again]))
        return count

    def unseal(self, tx: Transaction, peer: str) -> None:
        """What waits for this user was encrypted for a session that is gone: it is encrypted again."""
        message_id = self._sealed.get(peer)
        message = None if message_id is None else self.get(message_id)
        if message is not None and peer in message.copies:
            self._put(tx, message.with_copies([replace(message.copies[peer], head=b"")]))

    def drop(self, tx: Transaction, peer: str) -> None:
        """Nothing is sent to this user any more."""
        for message_id in list(self._queues.get(peer, {})):
            self.failed(tx, message_id, [peer])
        tx.on_commit(lambda: self.landed([peer]))
        tx.on_commit(lambda: self._unanswered.drop(peer))

    def suspect(self, peer: str, answered: list[str], now: int) -> None:
        """Somebody has answered messages: earlier ones that are not among them may be lost. ``now`` is monotonic."""
        queue = self._queues.get(peer, {})
        self._unanswered.suspect(peer, self._unanswered.overtaken(peer, answered, queue.__contains__), now)

    def presumed_lost(self, now: int) -> dict[str, list[str]]:
        """Messages that have stayed unanswered long after later ones were answered, by user; each is named once."""
        return self._unanswered.presumed_lost(now)

    def withdraw(self, tx: Transaction, conversation_id: str, peers: Iterable[str], *, but: str) -> None:
        """Send these users nothing of a conversation any more that still waits, except messages of one purpose.

        What they have is not answered any more, and not presumed lost.
        """
        gone = list(peers)
        for peer in gone:
            for message_id in list(self._unanswered.waiting.get(peer, {})):
                sent = self.get(message_id)
                if sent is not None and sent.record.conversation_id == conversation_id and sent.record.purpose != but:
                    tx.on_commit(partial(self._unanswered.answered, peer, message_id))
        for message in list(self._waiting.values()):
            if message.record.conversation_id == conversation_id and message.record.purpose != but:
                waiting = [peer for peer in gone if peer in message.copies and message.copies[peer].waits]
                if waiting:
                    self.failed(tx, message.id, waiting)

    def remove(self, tx: Transaction, message_id: str) -> None:
        """Forget a message, whatever has become of it; idempotent."""
        message = self.get(message_id)
        for peer in {} if message is None else message.copies:
            tx.on_commit(partial(self._unanswered.answered, peer, message_id))
        tx.delete(records.MANY, message_id)
        tx.delete(records.COPIES, message_id)
        tx.on_commit(lambda: self._forget(message_id))

    def forget_expired(self, tx: Transaction, now: int) -> None:
        """Erase the messages whose time is over."""
        for stored in self._vault.overdue(records.COPIES, now, CopiesRecord):
            self.remove(tx, stored.message_id)

    # --- on disk and in memory ----------------------------------------------------

    def _put(self, tx: Transaction, message: ManyMessage) -> None:
        stored = CopiesRecord(
            message_id=message.id,
            copies=list(message.copies.values()),
            at=message.at,
            ordered=message.ordered,
            expires_at=message.expires_at,
            answered=message.record.answered,
        )
        keep = KEEP_ANSWERS_MS if message.record.purpose == ANSWER else KEEP_MS
        tx.put(records.COPIES, message.id, stored, due=due_of(stored, keep))
        tx.on_commit(lambda: self._apply(message))

    def _apply(self, message: ManyMessage) -> None:
        """Memory follows."""
        for peer, copy in message.copies.items():
            self._note_sealed(message.id, peer, is_sealed=copy.waits and bool(copy.head))
            queue = self._queues.get(peer, {})
            if copy.waits and message.id not in queue:
                self._enqueue(peer, message.id, first=copy.resends > 0)
            elif not copy.waits and message.id in queue:
                self._dequeue(peer, message.id)
        if message.waits:
            self._waiting[message.id] = message
        else:
            self._waiting.pop(message.id, None)

    def _note_sealed(self, message_id: str, peer: str, *, is_sealed: bool) -> None:
        if is_sealed:
            self._sealed[peer] = message_id
        elif self._sealed.get(peer) == message_id:
            del self._sealed[peer]

    def _enqueue(self, peer: str, message_id: str, *, first: bool) -> None:
        rest = self._queues.get(peer, {})
        self._queues[peer] = {message_id: None, **rest} if first else {**rest, message_id: None}

    def _dequeue(self, peer: str, message_id: str) -> None:
        queue = self._queues[peer]
        del queue[message_id]
        if not queue:
            del self._queues[peer]

    def _forget(self, message_id: str) -> None:
        message = self._waiting.pop(message_id, None)
        for peer in {} if message is None else message.copies:
            self._note_sealed(message_id, peer, is_sealed=False)
            if message_id in self._queues.get(peer, {}):
                self._dequeue(peer, message_id)


def due_of(stored: CopiesRecord, keep: int = KEEP_MS) -> int | None:
    """When a message is erased; None if that hangs on the relay. ``keep``: how long one is kept that has left."""
    if any(copy.waits for copy in stored.copies):
        return stored.expires_at
    kept_until = stored.at + keep
    return kept_until if stored.expires_at is None else min(stored.expires_at, kept_until)


def unsealed(stored: CopiesRecord) -> CopiesRecord:
    """The copies without what was encrypted for sessions that will be gone."""
    return replace(stored, copies=[replace(copy, head=b"") for copy in stored.copies])


def _is_unanswered(answered: bool | UnsetType, copy: CopyRecord) -> bool:
    """Whether a copy has arrived at the relay, and its recipient is still to say that they have it."""
    return answered is True and copy.state == DeliveryState.ACCEPTED and not copy.waits


def _is_over(message: ManyMessage, now: int) -> bool:
    return message.expires_at is not None and message.expires_at <= now
