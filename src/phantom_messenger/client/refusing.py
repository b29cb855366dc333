"""Saying no: users who are blocked, and contacts who are removed.

Here it holds at once: what a blocked user sends is dropped unread. The relay is told with BLOCK, again and again
until it has said that it is so, over restarts too. Removing somebody tells it ``blocked`` and then not: so it forgets
that we ever wrote to them, and they are a stranger again.
"""

from typing import Final

from msgspec import UNSET

from phantom_messenger.client import records
from phantom_messenger.client.acks import Acks
from phantom_messenger.client.contacts import Contacts
from phantom_messenger.client.conversations import Conversations
from phantom_messenger.client.healing import Healing
from phantom_messenger.client.link import Link
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.pacing import asked
from phantom_messenger.client.receipts import Receipts
from phantom_messenger.client.records import BlockRecord, InboxRecord, ReceivedRecord, SentRecord
from phantom_messenger.client.requests import Requests
from phantom_messenger.client.sending import Sending
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.limits import RateClass

_AGAIN_MS: Final = 60_000
"""When a BLOCK that was refused is sent again, if the relay does not say."""

_SOON_MS: Final = 1_000


class Refusing:
    """Who is refused, and what the relay is still to be told of it.

    Args:
        vault: holds it.
        contacts: knows who is blocked.
        conversations: loses the sessions with those who are removed.
        outbox: loses what waits for them.
        receipts: loses what they were to be told.
        healing: loses what of theirs could not be read.
        acks: loses what the relay was to be told of theirs.
        requests: loses what waits of them.
        sending: loses what is under way, and counts frames.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        contacts: Contacts,
        conversations: Conversations,
        outbox: Outbox,
        receipts: Receipts,
        healing: Healing,
        acks: Acks,
        requests: Requests,
        sending: Sending,
    ) -> None:
        self._vault = vault
        self._contacts = contacts
        self._conversations = conversations
        self._outbox = outbox
        self._receipts = receipts
        self._healing = healing
        self._acks = acks
        self._requests = requests
        self._sending = sending
        self._open = {record.user_id: record.steps for _, record in vault.all(records.BLOCK, BlockRecord)}
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
        with self._vault.transaction():
            self._contacts.note_blocked(peer, blocked=True)
            self._drop(peer)
            self._want(peer, [True])

    def unblock(self, peer: str) -> None:
        """Keep a user away no longer; they are who they were, and to the relay a stranger."""
        with self._vault.transaction():
            self._contacts.note_blocked(peer, blocked=False)
            self._want(peer, [False])

    def moved(self) -> None:
        """Another relay was chosen, which knows of nobody who is kept away; call it inside a transaction."""
        for peer in self._contacts.blocked():
            self._want(peer, [True])

    def remove(self, peer: str, *, history: bool) -> None:
        """Forget a user: name, key, sessions, what waits. Who is blocked stays so.

        Args:
            peer: user id.
            history: erase what was said, too.
        """
        blocked = self._contacts.is_blocked(peer)
        with self._vault.transaction():
            self._drop(peer)
            self._contacts.forget(peer)
            self._conversations.forget(peer)
            self._vault.delete(records.HEALED, peer)
            if history:
                self._erase(peer)
            if not blocked:
                self._want(peer, [True, False])

    def _drop(self, peer: str) -> None:
        self._outbox.drop(peer)
        self._receipts.drop(peer)
        self._healing.drop(peer)
        self._requests.drop_all(peer)
        for _, marker in list(self._vault.all(records.INBOX, InboxRecord)):
            if marker.sender == peer:
                self._vault.delete(records.INBOX, records.pair(peer, marker.message_id))
        self._acks.drop(peer)
        self._vault.when_kept(lambda: self._sending.drop(peer))

    def _erase(self, peer: str) -> None:
        for _, sent in list(self._vault.all(records.SENT, SentRecord)):
            if sent.peer == peer:
                self._vault.delete(records.SENT, sent.message_id)
        for _, received in list(self._vault.all(records.RECEIVED, ReceivedRecord)):
            if received.sender == peer:
                self._vault.delete(records.RECEIVED, records.pair(peer, received.message_id))

    def _want(self, peer: str, steps: list[bool]) -> None:
        """Tell the relay; call it inside a transaction."""
        if steps:
            self._vault.put(records.BLOCK, peer, BlockRecord(user_id=peer, steps=steps))
        else:
            self._vault.delete(records.BLOCK, peer)
        self._vault.when_kept(lambda: self._remember(peer, steps))

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
        """Say what the relay has not confirmed and was not told on this connection, one step after the other."""
        for peer, steps in self._open.items():
            if peer in self._asked.values() or now < self._later.get(peer, now):
                continue
            if not self._sending.may_send(link, RateClass.BLOCK, now):
                return
            payload = frames.BlockPayload(user_id=peer, blocked=steps[0])
            request = link.send(
                lambda request, time, payload=payload: frames.Block(id=request, payload=payload, timestamp=time),  # type: ignore[misc] # a default that binds it
                now,
            )
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
        with self._vault.transaction():
            self._want(peer, steps[1:])

    def _put_off(self, peer: str, until: int) -> None:
        """It did not help: ask later, and let nothing wait for it."""
        self._later[peer] = until
        self._sending.release(peer)

    def refused(self, error: frames.Error, now: int) -> str | None:
        """An error has come.

        Returns:
            None if it was for none of these; a sentence if the user should know; else ''.
        """
        peer = self._asked.pop("" if error.id is UNSET else error.id, None)
        if peer is None:
            return None
        self._put_off(peer, now + max(asked(error.payload.retry_after, _AGAIN_MS), _SOON_MS))
        reason = "" if error.payload.details is UNSET else error.payload.details.get("reason", "")
        if error.payload.code == ErrorCode.RATE_LIMITED and reason == "backlog":
            return "the relay keeps no more blocked users; what they send is dropped on this device, unread"
        return ""
