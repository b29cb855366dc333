"""Tables and functions in the database: made by the first relay that comes, and by each version for itself."""

import contextlib
import hashlib
from importlib.resources import files
from typing import Final

import psycopg
from psycopg import sql

TABLES: Final = "phantom"
"""The schema of the tables."""

_LOCK: Final = 3, 0
"""The advisory lock of whoever changes tables or functions.

The first number is a class: 1 of user ids, 2 of erasure, 4 of relays at work, 5 of two users, 6 of orders.
"""

_ATTEMPTS: Final = 10
"""Relays at work lock tables in another order than migrations do, each for a moment."""

_FOLDER: Final = files("phantom_messenger.engines.postgres") / "sql"


class NewerSchema(Exception):
    """The tables are of a newer version of the program."""


def migrations() -> list[str]:
    """The text of each migration, in order."""
    found = sorted((file for file in _FOLDER.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in found]


def functions() -> str:
    """The text of all functions, those first that others name."""
    names = ("batches", "items", "presence", "sessions", "messages", "accounts", "keys", "many", "clock")
    return "\n".join((_FOLDER / "functions" / f"{name}.sql").read_text(encoding="utf-8") for name in names)


def functions_schema() -> str:
    """The schema of this version's functions: relays of two versions can work on one database, each with its own."""
    return f"{TABLES}_{hashlib.sha256(functions().encode()).hexdigest()[:12]}"


def install(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Make what is not there yet, in one transaction.

    Raises:
        NewerSchema: a newer version has changed the tables.
        psycopg.Error: the user may not make schemas in the database, for instance.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            _install(connection)
            return
    _install(connection)


def _install(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    wanted = migrations()
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", _LOCK)
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(TABLES)))
        connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(TABLES)))
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY)")
        row = connection.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()
        done = int(str(row[0])) if row else 0
        if done > len(wanted):
            raise NewerSchema
        for number, text in enumerate(wanted[done:], done + 1):
            connection.execute(text.encode())
            connection.execute("INSERT INTO migrations VALUES (%s)", (number,))
        own = functions_schema()
        if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (own,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(own)))
            connection.execute(
                sql.SQL("SET LOCAL search_path = {}, {}").format(sql.Identifier(own), sql.Identifier(TABLES))
            )
            connection.execute(functions().encode())
