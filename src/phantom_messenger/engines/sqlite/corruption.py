"""Corruption in the store: rows that cannot be read, and the errors that show it."""

from collections.abc import Callable

import apsw

from phantom_messenger.sqlite import errors


class CorruptRows(Exception):
    """Rows that a command needs cannot be read.

    A transaction that met them cannot be committed. ``find``, called outside of one, finds out
    which they are, so that the next attempt does without them.
    """

    def __init__(self, find: Callable[[], None]) -> None:
        super().__init__("corrupt rows")
        self.find = find


def is_corruption(error: BaseException) -> bool:
    """Whether what was read is not what was written, or cannot be read."""
    return isinstance(error, CorruptRows) or errors.is_corruption(error)


class AccountIndexDamaged(apsw.CorruptError):
    """The index of accounts says something else than their rows."""
