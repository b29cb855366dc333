"""Connections to the database, to whichever of several servers takes writes; and why there is none."""

import re
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from phantom_messenger.engines.errors import StoreError, StoreUnusable
from phantom_messenger.engines.postgres.schema import NewerSchema

NOT_KEPT: Final = "PH001"
"""Raised by the functions where a commit would not be kept as it should."""

_OPTIONS: Final = {
    "application_name": "phantom",
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "10000",
}
"""A server that cannot be reached, or was cut off, is noticed within seconds, and the next of the list is tried."""


class Durability(StrEnum):
    """What the database must keep for a commit to count."""

    SINGLE = "single"
    """It is on the disk of the server."""
    QUORUM = "quorum"
    """It is on the disk of the server and of as many standbys as the server waits for, one at least."""


def durability_of(url: str) -> Durability:
    """What is expected of a database if nothing is said: several servers are there to keep what one may lose."""
    try:
        hosts = str(conninfo_to_dict(url).get("host") or "")
    except psycopg.ProgrammingError:
        hosts = ""
    return Durability.QUORUM if "," in hosts else Durability.SINGLE


def connect(url: str) -> "psycopg.Connection[Any]":
    """Connect, in autocommit mode.

    Raises:
        psycopg.Error: no server can be reached that takes writes, or the URL is none.
    """
    return psycopg.connect(make_conninfo(url, **_OPTIONS), autocommit=True)


async def connect_later(url: str) -> "psycopg.AsyncConnection[Any]":
    """As ``connect``, without holding up the event loop."""
    return await psycopg.AsyncConnection.connect(make_conninfo(url, **_OPTIONS), autocommit=True)


def unusable(error: Exception, url: str) -> StoreError:  # noqa: PLR0911 - a case a sentence
    """What to do about a database that could not be opened: a sentence, without the password in the URL."""
    if isinstance(error, NewerSchema):
        return StoreError(
            "the database of --store was written by a newer version of Phantom Messenger; install that one"
        )
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # whose text holds the password
        return StoreUnusable(
            "--store is no PostgreSQL URL; write it like postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        )
    if re.search("@|^[^/].*/", str(parts.get("host", ""))):
        return StoreUnusable("a sign of the user or password in --store must be escaped: write @ as %40 and / as %2F")
    place = f"the database {parts.get('dbname', '')!r} at {parts.get('host', 'this machine')}"
    text = str(error).lower()
    if getattr(error, "sqlstate", None) == NOT_KEPT:
        return StoreUnusable(f"{place} does not keep what --durability says: {_first_line(error)}")
    if "read-only" in text or "hot standby" in text or isinstance(error, errors.ReadOnlySqlTransaction):
        return StoreError(f"{place} takes no writes; name its primary in --store, or all of its servers")
    if "authentication" in text or "no password" in text:
        return StoreUnusable(f"{place} refuses the user or the password; see pg_hba.conf of the server, and --store")
    if "does not exist" in text and isinstance(error, psycopg.OperationalError):
        return StoreUnusable(f"{place} or its user does not exist; make them: docs/cluster.md says how")
    if isinstance(error, errors.InsufficientPrivilege):
        return StoreUnusable(f"the user may not make schemas in {place}: GRANT CREATE ON DATABASE to it")
    if isinstance(error, errors.DiskFull):
        return StoreError(f"the disk of {place} is full; make room")
    if isinstance(error, psycopg.OperationalError):
        return StoreError(f"cannot reach {place} ({_first_line(error)}); is the server up, and the address right?")
    return StoreError(f"cannot use {place}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
