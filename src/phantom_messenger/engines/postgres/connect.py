"""Connections to the database, to whichever of several servers takes writes; and why there is none."""

import re
import time
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from phantom_messenger.engines.errors import StoreError, StoreUnusable
from phantom_messenger.engines.postgres.schema import NewerSchema

NOT_KEPT: Final = "PH001"
"""Raised by the functions where a commit would not be kept as it should."""

OLDEST_SERVER: Final = 150_000

AT_WORK: Final = 4, 0
"""The advisory lock that relays share while they are connected, and that whoever copies the store has alone."""

GONE_SECONDS: Final = 2.0
"""For so long a relay, or a copy, that has just ended may still seem to be at work."""

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


class Fault(StrEnum):
    """Why the database cannot be used, as the log says it; docs/cluster.md says what to do about each."""

    UNREACHABLE = "unreachable"
    NO_ANSWER = "no-answer"
    READ_ONLY = "read-only"
    NOT_KEPT = "not-kept"
    DISK_FULL = "disk-full"
    CONNECTIONS_FULL = "connections-full"
    LOGIN_REFUSED = "login-refused"
    CERTIFICATE = "certificate"
    NO_TLS = "no-tls"
    NOT_THERE = "not-there"
    RIGHTS = "rights"
    NEWER = "newer-version"
    BEING_COPIED = "being-copied"
    OTHER = "other"


class BeingCopied(psycopg.OperationalError):
    """Somebody copies the store, or to it: no relay may work on it."""


_FAULTS: Final[tuple[tuple[str, Fault], ...]] = (
    ("certificate verify failed", Fault.CERTIFICATE),
    ("root certificate", Fault.CERTIFICATE),
    ("server certificate", Fault.CERTIFICATE),
    ("does not support ssl", Fault.NO_TLS),
    ("read-only", Fault.READ_ONLY),
    ("hot standby", Fault.READ_ONLY),
    ("too many connections", Fault.CONNECTIONS_FULL),
    ("too many clients", Fault.CONNECTIONS_FULL),
    ("connection slots", Fault.CONNECTIONS_FULL),
    ("authentication", Fault.LOGIN_REFUSED),
    ("no password", Fault.LOGIN_REFUSED),
    ("pg_hba.conf", Fault.LOGIN_REFUSED),
    ("does not exist", Fault.NOT_THERE),
)
"""What is said of a connection that is refused, by either side; the library has no code for it."""

_HIDDEN: Final = (
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.UndefinedFunction,
    errors.UndefinedTable,
)
"""To a user without rights on a schema, what is in it is not there."""


def fault_of(error: Exception) -> Fault:
    """Of an error that came from the database, or from connecting to it."""
    text = str(error).lower()
    if getattr(error, "sqlstate", None) == NOT_KEPT:
        return Fault.NOT_KEPT
    if isinstance(error, NewerSchema):
        return Fault.NEWER
    if isinstance(error, BeingCopied):
        return Fault.BEING_COPIED
    if isinstance(error, _HIDDEN):
        return Fault.RIGHTS
    if isinstance(error, errors.DiskFull):
        return Fault.DISK_FULL
    if isinstance(error, (errors.LockNotAvailable, errors.QueryCanceled)):
        return Fault.NO_ANSWER
    if isinstance(error, (psycopg.OperationalError, errors.ReadOnlySqlTransaction)):
        return next((fault for words, fault in _FAULTS if words in text), Fault.UNREACHABLE)
    return Fault.OTHER


def unusable(error: Exception, url: str, called: str = "--store") -> StoreError:
    """What to do about a database that could not be opened: a sentence, without the password in the URL.

    Args:
        error: what happened.
        url: of the database.
        called: what the user knows the URL as.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # whose text holds the password
        return StoreUnusable(
            f"{called} is no PostgreSQL URL; write it like postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        )
    if re.search("@|^[^/].*/", str(parts.get("host", ""))):
        return StoreUnusable(f"a sign of the user or password in {called} must be escaped: write @ as %40 and / as %2F")
    fault = fault_of(error)
    kind, words = _SENTENCES[fault]
    return kind(words.format(place=place_of(url), error=_first_line(error), called=called))


def place_of(url: str) -> str:
    """A database for people: without the user and the password.

    Raises:
        psycopg.ProgrammingError: the URL is none.
    """
    parts = conninfo_to_dict(url)
    return f"the database {parts.get('dbname', '')!r} at {parts.get('host', 'this machine')}"


def take_place(connection: "psycopg.Connection[Any]") -> None:
    """Be one of the relays at work, for as long as the connection lasts.

    Raises:
        BeingCopied: somebody copies the store.
    """
    if not _take(connection, "SELECT pg_try_advisory_lock_shared(%s, %s)"):
        raise BeingCopied


def take_alone(connection: "psycopg.Connection[Any]") -> bool:
    """Keep relays away for as long as the connection lasts; False if one is at work, or another copy."""
    return _take(connection, "SELECT pg_try_advisory_lock(%s, %s)")


def _take(connection: "psycopg.Connection[Any]", question: str) -> bool:
    """Take the lock in one of its two ways; a server needs a moment to notice that whoever had it has gone."""
    until = time.monotonic() + GONE_SECONDS
    while True:
        row = connection.execute(question.encode(), AT_WORK).fetchone()
        if row and row[0]:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.05)


def refuse_old(connection: "psycopg.Connection[Any]", called: str = "--store") -> None:
    """Refuse a server that is too old for the store.

    Raises:
        StoreUnusable: it is.
    """
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise StoreUnusable(
            f"the server of {called} is PostgreSQL {version // 10_000}, which is too old; use version 15 or newer"
        )


_SENTENCES: Final[dict[Fault, tuple[type[StoreError], str]]] = {
    Fault.UNREACHABLE: (StoreError, "cannot reach {place} ({error}); is the server up, and the address right?"),
    Fault.NO_ANSWER: (StoreError, "{place} does not answer ({error})"),
    Fault.READ_ONLY: (StoreError, "{place} takes no writes; name its primary in {called}, or all of its servers"),
    Fault.NOT_KEPT: (StoreUnusable, "{place} does not keep what --durability says: {error}"),
    Fault.DISK_FULL: (StoreError, "the disk of {place} is full; make room"),
    Fault.CONNECTIONS_FULL: (
        StoreError,
        "{place} has no connection left ({error}); a relay needs four: raise max_connections, or the role's limit",
    ),
    Fault.LOGIN_REFUSED: (
        StoreUnusable,
        "{place} refuses the user or the password; see pg_hba.conf of the server, and {called}",
    ),
    Fault.CERTIFICATE: (
        StoreUnusable,
        "{place} is not to be trusted ({error}); in {called}, sslrootcert must name the file of the authority that has"
        " signed its certificate, and the host must be the one that this is for",
    ),
    Fault.NO_TLS: (
        StoreUnusable,
        "{place} has no TLS, which sslmode in {called} asks for: set ssl = on at the server, with a certificate",
    ),
    Fault.NOT_THERE: (StoreUnusable, "{place} or its user does not exist; make them: docs/cluster.md says how"),
    Fault.RIGHTS: (
        StoreUnusable,
        "the user may not make schemas in {place}, or use those that are there: make it the owner of the database"
        " (or GRANT CREATE ON DATABASE to it), and use the same user for all relays",
    ),
    Fault.NEWER: (
        StoreError,
        "the database of {called} was written by a newer version of Phantom Messenger; install that one",
    ),
    Fault.BEING_COPIED: (StoreError, "{place} is being copied, or copied to; start the relay when that is done"),
    Fault.OTHER: (StoreError, "cannot use {place}: {error}"),
}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
