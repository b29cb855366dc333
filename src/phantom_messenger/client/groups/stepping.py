"""What is done by itself for groups, once at a time, whatever others have said that led to it."""

from collections.abc import Callable

from phantom_messenger.client import notices
from phantom_messenger.client.faults import NO_FAULTS, note
from phantom_messenger.client.status import Event


class Stepping:
    """Does it.

    What is done follows from what others say. A fault in that must not keep the user from all their other
    conversations, at every start of the program, so no more is done for groups until then.

    Attributes:
        has_failed: whether there was a fault.
    """

    def __init__(self) -> None:
        self.has_failed = False
        self._is_running = False

    def run(self, *parts: Callable[[], None]) -> list[Event]:
        """Run all parts; whoever is told of something sent comes back here, and nothing is done twice.

        Returns:
            What to tell the application.

        Raises:
            VaultError: it could not be stored, and is tried again.
        """
        if self._is_running or self.has_failed:
            return []
        self._is_running = True
        try:
            for part in parts:
                part()
        except NO_FAULTS:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            return self.failed(error)
        finally:
            self._is_running = False
        return []

    def failed(self, error: Exception) -> list[Event]:
        """There was a fault."""
        self.has_failed = True
        return [notices.groups_failed(note("nothing more is done for groups", error))]
