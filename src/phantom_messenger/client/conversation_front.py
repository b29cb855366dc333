"""What ``Client.conversation`` offers to applications: a person or a group, written to and read by the same code."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Protocol

from phantom_messenger.client.delivery import Delivery
from phantom_messenger.client.handing_out import Find
from phantom_messenger.client.status import Contact, DeliveryState

if TYPE_CHECKING:
    from phantom_messenger.client.client import Client


class ReceivedMessage(Protocol):
    """A received message of a person or to a group: what ``Message`` and ``GroupMessage`` have in common.

    ``id`` and ``sender`` (a user id) identify it; ``contact`` is what is known about its sender; ``conversation`` is
    where it was said. ``text``: its text. ``sent_at``: when it was written, as the sender says; ``received_at``: when
    this device got it; ``expires_at``: when it will be deleted, or None; all in milliseconds since 1970.
    ``is_newer``: a newer version of this program has sent it, and this one cannot show it: ``text`` is ''.
    """

    id: str
    sender: str
    contact: Contact
    conversation: "Conversation"
    text: str
    is_newer: bool
    sent_at: int
    received_at: int
    expires_at: int | None

    async def reply(self, text: str) -> Delivery:
        """Send a message to where it was said: to its sender, or to the group."""

    async def mark_read(self) -> None:
        """Notify the sender that it was read, and erase it here if it burns; on disk even if this is cancelled."""


class PastMessage(Protocol):
    """A past message: what ``HistoryEntry`` and ``GroupEntry`` have in common.

    ``message_id``: as in ``DeliveryEvent``. ``sender``: who has written it; of an own one, yourself. ``is_own``:
    whether that is so. ``text``: None if there is nothing to show any more. ``sent_at``: when it was written, as its
    sender says; ``kept_at``: when this device got it; ``expires_at``: when it is erased, or None; all in milliseconds
    since 1970. ``state``: of an own one, how far it has come; else None. ``is_waiting``: it was not handled yet.
    """

    @property
    def message_id(self) -> str:
        """As in ``DeliveryEvent``."""

    @property
    def sender(self) -> Contact:
        """See above."""

    @property
    def is_own(self) -> bool:
        """Whether it was sent from here."""

    @property
    def text(self) -> str | None:
        """See above."""

    @property
    def sent_at(self) -> int:
        """See above."""

    @property
    def kept_at(self) -> int:
        """See above."""

    @property
    def expires_at(self) -> int | None:
        """See above."""

    @property
    def state(self) -> DeliveryState | None:
        """See above."""

    @property
    def is_waiting(self) -> bool:
        """See above."""


class Conversation(ABC):
    """A person or a group, to write to and to read: ``Client.conversation``.

    ``id``: the user id of the person, or the id of the group. ``is_group``: which of the two it is. Two that are
    equal are the same conversation, so they can be keys of a dict.
    """

    id: str
    is_group: bool

    def __init__(self, name: str, find: Find[ReceivedMessage]) -> None:
        self.id = name
        self._find = find

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conversation) and (self.is_group, self.id) == (other.is_group, other.id)

    def __hash__(self) -> int:
        return hash((self.is_group, self.id))

    def __repr__(self) -> str:
        return f"Conversation({'group' if self.is_group else 'person'} {self.id[:8]}…)"

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the contact or the group; '' if it has none."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The name, or the start of the id."""

    @abstractmethod
    async def send(self, text: str) -> Delivery:
        """Send a message to it; errors are those of ``Client.send`` and ``Groups.send``."""

    @abstractmethod
    def messages(self) -> AsyncIterator[ReceivedMessage]:
        """Received messages of this conversation, oldest first, without end; as ``Client.messages``."""

    @abstractmethod
    def history(
        self, *, since: float | None = None, search: str | None = None, limit: int | None = None
    ) -> Sequence[PastMessage]:
        """What was said in it, oldest first; arguments and errors are those of ``Client.history``."""

    async def mark_read(self) -> int:
        """Mark all that waits in it as read, as ``ReceivedMessage.mark_read`` does for one; how many there were."""
        position = count = 0
        while (found := self._find(position)) is not None and found.position > position:
            position = found.position
            await found.item.mark_read()
            count += 1
        return count

    @abstractmethod
    def set_typing(self) -> None:
        """As ``Client.set_typing``; in a group nobody is notified."""


class PersonConversation(Conversation):
    """With a person; see ``Conversation``.

    Args:
        client: open.
        user_id: of the person.
        find: what was received of them.
    """

    is_group = False

    def __init__(self, client: "Client", user_id: str, find: Find[ReceivedMessage]) -> None:
        super().__init__(user_id, find)
        self._client = client

    @property
    def name(self) -> str:
        """See ``Conversation``."""
        return self._client.contacts.of(self.id).name

    @property
    def label(self) -> str:
        """See ``Conversation``."""
        return self._client.contacts.of(self.id).label

    async def send(self, text: str) -> Delivery:
        """See ``Conversation``."""
        return await self._client.send(self.id, text)

    async def messages(self) -> AsyncIterator[ReceivedMessage]:
        """See ``Conversation``."""
        async for message in self._client.messages(sender=self.id):
            yield message

    def history(
        self, *, since: float | None = None, search: str | None = None, limit: int | None = None
    ) -> Sequence[PastMessage]:
        """See ``Conversation``."""
        return self._client.history(self.id, since=since, search=search, limit=limit)

    def set_typing(self) -> None:
        """See ``Conversation``."""
        self._client.set_typing(self.id)
