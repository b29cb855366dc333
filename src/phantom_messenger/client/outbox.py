"""Texts and receipts on their way to the relay, and how far the texts have come.

A text leaves the outbox when the relay has accepted it. It counts as answered when its
recipient has said so, end to end encrypted: the relay's word for ``delivered``, ``read`` and
``burned`` is not taken. Until then it can be sent again.
"""

from typing import Final

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.healing import MAX_RESENDS
from phantom_messenger.client.records import OutboxRecord, SentRecord, UnansweredRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Vault

LOST_MS: Final = 660_000
"""How long a text may be overtaken before it counts as lost: longer than the relay remembers ids."""

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
    """What waits to be accepted, and what was sent. Times are milliseconds of the device's own steady time.

    Args:
        vault: holds it.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        found = [entry for _, entry in vault.all(records.OUTBOX, OutboxRecord)]
        again = sorted((entry for entry in found if entry.again), key=self._place)
        self._entries = {entry.message_id: entry for entry in [*again, *(e for e in found if not e.again)]}
        self._lost_since: dict[str, tuple[str, int]] = {}
        """Texts that were overtaken by an answered one: for whom, and since when."""
        self._in_flight: dict[str, OutboxRecord] = {}
        self._unanswered: dict[str, list[str]] = {}
        for _, marker in vault.all(records.UNANSWERED, UnansweredRecord):
            self._unanswered.setdefault(marker.peer, []).append(marker.message_id)

    # --- what waits ---------------------------------------------------------------

    def texts(self, peer: str | None = None) -> int:
        """How many texts wait; for one user, if one is named."""
        return sum(1 for entry in self._entries.values() if entry.text is not None and peer in {None, entry.peer})

    def carriers(self, peer: str | None = None) -> int:
        """How many receipts wait; for one user, if one is named."""
        return sum(1 for entry in self._entries.values() if entry.text is None and peer in {None, entry.peer})

    def is_for(self, peer: str) -> bool:
        """Whether a text waits for this user that was not sent before."""
        return any(one.peer == peer and one.text is not None and not one.again for one in self._entries.values())

    def again_for(self, peer: str) -> list[str]:
        """What waits to be sent to this user once more, and receipts, by id."""
        return [
            one.message_id for one in self._entries.values() if one.peer == peer and (one.again or one.text is None)
        ]

    def is_open(self, message_id: str) -> bool:
        """Whether an entry waits and is not encrypted yet."""
        entry = self._entries.get(message_id)
        return entry is not None and not entry.sealed

    def ready(self) -> list[OutboxRecord]:
        """The first entry for each user to whom nothing is in flight, receipts behind texts."""
        busy = set(self._in_flight)
        found: list[OutboxRecord] = []
        for entry in self._entries.values():
            if entry.peer not in busy:
                busy.add(entry.peer)
                found.append(entry)
        return sorted(found, key=lambda entry: entry.text is None and not entry.again)

    def put(self, entry: OutboxRecord, *, first: bool = False) -> None:
        """Add an entry, or store it as it is now; call it inside a transaction."""
        self._vault.put(records.OUTBOX, entry.message_id, entry)
        self._vault.when_kept(lambda: self._remember(entry, first=first))

    def _remember(self, entry: OutboxRecord, *, first: bool) -> None:
        if first:
            self._entries.pop(entry.message_id, None)
            self._entries = {entry.message_id: entry, **self._entries}
        else:
            self._entries[entry.message_id] = entry

    def in_flight(self, entry: OutboxRecord) -> None:
        """It was sent and not answered yet."""
        self._in_flight[entry.peer] = entry

    def refused(self, entry: OutboxRecord) -> None:
        """It was answered, but not accepted."""
        self._in_flight.pop(entry.peer, None)

    def disconnected(self) -> None:
        """What was in flight will not be answered."""
        self._in_flight.clear()

    def unseal(self, peer: str) -> None:
        """What waits for this user was encrypted for a session that is gone: it is encrypted again."""
        with self._vault.transaction():
            for entry in list(self._entries.values()):
                if entry.peer == peer and entry.sealed:
                    self.put(msgspec.structs.replace(entry, sealed=b""))

    def _place(self, entry: OutboxRecord) -> int:
        """Where a text stands in the order in which they were written."""
        return self._vault.place(records.SENT, entry.message_id)

    def remove(self, message_id: str, peer: str, *, is_over: bool = False) -> None:
        """An entry has left; or, if ``is_over``, is not to be sent any more."""
        flying, waiting = self._in_flight.get(peer), self._entries.get(message_id)
        if waiting is not None and waiting.peer != peer:
            return  # the relay's word for somebody else's
        is_flying = flying is not None and flying.message_id == message_id
        # It may be to be sent again meanwhile, encrypted anew.
        stays = (
            not is_over and flying is not None and is_flying and waiting is not None and waiting.sealed != flying.sealed
        )
        with self._vault.transaction():
            if waiting is not None and not stays:
                self._vault.delete(records.OUTBOX, message_id)
                self._vault.when_kept(lambda: self._forget(message_id))
            if is_flying:
                self._vault.when_kept(lambda: self._landed(peer))

    def drop(self, peer: str) -> None:
        """Nothing is sent to this user any more, nor waited for; call it inside a transaction."""
        for entry in [one for one in self._entries.values() if one.peer == peer]:
            sent = self.sent(entry.message_id)
            if sent is not None and sent.state == DeliveryState.QUEUED:
                failed = msgspec.structs.replace(sent, state=int(DeliveryState.FAILED))
                self._vault.put(records.SENT, sent.message_id, failed, due=sent.expires_at)
            self.remove(entry.message_id, peer, is_over=True)
        for message_id in self._unanswered.get(peer, []):
            self._vault.delete(records.UNANSWERED, message_id)
        self._vault.when_kept(lambda: self._unanswered.update({peer: []}))

    def _forget(self, message_id: str) -> None:
        self._entries.pop(message_id, None)

    def _landed(self, peer: str) -> None:
        self._in_flight.pop(peer, None)

    # --- what was sent ------------------------------------------------------------

    def sent(self, message_id: str, peer: str | None = None) -> SentRecord | None:
        """A text of one's own; None if there is none, or it was for somebody else than ``peer``."""
        found = self._vault.find(records.SENT, message_id, SentRecord)
        return found if found is not None and peer in {None, found.peer} else None

    def advance(self, sent: SentRecord, state: DeliveryState, now: int) -> bool:
        """A text has come further; False if that is no news."""
        entry = self._entries.get(sent.message_id)
        with self._vault.transaction():
            self.remove(sent.message_id, sent.peer, is_over=state is not DeliveryState.ACCEPTED)
            if _RANK[state] <= _RANK[DeliveryState(sent.state)]:
                if state is DeliveryState.ACCEPTED and sent.message_id in self._unanswered.get(sent.peer, []):
                    self._vault.when_kept(lambda: self._wait_for_answer(sent))  # it was sent again
                return False
            gone = state in {DeliveryState.BURNED, DeliveryState.EXPIRED}
            expires_at = sent.expires_at
            if expires_at is None and sent.expires_in is not None:
                expires_at = now + sent.expires_in  # it was accepted just now
            text = None if gone else sent.text
            key = sent.key if entry is None else entry.key
            after = msgspec.structs.replace(sent, state=int(state), text=text, expires_at=expires_at, key=key)
            self._vault.put(records.SENT, sent.message_id, after, due=None if text is None else expires_at)
            if state is DeliveryState.ACCEPTED:
                marker = UnansweredRecord(message_id=sent.message_id, peer=sent.peer)
                self._vault.put(records.UNANSWERED, sent.message_id, marker)
                self._vault.when_kept(lambda: self._wait_for_answer(sent))
            else:
                self._vault.delete(records.UNANSWERED, sent.message_id)
                self._vault.when_kept(lambda: self._has_answer(sent))
        return True

    def _wait_for_answer(self, sent: SentRecord) -> None:
        self._has_answer(sent)
        self._unanswered.setdefault(sent.peer, []).append(sent.message_id)

    def _has_answer(self, sent: SentRecord) -> None:
        waiting = self._unanswered.get(sent.peer, [])
        if sent.message_id in waiting:
            waiting.remove(sent.message_id)

    def overtaken(self, peer: str, answered: list[str]) -> list[str]:
        """Texts that were accepted before one of ``answered`` and are not among them: somebody has lost them."""
        waiting = self._unanswered.get(peer, [])
        places = [waiting.index(message_id) for message_id in answered if message_id in waiting]
        before = waiting[: max(places, default=0)]
        return [name for name in before if name not in answered and name not in self._entries]

    def suspect(self, peer: str, message_ids: list[str], now: int) -> None:
        """Texts were overtaken: ``lost`` names them if they are still unanswered when it is time, in monotonic time.

        Not at once: the relay takes an id for a double for ten minutes after its recipient had it.
        """
        for message_id in message_ids:
            self._lost_since.setdefault(message_id, (peer, now))

    def lost(self, now: int) -> dict[str, list[str]]:
        """Suspected texts whose time has come, by user; each is named once."""
        found: dict[str, list[str]] = {}
        for message_id, (peer, since) in list(self._lost_since.items()):
            if message_id not in self._unanswered.get(peer, []):
                del self._lost_since[message_id]
            elif now - since >= LOST_MS:
                del self._lost_since[message_id]
                found.setdefault(peer, []).append(message_id)
        return found

    def again(self, peer: str, message_ids: list[str], now: int, key: bytes) -> int:
        """Put texts back into the outbox, in the order in which they were written.

        Args:
            peer: who has asked for them, or lost them.
            message_ids: unknown ones, and what is gone or was sent again too often, are passed over.
            now: those that have expired by now are passed over too.
            key: of the peer as the user knows it; what was written for another key is passed over.

        Returns:
            How many will be sent again.
        """
        found = [self.sent(message_id, peer) for message_id in dict.fromkeys(message_ids)]
        count = 0
        with self._vault.transaction():
            known = [sent for sent in found if sent is not None]
            for sent in sorted(known, key=lambda sent: -self._vault.place(records.SENT, sent.message_id)):
                left = None if sent.expires_at is None else sent.expires_at - now
                is_gone = sent.text is None or sent.state in {DeliveryState.FAILED, DeliveryState.EXPIRED}
                is_other = sent.key not in {b"", key}
                if is_gone or is_other or sent.resends >= MAX_RESENDS or (left is not None and left <= 0):
                    self._vault.delete(records.UNANSWERED, sent.message_id)
                    self._vault.when_kept(lambda sent=sent: self._has_answer(sent))  # type: ignore[misc] # nothing will come
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
                self.put(entry, first=True)
                counted = msgspec.structs.replace(sent, resends=sent.resends + 1)
                self._vault.put(records.SENT, sent.message_id, counted, due=sent.expires_at)
        return count

    def forget_expired(self, now: int) -> None:
        """Erase the texts whose time has come; call it inside a transaction."""
        for sent in self._vault.overdue(records.SENT, now, SentRecord):
            self._vault.put(records.SENT, sent.message_id, msgspec.structs.replace(sent, text=None))
            self.remove(sent.message_id, sent.peer, is_over=True)
