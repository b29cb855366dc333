"""Messages that wait for the answer of the relay, and how long: one that never answers must not stop them for good."""

from dataclasses import dataclass
from typing import Final

from phantom_messenger.client.records import OutboxRecord

UNANSWERED_MS: Final = 120_000
"""How long an answer is waited for at first: then the message is sent again, which the relay takes for what it is."""

LONGEST_UNANSWERED_MS: Final = 3_600_000
"""It is waited for twice as long each time, and for so long at most: nobody is to be made to send without end."""


@dataclass(frozen=True, slots=True)
class _Flight:
    entry: OutboxRecord
    wait: int
    until: int
    """Monotonic milliseconds."""


class Flights:
    """What was sent on this connection, by the request that is under way; times are monotonic milliseconds."""

    def __init__(self) -> None:
        self.disconnected()

    def disconnected(self) -> None:
        """Nothing of it will be answered."""
        self._flights: dict[str, _Flight] = {}
        self._waits: dict[str, int] = {}
        """How long an answer is waited for next time, by the id of a message that had none."""
        self._look_at: int | None = None
        """When to look whether a time has come, or earlier."""

    def begin(self, request: str, entry: OutboxRecord, now: int) -> None:
        """It was sent."""
        wait = self._waits.get(entry.message_id, UNANSWERED_MS)
        flight = self._flights[request] = _Flight(entry, wait, now + wait)
        self._look_at = flight.until if self._look_at is None else min(self._look_at, flight.until)

    def answered(self, request: str, message_id: str, peer: str) -> None:
        """It was answered, unless the answer names another message or user: then it is still waited for."""
        flight = self._flights.get(request)
        if flight is not None and (flight.entry.message_id, flight.entry.peer) == (message_id, peer):
            self.end(request)

    def end(self, request: str) -> OutboxRecord | None:
        """It was refused, or answered; None if that was nothing of this, or is given up."""
        flight = self._flights.pop(request, None)
        if flight is None:
            return None
        self._waits.pop(flight.entry.message_id, None)
        if not self._flights:
            self._look_at = None
        return flight.entry

    def overdue(self, now: int) -> list[OutboxRecord]:
        """What has had no answer for too long; it is waited for no more."""
        if self._look_at is None or now < self._look_at:
            return []
        over = {request: flight for request, flight in self._flights.items() if now >= flight.until}
        for request, flight in over.items():
            del self._flights[request]
            self._waits[flight.entry.message_id] = min(2 * flight.wait, LONGEST_UNANSWERED_MS)
        self._look_at = min((flight.until for flight in self._flights.values()), default=None)
        return [flight.entry for flight in over.values()]

    def waits(self, now: int) -> list[int]:
        """Milliseconds until ``overdue`` is to be asked."""
        return [] if self._look_at is None else [max(0, self._look_at - now)]
