"""The schema in numbered steps: a data folder of any earlier version is brought to this one.

A step is a file of ``sql/``; its number is the ``user_version`` of a database that has it. Each is
one transaction: a machine that dies half-way is at the step before.
"""

from importlib import resources

import apsw

from phantom_messenger.engines.sqlite.mailboxes import checksum_in_sql


class NewerVersion(Exception):
    """The database has steps that this version does not know."""


def migrate(connection: apsw.Connection, scripts: list[str] | None = None) -> None:
    """Take the steps that are missing.

    Args:
        connection: to the database; not in a transaction.
        scripts: all steps, first to last; those of ``sql/`` if left out.

    Raises:
        NewerVersion: the database is from a newer version.
        apsw.Error: a step failed and was undone; those before it were taken.
    """
    steps = migrations() if scripts is None else scripts
    version = connection.pragma("user_version")
    if version > len(steps):
        raise NewerVersion
    connection.create_scalar_function("item_checksum", checksum_in_sql, deterministic=True)
    for number, script in enumerate(steps[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(script)
            connection.pragma("user_version", number)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def migrations() -> list[str]:
    """The steps, first to last."""
    files = (resources.files(__package__) / "sql").iterdir()
    return [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name)]
