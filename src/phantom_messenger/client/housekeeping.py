"""What is done now and then: what has expired is erased, and keys that are too old."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.expiry import ExpiryClock
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.records import IntValue
from phantom_messenger.client.status import Event
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction

INTERVAL_MS: Final = 5_000

INDEX_MS: Final = 5
"""For how long messages are entered in the index at each time: nobody waits for it, and nobody is to notice."""

INDEX_AGAIN_MS: Final = 50
"""When that goes on, if there are more: a profile of an older version with a million messages takes some 20 minutes."""

OLD_KEYS_MS: Final = 3_600_000
"""How often keys that are too old to be kept are looked for, with each peer."""

PEERS_AT_ONCE: Final = 50
"""With how many peers that is done in one step, at most: so that it takes no longer with many contacts."""

OLD_KEYS_STEP_MS: Final = 10
"""How long one step takes, if there is much to look through."""


class Housekeeping:
    """Erases what has expired.

    Args:
        stores: of the profile.
        receiving: puts messages back into the outbox that were lost, and opens requests.
        clock: is kept with the rest.
        monotonic: milliseconds that never go back.
    """

    def __init__(self, stores: Stores, receiving: Receiving, clock: ExpiryClock, monotonic: Callable[[], int]) -> None:
        self._stores = stores
        self._receiving = receiving
        self._clock = clock
        self._monotonic = monotonic
        self._due_at = 0
        self._index_at = 0
        self._old_keys_at = 0
        self._peers: list[str] = []
        """With whom old keys are still to be looked for."""

    def within(self, milliseconds: int) -> Callable[[], bool]:
        """Whether so much time has not passed yet, from now on."""
        end = self._monotonic() + milliseconds
        return lambda: self._monotonic() < end

    def hasten(self) -> None:
        """Do it at the next tick."""
        self._due_at = 0

    def waits(self, now: int) -> list[int]:
        """Milliseconds until the index is gone on with, if there is more to enter."""
        return [max(0, self._index_at - now)] if self._stores.index.has_more else []

    def tick(self, now: Moment) -> Iterator[Event]:
        """Do it if it is time; the events are to be taken all."""
        if now.monotonic >= self._due_at:
            yield from self._clean_up(now)
        elif self._stores.index.has_more and now.monotonic >= self._index_at:
            self._extend_index(now.monotonic)

    def _clean_up(self, now: Moment) -> Iterator[Event]:
        # Before the work: what fails is tried again after the interval, not at each tick.
        self._due_at = now.monotonic + INTERVAL_MS
        events: list[Event] = []
        stores, receiving = self._stores, self._receiving
        with stores.vault.transaction() as tx:
            self._clock.keep(tx)
            stores.inbox.forget_expired(tx, now.persistent)
            stores.groups.forget_expired(tx, now.persistent)
            stores.outbox.forget_expired(tx, now.persistent)
            stores.many.forget_expired(tx, now.persistent)
            stores.recovery.forget(tx, now.persistent)
            stores.requests.forget(tx, now.persistent)
            stores.receipts.forget(tx, now.persistent)
            for lost in (stores.outbox.presumed_lost(now.monotonic), stores.many.presumed_lost(now.monotonic)):
                for peer, message_ids in lost.items():
                    events += receiving.resend(tx, peer, message_ids, now)
            self._forget_old_keys(tx, now.persistent)
        yield from events
        for sender in stores.requests.senders():
            if not stores.requests.holds(sender):
                yield from receiving.open_requests(sender, now)
        self._extend_index(now.monotonic)
        # Last: what was deleted above leaves the file in the same round.
        stores.vault.scrub()

    def _extend_index(self, now: int) -> None:
        # In case that it fails; otherwise it goes on sooner.
        self._index_at = now + INTERVAL_MS
        with suppress(VaultError):  # nothing else waits for it
            with self._stores.vault.transaction() as tx:
                self._stores.index.extend(tx, self.within(INDEX_MS))
            self._index_at = now + INDEX_AGAIN_MS

    def _forget_old_keys(self, tx: Transaction, now: int) -> None:
        """Take the next step of a round through all peers, or begin one if it is time."""
        peers, due_at = self._peers, self._old_keys_at
        if not peers and now >= due_at:
            peers, due_at = self._in_turn(), now + OLD_KEYS_MS
        has_time, count = self.within(OLD_KEYS_STEP_MS), 0
        for peer in peers[:PEERS_AT_ONCE]:
            self._stores.conversations.forget_old(tx, peer, now)
            count += 1
            if not has_time():
                break
        if 0 < count < len(self._stores.book):
            tx.put(records.OLD_KEYS, "", IntValue(self._stores.vault.position(records.CONTACT, peers[count - 1])))
        tx.on_commit(lambda: self._took_step(peers[count:], due_at))

    def _took_step(self, left: list[str], due_at: int) -> None:
        self._peers, self._old_keys_at = left, due_at

    def _in_turn(self) -> list[str]:
        """All peers, from where the last round stopped: programs that run for seconds come to all of them too."""
        peers, vault = self._stores.book.user_ids(), self._stores.vault
        last = vault.find(records.OLD_KEYS, "", IntValue)
        if last is None:
            return peers
        start = bisect_right(peers, last.value, key=lambda peer: vault.position(records.CONTACT, peer))
        return peers[start:] + peers[:start]
