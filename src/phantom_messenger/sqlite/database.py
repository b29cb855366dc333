"""Opening and making databases: durable, and overwriting what is deleted."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from phantom_messenger.sqlite import files


class NewerVersion(Exception):
    """The database was written by a newer version: it has schema steps that this one does not know."""


def configure(connection: apsw.Connection) -> None:
    """Have every commit synced to disk, everything that is deleted overwritten, and each statement prepared once."""
    connection.pragma("journal_mode", "wal")
    # With less, WAL mode syncs at checkpoints alone: what clients were told is stored would not outlive a power cut.
    connection.pragma("synchronous", "full")
    connection.pragma("secure_delete", "on")
    connection.pragma("temp_store", "memory")
    # Otherwise a statement may be prepared again for each new value, on which the best plan could depend
    # (sqlite.org/c3ref/prepare.html). Here it does not, and preparing takes five times as long as running.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[tuple[Path, apsw.Connection]]:
    """An empty database beside ``path``, to be filled, closed and renamed: so a database is there whole or not at all.

    What was not renamed is deleted at the end.
    """
    part = path.with_name(f"{path.name}.new")
    files.delete(part)
    connection = apsw.Connection(str(part))
    try:
        # Before there is anything in it that others could read.
        part.chmod(0o600)
        configure(connection)
        yield part, connection
    finally:
        connection.close()
        files.delete(part)


def migrate(connection: apsw.Connection, steps: Sequence[str]) -> None:
    """Take the schema steps that a database does not have yet.

    Its ``user_version`` is the number of steps that it has. Each is one transaction: a machine that dies half-way is
    at the step before.

    Args:
        connection: not in a transaction.
        steps: all of them, first to last, in SQL.

    Raises:
        NewerVersion: the database has more steps.
        apsw.Error: a step failed and was rolled back; those before it were taken.
    """
    version: int = connection.pragma("user_version")
    if version > len(steps):
        raise NewerVersion
    for number, step in enumerate(steps[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(step)
            connection.pragma("user_version", number)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
