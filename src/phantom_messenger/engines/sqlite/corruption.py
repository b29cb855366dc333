"""Damage in the store: rows that cannot be read, and the errors that tell of it."""

from collections.abc import Callable

from phantom_messenger import sqlite_errors
from phantom_messenger.sqlite_errors import is_no_room

__all__ = ["DamagedRows", "is_damage", "is_no_room"]


class DamagedRows(Exception):
    """Rows that a job needs cannot be read.

    A transaction that met them cannot be committed. ``find``, called outside of one, finds out
    which they are, so that the next attempt does without them.
    """

    def __init__(self, find: Callable[[], None]) -> None:
        super().__init__("damaged rows")
        self.find = find


def is_damage(error: BaseException) -> bool:
    """Whether what was read is not what was written, or cannot be read."""
    return isinstance(error, DamagedRows) or sqlite_errors.is_damage(error)
