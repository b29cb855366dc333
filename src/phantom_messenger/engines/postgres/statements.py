"""What is sent to the database for commands, and what its answers mean."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from phantom_messenger.engines.postgres.arrays import Array

Row = tuple[Any, ...]


class Statement(NamedTuple):
    """A query and its parameters."""

    query: str
    parameters: tuple[Any, ...] = ()


class Setting(NamedTuple):
    """What calls need to know beside the commands."""

    relay: str
    """Stands for this relay among those on the database."""
    bounds: Array
    remembers: bool = True
    """Whether what leaves a mailbox is remembered, in case that it is sent again; not if there is no room for that."""


class Call(NamedTuple):
    """What is asked of the database for some commands, and what its answers mean."""

    statements: list[Statement]
    results: Callable[[list[list[Row]]], list[Any]]
    """From the rows of each statement, one result a command."""


def columns(rows: Iterable[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Rows as columns, also if there are no rows."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(count)]


def done(function: str, *parameters: Any) -> Call:
    """A call that returns nothing."""
    return Call([Statement(f"SELECT {function}", parameters)], lambda _: [None])
