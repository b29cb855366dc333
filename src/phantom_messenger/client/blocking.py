"""Users who are blocked, and contacts who are removed.

It takes effect here at once: what a blocked user sends is dropped unread. The relay gets BLOCK, again and again
until it has said that it is so, over restarts too. Removing somebody tells it ``blocked`` and then not: so it forgets
that we ever wrote to them, and they are a stranger again. To the relay each device is a user of its own, so it hears of
all that a person has.
"""

from typing import Final

from msgspec import UNSET

from phantom_messenger.client import notices, records
from phantom_messenger.client.devices.records import LATE
from phantom_messenger.client.link import Link
from phantom_messenger.client.pacing import SOON_MS, asked, reason_of
from phantom_messenger.client.records import BlockRecord
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.status import WarningEvent
from phantom_messenger.client.stores import Stores
from phantom_messenger.client.vault import Transaction
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.limits import RateClass

MAX_FORGOTTEN: Final = 100
"""Devices of which the relay is still to forget that we wrote to them: somebody may link and remove without end."""

_AGAIN_MS: Final = 60_000
"""When a BLOCK that was refused is sent again, if the relay does not say."""


class Blocking:
    """Who is blocked, and which block commands the relay has not confirmed.

    Args:
        stores: of the profile.
        sending: loses what is under way, and counts frames.
    """

    def __init__(self, stores: Stores, sending: Sending) -> None:
        self._stores = stores
        self._vault = stores.vault
        self._sending = sending
        self._open = {record.user_id: record.steps for _, record in stores.vault.all(records.BLOCK, BlockRecord)}
        """What the relay has not confirmed, by user: first to last."""
        self._asked: dict[str, str] = {}
        """Users by the request that is under way."""
        self._later: dict[str, int] = {}
        """Users whose request was refused, and when it is sent again."""

    def __len__(self) -> int:
        return len(self._open)

    # --- what the user does -------------------------------------------------------

    def block(self, peer: str) -> None:
        """Keep a user away. What waits for them is dropped, and what they sent and nobody has looked at."""
        with self._vault.transaction() as tx:
            self.set(tx, peer, blocked=True)

    def unblock(self, peer: str) -> None:
        """Keep a user away no longer; they are who they were, and to the relay a stranger."""
        with self._vault.transaction() as tx:
            self.set(tx, peer, blocked=False)

    def set(self, tx: Transaction, peer: str, *, blocked: bool) -> None:
        """Do either in a transaction."""
        self._stores.book.set_blocked(tx, peer, blocked=blocked)
        for device in self._stores.devices.devices_of(peer):
            if blocked:
                self._drop(tx, device)
            self._want(tx, device, [blocked])

    def moved(self, tx: Transaction) -> None:
        """Another relay was chosen, which knows of nobody who is kept away."""
        for peer in self._stores.book.blocked():
            self._want(tx, peer, [True])

    def remove(self, peer: str, *, history: bool) -> None:
        """Forget a user: name, key, sessions, what waits. Who is blocked stays so.

        Args:
            peer: user id.
            history: erase what was said, too.
        """
        with self._vault.transaction() as tx:
            self.forget(tx, peer, history=history)

    def forget(self, tx: Transaction, peer: str, *, history: bool) -> None:
        """Remove a user in a transaction; arguments as ``remove``."""
        blocked = self._stores.book.is_blocked(peer)
        self._drop(tx, peer)
        for device in self._stores.devices.forget(tx, peer):
            self._drop(tx, device)
            self._stores.conversations.forget(tx, device)
            self._want(tx, device, [False] if blocked else [True, False])  # it is a stranger's from now on
        self._stores.book.forget(tx, peer)
        self._stores.conversations.forget(tx, peer)
        tx.delete(records.RECOVERY, peer)
        tx.delete(LATE, peer)
        if history:
            self._stores.history.erase(tx, peer)
        if not blocked:
            self._want(tx, peer, [True, False])

    def forget_device(self, tx: Transaction, device: str) -> None:
        """A device is nobody's any more: the relay forgets that we ever wrote to it, or it could go on watching us."""
        if sum(len(steps) > 1 for steps in self._open.values()) < MAX_FORGOTTEN:
            self._want(tx, device, [True, False])

    def _drop(self, tx: Transaction, peer: str) -> None:
        self._stores.outbox.drop(tx, peer)
        self._stores.many.drop(tx, peer)
        self._stores.receipts.drop(tx, peer)
        self._stores.recovery.drop(tx, peer)
        self._stores.requests.drop_all(tx, peer)
        self._stores.inbox.drop(tx, peer)
        self._stores.acks.drop(tx, peer)
        self._stores.groups.joins.drop(tx, peer)  # whoever is kept away answers no link
        tx.on_commit(lambda: self._sending.drop(peer))

    def _want(self, tx: Transaction, peer: str, steps: list[bool]) -> None:
        """Tell the relay."""
        if steps:
            tx.put(records.BLOCK, peer, BlockRecord(user_id=peer, steps=steps))
        else:
            tx.delete(records.BLOCK, peer)
        tx.on_commit(lambda: self._remember(peer, steps))

    def _remember(self, peer: str, steps: list[bool]) -> None:
        self._asked = {request: user for request, user in self._asked.items() if user != peer}
        self._later.pop(peer, None)
        if steps:
            self._open[peer] = steps
            self._sending.hold(peer)
        else:
            self._open.pop(peer, None)
            self._sending.release(peer)

    # --- the relay ----------------------------------------------------------------

    def connected(self) -> None:
        """A new connection: nothing was said on it yet."""
        self._asked.clear()
        self._later.clear()
        for peer in self._open:
            self._sending.hold(peer)

    def tick(self, link: Link, now: int) -> None:
        """Send what the relay has not confirmed and was not sent on this connection, one step after the other."""
        for peer, steps in sorted(self._open.items(), key=lambda one: len(one[1])):  # whom the user blocks goes first
            if peer in self._asked.values() or now < self._later.get(peer, now):
                continue
            if not self._sending.may_send(link, RateClass.BLOCK, now):
                return
            payload = frames.BlockPayload(user_id=peer, blocked=steps[0])
            request = link.send(frames.Block(payload=payload, timestamp=0), now)
            self._asked[request] = peer

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each thing that waits for a time."""
        return [until - now for until in self._later.values() if until > now]

    def done(self, frame: frames.BlockDone, now: int) -> None:
        """The relay has answered; what is no answer to what was asked says nothing."""
        peer = self._asked.pop("" if frame.id is UNSET else frame.id, None)
        steps = self._open.get(peer or "", [])
        if peer is None or not steps:
            return
        if frame.payload != frames.BlockPayload(user_id=peer, blocked=steps[0]):
            self._put_off(peer, now + _AGAIN_MS)
            return
        with self._vault.transaction() as tx:
            self._want(tx, peer, steps[1:])

    def _put_off(self, peer: str, until: int) -> None:
        """It did not help: ask later, and let nothing wait for it."""
        self._later[peer] = until
        self._sending.release(peer)

    def refused(self, error: frames.Error, now: int) -> list[WarningEvent] | None:
        """An error has come; None if it was for none of these."""
        peer = self._asked.pop("" if error.id is UNSET else error.id, None)
        if peer is None:
            return None
        self._put_off(peer, now + max(asked(error.payload.retry_after, _AGAIN_MS), SOON_MS))
        is_full = error.payload.code == ErrorCode.RATE_LIMITED and reason_of(error) == "backlog"
        return [notices.blocks_full()] if is_full else []
