"""What the relay has reported as bugs of its own: nothing, unless a test brings it about."""

import logging
import re


class Faults(logging.Handler):
    """Listens to the relay's log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the type of the error of an event ``UNEXPECTED``."""
        if found := re.match("unexpected: .* error=([A-Za-z]+)", record.getMessage()):
            self._found.append(found[1])

    def take(self) -> list[str]:
        """The types of the errors that were reported since the last look."""
        found, self._found = self._found, []
        return found
