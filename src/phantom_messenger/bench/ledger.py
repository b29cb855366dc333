"""What has happened to the messages of a run, and how long it took from when it was to happen."""

from collections import Counter
from dataclasses import dataclass, field

from phantom_messenger.bench.histogram import Histogram

_US = 1e6


@dataclass(slots=True)
class Ledger:
    """The messages on their way, and counts of those that have arrived. All moments are monotonic seconds.

    Attributes:
        unanswered: when each message was due, by id, until its sender has the relay's word.
        undelivered: the same until its recipient's socket has it.
        untold: ids of messages whose sender has no receipt yet.
        repeated: what came again, or was never sent.
        acks: microseconds from when a message was due to ``accepted``.
        deliveries: the same to the recipient's socket.
        lateness: the same to the moment at which the load sent it: no fault of the relay.
        refused: how often the relay has said no, by its reason.
    """

    unanswered: dict[bytes, float] = field(default_factory=dict)
    undelivered: dict[bytes, float] = field(default_factory=dict)
    untold: set[bytes] = field(default_factory=set)
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
        """How many messages, at least, are not accepted or not delivered yet."""
        return max(len(self.unanswered), len(self.undelivered))

    @property
    def progress(self) -> int:
        """A number that grows whenever something comes."""
        return self.accepted + self.delivered + self.receipts

    def clear(self) -> None:
        """Begin anew."""
        fresh = Ledger()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def send(self, name: bytes, due: float) -> None:
        """A message leaves."""
        self.sent += 1
        self.unanswered[name] = self.undelivered[name] = due
        self.untold.add(name)

    def accept(self, name: bytes, now: float) -> None:
        """The relay has stored it."""
        due = self.unanswered.pop(name, None)
        if due is None:
            self.repeated += 1
        else:
            self.accepted += 1
            self.acks.add(int((now - due) * _US))

    def deliver(self, name: bytes, now: float) -> None:
        """Its recipient has it."""
        due = self.undelivered.pop(name, None)
        if due is None:
            self.repeated += 1
        else:
            self.delivered += 1
            self.deliveries.add(int((now - due) * _US))

    def tell(self, name: bytes) -> None:
        """Its sender has the receipt."""
        if name in self.untold:
            self.untold.remove(name)
            self.receipts += 1
