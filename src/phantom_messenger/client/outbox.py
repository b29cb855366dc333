"""Messages and receipts on their way to the relay, and how far the messages have come.

A message leaves the outbox when the relay has accepted it. It counts as answered when its
recipient has said so, end to end encrypted: the relay is not believed when it says ``delivered``,
``read`` or ``burned``. Until then it can be sent again.
"""

from collections.abc import Container
from typing import Final

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.outbox_queue import Queue
from phantom_messenger.client.records import OutboxRecord, SentRecord, UnansweredRecord
from phantom_messenger.client.recovery import MAX_RESENDS
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.unanswered import Unanswered
from phantom_messenger.client.vault import Transaction, Vault

_RANK: Final = {
    DeliveryState.QUEUED: 0,
    DeliveryState.ACCEPTED: 1,
    DeliveryState.EXPIRED: 2,
    DeliveryState.FAILED: 2,
    DeliveryState.DELIVERED: 3,
    DeliveryState.READ: 4,
    DeliveryState.BURNED: 5,
}
"""What is behind what: a recipient that has it knows better than a relay that calls it expired."""


class Outbox:
    """What waits to be accepted, and what was sent. Times are milliseconds of the device's persistent clock.

    As a container, it holds those users to whom nothing else may be sent now: a message is in flight to them, or is
    encrypted and waits, so that what is encrypted later must leave later.

    Args:
        vault: holds them.
        busy: the same of what is not here: those to whom nothing of this may be sent now.
    """

    def __init__(self, vault: Vault, busy: Container[str] = ()) -> None:
        self._vault = vault
        self._busy = busy
        self._queue = Queue()
        found = [entry for _, entry in vault.all(records.OUTBOX, OutboxRecord)]
        # They were written before all that waits for the first time, but entered the outbox again later.
        resent = sorted((entry for entry in found if entry.again), key=self._position)
        for entry in [*resent, *(one for one in found if not one.again)]:
            self._queue.put(entry)
        self._in_flight: dict[str, OutboxRecord] = {}
        self._unanswered = Unanswered()
        for _, marker in vault.all(records.UNANSWERED, UnansweredRecord):
            self._unanswered.put(marker.peer, marker.message_id)

    def __contains__(self, peer: object) -> bool:
        return peer in self._in_flight or (isinstance(peer, str) and self._queue.is_sealed(peer))

    # --- what waits ---------------------------------------------------------------

    def texts(self, peer: str | None = None) -> int:
        """How many messages wait; for one user, if one is named."""
        return self._queue.texts.total() if peer is None else self._queue.texts[peer]

    def batches(self, peer: str | None = None) -> int:
        """How many receipts wait; for one user, if one is named."""
        return self._queue.receipts.total() if peer is None else self._queue.receipts[peer]

    def is_for(self, peer: str) -> bool:
        """Whether a message waits for this user that was not sent before."""
        return self._queue.fresh[peer] > 0

    def is_waiting_for(self, peer: str) -> bool:
        """Whether anything waits for this user, or is in flight to them."""
        return bool(self._queue.of(peer)) or peer in self._in_flight or peer in self._busy

    def to_resend(self, peer: str) -> list[str]:
        """What waits to be sent to this user once more, and receipts, by id."""
        return [one.message_id for one in self._queue.of(peer) if one.again or one.text is None]

    def waits(self, message_id: str) -> bool:
        """Whether an entry is still to be accepted."""
        return self._queue.get(message_id) is not None

    def is_open(self, message_id: str) -> bool:
        """Whether an entry waits and is not encrypted yet."""
        entry = self._queue.get(message_id)
        return entry is not None and not entry.sealed

    def ready(self) -> list[OutboxRecord]:
        """The first entry for each user to whom nothing is in flight, receipts behind messages."""
        found = [entry for entry in self._queue.firsts(busy=self._in_flight) if entry.peer not in self._busy]
        return sorted(found, key=lambda entry: entry.text is None and not entry.again)

    def put(self, tx: Transaction, entry: OutboxRecord, *, first: bool = False) -> None:
        """Add an entry, or store it as it is now."""
        tx.put(records.OUTBOX, entry.message_id, entry)
        tx.on_commit(lambda: self._queue.put(entry, first=first))

    def in_flight(self, entry: OutboxRecord) -> None:
        """It was sent and not answered yet."""
        # In memory alone: after a restart all that was not accepted is sent again, and the relay knows it by its id.
        self._in_flight[entry.peer] = entry

    def refused(self, entry: OutboxRecord) -> None:
        """It was answered, but not accepted; or there was no answer for too long."""
        if self._in_flight.get(entry.peer) == entry:
            del self._in_flight[entry.peer]

    def disconnected(self) -> None:
        """What was in flight will not be answered."""
        self._in_flight.clear()

    def unseal(self, tx: Transaction, peer: str) -> None:
        """What waits for this user was encrypted for a session that is gone: it is encrypted again."""
        for entry in self._queue.of(peer):
            if entry.sealed:
                self.put(tx, msgspec.structs.replace(entry, sealed=b""))

    def _position(self, entry: OutboxRecord) -> int:
        """Where a message stands in the order in which they were written."""
        return self._vault.position(records.SENT, entry.message_id)

    def remove(self, tx: Transaction, message_id: str, peer: str, *, is_over: bool = False) -> None:
        """An entry has left; or, if ``is_over``, is not to be sent any more."""
        flying, waiting = self._in_flight.get(peer), self._queue.get(message_id)
        if waiting is not None and waiting.peer != peer:
            return  # the relay names somebody else's
        is_flying = flying is not None and flying.message_id == message_id
        # It may be to be sent again meanwhile, encrypted again.
        stays = (
            not is_over and flying is not None and is_flying and waiting is not None and waiting.sealed != flying.sealed
        )
        if waiting is not None and not stays:
            tx.delete(records.OUTBOX, message_id)
            tx.on_commit(lambda: self._queue.remove(message_id))
        if is_flying:
            tx.on_commit(lambda: self._landed(peer))

    def drop(self, tx: Transaction, peer: str) -> None:
        """Nothing is sent to this user any more, nor waited for."""
        for entry in self._queue.of(peer):
            sent = self.sent(entry.message_id)
            if sent is not None and sent.state == DeliveryState.QUEUED:
                failed = msgspec.structs.replace(sent, state=int(DeliveryState.FAILED))
                tx.put(records.SENT, sent.message_id, failed, due=sent.expires_at)
            self.remove(tx, entry.message_id, peer, is_over=True)
        for message_id in self._unanswered.waiting.get(peer, {}):
            tx.delete(records.UNANSWERED, message_id)
        tx.on_commit(lambda: self._unanswered.drop(peer))

    def _landed(self, peer: str) -> None:
        self._in_flight.pop(peer, None)

    # --- what was sent ------------------------------------------------------------

    def sent(self, message_id: str, peer: str | None = None) -> SentRecord | None:
        """A message of one's own; None if there is none, or it was for somebody else than ``peer``."""
        found = self._vault.find(records.SENT, message_id, SentRecord)
        return found if found is not None and peer in {None, found.peer} else None

    def advance(self, tx: Transaction, sent: SentRecord, state: DeliveryState, now: int) -> bool:
        """A message has come further; False if that is no news."""
        entry = self._queue.get(sent.message_id)
        self.remove(tx, sent.message_id, sent.peer, is_over=state is not DeliveryState.ACCEPTED)
        if _RANK[state] <= _RANK[DeliveryState(sent.state)]:
            # It was sent again; or a further device has it, and the first one is still to answer.
            if state is not DeliveryState.ACCEPTED:
                self._stop_waiting(tx, sent)
            elif entry is not None or sent.message_id in self._unanswered.waiting.get(sent.peer, {}):
                self._wait(tx, sent)
            return False
        gone = state in {DeliveryState.BURNED, DeliveryState.EXPIRED}
        expires_at = sent.expires_at
        if expires_at is None and sent.expires_in is not None:
            expires_at = now + sent.expires_in  # it was accepted just now
        text = None if gone else sent.text
        key = sent.key if entry is None else entry.key
        after = msgspec.structs.replace(sent, state=int(state), text=text, expires_at=expires_at, key=key)
        tx.put(records.SENT, sent.message_id, after, due=None if text is None else expires_at)
        if state is DeliveryState.ACCEPTED:
            self._wait(tx, sent)
        else:
            self._stop_waiting(tx, sent)
        return True

    def advance_copy(self, tx: Transaction, sent: SentRecord, state: DeliveryState, now: int) -> bool:
        """A message to several devices has come further on one of them; False if that is no news.

        Each copy is waited for and sent again by itself, so nothing else follows from it.
        """
        if _RANK[state] <= _RANK[DeliveryState(sent.state)]:
            return False
        expires_at = sent.expires_at
        if expires_at is None and sent.expires_in is not None:
            expires_at = now + sent.expires_in  # it was accepted just now
        text = None if state in {DeliveryState.BURNED, DeliveryState.EXPIRED} else sent.text
        after = msgspec.structs.replace(sent, state=int(state), text=text, expires_at=expires_at)
        tx.put(records.SENT, sent.message_id, after, due=None if text is None else expires_at)
        if text is None:  # the first device may still be to get it, as a message to one
            self.remove(tx, sent.message_id, sent.peer, is_over=True)
            self._stop_waiting(tx, sent)
        return True

    def _wait(self, tx: Transaction, sent: SentRecord) -> None:
        """The relay has it, and its recipient is to answer."""
        tx.put(records.UNANSWERED, sent.message_id, UnansweredRecord(message_id=sent.message_id, peer=sent.peer))
        tx.on_commit(lambda: self._unanswered.put(sent.peer, sent.message_id))

    def _stop_waiting(self, tx: Transaction, sent: SentRecord) -> None:
        """It was answered, or nothing will come."""
        tx.delete(records.UNANSWERED, sent.message_id)
        tx.on_commit(lambda: self._unanswered.answered(sent.peer, sent.message_id))

    def overtaken(self, peer: str, answered: list[str]) -> list[str]:
        """Messages that were accepted before one of ``answered`` and are not among them: somebody has lost them."""
        return self._unanswered.overtaken(peer, answered, self.waits)

    def mark_presumed_lost(self, peer: str, message_ids: list[str], now: int) -> None:
        """Messages were overtaken: ``presumed_lost`` names them if they stay unanswered (``now`` is monotonic)."""
        self._unanswered.suspect(peer, message_ids, now)

    def presumed_lost(self, now: int) -> dict[str, list[str]]:
        """Suspected messages whose time has come, by user; each is named once."""
        return self._unanswered.presumed_lost(now)

    def resend(self, tx: Transaction, peer: str, message_ids: list[str], now: int, key: bytes) -> int:
        """Put messages back into the outbox, in the order in which they were written.

        Args:
            tx: stores them.
            peer: who has asked for them, or lost them.
            message_ids: unknown ones, and what is gone or was sent again too often, are passed over.
            now: those that have expired by now are passed over too.
            key: of the peer as the user knows it; what was written for another key is passed over.

        Returns:
            How many will be sent again.
        """
        found = [self.sent(message_id, peer) for message_id in dict.fromkeys(message_ids)]
        count = 0
        known = [sent for sent in found if sent is not None]
        # The newest first, since each one is put before the others.
        for sent in sorted(known, key=lambda sent: -self._vault.position(records.SENT, sent.message_id)):
            left = None if sent.expires_at is None else sent.expires_at - now
            is_gone = sent.text is None or sent.state in {DeliveryState.FAILED, DeliveryState.EXPIRED}
            is_other = sent.key not in {b"", key}
            if is_gone or is_other or sent.resends >= MAX_RESENDS or (left is not None and left <= 0):
                self._stop_waiting(tx, sent)
                continue
            count += 1
            entry = OutboxRecord(
                message_id=sent.message_id,
                peer=peer,
                text=sent.text,
                burn=sent.burn,
                expires_in=sent.expires_in if left is None else left,
                made_at=sent.made_at,
                again=True,
            )
            self.put(tx, entry, first=True)
            # Counted as it is put back, not when it leaves: a restart in between must not make the bound a larger one.
            counted = msgspec.structs.replace(sent, resends=sent.resends + 1)
            tx.put(records.SENT, sent.message_id, counted, due=sent.expires_at)
        return count

    def forget_expired(self, tx: Transaction, now: int) -> None:
        """Erase the messages whose time has come."""
        for sent in self._vault.overdue(records.SENT, now, SentRecord):
            tx.put(records.SENT, sent.message_id, msgspec.structs.replace(sent, text=None))
            self.remove(tx, sent.message_id, sent.peer, is_over=True)
