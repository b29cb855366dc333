"""The schema in numbered steps: a data folder of any earlier version is brought to this one.

A step is a file of ``sql/``; its number is the ``user_version`` of a database that has it.
"""

from collections.abc import Sequence
from importlib import resources

import apsw

from phantom_messenger.engines.sqlite.item_rows import checksum_in_sql
from phantom_messenger.sqlite import database


def migrate(connection: apsw.Connection, scripts: Sequence[str] | None = None) -> None:
    """Take the steps that are missing: see ``sqlite.database.migrate``.

    Args:
        connection: to the database; not in a transaction.
        scripts: all steps, first to last; those of ``sql/`` if left out.
    """
    connection.create_scalar_function("item_checksum", checksum_in_sql, deterministic=True)
    database.migrate(connection, migrations() if scripts is None else scripts)


def migrations() -> list[str]:
    """The steps, first to last."""
    files = (resources.files(__package__) / "sql").iterdir()
    return [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name)]
