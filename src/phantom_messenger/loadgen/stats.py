"""What happened to the messages of a run, and how long each took from the moment it was due."""

from collections import Counter
from dataclasses import dataclass, field

from phantom_messenger.loadgen.histogram import Histogram

_US = 1e6


@dataclass(slots=True)
class Stats:
    """The messages in flight, and counts of those that have arrived. Times are monotonic seconds.

    Attributes:
        unaccepted: when each message was due, by message id, until the relay accepts it.
        undelivered: the same until it reaches its recipient's socket.
        awaiting_receipt: ids of messages whose sender has no delivery receipt yet.
        repeated: frames that arrived twice, or for a message that was never sent.
        acks: microseconds from when a message was due to ``accepted``.
        deliveries: the same to the recipient's socket.
        lateness: the same to the moment the generator sent it, which is not the relay's fault.
        refused: how often the relay refused something, by reason.
    """

    unaccepted: dict[bytes, float] = field(default_factory=dict)
    undelivered: dict[bytes, float] = field(default_factory=dict)
    awaiting_receipt: set[bytes] = field(default_factory=set)
    sent: int = 0
    accepted: int = 0
    delivered: int = 0
    receipts: int = 0
    repeated: int = 0
    acks: Histogram = field(default_factory=Histogram)
    deliveries: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def missing(self) -> int:
        """A lower bound on the messages that are not both accepted and delivered yet."""
        return max(len(self.unaccepted), len(self.undelivered))

    @property
    def progress(self) -> int:
        """A number that grows whenever anything arrives."""
        return self.accepted + self.delivered + self.receipts

    def clear(self) -> None:
        """Start over."""
        fresh = Stats()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def record_sent(self, message_id: bytes, due: float) -> None:
        """A message was sent; it was due at this time."""
        self.sent += 1
        self.unaccepted[message_id] = self.undelivered[message_id] = due
        self.awaiting_receipt.add(message_id)

    def record_accepted(self, message_id: bytes, now: float) -> None:
        """The relay has stored it."""
        due = self.unaccepted.pop(message_id, None)
        if due is None:
            self.repeated += 1
        else:
            self.accepted += 1
            self.acks.add(int((now - due) * _US))

    def record_delivered(self, message_id: bytes, now: float) -> None:
        """It reached its recipient."""
        due = self.undelivered.pop(message_id, None)
        if due is None:
            self.repeated += 1
        else:
            self.delivered += 1
            self.deliveries.add(int((now - due) * _US))

    def record_receipt(self, message_id: bytes) -> None:
        """Its sender has the delivery receipt."""
        if message_id in self.awaiting_receipt:
            self.awaiting_receipt.remove(message_id)
            self.receipts += 1
