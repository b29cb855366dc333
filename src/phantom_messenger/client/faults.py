"""Faults of this program at what others have sent: they must not keep its user from everything else."""

import logging
import traceback
from collections.abc import Generator
from typing import Final, TypeVar

import apsw

from phantom_messenger.client import notices
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.status import Event

T = TypeVar("T")

NO_FAULTS: Final = (VaultError, apsw.Error, OSError)
"""What is raised when the profile cannot be used now: that is tried again, or told.

An error of usage is a fault where nobody has called: then this program has called itself wrongly.
"""

_log: Final = logging.getLogger("phantom_messenger")


def note(what: str, error: Exception) -> str:
    """Have the log say where it was, and not what the error says, which can be somebody's; what kind it is of."""
    place = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s because of a fault: %s\n%s", what, type(error).__name__, place)
    return type(error).__name__


class Aside:
    """Leaves what this client fails at where it is, for a version that does not: at the relay, or among what waits.

    Each time that it comes it fails again, and nothing else waits for that.
    """

    def __init__(self) -> None:
        self._is_told = False

    def attempt(self, events: Generator[Event, None, T]) -> Generator[Event, None, T | None]:
        """Take something in, as a generator of what is told of it does; what that returns, None after a fault."""
        try:
            return (yield from events)
        except NO_FAULTS:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            yield from self.failed(error)
            return None

    def failed(self, error: Exception) -> list[Event]:
        """Something could not be taken in; the user is told once."""
        kind = note("something that came stays where it is", error)
        is_told, self._is_told = self._is_told, True
        return [] if is_told else [notices.set_aside(kind)]
