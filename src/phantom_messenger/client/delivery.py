"""What the SDK gives an application to hold: the way of a message, and a received message."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import UNSET

from phantom_messenger.client.errors import DeliveryFailed, PhantomError
from phantom_messenger.client.records import ReceivedRecord
from phantom_messenger.client.status import Contact, DeliveryState

if TYPE_CHECKING:
    from phantom_messenger.client.conversation_front import Conversation


class Sends(Protocol):
    """``Client.send``."""

    async def __call__(
        self, who: str, text: str, *, burn_after_read: bool = False, expires_in: float | None = None
    ) -> "Delivery":
        """See ``Client.send``."""


class Delivery:
    """How far a message has come, which can be awaited.

    ``message_id``: as in ``DeliveryEvent``. ``peer``: the recipient. ``state``: a ``DeliveryState``.
    """

    def __init__(
        self, message_id: str, peer: Contact, state: DeliveryState, *, waited: "set[Delivery] | None" = None
    ) -> None:
        self.message_id = message_id
        self.peer = peer
        self.state = state
        self._changed = asyncio.Event()
        self._error: PhantomError | None = None
        self._waited = set() if waited is None else waited
        """Where it is kept while somebody waits: else nothing need hold it, nor the task that waits."""
        self._waiters = 0

    def __repr__(self) -> str:
        return f"Delivery({self.message_id}, {self.state})"

    async def wait(self, state: DeliveryState = DeliveryState.ACCEPTED) -> DeliveryState:
        """Wait until the message has come at least this far.

        Args:
            state: usually ``ACCEPTED``, ``DELIVERED`` or ``READ``. Receipts come only from recipients who have written
                to the sender or added them, so ``DELIVERED`` may never be reached.

        Returns:
            How far it has come.

        Raises:
            DeliveryFailed: it has expired or was rejected.
            LoginRefused, Replaced, ClientClosed: nothing more will come.
        """
        while self.state < state:
            if self._error is not None:
                raise self._error
            await self._next_change()
        if self.state in {DeliveryState.EXPIRED, DeliveryState.FAILED} and state < DeliveryState.EXPIRED:
            raise DeliveryFailed(f"the message to {self.peer.label} has {self.state}; send it again if still needed")
        return self.state

    async def _next_change(self) -> None:
        self._changed.clear()
        self._waiters += 1
        self._waited.add(self)
        try:
            await self._changed.wait()
        finally:
            self._waiters -= 1
            if not self._waiters:
                self._waited.discard(self)

    def advance(self, state: DeliveryState) -> None:
        """Note how far it has come."""
        self.state = state
        self._changed.set()

    def fail(self, error: PhantomError) -> None:
        """Nothing will change any more in this process."""
        self._error = error
        self._changed.set()


class Message:
    """A received message.

    ``id`` and ``sender`` identify it; ``sender`` is a user id, ``contact`` what is known about it, ``conversation`` the
    one with it. ``text``: its text. ``sent_at``: when it was written, as the sender says; ``received_at``: when this
    device got it; ``expires_at``: when it will be deleted, or None; all in milliseconds since 1970.
    ``burn_after_read``: ``mark_read`` erases it.
    ``is_newer``: a newer version of this program has sent it, and this one cannot show it: ``text`` is ''. It is kept,
    not read: ``mark_read`` only marks it as handled, and a version that knows it will hand it out again.
    """

    def __init__(
        self,
        record: ReceivedRecord,
        contact: Contact,
        mark_read: Callable[["Message"], None],
        send: Sends,
        conversation: "Conversation",
    ) -> None:
        self._mark_read = mark_read
        self._send = send
        self.conversation = conversation
        self.id = record.message_id
        self.sender = record.sender
        self.contact = contact
        self.text = record.text or ""
        self.is_newer = record.newer is not UNSET
        self.sent_at = record.sent_at
        self.received_at = record.received_at
        self.burn_after_read = record.burn
        self.expires_at = record.expires_at

    def __repr__(self) -> str:
        return f"Message({self.id} from {self.contact.label})"

    async def reply(self, text: str, *, burn_after_read: bool = False, expires_in: float | None = None) -> Delivery:
        """Send a message to its sender; arguments and errors are those of ``Client.send``."""
        return await self._send(self.sender, text, burn_after_read=burn_after_read, expires_in=expires_in)

    async def mark_read(self) -> None:
        """Notify the sender that it was read, and erase it here if it burns; on disk even if this is cancelled."""
        self._mark_read(self)
        await asyncio.sleep(0)  # a program that handles a backlog must not hold up its own connection
