"""What another part of the client hears of the messages to many that it has sent, in the transaction that notes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from phantom_messenger.client.moment import Moment
from phantom_messenger.client.status import DeliveryState, Event
from phantom_messenger.client.vault import Transaction


@dataclass(frozen=True, slots=True)
class OrderTaken:
    """The relay has stored the revision, and the message for all to whom it was sent with it."""


@dataclass(frozen=True, slots=True)
class OrderStale:
    """Somebody else was first: the relay has ``revision``, if it has said so. Nobody got the message.

    ``author``: digest of who has written that revision, b"" if the relay does not say.
    """

    revision: int | None
    author: bytes = b""


@dataclass(frozen=True, slots=True)
class OrderDenied:
    """One may not write the next revision, by what the relay has stored. Nobody got the message."""


@dataclass(frozen=True, slots=True)
class OrderRefused:
    """The relay cannot keep an order, or has refused the message for another reason. Nobody got it.

    ``reason``: a sentence.
    """

    reason: str


Ordered = OrderTaken | OrderStale | OrderDenied | OrderRefused


class Listener(Protocol):
    """A part of the client that sends messages to many, under a name of its own (``purpose``)."""

    def advanced(self, tx: Transaction, message_id: str, peer: str, state: DeliveryState, now: Moment) -> list[Event]:
        """The copy for a recipient has come further.

        Args:
            tx: stores it; what follows from it is stored with it.
            message_id: of the message.
            peer: the recipient.
            state: as of a message to one.
            now: this moment.

        Returns:
            What the application is to hear.
        """

    def ordered(
        self, tx: Transaction, message_id: str, outcome: Ordered, peers: Sequence[str], now: Moment
    ) -> list[Event]:
        """What has become of the revision that a message brings; comes before ``advanced`` of its copies.

        Args:
            tx: stores it.
            message_id: of the message. Unless the outcome is ``OrderTaken``, it is forgotten and sent to nobody.
            outcome: what the relay has said.
            peers: its recipients.
            now: this moment.

        Returns:
            What the application is to hear.
        """
