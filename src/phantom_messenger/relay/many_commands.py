"""Commands about one message to many, and what has to go with it. See ``relay.commands``."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from phantom_messenger.relay.command import Accepted, AppendRefusal, Command, UserCommand
from phantom_messenger.relay.records import Bundle, NewItem
from phantom_messenger.wire.limits import MAX_ORDER_STEP

ORDER_BYTES: Final = 768
"""About what a row of an order takes in the store."""


class Copy(NamedTuple):
    """What one recipient gets of a message to many."""

    recipient: str
    item: NewItem


class Order(Struct, frozen=True):
    """The next revision of something that several users change.

    Users are known to the store by digests alone, which say something to those who know the name.
    """

    name: bytes
    """32 bytes."""
    revision: int
    author: bytes
    """Digest of who writes it: see ``wire.orders.digest``."""
    writers: tuple[bytes, ...]
    """Digests of those who may write the next one."""
    last: bytes
    """Digest of who writes this revision in which message: who says the same again is no other."""


class StoredOrder(NamedTuple):
    """What is stored of an order."""

    revision: int
    writers: Sequence[bytes]
    last: Sequence[bytes]
    """Of the last revisions, as many as are accepted again; the newest first."""
    author: bytes | None
    """Digest of who has written the last one; None if it was stored before authors were."""


class OrderRefusal(NamedTuple):
    """Why a revision, and with it the whole message, was not taken."""

    revision: int | None
    """What is stored, if the new one does not follow it; None if the author may not write."""
    author: bytes | None = None
    """Digest of who has written the one that is stored, if that is known: they have what its next author lacks."""


def judge(order: Order, stored: StoredOrder | None) -> OrderRefusal | None:
    """Why a revision that was not taken already cannot be taken; None if it can.

    Where nothing is stored any revision begins: a group may have come from another relay, and this one be restored.
    """
    if stored is None:
        return None if order.author in order.writers else OrderRefusal(None)
    if order.author not in stored.writers:
        return OrderRefusal(None)
    if not 0 < order.revision - stored.revision <= MAX_ORDER_STEP:
        return OrderRefusal(stored.revision, stored.author)
    return None


class AcceptMany(UserCommand[Sequence[Accepted | AppendRefusal] | OrderRefusal], frozen=True, kw_only=True):
    """Put the copies of one message into the mailboxes of their recipients, each as ``AcceptMessage`` does.

    The results stand in the order of the copies. One that is refused does not keep the others back. With an ``order``
    the revision is stored too, or nothing at all: see ``judge``.

    A copy for a group (``NewItem.is_group``) is counted with those of its sender in the mailbox
    (``limits.MAX_GROUP_BACKLOG``), leads to no receipt when it is acknowledged or expires, and makes nobody a contact:
    its sender counts as having written to the recipient only where it is asked whether a user was answered
    (``Relation.REPLIED_TO``).
    """

    copies: Sequence[Copy]
    conversation_id: str
    order: Order | None
    now: int

    @property
    def size(self) -> int:
        """See ``Command``."""
        stored = sum(len(copy.item.head) + len(copy.item.tail) for copy in self.copies)
        return stored + (0 if self.order is None else ORDER_BYTES)


class FetchPreKeys(UserCommand[Sequence[Bundle | None]], frozen=True, kw_only=True):
    """Hand out prekeys of several users, who are not told; None for one who has published none, or has no account.

    The limits are those of ``ExchangeKeys``.
    """

    targets: Sequence[str]
    now: int

    @property
    def size(self) -> int:
        """See ``Command``."""
        return len(self.targets)


class ForgetOrders(Command[None], frozen=True, kw_only=True):
    """Forget orders of which no revision was written for long: some of them, the oldest first."""

    written_before: int
    """Persistent time; it is kept to the day."""
