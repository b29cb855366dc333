"""What the application is still to hear, in the order in which it became true."""

from collections.abc import Iterable

from phantom_messenger.client.status import Event


class Told:
    """Keeps it until the application takes it."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """Tell this."""
        self._events.append(event)

    def extend(self, events: Iterable[Event]) -> None:
        """Tell these, each as soon as it is true: what comes after may fail."""
        for event in events:
            self.add(event)

    def drain(self) -> list[Event]:
        """All since the last time."""
        events, self._events = self._events, []
        return events
