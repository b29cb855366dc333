"""Receipts are gathered into messages, and what could not be read is asked for.

Gathering saves messages: of what is received and read at once one receipt is sent, and when
the relay takes few more in this minute, receipts leave the rest to what people write.
"""

import uuid
from collections.abc import Callable
from typing import Final

from phantom_messenger.client import content
from phantom_messenger.client.link import Link
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.pacing import Pacing
from phantom_messenger.client.receipts import UNDECRYPTABLE
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.visibility import Visibility
from phantom_messenger.wire.limits import RateClass

GATHER_MS: Final = 250
"""How long receipts are gathered: so that what is received and read at once is one message."""

GATHER_STEPS: Final = ((40, GATHER_MS), (20, 2_000), (0, 5_000))
"""The fewer messages the relay still takes in this minute, the longer they are gathered."""

KEEP_FREE: Final = 10
"""Frames of a minute that receipts leave to messages, until they have waited for ``LATEST_MS``."""

LATEST_MS: Final = 60_000


class Batching:
    """Puts receipts into the outbox when it is time. Times are monotonic milliseconds.

    Args:
        stores: of the profile.
        pacing: knows how much may still be sent.
        visibility: who may see that we are there.
        random: a source of random bytes.
    """

    def __init__(self, stores: Stores, pacing: Pacing, visibility: Visibility, random: Callable[[int], bytes]) -> None:
        self._stores = stores
        self._pacing = pacing
        self._visibility = visibility
        self._random = random
        self._due: dict[str, int] = {}
        """When the receipts for a user are put into a message."""
        self._waiting_since: dict[str, int] = {}
        self._is_flushing = False

    def flush(self) -> None:
        """Gather no longer: the program is about to leave."""
        self._is_flushing = True

    def drop(self, peer: str) -> None:
        """This user gets no receipts any more."""
        self._due.pop(peer, None)
        self._waiting_since.pop(peer, None)

    def reset(self, peer: str) -> None:
        """Something about this user has changed: gather from now on."""
        self._due.pop(peer, None)

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each thing that waits for a time; what is overdue waits for an answer of the relay."""
        return [at - now for at in self._due.values() if at > now]

    def ask(self, now: Moment) -> list[str]:
        """Ask for what could not be read, in a session that is new enough.

        Returns:
            Users with whom such a session is to be begun first.
        """
        stores, without_session = self._stores, []
        for sender in stores.recovery.senders():
            missing = stores.recovery.due(sender, now.persistent)[: content.MAX_RECEIPTS]
            if not missing or not stores.book.may_notify(sender) or not self._visibility.may_know(sender):
                continue
            needs_session = stores.recovery.needs_session(sender, now.persistent, now.monotonic)
            if needs_session or not stores.conversations.has_session(sender):
                without_session.append(sender)
                continue
            with stores.vault.transaction() as tx:
                stores.recovery.asked(tx, sender, missing, now.persistent)
                for name in missing:
                    stores.receipts.put(tx, sender, name, UNDECRYPTABLE, now.persistent)
        return without_session

    def fill(self, link: Link, now: Moment) -> None:
        """Put receipts that were gathered long enough into the outbox."""
        senders = self._stores.receipts.senders()
        known = [sender for sender in senders if self._stores.book.may_notify(sender)]
        self._due = {
            sender: self._due.get(sender, now.monotonic + self._gather_ms(link, now.monotonic)) for sender in known
        }
        for sender in known:
            if self._visibility.may_know(sender) and self._is_time(link, sender, now.monotonic):
                self._put(sender, now)
        self._visibility.forget_all_but(self._stores.receipts.senders())
        if not known and not self._stores.outbox.batches():
            self._is_flushing = False  # all is said; the program may go on after all

    def _is_time(self, link: Link, sender: str, now: int) -> bool:
        is_urgent = self._is_urgent(sender)
        if (now < self._due[sender] and not is_urgent) or self._stores.outbox.batches(sender):
            return False
        since = self._waiting_since.setdefault(sender, now)
        if not is_urgent and self._free(link, now) < KEEP_FREE and now - since < LATEST_MS:
            self._due[sender] = now + self._gather_ms(link, now)
            return False
        return True

    def has_urgent(self, peer: str, now: Moment) -> bool:
        """Whether the next step puts something before what waits for this user, or asks for a new session."""
        waits = self._is_flushing and peer in self._stores.receipts.senders()
        return waits or self._stores.receipts.is_urgent(peer) or bool(self._stores.recovery.due(peer, now.persistent))

    def _is_urgent(self, sender: str) -> bool:
        return self._is_flushing or self._stores.receipts.is_urgent(sender)

    def _put(self, sender: str, now: Moment) -> None:
        is_urgent = self._is_urgent(sender)
        del self._due[sender], self._waiting_since[sender]
        batch = str(uuid.UUID(bytes=self._random(16), version=4))
        entry = receipt_entry(batch, sender, now)
        with self._stores.vault.transaction() as tx:
            self._stores.receipts.assign(tx, sender, batch)
            self._stores.outbox.put(tx, entry, first=is_urgent)
        self._visibility.free(batch)

    def _gather_ms(self, link: Link, now: int) -> int:
        free = self._free(link, now)
        return next(wait for least, wait in GATHER_STEPS if free >= least)

    def _free(self, link: Link, now: int) -> int:
        """Messages that may still be sent in this minute, besides the receipts that wait to be."""
        free = self._pacing.free(RateClass.MESSAGE, link.limit(RateClass.MESSAGE), now)
        return max(0, free - self._stores.outbox.batches())


def receipt_entry(message_id: str, peer: str, now: Moment, *, again: bool = False) -> OutboxRecord:
    """A receipt batch as an entry of the outbox; its content is gathered when it is encrypted."""
    made_at = content.time_of(now.wall)
    return OutboxRecord(
        message_id=message_id, peer=peer, text=None, burn=False, expires_in=None, made_at=made_at, again=again
    )
