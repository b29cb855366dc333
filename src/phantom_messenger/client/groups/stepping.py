"""What is done by itself for groups, once at a time, whatever others have said that led to it."""

import logging
import traceback
from collections.abc import Callable
from typing import Final

from phantom_messenger.client import notices
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.status import Event

_log: Final = logging.getLogger("phantom_messenger")


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
        except VaultError:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            return self.failed(error)
        finally:
            self._is_running = False
        return []

    def failed(self, error: Exception) -> list[Event]:
        """There was a fault; the log gets its place, and not what it says, which can be somebody's."""
        self.has_failed = True
        place = "".join(traceback.format_tb(error.__traceback__))
        _log.error("nothing more is done for groups because of a fault: %s\n%s", type(error).__name__, place)
        return [notices.groups_failed(type(error).__name__)]
